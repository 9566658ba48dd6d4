"""Screenplays in Fountain: any is read, ours reads back the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from filmwright.agents.screenplay import plan_screenplay
from filmwright.cli import app
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.fountain import is_fountain, read_fountain, write_fountain
from filmwright.storyboard.production import Production
from filmwright.storyboard.script import Script
from filmwright.templates.loader import load_template
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from .test_script import script_data

SCREENPLAY = """\
Title: The Lamp
Author: Somebody

# Act one

INT. LIGHTHOUSE - NIGHT #1#

= The lamp breaks.

ADA, a grey-haired keeper in a blue coat, climbs the stairs with a LANTERN.

ADA
(out of breath)
Not tonight.

The lamp goes dark. /* cut this? */ [[ask the props people]]

BEN (O.S.)
Is it out?

ADA
It is out.

BEN
Then row.

> DISSOLVE TO:

EXT. SEA - STORM

A boat in the waves. Ada rows.

~Row, row

EST. THE SHORE

"""
TEMPLATE = load_template("three-act")


def plan(text: str, seconds: float = 20.0) -> Script:
    return plan_screenplay(text, template=TEMPLATE, seconds=seconds)


def test_a_screenplay_keeps_its_scenes_its_words_and_its_speakers() -> None:
    script = plan(SCREENPLAY)
    assert script.title == "The Lamp"
    assert [(s.heading, script.entity(s.location).name, s.time) for s in script.scenes] == [
        ("INT", "Lighthouse", "night"), ("EXT", "Sea", "storm"),
    ]  # fmt: skip
    first, second = script.scenes
    assert first.summary == "The lamp breaks."
    assert [shot.action for shot in first.shots] == [
        "ADA, a grey-haired keeper in a blue coat, climbs the stairs with a LANTERN.", "The lamp goes dark.", "They talk.",
    ]  # fmt: skip
    said = [(line.speaker, line.text) for shot in first.shots for line in shot.lines]
    assert said == [("ada", "Not tonight."), ("ben", "Is it out?"), ("ada", "It is out."), ("ben", "Then row.")]
    assert script.entity("ada").description == "a grey-haired keeper in a blue coat"
    assert "person" in script.entity("ben").description
    assert second.shots[0].transition_in == "dissolve" and second.shots[0].entities == ["ada"]
    assert script.seconds() == pytest.approx(20.0, abs=0.1)


def test_an_exported_script_reads_back_the_same() -> None:
    script = Script.model_validate(script_data())
    back = plan(write_fountain(script))
    assert [s.model_dump(exclude={"notes", "prompt_changes", "lens"}) for s in back.shots()] == [
        s.model_dump(exclude={"notes", "prompt_changes", "lens"}) for s in script.shots()
    ]
    assert [(e.id, e.kind, e.name, e.description) for e in back.entities] == [
        (e.id, e.kind, e.name, e.description) for e in script.entities
    ]
    assert [(s.heading, s.location, s.time) for s in back.scenes] == [
        (s.heading, s.location, s.time) for s in script.scenes
    ]


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
@settings(max_examples=80, deadline=None)
def test_whatever_is_said_and_done_survives_the_way_out_and_back(action: str, line: str) -> None:
    if not any(c.isalnum() for c in action) or not any(c.isalnum() for c in line):
        return
    data = script_data()
    data["scenes"][0]["shots"][0]["action"] = "Then " + action
    script = Script.model_validate(data)
    text = write_fountain(script)
    assert is_fountain(text)
    assert len(list(plan(text).shots())) == len(list(script.shots()))


def test_a_strangers_note_takes_nothing_away() -> None:
    script = plan("INT. HOUSE - DAY\n\nA door.\n\n> DISSOLVE TO:\n\n[[a note to the editor]]\n\nA window.\n")
    assert [shot.transition_in for shot in script.shots()] == ["cut", "dissolve"]


def test_prose_is_no_screenplay_and_a_screenplay_is_no_prose() -> None:
    assert is_fountain(SCREENPLAY)
    assert not is_fountain("A fox ran. INT. is short for interior.")
    assert not is_fountain("Int. he said")
    for path in (Path(__file__).parent / "stories").glob("*.txt"):
        assert not is_fountain(path.read_text(encoding="utf-8")), path


def test_what_is_wrong_with_a_screenplay_is_said_with_its_line() -> None:
    with pytest.raises(InputError, match="no scene with anything in it"):
        read_fountain("INT. HOUSE - DAY\n\n")
    with pytest.raises(InputError, match="screenplay: id: String should match"):
        plan("INT. HOUSE - DAY\n\n[[shot 1.A: 2 s; MS; eye; static; cut; new; ]]\n\nA door.\n")
    with pytest.raises(InputError, match="entity 'ghost' is unknown"):
        plan("INT. HOUSE - DAY\n\n[[shot 1A: 2 s; MS; eye; static; cut; new; ghost]]\n\nA door.\n")
    with pytest.raises(InputError, match=r"line \d+ of the screenplay: 'XXL' is none of"):
        read_fountain("INT. HOUSE - DAY\n\n[[shot 1A: 2 s; XXL; eye; static; cut; new; ]]\n\nA door.\n")


def test_a_screenplay_becomes_a_plan_and_goes_out_again(tiny_bundle: Path) -> None:
    Path("lamp.fountain").write_text(SCREENPLAY, encoding="utf-8")
    runner = CliRunner()
    planned = runner.invoke(app, ["plan", "lamp.fountain", "-o", "lamp", "--generator", str(tiny_bundle)])
    assert planned.exit_code == 0, planned.output
    assert "by the screenplay" in planned.output
    exported = runner.invoke(app, ["export", "fountain", "lamp"])
    assert exported.exit_code == 0, exported.output
    again = runner.invoke(app, ["plan", "lamp/film.fountain", "-o", "again", "--generator", str(tiny_bundle)])
    assert again.exit_code == 0, again.output
    one, two = (Production(Path(name)).read_script() for name in ("lamp", "again"))
    assert list(one.shots()) == list(two.shots()) and one.entities == two.entities
