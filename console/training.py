"""Shows a training run: a bar for each stage on a terminal, plain lines in a pipe, JSON lines for programs."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any


def _losses(progress: Any) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in progress.losses.items())


class TrainingDisplay(AbstractContextManager["TrainingDisplay"]):
    """A line for every report."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json

    def __call__(self, progress: Any) -> None:
        if self._json:
            print(json.dumps({"event": "training", **vars(progress)}), flush=True)
            return
        left = f"{progress.seconds_left / 60:.1f} min left"
        print(
            f"{progress.stage} step {progress.step}: {_losses(progress)} · {progress.steps_per_second:.2f} steps/s · {left}",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    def result(self, folder: Path) -> None:
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps({"event": "result", "folder": str(folder)}) if self._json else folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class TrainingBars(TrainingDisplay):
    """A bar for every stage with its losses, steps per second and time left."""

    def __init__(self) -> None:
        super().__init__(as_json=False)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description:<14}", style="bold", markup=False), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[said]}", markup=False), console=Console(stderr=True),
        )  # fmt: skip
        self._tasks: dict[str, Any] = {}

    def __call__(self, progress: Any) -> None:
        if progress.stage not in self._tasks:
            self._progress.start()
            self._tasks[progress.stage] = self._progress.add_task(progress.stage, total=1.0, said="")
        left = int(progress.seconds_left)
        said = f"{_losses(progress)} · step {progress.step}, {progress.steps_per_second:.2f}/s · {left // 60}:{left % 60:02d} left"
        self._progress.update(self._tasks[progress.stage], completed=min(1.0, progress.done), said=said)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def open_training_display(*, as_json: bool) -> TrainingDisplay:
    """Bars on a terminal, lines otherwise."""
    return TrainingBars() if sys.stderr.isatty() and not as_json else TrainingDisplay(as_json)
