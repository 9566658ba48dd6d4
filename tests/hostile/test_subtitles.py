"""What lines and names of strangers may put into film.srt: text alone."""

from __future__ import annotations

import pytest
from filmwright.storyboard.exports import srt, subtitle_text
from filmwright.storyboard.script import Script
from filmwright.storyboard.stage import open_generator
from filmwright.storyboard.timeline import build_timeline


def subtitled(name: str, line: str) -> list[str]:
    """The lines of film.srt of a film in which somebody says one thing."""
    script = Script.model_validate({
        "title": "T",
        "entities": [{"id": "fox", "kind": "character", "name": name}, {"id": "wood", "kind": "location", "name": "wood"}],
        "scenes": [{"id": "s1", "location": "wood", "shots": [{"id": "1A", "seconds": 3, "lines": [{"speaker": "fox", "text": line}]}]}],
    })  # fmt: skip
    return srt(script, build_timeline(script, open_generator("theatre").profile)).split("\n")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<b>hi</b>", "hi"), ("<font color='red'>x</font>", "x"), ("{\\an8}top", "top"), ("{\\pos(1,2)\\c&H0&}x", "x"), ("<i>", ""),
        ("<<b>b>x<</b>/b>", "x"), ("{\\{\\an8}an8}x", "x"), ("{{\\b1}\\an8}x", "x"), ("{y:i}x", "x"), ("<v Bob>x", "x"), ("<00:01.000>y", "y"),
        ("<c.red>x</c>", "x"), ("<!-- x -->y", "y"), ("<script src=x>y", "y"), ("{\\an8", "{an8"), ("{\\\\an8", "{an8"),
        ("one\n\ntwo", "one two"), ("1\n\n2\n00:00:01,000 --> 00:00:02,000\nx", "1 2 00:00:01,000 → 00:00:02,000 x"), ("a\u2028\u2029\x0b\x0cb", "a b"),
        ("I <3 you", "I <3 you"), ("a < b and c > d", "a < b and c > d"), ("{smile}", "{smile}"), ("fish & chips", "fish & chips"), ("[sigh]", "[sigh]"),
    ],
)  # fmt: skip
def test_subtitles_hold_text_alone(said: str, shown: str) -> None:
    assert subtitle_text(said) == shown
    lines = subtitled("Finn", said)
    assert lines == (["1", lines[1], f"Finn: {shown}", "", ""] if shown else [""])
    assert subtitled(said, "Hello.")[2:] == [f"{shown}: Hello." if shown else ": Hello.", "", ""]


def test_markup_that_a_name_and_a_line_make_together_is_found() -> None:
    assert subtitled("<b", ">x")[2] == "x"


@pytest.mark.parametrize("line", ["مرحبا بالعالم", "👩‍👩‍👧 नमस्ते", "e\u0301te\u0301", "你好，世界"])
def test_letters_of_every_script_are_said_as_they_are(line: str) -> None:
    assert subtitled("Finn", line)[2] == f"Finn: {line}"
