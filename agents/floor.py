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
from ..storyboard.stage import Chunk, GenerationFailed, Generator, Profile, open_generator, read_profile
from ..storyboard.take_limits import kept_verdict
from ..storyboard.takes import (
    Rolling,
    SavedChunk,
    TakeRecord,
    dependency_hash,
    latents_hash,
    read_take,
    read_take_chunks,
    take_is_whole,
    takes_of,
)
from ..storyboard.timeline import Timeline
from ..storyboard.video import ShotEncoder, save_png
from .circling import Circling
from .crew import hire_critic
from .critic import Critic, Verdict
from .current import DAMAGED, CurrentTakes
from .events import Event, Listener
from .models.registry import is_model
from .pictures import opening_chunks, pinned_images
from .prompts import shot_prompt
from .questions import Question
from .reel import Reel
from .rolling import GivenChunk, RollingTake, keep_picture, keep_sheet, look_at, said_before

MAX_INTERVENTIONS = 2
MAX_TAKES = 2
KEPT_FRAMES = 3
"""Frames of every chunk that a critic who looks may be shown."""


class ShotFailed(Exception):
    """The generator could not make this shot; the film goes on without it."""


class Floor:
    """One production being shot with one generator.

    Args:
        debug: lets errors that nobody expects end the run with their traceback, instead of failing the shot.
    """

    def __init__(self, production: Production, settings: Settings, listener: Listener, *, debug: bool = False) -> None:
        self.production, self.settings, self.tell, self._debug = production, settings, listener, debug
        self._critic: Critic | None = None
        self._generator: Generator | None = None
        self._profile: Profile | None = None
        self._reel = Reel(production, lambda: self.generator.start(settings.film_seed))
        self._take: RollingTake | None = None
        self._abandoned: dict[str, int] = {}
        self._current: tuple[tuple[int, int, int], CurrentTakes] | None = None
        self.circling = Circling(production, lambda: self.current, listener)
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

    @property
    def profile(self) -> Profile:
        """Read without the weights."""
        if self._profile is None:
            self._profile = read_profile(self.settings.generator, self.settings.memory)
        return self._profile

    @property
    def current(self) -> CurrentTakes:
        """The takes compared with the script as it is on disk; the script is read again only when the file has changed."""
        stat = self.production.script_path.stat()
        mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if self._current is None or self._current[0] != mark:
            script = self.production.read_script()
            self._current = (mark, CurrentTakes(self.production, self.settings, script, self.profile, thorough=True))
        return self._current[1]

    def script(self) -> Script:
        """The script as it is on disk."""
        return self.current.script

    def timeline(self) -> Timeline:
        return self.current.timeline

    def begin(self, position: int, *, anew: bool = False) -> None:
        """Begins a take of the shot at `position` (from 1): one that goes on from the circled take where only more seconds are
        asked for, unless it is to be made `anew`."""
        began = time.perf_counter()
        current = self.current
        state = current.state(position)
        shot, timing = state.shot, state.timing
        if DAMAGED in state.why:
            text = f"shot {shot.id}: {'; '.join(state.notes)}, and is made anew"
            self.tell(Event("warning", {"text": text}))
        base = state.take if state.todo == "continue" and not anew else None
        given = self._chunks_of(base) if base else []
        if not given:
            base = None
            given = [(chunk, None) for chunk in opening_chunks(self.production, shot, timing, self.generator)]
        before = [(s, t.chunks) for s, t in zip(current.shots[: position - 1], current.timeline.shots, strict=False)]
        retake = self._reel.wind(before)
        number = self._next_number(shot)
        depends = current.depends(shot, timing.chunks)
        asked_prompt, notes = shot_prompt(current.script, shot, self.profile)
        for note in notes:
            self.tell(Event("note", {"shot": shot.id, "note": note}))
        prompt = dict(base.prompts)[0] if base else asked_prompt
        asked_pins = pinned_images(self.production, current.script, shot, self.profile)
        pins = self._pins_of(base).get(0, []) if base else asked_pins
        width, height = self.profile.delivered_size
        self._reel.rollout.begin_shot(
            prompt, shot=shot.id, take=number, references=pins, continuity=shot.continuity, retake=retake
        )
        self._take = RollingTake(
            shot=shot, timing=timing, number=number, depends=depends, asked=current.asked(shot, timing),
            starts_from=current.starts_from(position), base=base, given=given,
            rolling=Rolling(self.production, shot.id, number, depends),
            encoder=ShotEncoder(fps=current.timeline.fps, width=width, height=height),
            prompts=[(0, prompt)], pins=[(0, pins)], began=began, ready=began,
        )  # fmt: skip
        self.production.log("begin", shot=shot.id, take=number, prompt=prompt, depends=depends)
        self.tell(
            Event("shot", {"shot": shot.id, "position": position, "of": len(current.shots), "take": number, "chunks": timing.chunks, "prompt": prompt})
        )  # fmt: skip

    def _chunks_of(self, base: TakeRecord) -> list[GivenChunk]:
        """The chunks of a take that another one goes on from; none where one of them is damaged."""
        return [(chunk.latents, chunk.state) for chunk in read_take_chunks(self.production, base) or ()]

    def _pins_of(self, base: TakeRecord) -> dict[int, list[Path]]:
        return {since: [self.production.inside(path) for path in paths] for since, paths in base.references}

    def _next_number(self, shot: Shot) -> int:
        """The number of the next take; a damaged take is made anew under its own."""
        records = (read_take(self.production, shot.id, n) for n in takes_of(self.production, shot.id))
        whole = [r.take for r in records if r is not None and take_is_whole(self.production, r)]
        return max(whole, default=0) + 1 + self._abandoned.get(shot.id, 0)

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
        self._follow_script(index)
        draw = take.draws.get(index, 0)
        kept = take.rolling.kept(index, draw)
        asked = time.perf_counter()
        try:
            fed = self._fed_again(kept) if kept is not None else None
            if fed is not None:
                chunk_made = fed
            elif index < len(take.given):
                chunk_made = self._reel.rollout.feed(*take.given[index])
            else:
                chunk_made = self._reel.rollout.step()
        except (GenerationFailed, MemoryError) as error:
            raise ShotFailed(str(error) or "out of memory") from error
        except FilmwrightError:
            raise
        except Exception as error:  # a fault of this code, or of somebody's generator
            if self._debug:
                raise
            said = str(error).splitlines()[0] if str(error) else "no message"
            raise ShotFailed(f"unexpected {type(error).__name__}: {said} (log.jsonl has the traceback)") from error
        ready, again = time.perf_counter(), fed is not None
        if not again:
            take.rolling.write(chunk_made)
        began = time.perf_counter()
        take.encoder.add(chunk_made.frames)
        self._spend("encode", time.perf_counter() - began)
        for what, seconds in chunk_made.spent.items():
            self._spend(what, seconds)
        take.latents.append(chunk_made.latents)
        take.firsts.append(chunk_made.frames[0])
        take.last_frames, take.again = chunk_made.frames, again
        if is_model(self.settings.critic):
            take.frames.append(chunk_made.frames[:: max(1, len(chunk_made.frames) // KEPT_FRAMES)])
        self.tell(
            Event("chunk", {"shot": take.shot.id, "chunk": index + 1, "of": take.timing.chunks, "frames": len(chunk_made.frames), "again": again, "seconds": round(ready - asked, 4), "since_last": round(ready - take.ready, 4)})
        )  # fmt: skip
        take.ready = ready

    def _fed_again(self, kept: SavedChunk) -> Chunk | None:
        """A chunk that an interrupted run left; None when it is another generator's, and is drawn anew."""
        try:
            return self._reel.rollout.feed(kept.latents, kept.state)
        except FilmwrightError:
            return None

    def _follow_script(self, index: int) -> None:
        """Changes prompt and pins where the script, or the take that is gone on from, changes them at a chunk."""
        take = self.take
        if take.base is not None and 0 < index < take.base.chunks:
            prompt, pins = dict(take.base.prompts).get(index), self._pins_of(take.base).get(index)
            if prompt is not None:
                self.reprompt(prompt)
            if pins is not None:
                self._pin(pins)
            return
        for chunk, standing in take.timing.prompt_changes:
            if chunk == index:
                self.reprompt(shot_prompt(self.script(), standing, self.profile)[0])
                self._pin(pinned_images(self.production, self.script(), standing, self.profile))

    def review(self) -> Verdict:
        """Shows the last chunk to the critic; the verdict is in the log before anything is done about it.

        Chunks of the take that is gone on from keep their verdicts.
        """
        take = self.take
        assert take.last_frames is not None
        index = len(take.latents) - 1
        if take.base is not None and index < take.base.chunks:
            take.verdicts += [dict(verdict) for verdict in take.base.verdicts if verdict["chunk"] == index]
            return Verdict(action="continue", reason="as before", score=1.0)
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

    def _pin(self, pins: list[Path]) -> None:
        """Pins these images from the next chunk on, where they are others than now."""
        take = self.take
        if pins != take.pins[-1][1]:
            self._reel.rollout.pin(pins)
            take.pins.append((len(take.latents), pins))
            names = [path.name for path in pins]
            self.production.log("pin", shot=take.shot.id, take=take.number, chunk=len(take.latents), references=names)

    def rewind(self, chunks: int) -> None:
        """Drops the last chunks; they are drawn anew. Chunks that were there before the shot was made stay."""
        take = self.take
        take.interventions += 1
        chunks = min(chunks, len(take.latents) - len(take.given))
        if chunks < 1:
            return
        self._reel.rollout.rewind(chunks)
        kept = len(take.latents) - chunks
        for index in range(kept, len(take.latents)):
            take.draws[index] = take.draws.get(index, 0) + 1
        take.encoder.drop(chunks)
        del take.latents[kept:], take.firsts[kept:], take.frames[kept:]
        take.prompts = [(since, text) for since, text in take.prompts if since <= kept]
        take.pins = [(since, pins) for since, pins in take.pins if since <= kept]

    def spend_intervention(self) -> None:
        self.take.interventions += 1

    def finish(self) -> TakeRecord:
        """Makes the take whole: video, key frames, record; then its folder gets its name."""
        take, profile = self.take, self.profile
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
            shot=take.shot.id, take=take.number, depends=take.depends, asked=take.asked,
            cut_frames=take.timing.asked_frames, starts_from=take.starts_from,
            continues=take.base.take if take.base else None, before=dependency_hash(self._reel.marks()),
            seed=self.settings.seed, generator=profile.name, memory=profile.memory, weights=profile.weights,
            licence=profile.licence, chunks=len(take.latents), frames=frames, prompts=take.prompts,
            references=[(since, self._relative(pins)) for since, pins in take.pins],
            verdicts=[kept_verdict(verdict) for verdict in take.verdicts],
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

    def question_about_chunk(self, verdict: Verdict) -> Question:
        """What a person is asked where the critic does not go on alone; keeps a picture of the chunk to look at."""
        take = self.take
        index = len(take.latents) - 1
        text = (
            f"The critic asks about shot {take.shot.id}, take {take.number}, chunk {index + 1} of {take.timing.chunks}: "
            f"{verdict.reason}.\n  prompt: {take.prompts[-1][1]}\n"
            "  approve: go on with this take; modify: draw the chunk anew with another prompt; reject: draw it anew"
        )
        about = f"{take.shot.id}/{take.number}/{index}/{take.draws.get(index, 0)}"
        path = keep_picture(take, f"asked-{index + 1:02d}")
        shown = path.relative_to(self.production.folder).as_posix()
        return {"point": "takes", "about": about, "text": text, "path": shown}

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
