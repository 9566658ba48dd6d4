"""The cut: circled takes joined into the film, with fades, dissolves and titles only where the script asks for them.

A fade or dissolve is drawn inside the first half second of its own shot, so it never changes the film's length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FilmwrightError
from .exports import srt
from .files import disk_errors, write_text
from .handoff import otio
from .production import Production
from .script import Script
from .stage import Frames, Profile
from .takes import TakeRecord, take_folder
from .timeline import ShotTiming, Timeline
from .titles import title_card, write_on
from .video import Part, ShotEncoder, is_shot, join, read_frames

TRANSITION_SECONDS = 0.5
TITLE_SECONDS = 2.0


@dataclass(frozen=True)
class CutReport:
    """The film as it was joined; `missing` names the shots whose stand-in is in it."""

    path: Path
    frames: int
    seconds: float
    missing: tuple[str, ...]


def shot_video(production: Production, take: TakeRecord | None, timing: ShotTiming, profile: Profile) -> Path | None:
    """The video of a take, if it is whole and as long as the timeline needs; longer ones are trimmed."""
    if take is None or take.frames < timing.frames:
        return None
    path = take_folder(production, take.shot, take.take) / "frames.mp4"
    width, height = profile.delivered_size
    return path if is_shot(path, take.frames, width=width, height=height) else None


def set_aside(production: Production, take: TakeRecord) -> Path | None:
    """Renames the video of a take that cannot be joined, so that the take counts as damaged and is made anew.

    Returns:
        Where it is now; None when it is not there.
    """
    path = take_folder(production, take.shot, take.take) / "frames.mp4"
    if not path.is_file():
        return None
    aside = path.with_name("frames.damaged.mp4")
    with disk_errors(aside):
        path.replace(aside)
    return aside


def write_stand_in(path: Path, drawn: Frames, timing: ShotTiming, profile: Profile) -> None:
    """The video of a missing shot: drawn frames [F, H, W, 3] under a SHOT MISSING slate."""
    width, height = profile.delivered_size
    encoder = ShotEncoder(fps=profile.fps, width=width, height=height)
    slate = f"SHOT MISSING · {timing.position} · {timing.shot_id}"
    encoder.add(np.stack([write_on(frame, slate, "") for frame in drawn]))
    encoder.save(path)


def _with_transition(path: Path, shot: Part, before: Part | None, kind: str, profile: Profile) -> Path:
    """Draws a fade from black or a dissolve from the last picture of the shot before, through moviepy."""
    from moviepy import ColorClip, CompositeVideoClip, ImageClip, ImageSequenceClip, vfx

    frames = list(islice(read_frames(shot.path), shot.frames))
    clip: Any = ImageSequenceClip(frames, fps=profile.fps)
    length = min(TRANSITION_SECONDS, clip.duration / 2)
    size = profile.delivered_size
    if kind == "dissolve" and before is not None:
        *_, last = islice(read_frames(before.path), before.frames)
        under: Any = ImageClip(last).with_duration(clip.duration)
    else:
        under = ColorClip(size, color=(0, 0, 0)).with_duration(clip.duration)
    mixed = CompositeVideoClip([under, clip.with_effects([vfx.CrossFadeIn(length)])], size=size)
    encoder = ShotEncoder(fps=profile.fps, width=size[0], height=size[1])
    encoder.add(np.stack([mixed.get_frame((i + 0.5) / profile.fps) for i in range(len(frames))]).astype(np.uint8))
    encoder.save(path)
    return path


def assemble(
    production: Production,
    script: Script,
    timeline: Timeline,
    profile: Profile,
    takes: Mapping[str, TakeRecord],
    stand_ins: Mapping[str, Path],
) -> CutReport:
    """Joins the film, and writes its subtitles and the cut for editing programs.

    Args:
        takes: the take in the film, by shot id.
        stand_ins: videos for shots that have no usable take.

    Raises:
        FilmwrightError: a shot has neither a usable take nor a stand-in. A video that cannot be decoded is set aside.
    """
    parts: list[Part] = []
    missing = []
    work = production.folder / "takes"
    temporary: list[Path] = []
    width, height = profile.delivered_size
    title_frames = round(TITLE_SECONDS * profile.fps) if script.titles else 0
    try:
        if title_frames:
            card = title_card(script.title, script.logline, width, height)
            encoder = ShotEncoder(fps=profile.fps, width=width, height=height)
            encoder.add(np.broadcast_to(card, (title_frames, *card.shape)))
            temporary.append(work / ".title.mp4")
            encoder.save(temporary[-1])
            parts.append(Part(temporary[-1], title_frames))
        before: Part | None = None
        for shot, timing in zip(script.shots(), timeline.shots, strict=True):
            video = shot_video(production, takes.get(shot.id), timing, profile)
            if video is None:
                missing.append(shot.id)
                video = stand_ins.get(shot.id)
            if video is None and shot.id in takes and (aside := set_aside(production, takes[shot.id])):
                raise FilmwrightError(
                    f"shot {shot.id}: the video of take {takes[shot.id].take} cannot be decoded and is kept as {aside}: "
                    f"'filmwright shoot {production.folder}' makes the take anew"
                )
            if video is None:
                raise FilmwrightError(
                    f"shot {shot.id} has no usable take: 'filmwright shoot {production.folder}' makes one"
                )
            part = Part(video, timing.frames)
            if shot.transition_in != "cut":
                temporary.append(work / f".{shot.id}.mp4")
                drawn = _with_transition(temporary[-1], part, before, shot.transition_in, profile)
                parts.append(Part(drawn, timing.frames))
            else:
                parts.append(part)
            before = part
        frames = join(production.film_path, parts, fps=profile.fps)
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)
    write_text(production.subtitles_path, srt(script, timeline))
    write_text(production.otio_path, otio(production, script, timeline, title_frames=title_frames))
    return CutReport(production.film_path, frames, frames / profile.fps, tuple(missing))
