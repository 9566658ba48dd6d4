"""Memory for whole films at once, as training needs it: teacher forcing over packed films, and rollouts of many films
side by side that gradients can go through.

Chunks of one number see equally many frames in every film, so they attend together and no mask is needed. On a device, chunks of several
numbers that see as much in the same places go together too: it is done with them before the next call has reached it. Routing chooses for every row
by its own queries.

Legend: `R` rows (one chunk each), `L` latent frames of a chunk, `F` hidden frames of the state before them, `N` tokens of
the chunk, `n` tokens of a frame, `H` heads, `D` head width, `E` = H·D.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor

from .attention import Past, attend, frame_table, rotate
from .memory import Memory
from .routing import choose, describe


@dataclass
class FilmPages:
    """Un-rotated keys and values of the clean frames of several films in one layer [films, frames, n, H, D], hidden frames
    of the state apart, chunk after chunk."""

    keys: Tensor
    values: Tensor
    state_keys: Tensor
    state_values: Tensor
    _apart: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None = field(default=None, init=False, repr=False)
    _described: Tensor | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, k_RNHD: Tensor, v_RNHD: Tensor, films: int, state: int, n: int) -> FilmPages:
        """Of the clean chunks of whole films, film-major."""
        found = []
        for x in (k_RNHD, v_RNHD):
            frames = x.unflatten(0, (films, -1)).unflatten(2, (-1, n))  # [films, chunks, F + L, n, H, D]
            found.append((frames[:, :, state:].flatten(1, 2), frames[:, :, :state].flatten(1, 2)))
        (keys, state_keys), (values, state_values) = found
        return cls(keys, values, state_keys, state_values)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.keys, self.values, self.state_keys, self.state_values

    def add(self, others: FilmPages) -> FilmPages:
        """The films gone on by the frames of `others`."""
        return FilmPages(*(torch.cat(both, dim=1) for both in zip(self.tensors(), others.tensors(), strict=True)))

    def _frames(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Keys and values frame by frame, taken apart once: the gradient of every slice of its own would be a tensor as large as
        all frames together."""
        if self._apart is None:
            self._apart = self.keys.unbind(dim=1), self.values.unbind(dim=1)
        return self._apart

    def _descriptors(self) -> Tensor:
        """What routing knows the frames by [films, frames, E], made once."""
        if self._described is None:
            self._described = describe(self.keys.detach().flatten(0, 1)).unflatten(0, self.keys.shape[:2])
        return self._described

    def past(self, memory: Memory, chunks: range, length: int, q_RNHD: Tensor, grid: tuple[int, int]) -> list[Past]:
        """What the rows of chunks see that see alike (`alike`): [copies · films · chunks] of them, chunk by chunk within each film."""
        films, count, n, width = len(self.keys), len(chunks), grid[0] * grid[1], q_RNHD.shape[-1]
        copies, device = len(q_RNHD) // (films * count), q_RNHD.device
        plans = [memory.plan(chunk * length, length) for chunk in chunks]
        state = memory.state.frames if memory.state else 0
        found: list[Past] = []

        def stand(keys: Tensor, values: Tensor, positions: tuple[int, ...]) -> Past:
            return rotate(keys.flatten(1, 2), frame_table(positions, *grid, width, device)), values.flatten(1, 2)

        def every(keys: Tensor, values: Tensor, positions: tuple[int, ...]) -> Past:
            """Of frames [films, chunks · frames, n, H, D] that all copies see."""
            keys, values = (x.unflatten(1, (count, -1)).flatten(0, 1) for x in (keys, values))
            keys, values = stand(keys, values, positions)
            return keys.repeat(copies, 1, 1, 1), values.repeat(copies, 1, 1, 1)

        if state and chunks[0]:
            before = slice((chunks[0] - 1) * state, chunks[-1] * state)
            found.append(every(self.state_keys[:, before], self.state_values[:, before], tuple(range(state))))
        if plans[0].fixed:
            shown = [i for plan in plans for i in plan.fixed]
            keys, values = (torch.stack([frames[i] for i in shown], dim=1) for frames in self._frames())
            found.append(every(keys, values, plans[0].positions))
        if _recalled(memory, chunks[0], length):
            assert memory.routed is not None
            content = q_RNHD[:, state * n :].detach().unflatten(0, (-1, count))  # the state is no content to recall by
            best = []
            for place, plan in enumerate(plans):
                first, last = plan.candidates
                among = self._descriptors()[:, first:last].repeat(copies, 1, 1)
                best.append(choose(content[:, place], among, memory.routed.frames) + first)
            chosen = torch.stack(best, dim=1).flatten(0, 1)
            film = torch.arange(films, device=device).repeat(copies).repeat_interleave(count)[:, None]
            positions = tuple(range(plans[0].routed_at, plans[0].routed_at + chosen.shape[1]))
            found.append(stand(self.keys[film, chosen], self.values[film, chosen], positions))
        return found


class _NoPages(FilmPages):
    """Of films whose memory has none."""

    def __init__(self) -> None:
        super().__init__(*[torch.empty(0)] * 4)

    def past(self, *_: object) -> list[Past]:
        return []


NO_PAGES = _NoPages()


def _recalled(memory: Memory, chunk: int, length: int) -> int:
    """How many frames a chunk recalls."""
    first, last = memory.plan(chunk * length, length).candidates
    return min(memory.routed.frames, last - first) if memory.routed else 0


@lru_cache(maxsize=64)
def alike(memory: Memory, chunks: int, length: int) -> tuple[range, ...]:
    """The chunks of a film, in runs of those that see as many frames, and in the same places relative to their own."""

    def sight(chunk: int) -> tuple[object, ...]:
        plan = memory.plan(chunk * length, length)
        own = own_positions(memory, chunk, length)
        return bool(chunk), own, plan.positions, plan.routed_at, _recalled(memory, chunk, length)

    runs = [list(run) for _, run in groupby(range(chunks), sight)]
    return tuple(range(run[0], run[-1] + 1) for run in runs)


def own_positions(memory: Memory, chunk: int, length: int) -> tuple[int, ...]:
    """Where the hidden frames and the frames of a chunk stand."""
    base = memory.plan(chunk * length, length).base
    return tuple(range(memory.state.frames if memory.state else 0)) + tuple(range(base, base + length))


class Packed:
    """Teacher forcing: rows are [clean chunks | noisy copies of them] of whole films; all see clean pages only.

    CausalCine §3.2, equation (4): the four quadrants, folded into the batch. With `pages` of an earlier clean pass the rows
    are the noisy copies alone.
    """

    def __init__(
        self,
        memory: Memory,
        films: int,
        chunks: int,
        length: int,
        context: list[Past] | None = None,
        pages: list[FilmPages] | None = None,
    ) -> None:
        """Rows are film-major in each copy. `context` is that of one copy, by layer."""
        self.memory, self.films, self.chunks, self.length = memory, films, chunks, length
        self.context, self.pages = context, pages

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        n, films, chunks = grid[0] * grid[1], self.films, self.chunks
        rows = films * chunks
        copies = len(q) // rows
        state = self.memory.state.frames if self.memory.state else 0
        pages = self.pages[layer] if self.pages is not None else FilmPages.of(k[:rows], v[:rows], films, state, n)
        by_chunk = [x.unflatten(0, (copies, films, chunks)) for x in (q, k, v)]
        beside = [x.unflatten(0, (films, chunks)) for x in self.context[layer]] if self.context is not None else []
        out = []
        for run in self._runs(q.device):
            own = [x[:, :, run.start : run.stop].flatten(0, 2) for x in by_chunk]
            past = pages.past(self.memory, run, self.length, own[0], grid)
            if beside:
                keys, values = (x[:, run.start : run.stop].flatten(0, 1).repeat(copies, 1, 1, 1) for x in beside)
                past.insert(0, (keys, values))
            table = frame_table(own_positions(self.memory, run[0], self.length), *grid, q.shape[-1], q.device)
            out.append(attend(own[0], own[1], own[2], table, past).unflatten(0, (copies, films, len(run))))
        return torch.cat(out, dim=2).flatten(0, 2)

    def _runs(self, device: torch.device) -> tuple[range, ...]:
        """Chunks that attend together: a processor is faster with one after the other, which stays in its cache."""
        if device.type == "cpu":
            return tuple(range(chunk, chunk + 1) for chunk in range(self.chunks))
        return alike(self.memory, self.chunks, self.length)


@dataclass
class Unrolled:
    """One pass of a training rollout: films side by side, rows are chunk number `chunk` of every film.

    A pass changes nothing it was given, so that activations can be computed again in the backward pass.

    Attributes:
        pages: of the chunks before, by layer.
        commit: whether this clean pass writes the chunk's own; then `written` has them all. They are cut from the graph; the
            state's are too, unless `carry` says that gradients go on through them.
    """

    memory: Memory
    films: int
    length: int
    chunk: int
    pages: dict[int, FilmPages]
    context: list[Past] | None = None
    commit: bool = False
    carry: bool = False
    written: dict[int, FilmPages] = field(default_factory=dict)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        past = [self.context[layer]] if self.context is not None else []
        if self.chunk:
            past += self.pages[layer].past(self.memory, range(self.chunk, self.chunk + 1), self.length, q, grid)
        if self.commit:
            state = self.memory.state.frames if self.memory.state else 0
            new = FilmPages.of(k, v, self.films, state, grid[0] * grid[1])
            new.keys, new.values = new.keys.detach(), new.values.detach()
            if not self.carry:
                new.state_keys, new.state_values = new.state_keys.detach(), new.state_values.detach()
            self.written[layer] = self.pages[layer].add(new) if self.chunk else new
        table = frame_table(own_positions(self.memory, self.chunk, self.length), *grid, q.shape[-1], q.device)
        return attend(q, k, v, table, past)


class Noting:
    """A clean pass over packed films that keeps their pages, for later passes over noisy copies alone."""

    def __init__(self, packed: Packed) -> None:
        self.packed = packed
        self.pages: list[FilmPages] = []

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        memory = self.packed.memory
        state = memory.state.frames if memory.state else 0
        self.pages.append(FilmPages.of(k, v, self.packed.films, state, grid[0] * grid[1]))
        return self.packed.attend(layer, q, k, v, grid)
