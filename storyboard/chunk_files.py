"""Chunk files from strangers: types and sizes are read from the header, and only what fits is loaded.

Legend: `C` channels, `L` latent frames, `h`, `w` latent rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from .stage import Latents
from .take_limits import MAX_START

MAX_CHUNK_BYTES = 1_000_000_000
"""A chunk of 4K film has some 30 MB of latents; a file larger than this is no chunk."""
MAX_LAYERS, MAX_RECALLED = 1000, 10_000


class DamagedChunk(Exception):
    """A chunk file that is missing, or is none; says why."""


class ChunkFile:
    """An open chunk file whose header is in order.

    Attributes:
        shape: of the latents [C, L, h, w].
        start: number of its first latent frame over the film as it then was.
        made_for: the hash of what was asked, and the draw.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._names = file, set(file.keys())
        self.shape = self._shape("latents", "F32", 4)
        self._check_state()
        self._check_recalled()
        metadata = dict(file.metadata() or {})
        self.start = _number(metadata.pop("start", "0"))
        self.made_for: dict[str, str] = metadata

    def latents(self) -> Latents:
        """Latents [C, L, h, w].

        Raises:
            DamagedChunk: one is not finite.
        """
        return self._finite("latents")

    def state(self) -> Latents | None:
        """Hidden frames [C, L, h, w]; None where the memory has none.

        Raises:
            DamagedChunk: one is not finite.
        """
        return self._finite("state") if "state" in self._names else None

    def recalled(self) -> list[list[int]]:
        """Frame numbers by layer [layers, k]; empty where nothing is routed.

        Raises:
            DamagedChunk: one is of no frame that was there.
        """
        if "recalled" not in self._names:
            return []
        frames = self._file.get_tensor("recalled")
        if frames.size and not (frames.min() >= 0 and frames.max() < self.start + self.shape[1]):
            raise DamagedChunk("recalls frames that were not there")
        recalled: list[list[int]] = frames.tolist()
        return recalled

    def _check_state(self) -> None:
        if "state" not in self._names:
            return
        channels, _, *rest = self._shape("state", "F32", 4)
        if (channels, *rest) != (self.shape[0], *self.shape[2:]):
            raise DamagedChunk("has a state of another size than its latents")

    def _check_recalled(self) -> None:
        if "recalled" not in self._names:
            return
        layers, frames = self._shape("recalled", "I32", 2)
        if layers > MAX_LAYERS or frames > MAX_RECALLED:
            raise DamagedChunk(f"recalls {frames} frames in {layers} layers")

    def _shape(self, name: str, kind: str, sides: int) -> tuple[int, ...]:
        if name not in self._names:
            raise DamagedChunk(f"has no {name}")
        part = self._file.get_slice(name)
        shape, found = tuple(part.get_shape()), part.get_dtype()
        if found != kind or len(shape) != sides or (kind == "F32" and not math.prod(shape)):
            raise DamagedChunk(f"has {name} of type {found} and shape {list(shape)}")
        return shape

    def _finite(self, name: str) -> Latents:
        values: Latents = self._file.get_tensor(name)
        if not np.isfinite(values).all():
            raise DamagedChunk(f"has {name} that are not finite")
        return values


@contextmanager
def open_chunk(path: Path) -> Iterator[ChunkFile]:
    """Opens a chunk file and checks its header; nothing else of it is read yet.

    Raises:
        DamagedChunk: it is missing or no chunk.
    """
    try:
        if path.stat().st_size > MAX_CHUNK_BYTES:
            raise DamagedChunk(f"is larger than {MAX_CHUNK_BYTES // 1_000_000} MB")
        with safe_open(str(path), framework="numpy") as file:
            yield ChunkFile(file)
    except FileNotFoundError:
        raise DamagedChunk("is missing") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise DamagedChunk(
            f"cannot be read ({str(error).splitlines()[0][:120] if str(error) else 'no reason'})"
        ) from None


def _number(text: str) -> int:
    """The number of a latent frame."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_START)) and int(text) <= MAX_START):
        raise DamagedChunk("begins at no frame of a film")
    return int(text)
