"""Whether a chunk remembers a puppet over a gap: true history is fed, and only the shot that recalls it is generated.

The rules that make it mean something: looks are drawn per film and the recalling shot only names the puppet; other puppets
fill the gap; in three films of four the puppet is absent from the first chunk; the recalling shot has another view than the
one that introduced it, and in half of the films another set.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import torch

from ..generator.reader import LOOKS, FrameReader, read
from ..storyboard.caption import CUT_MARK, Appearance, Role, Staging, without_appearance
from ..storyboard.stage import Frames, Generator
from ..storyboard.vocabulary import FULL, HUES, Vocabulary
from ..training.world import SPLITS, Film, FilmShot, Split, random_appearance, random_role, render_film
from .films import Seen, Tally, summaries

GAPS = (0, 2, 4, 8, 12)
"""Chunks between the shot that introduces a puppet and the one that recalls it: 0 to 36 latent frames."""
RECALL_CHUNKS = 1
FRAMES_PER_CHUNK = 12
ROUTED, WINDOW = "routed to it", 3


def recall_film(seed: int, gap: int, known: Vocabulary = FULL) -> tuple[Film, Role]:
    """A film whose last shot recalls a puppet that was last seen `gap` chunks before, and who it is."""
    rng = random.Random(f"recall/{seed}/{gap}")
    kinds = rng.sample(known.kinds, 4)
    looks = [random_appearance(rng, known) for _ in kinds]
    sets, time_of_day = rng.sample(known.sets, 2), rng.choice(known.times)

    def shot(view: str, place: str, who: int, chunks: int, told: bool) -> FilmShot:
        role = random_role(rng, kinds[who], looks[who], known=known)
        staging = Staging(view, place, time_of_day, "still", (role,))
        return FilmShot(staging, without_appearance(staging, (told,)), chunks)

    shots = []
    if rng.random() < 0.75:
        shots.append(shot("medium", rng.choice(sets), 1, 1, True))
    shots.append(shot("close", sets[0], 0, 1, True))
    left, others = gap, [1, 2, 3]
    while left:
        length = min(left, rng.choice((1, 2, 2)))
        shots.append(shot(rng.choice(("medium", "close")), rng.choice(sets), others[len(shots) % 3], length, True))
        left -= length
    last = shot("medium", rng.choice(sets), 0, RECALL_CHUNKS, False)
    shots.append(last)
    return Film(seed, tuple(shots)), last.staging.roles[0]


def as_chunks(generator: Generator, frames: torch.Tensor, chunks: int) -> list[Any]:
    """A shot's frames as the chunks that `feed` takes."""
    array: Frames = frames.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return generator.encode(array)[:chunks]


def evaluate_recall(
    generator: Generator, reader: FrameReader, *, films: int, seed: int, gaps: tuple[int, ...] = GAPS,
    on_film: Callable[[int], None] = lambda n: None, oracle: bool = False, seen: Seen = lambda frames: None,
    split: Split = "test",
) -> dict[str, Any]:  # fmt: skip
    """Rates of kind, each look and all looks together, by gap in chunks, and of routed frames that show the puppet; `films` for
    each gap.

    Args:
        oracle: leave out of history whatever lies before the last window and does not show the puppet.
    """
    profile = generator.profile
    names = ("kind", *LOOKS, "identity", ROUTED)
    tallies = {gap: {name: Tally() for name in names} for gap in gaps}
    truth = {name: Tally() for name in names if name != ROUTED}
    began = time.perf_counter()
    for number, gap in enumerate(gaps):
        for index in range(films):
            film, who = recall_film(SPLITS[split] + 200_000_000 + index, gap, profile.vocabulary or FULL)
            assert who.appearance is not None
            render = render_film(film, width=profile.width, height=profile.height)
            rollout, start, prompts = generator.start(seed + index), 0, film.prompts()
            fed, shown = 0, range(0)
            for place, shot in enumerate(film.shots):
                end = start + shot.chunks
                prompt = prompts[start].removeprefix(CUT_MARK)
                shows = any(role.kind == who.kind for role in shot.staging.roles)
                if oracle and not shows and sum(s.chunks for s in film.shots[place:-1]) > WINDOW:
                    start = end
                    continue
                rollout.begin_shot(prompt, shot=f"s{place}", take=1)
                if shows and place < len(film.shots) - 1:
                    shown = range(fed * profile.chunk_latents, (fed + shot.chunks) * profile.chunk_latents)
                if place < len(film.shots) - 1:
                    for chunk in as_chunks(
                        generator, render.frames[start * FRAMES_PER_CHUNK : end * FRAMES_PER_CHUNK], shot.chunks
                    ):
                        rollout.feed(chunk, decode=False)
                        fed += 1
                start = end
            chunk_made = rollout.step()
            made = torch.from_numpy(chunk_made.frames).permute(0, 3, 1, 2).float() / 255
            seen(torch.cat([render.frames[:-FRAMES_PER_CHUNK], made]))
            recalled = [frame for layer in chunk_made.recalled for frame in layer]  # none without routing
            tallies[gap][ROUTED].add(sum(frame in shown for frame in recalled), len(recalled))
            _score(tallies[gap], reader, who.kind, who.appearance, made)
            _score(truth, reader, who.kind, who.appearance, render.frames[-FRAMES_PER_CHUNK:])
            on_film(number * films + index + 1)
    return {
        "generator": profile.weights, "memory": profile.memory, "oracle": oracle, "films": films, "seed": seed, "split": split,
        "chance": {"hue": 1 / len(HUES), **{name: 1 / len(LOOKS[name]) for name in ("pattern", "accessory")}},
        "scored_by": "frame reader (small network trained on rendered truth); its accuracy on these shots' truth is in `truth`",
        "gaps": {str(gap): summaries(found) for gap, found in tallies.items()},
        "truth": summaries(truth),
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _score(tallies: dict[str, Tally], reader: FrameReader, kind: str, look: Appearance, frames: torch.Tensor) -> None:
    reading = read(reader, frames[2::4])
    right = {name: reading.look_of(kind, name) == getattr(look, name) for name in LOOKS}
    tallies["kind"].add(int(reading.shows(kind, 1)), 1)
    for name, value in right.items():
        tallies[name].add(int(value), 1)
    tallies["identity"].add(int(reading.shows(kind, 1) and all(right.values())), 1)
