"""Reads `log.jsonl`. A log may come from strangers, or end in the middle of a line: what is no entry is passed over."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_LINE_BYTES = 4_000_000
"""A verdict with its measures has a thousand bytes, an answer of a person at most some ten thousand."""
MAX_COUNT = 10**12
_COUNTS = ("sent_tokens", "received_tokens")
_TEXTS = ("shot", "model", "for", "of", "point", "decision", "text")


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The entries of a log, in order; every one has an `event`, and its tokens and dollars are numbers. Warns of lines that are none.

    A line that a killed run began is passed over without a word.
    """
    entries, wrong = [], []
    for number, line in enumerate(_lines(path), 1):
        entry = _entry(line)
        if entry is not None:
            entries.append(entry)
        elif line.strip() and not line.startswith(b'{"time": '):
            wrong.append(number)
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        warnings.warn(f"{path}:{wrong[0]}{more}: not an entry of the log, passed over", stacklevel=2)
    return entries


def _lines(path: Path) -> Iterator[bytes]:
    """The lines; of one that is too long, the beginning."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            rest = line
            while len(rest) == MAX_LINE_BYTES and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES)
            yield line


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        return None
    dollars = entry.get("dollars", 0.0)
    if isinstance(dollars, bool) or not isinstance(dollars, (int, float)) or not 0 <= dollars < math.inf:
        return None
    counts = [entry.get(name, 0) for name in _COUNTS]
    if not all(isinstance(count, int) and 0 <= count <= MAX_COUNT for count in counts):
        return None
    return entry if all(isinstance(entry.get(name, ""), str) for name in _TEXTS) else None
