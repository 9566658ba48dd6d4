"""Renaming an entity, and what `check` and `export` say of a script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filmwright.cli import app
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.production import Production
from filmwright.storyboard.rename import rename_entity, still_called
from filmwright.storyboard.script import Script
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.exit_code}: {result.output}\n{result.exception!r}"
    return result


def script(**shot: object) -> Script:
    return Script.model_validate(
        {
            "title": "The Fox and the Foxglove",
            "logline": "A fox is hungry.",
            "entities": [
                {"id": "wood", "kind": "location", "name": "wood"},
                {
                    "id": "fox",
                    "kind": "character",
                    "name": "fox",
                    "description": "a red fox",
                    "changes": {"1A": "the fox limps"},
                },
                {"id": "crow", "kind": "character", "name": "crow", "description": "not a fox"},
            ],
            "scenes": [
                {
                    "id": "s1",
                    "location": "wood",
                    "summary": "The fox meets the crow.",
                    "shots": [
                        {
                            "id": "1A",
                            "seconds": 3,
                            "action": "The fox's tail; THE FOX runs past foxgloves.",
                            "entities": ["fox"],
                            "lines": [{"speaker": "crow", "text": "Fox, go away!"}],
                            "prompt_changes": [{"at_seconds": 1.5, "action": "fox sits"}],
                            **shot,
                        }
                    ],
                }
            ],
        }
    )


def test_a_name_changes_in_every_text_and_the_id_stays() -> None:
    renamed = rename_entity(script(notes="keep the fox left"), "fox", "Renard")
    shot = next(renamed.script.shots())
    assert shot.action == "The Renard's tail; THE RENARD runs past foxgloves."
    assert shot.lines[0].text == "Renard, go away!" and shot.prompt_changes[0].action == "Renard sits"
    assert shot.notes == "keep the Renard left" and shot.entities == ["fox"]
    fox = renamed.script.entity("fox")
    assert (fox.name, fox.description, fox.changes) == ("Renard", "a red fox", {"1A": "the fox limps"})
    assert renamed.script.title == "The Renard and the Foxglove"
    assert renamed.places[0] == "entity fox: name"
    assert "shot 1A: prompt change at 1.5 s: action" in renamed.places


def test_a_name_that_is_no_common_noun_changes_in_descriptions_too() -> None:
    story = script(action="Anna waits.")
    story.entity("fox").name, story.entity("fox").description = "Anna", "a woman in Anna's coat"
    assert rename_entity(story, "Anna", "Berta").script.entity("fox").description == "a woman in Berta's coat"


def test_a_name_that_was_changed_by_hand_in_one_place_is_carried_through() -> None:
    half = script()
    half.entity("fox").name = "Renard"
    assert still_called(half) == {"fox": ["1A"]}
    renamed = rename_entity(half, "fox", "Renard").script
    assert "Renard's tail" in next(renamed.shots()).action
    assert still_called(renamed) == {}


def test_a_name_in_a_script_without_blanks_is_found() -> None:
    story = script(action="狐狸跑进森林。")
    story.entity("fox").name = "狐狸"
    assert next(rename_entity(story, "狐狸", "小红").script.shots()).action == "小红跑进森林。"


@pytest.mark.parametrize("new", ["crow", "CROW", "wood", " "])
def test_another_entitys_name_or_none_is_refused(new: str) -> None:
    with pytest.raises(InputError, match="cannot be a name"):
        rename_entity(script(), "fox", new)


@given(st.text(st.characters(categories=["L"]), min_size=1, max_size=12))
def test_any_name_can_be_given_and_is_a_valid_script(name: str) -> None:
    try:
        renamed = rename_entity(script(), "fox", name)
    except InputError:
        return
    Script.model_validate(renamed.script.model_dump())
    assert renamed.script.entity("fox").name == name


def test_the_command_renames_in_the_file_and_keeps_its_comments(tmp_path: Path, story: str) -> None:
    run("plan", story, "--generator", "theatre", "-o", "film", "--seconds", "6")
    path = tmp_path / "film" / "script.yaml"
    path.write_text("# my film\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    run("rename", "film", "Fox", "Renard")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# my film") and "Renard" in text and "fox came" not in text
    assert "nothing says" in run("rename", "film", "Renard", "Renard").stdout
    assert "names nobody" in run("rename", "film", "wolf", "Wulf", code=2).output


def test_check_says_where_every_shot_and_prompt_change_stands(tmp_path: Path, story: str) -> None:
    run("plan", story, "--generator", "theatre", "-o", "film", "--seconds", "12")
    production = Production.open(tmp_path / "film")
    edited = production.read_script()
    first = next(edited.shots())
    first.seconds = 6.0
    first.prompt_changes = script().scenes[0].shots[0].prompt_changes
    edited.entity("fox").name = "Renard"
    production.write_script(edited)
    found = json.loads(run("check", "film", "--json").stdout)
    lines = (tmp_path / "film" / "script.yaml").read_text(encoding="utf-8").splitlines()
    for shot in found["shots"]:
        assert lines[shot["line"] - 1].split() == ["-", "id:", shot["shot"]]
    assert found["shots"][0]["prompt_changes"] == [{"at_seconds": 1.5, "chunk": 2, "action": "fox sits"}]
    said = run("check", "film").stdout
    assert "at 1.5 s, from chunk 3 on: fox sits" in said
    assert "filmwright rename film fox 'Renard'" in said


def test_a_script_that_is_wrong_is_told_with_its_line(tmp_path: Path, story: str) -> None:
    run("plan", story, "--generator", "theatre", "-o", "film", "--seconds", "6")
    path = tmp_path / "film" / "script.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    number = next(i for i, line in enumerate(lines) if line.strip().startswith("size:"))
    lines[number] = lines[number].split(":")[0] + ": HUGE"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert f"script.yaml:{number + 1}: " in run("check", "film", code=2).output


def test_a_screenplay_goes_to_standard_output(tmp_path: Path, story: str) -> None:
    run("plan", story, "--generator", "theatre", "-o", "film", "--seconds", "6")
    run("export", "fountain", "film")
    written = (tmp_path / "film" / "film.fountain").read_text(encoding="utf-8")
    assert run("export", "fountain", "film", "-o", "-").stdout == written
    assert not Path("-").exists()
