"""Whether long films drift: what readers see of them early and late."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from ..generator.reader import FrameReader
from ..generator.video_generator import VideoGenerator
from ..storyboard.caption import CUT_MARK
from ..storyboard.vocabulary import FULL
from ..training.world import SPLITS, Film, Habits, Split, random_film
from .films import Seen, Tally, score_film, summaries

EARLY = 20
SHOT_CHUNKS = 4
AROUND = 10
"""Shots that begin so many chunks before or after the chunk that is looked at count as there."""
NAMES = ("set", "time", "view", "kind", "hue")


def looked_for(last: int) -> list[tuple[str, int]]:
    """What is measured, and at which chunks."""
    return [(name, chunk) for chunk in (EARLY, last) for name in NAMES]


def evaluate_drift(
    generator: VideoGenerator, reader: FrameReader, *, films: int, seed: int, last: int = 200,
    on_film: Callable[[int], None] = lambda n: None, seen: Seen = lambda frames: None, split: Split = "test",
) -> dict[str, Any]:  # fmt: skip
    """Rates (`made`) of set, time, view, kind and hue as `NAME at CHUNK`, around chunk 20 and chunk `last` of held-out films of shots of
    about four chunks, all of it said in every caption; `error`, the mean part that is wrong at either, and their ratio."""
    profile = generator.profile
    tallies: dict[int, dict[str, Tally]] = {at: defaultdict(Tally) for at in (EARLY, last)}
    habits, began = Habits(cuts=1 / SHOT_CHUNKS, forget=0.0), time.perf_counter()
    for index in range(films):
        film = random_film(SPLITS[split] + 800_000_000 + index, last + AROUND, profile.vocabulary or FULL, habits)
        rollout, chunk, prompts, shown = generator.start(seed + index), 0, film.prompts(), []
        for number, shot in enumerate(film.shots):
            rollout.begin_shot(prompts[chunk].removeprefix(CUT_MARK), shot=f"s{number}", take=1)
            made = torch.cat([torch.from_numpy(rollout.step().frames) for _ in range(shot.chunks)])
            frames = made.permute(0, 3, 1, 2).float() / 255
            shown.append(frames[len(frames) // 2])  # one of every shot: all of them would not fit
            for at, seen_there in tallies.items():
                if abs(chunk - at) <= AROUND:
                    score_film(Film(film.seed, (shot,)), frames, reader, seen_there)
            chunk += shot.chunks
        seen(torch.stack(shown))
        on_film(index + 1)
    rates = {at: summaries(there) for at, there in tallies.items()}
    found = {f"{name} at {at}": rates[at][name] for name, at in looked_for(last) if name in rates[at]}
    error = {at: _error(found, at) for at in (EARLY, last)}
    return {
        "generator": profile.weights, "memory": profile.memory, "films": films, "seed": seed, "split": split, "early": EARLY, "last": last,
        "scored_by": "frame reader (small network trained on rendered truth)", "made": found,
        "error": {str(at): round(value, 4) for at, value in error.items()},
        "ratio": round(error[last] / error[EARLY], 3) if error[EARLY] else None,
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _error(found: dict[str, dict[str, float]], at: int) -> float:
    rates = [rate["rate"] for name, rate in found.items() if name.endswith(f" at {at}")]
    return 1.0 - sum(rates) / len(rates)
