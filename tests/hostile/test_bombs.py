"""Small files that would grow: YAML of strangers and script templates are refused before anything is built of them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from filmwright.agents.models.language import BadAnswer, Message, ask
from filmwright.agents.models.scripted import Said, ScriptedModel
from filmwright.agents.writer.passes import Digest, Outline
from filmwright.agents.writer.store import PassStore
from filmwright.cli import app
from filmwright.generator.memory import parse_memory
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.production import MAX_SCRIPT_BYTES, Production, Settings
from filmwright.storyboard.yaml_files import parse_yaml
from filmwright.templates.loader import load_template
from filmwright.training.recipe import read_recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner

BOMBS = Path(__file__).parent.parent / "data" / "bombs"


def chained(length: int, width: int = 1) -> str:
    """Every list holds the one before it, `width` times."""
    lists = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, length)]
    return "\n".join(["a0: &a0 [x]", *lists, ""])


YAML_BOMBS = {
    "aliases": ((BOMBS / "aliases.yaml").read_text(encoding="utf-8"), r":4: aliases stand for more than 10,000 values"),
    "aliases of texts": (f"a: &a {'x' * 90_000}\nb: [{'*a, ' * 100}]\n", r":2: aliases stand for more than 10,000"),
    "aliases in keys": (f"{chained(9, 9)}b: {{ x: *a8 }}\n", r":5: aliases stand for more than 10,000"),
    "chain of aliases": (chained(120), r":40: nested more than 40 deep"),
    "alias of itself": ("title: &a [*a]\n", r":1: alias \*a stands inside what it names"),
    "alias of what is around": ("a: &a\n  b: {c: [*a]}\n", r":2: alias \*a stands inside what it names"),
    "lists": ((BOMBS / "deep.yaml").read_text(encoding="utf-8"), r":1: nested more than 40 deep"),
    "mappings": ("{a: " * 3000, r":1: nested more than 40 deep"),
    "indented": ("".join(f"{' ' * i}a:\n" for i in range(300)), r":41: nested more than 40 deep"),
    "dashes": ("- " * 900 + "x\n", r":1: nested more than 40 deep"),
    "question marks": ("? " * 900 + "x\n", r":1: a list or a mapping cannot be a key"),
    "list as a key": ("? [a, {b: c}]\n: 1\n", r":1: a list or a mapping cannot be a key"),
    "alias as a key": ("a: &a [x]\n*a : 1\n", r":2: a list or a mapping cannot be a key"),
    "many values": (f"a: [{'x,' * (MAX_SCRIPT_BYTES // 3)}]\n", r":1: more than 800,000 values"),
    "long text": (f"title: {'x' * 150_000}\n", r":1: a text of 150,000 characters: at most 100,000"),
    "long block": ("a: 1\ntitle: |\n" + "  xxxxxxx\n" * 15_000, r":2: a text of 120,000 characters"),
    "long number": (f"title: {'9' * 5000}\n", r":1: a number of 5,000 digits: at most 40"),
    "long hex number": (f"title: 0x{'f' * 50_000}\n", r":1: a number of 50,002 digits"),
    "long fraction": (f"title: 1.{'0' * 500}e5\n", r":1: a number of 504 digits"),
    "same key twice": ("title: a\nlogline: b\ntitle: c\n", r":3: not valid YAML \(found duplicate key \"title\""),
    "python tag": ("title: !!python/object/apply:os.system [ls]\n", r":1: tag !!python/object/apply:os.system is not read"),
    "binary tag": ("a: 1\ntitle: !!binary aGk=\n", r":2: tag !!binary is not read here"),
    "integer tag": ("title: !!int abc\n", r":1: tag !!int is not read here"),
    "set tag": ("title: !!set {a, b}\n", r":1: tag !!set is not read here"),
    "own tag": ("title: !vault x\n", r":1: tag !vault is not read here"),
    "tag by a handle": ("%TAG !p! tag:yaml.org,2002:python/\n---\ntitle: !p!object:os.system x\n", r":3: tag !!python/object:os.system"),
    "merge key": ("a: &a {x: 1}\nb:\n  <<: *a\n", r":3: merge key '<<' is not read here"),
    "merge of nothing": ("b:\n  <<: 3\n", r":2: merge key '<<'"),
    "escape beyond Unicode": ('title: "\\UFFFFFFFF"\n', r":1: not valid YAML"),
    "half a surrogate pair": ('a: 1\ntitle: "\\uD800"\n', r":2: half of a surrogate pair"),
    "control character": ("a: 1\nb: 2\ntitle: \x1b[31m\n", r":3: not valid YAML \(unacceptable character #x001b"),
    "version of many digits": (f"%YAML 1.{'9' * 5000}\n---\na: 1\n", r":1: not valid YAML"),
    "two documents": ("title: a\n---\ntitle: b\n", r":2: not valid YAML"),
    "alias of nothing": ("title: *nobody\n", r":1: not valid YAML \(found undefined alias 'nobody'\)"),
    "unclosed": ("title: [a,\n", r":2: not valid YAML"),
}  # fmt: skip


def refused(text: str, path: Path, says: str, read: Any) -> None:
    """Checks that a file is refused on one line that names it, its line and the limit."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"{path.name}{says}") as caught:
        read()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("name", YAML_BOMBS)
def test_a_bomb_as_script_is_refused_and_changes_nothing(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "film"
    production = Production.create(folder, "A fox ran.", Settings(generator="theatre"))
    text, says = YAML_BOMBS[name]
    refused(text, production.script_path, says, production.read_script)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in (["check", str(folder)], ["status", str(folder)], ["shoot", str(folder), "--dry-run"]):
        ran = CliRunner().invoke(app, command)
        assert ran.exit_code == 2 and ran.stderr.startswith("filmwright: ") and ran.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", [name for name in YAML_BOMBS if name != "many values"])
def test_every_other_file_has_the_same_guard(name: str, tmp_path: Path) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    text, says = YAML_BOMBS[name]
    refused(text, production.settings_path, says, production.read_settings)
    path = tmp_path / "mine.yaml"
    for read in (load_template, parse_memory, read_recipe, lambda name: ScriptedModel.read(Path(name))):
        refused(text, path, says, lambda read=read: read(str(path)))
    (tmp_path / "outline.yaml").write_text(text, encoding="utf-8")
    assert PassStore(tmp_path).get("outline", "asked", Outline) is None  # damaged: asked for anew


def test_small_files_hold_fewer_values(tmp_path: Path) -> None:
    for read in (load_template, parse_memory, read_recipe):
        text = f"a: [{'x,' * 50_000}]\n"
        refused(
            text,
            tmp_path / "mine.yaml",
            ":1: more than 20,000 values",
            lambda read=read: read(str(tmp_path / "mine.yaml")),
        )


@pytest.mark.parametrize("name", ["aliases", "lists", "many values", "long text", "chain of aliases"])
def test_the_limits_hold_without_libyaml(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    text, says = YAML_BOMBS[name]
    with pytest.raises(InputError, match=says.replace("800,000", "20,000")):
        parse_yaml(text[:150_000] if name == "many values" else text, "film.yaml")


@pytest.mark.parametrize("text", ["", "- a\n", "hello\n", "3\n", "null\n"])
def test_settings_that_are_no_mapping_are_refused_or_none(text: str, tmp_path: Path) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    production.settings_path.write_text(text, encoding="utf-8")
    if text in ("", "null\n"):
        assert production.read_settings() == Settings(seed_version=1)
    else:
        with pytest.raises(InputError, match=r"production\.yaml:1: "):
            production.read_settings()


SCRIPT = """\
title: 2001-01-01  # a date, and a title
entities:
  - {id: fox, kind: character, name: &fox Finn, description: a red fox}  # the hero
  - {id: bear, kind: character, name: Bruno}
  - {id: wood, kind: location, name: the wood}
scenes:
  - id: s1
    location: wood
    shots:
      - id: 1A
        seconds: 2.50
        entities: &both [fox, bear]
        lines: [{speaker: fox, text: *fox}]
      - {id: 1B, seconds: 2, entities: *both}
      - {id: 1C, seconds: 2, entities: *both}  # the end
"""


def test_a_few_aliases_and_a_date_as_title_are_read_as_they_are_meant(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    production.script_path.write_text(SCRIPT, encoding="utf-8")
    script = production.read_script()
    assert script.title == "2001-01-01" and [shot.entities for shot in script.shots()] == [["fox", "bear"]] * 3
    assert next(script.shots()).lines[0].text == "Finn"


def test_a_rewrite_keeps_comments_and_aliases_and_changes_one_place_alone(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    production.script_path.write_text(SCRIPT, encoding="utf-8")
    script = production.read_script()
    production.write_script(script)
    assert production.script_path.read_text(encoding="utf-8").count("*both") == 2
    first = script.scenes[0].shots[0]
    script.scenes[0].shots[0] = first.model_copy(update={"entities": ["fox"]})
    production.write_script(script)
    assert production.read_script() == script
    text = production.script_path.read_text(encoding="utf-8")
    for comment in ("# a date, and a title", "# the hero", "# the end"):
        assert comment in text


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_what_is_written_reads_back_the_same_however_long(values: list[Any]) -> None:
    for repeated in (
        values,
        values * (6000 // (len(repr(values)) + 1) + 1),
    ):  # the longer one is counted by libyaml first
        out = io.StringIO()
        yaml = YAML()
        yaml.allow_unicode = True
        yaml.dump({"values": repeated}, out)
        assert parse_yaml(out.getvalue(), "film.yaml", MAX_SCRIPT_BYTES) == {"values": repeated}


@pytest.mark.parametrize("answer", ["[" * 100_000, '{"a":' * 100_000, f'{{"word": "x", "number": {"9" * 5000}}}'])
def test_an_answer_of_a_model_that_cannot_be_read_is_a_bad_answer(answer: str) -> None:
    model = ScriptedModel("scripted:x", [Said(**{"for": "Digest", "text": answer})])
    with pytest.raises(BadAnswer, match="in two tries: not JSON"):
        ask(model, [Message("user", "Shorten it.")], Digest)
