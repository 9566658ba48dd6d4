"""The commands of the README run, in their order; `make film` is the first of them with the bundled model."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from filmwright.cli import app
from filmwright.storyboard.stage import REGISTRY
from filmwright.templates.loader import template_names
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("filmwright ")
]


def test_the_commands_of_the_readme_run_in_their_order(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.setenv("FILMWRIGHT_GENERATOR", str(tiny_bundle))
    assert len(COMMANDS) >= 10
    for command in COMMANDS:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, f"filmwright {shlex.join(command)}\n{result.output}"


def test_every_file_the_readme_shows_exists() -> None:
    for target in re.findall(r"\]\(([^)#h][^)]*)\)", README):
        assert (ROOT / target).is_file(), target


def test_lists_are_for_people_and_programs() -> None:
    runner = CliRunner()
    for name in template_names():
        assert name in runner.invoke(app, ["templates", "list"]).stdout
        assert runner.invoke(app, ["templates", "show", name]).exit_code == 0
    models = runner.invoke(app, ["models", "list", "--json"]).stdout.splitlines()
    assert len(models) == len(REGISTRY)
