"""Signals that end a run: Ctrl-C, a polite kill, a closed terminal.

Imports little, so that the entry point can set the handlers before anything else. Nothing that is finished depends on an
orderly end: what the handlers skip, the next start clears away.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
GRACE_SECONDS = 5.0
"""How long a stopped run may take to close what it has open."""
SHOW_CURSOR = b"\x1b[?25h"


class Stopped(BaseException):
    """A signal asks the run to end. Not an `Exception`, so that nothing takes it for a failure to recover from.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _State:
    """What this process knows of the signals it got; a process has one set of handlers."""

    process = 0
    received: int | None = None
    armed = False
    told = False
    goes_on = ""


_state = _State()


def install() -> None:
    """Sets the handlers. A signal that the caller told us to ignore, as `nohup` does, stays ignored."""
    _state.process = os.getpid()
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)


@contextmanager
def armed() -> Iterator[None]:
    """While this is open a first signal raises `Stopped`; before and after it ends the process at once."""
    _state.armed = True
    try:
        yield
    finally:
        _state.armed = False


def received() -> int | None:
    """The signal that asked the run to end. Whatever is raised afterwards may be a consequence of it."""
    return _state.received


def goes_on_with(command: str) -> None:
    """Names the command that takes the work up again; it is told when a signal ends the run."""
    _state.goes_on = f"; '{command}' goes on"


def end(number: int) -> None:
    """Tells of the stop in one line and ends the process with 128 + `number`, without running anything else."""
    if not _state.told:
        _state.told = True
        terminal = False
        with suppress(OSError):
            terminal = os.isatty(2)
        start = SHOW_CURSOR + b"\n" if terminal and os.name != "nt" else b""
        line = f"filmwright: stopped; everything finished is kept{_state.goes_on}\n"
        with suppress(OSError):
            os.write(2, start + line.encode("utf-8", "surrogateescape"))
    with suppress(Exception):
        _end_children()
    os._exit(128 + number)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _state.process:  # a forked child has the handlers, too, and nothing to tell
        os._exit(128 + number)
    if _state.received is not None or not _state.armed or _importing(frame):
        end(_state.received or number)
    _state.received = number
    _thread.start_new_thread(_end_late, (number,))  # threading's own locks may be held by what was interrupted
    raise Stopped(number)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: an exception there is turned into others, or caught as a missing package."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end_late(number: int) -> None:
    """Ends a process whose exception was swallowed, or that waits for a thread."""
    time.sleep(GRACE_SECONDS)
    end(number)


def _end_children() -> None:
    processes = sys.modules.get("multiprocessing")
    if processes is not None:
        for child in processes.active_children():
            child.terminate()
