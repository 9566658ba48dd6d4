"""A small production, and what a stranger, a bad disk or an unlucky editor may make of its files.

Used by the tests and by `fuzz.py`. Everything is drawn from a seeded `random.Random`, so a case can be had again by its number.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import struct
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SECRET = "the-secret-that-no-page-shows"
LIMIT_SECONDS = 5.0
WRITTEN_IN_PLACE = ("log.jsonl", "session.sqlite", ".lock")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("status", "{}"),
    ("check", "{}"),
    ("shoot", "{}", "--dry-run"),
    ("status", "{}", "--json"),
    ("export", "fountain", "{}"),
    ("circle", "{}", "1A", "1"),
    ("memory", "{}"),
)
SLOW_COMMANDS: tuple[tuple[str, ...], ...] = (("cut", "{}", "-q"), ("film", "{}", "-q"))
SCRIPT = """\
title: The fox
logline: A fox slept.
style: paper theatre
titles: true
entities:
  - {id: fox, kind: character, name: Finn, description: a red fox, voice: low, changes: {2A: a blue fox}}
  - {id: bear, kind: character, name: bear, description: a brown bear}
  - {id: forest, kind: location, name: forest, description: a forest}
  - {id: sea, kind: location, name: sea}
scenes:
  - id: s1
    location: forest
    time: night
    summary: begins
    shots:
      - id: 1A
        seconds: 1.5
        size: LS
        action: A fox slept in the forest.
        entities: [fox]
        lines: [{speaker: fox, text: What a fine day}, {text: said nobody}]
        prompt_changes: [{at_seconds: 0.8, action: A bear came., entities: [bear, fox]}]
      - {id: 1B, seconds: 1.5, action: A bear came., entities: [bear], continuity: continuous, transition_in: dissolve, notes: look here}
  - id: s2
    location: sea
    shots:
      - {id: 2A, seconds: 0.75, entities: [fox], transition_in: fade, prompt: 'wide shot , castle , night , camera still .'}
"""
ODD_NUMBERS = (
    "0",
    "-1",
    "1000000000",
    "1e308",
    "-1e308",
    "1e400",
    "9" * 5000,
    "NaN",
    "Infinity",
    "1.5",
    "2147483648",
    "-0.0",
)
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**9, 2**63, -(2**63), 10**40, 0.5, 1e308, float("nan"), float("inf"), "", " ", "x" * 3000, "../../outside/secret.txt",
    "/etc/passwd", "..", "a/../../b", "C:\\x", "\u0663", "\x00", "\x1b[31mred", "\ud800", "\u202eabc", "2020-13-45", "CON", [], {}, [[]], [None], {"x": 1},
    [{"path": "../../outside/secret.txt"}], ["a"] * 300, {"action": "x"}, "1A", "2A",
)  # fmt: skip
ODD_NAMES = (
    "0",
    "00",
    "007",
    "\u0663",
    "1",
    "\u00b2",
    "99999999999999999999",
    "-1",
    "01.rolling",
    "x" * 200,
    ".hidden",
)


def make_production(folder: Path) -> Path:
    """A film of three shots by the theatre: shot, cut, circled by a person and by the director, with takes to spare."""
    from filmwright.agents.director import Order
    from filmwright.agents.events import Event
    from filmwright.agents.session import cut, shoot
    from filmwright.storyboard.production import Production, Settings
    from filmwright.storyboard.takes import circle
    from PIL import Image

    def tell(event: Event) -> None: ...

    production = Production.create(folder, "A fox slept. A bear came.\n", Settings(generator="theatre", seed=3))
    production.script_path.write_text(SCRIPT, encoding="utf-8")
    settings = production.read_settings()
    shoot(production, settings, Order(cut=False), None, tell)
    shoot(production, settings, Order(shots=[1], again=True, cut=False), None, tell)
    cut(production, settings, tell)
    circle(production, "1A", 1, by_person=True)
    production.log("call", model="openai:x", **{"for": "View"}, sent_tokens=10, received_tokens=5, dollars=0.01)
    production.log("answer", point="script", of="x", decision="approve")
    reference = folder / "references" / "fox" / "user-1.png"
    reference.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (200, 80, 20)).save(reference)
    (reference.parent / ".drawn").write_text("mark", encoding="utf-8")
    shutil.copyfile(folder / "takes" / "1B" / "01" / "frames.mp4", folder / "clip.mp4")
    changed = SCRIPT.replace("voice: low", "voice: low, references: [{path: references/fox/user-1.png}]")
    production.script_path.write_text(
        changed.replace("notes: look here", "notes: look here, opens_with: clip.mp4"), encoding="utf-8"
    )
    (folder / "plan").mkdir(exist_ok=True)
    (folder / "plan" / "outline.yaml").write_text("asked: x\nanswer: {title: x}\n", encoding="utf-8")
    take = folder / "takes" / "1A" / "01"
    record = json.loads((take / "take.json").read_text(encoding="utf-8"))
    record["verdicts"][-1] |= {"marks": {"identity": 0.5}, "sheet": "reviews/01.jpg", "by": "openai:x"}
    (take / "take.json").write_text(json.dumps(record), encoding="utf-8")
    (take / "reviews").mkdir()
    Image.new("RGB", (64, 32)).save(take / "reviews" / "01.jpg")
    return folder


# --- mutations -----------------------------------------------------------------------------------------------------


def mutate(rng: random.Random, folder: Path) -> str:
    """Changes one file of a production; returns what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    weighty = [path for path in files if path.suffix in (".json", ".yaml", ".jsonl") or path.name == "circled"]
    path = rng.choice(weighty if rng.random() < 0.55 else files)
    kinds: list[Callable[[random.Random, Path], str]] = [
        flip,
        cut_off,
        drop,
        insert,
        numbers,
        whole,
        swap,
        kind_of_thing,
    ]
    if path.suffix in (".json", ".yaml", ".jsonl") or path.name == "circled":
        kinds += [values] * 12
    if path.suffix in (".png", ".jpg"):
        kinds += [picture] * 3
    if path.suffix == ".safetensors":
        kinds += [tensors] * 6
    if path.suffix == ".mp4":
        kinds += [boxes] * 4
    kinds += [folders] if "takes" in path.parts else []
    data = path.read_bytes()
    path.unlink()  # it may be linked to the production that is copied
    path.write_bytes(data)
    done = rng.choice(kinds)(rng, path)
    return f"{path.relative_to(folder).as_posix()}: {done}"


def flip(rng: random.Random, path: Path) -> str:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 3, 30))):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)
    return "bytes changed"


def cut_off(rng: random.Random, path: Path) -> str:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data) + 1)])
    return "cut off"


def drop(rng: random.Random, path: Path) -> str:
    data = path.read_bytes()
    start = rng.randrange(len(data) + 1)
    path.write_bytes(data[:start] + data[start + rng.choice((1, 2, 10, 100)) :])
    return "bytes dropped"


def insert(rng: random.Random, path: Path) -> str:
    data = path.read_bytes()
    start = rng.randrange(len(data) + 1)
    what = rng.choice(
        (
            b"\x00",
            b"\xff\xfe",
            b"\n",
            b"\t",
            b"{",
            b"[[[[",
            b"&a [*a]",
            b"!!python/object:x ",
            b"!!int x ",
            b"\xc3\x28",
            b"\xe2\x80\xae",
            rng.randbytes(20),
        )
    )
    path.write_bytes(data[:start] + what * rng.choice((1, 1, 1, 50)) + data[start:])
    return f"{what!r} put in"


def numbers(rng: random.Random, path: Path) -> str:
    """Puts an odd number in the place of a digit."""
    data = path.read_bytes()
    digits = [i for i, byte in enumerate(data[:100_000]) if 48 <= byte <= 57]
    if not digits:
        return cut_off(rng, path)
    at, number = rng.choice(digits), rng.choice(ODD_NUMBERS)
    path.write_bytes(data[:at] + number.encode() + data[at + 1 :])
    return f"number {number[:20]}"


def whole(rng: random.Random, path: Path) -> str:
    what = rng.choice(
        (
            b"",
            b"\n",
            b"null",
            b"[]",
            b"{}",
            b"1.5\n...\n",
            b"3",
            b'"x"',
            b"[" * 50_000,
            b"{a: " * 2000,
            rng.randbytes(300),
            b"\x00" * 5000,
            b"gener",
            b"9" * 5000,
        )
    )
    path.write_bytes(what)
    return f"replaced by {what[:12]!r}"


def swap(rng: random.Random, path: Path) -> str:
    root = next(parent for parent in path.parents if (parent / "story.txt").exists() or parent.parent == parent)
    others = sorted(
        other for other in root.rglob("*") if other.is_file() and other != path and other.stat().st_size < 5_000_000
    )
    other = rng.choice(others)
    path.write_bytes(other.read_bytes())
    return f"replaced by {other.name}"


def kind_of_thing(rng: random.Random, path: Path) -> str:
    """A folder where a file was, nothing, or a file that nobody may read."""
    path.unlink()
    if rng.random() < 0.6:
        path.mkdir()
        if rng.random() < 0.5:
            (path / "x").write_text("x", encoding="utf-8")
        return "replaced by a folder"
    return "deleted"


def folders(rng: random.Random, path: Path) -> str:
    """An odd name for a folder, a file in its place, or one more."""
    folder = path.parent
    match rng.randrange(3):
        case 0:
            name = rng.choice(ODD_NAMES)
            folder.rename(folder.with_name(name))
            return f"folder renamed to {name[:20]!r}"
        case 1:
            shutil.rmtree(folder)
            folder.write_text("x", encoding="utf-8")
            return "folder replaced by a file"
        case _:
            name = rng.choice(ODD_NAMES)
            if not folder.with_name(name).exists():
                shutil.copytree(folder, folder.with_name(name))
            return f"folder copied to {name[:20]!r}"


def picture(rng: random.Random, path: Path) -> str:
    """A picture of absurd size, or one that is none."""
    width, height = rng.choice(((1, 1), (50_000, 50_000), (2**31 - 1, 2**31 - 1), (0, 10), (17, 3)))

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = part(b"IDAT", zlib.compress(b"\x00" * 1000)) + part(b"IEND", b"")
    other = rng.choice(
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            SECRET.encode(),
            b"",
        )
    )
    path.write_bytes(rng.choice((b"\x89PNG\r\n\x1a\n" + header + body, other)))
    return f"picture {width}x{height}, or none"


def tensors(rng: random.Random, path: Path) -> str:
    """Another header: types, shapes and metadata that do not belong there."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    name = rng.choice(sorted(header))
    done = ""
    if name == "__metadata__":
        key = rng.choice(("start", "draw", "depends"))
        header[name][key] = done = rng.choice(("-1", "\u00b2", "9" * 5000, "10000000000", "x", ""))
    else:
        which = rng.choice(("dtype", "shape", "data_offsets"))
        odd: dict[str, tuple[Any, ...]] = {
            "dtype": ("BF16", "F64", "I32", "X", 3, "F8_E4M3"),
            "shape": ([2**62], [], [0], [1, 3], [-1], [2**31, 2**31, 2**31], [3, 1, 1, 1]),
            "data_offsets": ([0, 2**62], [5, 4], [0, 0], [-1, 3]),
        }
        header[name][which] = rng.choice(odd[which])
        done = f"{which} {header[name][which]}"
    written = json.dumps(header).encode()
    path.write_bytes(
        rng.choice((len(written), len(written), len(written), 2**62)).to_bytes(8, "little")
        + written
        + data[8 + length :]
    )
    return f"header: {name} {done[:30]}"


def boxes(rng: random.Random, path: Path) -> str:
    """A box of a video with an odd length."""
    data = bytearray(path.read_bytes())
    places = [
        i
        for name in (b"moov", b"mdat", b"stsz", b"stts", b"trak", b"ftyp", b"avcC", b"tkhd", b"stsc", b"stco")
        if (i := data.find(name)) > 3
    ]
    if not places:
        return cut_off(rng, path)
    at = rng.choice(places)
    where = at - 4 if rng.random() < 0.5 else at + 4 + 4 * rng.randrange(4)
    data[where : where + 4] = rng.choice((0, 1, 7, 2**31, 2**32 - 1, 1000)).to_bytes(4, "big")
    path.write_bytes(data)
    return "box changed"


def values(rng: random.Random, path: Path) -> str:
    """A value of a structured file is another one, is gone, or there is one more."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        lines[at], done = _changed(rng, json.loads(lines[at]))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return f"line {at + 1}: {done}"
    if path.suffix == ".yaml":
        from ruamel.yaml import YAML

        data = YAML(typ="safe").load(text)
    else:
        data = json.loads(text)
    changed, done = _changed(rng, data)
    path.write_text(changed, encoding="utf-8")
    return done


def _changed(rng: random.Random, data: Any) -> tuple[str, str]:
    """JSON, which is YAML, too, with one value changed."""
    places = list(_places(data))
    value = rng.choice(ODD_VALUES)
    if not places:
        return json.dumps(value), f"all {str(value)[:20]!r}"
    node, key = rng.choice(places)
    done = f"{key}: "
    if rng.random() < 0.15:
        del node[key]
        done += "gone"
    elif rng.random() < 0.1 and isinstance(node, dict):
        node[rng.choice(("x", "", "<<", "__proto__", "id"))] = value
        done += "one key more"
    else:
        node[key] = value
        done += repr(value)[:30]
    return json.dumps(data), done


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from _places(node[key])


# --- trying a command ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """How a command went over a changed production.

    Attributes:
        seconds: of the processor; the clock ends a command that waits, after twelve times the limit.
        wrong: `traceback`, `hang`, `outside`; empty where all is well.
        says: what it printed, or the traceback.
    """

    command: tuple[str, ...]
    exit_code: int
    seconds: float
    wrong: tuple[str, ...]
    says: str


class TooLong(BaseException):
    """A command that takes longer than it may."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Ends a block that takes too long, where the system has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def prepare(base: Path) -> None:
    """What stands beside a production and must stay as it is."""
    outside = base / "outside"
    outside.mkdir(parents=True, exist_ok=True)
    (outside / "secret.txt").write_text(SECRET, encoding="utf-8")


def around(base: Path, folder: Path) -> dict[str, tuple[int, int]]:
    """Everything beside the production, by path: size and time."""
    found = {}
    for here, names, files in os.walk(base):
        if Path(here) == folder:
            names.clear()
            continue
        for name in files:
            stat = (Path(here) / name).stat()
            found[f"{here}/{name}"] = (stat.st_size, stat.st_mtime_ns)
    return found


@cache
def command_line() -> Callable[..., object]:
    """The command, built once: that takes as long as most commands."""
    from filmwright.cli import app
    from typer.main import get_command

    return get_command(app).main


def run(words: tuple[str, ...]) -> tuple[int, str]:
    """The exit code of a command, -1 for a traceback, and what it printed."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            command_line()(list(words), prog_name="filmwright")
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except Exception:
            return -1, traceback.format_exc()
    return code, said.getvalue()


def copy(template: Path, folder: Path) -> None:
    """A copy of a production; what is never written in place is linked."""

    def put(source: str, target: str) -> None:
        shutil.copyfile(source, target) if Path(source).name in WRITTEN_IN_PLACE else os.link(source, target)

    shutil.copytree(template, folder, copy_function=put)


def try_command(command: tuple[str, ...], base: Path, folder: Path, limit: float = LIMIT_SECONDS) -> Tried:
    """Runs a command in this process."""
    words = tuple(word.format(folder) for word in command)
    before, began = around(base, folder), time.process_time()
    wrong, says, code = [], "", -1
    try:
        with at_most(12 * limit):
            code, says = run(words)
        if code not in (0, 1, 2, 3):
            wrong.append("traceback")
    except TooLong:
        wrong.append("hang")
    seconds = time.process_time() - began  # of the processor: another program may hold it meanwhile
    if seconds > limit and "hang" not in wrong:
        wrong.append("hang")
    page = folder / "storyboard.html"
    with suppress(OSError):
        if SECRET in page.read_text(encoding="utf-8", errors="replace"):
            wrong.append("outside")
    if around(base, folder) != before:
        wrong.append("outside")
    return Tried(words, code, seconds, tuple(dict.fromkeys(wrong)), says)


def try_case(number: int, template: Path, base: Path, commands: int = 2) -> tuple[str, list[Tried]]:
    """Case `number`: one changed copy of a production, and some commands over it; one in fifty is cut."""
    rng = random.Random(number)
    folder = base / "film"
    if folder.exists():
        shutil.rmtree(folder)
    copy(template, folder)
    done = mutate(rng, folder)
    chosen = rng.sample(COMMANDS, commands)
    if rng.random() < 0.02:
        chosen.append(SLOW_COMMANDS[0])
    return done, [try_command(command, base, folder) for command in chosen]
