"""Names that Windows keeps for devices: refused in a script, and never made by a planner."""

from __future__ import annotations

from pathlib import Path

import pytest
from filmwright.agents.planning import make_folder
from filmwright.agents.rules.planner import RulesPlanner, slug
from filmwright.agents.screenplay import plan_screenplay
from filmwright.agents.writer.passes import Cast
from filmwright.cli import app
from filmwright.storyboard.device_names import is_device_name
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.production import Production, Settings
from filmwright.templates.loader import load_template
from pydantic import ValidationError
from typer.testing import CliRunner

NAMES = ["con", "CON", "Nul", "prn", "AUX", "com1", "COM9", "lpt1", "LPT9", "com0"]
FREE = ["con1", "con-1", "console", "com", "com10", "lpt", "nullity", "auxiliary", "a-con", "12A"]
SCRIPT = """\
title: T
entities:
  - {id: ENTITY, kind: character, name: Finn}
  - {id: wood, kind: location, name: wood}
scenes:
  - id: SCENE
    location: wood
    shots:
      - {id: SHOT, seconds: 2, entities: [ENTITY]}
"""


def written(folder: Path, **ids: str) -> Production:
    production = Production.create(folder, "A fox ran.", Settings())
    text = SCRIPT
    for place, default in (("ENTITY", "fox"), ("SCENE", "s1"), ("SHOT", "1A")):
        text = text.replace(place, ids.get(place, default))
    production.script_path.write_text(text, encoding="utf-8")
    return production


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("place", "line"), [("ENTITY", 3), ("SCENE", 6), ("SHOT", 9)])
def test_a_device_name_as_id_is_refused_on_one_line(name: str, place: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"script\.yaml:{line}: .*'{name}' is a name that Windows keeps for a device"):
        written(tmp_path / "film", **{place: name}).read_script()


def test_names_that_only_begin_like_one_are_free(tmp_path: Path) -> None:
    for number, name in enumerate(FREE):
        assert not is_device_name(name)
        written(tmp_path / f"film{number}", ENTITY=name).read_script()
    assert is_device_name("com\u00b9") and is_device_name("lpt\u00b3.txt") and is_device_name("nul.tar.gz")


@pytest.mark.parametrize("name", [*NAMES, "com\u00b9", "Com\u00b2", " con ", "NUL!"])
def test_no_slug_is_a_device_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_device_name(slug(name, "film")) and not is_device_name(make_folder(f"{name}\n\nA fox ran.").name)
    template = load_template("three-act")
    story = f"{name}\n\nThere was a fox called {name.strip().capitalize()}. {name.strip().capitalize()} ran to the sea. {name.strip().capitalize()} said hello."
    ids = [entity.id for entity in RulesPlanner().plan(story, template=template, seconds=12, seed=0).entities]
    play = f"INT. {name.upper()} - DAY\n\nA man walks.\n\n{name.upper()}\nHello.\n"
    ids += [entity.id for entity in plan_screenplay(play, template=template, seconds=12).entities]
    assert ids and not any(map(is_device_name, ids))


@pytest.mark.parametrize(
    "note", ["[[entity con (character) Con: a man]]", "[[shot NUL: 2 s; MS; eye; static; cut; new; ]]"]
)
def test_a_note_of_a_screenplay_with_a_device_name_is_refused(note: str) -> None:
    with pytest.raises(InputError, match="Windows keeps for a device"):
        plan_screenplay(f"INT. ROOM - DAY\n\n{note}\n\nA man walks.\n", template=load_template("three-act"), seconds=12)


def test_a_model_is_told_to_choose_another_id() -> None:
    with pytest.raises(ValidationError, match="Windows keeps for a device: choose another, such as con-a"):
        Cast.model_validate({"entities": [
            {"id": "con", "kind": "character", "name": "Con", "description": "a man"},
            {"id": "wood", "kind": "location", "name": "wood", "description": "firs"},
        ]})  # fmt: skip


def test_no_template_is_named_after_a_device() -> None:
    ran = CliRunner().invoke(app, ["templates", "new", "con", "--beats", "a, b"])
    assert (
        ran.exit_code == 2 and "Windows keeps for a device" in ran.stderr and not Path("filmwright-templates").exists()
    )
