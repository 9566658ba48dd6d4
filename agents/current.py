"""What every shot asks for, which takes still show it, and why the others do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from ..storyboard.production import Production, Settings
from ..storyboard.script import Script, Shot
from ..storyboard.stage import Profile
from ..storyboard.takes import (
    Asked,
    Choice,
    TakeRecord,
    damage_of,
    dependency_hash,
    file_digest,
    read_choice,
    read_take,
    read_take_chunks,
    take_is_whole,
    takes_of,
)
from ..storyboard.timeline import Held, ShotTiming, Timeline, build_timeline, changes_on_grid
from .pictures import footage_path, pinned_images
from .prompts import shot_prompt

T = TypeVar("T")

NOT_SHOT, DAMAGED, SECONDS, SHOT_BEFORE = "not shot", "take damaged", "seconds", "shot before"

Todo = Literal["nothing", "circle", "continue", "shoot"]
"""nothing: the film has what the script asks for, or a person chose otherwise. circle: a take on disk shows it already.
continue: the take in the film goes on for some chunks. shoot: a new take is needed."""


@dataclass(frozen=True)
class ShotState:
    """Where one shot stands.

    Attributes:
        take: the circled take; None when there is none that is whole.
        by: who circled it.
        why: in a word or two each, why the film does not have what the script asks for; empty when it has.
        others: whole takes on disk that show what the script asks for, though none of them is circled.
        notes: edits that change nothing, what is trimmed, and takes that are damaged.
    """

    shot: Shot
    timing: ShotTiming
    take: TakeRecord | None
    by: Literal["director", "person"] | None
    why: tuple[str, ...] = ()
    others: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def todo(self) -> Todo:
        """What shooting would do about it."""
        if not self.why:
            return "nothing"
        if self.others:
            return "nothing" if self.by == "person" else "circle"
        return "continue" if self.take is not None and self.why == (SECONDS,) else "shoot"


class CurrentTakes:
    """A production's takes, compared with its script and its settings.

    Everything is read once; `refresh` reads a shot's takes again after they have changed.
    """

    def __init__(
        self,
        production: Production,
        settings: Settings,
        script: Script,
        profile: Profile,
        *,
        thorough: bool = False,
    ) -> None:
        """`thorough`: reads every chunk of the circled takes, and not only its header, before they become history."""
        self._production, self._settings, self.profile = production, settings, profile
        self._digests: dict[Path, str] = {}
        self._choices: dict[str, Choice | None] = {}
        self._takes: dict[str, TakeRecord | None] = {}
        self._thorough = thorough
        self.script = script
        self.shots = tuple(script.shots())
        for shot in self.shots:
            self._read(shot.id)
            take = self._takes[shot.id] if thorough else None
            if take is not None and read_take_chunks(production, take) is None:
                self._takes[shot.id] = None
        self.timeline = self._laid_out()

    def refresh(self, shot_id: str) -> None:
        """Reads the circled take of a shot again."""
        self._read(shot_id)
        self.timeline = self._laid_out()

    def states(self) -> list[ShotState]:
        """Every shot, in order."""
        return [self.state(position) for position in range(1, len(self.shots) + 1)]

    def state(self, position: int) -> ShotState:
        """The shot at `position`, from 1."""
        shot, timing = self.shots[position - 1], self.timeline.shots[position - 1]
        choice, take = self._choices[shot.id], self._takes[shot.id]
        if take is None:
            damaged = self._damaged(shot.id)
            why: tuple[str, ...] = (DAMAGED,) if damaged else (NOT_SHOT,)
            others = self._others(position, choice.take if choice is not None else None)
            return ShotState(shot, timing, None, None, why, others, damaged)
        assert choice is not None
        why = self.why_stale(take, position)
        others = self._others(position, take.take) if why else ()
        notes = (*self._notes(take, shot, timing, why), *self._damaged(shot.id))
        return ShotState(shot, timing, take, choice.by, why, others, notes)

    def why_stale(self, take: TakeRecord, position: int) -> tuple[str, ...]:
        """In a word or two each, why a take does not show what the script asks for; empty when it does."""
        shot, timing = self.shots[position - 1], self.timeline.shots[position - 1]
        why = self._differences(take, shot, timing)
        if timing.asked_frames > take.frames:
            why.append(SECONDS)
        if take.starts_from is not None and shot.continuity != "new" and take.starts_from != self.starts_from(position):
            why.append(SHOT_BEFORE)
        return tuple(why)

    def asked(self, shot: Shot, timing: ShotTiming) -> Asked:
        """What a shot asks of a take of it."""
        standing = self._standing(shot, timing.prompt_changes)
        return Asked(
            prompts=[(chunk, prompt) for chunk, prompt, _ in standing],
            references=[(chunk, digests) for chunk, _, digests in standing],
            footage=self._footage(shot),
            continuity=shot.continuity,
            seed=self._settings.seed,
            weights=f"{self.profile.name} {self.profile.weights}",
            memory=self.profile.memory,
            size=self.profile.delivered_size,
            seconds=shot.seconds,
            words=self._words(shot),
        )

    def depends(self, shot: Shot, chunks: int) -> str:
        """Hash of all that a shot of so many chunks asks for. The history it grows out of is not part of it: a new take of one
        shot leaves the others as they are."""
        asked = [list(each) for each in self._standing(shot, changes_on_grid(shot, chunks, self.profile))]
        profile = self.profile
        return dependency_hash(
            shot.id, asked, self._footage(shot), chunks, shot.continuity, self._settings.seed, profile.name,
            profile.weights, profile.memory, profile.delivered_size,
        )  # fmt: skip

    def in_film(self) -> dict[str, TakeRecord]:
        """The circled takes, by shot id, that can be joined: whole ones of this picture size and chunk length."""
        return {shot_id: take for shot_id, take in self._takes.items() if take is not None and self._fits(take)}

    def damaged(self) -> list[str]:
        """The shots whose circled take is not whole, or cannot be told."""
        folder = self._production.folder / "takes"
        return [
            shot.id
            for shot in self.shots
            if self._takes[shot.id] is None and (self._choices[shot.id] or (folder / shot.id / "circled").exists())
        ]

    def cut_mark(self) -> str:
        """A digest of what the film is joined of: takes and their frames, transitions, lines, title."""
        takes = self.in_film()
        parts = [
            (shot.id, takes[shot.id].take if shot.id in takes else None, timing.frames, shot.transition_in, shot.lines)
            for shot, timing in zip(self.shots, self.timeline.shots, strict=True)
        ]
        return dependency_hash(self.script.title, self.script.logline, self.script.titles, parts)

    def starts_from(self, position: int) -> str | None:
        """The take that a shot goes on from, and how many of its chunks; None for a new set-up and for the first shot."""
        if position == 1 or self.shots[position - 1].continuity == "new":
            return None
        before, timing = self._takes[self.shots[position - 2].id], self.timeline.shots[position - 2]
        return f"{before.shot}/{before.take}/{min(before.chunks, timing.chunks)}" if before else ""

    def _read(self, shot_id: str) -> None:
        choice = read_choice(self._production, shot_id)
        take = read_take(self._production, shot_id, choice.take) if choice is not None else None
        self._choices[shot_id] = choice
        whole = take is not None and take_is_whole(self._production, take) and not self._contradicts_itself(take)
        self._takes[shot_id] = take if whole else None

    def _laid_out(self) -> Timeline:
        held = {
            shot_id: Held(take.chunks, take.frames, take.asked.seconds if take.asked else None, take.cut_frames)
            for shot_id, take in self.in_film().items()
        }
        return build_timeline(self.script, self.profile, held)

    def _contradicts_itself(self, take: TakeRecord) -> bool:
        """Whether a take says that it is of these weights, and has frames that they do not make."""
        mine = (take.generator, take.weights) == (self.profile.name, self.profile.weights)
        return mine and not self._fits(take)

    def _fits(self, take: TakeRecord) -> bool:
        """Whether a take's frames are those of this generator's chunks."""
        if take.asked is not None and take.asked.size != self.profile.delivered_size:
            return False
        latents = take.chunks * self.profile.chunk_latents
        return take.frames in (self.profile.video_frames(latents, True), self.profile.video_frames(latents, False))

    def _standing(self, shot: Shot, changes: Sequence[tuple[int, Shot]]) -> list[tuple[int, str, list[str]]]:
        """Chunk, prompt and digests of the pinned images: of the shot's beginning and of every prompt change."""
        found = []
        for chunk, standing in [(0, shot), *changes]:
            images = pinned_images(self._production, self.script, standing, self.profile)
            prompt, _ = shot_prompt(self.script, standing, self.profile)
            found.append((chunk, prompt, [self._digest(path) for path in images]))
        return found

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = file_digest(path)
        return self._digests[path]

    def _footage(self, shot: Shot) -> str | None:
        return self._digest(footage_path(self._production, shot)) if shot.opens_with else None

    def _words(self, shot: Shot) -> str:
        scene = self.script.scene_of(shot.id)
        seen = [self.script.entity(name) for name in dict.fromkeys([*shot.entities, scene.location])]
        return dependency_hash(
            shot.model_dump(exclude={"id", "seconds", "notes", "transition_in"}),
            (scene.heading, scene.time, self.script.style),
            [entity.model_dump(exclude={"voice", "references"}) for entity in seen],
        )

    def _differences(self, take: TakeRecord, shot: Shot, timing: ShotTiming) -> list[str]:
        """What a take shows differently from what the script asks for, its length apart."""
        was, now = take.asked, self.asked(shot, timing)
        if was is None:
            return self._differences_of_old(take, shot, now)
        shown = min(take.chunks, timing.chunks)
        differs = {
            "prompt": _until(was.prompts, shown) != _until(now.prompts, shown),
            "reference": _until(was.references, shown) != _until(now.references, shown),
            "opening footage": was.footage != now.footage,
            "continuity": was.continuity != now.continuity,
            "seed": was.seed != now.seed,
            "weights": was.weights != now.weights,
            "memory": was.memory != now.memory,
            "size": was.size != now.size,
        }
        return [what for what, other in differs.items() if other]

    def _differences_of_old(self, take: TakeRecord, shot: Shot, now: Asked) -> list[str]:
        """The same for a take that recorded a hash only; what cannot be told apart is called `script`."""
        if take.depends == self.depends(shot, take.chunks):
            return []
        differs = {
            "prompt": dict(take.prompts).get(0) != now.prompts[0][1],
            "seed": take.seed != now.seed,
            "weights": f"{take.generator} {take.weights}" != now.weights,
            "memory": take.memory != now.memory,
        }
        return [what for what, other in differs.items() if other] or ["script"]

    def _damaged(self, shot_id: str) -> tuple[str, ...]:
        """The takes of a shot that cannot be used, each with the reason."""
        choice, numbers = self._choices[shot_id], takes_of(self._production, shot_id)
        if choice is not None and choice.take not in numbers:
            numbers.append(choice.take)
        whole = self._takes[shot_id]
        found = []
        for number in numbers:
            if whole is not None and number == whole.take:
                continue
            reason = damage_of(self._production, shot_id, number)
            if reason is None and choice is not None and number == choice.take:
                reason = "its chunks cannot be read, or are not those of its frames"
            if reason is not None:
                found.append(f"take {number} is damaged ({reason})")
        return tuple(found)

    def _others(self, position: int, circled: int | None) -> tuple[int, ...]:
        """Whole takes on disk, other than the circled one, that show what the script asks for."""
        shot = self.shots[position - 1]
        found = []
        for number in takes_of(self._production, shot.id):
            take = read_take(self._production, shot.id, number) if number != circled else None
            if take is None or self.why_stale(take, position) or not take_is_whole(self._production, take):
                continue
            if not self._thorough or read_take_chunks(self._production, take) is not None:
                found.append(number)
        return tuple(found)

    def _notes(self, take: TakeRecord, shot: Shot, timing: ShotTiming, why: tuple[str, ...]) -> tuple[str, ...]:
        found = []
        if SECONDS in why:
            found.append(f"the film has {timing.seconds:.2f} of {timing.asked_frames / self.timeline.fps:.2f} s")
        elif timing.frames < take.frames:
            found.append(f"trimmed to {timing.seconds:.2f} of {take.frames * timing.seconds / timing.frames:.2f} s")
        elif take.asked is not None and take.asked.seconds != shot.seconds:
            found.append(f"{shot.seconds:g} s are the same {timing.frames} frames as {take.asked.seconds:g} s")
        if not why and take.asked is not None and take.asked.words != self._words(shot):
            lost = shot_prompt(self.script, shot, self.profile)[1]
            because = f": {'; '.join(lost)}" if lost else ""
            found.append(f"edited, but {self.profile.name} is asked for the same{because}")
        return tuple(found)


def _until(entries: Sequence[tuple[int, T]], chunk: int) -> list[tuple[int, T]]:
    """The entries that hold before a chunk."""
    return [(since, what) for since, what in entries if since < chunk]
