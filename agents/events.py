"""One stream of typed events; the terminal, the pipe and `--json` are renderers of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal[
    "plan", "pass", "call", "note", "casting", "shot", "chunk", "verdict", "take", "failed", "cut", "question", "warning", "done",
]  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something that happened, with its values (JSON-like)."""

    kind: Kind
    values: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"event": self.kind, **asdict(self)["values"]}


Listener = Callable[[Event], None]
