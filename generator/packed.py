"""Memory for whole films at once, as training needs it: teacher forcing over packed films, and rollouts of many films
side by side that gradients can go through.

Chunks of one number see equally many frames in every film, so they attend together and no mask is needed. Routing
chooses for every row by its own queries.

Legend: `R` rows (one chunk each), `L` latent frames of a chunk, `F` hidden frames of the state before them, `N` tokens of
the chunk, `n` tokens of a frame, `H` heads, `D` head width, `E` = H·D.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .attention import Past, attend, frame_table, rotate
from .memory import Memory
from .routing import choose


@dataclass
class FilmPages:
    """Un-rotated keys and values of the clean frames of several films in one layer [films, frames, n, H, D], hidden frames
    of the state apart, chunk after chunk."""

    keys: Tensor
    values: Tensor
    state_keys: Tensor
    state_values: Tensor
    _apart: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None = field(default=None, init=False, repr=False)

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

    def past(self, memory: Memory, chunk: int, length: int, q_RNHD: Tensor, grid: tuple[int, int]) -> list[Past]:
        """What the rows of chunk number `chunk` see: [copies · films] of them, film by film within each copy."""
        films, n, width = len(self.keys), grid[0] * grid[1], q_RNHD.shape[-1]
        copies, device = len(q_RNHD) // films, q_RNHD.device
        plan = memory.plan(chunk * length, length)
        state = memory.state.frames if memory.state else 0
        found: list[Past] = []

        def stand(keys: Tensor, values: Tensor, positions: tuple[int, ...]) -> Past:
            return rotate(keys.flatten(1, 2), frame_table(positions, *grid, width, device)), values.flatten(1, 2)

        def every(past: Past) -> Past:
            keys, values = past
            return keys.repeat(copies, 1, 1, 1), values.repeat(copies, 1, 1, 1)

        if state and chunk:
            before = slice((chunk - 1) * state, chunk * state)
            found.append(every(stand(self.state_keys[:, before], self.state_values[:, before], tuple(range(state)))))
        if plan.fixed:
            seen = [torch.stack([frames[i] for i in plan.fixed], dim=1) for frames in self._frames()]
            found.append(every(stand(seen[0], seen[1], plan.positions)))
        first, last = plan.candidates
        if memory.routed and last > first:
            descriptors = self.keys[:, first:last].detach().float().mean(dim=2).flatten(2).repeat(copies, 1, 1)
            content = q_RNHD[:, state * n :].detach()  # the state is no content to recall by
            best = choose(content, descriptors, memory.routed.frames) + first
            film = torch.arange(films, device=device).repeat(copies)[:, None]
            positions = tuple(range(plan.routed_at, plan.routed_at + best.shape[1]))
            found.append(stand(self.keys[film, best], self.values[film, best], positions))
        return found


class _NoPages(FilmPages):
    """Of films whose memory has none."""

    def __init__(self) -> None:
        super().__init__(*[torch.empty(0)] * 4)

    def past(self, *_: object) -> list[Past]:
        return []


NO_PAGES = _NoPages()


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
        by_chunk = zip(*(x.unflatten(0, (copies, films, chunks)).unbind(dim=2) for x in (q, k, v)), strict=True)
        beside: list[Past] = []
        if self.context is not None:
            apart = (x.unflatten(0, (films, chunks)).unbind(dim=1) for x in self.context[layer])
            beside = list(zip(*apart, strict=True))
        out = []
        for chunk, own in enumerate([x.flatten(0, 1) for x in three] for three in by_chunk):
            past = pages.past(self.memory, chunk, self.length, own[0], grid)
            if beside:
                keys, values = beside[chunk]
                past.insert(0, (keys.repeat(copies, 1, 1, 1), values.repeat(copies, 1, 1, 1)))
            table = frame_table(own_positions(self.memory, chunk, self.length), *grid, q.shape[-1], q.device)
            out.append(attend(own[0], own[1], own[2], table, past).unflatten(0, (copies, films)))
        return torch.stack(out, dim=2).flatten(0, 2)


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
            past += self.pages[layer].past(self.memory, self.chunk, self.length, q, grid)
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
