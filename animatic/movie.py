"""The animatic: any script as a previz with title card, slates and subtitles, in seconds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..storyboard.exports import Subtitle, subtitles
from ..storyboard.script import Script, Shot
from ..storyboard.staging import stage_shot
from ..storyboard.timeline import ShotTiming, Timeline, build_timeline
from ..storyboard.titles import title_card, write_on
from ..storyboard.video import ShotEncoder, save_png
from .profile import PROFILE
from .stage import Scene, layout_seed
from .theatre import draw_frames

TITLE_SECONDS = 1.5
DRAWN_EVERY = 2
"""Frames a drawing is held: puppets are animated on twos, as paper films are."""


@dataclass(frozen=True)
class AnimaticReport:
    frames: int
    seconds: float


def shot_scene(script: Script, shot: Shot, seed: int, width: int, height: int) -> Scene:
    """The theatre's drawing of a shot."""
    staging = stage_shot(script, shot).staging
    return Scene(staging, width=width, height=height, layout_seed=layout_seed(seed, staging.set))


def slate_of(shot: Shot, timing: ShotTiming) -> str:
    return f"{timing.position} · {shot.id} · {shot.size} · {timing.seconds:.2f} s"


def make_animatic(
    script: Script, path: Path, *, seed: int, width: int = PROFILE.width, height: int = PROFILE.height,
    on_shot: Callable[[ShotTiming, Timeline], None] = lambda timing, timeline: None,
) -> AnimaticReport:  # fmt: skip
    """Draws a script as a film; drawing and encoding share the cores."""
    timeline = build_timeline(script, PROFILE)
    spoken = subtitles(script, timeline)
    encoder = ShotEncoder(fps=timeline.fps, width=width, height=height)
    card = title_card(script.title, script.logline, width, height)
    opening = round(TITLE_SECONDS * timeline.fps)
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = pool.submit(encoder.add, np.broadcast_to(card, (opening, *card.shape)))
        for shot, timing in zip(script.shots(), timeline.shots, strict=True):
            scene = shot_scene(script, shot, seed, width, height)
            for start in range(0, timing.frames, timeline.fps):
                count = min(timeline.fps, timing.frames - start)
                times = torch.arange(start, start + count, DRAWN_EVERY) / timeline.fps
                drawn = draw_frames(scene, times)
                first = timing.cut_frame + start
                finished = [
                    write_on(frame, slate_of(shot, timing), _said(spoken, (first + index * DRAWN_EVERY) / timeline.fps))
                    for index, frame in enumerate(drawn)
                ]
                pending.result()
                pending = pool.submit(encoder.add, np.repeat(np.stack(finished), DRAWN_EVERY, axis=0)[:count])
            on_shot(timing, timeline)
        pending.result()
    frames = encoder.save(path)
    return AnimaticReport(frames, frames / timeline.fps)


def _said(spoken: list[Subtitle], at: float) -> str:
    return next((s.text for s in spoken if s.start_seconds <= at < s.end_seconds), "")


def draw_panels(script: Script, folder: Path, *, seed: int) -> dict[str, Path]:
    """One still per shot for the storyboard, from the middle of it."""
    timeline = build_timeline(script, PROFILE)
    pictures = {}
    for shot, timing in zip(script.shots(), timeline.shots, strict=True):
        scene = shot_scene(script, shot, seed, PROFILE.width // 2, PROFILE.height // 2)
        frame = draw_frames(scene, torch.tensor([timing.seconds / 2]))[0]
        pictures[shot.id] = folder / f"{shot.id}.png"
        save_png(pictures[shot.id], frame)
    return pictures
