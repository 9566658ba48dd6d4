"""The page store: keys and values of committed latent frames, un-rotated.

A page is one latent frame of one layer. Recent pages lie in a ring on the model's device; the first ones stay where a
sink wants them; what routing may recall lies in a pool of bounded size. What falls out can always be made again by
replaying the saved latents, so nothing here is ever the only copy.

Legend: `F` frames, `n` tokens per frame, `H` heads, `D` head width, `E` = H·D.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..storyboard.errors import InputError
from .memory import POOL_BYTES, POOL_FRAMES, Memory
from .routing import describe

Page = tuple[Tensor, Tensor]
REWIND_CHUNKS, REWIND_BYTES = 8, 2 << 30
"""Chunks kept beyond what the policy asks for, so that a rewind in the current shot needs no replay: as many as fit."""
GUIDED_ROWS = 2
"""Rows that route at once: with the prompt and without."""


class OutOfPages(MemoryError):
    """There is no room for pages."""

    def __init__(self, wanted: int, device: torch.device) -> None:
        super().__init__(f"{wanted / 1e9:.1f} GB of pages do not fit on {device}")


@dataclass(frozen=True)
class PageShape:
    """What one page looks like, and where the model runs."""

    layers: int
    tokens: int
    heads: int
    head_width: int
    dtype: torch.dtype
    device: torch.device

    @property
    def frame_bytes(self) -> int:
        """Keys and values of one latent frame in all layers."""
        return 2 * self.layers * self.tokens * self.heads * self.head_width * self.dtype.itemsize

    def rewind_chunks(self, length: int) -> int:
        """Chunks that can be rewound without a replay: fewer where pages are large."""
        return max(1, min(REWIND_CHUNKS, REWIND_BYTES // (self.frame_bytes * length)))

    def empty(self, frames: int, device: torch.device | None = None, pinned: bool = False) -> tuple[Tensor, Tensor]:
        """Room for keys and values [layers, frames, n, H, D]."""
        shape = (self.layers, frames, self.tokens, self.heads, self.head_width)
        where = device or self.device
        pin = pinned and self.device.type == "cuda"
        try:
            keys, values = (torch.zeros(shape, dtype=self.dtype, device=where, pin_memory=pin) for _ in range(2))
        except RuntimeError as error:  # torch.OutOfMemoryError is one; a CPU allocator raises the plain kind
            raise OutOfPages(frames * self.frame_bytes, where) from error
        return keys, values


class Ring:
    """The last `capacity` frames, by number."""

    def __init__(self, shape: PageShape, capacity: int) -> None:
        self.capacity = capacity
        self.keys, self.values = shape.empty(capacity)

    def slots(self, frames: Sequence[int]) -> Tensor:
        return torch.tensor([f % self.capacity for f in frames], device=self.keys.device, dtype=torch.long)

    def write(self, layer: int, first: int, keys_FnHD: Tensor, values_FnHD: Tensor) -> None:
        at = self.slots(range(first, first + len(keys_FnHD)))
        self.keys[layer].index_copy_(0, at, keys_FnHD.to(self.keys.dtype))
        self.values[layer].index_copy_(0, at, values_FnHD.to(self.values.dtype))

    def read(self, layer: int, frames: Sequence[int]) -> Page:
        at = self.slots(frames)
        return self.keys[layer].index_select(0, at), self.values[layer].index_select(0, at)


@dataclass
class _Undo:
    """What one chunk did to the pool, so that a rewind can take it back."""

    used: dict[int, int]
    retired: list[tuple[int, int, int]]


class Pool:
    """Pages that routing chooses from: at most `limit` frames, the least recently chosen retired first.

    Storage grows by doubling up to the limit. A retired page keeps its slot as long as a rewind may ask for it. With
    `host=True` pages lie in (pinned) host memory, descriptors on the device, and the pages chosen last stay on the
    device, so that only what changes is moved.
    """

    def __init__(self, shape: PageShape, limit: int, length: int, chosen: int, *, host: bool) -> None:
        self.shape, self.limit, self.length, self.host = shape, limit, length, host
        self._rewind = shape.rewind_chunks(length)
        self._most = limit + (self._rewind + 1) * length
        self._home = torch.device("cpu") if host else shape.device
        self.keys, self.values = shape.empty(0, self._home)
        self.descriptors = torch.zeros(shape.layers, 0, shape.heads * shape.head_width, device=shape.device)
        self.moved_bytes = 0
        if host:
            self._staged = shape.empty(max(1, chosen))
        self._staged_slots: list[list[int]] = [[] for _ in range(shape.layers)]
        self.clear()

    def clear(self) -> None:
        self.slot: dict[int, int] = {}
        self.used: dict[int, int] = {}
        self._free = list(range(self.keys.shape[1] - 1, -1, -1))
        self._retired: deque[int] = deque()
        self._undo: dict[int, _Undo] = {}
        self._staged_slots = [[] for _ in self._staged_slots]

    def candidates(self, first: int, last: int) -> list[int]:
        """The frames of [first, last) that are still here, in order."""
        return [f for f in self.slot if first <= f < last]  # insertion keeps frame order

    def slots(self, frames: Sequence[int]) -> Tensor:
        return torch.tensor([self.slot[f] for f in frames], device=self.shape.device, dtype=torch.long)

    def add(self, first: int, chunk: int, keys: Tensor, values: Tensor, chosen: set[int]) -> None:
        """Takes in the frames of a committed chunk, keys and values [layers, L, n, H, D]; `chosen` are the frames it recalled."""
        undo = _Undo({f: self.used[f] for f in chosen if f in self.used}, [])
        for frame in undo.used:
            self.used[frame] = chunk
        at = []
        for frame in range(first, first + keys.shape[1]):
            slot = self._take_slot()
            self.slot[frame], self.used[frame] = slot, chunk
            at.append(slot)
        slots = torch.tensor(at, dtype=torch.long)
        home, near = slots.to(self._home), slots.to(self.shape.device)
        for store, new in ((self.keys, keys), (self.values, values)):
            store.index_copy_(1, home, new.to(self._home, store.dtype))
        self.descriptors.index_copy_(1, near, torch.stack([describe(layer) for layer in keys]))
        if self.host:
            self.moved_bytes += keys.shape[1] * self.shape.frame_bytes
            taken = set(at)
            self._staged_slots = [[-1 if s in taken else s for s in layer] for layer in self._staged_slots]
        while len(self.slot) > self.limit:
            frame = min(self.slot, key=lambda f: (self.used[f], f))
            entry = (frame, self.slot.pop(frame), self.used.pop(frame))
            undo.retired.append(entry)
            self._retired.append(entry[1])
        self._undo[chunk] = undo
        self._undo.pop(chunk - self._rewind - 1, None)

    def _take_slot(self) -> int:
        if not self._free and self.keys.shape[1] < self._most:
            self._grow()
        if self._free:
            return self._free.pop()
        return self._retired.popleft()

    def _grow(self) -> None:
        old = self.keys.shape[1]
        new = min(self._most, max(4 * self.length, 2 * old))
        keys, values = self.shape.empty(new, self._home, pinned=self.host)
        keys[:, :old], values[:, :old] = self.keys, self.values
        descriptors = torch.zeros(self.shape.layers, new, self.descriptors.shape[2], device=self.shape.device)
        descriptors[:, :old] = self.descriptors
        self.keys, self.values, self.descriptors = keys, values, descriptors
        self._free = list(range(new - 1, old - 1, -1))

    def rewind(self, first: int, chunk: int) -> bool:
        """Forgets the frames from `first` on, made by chunks from number `chunk` on; False when that needs a replay."""
        newest = max(self._undo, default=chunk - 1)
        if any(number not in self._undo for number in range(chunk, newest + 1)):
            return False
        for number in range(newest, chunk - 1, -1):
            undo = self._undo.pop(number)
            for frame, slot, used in undo.retired:
                self.slot[frame], self.used[frame] = slot, used
                self._retired.remove(slot)
            self.used.update({f: u for f, u in undo.used.items() if f in self.used})
        for frame in [f for f in self.slot if f >= first]:
            self._free.append(self.slot.pop(frame))
            del self.used[frame]
        self.slot = dict(sorted(self.slot.items()))
        return True

    def read(self, layer: int, slots: Tensor) -> Page:
        """Pages [F, n, H, D] on the device."""
        if not self.host:
            return self.keys[layer].index_select(0, slots), self.values[layer].index_select(0, slots)
        wanted: list[int] = slots.tolist()
        staged = self._staged_slots[layer]
        room = self._staged[0].shape[1]
        if len(wanted) > room:
            raise ValueError(f"{len(wanted)} pages do not fit the staging room of {room}")
        if len(staged) < room:
            staged += [-1] * (room - len(staged))
        spare = [i for i, slot in enumerate(staged) if slot not in wanted]
        for slot in wanted:
            if slot not in staged:
                row = spare.pop()
                staged[row] = slot
                for store, near in zip((self.keys, self.values), self._staged, strict=True):
                    near[layer, row].copy_(store[layer, slot], non_blocking=True)
                self.moved_bytes += self.shape.frame_bytes // self.shape.layers
        rows = torch.tensor([staged.index(slot) for slot in wanted], device=self.shape.device, dtype=torch.long)
        return self._staged[0][layer].index_select(0, rows), self._staged[1][layer].index_select(0, rows)


def _open_pool(memory: Memory, shape: PageShape, length: int) -> Pool | None:
    routed = memory.routed
    if routed is None:
        return None
    limit = (routed.pool or min(POOL_BYTES, POOL_FRAMES * shape.frame_bytes)) // shape.frame_bytes
    least = memory.window_frames(length) + length + routed.frames
    if limit < least:
        raise InputError(
            f"memory {memory}: a pool of {routed.pool} bytes holds {limit} frames of {shape.frame_bytes} bytes; "
            f"give at least {least * shape.frame_bytes}"
        )
    host = routed.tier == "host"
    if routed.tier == "auto" and shape.device.type == "cuda":
        host = limit * shape.frame_bytes > torch.cuda.mem_get_info(shape.device)[0] // 4
    return Pool(shape, limit, length, GUIDED_ROWS * routed.frames, host=host)


def free_bytes(device: torch.device) -> int:
    """Free memory of a device, as far as it can be told; of the machine on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return 0


def largest_window(shape: PageShape, length: int, free: int) -> int:
    """How many chunks of window `free` bytes hold beside the room to rewind; 0 when none."""
    return max(0, free // (shape.frame_bytes * length) - shape.rewind_chunks(length) - 1)


class PageStore:
    """Pages of a rollout. Frames are numbered from 0 over the whole film, chunks likewise."""

    def __init__(self, shape: PageShape, memory: Memory, length: int) -> None:
        self.shape, self.length = shape, length
        self.rewind_chunks = shape.rewind_chunks(length)
        self.near = Ring(shape, memory.window_frames(length) + (self.rewind_chunks + 1) * length)
        self.sunk = Ring(shape, memory.sink.frames) if memory.sink else None
        self.state_frames = memory.state.frames if memory.state else 0
        self.states = Ring(shape, self.state_frames * (self.rewind_chunks + 2)) if self.state_frames else None
        self.pool = _open_pool(memory, shape, length)
        self.frames = 0
        self._oldest = 0

    @property
    def chunks(self) -> int:
        return self.frames // self.length

    def write(self, layer: int, keys_FnHD: Tensor, values_FnHD: Tensor) -> None:
        """Writes a layer's pages of the chunk to come, the state's frames first; `advance` makes them count."""
        F = self.state_frames
        if self.states is not None:
            self.states.write(layer, self.chunks * F, keys_FnHD[:F], values_FnHD[:F])
        self.near.write(layer, self.frames, keys_FnHD[F:], values_FnHD[F:])
        if self.sunk is not None and self.frames < self.sunk.capacity:
            room = self.sunk.capacity - self.frames
            self.sunk.write(layer, self.frames, keys_FnHD[F : F + room], values_FnHD[F : F + room])

    def advance(self, chosen: set[int] | None = None) -> None:
        """Counts the chunk that every layer has written; `chosen` are the frames it recalled."""
        if self.pool is not None:
            at = self.near.slots(range(self.frames, self.frames + self.length))
            self.pool.add(
                self.frames, self.chunks, self.near.keys.index_select(1, at), self.near.values.index_select(1, at),
                chosen or set(),
            )  # fmt: skip
        self.frames += self.length
        self._oldest = max(self._oldest, self.frames - self.near.capacity)

    def read(self, layer: int, frames: Sequence[int]) -> Page:
        """Pages of sink and window, in the order asked for."""
        early = [f for f in frames if f < self._oldest]
        if not early:
            return self.near.read(layer, frames)
        assert self.sunk is not None
        first, rest = self.sunk.read(layer, early), self.near.read(layer, frames[len(early) :])
        return torch.cat([first[0], rest[0]]), torch.cat([first[1], rest[1]])

    def state(self, layer: int) -> Page | None:
        """The pages of the state that the last chunk left; None before the first chunk."""
        if self.states is None or not self.frames:
            return None
        last = (self.chunks - 1) * self.state_frames
        return self.states.read(layer, range(last, last + self.state_frames))

    def rewind(self, frames: int, needed: int) -> bool:
        """Forgets all frames from number `frames` on; False when pages from `needed` on, or what the pool has dropped
        since, can only come from a replay."""
        if not 0 <= frames <= self.frames:
            raise ValueError(f"cannot rewind a store of {self.frames} frames to {frames}")
        back = (self.frames - frames) // self.length
        if needed < self._oldest or back > self.rewind_chunks:
            return False
        if self.pool is not None and not self.pool.rewind(frames, frames // self.length):
            return False
        self.frames = frames
        return True

    def clear(self) -> None:
        self.frames = self._oldest = 0
        if self.pool is not None:
            self.pool.clear()
