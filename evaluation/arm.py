"""An arm of a claim, and the numbers that were measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Unit = Literal["part", "frames per second", "change per frame in thousandths"]


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        measure: what was measured.
        low, high: 95 % bootstrap interval over films; None where there is none.
    """

    measure: str
    value: float
    low: float | None
    high: float | None
    asked: int
    unit: Unit = "part"

    def written(self) -> tuple[str, str]:
        """Value and interval, for people."""
        if self.unit != "part":
            return f"{self.value:.3g}", ""
        return f"{self.value:.0%}", "" if self.low is None else f"{self.low:.0%} – {self.high:.0%}"


@dataclass(frozen=True)
class Arm:
    """What differs, what came out, and a picture of frames of its first film."""

    name: str
    rows: tuple[Row, ...]
    strip: Path


def arms_of(claim: dict[str, Any]) -> list[Arm]:
    """The arms of a claim as `measure_claims` gives it."""
    return [Arm(arm["name"], tuple(Row(**row) for row in arm["rows"]), Path(arm["strip"])) for arm in claim["arms"]]
