"""What a language model is asked for, pass by pass, and what makes an answer right: content first, visuals second, joined by id,
so that text that somebody approved is never written anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from ...storyboard.script import (
    MAX_CHARACTERS,
    MAX_SHOT_SECONDS,
    Angle,
    Continuity,
    EntityKind,
    Movement,
    ShotSize,
    Transition,
)
from ...storyboard.script import Id as EntityId
from ..lengths import MIN_SHOT_SECONDS


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BeatText(_Answer):
    """What happens in a beat of the template."""

    beat: str
    text: str = Field(min_length=1, max_length=4000)


class Outline(_Answer):
    """The story, told by the template's beats."""

    title: str = Field(min_length=1, max_length=120)
    logline: str = Field(min_length=1, max_length=400)
    language: str = Field(description="Language of the story as a two-letter code, such as en", max_length=12)
    beats: list[BeatText] = Field(min_length=1)


class PlannedEntity(_Answer):
    """Somebody or something that recurs."""

    id: EntityId
    kind: EntityKind
    name: str = Field(min_length=1, max_length=120)
    description: str = Field(
        min_length=1, max_length=600, description="What is seen, in plain words; the same in every shot"
    )
    voice: str = Field(default="", max_length=200)


class Cast(_Answer):
    """Everybody and everything that recurs, each described once."""

    entities: list[PlannedEntity] = Field(min_length=2)


class PlannedScene(_Answer):
    """Shots in one place at one time."""

    beat: str
    interior: bool
    location: EntityId
    time: str = Field(min_length=1, max_length=60, description="Time of day, and the weather where it matters")
    summary: str = Field(min_length=1, max_length=1000)
    seconds: float = Field(gt=0, le=3600)


class Scenes(_Answer):
    """The film's scenes in order."""

    scenes: list[PlannedScene] = Field(min_length=1, max_length=400)


class PlannedLine(_Answer):
    """Somebody speaks; a voice-over has no speaker."""

    speaker: EntityId | None
    text: str = Field(min_length=1, max_length=600)


class Change(_Answer):
    """From a shot on somebody looks different."""

    entity: EntityId
    now: str = Field(
        min_length=1, max_length=300, description="What is seen of the change: the new clothes, colours, wounds"
    )


class PlannedShot(_Answer):
    """What happens in a shot."""

    seconds: float = Field(ge=MIN_SHOT_SECONDS, le=MAX_SHOT_SECONDS)
    action: str = Field(min_length=1, max_length=1000, description="What is seen to happen, in the present tense")
    entities: list[EntityId] = Field(
        max_length=8, description="Characters and props that are seen, the most important first"
    )
    lines: list[PlannedLine] = Field(max_length=8)
    changes: list[Change] = Field(default=[], max_length=4)


class Shots(_Answer):
    """A scene's shots in order: content only."""

    shots: list[PlannedShot] = Field(min_length=1, max_length=80)


class Look(_Answer):
    """How a shot is filmed."""

    id: str
    size: ShotSize
    angle: Angle
    movement: Movement
    lens: str = Field(max_length=80)
    transition_in: Transition
    continuity: Continuity
    notes: str = Field(max_length=400, description="Screen direction and what must match the shot before")


class Looks(_Answer):
    """How a scene's shots are filmed, one for each, by id."""

    shots: list[Look]


class Digest(_Answer):
    """A part of a long story, shortened."""

    events: str = Field(
        min_length=1, max_length=6000, description="What happens, in order, with who says what that matters"
    )
    characters: list[str] = Field(max_length=40, description="Name and looks of everybody in it")
    places: list[str] = Field(max_length=40)


def beats_wrong(outline: Outline, wanted: Sequence[str]) -> list[str]:
    """Problems of an outline against a template's beats."""
    told = [beat.beat for beat in outline.beats]
    return [] if told == list(wanted) else [f"beats are {told}: give exactly {list(wanted)}, in this order"]


def cast_wrong(cast: Cast) -> list[str]:
    """Problems of a cast: two of one id or name, nobody, nowhere."""
    found = []
    for what, values in (("id", [e.id for e in cast.entities]), ("name", [e.name for e in cast.entities])):
        twice = [value for value, count in Counter(v.casefold() for v in values).items() if count > 1]
        found += [f"entities: {what} {value!r} stands for two; describe each once" for value in twice]
    for kind in ("character", "location"):
        if not any(entity.kind == kind for entity in cast.entities):
            found.append(f"entities: there is no {kind}")
    return found


def scenes_wrong(scenes: Scenes, cast: Cast, beats: Sequence[str]) -> list[str]:
    """Problems of scenes: places that are none, beats out of order or left out."""
    places = [e.id for e in cast.entities if e.kind == "location"]
    found = [
        f"scenes.{index}.location: {scene.location!r} is no location; choose one of {places}"
        for index, scene in enumerate(scenes.scenes)
        if scene.location not in places
    ]
    order = [beats.index(scene.beat) if scene.beat in beats else -1 for scene in scenes.scenes]
    if -1 in order or order != sorted(order) or set(order) != set(range(len(beats))):
        found.append(f"scenes: beats must be {list(beats)}, in this order, each with at least one scene")
    return found


def shots_wrong(shots: Shots, cast: Cast) -> list[str]:
    """Problems of a scene's shots: strangers, places, crowds, props that speak."""
    kinds = {entity.id: entity.kind for entity in cast.entities}
    found = []
    for index, shot in enumerate(shots.shots):
        at = f"shots.{index}"
        for entity in shot.entities:
            if kinds.get(entity) not in ("character", "prop"):
                known = [i for i, kind in kinds.items() if kind != "location"]
                found.append(f"{at}.entities: {entity!r} is no character or prop; choose of {known}")
        if sum(kinds.get(entity) == "character" for entity in set(shot.entities)) > MAX_CHARACTERS:
            found.append(f"{at}.entities: at most {MAX_CHARACTERS} characters in a shot")
        for change in shot.changes:
            if change.entity not in shot.entities:
                found.append(
                    f"{at}.changes: {change.entity!r} is not in the shot that shows the change; choose of {shot.entities}"
                )
        for line in shot.lines:
            if line.speaker is not None and kinds.get(line.speaker) != "character":
                found.append(f"{at}.lines: speaker {line.speaker!r} is no character")
    return found


def looks_wrong(looks: Looks, ids: Sequence[str]) -> list[str]:
    """Problems of looks: not exactly the shots that there are."""
    told = [look.id for look in looks.shots]
    return [] if told == list(ids) else [f"shots: ids are {told}: give exactly {list(ids)}, in this order"]
