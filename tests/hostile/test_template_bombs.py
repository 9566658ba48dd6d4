"""Script templates that would grow without end, and what else may lie among templates."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from filmwright.cli import app
from filmwright.storyboard.errors import InputError
from filmwright.templates.filters import MAX_STEPS
from filmwright.templates.loader import load_template
from filmwright.templates.wording import check_wording, render_wording
from jinja2 import Environment
from typer.testing import CliRunner

BOMBS = Path(__file__).parent.parent / "data" / "bombs"


def refused(text: str, path: Path, says: str) -> None:
    """Checks that a template is refused on one line that names it and the limit."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"{path.name}{says}") as caught:
        load_template(str(path))
    assert "\n" not in str(caught.value)


WORDING_BOMBS = {
    "round": ("{{ 1 | round(999999999, 'floor') }}", "round takes 0 to 12 decimals"),
    "round beyond": ("{{ 1 | round(13) }}", "round takes 0 to 12 decimals"),
    "round twice": ("{{ 1.5 | round(3) | round(precision=400) }}", "round takes 0 to 12 decimals"),
    "joins": ("{{ '" + "x" * 60 + "'" + (" | join('" + "y" * 60 + "')") * 5 + " | length }}", "grows longer than 20,000"),
    "joins of a parameter": ("{{ long | join(long) | join(long) }}", "grows longer than 20,000"),
    "joined list": ("{{ [long, long, long] | join(long | join('12345678901234567890')) }}", "grows longer than 20,000"),
    "tildes": ("{{ " + " ~ ".join(["(long ~ long ~ long)"] * 7) + " }}", "grows longer than 20,000"),
    "loop": ("{% for c in long %}{{ long }}{% endfor %}", "grows longer than 20,000"),
    "silent loop": ("{% for c in long %}" + "{% if c == long %}{% endif %}" * 30 + "{% endfor %}", "takes more than 20,000 steps"),
    "loop over a join": ("{% for c in long | join('12345678') %}{{ c if false }}{% if c %}{% endif %}{% endfor %}", "takes more than 20,000 steps"),
    "large default": ("{% for c in long %}{{ none | default(long, true) }}{% endfor %}", "grows longer than 20,000"),
    "large integer": ("{{ " + "9" * 400 + " }}", "a number beyond 1e[+]18"),
    "integer past Python's limit": ("{{ " + "9" * 5000 + " }}", "not Jinja2"),
    "hex integer": ("{{ 0x" + "f" * 5000 + " }}", "a number beyond"),
    "infinite": ("{{ 1e999 }}", "a number beyond"),
    "int of digits": ("{{ long | int }}", "int reads at most 40 digits"),
    "int of infinity": ("{{ 'inf' | int }}{{ 1 | round('x') }}", "round takes"),
    "format in a test": ("{{ '%99999999d' is divisibleby 1 }}", "test 'divisibleby' is not allowed"),
    "format in odd": ("{{ '%99999999d' is odd }}", "is no whole number"),
    "trim of everything": ("{{ long | trim(long) }}", "trim takes at most 100 characters"),
    "parentheses": ("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "nested more than 30 deep"),
    "nots": ("{{ " + "not " * 800 + "1 }}", "nested more than 30 deep"),
    "lists in lists": ("{{ " + "[" * 40 + "]" * 40 + " }}", "nested more than 30 deep"),
    "ifs": ("{% if 1 %}" * 200 + "{% endif %}" * 200, "nested more than 30 deep"),
    "filters": ("{{ 'x' " + "| upper " * 900 + "}}", "nested more than 30 deep"),
    "loop in a loop": ("{% for a in 'x' %}{% for b in 'x' %}{% endfor %}{% endfor %}", "a loop inside a loop is not allowed"),
    "recursive loop": ("{% for a in 'x' recursive %}{% endfor %}", "not recursive"),
    "multiplied": ("{{ 'x' * 999999999 }}", "mul is not allowed"),
    "power": ("{{ 9 ** 999999999 }}", "pow is not allowed"),
    "format": ("{{ '%99999999d' | format(1) }}", "filter 'format' is not allowed"),
    "batch": ("{{ 'x' | batch(999999999, 'x') | join }}", "filter 'batch' is not allowed"),
    "indent": ("{{ 'x' | indent(999999999, true) }}", "filter 'indent' is not allowed"),
    "attribute": ("{{ [''] | join(attribute='__class__') }}", "cannot be written"),
    "stars": ("{{ 'x' | join(*long) }}", "behind a star"),
    "first of nothing": ("{{ '' | first }}", "first: there is nothing"),
    "a number as list": ("{% for x in 3 %}{% endfor %}", "cannot be written"),
    "outside its loop": ("{% for x in 'a' %}{% endfor %}{{ x }}", "x has no value outside its loop"),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDING_BOMBS)
def test_a_text_of_a_template_that_would_grow_is_refused_with_its_limit(name: str) -> None:
    text, says = WORDING_BOMBS[name]
    with pytest.raises(InputError, match=says) as caught:
        render_wording(text, {"long": "7" * 1000, "none": ""})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "{{ hero }} and {{ 'x' ~ n ~ 2.5 }}", "{{ hero | upper | lower | title | capitalize }}", "{{ 2.345 | round(2) }} {{ 5 | round }}",
        "{{ 2.345 | round(2, 'ceil') }} {{ 2.345 | round(1, method='floor') }}", "{{ '12' | int + 0 if false else '7x' | int(default=4) }}",
        "{{ hero | length }} {{ hero | first }}{{ hero | last }} {{ '--x--' | trim('-') }}", "{{ '' | default('none', true) }}",
        "{% for w in ['a', 'b', 'c'] if w != 'b' %}{{ w }}-{% else %}none{% endfor %}", "{% for w in [] %}x{% else %}none{% endfor %}",
        "{% if n > 2 and not loud %}big{% elif loud %}loud{% else %}small{% endif %}", "{{ n is odd }} {{ n is number }} {{ hero is string }}",
        "{{ 'a' in hero }} {{ 1 < n <= 3 }} {{ n is in [3, 4] }} {{ [1, 2, 'x'] | join(', ') }}", "{% raw %}{{ no }}{% endraw %} {# c #}\nend\n",
        "{{ 'only' if loud }}|{{ hero or 'nobody' }}|{{ loud and hero }}|{{ none_ is none }}",
        "  {% if loud %}\n  x\n  {% else %}\n  y {{ hero }}\n  {%- endif %}\n",
    ],
)  # fmt: skip
def test_a_text_reads_as_jinja_writes_it(text: str) -> None:
    values = {"hero": "ada of the hills", "n": 3, "loud": False, "none_": None}
    wanted = Environment(trim_blocks=True, lstrip_blocks=True).from_string(text.replace(" + 0", "")).render(**values)
    assert render_wording(text.replace(" + 0", ""), values) == wanted


def test_all_texts_of_a_template_share_their_steps(tmp_path: Path) -> None:
    beat = '      - {{name: b{i}, summary: "{{% for c in hero %}}{{% if c %}}{{% endif %}}{{% endfor %}}x", share: 0.1, pattern: [act]}}\n'
    text = (
        "name: mine\ntitle: Mine\ndescription: Many.\nparameters:\n  hero: {help: h, default: " + "a" * 900 + "}\n"
        "acts:\n  - name: all\n    beats:\n" + "".join(beat.format(i=i) for i in range(10)) + "grammar:\n  act: {sizes: [MS], movements: [static]}\n"
    )  # fmt: skip
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    assert 10 * 900 * 3 > MAX_STEPS > 900 * 4
    with pytest.raises(
        InputError, match=r"mine\.yaml: beat b\d: the text cannot be written: it takes more than 20,000 steps"
    ):
        load_template(str(tmp_path / "mine.yaml"))


TEMPLATE = """\
name: mine
title: Mine
description: A test.
parameters:
  hero: {help: Who., default: DEFAULT}
style: STYLE
acts:
  - name: all
    beats:
      - {name: start, summary: It starts., share: 0.5, pattern: [act]}
      - {name: end, summary: It ends., share: 0.5, pattern: [act]}
grammar:
  act: {sizes: [MS], movements: [static]}
"""


def test_values_of_parameters_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    refused(
        TEMPLATE.replace("DEFAULT", "x" * 5000),
        path,
        r":5: parameters\.hero: a value of 5,000 characters: at most 1,000",
    )
    path.write_text(TEMPLATE.replace("DEFAULT", "7"), encoding="utf-8")
    for typed in ("9" * 5000, "x" * 2000):
        with pytest.raises(InputError, match=r"--set hero is .* characters long: at most 1,000"):
            load_template(str(path), {"hero": typed})


def test_beats_and_parameters_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    beats = "".join(f"      - {{name: b{i}, summary: x, share: 0.001, pattern: [act]}}\n" for i in range(1000))
    head, tail = (
        TEMPLATE.replace("DEFAULT", "x").split("      - {name: start")[0],
        "grammar:" + TEMPLATE.split("grammar:")[1],
    )
    refused(head + beats + tail, path, r":\d+: acts\.0\.beats: .*at most 100")
    acts = "".join(
        f"  - {{name: a{i}, beats: [{{name: b{i}, summary: x, share: 0.01, pattern: [act]}}, {{name: c{i}, summary: x, share: 0.01, pattern: [act]}}]}}\n"
        for i in range(60)
    )
    refused(head.split("acts:")[0] + "acts:\n" + acts + tail, path, r":\d+: .*120 beats: at most 100")
    many = "".join(f"  p{i}: {{help: h, default: x}}\n" for i in range(60))
    refused(
        TEMPLATE.replace("DEFAULT", "x").replace("style:", f"{many}style:"), path, r":\d+: parameters: .*at most 50"
    )


@pytest.mark.parametrize("name", ["bomb", "join", "round"])
def test_checking_a_bad_template_exits_2_with_one_line(name: str) -> None:
    ran = CliRunner().invoke(app, ["templates", "check", str(BOMBS / f"{name}.yaml")])
    assert ran.exit_code == 2 and f"{name}.yaml" in ran.stderr and ran.stderr.count("\n") == 1


def bad_files(folder: Path) -> list[str]:
    """Fills a folder with what is no template."""
    folder.mkdir()
    for name in ("bomb", "join", "round"):
        (folder / f"{name}.yaml").write_bytes((BOMBS / f"{name}.yaml").read_bytes())
    (folder / "folder.yaml").mkdir()
    (folder / "latin.yaml").write_bytes(b"name: latin\ntitle: caf\xe9\n")
    (folder / "nothing.yaml").write_bytes(b"")
    with (folder / "huge.yaml").open("wb") as file:
        file.truncate(1 << 30)
    made = ["bomb", "join", "round", "folder", "latin", "nothing", "huge"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.yaml")
        (folder / "zero.yaml").symlink_to("/dev/zero")
        (folder / "dangling.yaml").symlink_to("nowhere.yaml")
        made += ["pipe", "zero", "dangling"]
    return made


def test_the_list_goes_on_past_every_bad_file_and_names_it() -> None:
    bad = bad_files(Path("filmwright-templates"))
    ran = CliRunner().invoke(app, ["templates", "list", "--json"])
    assert ran.exit_code == 0
    listed = {one["name"]: one["description"] for one in map(json.loads, ran.stdout.splitlines())}
    for name in bad:
        assert listed[name].startswith("malformed: ") and f"{name}.yaml" in listed[name], name
    assert "trailer" in listed and not listed["trailer"].startswith("malformed")
    for name in bad:
        checked = CliRunner().invoke(app, ["templates", "check", f"filmwright-templates/{name}.yaml"])
        assert checked.exit_code == 2 and f"{name}.yaml" in checked.stderr


def test_a_file_that_only_its_owner_may_read_is_named(tmp_path: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("everybody may read everything here")
    (tmp_path / "mine.yaml").write_text("a: 1\n", encoding="utf-8")
    (tmp_path / "mine.yaml").chmod(0)
    with pytest.raises(InputError, match=r"cannot read .*mine\.yaml"):
        load_template(str(tmp_path / "mine.yaml"))


def test_what_is_checked_is_not_evaluated() -> None:
    check_wording("{{ long | join(long) | join(long) }}", {"long": "x" * 20_000})
