"""Changes of a script that a note asks for: the model names shots to replace, remove or insert; nothing else can change."""

from __future__ import annotations

import difflib
import io
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from ...storyboard.errors import InputError, reason_of
from ...storyboard.script import (
    MAX_SHOT_SECONDS,
    Angle,
    Continuity,
    Entity,
    Line,
    Movement,
    Scene,
    Script,
    Shot,
    ShotSize,
    Transition,
)
from ...storyboard.script import Id as EntityId
from ...templates.prompt import load_prompt
from ..lengths import MIN_SHOT_SECONDS
from ..models.language import LanguageModel, Message, ask
from .passes import PlannedLine


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ShotContent(_Answer):
    """A whole shot."""

    seconds: float = Field(ge=MIN_SHOT_SECONDS, le=MAX_SHOT_SECONDS)
    size: ShotSize
    angle: Angle
    movement: Movement
    transition_in: Transition
    continuity: Continuity
    action: str = Field(min_length=1, max_length=1000)
    entities: list[EntityId] = Field(max_length=8)
    lines: list[PlannedLine] = Field(max_length=8)


class ShotChange(_Answer):
    """One change."""

    what: Literal["replace", "remove", "insert"]
    shot: str = Field(description="The shot's id; for insert the shot before the new one, empty for the first place")
    content: ShotContent | None


class Revision(_Answer):
    """What the note comes to."""

    summary: str = Field(max_length=400, description="What was changed, in a sentence")
    changes: list[ShotChange] = Field(max_length=200)


def revise(script: Script, note: str, model: LanguageModel) -> tuple[Script, str]:
    """The script as the note asks for, and what was changed in a sentence.

    Raises:
        InputError: the note is empty.
        ModelError: the model gave no usable answer.
    """
    if not note.strip():
        raise InputError("--revise needs a note: say what should change")
    prompt = load_prompt("revise")
    text = prompt.render(
        note=note.strip(), entities=[e for e in script.entities if e.kind != "location"], scenes=script.scenes
    )

    def wrong(revision: Revision) -> list[str]:
        try:
            applied(script, revision)
        except InputError as error:
            return [str(error)]
        except ValidationError as error:
            return [reason_of(error.errors()[0])]
        return []

    said = ask(model, [Message("user", text)], Revision, check=wrong)
    return applied(script, said.value), said.value.summary


def applied(script: Script, revision: Revision) -> Script:
    """The script with the changes made. A new shot is named after the one before it.

    Raises:
        InputError: a change names a shot that is not there, or lacks its content.
        ValidationError: the script would not hold together.
    """
    shots = {shot.id for shot in script.shots()}
    scenes = [scene.model_copy(update={"shots": list(scene.shots)}) for scene in script.scenes]
    for change in revision.changes:
        if change.what != "remove" and change.content is None:
            raise InputError(f"{change.what} {change.shot}: content is missing")
        if change.shot not in shots and not (change.what == "insert" and not change.shot):
            raise InputError(f"{change.what} {change.shot!r}: there is no such shot")
        scene = next((s for s in scenes if any(shot.id == change.shot for shot in s.shots)), scenes[0])
        at = next((i for i, shot in enumerate(scene.shots) if shot.id == change.shot), -1)
        if change.what == "remove":
            del scene.shots[at]
            continue
        assert change.content is not None
        if change.what == "replace":
            kept = scene.shots[at]
            scene.shots[at] = _filled(kept, change.content)
        else:
            taken = {shot.id.lower() for s in scenes for shot in s.shots} | {shot.lower() for shot in shots}
            name = next(n for n in (f"{change.shot or '0'}-{i}" for i in range(1, 10_000)) if n.lower() not in taken)
            scene.shots.insert(at + 1, _filled(Shot(id=name, seconds=change.content.seconds), change.content))
    scenes = [scene for scene in scenes if scene.shots]
    whole = {
        "scenes": [scene.model_dump() for scene in scenes],
        "entities": [_still_changing(entity, script, scenes).model_dump() for entity in script.entities],
    }
    return Script.model_validate({**script.model_dump(), **whole})


def _still_changing(entity: Entity, script: Script, scenes: list[Scene]) -> Entity:
    """The entity with its changes of looks at shots that are still there: that of a removed shot comes with the next."""
    order, left = [shot.id for shot in script.shots()], {shot.id for scene in scenes for shot in scene.shots}
    changes: dict[str, str] = {}
    for index, shot in enumerate(order):
        after = next((later for later in order[index:] if later in left), None)
        if shot in entity.changes and after is not None:
            changes[after] = entity.changes[shot]
    return entity.model_copy(update={"changes": changes})


def _filled(shot: Shot, content: ShotContent) -> Shot:
    values = content.model_dump(exclude={"lines"})
    lines = [Line(speaker=line.speaker, text=line.text) for line in content.lines]
    return shot.model_copy(update={**values, "lines": lines, "prompt": None})


def script_diff(before: Script, after: Script) -> str:
    """What changed in script.yaml, as a unified diff."""

    def text(script: Script) -> list[str]:
        yaml, out = YAML(), io.StringIO()
        yaml.allow_unicode, yaml.width = True, 110
        yaml.dump(script.model_dump(exclude_defaults=True), out)
        return out.getvalue().splitlines()

    return "\n".join(
        difflib.unified_diff(text(before), text(after), "script.yaml", "script.yaml (revised)", lineterm="")
    )
