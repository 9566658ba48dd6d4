"""Memory policies: which history a chunk attends to.

A policy is written `window(3)`, or by a preset's name. It answers with a `Selection`; the seam for routed, sink, state
and cached memories is that one method.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from ..storyboard.errors import InputError
from .attention import Selection

PRESETS = {"self-forcing": "window(6)"}
REWIND_CHUNKS = 8
"""Chunks kept beyond what the policy asks for, so that a rewind in the current shot needs no replay."""


@dataclass(frozen=True)
class Window:
    """The last `chunks` chunks, right before the current one (block-relative positions)."""

    chunks: int

    def __str__(self) -> str:
        return f"window({self.chunks})"

    def span(self, length: int) -> int:
        """Positions used with chunks of `length` latent frames."""
        return (self.chunks + 1) * length

    def capacity(self, length: int) -> int:
        """Latent frames a page store must hold."""
        return (self.chunks + REWIND_CHUNKS + 1) * length

    def oldest(self, frames: int, length: int) -> int:
        """The first frame needed by the chunk that starts at frame number `frames`."""
        return max(0, frames - self.chunks * length)

    def select(self, frames: int, length: int, device: torch.device) -> Selection:
        """What the chunk that starts at frame number `frames` sees: frame numbers, not yet slots."""
        base = self.chunks * length
        numbers = torch.arange(self.oldest(frames, length), frames, device=device)
        positions = torch.arange(base - len(numbers), base)
        return Selection(numbers[None], positions, None, base)

    def select_packed(self, films: int, chunks: int, length: int, device: torch.device) -> Selection:
        """The same for every chunk of `films` packed films at once: rows are film-major, pages are the clean frames."""
        base = self.chunks * length
        slot = torch.arange(-base, 0, device=device)
        film = torch.arange(films, device=device)[:, None, None]
        chunk = torch.arange(chunks, device=device)[None, :, None]
        frame = (chunk * length + slot).expand(films, -1, -1)
        present = (frame >= 0).flatten(0, 1)
        numbers = (frame.clamp(min=0) + film * chunks * length).flatten(0, 1)
        return Selection(numbers, torch.arange(base), present, base)


def parse_memory(text: str) -> Window:
    """Reads a policy.

    Raises:
        InputError: an unknown preset or a malformed policy, with the known ones.
    """
    written = PRESETS.get(text, text)
    match = re.fullmatch(r"window\((\d{1,3})\)", written.replace(" ", ""))
    if not match or int(match[1]) < 1:
        known = ", ".join(["window(N)", *PRESETS])
        raise InputError(f"memory {text!r} is unknown: choose one of {known} (N from 1 to 999)")
    return Window(int(match[1]))
