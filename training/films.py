"""Films as latents: what every stage of the transformer trains on, from the small world or from a folder of clips.

A batch is a function of its step alone, so a run that was interrupted goes on with the very films it would have seen.

Legend: `R` rows (one chunk each), `C` chunks of a film, `L` latent frames of a chunk, `K` pictures.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..storyboard.seeds import NEWEST, SeedVersion, stable_seed

PICTURES = 3
"""Pictures that stand beside every chunk: as many as `shots(3)` holds."""
POOL, ROOM = 64, 500
"""Films that a run begins with, and most that are kept."""


@dataclass(frozen=True)
class LatentFilm:
    """A film, or several one after the other, chunk by chunk.

    Attributes:
        latents: clean chunks [R, c, L, h, w].
        matter: how much a viewer looks there [R, 1, L, h, w], 0 … 1 (puppets).
        place: number of each chunk in its shot [R].
        prompts: what each row is told.
        keyframes: pictures of earlier shots, strangers' where there are fewer [R, c, K, h, w].
        pins: reference pictures, of the shot's cast and of others [R, c, K, h, w].
        pinned_prompts: the same, leaving looks to the pins.
        shared: whether a chunk of the film shows a puppet of the row's chunk [R, C]; nowhere, where that is not known.
        labels: what is to be seen in every cell [R, A, L, h, w] (`labels.film_labels`); A is 0 where nobody asks.
    """

    latents: Tensor
    matter: Tensor
    place: Tensor
    prompts: tuple[str, ...]
    keyframes: Tensor
    pins: Tensor
    pinned_prompts: tuple[str, ...]
    shared: Tensor
    labels: Tensor

    @staticmethod
    def join(films: list[LatentFilm]) -> LatentFilm:
        """Films one after the other."""
        values: dict[str, Any] = {}
        for f in fields(LatentFilm):
            every = [getattr(film, f.name) for film in films]
            values[f.name] = torch.cat(every) if isinstance(every[0], Tensor) else tuple(chain(*every))
        return LatentFilm(**values)

    def on(self, device: torch.device) -> LatentFilm:
        return replace(self, **{name: value.to(device) for name, value in self._tensors()})

    def of(self, precision: torch.dtype) -> LatentFilm:
        """With latents of that type: fp16 keeps three digits of what is about 1 in size, in half the room."""
        floats = {name: value.to(precision) for name, value in self._tensors() if value.is_floating_point()}
        return replace(self, **floats)

    def _tensors(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Tensor)]


@dataclass(frozen=True)
class Batch:
    """The films of a step that this rank trains on, and the seeds of everything that is drawn for them.

    Attributes:
        seed: for what all films of the step share, the same on every rank.
        film_seeds: one for each film here, so that its noise does not depend on how films are shared out.
        numbers: of the films here.
    """

    films: LatentFilm
    seed: int
    film_seeds: tuple[int, ...]
    numbers: tuple[int, ...]


def to_chunks(latents_FCHW: Tensor, length: int) -> Tensor:
    """[F, c, h, w] to [chunks, c, L, h, w]."""
    chunks: Tensor = latents_FCHW.unflatten(0, (-1, length)).transpose(1, 2)
    return chunks


class FilmStream:
    """Batches of films by step: drawn from a window of film numbers that moves on as films have been seen `times` times.

    Args:
        film: makes the film of a number; what it made last is kept.
        begin: the first number, so that another run sees other films.
        count: numbers there are, None for endless; a finite set is gone through in another order every time.
        version: of the run's seeds.
    """

    def __init__(
        self, film: Callable[[int], LatentFilm], *, seed: int, begin: int = 0, count: int | None = None, times: int = 2,
        version: SeedVersion = NEWEST,
    ) -> None:  # fmt: skip
        self._film, self._seed, self._begin, self._count, self._times = film, seed, begin, count, times
        self._version = version
        self._made: OrderedDict[int, LatentFilm] = OrderedDict()

    def numbers(self, step: int, films: int) -> list[int]:
        """The films of a step."""
        if self._count is not None:
            found = []
            for place in range(step * films, (step + 1) * films):
                epoch, at = divmod(place, self._count)
                found.append(_order(self._seed, epoch, self._count)[at])
            return found
        last = self._begin + POOL + math.ceil(step * films / self._times)
        return random.Random(f"{self._seed}/step/{step}").choices(range(max(self._begin, last - ROOM), last), k=films)

    def batch(self, step: int, films: int, rank: int = 0, ranks: int = 1) -> Batch:
        """This rank's share of the films of a step."""
        mine = list(enumerate(self.numbers(step, films)))[rank::ranks]
        seeds = tuple(stable_seed(self._seed, step, place, version=self._version) for place, _ in mine)
        joined = LatentFilm.join([self._get(n) for _, n in mine]).of(torch.float32)
        shared = stable_seed(self._seed, step, version=self._version)
        return Batch(joined, shared, seeds, tuple(n for _, n in mine))

    def _get(self, number: int) -> LatentFilm:
        made = self._made.get(number)
        if made is None:  # two threads may make the same film; it is the same
            made = self._made[number] = self._film(number).of(torch.float16)
            if len(self._made) > ROOM:
                self._made.popitem(last=False)
        return made


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    """The order in which a finite set is gone through."""
    order = list(range(count))
    random.Random(f"{seed}/epoch/{epoch}").shuffle(order)
    return order


class Draws:
    """Random numbers of a batch: film by film from each film's own seed, on the device."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self.shared = random.Random(batch.seed)
        self._device = device
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in batch.film_seeds]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal [films · shape[0], …]."""
        return torch.cat([torch.randn(*shape, generator=g, device=self._device) for g in self._generators])

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in 0 … 1, [films · shape[0], …]."""
        return torch.cat([torch.rand(*shape, generator=g, device=self._device) for g in self._generators])
