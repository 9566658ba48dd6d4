"""Writing files so that a crash or a full disk leaves the old one whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import FilmwrightError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns the system's refusals into one line with the path and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise FilmwrightError(
            f"cannot write {path}: {reason}; free some space or choose another folder with -o"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` that takes its place, flushed to disk, when the block ends well."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
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
