"""Turns what was read into a script by a template: shots, sizes, movements and seconds."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass
from itertools import accumulate

from ...storyboard.device_names import is_device_name
from ...storyboard.errors import InputError
from ...storyboard.lexicon import INTERIORS, KIND_OF, SET_OF
from ...storyboard.script import MAX_SHOT_SECONDS, Angle, Entity, Line, Scene, Script, Shot, letters
from ...storyboard.staging import puppet_kind
from ...storyboard.vocabulary import ACCESSORIES, HUES, PATTERNS
from ...templates.script_template import ScriptTemplate, ShotRole
from ..lengths import MIN_SHOT_SECONDS, check_seconds, share_seconds
from .reading import Reading, Sentence, read_story

SIGNATURE = "rules (pattern matching, not understanding)"


def slug(text: str, fallback: str) -> str:
    """An id: ASCII letters, digits and hyphens, and no name that Windows keeps for a device."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    found = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower()[:48].strip("-") or fallback
    return f"{found}-{fallback}" if is_device_name(found) else found


@dataclass(frozen=True)
class _Planned:
    """A shot before it has a length: the sentences it shows and the role the template gives it."""

    role: ShotRole
    sentences: tuple[Sentence, ...]
    fresh: bool


class RulesPlanner:
    """See `agents.planner.Planner`."""

    signature = SIGNATURE

    def plan(self, story: str, *, template: ScriptTemplate, seconds: float, seed: int) -> Script:
        check_seconds(seconds)
        reading = read_story(story)
        if not reading.sentences:
            raise InputError("the story has no words in it: give some text")
        rng = random.Random(f"plan/{seed}")
        entities = _Entities(reading, rng)
        planned = _lay_out(reading, template, seconds)
        lengths = _seconds(planned, template, seconds)
        offset = {role: rng.randrange(8) for role in sorted(template.grammar)}
        used = dict(offset)
        scenes: list[Scene] = []
        key: tuple[str, str] | None = None
        for shot, length in zip(planned, lengths, strict=True):
            head = shot.sentences[0]
            if (head.place, head.time) != key:
                key = (head.place, head.time)
                place = entities.place(head.place)
                heading = "INT" if SET_OF.get(head.place) in INTERIORS else "EXT"
                scenes.append(
                    Scene.model_construct(
                        id=f"s{len(scenes) + 1}", heading=heading, location=place, time=head.time, summary="", shots=[]
                    )
                )
            grammar = template.grammar[shot.role]
            turn = used[shot.role]
            used[shot.role] += 1
            scene = scenes[-1]
            scene.shots.append(
                Shot(
                    id=f"{len(scenes)}{letters(len(scene.shots))}",
                    seconds=length,
                    size=grammar.sizes[turn % len(grammar.sizes)],
                    angle=_angle(shot),
                    movement=grammar.movements[turn % len(grammar.movements)],
                    action=_action(shot),
                    entities=entities.cast(shot),
                    lines=entities.lines(shot),
                )
            )
        title = reading.title or _title(reading)
        return Script(
            title=title, logline=_clip(reading.sentences[0].text, 200), style=template.style, planner=SIGNATURE,
            template=template.name, entities=entities.used(scenes), scenes=[Scene.model_validate(s.model_dump()) for s in scenes],
        )  # fmt: skip


class _Entities:
    """Characters, props and places as entities; looks are drawn so that no two characters share a hue."""

    def __init__(self, reading: Reading, rng: random.Random) -> None:
        self._by_key: dict[str, Entity] = {}
        ids: set[str] = set()
        hues = list(HUES)
        rng.shuffle(hues)
        text = " ".join(s.text.lower() for s in reading.sentences)

        def add(key: str, kind: str, name: str, description: str) -> None:
            base = slug(name, kind)
            entity_id, number = base, 2
            while entity_id in ids:
                entity_id, number = f"{base}-{number}", number + 1
            ids.add(entity_id)
            self._by_key[f"{kind}/{key}"] = Entity.model_validate(
                {"id": entity_id, "kind": kind, "name": name, "description": description}
            )

        for index, (key, label) in enumerate(reading.characters.items()):
            told = next((h for h in HUES if re.search(rf"\b{h}\s+{re.escape(key)}\b", text)), None)
            hue = told or hues[index % len(hues)]
            noun = key if key in KIND_OF else reading.nouns.get(key, "person")
            puppet = puppet_kind(Entity(id="x", kind="character", name=noun))
            accessory = rng.choice(ACCESSORIES)
            pattern = rng.choice(PATTERNS)
            wears = "" if accessory == "bare" else f" with a {accessory}"
            species = "" if noun == puppet else f", played by a {puppet}"
            add(key, "character", label, f"{_article(hue)} {pattern} {noun}{wears}{species}")
        if not reading.characters:
            add("", "character", "the main character", f"{_article(hues[0])} plain person")
        for prop in reading.props:
            add(prop, "prop", prop, _article(prop))
        for place in reading.places or ["meadow"]:
            add(place, "location", place, _article(place))
        self._default_place = (reading.places or ["meadow"])[0]
        self._main = next(iter(reading.characters), "")

    def place(self, key: str) -> str:
        return self._by_key[f"location/{key or self._default_place}"].id

    def cast(self, shot: _Planned) -> list[str]:
        """Characters of the shot (for a reaction the other one first), then its props."""
        keys = list(dict.fromkeys(key for s in shot.sentences for key in s.cast))[:3]
        if not keys and shot.role != "establish":
            keys = [self._main]
        if shot.role == "react" and len(keys) > 1:
            keys = [*keys[1:], keys[0]]
        props = list(dict.fromkeys(p for s in shot.sentences for p in s.props))
        found = [f"character/{key}" for key in keys] + [f"prop/{prop}" for prop in props]
        return [self._by_key[key].id for key in found if key in self._by_key]

    def lines(self, shot: _Planned) -> list[Line]:
        if not shot.fresh:
            return []
        lines = []
        for sentence in shot.sentences:
            for line in sentence.lines:
                entity = self._by_key.get(f"character/{line.speaker}") if line.speaker else None
                lines.append(Line(speaker=entity.id if entity else None, text=line.text))
        return lines

    def used(self, scenes: list[Scene]) -> list[Entity]:
        """All characters and places, and the props that some shot shows."""
        shown = {e for scene in scenes for shot in scene.shots for e in shot.entities}
        speaking = {line.speaker for scene in scenes for shot in scene.shots for line in shot.lines}
        places = {scene.location for scene in scenes}
        return [e for e in self._by_key.values() if e.id in shown | speaking | places]


def _lay_out(reading: Reading, template: ScriptTemplate, seconds: float) -> list[_Planned]:
    """Shares the sentences out over the shots that the length allows."""
    count = max(1, min(round(seconds / template.shot_seconds), int(seconds / MIN_SHOT_SECONDS)))
    weights = [max(20, len(s.text)) for s in reading.sentences]
    ends = list(accumulate(weights))
    total = ends[-1]
    beats = list(accumulate(beat.share for beat in template.beats))
    planned: list[_Planned] = []
    taken = 0
    steps: dict[int, int] = {}
    for index in range(count):
        until = total * (index + 1) / count
        stop = taken
        while stop < len(ends) and (ends[stop] + ends[stop] - weights[stop]) / 2 < until:
            stop += 1
        fresh = stop > taken
        sentences = reading.sentences[taken:stop] if fresh else [reading.sentences[max(0, taken - 1)]]
        taken = max(taken, stop)
        where = (index + 0.5) / count * beats[-1]
        beat = next(i for i, end in enumerate(beats) if where <= end or i == len(beats) - 1)
        pattern = template.beats[beat].pattern
        role = pattern[steps.get(beat, 0) % len(pattern)]
        steps[beat] = steps.get(beat, 0) + 1
        before = planned[-1].sentences[0] if planned else None
        if "establish" in template.grammar and (before is None or before.place != sentences[0].place):
            role = "establish"
        elif before is not None and not fresh and role in ("establish", "act") and "react" in template.grammar:
            role = "react"
        planned.append(_Planned(role, tuple(sentences), fresh))
    return planned


def _seconds(planned: list[_Planned], template: ScriptTemplate, seconds: float) -> list[float]:
    """Lengths by weight, in hundredths, that add up to the film's."""
    weights = [
        template.grammar[shot.role].weight * (1.25 if any(s.lines for s in shot.sentences) and shot.fresh else 1.0)
        for shot in planned
    ]
    return [min(length, MAX_SHOT_SECONDS) for length in share_seconds(weights, seconds, MIN_SHOT_SECONDS)]


def _angle(shot: _Planned) -> Angle:
    """Over the shoulder for a reaction in a conversation of two."""
    people = {key for sentence in shot.sentences for key in sentence.cast}
    talking = any(sentence.lines for sentence in shot.sentences)
    return "over-shoulder" if shot.role == "react" and talking and len(people) > 1 else "eye"


def _action(shot: _Planned) -> str:
    return _clip(" ".join(s.text for s in shot.sentences), 400)


def _clip(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1].rsplit(" ", 1)[0] + "…"


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _title(reading: Reading) -> str:
    names = [label if label != key else f"the {key}" for key, label in list(reading.characters.items())[:2]]
    if names:
        joined = " and ".join(names)
        return joined[0].upper() + joined[1:]
    return _clip(reading.sentences[0].text, 40)
