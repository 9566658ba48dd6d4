"""Writing files so that a crash or a full disk leaves the old one whole."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import FilmwrightError

_TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}\.partial(\.[A-Za-z0-9]+)?")
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_IN_THE_WAY = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
LONGEST_STEM = 40


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns the system's refusals into one line with the path, the reason and the fix.

    Raises:
        FilmwrightError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise FilmwrightError(f"cannot write {path}: {error.strerror or error}{_fix(error.errno)}") from error


def _fix(number: int | None) -> str:
    if number in _FULL:
        return "; free some space and run the command again, what was made is kept"
    if number in _IN_THE_WAY:
        return "; something else of that name is in the way: move it away"
    if number in _FORBIDDEN:
        return "; make it writable, or choose another folder with -o"
    return ""


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that `replacing` gives, so that it is what a killed write left."""
    return _TEMPORARY.fullmatch(name) is not None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` that takes its place, flushed to disk, when the block ends well.

    Raises:
        FilmwrightError: the file cannot be written; the old one stays as it was.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem[:LONGEST_STEM]}-", suffix=f".partial{path.suffix}", dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            descriptor = os.open(temporary, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.chmod(0o644)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 with newlines as they are, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def append_line(path: Path, line: str) -> None:
    """Appends a line of UTF-8 that is on disk before this returns.

    The rest of a line that a killed run left becomes a line of its own; a line for which there is no space is taken back.

    Raises:
        FilmwrightError: the file cannot be written.
    """
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            data = line.encode("utf-8") + b"\n"
            if end:
                os.lseek(descriptor, -1, os.SEEK_END)
                data = data if os.read(descriptor, 1) == b"\n" else b"\n" + data
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)
