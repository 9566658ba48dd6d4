"""Text of strangers on its way to people: terminals, error lines, logs, subtitles. Odd characters are shown or left out, letters never."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from filmwright.agents.events import Event
from filmwright.cli import app
from filmwright.console.display import Display, JsonDisplay, PlainDisplay, QuietDisplay, RichDisplay
from filmwright.console.tables import shots_text, status_table
from filmwright.storyboard.errors import FilmwrightError, InputError
from filmwright.storyboard.exports import srt, subtitle_text
from filmwright.storyboard.plain_text import flat, json_line, one_line, visible, without_unsafe
from filmwright.storyboard.production import Production, Settings
from filmwright.storyboard.script import Script
from filmwright.storyboard.stage import open_generator
from filmwright.storyboard.timeline import build_timeline
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

ESCAPES = {
    "colour": "\x1b[31mred\x1b[0m",
    "screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;mine\x07",
    "link": "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;aGk=\x07",
    "eight bits": "\x9b31mred\x9d0;mine\x9c",
    "device": "\x1bP+q544e\x1b\\",
    "reset": "\x1bc",
    "bell and backspace": "\x07a\x08b\x7f",
    "carriage return": "all is well\rexit 0",
    "nul": "a\x00b",
    "next line": "a\x85b\u2028c\u2029d",
    "override": "abc\u202egnp.exe\u202c",
    "isolate": "a\u2067b\u2069c",
    "embedding": "\u202ba\u202ab",
    "half a pair": "a\ud83db\udc00",
    "byte order mark": "\ufeffa\ufff9b",
    "tags": "a\U000e0069\U000e0067b",
}
WORDS = [
    "Привет, мир", "مرحبا بالعالم", "שלום\u200f!", "नमस्ते क्\u200dष", "می\u200cخواهم", "สวัสดี\u200bชาวโลก", "你好，世界", "こんにちは", "안녕",
    "e\u0301te\u0301 Å", "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 ✈️", "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "l\u2019été «oui» — 1\u00a0000 €", "soft\u00adhyphen", "a\u200eb",
]  # fmt: skip
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def script(title: str = "T", name: str = "Finn", line: str = "Hello.") -> Script:
    """A film of one shot with texts of a stranger, as a model may answer them."""
    return Script.model_validate({
        "title": title,
        "entities": [{"id": "fox", "kind": "character", "name": name}, {"id": "wood", "kind": "location", "name": "wood"}],
        "scenes": [{"id": "s1", "location": "wood", "shots": [
            {"id": "1A", "seconds": 3, "action": line, "entities": ["fox"], "lines": [{"speaker": "fox", "text": line}]}
        ]}],
    })  # fmt: skip


@pytest.mark.parametrize("kind", ESCAPES)
def test_escapes_are_shown_and_nothing_else_changes(kind: str) -> None:
    text = ESCAPES[kind]
    for shown in (visible(text), one_line(text), without_unsafe(text), subtitle_text(text)):
        assert not UNSAFE.search(shown)
        shown.encode("utf-8")
    assert re.sub(r"\\x..|\\u....|\\U........", "", visible(text)) == re.sub(
        UNSAFE, "", re.sub("[\ufff9\U000e0000-\U000e007f]", "", text)
    )


@pytest.mark.parametrize("text", WORDS)
def test_letters_of_every_script_stay(text: str) -> None:
    assert visible(text) == one_line(text) == without_unsafe(text.replace("\u00a0", "-")).replace("-", "\u00a0") == text
    assert json_line({"a": text}) == json.dumps({"a": text}, ensure_ascii=False)


@given(st.text())
def test_any_text_becomes_one_safe_line_and_safe_json(text: str) -> None:
    for shown in (one_line(text), without_unsafe(text), subtitle_text(text)):
        assert not UNSAFE.search(shown) and len((shown + ".").splitlines()) == 1
    line = json_line({"key": [text], text: 1})
    assert json.loads(line) == {"key": [text], text: 1} and not UNSAFE.search(line) and len(line.splitlines()) == 1


def test_data_for_tables_is_flat_to_its_leaves() -> None:
    assert flat({"a\n": ["b\x1bc", {"d": "e\nf"}, 1, None, 2.5]}) == {"a": ["b\\x1bc", {"d": "e f"}, 1, None, 2.5]}


@pytest.mark.parametrize("kind", ESCAPES)
def test_an_error_is_one_safe_line_with_and_without_its_traceback(kind: str) -> None:
    for error in (FilmwrightError(f"no {ESCAPES[kind]}\nnothing"), InputError(ESCAPES[kind])):
        assert not UNSAFE.search(str(error)) and "\n" not in str(error)
    assert len(str(InputError("x" * 10**6))) < 2100


EVENTS = [
    ("plan", {"title": "X", "shots": 1, "seconds": 1.0, "planner": "X"}), ("note", {"note": "X"}), ("warning", {"text": "X"}),
    ("call", {"model": "X", "for": "X", "sent_tokens": 1, "received_tokens": 1, "seconds": 1.0, "dollars": 0.0}),
    ("casting", {"drawn": ["X"]}), ("shot", {"position": 1, "of": 2, "shot": "X", "take": 1, "prompt": "X", "chunks": 3}),
    ("chunk", {"chunk": 1, "of": 3, "again": False, "frames": 4}), ("verdict", {"shot": "X", "action": "rewind", "reason": "X"}),
    ("take", {"shot": "X", "take": 1, "frames": 4, "spent_seconds": 1.0, "score": 0.5}), ("failed", {"shot": "X", "reason": "X"}),
    ("cut", {"frames": 4, "seconds": 1.0, "missing": ["X"]}),
]  # fmt: skip
MARKUP = [
    "[bold]x[/bold]",
    "[/]",
    "[link=http://evil]x",
    "[red",
    "[[x]]",
    ":smile:",
    "[@click=app.quit]x[/]",
    "{task.total}",
    "%s {0}",
]


def filled(values: object, text: str) -> object:
    """Values with a text in the place of every X."""
    if isinstance(values, dict):
        return {key: filled(value, text) for key, value in values.items()}
    if isinstance(values, list):
        return [filled(value, text) for value in values]
    return text if values == "X" else values


@pytest.mark.parametrize("text", [*ESCAPES.values(), *MARKUP, "a\nfilm: /tmp/evil"])
@pytest.mark.parametrize("display", [PlainDisplay, RichDisplay, QuietDisplay])
def test_no_event_reaches_a_terminal_as_it_is(display: type, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return display is RichDisplay

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "400")
    with display() if display is QuietDisplay else display(True) as shown:
        for kind, values in EVENTS:
            shown(Event(kind, filled(values, text)))  # type: ignore[arg-type]
    written = terminal.getvalue()
    ours = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", written) if display is RichDisplay else written
    assert not UNSAFE.search(ours)
    for sequence in ("\x1b]", "\x1b[31m", "\x1b[2J\x1b[H", "\x1bc", "\x1bP"):
        assert sequence not in written
    assert one_line(text) in ours if display is not QuietDisplay else "failed" in ours
    assert not any(line.startswith("film: ") for line in ours.splitlines())


def test_results_and_events_in_json_stay_json(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ESCAPES.values():
        JsonDisplay()(Event("note", {"note": text}))
        JsonDisplay().result("", title=text)
        Display().result(text)
        note, result, *plain = capsys.readouterr().out.split("\n", 2)
        assert json.loads(note)["note"] == text and json.loads(result)["title"] == text
        assert not UNSAFE.search(note + result + plain[0])


@pytest.mark.parametrize("kind", ESCAPES)
def test_tables_keep_every_shot_on_its_line(kind: str) -> None:
    text = f"{ESCAPES[kind]}\nfilm: /tmp/evil"
    shot = {"position": 1, "shot": "1A", "size": "MS", "seconds": 2.0, "state": "new", "take": 1, "score": 0.5, "verdict": text, "looked": True,
            "action": text, "why": [], "notes": [], "asks": [], "current_takes": [], "circled_by": "critic"}  # fmt: skip
    found = {
        "title": text,
        "seconds": 2.0,
        "generator": "theatre",
        "folder": "film",
        "shots": [shot],
        "film": None,
        "film_current": True,
    }
    lines = visible(status_table(found)).splitlines()
    assert [line for line in lines if line.startswith("film: ")] == ["film: not cut yet"]
    assert not any(UNSAFE.search(line) for line in lines)
    if kind != "half a pair":  # which no script holds
        assert len(shots_text(script(text, text, text)).split("\n")) == 2


def in_yaml(text: str) -> str:
    """A text in double quotes, every odd character as an escape."""
    return f'"{"".join(c if c.isalnum() and c.isascii() else chr(92) + f"U{ord(c):08x}" for c in text)}"'


def hostile_production(folder: Path, text: str) -> Production:
    """A planned film whose script.yaml says a text, escaped as YAML can, in every place that takes one."""
    production = Production.create(folder, "A fox ran.", Settings(generator="theatre"))
    quoted = in_yaml(text)
    production.script_path.write_text(
        f"title: {quoted}\nlogline: {quoted}\nentities:\n  - {{id: fox, kind: character, name: {quoted}}}\n  - {{id: wood, kind: location, name: {quoted}}}\n"
        f"scenes:\n  - id: s1\n    location: wood\n    summary: {quoted}\n    shots:\n      - id: 1A\n        seconds: 2\n        action: {quoted}\n        entities: [fox]\n"
        f"        notes: {quoted}\n        lines: [{{speaker: fox, text: {quoted}}}]\n",
        encoding="utf-8",
    )  # fmt: skip
    return production


@pytest.mark.parametrize("kind", [kind for kind in ESCAPES if kind != "half a pair"])
def test_the_commands_show_no_escape_of_a_script(kind: str, tmp_path: Path) -> None:
    production = hostile_production(tmp_path / "film", ESCAPES[kind])
    for command in ("check", "status"):
        for options in ([], ["--json"]):
            ran = CliRunner().invoke(app, [command, str(production.folder), *options])
            assert ran.exit_code == 0, ran.output
            assert not UNSAFE.search(ran.output)
    assert not UNSAFE.search(
        srt(production.read_script(), build_timeline(production.read_script(), open_generator("theatre").profile))
    )


@pytest.mark.parametrize("place", ["key", "value", *(["file"] if os.name != "nt" else [])])
def test_what_is_wrong_with_a_script_is_said_without_its_escapes(place: str, tmp_path: Path) -> None:
    for number, text in enumerate(ESCAPES.values()):
        name = re.sub("[\0\ud800-\udfff]", "", f"film{number}{text}") if place == "file" else f"film{number}"
        production = hostile_production(tmp_path / name.replace("/", "-"), "x")
        data = production.script_path.read_text(encoding="utf-8")
        broken = (
            f"{json.dumps(text)}: 1\n{data}"
            if place == "key"
            else data.replace("seconds: 2", f"seconds: {json.dumps(text)}")
        )
        production.script_path.write_text(broken, encoding="utf-8")
        ran = CliRunner().invoke(app, ["check", str(production.folder)])
        assert ran.exit_code == 2 and not UNSAFE.search(ran.stderr) and ran.stderr.count("\n") == 1, ran.stderr


def test_an_invisible_character_in_a_misspelt_key_is_seen(tmp_path: Path) -> None:
    production = hostile_production(tmp_path / "film", "x")
    text = production.script_path.read_text(encoding="utf-8")
    production.script_path.write_text(text.replace("logline", "log\u200bline"), encoding="utf-8")
    with pytest.raises(InputError, match=r"script\.yaml:2: 'log\\u200bline': unknown key"):
        production.read_script()


def test_templates_show_and_list_no_escape() -> None:
    folder = Path("filmwright-templates")
    folder.mkdir()
    for number, text in enumerate(text for kind, text in ESCAPES.items() if kind != "half a pair"):
        quoted = in_yaml(f"x {text}")
        (folder / f"t{number}.yaml").write_text(
            f"name: t{number}\ntitle: {quoted}\ndescription: {quoted}\nextends: three-act\nstyle: {quoted}\n"
            f"parameters:\n  hero: {{help: {quoted}, default: {quoted}}}\nguidance: {quoted}\n",
            encoding="utf-8",
        )
        for options in ([], ["--json"]):
            ran = CliRunner().invoke(app, ["templates", "show", f"t{number}", *options])
            assert ran.exit_code == 0 and not UNSAFE.search(ran.output), ran.output
    ran = CliRunner().invoke(app, ["templates", "list"])
    assert not UNSAFE.search(ran.output) and "malformed" not in ran.output


@pytest.mark.parametrize("kind", ESCAPES)
def test_a_log_line_holds_no_escape_and_reads_back_the_same(kind: str, tmp_path: Path) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    production.log("verdict", reason=ESCAPES[kind], deep=[{"prompt": ESCAPES[kind]}])
    text = production.log_path.read_text(encoding="utf-8")
    assert not UNSAFE.search(text) and text.count("\n") == 1
    assert production.read_log()[0]["reason"] == ESCAPES[kind]
    old = json.dumps(
        {"event": "note", "note": ESCAPES[kind]}, ensure_ascii=kind == "half a pair"
    )  # as it was written before
    production.log_path.write_text(f"{old}\n", encoding="utf-8")
    assert production.read_log() == [{"event": "note", "note": ESCAPES[kind]}]


def test_bytes_of_a_name_stay_for_programs_and_those_that_steer_a_terminal_do_not() -> None:
    from filmwright.storyboard.plain_text import printable

    assert printable("f\udcff/film.mp4") == "f\udcff/film.mp4"
    assert printable("f\udc9b31m \x1b[2J") == "f\\udc9b31m \\x1b[2J"
