"""Maps a shot of any script onto the closed vocabulary, with a note for everything that had to be mapped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .caption import Appearance, Role, Staging
from .lexicon import ACTION_OF, KIND_OF, SET_OF, TIME_OF, find_meaning, words_of
from .script import Entity, Script, Shot, ShotSize
from .vocabulary import ACCESSORIES, HUES, MAX_ROLES, PATTERNS, SETS, TIMES

VIEW_OF_SIZE: dict[ShotSize, str] = {
    "ELS": "wide", "LS": "wide", "MLS": "wide", "MS": "medium", "MCU": "medium", "CU": "close", "ECU": "close",
}  # fmt: skip
MOVEMENT_OF = {"pan-left": "left", "pan-right": "right", "track": "right"}


@dataclass(frozen=True)
class Staged:
    """A shot in the closed vocabulary and what got lost on the way."""

    staging: Staging
    notes: tuple[str, ...]


def _pick(options: tuple[str, ...], *parts: str) -> str:
    digest = hashlib.blake2b("/".join(parts).encode(), digest_size=4).digest()
    return options[int.from_bytes(digest, "big") % len(options)]


def puppet_kind(entity: Entity) -> str:
    """The puppet that plays an entity: by its name first, then by its description, else a person."""
    return find_meaning(entity.name, KIND_OF) or find_meaning(entity.description, KIND_OF) or "person"


def appearance_of(entity: Entity, shot_id: str = "", earlier: tuple[str, ...] = ()) -> Appearance:
    """How an entity looks: the vocabulary's words in its description, else drawn from its id.

    `earlier` are the ids of the shots up to and with `shot_id`; a change that began at one of them counts.
    """
    text = entity.description
    for shot in earlier:
        text = f"{entity.changes.get(shot, '')} {text}"
    words = words_of(text)

    def first(options: tuple[str, ...], salt: str) -> str:
        return next((w for w in words if w in options), None) or _pick(options, entity.id.lower(), salt)

    return Appearance(first(HUES, "hue"), first(PATTERNS, "pattern"), first(ACCESSORIES, "accessory"))


def set_of(entity: Entity) -> str | None:
    """The set that stands for a location, if any word of it is known."""
    for word in words_of(entity.name):
        if word in SETS:
            return word
    return find_meaning(entity.name, SET_OF) or find_meaning(entity.description, SET_OF)


def stage_shot(script: Script, shot: Shot) -> Staged:
    """The staging of a shot."""
    notes: list[str] = []
    scene = script.scene_of(shot.id)
    place = script.entity(scene.location)
    chosen = set_of(place)
    if chosen is None:
        chosen = "kitchen" if scene.heading == "INT" else "meadow"
        notes.append(f"location {place.name!r} drawn as {chosen}")
    time = scene.time if scene.time in TIMES else find_meaning(scene.time, TIME_OF)
    if time is None:
        time = "day"
        notes.append(f"time {scene.time!r} drawn as day")
    view = VIEW_OF_SIZE[shot.size]
    cast = script.cast_of(shot)
    room = 1 if view == "close" else MAX_ROLES
    if len(cast) > room:
        notes.append(f"{', '.join(e.name for e in cast[room:])} not drawn: {room} on stage in a {view} shot")
    verb = find_meaning(shot.action, ACTION_OF)
    speakers = {line.speaker for line in shot.lines}
    order = [s.id for s in script.shots()]
    earlier = tuple(order[: order.index(shot.id) + 1])
    roles = []
    for index, entity in enumerate(cast[:room]):
        kind = puppet_kind(entity)
        if kind not in words_of(entity.name):
            notes.append(f"{entity.name} played by the {kind} puppet")
        if speakers - {None}:
            doing = "talks" if entity.id in speakers else "stands"
        else:
            doing = verb or "stands"
            if index and doing in ("sleeps", "talks"):
                doing = "stands"
        facing = ("right", "left")[index] if doing not in ("walks", "runs") or len(cast) == 1 else "right"
        roles.append(Role(kind, doing, facing, appearance_of(entity, shot.id, earlier)))
    movement = MOVEMENT_OF.get(shot.movement, "still")
    return Staged(Staging(view, chosen, time, movement, tuple(roles)), tuple(notes))
