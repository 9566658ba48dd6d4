"""The film as data: a script of scenes and shots, with its recurring entities.

Every model rejects unknown keys; ids match `[A-Za-z0-9][A-Za-z0-9_-]{0,63}` and are unique ignoring case; every
reference to an entity resolves. Times are in seconds.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from .device_names import no_device_name

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"), AfterValidator(no_device_name)]
EntityKind = Literal["character", "prop", "location"]
ShotSize = Literal["ECU", "CU", "MCU", "MS", "MLS", "LS", "ELS"]
Angle = Literal["eye", "low", "high", "overhead", "over-shoulder"]
Movement = Literal["static", "pan-left", "pan-right", "push-in", "pull-out", "track"]
Transition = Literal["cut", "dissolve", "fade"]
Continuity = Literal["new", "continuous", "extend"]
MAX_SHOT_SECONDS = 60.0
MAX_CHARACTERS = 3


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reference(_Part):
    """An image of an entity; the path is relative to the production."""

    path: str


class Entity(_Part):
    """Somebody or something that recurs.

    Attributes:
        description: what is seen, in plain words; the same in every shot.
        changes: shot id -> how it looks from that shot on.
    """

    id: Id
    kind: EntityKind
    name: str = Field(min_length=1, max_length=120)
    description: str = Field(default="", max_length=2000)
    changes: dict[str, str] = {}
    voice: str = ""
    references: list[Reference] = []


class Line(_Part):
    """Somebody speaks. Without a speaker it is a voice-over."""

    speaker: Id | None = None
    text: str = Field(min_length=1, max_length=2000)


class PromptChange(_Part):
    """A new action inside a shot; the picture goes on.

    Attributes:
        entities: who is seen from then on, and whose references are pinned; as before when left out.
    """

    at_seconds: float = Field(gt=0, le=MAX_SHOT_SECONDS)
    action: str = Field(min_length=1, max_length=2000)
    entities: list[Id] | None = None


class Shot(_Part):
    """A continuous stretch of film.

    Attributes:
        prompt: overrides the prompt that is otherwise derived for the generator at hand.
        opens_with: a picture or clip of the production that the shot begins with, and the model goes on from.
        transition_in: how the picture changes at this shot's cut point.
    """

    id: Id
    seconds: float = Field(gt=0, le=MAX_SHOT_SECONDS)
    size: ShotSize = "MS"
    angle: Angle = "eye"
    movement: Movement = "static"
    lens: str = ""
    action: str = Field(default="", max_length=4000)
    entities: list[Id] = []
    lines: list[Line] = []
    prompt_changes: list[PromptChange] = []
    transition_in: Transition = "cut"
    continuity: Continuity = "new"
    notes: str = ""
    prompt: str | None = Field(default=None, max_length=4000)
    opens_with: str | None = Field(default=None, max_length=400)

    @model_validator(mode="after")
    def _changes_inside(self) -> Shot:
        for change in self.prompt_changes:
            if change.at_seconds >= self.seconds:
                raise ValueError(
                    f"shot {self.id}: a prompt change at {change.at_seconds} s lies beyond the shot's {self.seconds} s"
                )
        return self

    def after_changes(self) -> list[tuple[float, Shot]]:
        """For every prompt change, in order: its seconds, and the shot as it stands from then on."""
        found, standing = [], self.model_copy(update={"prompt": None, "prompt_changes": [], "lines": []})
        for change in sorted(self.prompt_changes, key=lambda c: c.at_seconds):
            cast = standing.entities if change.entities is None else change.entities
            standing = standing.model_copy(update={"action": change.action, "entities": cast})
            found.append((change.at_seconds, standing))
        return found


class Scene(_Part):
    """Shots in one place at one time."""

    id: Id
    heading: Literal["INT", "EXT"] = "EXT"
    location: Id
    time: str = Field(default="day", max_length=60)
    summary: str = ""
    shots: list[Shot] = Field(min_length=1)


class Script(_Part):
    """The truth about the story."""

    title: str = Field(min_length=1, max_length=200)
    logline: str = ""
    style: str = ""
    aspect: str = Field(default="2:1", pattern=r"^\d+(\.\d+)?:\d+(\.\d+)?$")
    language: str = ""
    planner: str = ""
    template: str = ""
    titles: bool = False
    entities: list[Entity] = []
    scenes: list[Scene] = Field(min_length=1)

    @model_validator(mode="after")
    def _refers(self) -> Script:
        _unique("entity", (entity.id for entity in self.entities))
        _unique("scene", (scene.id for scene in self.scenes))
        _unique("shot", (shot.id for shot in self.shots()))
        by_id = {entity.id: entity for entity in self.entities}
        shot_ids = {shot.id for shot in self.shots()}
        for entity in self.entities:
            for shot_id in entity.changes:
                if shot_id not in shot_ids:
                    raise ValueError(f"entity {entity.id}: changes name shot {shot_id!r}, which does not exist")
        for scene in self.scenes:
            place = by_id.get(scene.location)
            if place is None or place.kind != "location":
                raise ValueError(f"scene {scene.id}: location {scene.location!r} is not an entity of kind location")
            for shot in scene.shots:
                speakers = [line.speaker for line in shot.lines if line.speaker]
                casts = [shot.entities, *(change.entities or [] for change in shot.prompt_changes)]
                for used in [*chain.from_iterable(casts), *speakers]:
                    if used not in by_id:
                        raise ValueError(f"shot {shot.id}: entity {used!r} is unknown; known: {', '.join(by_id)}")
                most = max(sum(by_id[e].kind == "character" for e in cast) for cast in casts)
                if most > MAX_CHARACTERS:
                    raise ValueError(f"shot {shot.id}: {most} characters; at most {MAX_CHARACTERS} at a time")
        return self

    def shots(self) -> Iterator[Shot]:
        """All shots in order."""
        for scene in self.scenes:
            yield from scene.shots

    def scene_of(self, shot_id: str) -> Scene:
        """The scene a shot belongs to."""
        return next(scene for scene in self.scenes if any(shot.id == shot_id for shot in scene.shots))

    def entity(self, entity_id: str) -> Entity:
        return next(entity for entity in self.entities if entity.id == entity_id)

    def cast_of(self, shot: Shot) -> list[Entity]:
        """The characters of a shot, in the order it names them."""
        entities = (self.entity(i) for i in dict.fromkeys(shot.entities))
        return [entity for entity in entities if entity.kind == "character"]

    def seconds(self) -> float:
        return sum(shot.seconds for shot in self.shots())


def letters(index: int) -> str:
    """A … Z, AA … (spreadsheet fashion): the part of a shot's id after its scene's number; `index` from 0."""
    text, index = "", index + 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = string.ascii_uppercase[rest] + text
    return text


def _unique(what: str, ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in ids:
        if value.lower() in seen:
            raise ValueError(f"{what} id {value!r} is used twice (ids ignore case)")
        seen.add(value.lower())
