"""Text made safe to show: control characters, terminal escapes and direction overrides become visible.

Whatever a stranger's file or a server says passes through here on its way to a terminal, an error line, a log line or a subtitle.
Letters of every script, emoji sequences, joiners and direction marks stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_FLAG = "\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f"  # the flags of England, Scotland and Wales are written with tag characters
_UNSAFE_CLASS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u2028\u2029\u202a-\u202e\u2060-\u206f"  # line separators, direction overrides and isolates, invisible operators
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"  # byte order mark, annotations, lone surrogates, tags
)
_UNSAFE = re.compile(f"({_FLAG})|[{_UNSAFE_CLASS}]")
_BYTES = re.compile("([\udca0-\udcff]+)")
_UNSAFE_OR_BREAK = re.compile(f"({_FLAG})|[{_UNSAFE_CLASS}\n\t]")

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC and its like: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]"
)


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def visible(text: str) -> str:
    """The text with every unsafe character written as its escape, such as `\\x1b`; newlines and tabs stay."""
    return _UNSAFE.sub(lambda found: found[1] or _code(found[0]), text.replace("\r\n", "\n"))


def printable(text: str) -> str:
    """As `visible`, but bytes of a file's name that are not UTF-8 stay as they came, so that a program can open the file. Bytes that an
    8-bit terminal takes for control characters do not."""
    return "".join(part if index % 2 else visible(part) for index, part in enumerate(_BYTES.split(text)))


def one_line(text: str) -> str:
    """As `visible`, with line breaks and tabs as blanks."""
    flowing = " ".join(part for line in text.split("\n") if (part := line.replace("\t", " ").strip(" \r")))
    return _UNSAFE.sub(lambda found: found[1] or _code(found[0]), flowing)


def without_unsafe(text: str) -> str:
    """The text on one line, without unsafe characters and whole terminal sequences; blanks are single."""
    bare = _SEQUENCE.sub("", text)
    return " ".join(_UNSAFE_OR_BREAK.sub(lambda found: found[1] or (" " if found[0].isspace() else ""), bare).split())


def flat(value: Any) -> Any:
    """JSON-like data with every text in it as one visible line, keys too."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Mapping):
        return {flat(key): flat(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [flat(part) for part in value]
    return value


def json_line(value: Any) -> str:
    """One line of JSON that reads back the same; unsafe characters stand in it as `\\uXXXX`.

    Raises:
        TypeError: something in it is no JSON.
    """
    text = json.dumps(value, ensure_ascii=False)
    return _UNSAFE_OR_BREAK.sub(lambda found: found[1] or json.dumps(found[0])[1:-1], text)
