"""Standard input, output and error as the rest of the program may expect them: open, UTF-8, and never the cause of a traceback."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import BinaryIO, TextIO


class _Output(io.TextIOWrapper):
    """Standard output that remembers why it could not be written."""

    failure: OSError | None = None
    before: TextIO | None = None  # kept: it would close what both write to

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.failure = self.failure or error
            raise


class _Progress(io.TextIOWrapper):
    """Standard error. Progress that nobody can read is no reason to stop, and there is nowhere to say so."""

    before: TextIO | None = None

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def open_streams() -> None:
    """Gives closed streams the null device, so that no file of a film gets their number, and sets UTF-8.

    Bytes of arguments and file names that are not UTF-8 leave standard output as they came; standard error shows them escaped.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _to_nowhere(number)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (open as long as the process is)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    unbuffered = isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.write_through
    out, err = _bytes(sys.stdout, 1), _bytes(sys.stderr, 2)
    output = _Output(out, "utf-8", "surrogateescape", line_buffering=out.isatty(), write_through=unbuffered)
    progress = _Progress(err, "utf-8", "backslashreplace", line_buffering=True)
    output.before, progress.before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = output, progress


def output_failure() -> str | None:
    """Writes out what standard output still holds.

    Returns:
        Why it cannot be written; empty when its reader has gone, None when there is no failure.
    """
    out = sys.stdout
    with suppress(OSError, ValueError):
        out.flush()
    if not isinstance(out, _Output) or out.failure is None:
        return None
    with suppress(OSError, ValueError):
        _to_nowhere(out.fileno())  # or the interpreter tries again when it ends, and shows a traceback
    return "" if isinstance(out.failure, BrokenPipeError) else out.failure.strerror or str(out.failure)


def _bytes(stream: TextIO | None, number: int) -> BinaryIO:
    """What a stream writes to; Python has none for a number that was closed when it began."""
    if stream is not None:
        return stream.buffer
    return open(number, "wb", closefd=False)


def _to_nowhere(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
