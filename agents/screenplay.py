"""A screenplay as a script: its scenes, actions and lines stay as they are written; only framing and lengths are added."""

from __future__ import annotations

import re

from pydantic import ValidationError

from ..storyboard.errors import InputError
from ..storyboard.fountain import Passage, Screenplay, read_fountain, script_of
from ..storyboard.script import MAX_SHOT_SECONDS, Entity, Script
from ..storyboard.staging import puppet_kind
from ..storyboard.vocabulary import HUES
from ..templates.script_template import ScriptTemplate, ShotRole
from .lengths import MIN_SHOT_SECONDS, share_seconds

SIGNATURE = "the screenplay"
SPOKEN_WORDS_PER_SECOND, READ_WORDS_PER_SECOND = 2.5, 6.0
LINES_OF_SHOT = 2


def plan_screenplay(text: str, *, template: ScriptTemplate, seconds: float) -> Script:
    """A script of a Fountain text. Shots that a note of ours describes keep all of it; the others are framed by the template's
    grammar, and share `seconds` by what is done and said in them.

    Raises:
        InputError: it has no scenes, or a note is malformed.
    """
    try:
        return _planned(read_fountain(text), template, seconds)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"the screenplay: {place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from None


def _planned(screenplay: Screenplay, template: ScriptTemplate, seconds: float) -> Script:
    for written in screenplay.scenes:
        written.passages = [part for passage in written.passages for part in _split(passage)]
    passages = [passage for scene in screenplay.scenes for passage in scene.passages]
    entities, scenes = script_of(screenplay, _lengths(passages, seconds))
    turns: dict[ShotRole, int] = {}
    for scene, source in zip(scenes, screenplay.scenes, strict=True):
        for index, (shot, passage) in enumerate(zip(scene.shots, source.passages, strict=True)):
            if "size" in passage.given:
                continue
            role = _role(index, passage, template)
            grammar, turn = template.grammar[role], turns.get(role, 0)
            turns[role] = turn + 1
            shot.size, shot.movement = (
                grammar.sizes[turn % len(grammar.sizes)],
                grammar.movements[turn % len(grammar.movements)],
            )
    return Script(
        title=screenplay.title or "Untitled", logline=screenplay.logline, style=template.style, planner=SIGNATURE,
        template=template.name, entities=_described(entities, screenplay), scenes=scenes,
    )  # fmt: skip


def _split(passage: Passage) -> list[Passage]:
    """A long conversation goes on in further shots, one for every few lines."""
    if passage.given.get("id") or len(passage.lines) <= LINES_OF_SHOT:
        return [passage]
    first = Passage(passage.action, passage.lines[:LINES_OF_SHOT], passage.given)
    rest = passage.lines[LINES_OF_SHOT:]
    return [first, *(Passage("", rest[i : i + LINES_OF_SHOT]) for i in range(0, len(rest), LINES_OF_SHOT))]


def _lengths(passages: list[Passage], seconds: float) -> list[float]:
    """Seconds of every passage, in hundredths."""
    weights = [
        1.0
        + len(passage.action.split()) / READ_WORDS_PER_SECOND
        + sum(len(text.split()) for _, text in passage.lines) / SPOKEN_WORDS_PER_SECOND
        for passage in passages
    ]
    total = max(seconds, MIN_SHOT_SECONDS * len(weights))
    return [min(length, MAX_SHOT_SECONDS) for length in share_seconds(weights, total, MIN_SHOT_SECONDS)]


def _role(index: int, passage: Passage, template: ScriptTemplate) -> ShotRole:
    if index == 0 and "establish" in template.grammar and not passage.lines:
        return "establish"
    wanted: ShotRole = "react" if passage.lines and not passage.action else "act"
    return wanted if wanted in template.grammar else next(iter(template.grammar))


def _described(entities: list[Entity], screenplay: Screenplay) -> list[Entity]:
    """Characters without a description get what the action says of them at first sight, and a hue of their own."""
    actions = " ".join(passage.action for scene in screenplay.scenes for passage in scene.passages)
    described = []
    for index, entity in enumerate(entities):
        if entity.kind == "character" and not entity.description:
            told = re.search(rf"\b{re.escape(entity.name)}\b\s*[,(]\s*([^,.;!?)]{{3,120}})", actions, re.IGNORECASE)
            hue = HUES[index % len(HUES)]
            looks = told[1].strip() if told else f"a {hue} plain {puppet_kind(entity)}"
            entity = entity.model_copy(update={"description": looks})
        described.append(entity)
    return described
