"""Shows events: rich bars on a terminal, plain lines in a pipe, JSON lines for programs. Results go to stdout, progress to
stderr."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from ..agents.events import Event
from ..storyboard.plain_text import json_line, one_line, printable


class Display(AbstractContextManager["Display"]):
    """Prints nothing; the base of the others."""

    def __call__(self, event: Event) -> None: ...

    def result(self, text: str, **values: Any) -> None:
        """The answer of a command: text for people, values for programs."""
        print(printable(text))

    def pause(self) -> None:
        """Leaves the terminal to a question."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class JsonDisplay(Display):
    """One event a line on stdout."""

    def __call__(self, event: Event) -> None:
        print(json_line(event.as_dict()), flush=True)

    def result(self, text: str, **values: Any) -> None:
        print(json_line({"event": "result", **values}), flush=True)


class QuietDisplay(Display):
    """Results only; failures still show."""

    def __call__(self, event: Event) -> None:
        if event.kind == "failed":
            print(_sentence(event), file=sys.stderr)


class PlainDisplay(Display):
    """A line per shot and verdict, for pipes and logs."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._noted: set[str] = set()

    def __call__(self, event: Event) -> None:
        if event.kind in ("chunk", "call") and not self._verbose:
            return
        if event.kind == "verdict" and event.values["action"] == "continue" and not self._verbose:
            return
        if event.kind == "note":
            if event.values["note"] in self._noted:
                return
            self._noted.add(event.values["note"])
        text = _sentence(event)
        if text:
            print(text, file=sys.stderr, flush=True)


class RichDisplay(Display):
    """Bars for the film and the shot, with frames per second and time left."""

    def __init__(self, verbose: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<14}", style="bold", markup=False), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=self._console, transient=True,
        )  # fmt: skip
        self._film: Any = None
        self._shot: Any = None
        self._plain = PlainDisplay(verbose)
        self._verbose = verbose
        self._frames, self._began = 0, time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def pause(self) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        values = event.values
        if event.kind == "shot":
            if self._film is None:
                self._film = self._progress.add_task(
                    "film", total=values["of"], completed=values["position"] - 1, rate=""
                )
                self._shot = self._progress.add_task("shot", total=values["chunks"], rate="")
                self._began = time.monotonic()
            self._progress.start()
            self._progress.update(self._film, completed=values["position"] - 1)
            self._progress.reset(self._shot, total=values["chunks"], description=one_line(f"shot {values['shot']}"))
        elif event.kind == "chunk":
            self._frames += values["frames"]
            rate = self._frames / max(1e-6, time.monotonic() - self._began)
            self._progress.update(self._shot, completed=values["chunk"], rate=f"{rate:.0f} frames/s")
        elif event.kind == "take" and self._film is not None:
            self._progress.advance(self._film)
        if event.kind != "shot" or self._verbose:
            self._plain(event)


def _sentence(event: Event) -> str:
    """An event on one line, safe to show; details are indented."""
    told = _told(event)
    return told[: 2 * told.startswith("  ")] + one_line(told)


def _told(event: Event) -> str:
    v = event.values
    match event.kind:
        case "plan":
            return f"planned “{v['title']}”: {v['shots']} shots, {v['seconds']:.2f} s, by {v['planner']}"
        case "pass":
            how = " (kept from before)" if v["kept"] else " (after one repair)" if v["repaired"] else ""
            return f"  planned {v['name']}{how}"
        case "call":
            cost = f", {v['dollars']:.4f} dollars" if v["dollars"] else ""
            return f"  {v['model']} on {v['for']}: {v['sent_tokens']} + {v['received_tokens']} tokens in {v['seconds']:.1f} s{cost}"
        case "note":
            return f"note: {v['note']}"
        case "casting":
            return f"cast: drew references for {', '.join(v['drawn'])}"
        case "shot":
            return f"shot {v['position']}/{v['of']} · {v['shot']} take {v['take']}: {v['prompt']}"
        case "chunk":
            return f"  chunk {v['chunk']}/{v['of']}" + (" (kept from before)" if v["again"] else "")
        case "verdict":
            return f"  critic on {v['shot']}: {v['action']} ({v['reason']})"
        case "take":
            score = f", score {v['score']:.2f}" if v["score"] is not None else ""
            return f"  shot {v['shot']}: take {v['take']} circled, {v['frames']} frames in {v['spent_seconds']:.1f} s{score}"
        case "failed":
            return f"shot {v['shot']} failed: {v['reason']}; the film goes on without it"
        case "cut":
            return f"cut: {v['frames']} frames, {v['seconds']:.2f} s" + (
                f"; missing {', '.join(v['missing'])}" if v["missing"] else ""
            )
        case "warning":
            return f"warning: {v['text']}"
        case "done":
            shares = v.get("shares", {})
            return "time: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in shares.items()) if shares else ""
        case _:
            return ""


def open_display(*, as_json: bool, quiet: bool, verbose: bool) -> Display:
    """The display that fits the options and where stderr goes."""
    if as_json:
        return JsonDisplay()
    if quiet:
        return QuietDisplay()
    if sys.stderr.isatty():
        return RichDisplay(verbose)
    return PlainDisplay(verbose)
