"""Noise that depends on what it is for and on nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from ..storyboard.seeds import stable_seed


def noise(shape: tuple[int, ...], *, seed: int, shot: str, take: int, draw: int, chunk: int, step: int) -> Tensor:
    """Standard normal noise in fp32 from a CPU generator, whatever the device of the model."""
    generator = torch.Generator().manual_seed(stable_seed(seed, shot, take, draw, chunk, step))
    return torch.randn(shape, generator=generator)
