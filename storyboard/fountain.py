"""Screenplays in Fountain: any screenplay can be read; a script of ours is written so that it reads back the same.

Shot data and descriptions stand in notes, which every Fountain application keeps and none prints::

    [[entity fox (character) Finn: a red striped fox]]
    [[shot 1A: 2.5 s; MS; eye; static; cut; new; fox, bear]]
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, get_args

from .device_names import is_device_name
from .errors import InputError
from .script import (
    Angle,
    Continuity,
    Entity,
    EntityKind,
    Line,
    Movement,
    Scene,
    Script,
    Shot,
    ShotSize,
    Transition,
    letters,
)

HEADING = re.compile(r"^\s*(?:\.(?=[^.])|(?:INT|EXT|EST|INT\.?/EXT|I/E)[. ])", re.IGNORECASE)
ENTITY_NOTE = re.compile(r"entity (\S+) \((character|prop|location)\) (.*?):\s*(.*)", re.DOTALL)
SHOT_NOTE = re.compile(r"shot (\S+): (\d+(?:\.\d+)?) s; (.*)", re.DOTALL)
TRANSITIONS = {"DISSOLVE TO:": "dissolve", "FADE IN:": "fade", "FADE TO BLACK:": "fade", "FADE OUT.": "fade"}
VOICE_OVER = ("NARRATOR", "VOICE-OVER", "VOICE OVER")
SPOKEN = {"dissolve": "DISSOLVE TO:", "fade": "FADE IN:"}


def is_fountain(text: str) -> bool:
    """Whether a text is a screenplay: a scene heading on a line of its own, before or after a blank one."""
    lines = text.splitlines()
    return any(
        HEADING.match(line)
        and (line.strip().startswith(".") or line.strip()[:60].isupper())
        and (index == 0 or not lines[index - 1].strip())
        for index, line in enumerate(lines)
    )


@dataclass
class Passage:
    """A stretch of a screenplay that a shot could show: an action, and what is said in it.

    Attributes:
        given: what a shot note says of it, by the names of `Shot`.
    """

    action: str = ""
    lines: list[tuple[str | None, str]] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)


@dataclass
class ScreenplayScene:
    """A heading, and what happens under it."""

    heading: str
    location: str
    time: str
    summary: str = ""
    passages: list[Passage] = field(default_factory=list)


@dataclass
class Screenplay:
    """What a Fountain text says."""

    title: str
    logline: str
    scenes: list[ScreenplayScene]
    entities: list[Entity]


def read_fountain(text: str) -> Screenplay:
    """Reads a screenplay.

    Raises:
        InputError: it has no scene; or a note of ours is malformed, with its line.
    """
    from fountain import ElementType, FountainParser

    document: Any = FountainParser().parse(text)
    found = Screenplay(str(document.metadata.get("title") or ""), str(document.metadata.get("logline") or ""), [], [])
    speaker: str | None = None
    transition = ""
    for element in document.elements:
        kind, words = element.type, " ".join(element.text.split())
        scene = found.scenes[-1] if found.scenes else None
        if kind is ElementType.SCENE_HEADING:
            found.scenes.append(_scene(words))
        elif kind is ElementType.NOTE:
            begins = _note(found, scene, words.removeprefix("[[").removesuffix("]]").strip(), element.line_number)
            transition = "" if begins else transition
        elif kind is ElementType.TRANSITION:
            transition = TRANSITIONS.get(words.upper(), "")
        elif scene is None:
            continue
        elif kind is ElementType.SYNOPSIS:
            scene.summary = f"{scene.summary} {words}".strip()
        elif kind in (ElementType.ACTION, ElementType.CENTERED):
            _act(scene, words, transition)
            transition, speaker = "", None
        elif kind in (ElementType.CHARACTER, ElementType.DUAL_DIALOGUE):
            speaker = re.sub(r"\s*\(.*?\)|\^", "", words).strip()
            if speaker.upper() in VOICE_OVER:
                speaker = None
        elif kind in (ElementType.DIALOGUE, ElementType.LYRICS):
            if not scene.passages:
                scene.passages.append(Passage())
            scene.passages[-1].lines.append((speaker, words))
    found.scenes = [scene for scene in found.scenes if scene.passages]
    if not found.scenes:
        raise InputError("the screenplay has no scene with anything in it: a heading looks like INT. KITCHEN - DAY")
    return found


def _scene(heading: str) -> ScreenplayScene:
    text = re.sub(r"\s*#[^#]*#\s*$", "", heading).lstrip(".")
    inside = bool(re.match(r"\s*(INT|I/E)", text, re.IGNORECASE))
    place = re.sub(r"^\s*(INT\.?/EXT|INT|EXT|EST|I/E)\.?\s*", "", text, flags=re.IGNORECASE)
    location, dash, time = place.rpartition(" - ")
    return ScreenplayScene(
        "INT" if inside else "EXT",
        (location if dash else place).strip() or "somewhere",
        time.strip().lower() if dash else "day",
    )


def _act(scene: ScreenplayScene, words: str, transition: str) -> None:
    """Action: into the shot whose note has just been read, else a passage of its own."""
    last = scene.passages[-1] if scene.passages else None
    if last is not None and last.given and not last.action and not last.lines:
        last.action = words
    else:
        scene.passages.append(Passage(words, given={"transition_in": transition} if transition else {}))


def _note(found: Screenplay, scene: ScreenplayScene | None, words: str, line: int) -> bool:
    """Reads a note of ours, and says whether a shot begins with it; others are left alone."""
    if entity := ENTITY_NOTE.fullmatch(words):
        id_, kind, name, description = entity.groups()
        found.entities.append(Entity(id=id_, kind=_one(EntityKind, kind, line), name=name, description=description))
    elif (shot := SHOT_NOTE.fullmatch(words)) and scene is not None:
        id_, seconds, rest = shot.groups()
        parts = [part.strip() for part in rest.split(";")]
        if len(parts) != 6:
            raise InputError(
                f"line {line} of the screenplay: a shot note has size; angle; movement; transition; continuity; entities"
            )
        size, angle, movement, cut, continuity, cast = parts
        given = {
            "id": id_, "seconds": float(seconds), "size": _one(ShotSize, size, line), "angle": _one(Angle, angle, line),
            "movement": _one(Movement, movement, line), "transition_in": _one(Transition, cut, line),
            "continuity": _one(Continuity, continuity, line), "entities": [e.strip() for e in cast.split(",") if e.strip()],
        }  # fmt: skip
        scene.passages.append(Passage(given=given))
        return True
    return False


def _one(known: Any, value: str, line: int) -> Any:
    if value not in get_args(known):
        raise InputError(f"line {line} of the screenplay: {value!r} is none of {', '.join(get_args(known))}")
    return value


def write_fountain(script: Script) -> str:
    """A script as a screenplay. What Fountain has no place for (voices, wardrobe, references, prompt changes) stays in script.yaml."""
    names = {entity.id: entity.name for entity in script.entities}
    out = [f"Title: {script.title}"]
    if script.logline:
        out.append(f"Logline: {' '.join(script.logline.split())}")
    out += ["", *(_entity_note(entity) for entity in script.entities), ""]
    for number, scene in enumerate(script.scenes, 1):
        out += [f".{scene.heading}. {names[scene.location].upper()} - {scene.time.upper()} #{number}#", ""]
        if scene.summary:
            out += [f"= {' '.join(scene.summary.split())}", ""]
        for shot in scene.shots:
            out += _shot_lines(shot, names)
    return "\n".join(out).rstrip() + "\n"


def _entity_note(entity: Entity) -> str:
    return f"[[entity {entity.id} ({entity.kind}) {entity.name}: {_flat(entity.description)}]]"


def _shot_lines(shot: Shot, names: dict[str, str]) -> list[str]:
    note = (
        f"[[shot {shot.id}: {shot.seconds:g} s; {shot.size}; {shot.angle}; {shot.movement}; {shot.transition_in}; "
        f"{shot.continuity}; {', '.join(shot.entities)}]]"
    )
    out = [f"> {SPOKEN[shot.transition_in]}", ""] if shot.transition_in in SPOKEN else []
    out += [note, ""]
    if shot.action:
        out += [f"!{_flat(shot.action)}", ""]
    for line in shot.lines:
        cue = f"@{names[line.speaker]}" if line.speaker else "NARRATOR (V.O.)"
        out += [cue, _flat(line.text), ""]
    return out


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("]]", "] ]")


def script_of(screenplay: Screenplay, lengths: list[float] | None = None) -> tuple[list[Entity], list[Scene]]:
    """Entities and scenes of a screenplay. Shots without a note are named by scene and letter, and last as `lengths` says (by
    passage, over the whole film)."""
    cast = _Cast(screenplay)
    scenes, passage_number = [], 0
    for number, scene in enumerate(screenplay.scenes, 1):
        shots = []
        for index, passage in enumerate(scene.passages):
            lines = [Line(speaker=cast.speaker(who), text=text) for who, text in passage.lines]
            seen = [*cast.mentioned(passage.action), *(line.speaker for line in lines if line.speaker)]
            values: dict[str, Any] = {
                "id": f"{number}{letters(index)}", "seconds": lengths[passage_number] if lengths else 2.0,
                "action": passage.action or ("" if "id" in passage.given else "They talk."), "entities": list(dict.fromkeys(seen))[:3], "lines": lines,
            }  # fmt: skip
            shots.append(Shot(**{**values, **passage.given}))
            passage_number += 1
        scenes.append(
            Scene(
                id=f"s{number}", heading="INT" if scene.heading == "INT" else "EXT", location=cast.place(scene.location),
                time=scene.time, summary=scene.summary, shots=shots,
            )
        )  # fmt: skip
    return cast.entities, scenes


class _Cast:
    """Entities of a screenplay: those that notes describe, and whoever speaks."""

    def __init__(self, screenplay: Screenplay) -> None:
        self.entities = list(screenplay.entities)
        self._by_name = {entity.name.casefold(): entity.id for entity in self.entities}
        for scene in screenplay.scenes:
            self._add(scene.location, "location")
            for passage in scene.passages:
                for who, _ in passage.lines:
                    if who:
                        self._add(who, "character")

    def _add(self, name: str, kind: EntityKind) -> None:
        if name.casefold() in self._by_name:
            return
        base = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:48] or kind
        base = f"{base}-{kind}" if is_device_name(base) else base
        taken = {entity.id.lower() for entity in self.entities}
        id_ = next(i for i in (base, *(f"{base}-{n}" for n in range(2, 9999))) if i not in taken)
        shown = name.title() if name.isupper() else name
        self.entities.append(
            Entity(id=id_, kind=kind, name=shown, description=shown.lower() if kind == "location" else "")
        )
        self._by_name[name.casefold()] = id_

    def speaker(self, name: str | None) -> str | None:
        return self._by_name[name.casefold()] if name else None

    def place(self, name: str) -> str:
        return self._by_name[name.casefold()]

    def mentioned(self, text: str) -> list[str]:
        """Characters that an action names, in order."""
        low = text.casefold()
        found = [
            (match.start(), entity.id)
            for entity in self.entities
            if entity.kind == "character" and (match := re.search(rf"\b{re.escape(entity.name.casefold())}\b", low))
        ]
        return [id_ for _, id_ in sorted(found)]
