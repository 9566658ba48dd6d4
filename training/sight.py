"""What rows see beside themselves, ready for any number of passes over noisy copies of them: pages of the clean films, or, under
compressed memory, the history of their shot in ever coarser patches; and pictures.

Legend: `R` rows (one chunk each, film-major), `L` latent frames of a chunk, `c` channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..generator.attention import Past
from ..generator.contexts import Context, Keyframes
from ..generator.memory import Memory
from ..generator.packed import NO_PAGES, Packed
from ..generator.shot_cache import compressed_history

Flow = Callable[[Tensor, Tensor, Tensor, Context], Tensor]
"""One pass: noisy rows, their noise levels, text, what they see."""
Remember = Callable[[list[Keyframes], Tensor], list[Past]]
"""Keys and values of context, by layer."""


class Sight(Protocol):
    def __call__(self, x: Tensor, sigma_R: Tensor, text: Tensor, *, pictures: bool = True) -> Tensor:
        """The flow of noisy copies of the rows; guidance's other pass sees no pictures."""


@dataclass(frozen=True)
class PagesSight:
    """All earlier clean chunks that the memory shows."""

    flow: Flow
    packed: Packed

    def __call__(self, x: Tensor, sigma_R: Tensor, text: Tensor, *, pictures: bool = True) -> Tensor:
        seen = self.packed
        if not pictures:
            seen = Packed(seen.memory, seen.films, seen.chunks, seen.length, None, seen.pages)
        return self.flow(x, sigma_R, text, seen)


def by_place(place_R: Tensor) -> list[Tensor]:
    """Rows that are alike in how many chunks of their shot lie before them, as indices."""
    return [torch.nonzero(place_R == place)[:, 0] for place in place_R.unique().tolist()]


@dataclass(frozen=True)
class HistorySight:
    """The chunks of the same shot before, re-patchified (FilmWeaver's temporal cache). Rows with equally much history go together.

    Attributes:
        layers: of the transformer.
        hazy: the rows' clean chunks, noised to `label` [R, c, L, h, w].
        place: number of each row's chunk in its shot [R].
    """

    flow: Flow
    remember: Remember
    layers: int
    memory: Memory
    length: int
    pictures: Keyframes | None
    hazy: Tensor
    place: Tensor
    label: int

    def __call__(
        self, x: Tensor, sigma_R: Tensor, text: Tensor, *, pictures: bool = True, rows: Tensor | None = None
    ) -> Tensor:
        """`rows`: which of the rows `text` is for, and `x` copies of; all when left out."""
        rows = torch.arange(len(self.hazy), device=x.device) if rows is None else rows
        copies, out = len(x) // len(rows), torch.empty_like(x)
        for mine in by_place(self.place[rows]):
            context = self._context(rows[mine], int(self.place[rows[mine[0]]]), pictures)
            known = self.remember(context, text[mine]) if context else None
            every = (torch.arange(copies, device=x.device)[:, None] * len(rows) + mine).flatten()
            alone = Packed(self.memory, len(mine), 1, self.length, known, pages=[NO_PAGES] * self.layers)
            out[every] = self.flow(x[every], sigma_R[every], text[mine].repeat(copies, 1, 1), alone)
        return out

    def _context(self, rows: Tensor, place: int, pictures: bool) -> list[Keyframes]:
        """Context of rows that are chunk number `place` of their shots."""
        segment = self.memory.compressed
        assert segment is not None
        context = []
        if self.pictures is not None and pictures:
            context.append(replace(self.pictures, latents=self.pictures.latents[rows]))
        if place:
            history = torch.cat([self.hazy[rows - back] for back in range(place, 0, -1)], dim=2)
            base = self.memory.starts(self.length)["chunk"]
            context += compressed_history(replace(segment, noise=self.label), history[:, :, -segment.frames :], base)
        return context
