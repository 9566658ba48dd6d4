"""From seconds to chunks: every shot's cut point, exact to the frame.

Shots are a whole number of chunks. A shot's length in chunks is the difference of the *rounded running totals*, so
rounding never adds up: the film's length differs from the script's by half a chunk at most (more only where a shot is
shorter than half a chunk, since every shot keeps one).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .script import Script, Shot
from .stage import Profile


@dataclass(frozen=True)
class ShotTiming:
    """One shot on the grid of a profile.

    Attributes:
        position: the shot's number in the film, from 1.
        cut_latent: the latent frame its cut point is at; `cut_frame`: its first video frame.
        prompt_changes: for every prompt change the chunk it falls on, and the shot as it stands from there on.
    """

    position: int
    shot_id: str
    cut_latent: int
    cut_frame: int
    chunks: int
    frames: int
    seconds: float
    planned_seconds: float
    prompt_changes: tuple[tuple[int, Shot], ...]


@dataclass(frozen=True)
class Timeline:
    """All shots of a film, and its sums."""

    shots: tuple[ShotTiming, ...]
    chunks: int
    frames: int
    fps: int

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    def of(self, shot_id: str) -> ShotTiming:
        return next(shot for shot in self.shots if shot.shot_id == shot_id)


def build_timeline(script: Script, profile: Profile) -> Timeline:
    """Lays a script out for a generator."""
    chunk_frames = profile.video_frames(profile.chunk_latents, fresh=False)
    per_second = Fraction(profile.fps, chunk_frames)
    planned = Fraction(0)
    chunks = frames = 0
    shots = []
    for position, shot in enumerate(script.shots(), 1):
        planned += Fraction(str(shot.seconds)) * per_second
        fresh = position == 1 or (profile.cut_stream == "restart" and shot.continuity != "extend")
        length = max(1, round(planned) - chunks)
        count = profile.video_frames(length * profile.chunk_latents, fresh)
        changes = tuple(
            (min(length - 1, max(1, round(Fraction(str(seconds)) * per_second))), standing)
            for seconds, standing in shot.after_changes()
            if length > 1
        )
        shots.append(
            ShotTiming(
                position,
                shot.id,
                chunks * profile.chunk_latents,
                frames,
                length,
                count,
                count / profile.fps,
                shot.seconds,
                changes,
            )
        )
        chunks += length
        frames += count
    return Timeline(tuple(shots), chunks, frames, profile.fps)
