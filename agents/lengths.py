"""Seconds, shared out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from ..storyboard.errors import InputError

MIN_SECONDS, MAX_SECONDS = 4.0, 3600.0
"""Of a film that is planned."""
MIN_SHOT_SECONDS = 0.75


def check_seconds(seconds: float) -> None:
    """Whether a film of that length can be planned.

    Raises:
        InputError: it is too short or too long.
    """
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InputError(f"--seconds {seconds:g} is out of range: choose {MIN_SECONDS:g} to {MAX_SECONDS:g}")


def share_seconds(weights: Sequence[float], total: float, least: float = 0.0) -> list[float]:
    """`least` for everyone and the rest by weight: lengths in hundredths that add up to `total`."""
    spare = total - least * len(weights)
    ends = [least * (i + 1) + spare * sofar / sum(weights) for i, sofar in enumerate(accumulate(weights))]
    cents = [round(end * 100) for end in ends]
    return [(end - start) / 100 for start, end in zip([0, *cents[:-1]], cents, strict=True)]
