"""The flow loss on held-out films: what training lowers. Every set of weights meets the same films, memory and noise, and is compared film by
film, so that a hundredth of it shows in seconds; what readers see of films that are made needs hours to show as much.

A lower loss is no better film: what is asked for may be found oftener at a higher one.

Legend: `R` rows (one chunk each), `L` latent frames of a chunk, `F` hidden frames before them.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..generator.bundle import Bundle
from ..generator.contexts import Keyframes
from ..generator.memory import Memory, parse_memory
from ..generator.packed import Packed
from ..generator.precision import arithmetic
from ..storyboard.errors import InputError
from ..storyboard.seeds import stable_seed
from ..storyboard.vocabulary import Vocabulary
from ..training.film_stage import FilmStage, add_noise
from ..training.films import LatentFilm
from ..training.sizes import SIZES, Size
from ..training.small_world import SmallWorld
from ..training.world import Habits, Split

LEVELS = (0.95, 0.8, 0.6, 0.4, 0.2)
"""Noise levels that are asked about."""
HABITS = Habits(cuts=0.45, cast=5, forget=0.8, pairs=0.3)
"""Films as the recipes draw them for their last stages."""
FIRST, BOOTSTRAP = 800_000_000, 1000


def evaluate_flow(
    bundles: Sequence[Bundle], memory: str | None, *, films: int, seed: int, chunks: int = 6, on_film: Callable[[int], None] = lambda n: None,
    split: Split = "validation",
) -> dict[str, Any]:  # fmt: skip
    """The mean squared error of the flow by noise level, over all of the picture and over its puppets, after true history and under the
    prompt; for weights after the first also how much less it is than the first's, in the mean over the levels, with its 95 % bootstrap
    interval over films.

    Args:
        memory: of all of them; the first's own when left out.
        chunks: of a film.

    Raises:
        InputError: weights that are not of the small world, or do not speak of the same latents; a memory that sees no whole films.
    """
    first, began = bundles[0], time.perf_counter()
    seen = parse_memory(memory or first.profile.memory)
    if seen.compressed or seen.absolute:
        raise InputError(
            f"memory {seen}: the flow is asked of whole films at once; choose one without compressed and absolute"
        )
    world = SmallWorld(
        _size_of(first), first.autoencoder, chunks=chunks, length=first.profile.chunk_latents, split=split,
        known=_known(first), habits=HABITS,
    )  # fmt: skip
    for other in bundles[1:]:
        _expect_alike(first, other)
    found: list[list[Tensor]] = [[] for _ in bundles]
    for index in range(films):
        film = world.film(FIRST + index)
        for mine, bundle in zip(found, bundles, strict=True):
            mine.append(_errors(bundle, seen, film, stable_seed(seed, index)))
        on_film(index + 1)
    errors = [torch.stack(mine) for mine in found]
    return {
        "memory": str(seen), "films": films, "chunks": chunks, "seed": seed, "split": split,
        "scored_by": "mean squared error of the flow after true history",
        "weights": [
            {"generator": f"{bundle.profile.name} ({bundle.folder})", **_summary(mine), "less": _less(errors[0], mine)}
            for bundle, mine in zip(bundles, errors, strict=True)
        ],
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _size_of(bundle: Bundle) -> Size:
    for size in SIZES.values():
        if (size.width, size.height) == (bundle.profile.width, bundle.profile.height):
            return size
    raise InputError(
        f"{bundle.folder} is of no size of ours ({', '.join(SIZES)}): the flow is asked of films of the small world"
    )


def _known(bundle: Bundle) -> Vocabulary:
    if bundle.vocabulary is None:
        raise InputError(f"{bundle.folder} is told prose: the flow is asked of films of the small world")
    return bundle.vocabulary


def _expect_alike(first: Bundle, other: Bundle) -> None:
    """That a latent means the same to both, and a chunk is as long."""
    mine, theirs = first.autoencoder.state_dict(), other.autoencoder.state_dict()
    same = mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    if not same or first.profile.chunk_latents != other.profile.chunk_latents:
        raise InputError(
            f"{first.folder} and {other.folder} have other autoencoders or chunks, so their flows cannot be compared: ask of each alone"
        )


@torch.no_grad()
def _errors(bundle: Bundle, memory: Memory, film: LatentFilm, seed: int) -> Tensor:
    """Error by level, over the picture and over its puppets [levels, 2]; NaN where a film shows none."""
    length, rows, levels = bundle.profile.chunk_latents, len(film.latents), torch.tensor(LEVELS)
    rng = torch.Generator().manual_seed(seed)
    clean = FilmStage.with_state(memory, film.latents.float())
    noise = torch.randn(len(LEVELS) * rows, *clean.shape[1:], generator=rng)
    target, sigma = clean.repeat(len(LEVELS), 1, 1, 1, 1), levels.repeat_interleave(rows)
    text = torch.cat([bundle.text(prompt) for prompt in film.prompts]).float()
    transformer, known = bundle.transformer, None
    with arithmetic(bundle.device):
        if memory.shots is not None:
            pictures = film.keyframes[:, :, : memory.shots.keyframes].float()
            label = memory.shots.noise
            hazy = torch.lerp(pictures, torch.randn(pictures.shape, generator=rng), label / 1000)
            at = memory.starts(length)["shots"]
            known = transformer.remember([Keyframes(hazy, 1, tuple(range(at, at + pictures.shape[2])), label)], text)
        out = transformer(
            torch.cat([clean, add_noise(target, noise, sigma)]), torch.cat([torch.zeros(rows), sigma]) * 1000,
            text.repeat(1 + len(LEVELS), 1, 1), Packed(memory, 1, rows, length, known),
        )  # fmt: skip
    error = (
        (out.float()[rows:] - (noise - target)).square()[:, :, -length:].mean(dim=1).unflatten(0, (len(LEVELS), rows))
    )
    matter = film.matter[:, 0].float()
    return torch.stack([error.mean(dim=(1, 2, 3, 4)), (error * matter).sum(dim=(1, 2, 3, 4)) / matter.sum()], dim=1)


def _summary(errors: Tensor) -> dict[str, Any]:
    """By level, and in the mean over the levels, of [films, levels, 2]."""
    by_level = errors.nanmean(dim=0)
    rows = {f"{level:g}": row for level, row in zip(LEVELS, by_level, strict=True)} | {"mean": by_level.mean(dim=0)}
    return {
        "levels": {
            name: {"all": round(float(row[0]), 5), "puppets": round(float(row[1]), 5)} for name, row in rows.items()
        }
    }


def _less(first: Tensor, mine: Tensor) -> dict[str, dict[str, float]] | None:
    """How much less than the first's, as a part of it; None for the first itself, NaN over puppets where no film shows any."""
    if mine is first:
        return None
    rng, found = random.Random(0), {}
    for place, name in enumerate(("all", "puppets")):
        pairs = [
            (float(a), float(b))
            for a, b in zip(first[..., place].mean(dim=1), mine[..., place].mean(dim=1), strict=True)
            if a == a
        ]

        def part(films: list[tuple[float, float]]) -> float:
            return 1.0 - sum(b for _, b in films) / sum(a for a, _ in films) if films else math.nan

        drawn = sorted(part(rng.choices(pairs, k=len(pairs)) if pairs else []) for _ in range(BOOTSTRAP))
        found[name] = {
            "part": round(part(pairs), 5), "low": round(drawn[int(0.025 * BOOTSTRAP)], 5), "high": round(drawn[int(0.975 * BOOTSTRAP)], 5),
        }  # fmt: skip
    return found
