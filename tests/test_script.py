from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.production import Production, Settings
from filmwright.storyboard.script import Script
from pydantic import ValidationError


def script_data(**shot: Any) -> dict[str, Any]:
    return {
        "title": "T",
        "entities": [
            {"id": "fox", "kind": "character", "name": "fox", "description": "a red plain fox"},
            {"id": "forest", "kind": "location", "name": "forest"},
        ],
        "scenes": [
            {"id": "s1", "location": "forest", "shots": [{"id": "1A", "seconds": 2.0, "entities": ["fox"], **shot}]}
        ],
    }


def refused(data: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Script.model_validate(data)
    return str(caught.value)


def test_an_unknown_key_is_refused() -> None:
    assert "sizes" in refused(script_data(sizes="CU"))


@pytest.mark.parametrize("seconds", [0, -1, 61, float("nan"), float("inf")])
def test_impossible_seconds_are_refused(seconds: float) -> None:
    assert "seconds" in refused(script_data(seconds=seconds))


def test_an_unknown_entity_is_named() -> None:
    assert "'wolf' is unknown" in refused(script_data(entities=["wolf"]))


def test_ids_are_unique_ignoring_case() -> None:
    data = script_data()
    data["scenes"][0]["shots"].append({"id": "1a", "seconds": 1.0})
    assert "used twice" in refused(data)


@pytest.mark.parametrize("bad", ["../x", "a b", "", "ä", "x" * 65, ".hidden"])
def test_ids_cannot_leave_their_folder(bad: str) -> None:
    assert "id" in refused(script_data(id=bad))


def test_a_scene_needs_a_location() -> None:
    data = script_data()
    data["scenes"][0]["location"] = "fox"
    assert "not an entity of kind location" in refused(data)


def test_a_prompt_change_lies_inside_its_shot() -> None:
    assert "beyond" in refused(script_data(prompt_changes=[{"at_seconds": 2.5, "action": "runs"}]))


def test_comments_survive_a_rewrite(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "p", "story", Settings())
    production.write_script(Script.model_validate(script_data()))
    path = tmp_path / "p" / "script.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("title: T", "title: T  # keep me"), encoding="utf-8")
    script = production.read_script()
    script.title = "Another"
    production.write_script(script)
    assert re.search(r"^title: Another +# keep me$", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_errors_of_a_hand_edited_script_name_file_place_and_value(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "p", "story", Settings())
    production.write_script(Script.model_validate(script_data()))
    path = tmp_path / "p" / "script.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("seconds: 2.0", "seconds: -2"), encoding="utf-8")
    with pytest.raises(InputError, match=r"script\.yaml:15: scenes\.0\.shots\.0\.seconds: .*-2"):
        production.read_script()


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "p", "story", Settings())
    (tmp_path / "p" / "script.yaml").write_text("title: [\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"script\.yaml:2: not valid YAML"):
        production.read_script()


def test_no_path_leaves_the_production(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "p", "story", Settings())
    (tmp_path / "outside").mkdir()
    (tmp_path / "p" / "link").symlink_to(tmp_path / "outside")
    for path in ("../outside/x", "/etc/passwd", "link/x"):
        with pytest.raises(InputError, match="leaves the production"):
            production.inside(path)


def test_a_folder_with_another_film_is_refused(tmp_path: Path) -> None:
    Production.create(tmp_path / "p", "story", Settings())
    with pytest.raises(InputError, match="holds another film"):
        Production.create(tmp_path / "p", "story", Settings())
