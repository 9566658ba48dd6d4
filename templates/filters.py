"""The filters and tests of script templates: each does a bounded amount of work, and says its bound when it is reached."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jinja2.filters import do_title

MAX_LENGTH = 20_000
"""Characters of a text that a template writes, and of every text on the way to it."""
MAX_STEPS = 20_000
"""Steps of all texts of a template: a value, a condition, a turn of a loop, an item that is joined."""
MAX_DECIMALS = 12
MAX_DIGITS = 40
MAX_TRIMMED = 100


class WordingLimit(Exception):
    """A text of a template takes too much."""


class Budget:
    """Counts the steps of a template's texts."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._steps = self._left = steps

    def spend(self, steps: int = 1) -> None:
        """Takes steps.

        Raises:
            WordingLimit: there are not so many left.
        """
        self._left -= steps
        if self._left < 0:
            raise WordingLimit(f"it takes more than {self._steps:,} steps")

    def checked(self, value: Any) -> Any:
        """A value that was made, a step for every hundred characters of it.

        Raises:
            WordingLimit: a text longer than may be.
        """
        if isinstance(value, str):
            _bounded(len(value))
            self.spend(len(value) // 100)
        return value


def _bounded(length: int) -> None:
    if length > MAX_LENGTH:
        raise WordingLimit(f"it grows longer than {MAX_LENGTH:,} characters")


def _join(value: Any, d: Any = "") -> str:
    parts, between = [str(part) for part in value], str(d)
    _bounded(sum(map(len, parts)) + len(between) * max(0, len(parts) - 1))
    return between.join(parts)


def _round(value: Any, precision: int = 0, method: str = "common") -> float:
    if not isinstance(precision, int) or not 0 <= precision <= MAX_DECIMALS:
        raise WordingLimit(f"round takes 0 to {MAX_DECIMALS} decimals, not {str(precision)[:20]}")
    if not isinstance(value, int | float):
        raise TypeError(f"round needs a number, not {str(value)[:40]!r}")
    if method == "common":
        return round(value, precision)
    if method not in ("ceil", "floor"):
        raise ValueError("round takes common, ceil or floor")
    scale = 10.0**precision
    return (math.ceil(value * scale) if method == "ceil" else math.floor(value * scale)) / scale


def _int(value: Any, default: Any = 0) -> Any:
    if isinstance(value, str) and len(value) > MAX_DIGITS:
        raise WordingLimit(f"int reads at most {MAX_DIGITS} digits")
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        try:
            return int(float(value))
        except (TypeError, ValueError, OverflowError):
            return default


def _first(value: Any) -> Any:
    if not value:
        raise ValueError("first: there is nothing")
    return value[0]


def _last(value: Any) -> Any:
    if not value:
        raise ValueError("last: there is nothing")
    return value[-1]


def _trim(value: Any, chars: str | None = None) -> str:
    if chars is not None and len(str(chars)) > MAX_TRIMMED:
        raise WordingLimit(f"trim takes at most {MAX_TRIMMED} characters")
    return str(value).strip(chars)


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{str(value)[:40]!r} is no whole number")
    return value


FILTERS: dict[str, Callable[..., Any]] = {
    "join": _join,
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "title": lambda value: do_title(str(value)),
    "capitalize": lambda value: str(value).capitalize(),
    "default": lambda value, default_value="", boolean=False: default_value if boolean and not value else value,
    "round": _round,
    "int": _int,
    "length": len,
    "first": _first,
    "last": _last,
    "trim": _trim,
}
TESTS: dict[str, Callable[..., bool]] = {
    "defined": lambda value: True,
    "none": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, float),
    "number": lambda value: isinstance(value, int | float),
    "string": lambda value: isinstance(value, str),
    "even": lambda value: _whole(value) % 2 == 0,
    "odd": lambda value: _whole(value) % 2 == 1,
    "in": lambda value, whole: value in whole,
    "equalto": lambda value, other: bool(value == other),
    "eq": lambda value, other: bool(value == other),
    "ne": lambda value, other: bool(value != other),
}
