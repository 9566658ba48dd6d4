"""Script templates: what may stand in them, where they come from, and the guide's examples."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from filmwright.agents.tryout import try_out
from filmwright.cli import app
from filmwright.storyboard.errors import InputError
from filmwright.templates.loader import load_template, template_names
from filmwright.templates.wording import check_wording, render_wording
from typer.testing import CliRunner

GUIDE = (Path(__file__).parent.parent / "docs" / "templates.md").read_text(encoding="utf-8")
SHIPPED = {
    "three-act", "kishotenketsu", "heros-journey", "fable", "documentary", "commercial-30s", "music-video", "trailer",
}  # fmt: skip
TEMPLATE = """\
name: mine
title: Mine
description: A test.
parameters:
  hero: {help: Who it is about., default: a fox}
  loud: {help: Whether it is loud., default: false}
style: about {{ hero }}
acts:
  - name: all
    beats:
      - {name: start, summary: "{{ hero }} wakes.", share: 0.5, pattern: [act]}
      - {name: end, summary: It ends., share: 0.5, pattern: [act]}
grammar:
  act: {sizes: [MS], movements: [static]}
"""


def put(text: str, name: str = "mine", folder: str = "filmwright-templates") -> Path:
    path = Path(folder) / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_at_least_eight_come_along_and_every_one_gives_each_beat_a_shot() -> None:
    assert set(template_names()) >= SHIPPED
    for name in SHIPPED:
        for found in try_out(load_template(name)):
            assert found["coverage"] == 1.0, (name, found)
            assert found["seconds"] == pytest.approx(found["asked_seconds"], rel=0.1)


def test_parameters_are_filled_in_by_type() -> None:
    put(TEMPLATE)
    assert load_template("mine").style == "about a fox"
    assert load_template("mine", {"hero": "Ada"}).beats[0].summary == "Ada wakes."
    with pytest.raises(InputError, match="is no bool: Whether it is loud"):
        load_template("mine", {"loud": "very"})
    with pytest.raises(InputError, match="has no such parameter; it has hero, loud"):
        load_template("mine", {"colour": "red"})


def test_a_template_goes_on_from_another_and_the_project_goes_before_the_shipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(
        "name: short\ntitle: Short\ndescription: Quick.\nextends: three-act\nshot_seconds: 1.0\ngrammar:\n  act: {sizes: [CU], movements: [static]}\n",
        "short",
    )
    short, base = load_template("short"), load_template("three-act")
    assert short.beats == base.beats and short.shot_seconds == 1.0
    assert short.grammar["act"].sizes == ["CU"] and short.grammar["react"] == base.grammar["react"]
    monkeypatch.setenv("FILMWRIGHT_TEMPLATES", "mine")
    put(TEMPLATE.replace("name: mine", "name: fable"), "fable", "mine")
    assert load_template("fable").title == "Mine"
    put(TEMPLATE.replace("name: mine", "name: fable").replace("title: Mine", "title: Project"), "fable")
    assert load_template("fable").title == "Project"
    listed = [json.loads(line) for line in CliRunner().invoke(app, ["templates", "list", "--json"]).stdout.splitlines()]
    assert {"fable": "project", "trailer": "built-in"}.items() <= {one["name"]: one["origin"] for one in listed}.items()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("title: Mine", "titel: Mine"), r"mine.yaml:2: titel: unknown key"),
        (("sizes: [MS]", "sizes: [XXL]"), r"mine.yaml:14: grammar.act.sizes.0"),
        (("share: 0.5, pattern: [act]}\n      - {name: end", "share: 0.1, pattern: [act]}\n      - {name: end"), "add up to 0.6"),
        (("pattern: [act]}\n      - ", "pattern: [react]}\n      - "), "without a grammar"),
        (("name: end", "name: start"), "is there twice"),
        (("{{ hero }} wakes", "{{ villain }} wakes"), "beat start: villain is given by nobody: the parameters are hero, loud"),
        (("style: about {{ hero }}", "style: about {{ hero"), "line 1 of the text"),
        (("style: about {{ hero }}", "extends: mine"), "in a circle: mine -> mine"),
        (("style: about {{ hero }}", "extends: nowhere"), "which is no template"),
        (("name: mine\n", "name: other\n"), "give both the same"),
        (("acts:", "acts: ["), r"mine.yaml:\d+: not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(change: tuple[str, str], says: str) -> None:
    put(TEMPLATE.replace(*change))
    with pytest.raises(InputError, match=says):
        load_template("mine")
    assert CliRunner().invoke(app, ["templates", "check", "mine"]).exit_code == 2


def test_templates_that_extend_each_other_in_a_circle_are_refused() -> None:
    put("name: a\nextends: b\n", "a")
    put("name: b\nextends: a\n", "b")
    with pytest.raises(InputError, match="in a circle: a -> b -> a"):
        load_template("a")


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}", "{{ hero.upper() }}", "{% for a in hero %}{% for b in hero %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 1000000000 }}", "{{ range(10) }}", "{% set x = 1 %}", "{% include 'x' %}", "{% macro m() %}{% endmacro %}",
        "{{ hero|center(1000000000) }}", "{{ '%99999999d' % 1 }}", "{% import 'os' as os %}", "{{ hero[0] }}", "{{ 9 ** 9 }}",
    ],
)  # fmt: skip
def test_wording_of_strangers_cannot_reach_or_explode(text: str) -> None:
    with pytest.raises(InputError, match="not allowed"):
        check_wording(text, {"hero": "fox"})


def test_wording_may_ask_and_loop_once() -> None:
    text = "{% if loud %}LOUD{% else %}quiet{% endif %} {% for w in words %}{{ w | upper }}{{ ', ' if not last }}{% endfor %}"
    assert render_wording(text, {"loud": False, "words": ["a", "b"], "last": True}) == "quiet AB"


def test_a_new_template_can_be_used_at_once() -> None:
    runner = CliRunner()
    made = runner.invoke(app, ["templates", "new", "hush", "--beats", "silence, sound", "--title", "Hush: a film"])
    assert made.exit_code == 0, made.output
    assert runner.invoke(app, ["templates", "test", "hush"]).exit_code == 0
    assert runner.invoke(app, ["templates", "new", "hush"]).exit_code == 2
    assert runner.invoke(app, ["templates", "new", "Hush!"]).exit_code == 2
    quick = runner.invoke(app, ["templates", "new", "quick", "--extends", "trailer"])
    assert quick.exit_code == 0 and load_template("quick").beats == load_template("trailer").beats


def test_a_template_s_length_counts_when_nobody_says_another(tiny_bundle: Path) -> None:
    runner, base = (
        CliRunner(),
        ["plan", "A fox ran to the sea.", "--template", "commercial-30s", "--generator", str(tiny_bundle)],
    )
    assert runner.invoke(app, [*base, "-o", "a", "--set", "product=soap"]).exit_code == 0
    assert "seconds: 30" in Path("a/production.yaml").read_text(encoding="utf-8")
    assert "product: soap" in Path("a/production.yaml").read_text(encoding="utf-8")
    assert runner.invoke(app, [*base, "-o", "b", "--seconds", "8"]).exit_code == 0
    assert "seconds: 8" in Path("b/production.yaml").read_text(encoding="utf-8")


def test_the_examples_of_the_guide_work(tmp_path: Path) -> None:
    files = re.findall(r"```yaml\n# (filmwright-templates/\S+)\n(.*?)```", GUIDE, re.DOTALL)
    assert len(files) >= 2
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    commands = [
        shlex.split(line, comments=True)[1:]
        for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("filmwright ")
    ]
    assert len(commands) >= 6
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, f"{shlex.join(command)}\n{result.output}"
