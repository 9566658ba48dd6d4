"""Reads YAML that may come from strangers: one loader for scripts, settings, templates, policies, recipes and plans.

What a file may hold is counted while it is parsed, before anything of it is built: values, depth, what aliases stand for, lengths
of texts and numbers. Large files are counted beforehand by libyaml, where it is there, so that a refusal takes no longer than a second.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import ScalarEvent
from ruamel.yaml.parser import RoundTripParser

from .errors import InputError
from .plain_text import one_line
from .yaml_guard import MAX_DEPTH, YAMLGuard, YAMLLimit

SMALL_BYTES = 200_000
"""The largest file of settings, a template, a memory policy, a recipe or a scripted model's answers."""
BYTES_OF_VALUE = 10
"""A file may hold one value for so many of the bytes that it may be long; a film's script takes thirteen bytes for a value."""
SCREENED_FROM = 1000
"""Characters from which on a file is counted by libyaml before it is read."""
_WORD = re.compile(r"[\w-]{1,60}")
_TIMESTAMP = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")


class _GuardedParser(RoundTripParser):
    """ruamel's parser; a guard sees every event before a value is made of it, and dates stay text."""

    def __init__(self, loader: Any) -> None:
        super().__init__(loader=loader)
        self._see = loader.guard.see

    @cached_property
    def scanner(self) -> Any:
        """The scanner, which ruamel looks up anew for every token: what that takes pays for the guard."""
        return self.loader.scanner

    def get_event(self) -> Any:
        event = super().get_event()
        self._see(event)
        if type(event) is ScalarEvent and event.implicit[0] and _TIMESTAMP.match(event.value):
            event.implicit = (False, True)
        return event


class _GuardedYAML(YAML):
    def __init__(self, guard: YAMLGuard) -> None:
        super().__init__(pure=True)
        self.guard = guard
        self.Parser = _GuardedParser
        self.composer.warn_double_anchors = False


def parse_yaml(text: str, source: str | Path, max_bytes: int = SMALL_BYTES) -> Any:
    """The value of a YAML text, with its comments.

    Args:
        source: what the text is called in errors.
        max_bytes: length that such a file may have, by which its values are limited.

    Raises:
        InputError: not YAML, or past a limit; names the source, the line and the limit.
    """
    most = max_bytes // BYTES_OF_VALUE
    try:
        if len(text) > SCREENED_FROM:
            _screen(text, most)
        yaml = _GuardedYAML(YAMLGuard(most))
        try:
            return yaml.load(text)
        except (ValueError, OverflowError) as error:  # of a number or an escape that Python cannot hold
            raise YAMLLimit(yaml.reader.line + 1, f"not valid YAML ({_problem(error)})") from None
    except YAMLLimit as error:
        raise InputError(f"{source}:{error.line}: {error.problem}") from None
    except YAMLError as error:
        place = _line_of(error, text)
        raise InputError(f"{source}{f':{place}' if place else ''}: not valid YAML ({_problem(error)})") from None


def _screen(text: str, most: int) -> None:
    """Counts a text by libyaml, some thirty times as fast as ruamel's parser."""
    try:
        from yaml import YAMLError as LibYAMLError
        from yaml import parse
        from yaml.cyaml import CParser
    except ImportError:
        return
    guard = YAMLGuard(most)
    events: Iterable[Any] = parse(text, Loader=CParser)
    try:
        for event in events:
            guard.see(event)
    except LibYAMLError as error:
        if isinstance(error, YAMLError):
            raise
        too_deep = "nesting depth" in _problem(error)  # libyaml's own limit, reached while it reads ahead
        said = f"nested more than {MAX_DEPTH} deep" if too_deep else f"not valid YAML ({_problem(error)})"
        raise YAMLLimit(_line_of(error, text) or 1, said) from None


def _line_of(error: Exception, text: str) -> int | None:
    """The line of an error, from 1."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    position = getattr(error, "position", None)
    return text.count("\n", 0, position) + 1 if isinstance(position, int) else None


def _problem(error: Exception) -> str:
    said = getattr(error, "problem", None) or getattr(error, "context", None) or str(error)
    return one_line(str(said).split("\n")[0])[:200]


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file, and a pipe that nobody writes into, too, which is then no regular file."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text_file(path: Path, max_bytes: int) -> str:
    """The text of a regular file.

    Raises:
        InputError: it is missing, no regular file, longer than `max_bytes`, or not UTF-8.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path} is no regular file")
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, no file") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > max_bytes:
        raise InputError(f"{path} is larger than {_size(max_bytes)}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text; save it as UTF-8") from None


def read_yaml_file(path: Path, max_bytes: int = SMALL_BYTES) -> Any:
    """The value of a YAML file, with its comments.

    Raises:
        InputError: as `read_text_file` and `parse_yaml`.
    """
    return parse_yaml(read_text_file(path, max_bytes), path, max_bytes)


def line_of(node: Any, place: Iterable[Any]) -> int:
    """The line of a place (keys and indices) in what `parse_yaml` read, from 1; where there is none, of the nearest one above it."""
    line = 1
    for part in place:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line


def place_name(place: Iterable[Any]) -> str:
    """A place as `scenes.0.shots.2.title`; a key that is no plain word is quoted, so that what is odd in it is seen."""
    return ".".join(part if _WORD.fullmatch(part) else repr(part)[:60] for part in map(str, place))


def _size(count: int) -> str:
    return f"{count // 1_000_000} MB" if count >= 1_000_000 else f"{count // 1000} kB"
