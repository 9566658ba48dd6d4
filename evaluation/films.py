"""How good a generator is on held-out films of the small world: readers look at what it made of their captions.

Seeds come from the test split, which no stage ever trains on. Every rate has a bootstrap interval over films, and the
readers' own accuracy on rendered truth of the same films stands beside it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..generator.reader import LOOKS, THINGS, FrameReader, Reading, read
from ..storyboard.caption import CUT_MARK, Staging
from ..storyboard.stage import Generator
from ..storyboard.vocabulary import FULL
from ..training.world import CHUNK_SECONDS, SPLITS, Film, Split, random_film, render_film
from .light import find_light
from .readers import acting, find_actions, find_cuts, find_movement, told_of

TOLERANCE_FRAMES = 4
"""One latent frame."""
BOOTSTRAP = 1000


@dataclass
class Tally:
    """Right and asked, film by film."""

    films: list[tuple[int, int]] = field(default_factory=list)

    def add(self, right: int, asked: int) -> None:
        self.films.append((right, asked))

    @property
    def asked(self) -> int:
        return sum(asked for _, asked in self.films)

    def summary(self) -> dict[str, float]:
        """Rate and 95 % bootstrap interval over films."""
        rng = random.Random(0)

        def rate(films: list[tuple[int, int]]) -> float:
            asked = sum(a for _, a in films)
            return sum(r for r, _ in films) / asked if asked else math.nan

        drawn = [rate(rng.choices(self.films, k=len(self.films))) for _ in range(BOOTSTRAP)]
        # a draw of films that asked nothing says nothing
        told = sorted(one for one in drawn if not math.isnan(one)) or [math.nan]
        low, high = told[int(0.025 * len(told))], told[int(0.975 * len(told))]
        return {
            "rate": round(rate(self.films), 4), "low": round(low, 4), "high": round(high, 4),
            "asked": float(self.asked),
        }  # fmt: skip


def summaries(tallies: dict[str, Tally]) -> dict[str, dict[str, float]]:
    """Of everything that was asked."""
    return {name: tally.summary() for name, tally in tallies.items() if tally.asked}


def generate(generator: Generator, film: Film, seed: int) -> Tensor:
    """The film as the generator makes it, frames [F, 3, H, W] in 0 … 1."""
    rollout = generator.start(seed)
    frames = []
    for number, shot in enumerate(film.shots):
        prompt = film.prompts()[sum(s.chunks for s in film.shots[:number])].removeprefix(CUT_MARK)
        rollout.begin_shot(prompt, shot=f"s{number}", take=1)
        for _ in range(shot.chunks):
            frames.append(torch.from_numpy(rollout.step().frames))
    return torch.cat(frames).permute(0, 3, 1, 2).float() / 255


def seen_as_asked(staging: Staging, true: dict[str, str], reading: Reading) -> list[tuple[str, bool]]:
    """Everything that was asked of a frame and of who is in it, and whether it is seen; looks of a kind that is there once."""
    found = [(name, word == true[name]) for name, word in reading.frame.items()]
    kinds = [role.kind for role in staging.roles]
    for role in staging.roles:
        found.append(("kind", reading.shows(role.kind, len(set(kinds)))))
        if role.prop is not None:
            found.append(("prop", reading.shows(role.prop, len(kinds), "prop")))
        if kinds.count(role.kind) == 1 and role.appearance is not None:
            found += [(look, reading.look_of(role.kind, look) == getattr(role.appearance, look)) for look in LOOKS]
    return found


def score_film(film: Film, frames: Tensor, reader: FrameReader, tallies: dict[str, Tally]) -> None:
    """Adds one film to the tallies: what is seen by shot; cuts by frame; identity over cuts in a set."""
    per_chunk = len(frames) // sum(shot.chunks for shot in film.shots)
    start = 0
    right = dict.fromkeys((*reader.frame, "light", "camera", "action", *THINGS, *LOOKS), 0)
    asked = dict(right)
    cuts: list[int] = []
    readings = []
    for shot in film.shots:
        end = start + shot.chunks * per_chunk
        reading = read(reader, frames[start + 2 : end : 4])
        readings.append(reading)
        staging = shot.staging
        true = told_of(staging, shot.daylight.after(shot.chunks * CHUNK_SECONDS / 2))
        light = find_light(reader, frames[start + 2 : end : 4], reading)
        found = [
            *seen_as_asked(staging, true, reading), ("light", light == true["light"]),
            ("camera", find_movement(reader, frames[start:end]) == staging.movement),
        ]  # fmt: skip
        doing = acting(staging)
        if doing:
            said = find_actions(reader, frames[start:end], [role.kind for role in doing])
            found += [("action", role.action == action) for role, action in zip(doing, said, strict=True)]
        for name, as_asked in found:
            asked[name] += 1
            right[name] += as_asked
        if start:
            cuts.append(start)
        start = end
    for name, value in right.items():
        tallies[name].add(value, asked[name])
    seen = find_cuts(frames)
    tallies["cut"].add(sum(any(abs(c - s) <= TOLERANCE_FRAMES for s in seen) for c in cuts), len(cuts))
    tallies["cut precision"].add(sum(any(abs(c - s) <= TOLERANCE_FRAMES for c in cuts) for s in seen), len(seen))
    kept = asked_kept = 0
    for before, after, a, b in zip(film.shots, film.shots[1:], readings, readings[1:], strict=False):
        if before.staging.set != after.staging.set:
            continue
        for role in before.staging.roles:
            others = [r for r in after.staging.roles if r.kind == role.kind]
            alone = sum(r.kind == role.kind for r in before.staging.roles) == 1 and len(others) == 1
            if alone and others[0].appearance == role.appearance:
                asked_kept += 1
                kept += a.look_of(role.kind, "hue") == b.look_of(role.kind, "hue")
    tallies["same hue over a cut in one set"].add(kept, asked_kept)


Seen = Callable[[Tensor], None]
"""Is shown the frames [F, 3, H, W] that were made of every film, in 0 … 1."""


def evaluate(
    generator: Generator, reader: FrameReader, *, films: int, seed: int, on_film: Callable[[int], None] = lambda n: None,
    seen: Seen = lambda frames: None, split: Split = "test",
) -> dict[str, Any]:  # fmt: skip
    """Scores `films` held-out films; returns rates of the generator and of the readers on rendered truth."""
    names = (
        *reader.frame, "light", "camera", "action", *THINGS, *LOOKS, "cut", "cut precision", "same hue over a cut in one set",
    )  # fmt: skip
    made, truth = ({name: Tally() for name in names} for _ in range(2))
    began = time.perf_counter()
    spent = 0.0
    for index in range(films):
        film = random_film(SPLITS[split] + index, known=generator.profile.vocabulary or FULL)
        started = time.perf_counter()
        frames = generate(generator, film, seed)
        spent += time.perf_counter() - started
        seen(frames)
        score_film(film, frames, reader, made)
        rendered = render_film(film, width=generator.profile.width, height=generator.profile.height)
        score_film(film, rendered.frames, reader, truth)
        on_film(index + 1)
    total_frames = films * 48
    return {
        "generator": generator.profile.weights, "memory": generator.profile.memory, "films": films, "seed": seed, "split": split,
        "scored_by": "frame reader (small network trained on rendered truth); its accuracy on these films' truth is in `truth`",
        "made": summaries(made), "truth": summaries(truth),
        "frames_per_second": round(total_frames / spent, 1), "seconds": round(time.perf_counter() - began, 1),
        "threads": torch.get_num_threads(),
    }  # fmt: skip
