"""The STORY argument: `-`, an existing file, or the text itself."""

from __future__ import annotations

import sys
from pathlib import Path

from ..agents.planner import MAX_STORY_BYTES, check_story
from ..storyboard.errors import InputError

SUFFIXES = (".txt", ".md", ".fountain")


def looks_like_path(text: str) -> bool:
    """One line that ends in .txt/.md/.fountain, or has a path separator and no space."""
    if "\n" in text.strip():
        return False
    line = text.strip()
    return line.lower().endswith(SUFFIXES) or (("/" in line or "\\" in line) and " " not in line)


def read_story(argument: str) -> str:
    """The story that the argument gives.

    Raises:
        InputError: a path that does not exist, a binary, empty or over-long text.
    """
    if argument == "-":
        data = sys.stdin.buffer.read(MAX_STORY_BYTES + 1)
        return check_story(_decode(data, "standard input"), "standard input")
    path = Path(argument) if len(argument) < 1000 and "\n" not in argument else None
    try:
        exists = path is not None and path.is_file()
    except OSError:
        exists = False
    if path is not None and exists:
        if path.stat().st_size > MAX_STORY_BYTES:
            raise InputError(
                f"{path} is {path.stat().st_size / 1e6:.1f} MB long: at most 1 MB of text is accepted, split it"
            )
        return check_story(_decode(path.read_bytes(), str(path)), str(path))
    if looks_like_path(argument):
        raise InputError(f"story file {argument!r} does not exist: check the path, or give the text itself")
    return check_story(_decode(argument.encode("utf-8", "surrogateescape"), "the story"), "the story")


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{source} is not UTF-8 text: save it as UTF-8") from None
