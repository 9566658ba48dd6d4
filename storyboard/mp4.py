"""The header of an mp4 of ours: whether the file is whole, and how many frames it has. Nothing is decoded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

MAX_BOXES = 1000
MAX_HEADER_BYTES = 8_000_000
_PATH = (b"trak", b"mdia", b"minf", b"stbl")


def count_mp4_frames(path: Path) -> int | None:
    """Frames of the first track, as the header says; None where the file is missing, no mp4 or not whole."""
    try:
        with path.open("rb") as file:
            header = _header(file, os.fstat(file.fileno()).st_size)
    except OSError:
        return None
    for name in _PATH:
        header = _inner(header, name) if header is not None else None
    sizes = _inner(header, b"stsz") if header is not None else None
    return int.from_bytes(sizes[8:12], "big") if sizes is not None and len(sizes) >= 12 else None


def _header(file: BinaryIO, size: int) -> bytes | None:
    """What the `moov` box holds, if the boxes of the file add up to its size."""
    at, header = 0, None
    for _ in range(MAX_BOXES):
        if at == size:
            return header
        file.seek(at)
        start = file.read(16)
        length, name, begin = int.from_bytes(start[:4], "big"), start[4:8], 8
        if length == 1:  # the length stands behind the name
            length, begin = int.from_bytes(start[8:16], "big"), 16
        if length < begin or at + length > size:
            return None
        if name == b"moov":
            if length > MAX_HEADER_BYTES:
                return None
            file.seek(at + begin)
            header = file.read(length - begin)
        at += length
    return None


def _inner(box: bytes, name: bytes) -> bytes | None:
    """What the first box of that name inside another one holds."""
    at = 0
    while at + 8 <= len(box):
        length = int.from_bytes(box[at : at + 4], "big")
        if length < 8 or at + length > len(box):
            return None
        if box[at + 4 : at + 8] == name:
            return box[at + 8 : at + length]
        at += length
    return None
