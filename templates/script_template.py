"""A script template: a way to tell a story. Acts and their beats, how shots are framed, the look, and words for a language model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ..storyboard.script import Movement, ShotSize

ShotRole = Literal["establish", "act", "react", "detail"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Value = bool | int | float | str
MAX_VALUE = 1000
"""Characters of a parameter's value."""
MAX_BEATS = 100
MAX_PARAMETERS = 50
MAX_CHOICES = 100


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Grammar(_Part):
    """How one kind of shot is framed: sizes and movements are cycled through.

    Attributes:
        weight: relative length of such a shot.
    """

    sizes: list[ShotSize] = Field(min_length=1)
    movements: list[Movement] = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, le=10)


class StoryBeat(_Part):
    """A step of the plot.

    Attributes:
        summary: what happens; may name parameters.
        share: this beat's part of the story and of the film, 0 … 1.
        pattern: the shot roles it is told with, in order, repeated as needed.
    """

    name: Name
    summary: str = Field(min_length=1, max_length=500)
    share: float = Field(gt=0, le=1)
    pattern: list[ShotRole] = Field(min_length=1, max_length=20)


class Act(_Part):
    """Beats that belong together."""

    name: Name
    beats: list[StoryBeat] = Field(min_length=1, max_length=MAX_BEATS)


class Parameter(_Part):
    """Something a template leaves open.

    Attributes:
        default: its value when nobody says another; its type is the parameter's.
        choices: all values it may have; none for any.
    """

    help: str = Field(min_length=1, max_length=200)
    default: Value
    choices: list[Value] = Field(default=[], max_length=MAX_CHOICES)

    @model_validator(mode="after")
    def _among(self) -> Parameter:
        for value in (self.default, *self.choices):
            if isinstance(value, str) and len(value) > MAX_VALUE:
                raise ValueError(f"a value of {len(value):,} characters: at most {MAX_VALUE:,}")
        if self.choices and self.default not in self.choices:
            raise ValueError(f"default {self.default!r} is not among the choices")
        return self


class ScriptTemplate(_Part):
    """A way to tell a story.

    Attributes:
        extends: the template whose keys count wherever this one says nothing; its grammar is joined role by role.
        parameters: what the style, the guidance and the beats' summaries may name as `{{ NAME }}`.
        style: the look of the film.
        guidance: what a language model is told beside the beats; the `rules` planner does not read it.
        seconds: length of a film when nobody says another.
        shot_seconds: how long a shot of weight 1 wants to be.
    """

    name: Name
    title: str = Field(min_length=1, max_length=80)
    description: str = Field(min_length=1, max_length=400)
    extends: Name | None = None
    parameters: dict[ParameterName, Parameter] = Field(default={}, max_length=MAX_PARAMETERS)
    style: str = Field(default="", max_length=400)
    guidance: str = Field(default="", max_length=8000)
    seconds: float | None = Field(default=None, ge=4, le=3600)
    shot_seconds: float = Field(default=2.6, ge=0.75, le=30)
    acts: list[Act] = Field(min_length=1, max_length=MAX_BEATS)
    grammar: dict[ShotRole, Grammar]

    @property
    def beats(self) -> list[StoryBeat]:
        """The beats of all acts."""
        return [beat for act in self.acts for beat in act.beats]

    @model_validator(mode="after")
    def _whole(self) -> ScriptTemplate:
        if len(self.beats) > MAX_BEATS:
            raise ValueError(f"{len(self.beats):,} beats: at most {MAX_BEATS}")
        names = [beat.name for beat in self.beats]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"beat {twice!r} is there twice")
        missing = {role for beat in self.beats for role in beat.pattern} - set(self.grammar)
        if missing:
            raise ValueError(f"the beats use {', '.join(sorted(missing))} without a grammar for it")
        total = sum(beat.share for beat in self.beats)
        if not 0.95 <= total <= 1.05:
            raise ValueError(f"the beats' shares add up to {total:g}: make it 1")
        return self
