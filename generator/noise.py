"""Noise that depends on what it is for and on nothing else."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any values (blake2b of their text), the same on every machine."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def noise(shape: tuple[int, ...], *, seed: int, shot: str, take: int, draw: int, chunk: int, step: int) -> Tensor:
    """Standard normal noise in fp32 from a CPU generator, whatever the device of the model."""
    generator = torch.Generator().manual_seed(seed_of(seed, shot, take, draw, chunk, step))
    return torch.randn(shape, generator=generator)
