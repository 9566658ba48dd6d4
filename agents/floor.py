"""The floor: everything that is live while a film is shot. The director's graph calls it and keeps only ids.

All of it can be built again from the production: the rollout is fed the circled takes of the shots before.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from .. import __version__
from ..storyboard.errors import FilmwrightError
from ..storyboard.production import Production, Settings
from ..storyboard.script import Script, Shot
from ..storyboard.stage import Generator, open_generator
from ..storyboard.takes import (
    Rolling,
    TakeRecord,
    circle,
    circled,
    dependency_hash,
    file_digest,
    latents_hash,
    read_take,
    read_take_chunks,
    take_folder,
    takes_of,
)
from ..storyboard.timeline import ShotTiming, Timeline, build_timeline
from ..storyboard.video import ShotEncoder, save_png
from .crew import hire_critic
from .critic import Critic, Verdict
from .events import Event, Listener
from .models.registry import is_model
from .pictures import footage_path, opening_chunks, pinned_images
from .prompts import shot_prompt
from .reel import Reel
from .rolling import RollingTake, keep_sheet, look_at, said_before

MAX_INTERVENTIONS = 2
MAX_TAKES = 2
KEPT_FRAMES = 3
"""Frames of every chunk that a critic who looks may be shown."""


class ShotFailed(Exception):
    """The generator could not make this shot; the film goes on without it."""


class Floor:
    """One production being shot with one generator."""

    def __init__(self, production: Production, settings: Settings, listener: Listener) -> None:
        self.production, self.settings, self.tell = production, settings, listener
        self._critic: Critic | None = None
        self._generator: Generator | None = None
        self._reel = Reel(production, lambda: self.generator.start(settings.film_seed))
        self._take: RollingTake | None = None
        self._abandoned: dict[str, int] = {}
        self._script: tuple[tuple[int, int, int], Script, Timeline] | None = None
        self.spent: dict[str, float] = {}

    @property
    def generator(self) -> Generator:
        """Opened when first needed: loading weights takes seconds."""
        if self._generator is None:
            began = time.perf_counter()
            self._generator = open_generator(self.settings.generator, self.settings.memory)
            self._spend("load", time.perf_counter() - began)
        return self._generator

    @property
    def critic(self) -> Critic:
        """Opened when first needed."""
        if self._critic is None:
            self._critic = hire_critic(self.production, self.settings, self.tell)
        return self._critic

    def _spend(self, what: str, seconds: float) -> None:
        self.spent[what] = self.spent.get(what, 0.0) + seconds

    def script(self) -> Script:
        """The script as it is on disk; read again only when the file has changed."""
        stat = self.production.script_path.stat()
        mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if self._script is None or self._script[0] != mark:
            script = self.production.read_script()
            self._script = (mark, script, build_timeline(script, self.generator.profile))
        return self._script[1]

    def timeline(self) -> Timeline:
        self.script()
        assert self._script is not None
        return self._script[2]

    def depends(self, script: Script, shot: Shot, timing: ShotTiming) -> str:
        """Hash of all that a shot asks for. The history it grows out of is not part of it: a new take of one shot leaves
        the others as they are."""
        profile = self.generator.profile
        asked = []
        for chunk, standing in [(0, shot), *timing.prompt_changes]:
            images = pinned_images(self.production, script, standing, profile)
            asked.append((chunk, shot_prompt(script, standing, profile)[0], [file_digest(path) for path in images]))
        footage = file_digest(footage_path(self.production, shot)) if shot.opens_with else None
        return dependency_hash(
            shot.id, asked, footage, timing.chunks, shot.continuity, self.settings.seed, profile.name, profile.weights,
            profile.memory, profile.delivered_size,
        )  # fmt: skip

    def stale(self) -> list[int]:
        """Positions of the shots without a whole, current, circled take."""
        script, timeline = self.script(), self.timeline()
        found = []
        for shot, timing in zip(script.shots(), timeline.shots, strict=True):
            record = circled(self.production, shot.id)
            if record is None or record.depends != self.depends(script, shot, timing) or not self._whole(record):
                found.append(timing.position)
        return found

    def _whole(self, record: TakeRecord) -> bool:
        folder = take_folder(self.production, record.shot, record.take)
        return (folder / "frames.mp4").is_file() and read_take_chunks(self.production, record) is not None

    def begin(self, position: int) -> None:
        """Begins a take of the shot at `position` (from 1)."""
        began = time.perf_counter()
        script, timeline = self.script(), self.timeline()
        shot, timing = list(script.shots())[position - 1], timeline.shots[position - 1]
        retake = self._reel.wind(list(script.shots())[: position - 1])
        records = (read_take(self.production, shot.id, n) for n in takes_of(self.production, shot.id))
        whole = [
            r.take for r in records if r is not None and self._whole(r)
        ]  # a damaged take is made anew under its number
        number = max(whole, default=0) + 1 + self._abandoned.get(shot.id, 0)
        depends = self.depends(script, shot, timing)
        prompt, notes = shot_prompt(script, shot, self.generator.profile)
        for note in notes:
            self.tell(Event("note", {"shot": shot.id, "note": note}))
        pins = pinned_images(self.production, script, shot, self.generator.profile)
        width, height = self.generator.profile.delivered_size
        self._reel.rollout.begin_shot(
            prompt,
            shot=shot.id,
            take=number,
            references=pins,
            continuity=shot.continuity,
            retake=retake,
        )
        self._take = RollingTake(
            shot, timing, number, depends, Rolling(self.production, shot.id, number, depends),
            ShotEncoder(fps=timeline.fps, width=width, height=height), [(0, prompt)], [(0, pins)],
            opening_chunks(self.production, shot, timing, self.generator), began, began,
        )  # fmt: skip
        self.production.log("begin", shot=shot.id, take=number, prompt=prompt, depends=depends)
        self.tell(
            Event("shot", {"shot": shot.id, "position": position, "of": len(timeline.shots), "take": number, "chunks": timing.chunks, "prompt": prompt})
        )  # fmt: skip

    @property
    def take(self) -> RollingTake:
        if self._take is None:
            raise FilmwrightError("no take is rolling")
        return self._take

    def rolling(self, position: int, number: int) -> bool:
        """Whether that take is live in this process."""
        return self._take is not None and self._take.timing.position == position and self._take.number == number

    def chunks_left(self) -> int:
        return self.take.timing.chunks - len(self.take.latents)

    def roll(self) -> None:
        """Makes the next chunk, or takes it from what an interrupted run left.

        Raises:
            ShotFailed: the generator could not.
        """
        take = self.take
        index = len(take.latents)
        for chunk, standing in take.timing.prompt_changes:
            if chunk == index:
                self.reprompt(shot_prompt(self.script(), standing, self.generator.profile)[0])
                self._repin(standing)
        draw = take.draws.get(index, 0)
        kept = take.rolling.kept(index, draw)
        asked = time.perf_counter()
        try:
            if kept is not None:
                chunk_made = self._reel.rollout.feed(kept.latents, kept.state)
            elif index < len(take.opening):
                chunk_made = self._reel.rollout.feed(take.opening[index])
            else:
                chunk_made = self._reel.rollout.step()
        except (RuntimeError, ValueError, MemoryError, FloatingPointError) as error:
            raise ShotFailed(
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
            ) from error
        ready = time.perf_counter()
        if kept is None:
            take.rolling.write(chunk_made)
        began = time.perf_counter()
        take.encoder.add(chunk_made.frames)
        self._spend("encode", time.perf_counter() - began)
        for what, seconds in chunk_made.spent.items():
            self._spend(what, seconds)
        take.latents.append(chunk_made.latents)
        take.firsts.append(chunk_made.frames[0])
        take.last_frames, take.again = chunk_made.frames, kept is not None
        if is_model(self.settings.critic):
            take.frames.append(chunk_made.frames[:: max(1, len(chunk_made.frames) // KEPT_FRAMES)])
        self.tell(
            Event("chunk", {"shot": take.shot.id, "chunk": index + 1, "of": take.timing.chunks, "frames": len(chunk_made.frames), "again": kept is not None, "seconds": round(ready - asked, 4), "since_last": round(ready - take.ready, 4)})
        )  # fmt: skip
        take.ready = ready

    def review(self) -> Verdict:
        """Shows the last chunk to the critic; the verdict is in the log before anything is done about it."""
        take = self.take
        assert take.last_frames is not None
        index = len(take.latents) - 1
        began = time.perf_counter()
        look = look_at(
            take, self.generator, self.production, self.script(), self._reel.end, interventions_left=MAX_INTERVENTIONS - take.interventions,
            takes_left=MAX_TAKES - 1 - self._abandoned.get(take.shot.id, 0), shows=is_model(self.settings.critic),
        )  # fmt: skip
        draw = take.draws.get(index, 0)
        before = said_before(self.production, take, index, draw) if take.again and look.scene is not None else None
        verdict = before or self.critic.review(look)
        self._spend("critic", time.perf_counter() - began)
        entry: dict[str, object] = {
            "chunk": index,
            "draw": draw,
            **verdict.model_dump(exclude_none=True),
            "measures": _plain(vars(look.measures)),
        }
        if look.scene is not None:
            entry["sheet"] = keep_sheet(take, look.scene)
        take.verdicts.append(entry)
        self.production.log("verdict", shot=take.shot.id, take=take.number, **entry)
        self.tell(Event("verdict", {"shot": take.shot.id, **entry}))
        return verdict

    def reprompt(self, prompt: str) -> None:
        """Changes the prompt from the next chunk on."""
        self._reel.rollout.reprompt(prompt)
        self.take.prompts.append((len(self.take.latents), prompt))
        self.production.log(
            "reprompt", shot=self.take.shot.id, take=self.take.number, chunk=len(self.take.latents), prompt=prompt
        )

    def _repin(self, standing: Shot) -> None:
        """Pins what the shot's cast brings from the next chunk on, where that is something else."""
        take = self.take
        pins = pinned_images(self.production, self.script(), standing, self.generator.profile)
        if pins != take.pins[-1][1]:
            self._reel.rollout.pin(pins)
            take.pins.append((len(take.latents), pins))
            names = [path.name for path in pins]
            self.production.log("pin", shot=take.shot.id, take=take.number, chunk=len(take.latents), references=names)

    def rewind(self, chunks: int) -> None:
        """Drops the last chunks; they are drawn anew."""
        take = self.take
        chunks = min(chunks, len(take.latents))
        self._reel.rollout.rewind(chunks)
        kept = len(take.latents) - chunks
        for index in range(kept, len(take.latents)):
            take.draws[index] = take.draws.get(index, 0) + 1
        take.encoder.drop(chunks)
        del take.latents[kept:], take.firsts[kept:], take.frames[kept:]
        take.prompts = [(since, text) for since, text in take.prompts if since <= kept]
        take.pins = [(since, pins) for since, pins in take.pins if since <= kept]
        take.interventions += 1

    def spend_intervention(self) -> None:
        self.take.interventions += 1

    def finish(self) -> TakeRecord:
        """Makes the take whole: video, key frames, record; then its folder gets its name."""
        take, profile = self.take, self.generator.profile
        began = time.perf_counter()
        frames = take.encoder.save(take.rolling.folder / "frames.mp4")
        assert take.last_frames is not None
        stills = {"first": take.firsts[0], "middle": take.firsts[len(take.firsts) // 2], "last": take.last_frames[-1]}
        if len(take.firsts) == 1:
            stills["middle"] = take.last_frames[len(take.last_frames) // 2]
        for name, frame in stills.items():
            save_png(take.rolling.folder / "keyframes" / f"{name}.png", frame, profile.enlarge)
        self._spend("encode", time.perf_counter() - began)
        scores = [float(str(v["score"])) for v in take.verdicts]
        record = TakeRecord(
            shot=take.shot.id, take=take.number, depends=take.depends, before=dependency_hash(self._reel.marks()),
            seed=self.settings.seed, generator=profile.name, memory=profile.memory, weights=profile.weights,
            licence=profile.licence, chunks=len(take.latents), frames=frames, prompts=take.prompts,
            references=[(since, self._relative(pins)) for since, pins in take.pins], verdicts=take.verdicts,
            score=round(float(np.mean(scores)), 4) if scores and self.settings.critic != "none" else None,
            spent_seconds=round(time.perf_counter() - take.began, 3), filmwright=__version__,
        )  # fmt: skip
        take.rolling.finish(record)
        self.production.log(
            "take", shot=record.shot, take=record.take, latents=latents_hash(take.latents), frames=frames
        )
        self._reel.add(record, take.last_frames)
        self._take = None
        return record

    def _relative(self, paths: list[Path]) -> list[str]:
        folder = self.production.folder.resolve()
        return [path.relative_to(folder).as_posix() for path in paths]

    def rivals(self, record: TakeRecord) -> list[TakeRecord]:
        """All takes that show what this one was asked for, itself among them."""
        found = [read_take(self.production, record.shot, n) for n in takes_of(self.production, record.shot)]
        return [r for r in found if r is not None and r.depends == record.depends]

    def _best(self, record: TakeRecord) -> int:
        """The take to circle: the best score among the current ones, the later one on a tie."""
        return max(self.rivals(record), key=lambda r: (r.score if r.score is not None else 1.0, r.take)).take

    def choose(self, record: TakeRecord, newest: bool) -> int:
        """Circles the newest take (asked for by a person) or the best one."""
        number = record.take if newest else self._best(record)
        circle(self.production, record.shot, number)
        chosen = read_take(self.production, record.shot, number)
        assert chosen is not None
        self.tell(
            Event("take", {"shot": record.shot, "take": number, "frames": chosen.frames, "score": chosen.score, "spent_seconds": chosen.spent_seconds})
        )  # fmt: skip
        return number

    def abandon(self, *, broken: bool = False) -> None:
        """Gives the take up; the next one gets other noise. A `broken` rollout is built anew for whatever comes next."""
        self._abandoned[self.take.shot.id] = self._abandoned.get(self.take.shot.id, 0) + 1
        self._take = None
        if broken:
            self._reel.tear()
        else:
            self._reel.give_up()


def _plain(values: dict[str, object]) -> dict[str, object]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
