"""Whether a shot wears off: what readers see in each of its chunks, and how much of the picture is edges."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..generator.reader import FrameReader, read
from ..storyboard.stage import Generator
from ..storyboard.vocabulary import FULL
from ..training.world import CHUNK_SECONDS, SPLITS, FilmShot, Habits, Split, random_film, render_film
from .films import Seen, Tally, generate, seen_as_asked, summaries
from .readers import told_of

NAMES = ("set", "view", "kind", "hue", "pattern", "accessory")


def edges(frames: Tensor) -> float:
    """Mean difference of neighbouring pixels in a row; noise and nets that build up raise it, what melts lowers it."""
    return float((frames[..., 1:] - frames[..., :-1]).abs().mean())


def evaluate_wear(
    generator: Generator, reader: FrameReader, *, films: int, seed: int, chunks: int = 8, on_film: Callable[[int], None] = lambda n: None,
    seen: Seen = lambda frames: None, split: Split = "test",
) -> dict[str, Any]:  # fmt: skip
    """Rates of `NAMES`, chunk by chunk, in held-out films of one shot whose caption says everything, and of the readers on the rendered
    truth, where a puppet that walks may leave; `edges`, those of the pictures against those of the truth."""
    profile = generator.profile
    rates: dict[str, list[dict[str, Tally]]] = {
        source: [defaultdict(Tally) for _ in range(chunks)] for source in ("made", "truth")
    }
    sharp = {source: [0.0] * chunks for source in rates}
    began = time.perf_counter()
    for index in range(films):
        film = random_film(
            SPLITS[split] + 700_000_000 + index, chunks, profile.vocabulary or FULL, Habits(cuts=0.0, forget=0.0)
        )
        frames = {
            "made": generate(generator, film, seed),
            "truth": render_film(film, width=profile.width, height=profile.height).frames,
        }
        for source, shown in frames.items():
            for chunk, part in enumerate(shown.chunk(chunks)):
                _score(film.shots[0], chunk, part, reader, rates[source][chunk])
                sharp[source][chunk] += edges(part) / films
        seen(frames["made"])
        on_film(index + 1)
    return {
        "generator": profile.weights, "memory": profile.memory, "films": films, "seed": seed, "split": split, "chunks": chunks,
        "scored_by": "frame reader (small network trained on rendered truth); its accuracy on these shots' truth is in `truth`",
        **{source: [summaries(chunk) for chunk in by_chunk] for source, by_chunk in rates.items()},
        "edges": [round(made / true, 3) for made, true in zip(sharp["made"], sharp["truth"], strict=True)],
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _score(shot: FilmShot, chunk: int, frames: Tensor, reader: FrameReader, tallies: dict[str, Tally]) -> None:
    true = told_of(shot.staging, shot.daylight.after((chunk + 0.5) * CHUNK_SECONDS))
    found = seen_as_asked(shot.staging, true, read(reader, frames[2::4]))
    for name in NAMES:
        as_asked = [right for of, right in found if of == name]
        tallies[name].add(sum(as_asked), len(as_asked))
