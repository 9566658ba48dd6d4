"""The page store: keys and values of committed latent frames, un-rotated, in a ring of fixed size.

A page is one latent frame of one layer. The ring holds what the memory policy can ask for plus room to rewind; what
falls out can always be made again by replaying the saved latents, so nothing here is ever the only copy.

Legend: `P` slots of the ring, `n` tokens per frame, `H` heads, `D` head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class PageStore:
    """Pages of all layers. Frames are numbered from 0 over the whole film."""

    def __init__(
        self,
        *,
        layers: int,
        capacity: int,
        tokens: int,
        heads: int,
        head_width: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (layers, capacity, tokens, heads, head_width)
        self.capacity = capacity
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.frames = 0
        self._oldest = 0

    def available(self, first: int) -> bool:
        """Whether every frame from `first` to the last one is still in the ring."""
        return first >= self._oldest

    def slots(self, frames: Tensor) -> Tensor:
        """Ring slots of the given frame numbers."""
        return frames % self.capacity

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values [P, n, H, D] of a layer, by slot."""
        return self.keys[index], self.values[index]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Writes the pages of the frames to come, [L, n, H, D]; `advance` makes them count."""
        at = self.slots(torch.arange(self.frames, self.frames + keys.shape[0], device=keys.device))
        self.keys[layer].index_copy_(0, at, keys.to(self.keys.dtype))
        self.values[layer].index_copy_(0, at, values.to(self.values.dtype))

    def advance(self, frames: int) -> None:
        """Counts the frames that every layer has written."""
        self.frames += frames
        self._oldest = max(self._oldest, self.frames - self.capacity)

    def truncate(self, frames: int) -> None:
        """Forgets all frames from number `frames` on. What the ring had already dropped stays dropped."""
        if not 0 <= frames <= self.frames:
            raise ValueError(f"cannot truncate a store of {self.frames} frames to {frames}")
        self.frames = frames

    def clear(self) -> None:
        self.frames = self._oldest = 0
