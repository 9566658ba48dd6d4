"""Maps a shot of any script onto the closed vocabulary, with a note for everything that had to be mapped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from .caption import Appearance, Role, Staging
from .lexicon import ACTION_OF, KIND_OF, PROP_OF, SET_OF, TIME_OF, WEATHER_OF, find_meaning, words_of
from .script import Entity, Scene, Script, Shot, ShotSize
from .vocabulary import (
    ACCESSORIES,
    HUES,
    INDOORS,
    MAX_ROLES,
    NAMES,
    NEAREST,
    NEEDS_PROP,
    PATTERNS,
    SETS,
    TAKES_PROP,
    TIMES,
    Vocabulary,
)

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
    changes = [entity.changes[shot] for shot in earlier if shot in entity.changes] if entity.changes else []
    words = words_of(" ".join([*reversed(changes), entity.description]))

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
    if shot.angle == "over-shoulder" and len(cast) >= MAX_ROLES:
        view = "over"
    room = 1 if view == "close" else MAX_ROLES
    if len(cast) > room:
        notes.append(f"{', '.join(e.name for e in cast[room:])} not drawn: {room} on stage in a {view} shot")
    verb = find_meaning(shot.action, ACTION_OF)
    props = [PROP_OF.get(e.name.lower()) for e in map(script.entity, shot.entities) if e.kind == "prop"]
    prop = next((found for found in (*props, find_meaning(shot.action, PROP_OF)) if found), None)
    speakers = {line.speaker for line in shot.lines}
    order = [s.id for s in script.shots()]
    earlier = tuple(order[: order.index(shot.id) + 1])
    names = _names(script)
    roles = []
    for index, entity in enumerate(cast[:room]):
        kind = puppet_kind(entity)
        if kind not in words_of(entity.name):
            notes.append(f"{entity.name} played by the {kind} puppet")
        if speakers - {None}:
            doing = "talks" if entity.id in speakers else "stands"
        else:
            doing = verb or "stands"
            if index and doing in ("sleeps", "talks", *TAKES_PROP):
                doing = "stands"
        held = None if index else prop
        if held and doing in ("walks", "stands"):
            doing = "carries" if doing == "walks" or any(props) else doing
        if held is None and doing in NEEDS_PROP:
            doing = NEAREST[doing]
        facing = ("right", "left")[index] if doing not in ("walks", "runs") or len(cast) == 1 else "right"
        held = held if doing in TAKES_PROP else None
        roles.append(Role(kind, doing, facing, appearance_of(entity, shot.id, earlier), held, names.get(entity.id)))
    movement = MOVEMENT_OF.get(shot.movement, "still")
    weather = "clear" if chosen in INDOORS else _weather(scene)
    return Staged(Staging(view, chosen, time, movement, tuple(roles), weather), tuple(notes))


def _names(script: Script) -> dict[str, str]:
    """Names for those who share their puppet with somebody, by entity."""
    by_kind: dict[str, list[str]] = {}
    for entity in script.entities:
        if entity.kind == "character":
            by_kind.setdefault(puppet_kind(entity), []).append(entity.id)
    shared = [ids for ids in by_kind.values() if len(ids) > 1]
    return {entity: NAMES[index % len(NAMES)] for ids in shared for index, entity in enumerate(ids)}


def _weather(scene: Scene) -> str:
    """The weather a scene speaks of, in any of its shots."""
    text = " ".join([scene.time, scene.summary, *(shot.action for shot in scene.shots)])
    return find_meaning(text, WEATHER_OF) or "clear"


def fit(staging: Staging, known: Vocabulary) -> Staged:
    """The staging in the words that some weights know, with a note for each that they do not."""
    lost: list[str] = []

    def word(value: str, words: tuple[str, ...]) -> str:
        if value in words:
            return value
        lost.append(f"{value} is unknown to these weights: drawn as {NEAREST[value]}")
        return NEAREST[value]

    view = word(staging.view, known.views)
    roles = []
    for role in staging.roles if view == staging.view else staging.roles[:1]:
        action = word(role.action, known.actions)
        prop = role.prop if role.prop in known.props and action in TAKES_PROP else None
        if role.prop and prop is None:
            lost.append(f"{role.prop} is unknown to these weights: left out")
        if action in NEEDS_PROP and prop is None:
            action = NEAREST[action]
        name = role.name if role.name in known.names else None
        roles.append(replace(role, kind=word(role.kind, known.kinds), action=action, prop=prop, name=name))
    weather = word(staging.weather, known.weathers)
    return Staged(replace(staging, view=view, weather=weather, roles=tuple(roles)), tuple(lost))
