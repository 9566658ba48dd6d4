"""Memory policies: which history a chunk attends to, and where in the span it stands.

A policy is a sum of segments, written as `routed(5)+window(3)`, by a preset's name, or in a YAML file. Two kinds of
history: *pages*, keys and values written once by the commit pass of their chunk, and *context*, clean latents run
through the model once per chunk. Positions are given after selection, in this order:

    state | shots | sink | routed | compressed | window | the chunk
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..storyboard.errors import InputError

PRESETS = {
    "causalcine": "routed(5)+window(3)",
    "filmweaver": "shots(3)+compressed+chunk(6)",
    "adastate": "state(1)+window(1)",
    "longlive": "sink(3)+window(2)+absolute+recache",
    "self-forcing": "window(6)",
    "full": "state(1)+shots(3)+routed(5)+window(3)",
}
POOL_FRAMES, POOL_BYTES = 512, 16 << 30
"""The pool of routed memory unless `pool=` says otherwise: the smaller of the two."""
FLAGS = ("absolute", "recache")
LEVELS = ((1, 1), (2, 4), (16, 32))
"""Compressed history, newest first: frames, and how much smaller their tokens are (FilmWeaver's supplement)."""


@dataclass(frozen=True)
class Window:
    """The last `chunks` chunks (all papers)."""

    chunks: int


@dataclass(frozen=True)
class Sink:
    """The first `frames` frames of the film (LongLive; the baseline of CausalCine §4.2)."""

    frames: int


@dataclass(frozen=True)
class Routed:
    """The `frames` frames outside the window whose keys answer the chunk's queries best (CausalCine §3.3).

    Attributes:
        pool: bytes of pages kept to choose from, the least recently chosen evicted; 0 for the default.
        tier: where they lie: `device`, `host` (pinned), or `auto` (host when the pool is more than a quarter of the
            device's free memory).
    """

    frames: int
    pool: int = 0
    tier: str = "auto"


@dataclass(frozen=True)
class State:
    """`frames` hidden frames denoised with every chunk and never shown; the state before stands at the same positions
    (AdaState)."""

    frames: int


@dataclass(frozen=True)
class Shots:
    """The `keyframes` most fitting keyframes of earlier shots, pinned references first (FilmWeaver's shot cache).

    Attributes:
        noise: timestep, 0 … 999, to which the keyframes are noised and with which they are labelled.
    """

    keyframes: int
    noise: int = 0


@dataclass(frozen=True)
class Compressed:
    """This shot's history in ever coarser patches (FilmWeaver's temporal cache): frames at 1x, 4x and 32x."""

    full: int = LEVELS[0][0]
    quarter: int = LEVELS[1][0]
    coarse: int = LEVELS[2][0]
    noise: int = 0

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        return tuple(
            (count, factor) for count, (_, factor) in zip((self.full, self.quarter, self.coarse), LEVELS, strict=True)
        )

    @property
    def frames(self) -> int:
        return self.full + self.quarter + self.coarse


@dataclass(frozen=True)
class Plan:
    """What the chunk that starts at frame number `start` may see of the pages; frame numbers over the whole film.

    Attributes:
        fixed: frames of sink and window, and `positions` where they stand.
        base: position of the chunk's own first frame.
        candidates: the frames routing chooses from: [first, last).
        routed_at: position of the first routed frame.
    """

    start: int
    fixed: tuple[int, ...]
    positions: tuple[int, ...]
    base: int
    candidates: tuple[int, int]
    routed_at: int


@dataclass(frozen=True)
class Memory:
    """A composed policy.

    Attributes:
        chunk: the chunk length in latent frames, None for the weights' own.
        absolute: whether frames stand at their number in the film, as LongLive's weights were trained.
        recache: whether a new prompt also writes the window's pages anew under it (LongLive 1.0).
    """

    window: Window | None = None
    sink: Sink | None = None
    routed: Routed | None = None
    state: State | None = None
    shots: Shots | None = None
    compressed: Compressed | None = None
    chunk: int | None = None
    absolute: bool = False
    recache: bool = False

    def __post_init__(self) -> None:
        if self.window and self.compressed:
            raise InputError("memory: window and compressed both hold the newest frames; keep one of them")
        for name in ("routed", "state", "shots", "compressed"):
            if self.absolute and getattr(self, name):
                raise InputError(f"memory: {name} has no absolute position; leave 'absolute' out, or {name}")
        if self.recache and not self.window:
            raise InputError("memory: recache writes the window anew; name a window, or leave it out")
        if not any((self.window, self.sink, self.routed, self.state, self.shots, self.compressed)):
            raise InputError("memory holds nothing: name at least one segment, such as window(3)")

    def __str__(self) -> str:
        terms = [_written(segment) for segment in self.segments()]
        if self.chunk:
            terms.append(f"chunk({self.chunk})")
        return "+".join([*terms, *(flag for flag in FLAGS if getattr(self, flag))])

    def segments(self) -> list[Any]:
        """In the order of their positions."""
        order = (self.state, self.shots, self.sink, self.routed, self.compressed, self.window)
        return [segment for segment in order if segment is not None]

    def starts(self, length: int) -> dict[str, int]:
        """The first position of every segment, and of the chunk itself under `chunk`."""
        at, cursor = {}, 0
        for name, size in (
            ("state", self.state.frames if self.state else 0),
            ("shots", self.shots.keyframes if self.shots else 0),
            ("sink", self.sink.frames if self.sink else 0),
            ("routed", self.routed.frames if self.routed else 0),
            ("compressed", self.compressed.frames if self.compressed else 0),
            ("window", self.window.chunks * length if self.window else 0),
            ("chunk", length),
        ):
            at[name] = cursor
            cursor += size
        return at

    def span(self, length: int) -> int:
        """Positions used with chunks of `length` latent frames."""
        return self.starts(length)["chunk"] + length

    def window_frames(self, length: int) -> int:
        return self.window.chunks * length if self.window else 0

    def oldest(self, start: int, length: int) -> int:
        """The first frame in the window of the chunk that starts at frame `start`."""
        return max(0, start - self.window_frames(length))

    def plan(self, start: int, length: int) -> Plan:
        """What the chunk that starts at frame number `start` sees; see `Plan`."""
        at, oldest = self.starts(length), self.oldest(start, length)
        sunk = tuple(range(min(self.sink.frames if self.sink else 0, oldest)))
        recent = tuple(range(oldest, start))
        if self.absolute:
            return Plan(start, sunk + recent, sunk + recent, start, (0, 0), 0)
        base = at["chunk"]
        positions = tuple(at["sink"] + i for i in sunk) + tuple(base - (start - i) for i in recent)
        first = self.sink.frames if self.sink else 0
        candidates = (first, max(first, oldest)) if self.routed else (0, 0)
        return Plan(start, sunk + recent, positions, base, candidates, at["routed"])


_TYPES: dict[str, type] = {
    "window": Window, "sink": Sink, "routed": Routed, "state": State, "shots": Shots, "compressed": Compressed,
}  # fmt: skip
_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_LIMITS = {"pool": 1 << 44, "noise": 999}


def _written(segment: Any) -> str:
    """A segment as it is parsed: its first number, then what differs from the default."""
    name = type(segment).__name__.lower()
    given = []
    for index, field in enumerate(fields(segment)):
        value = getattr(segment, field.name)
        positional = index == 0 or (name == "compressed" and field.name != "noise")
        if positional:
            given.append(str(value))
        elif value != field.default:
            given.append(f"{field.name}={_size(value) if field.name == 'pool' else value}")
    return f"{name}({','.join(given)})"


def _size(count: int) -> str:
    """Bytes in the largest unit that divides them."""
    unit = next(unit for unit in ("GB", "MB", "KB", "") if count % _UNITS[unit] == 0)
    return f"{count // _UNITS[unit]}{unit}"


def _known() -> str:
    return "window(N), sink(N), routed(N), state(N), shots(N), compressed, joined by '+', or " + ", ".join(PRESETS)


def _value(segment: str, name: str, given: Any) -> Any:
    """One argument, checked."""
    if name == "tier":
        if given not in ("auto", "device", "host"):
            raise InputError(f"memory: {segment} tier={given!r} is unknown: choose auto, device or host")
        return given
    match = re.fullmatch(r"(\d{1,14})([KMG]?B)?", str(given).strip().upper())
    if not match or (match[2] and name != "pool"):
        raise InputError(f"memory: {segment} {name}={given!r} is not a whole number")
    number = int(match[1]) * _UNITS[match[2] or ""]
    low, high = (0, _LIMITS[name]) if name in _LIMITS else (0 if segment == "compressed" else 1, 999)
    if not low <= number <= high:
        raise InputError(f"memory: {segment} {name}={given} is out of range: give {low} to {high}")
    return number


def _segment(name: str, arguments: list[tuple[str | None, Any]]) -> Any:
    known = [field.name for field in fields(_TYPES[name])]
    values: dict[str, Any] = {}
    for index, (key, given) in enumerate(arguments):
        key = key or (known[index] if index < len(known) else None)
        if key not in known or key in values:
            raise InputError(f"memory: {name} takes {', '.join(known)}; {key or given!r} does not fit")
        values[key] = _value(name, key, given)
    try:
        return _TYPES[name](**values)
    except TypeError:
        raise InputError(f"memory: {name} needs a number, as in {name}(3)") from None


def _compose(text: str) -> Memory:
    found: dict[str, Any] = {}
    for term in text.replace(" ", "").split("+"):
        match = re.fullmatch(r"([a-z]+)(?:\(([^()]*)\))?", term)
        name = match[1] if match else ""
        if not match or not (name in _TYPES or (name == "chunk" and match[2]) or (name in FLAGS and match[2] is None)):
            raise InputError(f"memory {text!r} is unknown at {term!r}: choose {_known()}")
        if name in found:
            raise InputError(f"memory {text!r} names {name} twice")
        if name in FLAGS:
            found[name] = True
        elif name == "chunk":
            found[name] = _value("chunk", "length", match[2])
        else:
            pairs = [part.split("=", 1) for part in (match[2] or "").split(",") if part]
            found[name] = _segment(name, [(p[0], p[1]) if len(p) == 2 else (None, p[0]) for p in pairs])
    return Memory(**found)


def _from_yaml(path: Path) -> Memory:
    from ..storyboard.yaml_files import read_yaml_file

    data = read_yaml_file(path)
    if not isinstance(data, dict):
        raise InputError(f"memory file {path} must be a mapping, such as 'window: 3'")
    found: dict[str, Any] = {}
    for name, given in data.items():
        if name in FLAGS and isinstance(given, bool):
            found[name] = given
        elif name == "chunk":
            found[name] = _value("chunk", "length", given)
        elif name in _TYPES:
            arguments: list[tuple[str | None, Any]] = (
                list(given.items()) if isinstance(given, dict) else [] if given is None else [(None, given)]
            )
            found[name] = _segment(name, arguments)
        else:
            raise InputError(f"memory file {path}: {name!r} is unknown: choose {', '.join([*_TYPES, 'chunk', *FLAGS])}")
    return Memory(**found)


def parse_memory(text: str) -> Memory:
    """Reads a policy: a preset's name, segments joined by `+`, or the path of a YAML file.

    Raises:
        InputError: an unknown preset, a malformed or impossible policy.
    """
    if text.strip().endswith((".yaml", ".yml")):
        return _from_yaml(Path(text.strip()))
    return _compose(PRESETS.get(text.strip(), text))
