"""What the chunk of each row attends to beside itself: nothing, or the memory of a rollout. Training has its own in
`packed.py`.

Legend: `R` rows (one chunk each), `L` latent frames of a chunk, `N` tokens of the chunk, `n` tokens of a frame, `H`
heads, `D` head width, `E` = H·D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from .attention import Past, attend, frame_table, rope_table, rotate, token_grid
from .memory import Memory, Plan
from .pages import PageStore
from .routing import choose

KEEP_BYTES = 2 << 30
"""Rotated pages that do not change between the passes of a chunk are kept when all layers' fit here."""


class Context(Protocol):
    """What the chunk of each row attends to beside itself."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        """All un-rotated [R, N, H, D]; returns the attention's output in the same shape."""


class Alone:
    """The chunk sees only itself: at positions from 0 as in plain Wan, or where it is said to stand."""

    def __init__(self, own: tuple[int, ...] | None = None) -> None:
        self._own = own

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        own = self._own or tuple(range(q.shape[1] // (grid[0] * grid[1])))
        return attend(q, k, v, frame_table(own, *grid, q.shape[-1], q.device))


@dataclass(frozen=True)
class Keyframes:
    """Clean latents that stand in the span as context: [R, C, frames, h, w].

    Attributes:
        factor: 1, 4 or 32: how much smaller their tokens are than the model's own.
        positions: where the frames stand; at factor 32 two frames share a token.
        timestep: their noise label.
    """

    latents: Tensor
    factor: int
    positions: tuple[int, ...]
    timestep: int = 0

    def coordinates(self, frames: int, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
        """The middle of every token on the grid of the model's own tokens."""
        side = {1: 1, 4: 2, 32: 4}[self.factor]
        t = torch.tensor(self.positions, dtype=torch.float64).view(frames, -1).mean(dim=1)
        h, w = (torch.arange(count, dtype=torch.float64) * side + (side - 1) / 2 for count in (rows, columns))
        return token_grid(t, h, w)


class Remembering:
    """The pass that turns context into keys and values: its tokens attend among themselves."""

    def __init__(
        self, coordinates: Sequence[tuple[Tensor, Tensor, Tensor]], head_width: int, device: torch.device
    ) -> None:
        t, h, w = (torch.cat(axis) for axis in zip(*coordinates, strict=True))
        self._table = rope_table(t, h, w, head_width).to(device)
        self.layers: list[Past] = []

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        self.layers.append((rotate(k, self._table), v))
        return attend(q, k, v, self._table)


@dataclass
class Paged:
    """The chunk of a rollout: pages of the store, what routing recalls of the pool, and context.

    Rows are the chunk under several prompts (guidance); each routes by its own queries. One object serves all passes of a chunk; `commit` is set for the last one, which writes the chunk's own pages.

    Attributes:
        recalled: by layer, the frames that the latest pass recalled.
    """

    store: PageStore
    memory: Memory
    context: list[Past] | None = None
    commit: bool = False
    recalled: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        store, shape = self.store, self.store.shape
        self.plan: Plan = self.memory.plan(store.frames, store.length)
        self.own = tuple(range(store.state_frames)) + tuple(range(self.plan.base, self.plan.base + store.length))
        self._fixed: dict[int, list[Past]] = {}
        self._keep = len(self.plan.fixed) * shape.frame_bytes <= KEEP_BYTES
        self._candidates = store.pool.candidates(*self.plan.candidates) if store.pool else []
        self._slots = store.pool.slots(self._candidates) if store.pool else None
        routed = self.memory.routed.frames if self.memory.routed else 0
        count = min(routed, len(self._candidates))
        self._routed_positions = tuple(range(self.plan.routed_at, self.plan.routed_at + count))

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        width, device, n = q.shape[-1], q.device, grid[0] * grid[1]
        if self.commit:
            self.store.write(layer, k[0].unflatten(0, (-1, n)), v[0].unflatten(0, (-1, n)))
        past = self._fixed.get(layer)
        if past is None:
            past = self._gather(layer, grid, width, device)
            if self._keep:
                self._fixed[layer] = past
        if self._routed_positions:
            past = [*past, self._route(layer, q, grid)]
        rows = len(q)
        wide = [(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in past]
        return attend(q, k, v, frame_table(self.own, *grid, width, device), wide)

    def _stand(self, page: tuple[Tensor, Tensor], positions: tuple[int, ...], grid: tuple[int, int]) -> Past:
        """Pages of one row, or of several one after another, at their positions: [R, M, H, D]."""
        keys, values = (x.unflatten(0, (-1, len(positions))).flatten(1, 2) for x in page)
        return rotate(keys, frame_table(positions, *grid, keys.shape[-1], keys.device)), values

    def _gather(self, layer: int, grid: tuple[int, int], width: int, device: torch.device) -> list[Past]:
        """Everything that is the same in all passes of the chunk."""
        past = [self.context[layer]] if self.context else []
        state = self.store.state(layer)
        if state is not None:
            past.append(self._stand(state, tuple(range(self.store.state_frames)), grid))
        if self.plan.fixed:
            past.append(self._stand(self.store.read(layer, self.plan.fixed), self.plan.positions, grid))
        return past

    def _route(self, layer: int, q: Tensor, grid: tuple[int, int]) -> Past:
        pool = self.store.pool
        assert pool is not None and self._slots is not None
        n = grid[0] * grid[1]
        content = q[:, self.store.state_frames * n :]  # the state is no content to recall by
        best = choose(content, pool.descriptors[layer], len(self._routed_positions), self._slots)
        if self.commit:
            self.recalled[layer] = [self._candidates[i] for i in best[0].tolist()]
        return self._stand(pool.read(layer, self._slots[best.flatten()]), self._routed_positions, grid)
