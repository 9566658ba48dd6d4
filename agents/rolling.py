"""A take while it is rolling, and what a critic is shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ..storyboard.files import replacing
from ..storyboard.images import load_reference
from ..storyboard.production import Production
from ..storyboard.script import Script, Shot
from ..storyboard.stage import Frames, Generator, Latents
from ..storyboard.takes import Asked, Rolling, TakeRecord
from ..storyboard.timeline import ShotTiming
from ..storyboard.video import ShotEncoder
from .casting import references_of
from .critic import Look, Scenery, Verdict
from .prompts import staging_asked
from .viewer import contact_sheet

GivenChunk = tuple[Latents, Latents | None]
"""Latents and hidden state of a chunk that is there before the shot is made."""


@dataclass
class RollingTake:
    """The take that is rolling.

    Attributes:
        base: the take it goes on from, where it does.
        given: chunks that it begins with: those of the base, or of the footage that the shot opens with.
        trusted: whether a person has said to go on with it, whatever the critic asks.
        trusted: whether a person has said to go on with it, whatever the critic asks.
    """

    shot: Shot
    timing: ShotTiming
    number: int
    depends: str
    asked: Asked
    starts_from: str | None
    base: TakeRecord | None
    given: Sequence[GivenChunk]
    rolling: Rolling
    encoder: ShotEncoder
    prompts: list[tuple[int, str]]
    pins: list[tuple[int, list[Path]]]
    began: float
    ready: float
    latents: list[Latents] = field(default_factory=list)
    firsts: list[Frames] = field(default_factory=list)
    frames: list[Frames] = field(default_factory=list)
    last_frames: Frames | None = None
    draws: dict[int, int] = field(default_factory=dict)
    verdicts: list[dict[str, object]] = field(default_factory=list)
    interventions: int = 0
    again: bool = False
    trusted: bool = False

    def standing(self) -> Shot:
        """The shot as it stands at the newest chunk."""
        newest = len(self.latents) - 1
        return next((shot for since, shot in reversed(self.timing.prompt_changes) if since <= newest), self.shot)


def look_at(
    take: RollingTake, generator: Generator, production: Production, script: Script, before: Frames | None, *, interventions_left: int,
    takes_left: int, shows: bool,
) -> Look:  # fmt: skip
    """What a critic is shown of a take's newest chunk.

    Args:
        before: the last chunk of the shot before; `shows`: whether the critic looks at pictures.
    """
    assert take.last_frames is not None
    index, prompt = len(take.latents) - 1, take.prompts[-1][1]
    cut = index == 0 and take.timing.position > 1 and take.shot.continuity == "new"
    cast = script.cast_of(take.standing())
    measures = generator.measure(
        take.last_frames, prompt, [path for entity in cast for path in references_of(production, entity)],
        before=before if cut else None,
    )  # fmt: skip
    scene = _scenery(take, production, script, before) if shows else None
    floor, asked = generator.profile.prompt_floor, staging_asked(prompt)
    return Look(measures, prompt, index, cut, floor, interventions_left, takes_left, scene, asked)


def _scenery(take: RollingTake, production: Production, script: Script, before: Frames | None) -> Scenery:
    standing, scene = take.standing(), script.scene_of(take.shot.id)
    pictures = {}
    for entity in script.cast_of(standing):
        for path in references_of(production, entity)[:1]:
            pictures[entity.name] = load_reference(path)
    last = before[-1] if before is not None and take.timing.position > 1 else None
    return Scenery(
        np.concatenate(take.frames), last, standing.action, script.entity(scene.location).name, scene.time, standing.size,
        standing.notes, pictures,
    )  # fmt: skip


def said_before(production: Production, take: RollingTake, index: int, draw: int) -> Verdict | None:
    """What an interrupted run was told of this very chunk: looking again would cost again."""
    place = {"event": "verdict", "shot": take.shot.id, "take": take.number, "chunk": index, "draw": draw}
    for entry in reversed(production.read_log()):
        if all(entry.get(key) == value for key, value in place.items()):
            try:
                return Verdict.model_validate({k: v for k, v in entry.items() if k in Verdict.model_fields})
            except ValidationError:
                return None
    return None


def keep_picture(take: RollingTake, name: str) -> Path:
    """Keeps a contact sheet of the newest chunk for a person to look at."""
    assert take.last_frames is not None
    path = take.rolling.folder / "reviews" / f"{name}.jpg"
    with replacing(path) as temporary:
        contact_sheet(take.last_frames, None).save(temporary, format="JPEG", quality=85)
    return path


def keep_sheet(take: RollingTake, scene: Scenery) -> str:
    """Keeps what a critic saw; returns where, from the take's folder."""
    name = f"reviews/{len(take.verdicts) + 1:02d}.jpg"
    with replacing(take.rolling.folder / name) as temporary:
        contact_sheet(scene.frames, scene.before).save(temporary, format="JPEG", quality=80)
    return name
