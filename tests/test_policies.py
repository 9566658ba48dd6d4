"""How memory policies are written, read, and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from filmwright.generator.memory import PRESETS, parse_memory
from filmwright.storyboard.errors import InputError


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        ("window(3)+window(2)", "names window twice"),
        ("window(0)", "window chunks=0 is out of range"),
        ("window", "window needs a number"),
        ("routed(5)+window(3)+absolute", "routed has no absolute position"),
        ("compressed+window(2)", "window and compressed both hold the newest frames"),
        ("chunk(3)", "holds nothing"),
        ("sink(3)+recache", "recache writes the window anew"),
        ("shots(3,noise=1000)", "noise=1000 is out of range"),
        ("routed(5,pol=3)", "takes frames, pool, tier; 'pol' does not fit"),
        ("routed(5,tier=disk)", "choose auto, device or host"),
        ("nowhere.yaml", "does not exist"),
    ],
)
def test_impossible_memories_are_refused_by_name(memory: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(").replace(")", r"\)")) as caught:
        parse_memory(memory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "memory",
    [
        *PRESETS,
        "sink(2)+routed(2)+window(1)",
        "shots(2,noise=200)+compressed(1,2,5,noise=50)",
        "routed(3,tier=host)+window(1)",
        "routed(5,pool=2GB)",
        "window(2)+absolute",
        "compressed(1,2,8)",
    ],
)
def test_a_memory_is_what_it_is_written_as(memory: str) -> None:
    parsed = parse_memory(memory)
    assert parse_memory(str(parsed)) == parsed


def test_the_presets_span_what_the_papers_say() -> None:
    spans = {name: parse_memory(name).span(parse_memory(name).chunk or 3) for name in PRESETS}
    assert spans == {"causalcine": 17, "filmweaver": 28, "adastate": 7, "longlive": 12, "self-forcing": 21, "full": 21}


def test_a_memory_can_be_a_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("window: 3\nrouted: {frames: 5, pool: 2GB}\nchunk: 6\n", encoding="utf-8")
    assert parse_memory(str(path)) == parse_memory("routed(5,pool=2GB)+window(3)+chunk(6)")
    path.write_text("windw: 3\n", encoding="utf-8")
    with pytest.raises(InputError, match="'windw' is unknown"):
        parse_memory(str(path))
