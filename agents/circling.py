"""Which take of a shot is circled: the best by score, unless a person chose one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..storyboard.production import Production
from ..storyboard.takes import TakeRecord, circle, read_choice, read_take, take_folder, take_is_whole, takes_of
from .current import SHOT_BEFORE, CurrentTakes
from .events import Event, Listener
from .questions import Question
from .recovery import rejected_takes

LOW_SCORE = 0.5
"""A take that scores less is not circled without a warning: something that was asked for is not there, or the light jumps."""


class Circling:
    """Chooses among the takes of a production.

    Args:
        current: the takes compared with the script as it is now.
    """

    def __init__(self, production: Production, current: Callable[[], CurrentTakes], tell: Listener) -> None:
        self._production, self._current, self._tell = production, current, tell
        self._rejected: set[tuple[str, int]] | None = None

    def settle(self, positions: Sequence[int]) -> list[int]:
        """Circles takes on disk that show what the script asks for, and returns the positions that need a new one."""
        left = []
        for position in positions:
            state = self._current().state(position)
            if state.todo == "circle":
                takes = [take for take in self._takes(state.shot.id) if take.take in state.others]
                number = _best(takes)
                self._circle(state.shot.id, number)
                note = f"shot {state.shot.id}: take {number} shows what is asked for already, and is circled"
                self._tell(Event("note", {"shot": state.shot.id, "note": note}))
            elif state.todo != "nothing":
                left.append(position)
        return left

    def rivals(self, record: TakeRecord) -> list[TakeRecord]:
        """All takes of a take's shot that show what the script asks for now."""
        position = self._position(record.shot)
        return [take for take in self._takes(record.shot) if not self._current().why_stale(take, position)]

    def choose(self, record: TakeRecord, *, newest: bool) -> int:
        """Circles the newest take (a person asked for it) or the best one, unless a person has circled another.

        Returns the take that a person may be asked about.
        """
        choice = read_choice(self._production, record.shot)
        number = record.take if newest else self._best(record)
        by_person = choice is not None and choice.by == "person"
        if (
            choice is not None
            and by_person
            and record.continues != choice.take
            and self._is_whole(record.shot, choice.take)
        ):
            self._warn(
                f"shot {record.shot}: take {choice.take} stays circled, as you chose; "
                f"'filmwright circle {self._production.folder} {record.shot} {number}' takes the new one"
            )
        else:
            self._circle(record.shot, number, by_person=by_person)
        chosen = read_take(self._production, record.shot, number) or record
        if chosen.score is not None and chosen.score < LOW_SCORE:
            again = f"'filmwright shoot {self._production.folder} --shots {self._position(record.shot)} --again' makes another"
            self._warn(
                f"shot {record.shot}: take {number}, the best there is, has {scored(chosen)}{_objections(chosen)}; {again}"
            )
        self._tell(
            Event(
                "take",
                {"shot": record.shot, "take": number, "frames": chosen.frames, "score": chosen.score, "spent_seconds": chosen.spent_seconds},
            )
        )  # fmt: skip
        return number

    def approve(self, shot_id: str, take: int) -> None:
        """Circles the take that a person approved."""
        self._circle(shot_id, take, by_person=True)

    def reject(self, shot_id: str, take: int) -> None:
        """Keeps a take that a person rejected from being circled by its score."""
        self._all_rejected().add((shot_id, take))

    def _all_rejected(self) -> set[tuple[str, int]]:
        """Takes that a person rejected, in earlier runs as well; the log is read once."""
        if self._rejected is None:
            self._rejected = rejected_takes(self._production)
        return self._rejected

    def goes_stale_after(self, position: int) -> bool:
        """Whether the next shot goes on from the one at `position` and its take began with another picture."""
        if position >= len(self._current().shots):
            return False
        state = self._current().state(position + 1)
        return SHOT_BEFORE in state.why and state.todo == "shoot"

    def question_about(self, position: int, number: int) -> Question:
        """What a person is asked about a whole take: its score, what the critic objected to, and the other takes."""
        shot = self._current().shots[position - 1]
        takes = {record.take: record for record in self._takes(shot.id)}
        others = [f"{n} ({scored(record)})" for n, record in takes.items() if n != number]
        lines = [
            f"Is take {number} of shot {shot.id} good?",
            f"  {shot.prompt or shot.action}",
            f"  {scored(takes[number])}{_objections(takes[number])}",
            f"  other takes: {', '.join(others)}" if others else "  there is no other take",
        ]
        path = take_folder(self._production, shot.id, number) / "frames.mp4"
        shown = path.relative_to(self._production.folder).as_posix()
        return {"point": "takes", "about": f"{shot.id}/{number}", "text": "\n".join(lines), "path": shown}

    def _takes(self, shot_id: str) -> list[TakeRecord]:
        records = (read_take(self._production, shot_id, number) for number in takes_of(self._production, shot_id))
        return [record for record in records if record is not None and take_is_whole(self._production, record)]

    def _circle(self, shot_id: str, take: int, *, by_person: bool = False) -> None:
        circle(self._production, shot_id, take, by_person=by_person)
        self._current().refresh(shot_id)

    def _best(self, record: TakeRecord) -> int:
        """The take to circle: the best among the current ones that nobody rejected."""
        rejected = self._all_rejected()
        current = [take for take in self.rivals(record) if (take.shot, take.take) not in rejected]
        return _best(current or [record])

    def _is_whole(self, shot_id: str, number: int) -> bool:
        record = read_take(self._production, shot_id, number)
        return record is not None and take_is_whole(self._production, record)

    def _position(self, shot_id: str) -> int:
        return next(i for i, shot in enumerate(self._current().shots, 1) if shot.id == shot_id)

    def _warn(self, text: str) -> None:
        self._tell(Event("warning", {"text": text}))


def _best(takes: Sequence[TakeRecord]) -> int:
    """The number of the take with the best score, the later one on a tie; one that nobody reviewed counts as flawless."""
    return max(takes, key=lambda take: (1.0 if take.score is None else take.score, take.take)).take


def scored(record: TakeRecord) -> str:
    """A take's score in words."""
    return f"score {record.score:.2f} of 1" if record.score is not None else "no score: nobody reviewed it"


def _objections(record: TakeRecord) -> str:
    """What the critic said of a take where it did not let it pass."""
    said = [
        f"{verdict['action']}: {verdict['reason']}" for verdict in record.verdicts if verdict["action"] != "continue"
    ]
    return f" ({'; '.join(said)})" if said else ""
