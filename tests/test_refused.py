"""A command that is refused changes nothing: not the settings, not the log, not a byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from filmwright.cli import app
from filmwright.storyboard.production import Production
from filmwright.storyboard.script import Reference
from PIL import Image
from typer.testing import CliRunner, Result

from .forked import STORY, Child, at, begin, needs_fork, run

NEW = ("--generator", "theatre", "--seconds", "4")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def tree(folder: Path) -> dict[str, str]:
    """Every file with a hash of its content, and every folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


@pytest.fixture
def made(tiny_film: Path) -> Path:
    return shutil.copytree(tiny_film, Path("film"))


BUSY = [
    ("film", "film", "--seed", 99, "--takes", 3),
    ("shoot", "film", "--seed", 99, "--again"),
    ("cut", "film"),
    ("circle", "film", "1A", 1),
    ("animatic", "film"),
    ("export", "fountain", "film"),
    ("memory", "film"),
    ("plan", "film", "--revise", "shorter", "--planner", "openai:x"),
]


@pytest.mark.parametrize("arguments", BUSY, ids=lambda a: " ".join(map(str, a)))
def test_beside_another_process_nothing_is_changed(
    arguments: tuple[object, ...], made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    before = tree(made)
    with Production.open(made).lock():
        refused = call(*arguments)
    assert refused.exit_code == 1
    assert refused.output == "filmwright: film is in use by another process: wait for it, or stop it\n"
    assert tree(made) == before


def spoil_script(made: Path) -> None:
    (made / "script.yaml").write_text("title: [", encoding="utf-8")


def lose_reference(made: Path) -> None:
    production = Production.open(made)
    script = production.read_script()
    script.entity("fox").references = [Reference(path="references/fox/user-1.png")]
    production.write_script(script)


INVALID: list[tuple[Callable[[Path], None] | None, tuple[object, ...]]] = [
    (None, ("shoot", "film", "--shots", "99", "--seed", 5)),
    (None, ("shoot", "film", "--shots", "x", "--seed", 5)),
    (None, ("shoot", "film", "--seed", 5, "--critic", "mother")),
    (None, ("shoot", "film", "--seed", 5, "--generator", "sora")),
    (None, ("shoot", "film", "--seed", 5, "--memory", "elephant")),
    (None, ("shoot", "film", "--seed", 5, "--review", "never")),
    (None, ("shoot", "film", "--seed", 5, "--reference", "fox=absent.png")),
    (None, ("film", "film", "--seed", 5, "--takes", 99)),
    (None, ("film", "film", "--seed", 5, "--template", "opera")),
    (None, ("film", "film", "--seed", 5, "--budget", 1, "--planner", "openai:x")),
    (None, ("film", "film", "--seed", 5, "-o", "elsewhere")),
    (None, ("film", "film", "--seed", 5, "--reference", "nobody=here.png")),
    (None, ("plan", "film", "--seed", 5)),
    (None, ("plan", "film", "--seed", 5, "--revise", "shorter")),
    (None, ("film", STORY, "--seed", 5, "-o", "film")),
    (None, ("circle", "film", "9Z", 1)),
    (None, ("circle", "film", "1A", 7)),
    (spoil_script, ("film", "film", "--seed", 5)),
    (spoil_script, ("shoot", "film", "--seed", 5)),
    (spoil_script, ("cut", "film")),
    (spoil_script, ("animatic", "film")),
    (spoil_script, ("export", "fountain", "film")),
    (lose_reference, ("film", "film", "--seed", 5)),
    (lose_reference, ("cut", "film")),
]


@pytest.mark.parametrize(
    ("spoil", "arguments"), INVALID, ids=lambda a: " ".join(map(str, a)) if isinstance(a, tuple) else ""
)
def test_a_command_that_is_invalid_changes_nothing(
    spoil: Callable[[Path], None] | None, arguments: tuple[object, ...], made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    Image.new("RGB", (32, 32)).save("here.png")
    if spoil is not None:
        spoil(made)
    before = tree(Path())
    refused = call(*arguments)
    assert refused.exit_code == 2, refused.output
    assert len(refused.output.strip().splitlines()) == 1
    assert tree(Path()) == before


def test_a_dry_run_records_no_setting(made: Path) -> None:
    before = tree(made)
    assert "1A     seed: " in call("shoot", made, "--dry-run", "--seed", 99).output
    assert tree(made) == before


def test_options_that_are_taken_are_recorded(made: Path) -> None:
    assert call("shoot", made, "--takes", 2).exit_code == 0
    assert Production.open(made).read_settings().takes == 2


@pytest.mark.parametrize("folder", ["film", "a/b/film"])
@pytest.mark.parametrize("there", [False, True])
def test_a_plan_that_is_refused_leaves_no_folder(folder: str, there: bool, tiny_bundle: Path) -> None:
    if there:
        Path(folder).mkdir(parents=True)
    Image.new("RGB", (32, 32)).save("wolf.png")
    before = tree(Path())
    weights = ("--generator", tiny_bundle, "--memory", "shots(3)+window(1)", "--seconds", "4")
    refused = call("plan", STORY, *weights, "-o", folder, "--reference", "wolf=wolf.png")
    assert refused.exit_code == 2
    assert "names nobody" in refused.output
    assert tree(Path()) == before
    assert call("plan", STORY, "--generator", "theatre", "--seconds", 1).exit_code == 2
    assert tree(Path()) == before


def stopped(child: Child) -> Child:
    """Waits until a child has stopped itself."""
    while not os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT):
        assert child.running()
    return child


@needs_fork
@pytest.mark.parametrize("name", [r"\.gitignore", "story.txt", "script.yaml"])
def test_of_two_plans_at_once_one_is_refused(name: str) -> None:
    first = stopped(begin("plan", STORY, *NEW, "-o", "film", "--seed", 1, step=at(signal.SIGSTOP, "rename", name)))
    before = tree(Path("film"))
    second = call("plan", "Another story of a crow.", *NEW, "-o", "film", "--seed", 2)
    assert second.exit_code != 0
    assert "in use by another process" in second.output or "holds another film" in second.output
    assert tree(Path("film")) == before
    first.signal(signal.SIGCONT)
    ended = first.wait()
    assert ended.code == 0, ended.err
    assert Production.open(Path("film")).read_settings().seed == 1
    assert Path("film/story.txt").read_text(encoding="utf-8") == STORY


@needs_fork
def test_two_plans_at_once_that_name_no_folder_get_two() -> None:
    story = f"The Fox\n\n{STORY}"
    first = stopped(begin("plan", story, *NEW, step=at(signal.SIGSTOP, "rename", r"\.gitignore")))
    assert run("plan", story, *NEW).code == 0
    first.signal(signal.SIGCONT)
    assert first.wait().code == 0
    assert {path.parent.name for path in Path().glob("*/script.yaml")} == {"the-fox", "the-fox-2"}
