"""Renaming somebody or something everywhere a script names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from .errors import InputError
from .script import Entity, Script

TEXT_FIELDS = ("title", "logline", "summary", "action", "text", "notes", "prompt")
"""Fields whose text people and models read; ids and paths are left alone."""
LOOKS = "description"
"""What an entity looks like: there a fox called "fox" is still a fox when it is called Renard, and Anna is somebody by name."""


@dataclass
class Renamed:
    """A script with the new name, and where it stands now: `shot 1A: action` and the like."""

    script: Script
    places: list[str] = field(default_factory=list)


def rename_entity(script: Script, old: str, new: str) -> Renamed:
    """Gives an entity another name, wherever the script's texts name it. Its id stays: pictures and takes are kept under it.

    Args:
        old: the entity's id, its name, or what the texts still call it where the name was changed by hand.

    Raises:
        InputError: nobody is called so, or the new name is another entity's or empty.
    """
    new = " ".join(new.split())
    entity = _called(script, old, new)
    others = [other for other in script.entities if other.id != entity.id]
    if not new or any(new.casefold() in (other.id.casefold(), other.name.casefold()) for other in others):
        raise InputError(f"{new!r} cannot be a name here: it is empty, or another entity's")
    taken = {word.casefold() for other in others for word in (other.id, other.name)}
    names = [
        name
        for name in dict.fromkeys([entity.name, old, entity.id.replace("-", " ")])
        if name.casefold() not in taken and name.casefold() != new.casefold()
    ]
    renamed = Renamed(script.model_copy(deep=True))
    anywhere = _replacing(names, new)
    in_looks = _replacing([name for name in names if not name.islower()], new)
    for part, place in _parts(renamed.script):
        renamed.places += _rewritten(part, place, anywhere, in_looks)
    target = renamed.script.entity(entity.id)
    if target.name != new:
        target.name = new
        renamed.places.insert(0, f"entity {entity.id}: name")
    return renamed


def still_called(script: Script) -> dict[str, list[str]]:
    """Entities whose name the shots do not use, by id: the shots whose action calls them by their id instead. They were renamed in
    one place only."""
    found: dict[str, list[str]] = {}
    for entity in script.entities:
        called = entity.id.replace("-", " ")
        if _pattern(called).search(entity.name) or entity.kind == "location":
            continue
        pattern, name = _pattern(called), _pattern(entity.name)
        shots = [shot.id for shot in script.shots() if pattern.search(shot.action) and not name.search(shot.action)]
        if shots:
            found[entity.id] = shots
    return found


def _called(script: Script, old: str, new: str) -> Entity:
    wanted = old.strip().casefold()
    for entity in script.entities:
        if wanted in (entity.id.casefold(), entity.name.casefold(), entity.id.replace("-", " ").casefold()):
            return entity
    for entity in script.entities:  # renamed by hand in one place: the texts still say the old name
        if entity.name.casefold() == new.casefold():
            return entity
    known = ", ".join(entity.name for entity in script.entities)
    raise InputError(f"{old!r} names nobody in this film: it has {known}")


def _pattern(name: str) -> re.Pattern[str]:
    """Finds a name as a whole word; in scripts that put no blanks between words, anywhere."""
    escaped = r"\s+".join(map(re.escape, name.split()))
    spaced = all(ord(c) < 0x2E80 for c in name)
    return re.compile(rf"(?<!\w){escaped}(?!\w)" if spaced else escaped, re.IGNORECASE)


def _replacing(names: Sequence[str], new: str) -> Callable[[str], str]:
    """A function that puts the new name in place of any of these."""
    patterns = [_pattern(name) for name in names]

    def instead(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub(lambda match: _cased(match[0], new), text)
        return text

    return instead


def _cased(found: str, new: str) -> str:
    """The new name as the old one was written: in capitals, or with a capital at the beginning of a sentence."""
    if len(found) > 1 and found.isupper():
        return new.upper()
    return new[:1].upper() + new[1:] if found[:1].isupper() else new


def _parts(script: Script) -> Iterator[tuple[BaseModel, str]]:
    yield script, "script"
    for entity in script.entities:
        yield entity, f"entity {entity.id}"
    for scene in script.scenes:
        yield scene, f"scene {scene.id}"
        for shot in scene.shots:
            yield shot, f"shot {shot.id}"
            for line in shot.lines:
                yield line, f"shot {shot.id}: line"
            for change in shot.prompt_changes:
                yield change, f"shot {shot.id}: prompt change at {change.at_seconds:g} s"


def _rewritten(
    part: BaseModel, place: str, anywhere: Callable[[str], str], in_looks: Callable[[str], str]
) -> list[str]:
    """Rewrites the texts of a part of the script; returns the places that changed."""
    changed = []
    for name in (*TEXT_FIELDS, LOOKS):
        instead = in_looks if name == LOOKS else anywhere
        text = getattr(part, name, None)
        if isinstance(text, str) and instead(text) != text:
            setattr(part, name, instead(text))
            changed.append(f"{place}: {name}")
    if isinstance(part, Entity) and any(in_looks(text) != text for text in part.changes.values()):
        part.changes = {shot: in_looks(text) for shot, text in part.changes.items()}
        changed.append(f"{place}: changes")
    return changed
