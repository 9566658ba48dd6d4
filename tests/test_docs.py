"""The commands of the README run, in their order; `make film` is the first of them with the bundled model."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filmwright.cli import app
from filmwright.storyboard.stage import REGISTRY
from filmwright.templates.loader import template_names
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "docs/editing.md", "docs/memory.md", "docs/models.md")
}


def commands(page: str) -> list[list[str]]:
    return [
        shlex.split(line, comments=True)[1:]
        for block in re.findall(r"```console\n(.*?)```", PAGES[page], re.DOTALL)
        for line in block.splitlines()
        if line.startswith("filmwright ")
    ]


@pytest.mark.parametrize(
    ("page", "least"), [("README.md", 10), ("docs/editing.md", 6), ("docs/memory.md", 3), ("docs/models.md", 3)]
)
def test_the_commands_of_a_page_run_in_their_order(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, page: str, least: int
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.setenv("FILMWRIGHT_GENERATOR", str(tiny_bundle))
    monkeypatch.setenv("FILMWRIGHT_CRITIC", "none")  # which has much to say about weights that know nothing
    assert len(commands(page)) >= least
    for command in commands(page):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, f"filmwright {shlex.join(command)}\n{result.output}"


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_every_file_a_page_shows_exists(page: str) -> None:
    for target in re.findall(r"\]\(([^)#h][^)]*)\)", (ROOT / page).read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        path = (ROOT / page).parent / file
        assert path.exists(), target
        if heading:
            found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [title.lower().replace(" ", "-") for title in found], target


def test_lists_are_for_people_and_programs() -> None:
    runner = CliRunner()
    for name in template_names():
        assert name in runner.invoke(app, ["templates", "list"]).stdout
        assert runner.invoke(app, ["templates", "show", name]).exit_code == 0
    models = runner.invoke(app, ["models", "list", "--json"]).stdout.splitlines()
    assert len(models) == len(REGISTRY)


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys, filmwright.cli; sys.exit(any(m in sys.modules for m in ('torch', 'langgraph', 'diffusers', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
