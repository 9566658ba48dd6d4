"""What a YAML file of a stranger may hold, counted event by event while it is parsed: values, depth, aliases, texts, numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.error import YAMLError

from .plain_text import one_line

MAX_DEPTH = 40
MAX_ALIASED = 10_000
"""Values that all aliases of a file may stand for; a text counts as one more for every `TEXT_OF_VALUE` characters."""
TEXT_OF_VALUE = 100
MAX_TEXT = 100_000
MAX_NUMBER = 40
_NUMBER = re.compile(r"[-+]?(?:0x[0-9a-fA-F_]+|0[ob]?[0-7_]+|\.?[0-9][0-9_.]*(?:[eE][-+]?[0-9]+)?)$")
_SURROGATE = re.compile("[\ud800-\udfff]")


class YAMLLimit(YAMLError):
    """A file holds more than is read, or something that is never read here.

    Attributes:
        line: from 1.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem


@dataclass(slots=True)
class _Collection:
    """A list or mapping that has not ended yet."""

    anchor: str | None
    before: int
    deepest: int
    is_mapping: bool
    parts: int = 0


class YAMLGuard:
    """Counts what the events of a file come to.

    Args:
        most: values that the file may hold.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values = 0
        self._aliased = self._long = 0
        """What aliases stand for, and what long texts count for beside the one value that each is."""
        self._open = [_Collection(None, 0, 0, False)]  # the document itself
        self._anchors: dict[str, tuple[int, int]] = {}
        """Size and height of what an anchor names."""

    def see(self, event: Any) -> None:
        """Counts an event of ruamel's or of libyaml's.

        Raises:
            YAMLLimit: it is one too many, or not allowed.
        """
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self._scalar(event)
        elif kind == "MappingStartEvent" or kind == "SequenceStartEvent":
            before = self._size()
            self._no_key(event)
            self._one_more(event)
            depth = len(self._open)
            self._open.append(_Collection(event.anchor, before, depth, kind == "MappingStartEvent"))
            self._reach(event, depth)
        elif kind == "MappingEndEvent" or kind == "SequenceEndEvent":
            ended = self._open.pop()
            if ended.anchor is not None:
                self._anchors[ended.anchor] = (self._size() - ended.before, ended.deepest - len(self._open) + 1)
            self._reach(event, ended.deepest)
        elif kind == "AliasEvent":
            self._alias(event)

    def _size(self) -> int:
        return self._values + self._aliased + self._long

    def _one_more(self, event: Any) -> None:
        self._open[-1].parts += 1
        self._values += 1
        if self._values > self._most:
            raise _limit(event, f"more than {self._most:,} values: split it, or take something out")
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        if event.tag is not None:
            raise _limit(event, f"tag {_shown(event.tag)} is not read here: leave it out, and quote what is text")

    def _no_key(self, event: Any) -> None:
        around = self._open[-1]
        if around.is_mapping and around.parts % 2 == 0:
            raise _limit(event, "a list or a mapping cannot be a key: keys are text")

    def _reach(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _limit(event, f"nested more than {MAX_DEPTH} deep")
        self._open[-1].deepest = max(self._open[-1].deepest, depth)

    def _scalar(self, event: Any) -> None:
        self._one_more(event)
        value: str = event.value
        length = len(value)
        if length > MAX_NUMBER:
            self._long += length // TEXT_OF_VALUE
            if length > MAX_TEXT:
                raise _limit(event, f"a text of {length:,} characters: at most {MAX_TEXT:,} are read")
            if event.implicit[0] and _NUMBER.match(value):
                raise _limit(event, f"a number of {length:,} digits: at most {MAX_NUMBER} are read")
        elif value == "<<" and event.implicit[0]:
            raise _limit(event, "merge key '<<' is not read here: write the keys out")
        if event.anchor is not None:
            self._anchors[event.anchor] = (1 + length // TEXT_OF_VALUE, 0)
        if not value.isascii() and _SURROGATE.search(value):
            raise _limit(event, "half of a surrogate pair is no character: write the character itself")

    def _alias(self, event: Any) -> None:
        name = event.anchor
        if name not in self._anchors and any(around.anchor == name for around in self._open):
            raise _limit(event, f"alias *{name} stands inside what it names")
        size, height = self._anchors.get(name, (1, 0))
        if height:
            self._no_key(event)
        self._open[-1].parts += 1
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise _limit(event, f"aliases stand for more than {MAX_ALIASED:,} values: write them out")
        self._reach(event, len(self._open) - 1 + height)


def _shown(tag: str) -> str:
    core = "tag:yaml.org,2002:"
    return one_line(f"!!{tag.removeprefix(core)}" if tag.startswith(core) else tag)[:60]


def _limit(event: Any, problem: str) -> YAMLLimit:
    return YAMLLimit(event.start_mark.line + 1, problem)
