"""From seconds to chunks: every shot's cut point, exact to the frame.

A shot without a take is a whole number of chunks: the difference of the *rounded running totals*, so rounding never adds
up. The film's length differs from the script's by half a chunk at most (more only where a shot is shorter than half a
chunk, since every shot keeps one).

A shot that has a take keeps the length of that take for as long as its own seconds stay. When they are edited, the shot
gets them to the frame: the take is trimmed, or continued in whole chunks and then trimmed. The shots around it keep
theirs, and their cut points move.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        chunks: chunks that its take needs.
        frames: video frames it has in the film; `seconds`: the same in seconds.
        asked_frames: video frames that the script asks for; more than `frames` where its take is too short.
        prompt_changes: for every prompt change the chunk it falls on, and the shot as it stands from there on.
    """

    position: int
    shot_id: str
    cut_latent: int
    cut_frame: int
    chunks: int
    frames: int
    asked_frames: int
    seconds: float
    planned_seconds: float
    prompt_changes: tuple[tuple[int, Shot], ...]


@dataclass(frozen=True)
class Held:
    """The take that a shot has in the film.

    Attributes:
        chunks, frames: of the whole take.
        seconds: the shot's length in the script when the take was made; None where the take does not say.
        cut_frames: video frames of it that the script then asked for; None where the take does not say.
    """

    chunks: int
    frames: int
    seconds: float | None = None
    cut_frames: int | None = None


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


def build_timeline(script: Script, profile: Profile, held: Mapping[str, Held] | None = None) -> Timeline:
    """Lays a script out for a generator.

    Args:
        held: the takes in the film, by shot id; their shots keep their length until their own seconds are edited.
    """
    takes = held or {}
    grid = _Grid(profile)
    silent = any(take.seconds is None for take in takes.values())
    without_takes = {shot.shot_id: shot.chunks for shot in build_timeline(script, profile).shots} if silent else {}
    planned = done = Fraction(0)
    chunks = frames = 0
    timings: list[ShotTiming] = []
    shots = list(script.shots())
    for index, shot in enumerate(shots):
        exact = grid.chunks(shot.seconds)
        planned += exact
        fresh = index == 0 or (profile.cut_stream == "restart" and shot.continuity != "extend")
        take = takes.get(shot.id)
        if take is None:
            length = max(1, round(planned - done))
            asked = count = grid.frames(length, fresh)
        elif _as_made(take, shot.seconds, exact, without_takes.get(shot.id)):
            length, asked = take.chunks, take.cut_frames or take.frames
            count = min(asked, take.frames)
        else:
            joined = index + 1 < len(shots) and shots[index + 1].continuity == "extend"
            length, asked = grid.to_the_chunk(exact, fresh) if joined else grid.to_the_frame(shot.seconds, fresh)
            count = min(asked, take.frames)
        timings.append(
            ShotTiming(
                position=index + 1,
                shot_id=shot.id,
                cut_latent=chunks * profile.chunk_latents,
                cut_frame=frames,
                chunks=length,
                frames=count,
                asked_frames=asked,
                seconds=count / profile.fps,
                planned_seconds=shot.seconds,
                prompt_changes=grid.changes(shot, length),
            )
        )
        done += length if asked == grid.frames(length, fresh) else Fraction(asked, grid.chunk_frames)
        chunks += length
        frames += count
    return Timeline(tuple(timings), chunks, frames, profile.fps)


def changes_on_grid(shot: Shot, chunks: int, profile: Profile) -> tuple[tuple[int, Shot], ...]:
    """The prompt changes of a shot of `chunks` chunks: the chunk each falls on, and the shot as it stands from there on."""
    return _Grid(profile).changes(shot, chunks)


def _as_made(take: Held, seconds: float, exact: Fraction, without_takes: int | None) -> bool:
    """Whether a shot still has the length for which its take was made."""
    if take.seconds is not None:
        return take.seconds == seconds
    return take.chunks == without_takes or abs(take.chunks - exact) < 1  # either way of rounding its seconds to chunks


class _Grid:
    """Seconds, frames and chunks of a profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.chunk_frames = profile.video_frames(profile.chunk_latents, fresh=False)

    def chunks(self, seconds: float) -> Fraction:
        """Chunks that `seconds` are, unrounded."""
        return Fraction(str(seconds)) * Fraction(self._profile.fps, self.chunk_frames)

    def frames(self, chunks: int, fresh: bool) -> int:
        """Video frames of whole chunks."""
        return self._profile.video_frames(chunks * self._profile.chunk_latents, fresh)

    def to_the_frame(self, seconds: float, fresh: bool) -> tuple[int, int]:
        """Whole chunks that hold `seconds`, and the seconds in frames."""
        asked = max(1, round(Fraction(str(seconds)) * self._profile.fps))
        missing = self.frames(1, False) - self.frames(1, fresh)
        return -(-(asked + missing) // self.chunk_frames), asked

    def to_the_chunk(self, exact: Fraction, fresh: bool) -> tuple[int, int]:
        """The nearest number of whole chunks, and its frames: a shot that the next one extends ends with a chunk."""
        length = max(1, round(exact))
        return length, self.frames(length, fresh)

    def changes(self, shot: Shot, chunks: int) -> tuple[tuple[int, Shot], ...]:
        """Prompt changes, each on a chunk inside the shot and none on its first."""
        if chunks < 2:
            return ()
        placed = ((max(1, round(self.chunks(seconds))), standing) for seconds, standing in shot.after_changes())
        return tuple((min(chunks - 1, chunk), standing) for chunk, standing in placed)
