"""The rollout, and which takes are in it. A new take stands in the last one's place; what else differs is fed from the disk."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..storyboard.errors import FilmwrightError
from ..storyboard.production import Production
from ..storyboard.script import Shot
from ..storyboard.stage import Frames, Rollout
from ..storyboard.takes import TakeRecord, circled, read_take_chunks, take_folder


@dataclass(frozen=True)
class _Past:
    """A shot that has ended.

    Attributes:
        mark: which take of it.
        rolled: whether the rollout has it: it has none of a shot that failed.
    """

    mark: str
    rolled: bool


GIVEN_UP = _Past("given up", True)


class Reel:
    """A rollout that is brought to any moment of a production."""

    def __init__(self, production: Production, start: Callable[[], Rollout]) -> None:
        self._production, self._start = production, start
        self._rollout: Rollout | None = None
        self._past: list[_Past] = []
        self._ends: deque[Frames | None] = deque(maxlen=2)  # a retake drops one, and the one before is needed

    @property
    def rollout(self) -> Rollout:
        if self._rollout is None:
            raise FilmwrightError("no shot has begun")
        return self._rollout

    @property
    def end(self) -> Frames | None:
        """The last chunk of the shot before the one that rolls."""
        return self._ends[-1] if self._ends else None

    def marks(self) -> list[str]:
        """Which takes stand before the one that rolls."""
        return [past.mark for past in self._past]

    def add(self, record: TakeRecord, end: Frames) -> None:
        """The shot that rolled has ended."""
        self._past.append(_Past(_mark(record, record.chunks), True))
        self._ends.append(end)

    def give_up(self) -> None:
        """Nobody wants the shot that rolled: the next one stands in its place."""
        self._past.append(GIVEN_UP)
        self._ends.append(None)

    def tear(self) -> None:
        """The rollout is broken; the next one begins from nothing."""
        self._rollout = None

    def wind(self, shots: list[tuple[Shot, int]]) -> bool:
        """Brings the rollout to the moment after these shots, as circled: each with the number of chunks of it that the film has at
        most. Returns whether one shot more is in it, in whose place the next one is to stand."""
        wanted = self._wanted(shots)
        same = next((i for i, past in enumerate(self._past) if wanted[i : i + 1] != [past.mark]), len(self._past))
        others = sum(past.rolled for past in self._past[same:])
        if self._rollout is None or others > 1:
            self._rollout = self._start()
            self._ends.clear()
            same = others = 0
        retake = others == 1
        if retake:
            self._ends.pop()
        del self._past[same:]
        for (shot, most), mark in zip(shots[same:], wanted[same:], strict=True):
            fed = self._feed(shot, most, retake)
            self._past.append(_Past(mark, fed))
            retake = retake and not fed
        return retake

    def _wanted(self, shots: list[tuple[Shot, int]]) -> list[str]:
        """The marks of these shots' circled takes."""
        last = circled(self._production, shots[-1][0].id) if shots else None
        done = self.marks()[: len(shots)]
        if not shots or (last and done[-1:] == [_mark(last, shots[-1][1])] and len(done) == len(shots)):
            return done  # the usual case: this process has just shot the shot before
        records = ((shot.id, most, circled(self._production, shot.id)) for shot, most in shots)
        return [_mark(record, most) if record else f"{shot}/-" for shot, most, record in records]

    def _feed(self, shot: Shot, most: int, retake: bool) -> bool:
        """Feeds at most so many chunks of the circled take of a shot to the rollout; False when there is none."""
        record = circled(self._production, shot.id)
        chunks = read_take_chunks(self._production, record) if record else None
        if record is None:
            return False
        if chunks is None:
            self._warn_of(record, "its chunks are damaged")
            return False
        changes = dict(record.prompts)
        pins = {since: [self._production.inside(p) for p in paths] for since, paths in record.references}
        self.rollout.begin_shot(
            changes[0], shot=shot.id, take=record.take, references=pins.get(0, []), continuity=shot.continuity, retake=retake
        )  # fmt: skip
        chunks, fed = chunks[:most], None
        for index, chunk in enumerate(chunks):
            if index and index in changes:
                self.rollout.reprompt(changes[index])
            if index and index in pins:
                self.rollout.pin(pins[index])
            try:
                fed = self.rollout.feed(chunk.latents, chunk.state, decode=index == len(chunks) - 1)
            except FilmwrightError as error:
                raise FilmwrightError(
                    f"take {record.take} of shot {record.shot}: {error}; remove {take_folder(self._production, record.shot, record.take)}, "
                    "and it is made anew"
                ) from error
        self._ends.append(fed.frames if fed else None)
        return True

    def _warn_of(self, record: TakeRecord, why: str) -> None:
        warnings.warn(
            f"take {record.take} of shot {record.shot}: {why}; what follows is made as if that shot had not been shot. "
            f"'filmwright shoot {self._production.folder}' makes it anew",
            stacklevel=2,
        )


def _mark(record: TakeRecord, most: int) -> str:
    return f"{record.shot}/{record.take}/{record.depends}/{min(record.chunks, most)}"
