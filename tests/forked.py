"""The command line in forked children: everything is imported already, so that a run takes a fraction of a second.

A child can be signalled at a chosen step of its writing: before the n-th flush to disk or after the n-th rename.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filmwright.storyboard.production import Production
from filmwright.storyboard.takes import circled, read_take_chunks

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has threads")
STORY = "A fox ran in the forest. A crow sang in the tree."
Step = Callable[[str, str], None]
"""Hears of every step of writing: "flush" or "rename", and the file's name."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, or the number of the signal that killed it, negative."""

    code: int
    out: str
    err: str

    def lines(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("filmwright: ")]


class Child:
    """A running command."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid, self._folder = pid, folder

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def running(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait(self, seconds: float = 60.0) -> Ended:
        deadline = time.monotonic() + seconds
        while self.running():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"still running after {seconds} s: {self._said('err')}")
            time.sleep(0.002)
        status = os.waitpid(self.pid, 0)[1]
        return Ended(os.waitstatus_to_exitcode(status), self._said("out"), self._said("err"))

    def _said(self, stream: str) -> str:
        return (self._folder / f"child.{stream}").read_text(encoding="utf-8", errors="replace")


def begin(*arguments: object, step: Step | None = None) -> Child:
    """Starts `filmwright ARGUMENTS`, as the installed script does, with standard input closed to answers."""
    folder = Path.cwd()
    for name in ("child.out", "child.err"):
        (folder / name).write_bytes(b"")
    pid = os.fork()
    if pid == 0:
        for number, name in enumerate(("/dev/null", "child.out", "child.err")):
            os.dup2(os.open(folder / name if number else name, os.O_RDWR | os.O_APPEND), number)
        command(arguments, step)
    return Child(pid, folder)


def run(*arguments: object, step: Step | None = None) -> Ended:
    """Runs `filmwright ARGUMENTS` to its end."""
    return begin(*arguments, step=step).wait()


def command(arguments: tuple[object, ...], step: Step | None = None) -> None:
    """What a child does: the whole command, and no way back into the tests."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        streams = [io.TextIOWrapper(io.FileIO(number, "r+", closefd=False), write_through=True) for number in range(3)]
        sys.stdin, sys.stdout, sys.stderr = streams
        sys.argv = ["filmwright", *map(str, arguments)]
        if step is not None:
            _tell_steps(step)
        from filmwright.__main__ import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _tell_steps(step: Step) -> None:
    flush, rename = os.fsync, os.replace

    def flushes(descriptor: int) -> None:
        step("flush", Path(f"/proc/self/fd/{descriptor}").readlink().name)
        flush(descriptor)

    def renames(source: str | Path, target: str | Path) -> None:
        rename(source, target)
        step("rename", Path(target).name)

    os.fsync, os.replace = flushes, renames  # type: ignore[assignment]


def at(number: int, what: str, name: str, nth: int = 1) -> Step:
    """Sends a signal at the n-th step of this kind whose file's name matches a pattern."""
    left = nth

    def step(kind: str, file: str) -> None:
        nonlocal left
        if kind == what and re.fullmatch(name, file):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    return step


def at_step(number: int, nth: int) -> Step:
    """Sends a signal at the n-th step, whatever it is."""
    left = nth

    def step(kind: str, file: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)

    return step


def film(bundle: Path, folder: str) -> tuple[object, ...]:
    """The command that makes the film `tiny_film`."""
    return "film", STORY, "--generator", bundle, "-o", folder, "--seconds", "4", "--critic", "none"


def latents(folder: Path) -> dict[str, list[np.ndarray]]:  # type: ignore[type-arg]
    production = Production.open(folder)
    found = {}
    for shot in production.read_script().shots():
        record = circled(production, shot.id)
        assert record is not None
        chunks = read_take_chunks(production, record)
        assert chunks is not None
        found[f"{shot.id}/{record.take}"] = [chunk.latents for chunk in chunks]
    return found


def same(one: Path, two: Path) -> bool:
    """Whether two films have the same takes of the same latents."""
    a, b = latents(one), latents(two)
    return a.keys() == b.keys() and all(
        len(x) == len(y) and all(map(np.array_equal, x, y)) for x, y in zip(a.values(), b.values(), strict=True)
    )


def leftovers(folder: Path) -> list[Path]:
    """Files that a killed write leaves."""
    return [path for path in folder.rglob(".*") if path.name not in (".lock", ".gitignore", ".drawn")]
