"""Keys and passwords taken out of text before a person, an error line, a log or a file gets it.

A provider's error may echo the key, a part of it, the header it came in, or an address with a password; each is written as `[key]`.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, unquote, urlsplit, urlunsplit

HIDDEN = "[key]"
KEY_VARIABLES = ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "HF_TOKEN")
URL_VARIABLES = ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL")
SHORTEST_SECRET = 4
LONG_SECRET = 16
"""Characters from which on a secret is no word that a text could say by chance, and its parts are hidden, too."""
MAX_HIDDEN = 8000
PART = 8
"""Characters in a row of a long secret that are hidden anywhere; fewer are where they stand alone or beside a mask."""

_TOKEN = r"[A-Za-z0-9._~+/=*…-]"
_PATTERNS = (
    (re.compile(rf"(?i)\b(bearer|basic)(?:\s+|%20)(?=\S*\d){_TOKEN}{{8,}}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(?:sk-|AIza|hf_)[A-Za-z0-9_-]{16,}"), HIDDEN),
    (re.compile(r"(?<=://)[^/\s@\"']+@"), f"{HIDDEN}@"),
    (re.compile(r"(?i)([?&](?:key|api[-_]?key|token|access[-_]token|auth|password|signature)=)[^&\s\"'#]+"), rf"\1{HIDDEN}"),
)  # fmt: skip
_HEADER = re.compile(
    r"(?i)((?:authorization|(?:x-goog-|x-)?api[-_]?key)[\"']?\s*[:=]\s*(?:b?[\"'])?)(?:(?:bearer|basic)\s+)?[^\s\"',;&}]+"
)
_SHORT_KEY = re.compile(rf"\b(?:sk-|AIza){_TOKEN}{{4,}}")
_MASKED = re.compile(r"([A-Za-z0-9_-]{0,200})(?:\*{2,}|\.{3}|…|•{2,}|[xX]{4,})+([A-Za-z0-9_-]*)")
_WORD = re.compile(r"[A-Za-z0-9_-]{4,}")


def hide_keys(text: str) -> str:
    """A text without what is a key or a password by its form: keys of the known providers, headers, addresses with passwords."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def shown_url(url: str) -> str:
    """An address without user, password, and the values of its query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        parts, host = None, ""
    if parts is None or not parts.netloc:
        _, at, rest = url.rpartition("@")
        return f"{HIDDEN}@{rest}" if at else url
    query = "&".join(f"{name}={HIDDEN}" if equals else name for name, equals in _pairs(parts.query))
    return urlunsplit((parts.scheme, f"{HIDDEN}@{host}" if "@" in parts.netloc else host, parts.path, query, ""))


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, query.split("&")):
        name, equals, _ = pair.partition("=")
        yield name, equals


@dataclass(frozen=True)
class Secrets:
    """What must never show of the access to a provider."""

    values: tuple[str, ...]

    @classmethod
    def of(cls, keys: Iterable[str | None], urls: Iterable[str | None] = ()) -> Secrets:
        """Keys, and what addresses hold of passwords and keys."""
        found = [key for key in keys if key]
        for url in filter(None, urls):
            try:
                parts = urlsplit(url)
            except ValueError:
                continue
            user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
            found += (
                [unquote(password), password, f"{user}:{password}", unquote(f"{user}:{password}")] if colon else [user]
            )
            found += [unquote(pair.partition("=")[2]) for pair in parts.query.split("&")]
        written = [form for value in found for form in (value, quote(value, safe=""), _base64(value))]
        kept = {form for form in written if len(form) >= SHORTEST_SECRET}
        return cls(tuple(sorted(kept, key=len, reverse=True)))

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> Secrets:
        """The long secrets of an environment, the process's own by default."""
        where = os.environ if environment is None else environment
        found = cls.of(map(where.get, KEY_VARIABLES), map(where.get, URL_VARIABLES))
        return cls(tuple(value for value in found.values if len(value) >= LONG_SECRET))

    def exact(self, text: str) -> str:
        """A text without the secrets themselves."""
        for value in self.values:
            text = text.replace(value, HIDDEN)
        return text

    def hide(self, text: str) -> str:
        """A text without secrets, parts of them, and what is one by its form; cut after `MAX_HIDDEN` characters."""
        text = self._without_parts(self.exact(text[:MAX_HIDDEN]))
        for pattern in (_MASKED, _WORD):
            text = pattern.sub(self._unless_ours, text)
        text = _HEADER.sub(rf"\1{HIDDEN}", hide_keys(text))
        return re.sub(rf"{re.escape(HIDDEN)}(?:{_TOKEN}*{re.escape(HIDDEN)})+", HIDDEN, _SHORT_KEY.sub(HIDDEN, text))

    @cached_property
    def _long(self) -> tuple[str, ...]:
        return tuple(value for value in self.values if len(value) >= LONG_SECRET)

    @cached_property
    def _parts(self) -> frozenset[str]:
        return frozenset(value[i : i + PART].lower() for value in self._long for i in range(len(value) - PART + 1))

    def _without_parts(self, text: str) -> str:
        low, out, at = text.lower(), [], 0
        if len(low) != len(text):  # a letter whose small form is longer: places would not match
            low = text
        while at < len(text):
            if low[at : at + PART] not in self._parts:
                out.append(text[at])
                at += 1
                continue
            while low[at + 1 : at + 1 + PART] in self._parts:
                at += 1
            out.append(HIDDEN)
            at += PART
        return "".join(out)

    def _unless_ours(self, found: re.Match[str]) -> str:
        """What stands alone or beside a mask, unless a secret begins or ends with it."""
        begins, ends = (found[1], found[2]) if found.re is _MASKED else (found[0], found[0])
        for value in self._long:
            if (len(begins) > 1 and value.startswith(begins)) or (len(ends) > 1 and value.endswith(ends)):
                return HIDDEN
        return found[0]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii").rstrip("=")
