"""Links, devices, pipes and sockets in a production: every command refuses them before it reads or writes anything."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filmwright.cli import app
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.links import refuse_links
from filmwright.storyboard.production import Production, Settings
from typer.testing import CliRunner

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the right to make links")

STORY = "The Fox\n\nA fox came along the path. The fox ran away."
COMMANDS = (
    ("status", "film"),
    ("check", "film"),
    ("check", "film/script.yaml"),
    ("animatic", "film"),
    ("shoot", "film"),
    ("shoot", "film", "--dry-run"),
    ("shoot", "film", "--again", "--seed", "7", "--takes", "3"),
    ("circle", "film", "1A", "1"),
    ("rename", "film", "fox", "wolf"),
    ("cut", "film"),
    ("export", "fountain", "film"),
    ("memory", "film"),
    ("film", "film", "--seed", "7"),
    ("plan", "film", "--revise", "More foxes."),
)
FILES = (
    "script.yaml", "production.yaml", "story.txt", "log.jsonl", "session.sqlite", "session.sqlite-wal", ".lock", ".gitignore",
    "film.mp4", "film.srt", "film.otio", "storyboard.html", "animatic.mp4", "memory.png", "film.fountain", "takes/1A/circled",
    "takes/1A/01/take.json", "takes/1A/01/frames.mp4", "takes/1A/01/chunk-0000.safetensors", "takes/.title.mp4",
    "references/fox/drawn.png", "references/fox/.drawn", "plan/notes.yaml", "footage/clip.mp4",
)  # fmt: skip
FOLDERS = ("takes", "takes/1A", "takes/1A/01", "takes/1A/02.rolling", "takes/1A/01/keyframes", "references", "plan")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of the paper theatre."""
    folder = tmp_path_factory.mktemp("original") / "film"
    arguments = ["film", STORY, "--generator", "theatre", "--seconds", "4", "-o", str(folder), "--quiet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def production(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "film"))


def contents(folder: Path) -> dict[str, bytes | str]:
    """Everything in a folder: the bytes of files, the targets of links."""
    return {
        str(path.relative_to(folder)): (
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        )
        for path in folder.rglob("*")
    }


def replace(path: Path) -> None:
    """Makes room for something else of this name."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)


def assert_refused(tmp_path: Path, *said: str, commands: tuple[tuple[str, ...], ...] = COMMANDS[4:5]) -> None:
    """The commands exit with 2, say it in one line and change nothing, in the production or beside it."""
    before = contents(tmp_path)
    for command in commands:
        result = CliRunner().invoke(app, list(command))
        assert result.exit_code == 2, f"{command}: {result.exit_code} {result.output!r} {result.exception!r}"
        assert len(result.output.strip().splitlines()) == 1
        for words in said:
            assert words in result.output, command
    assert contents(tmp_path) == before


def test_every_command_refuses_a_link(production: Path, tmp_path: Path) -> None:
    (production / "log.jsonl").unlink()
    (tmp_path / "outside").write_bytes(b"somebody else's")
    (production / "log.jsonl").symlink_to(tmp_path / "outside")
    assert_refused(tmp_path, "film/log.jsonl is a link to", "outside the production", commands=COMMANDS)


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_a_file_outside_is_refused(production: Path, tmp_path: Path, name: str) -> None:
    path, outside = production / name, tmp_path / "outside"
    if path.is_file():
        shutil.copyfile(path, outside)
    else:
        outside.write_bytes(b"somebody else's")
    replace(path)
    path.symlink_to(outside)
    assert_refused(tmp_path, f"film/{name} is a link to", "outside'", "outside the production", "replace it by a copy")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_link_to_a_folder_outside_is_refused(production: Path, tmp_path: Path, name: str) -> None:
    path, outside = production / name, tmp_path / "outside"
    if path.is_dir():
        shutil.copytree(path, outside)
    else:
        outside.mkdir()
    (outside / "frames.mp4").write_bytes(b"somebody else's")
    replace(path)
    path.symlink_to(outside, target_is_directory=True)
    assert_refused(tmp_path, f"film/{name} is a link to", "outside the production")


@pytest.mark.parametrize(
    "target, said",
    [
        ("../not-there", "which does not exist: remove it"),
        ("log.jsonl", "leads back to itself"),
        ("script.yaml", "holds no links"),
        ("/dev/full", "outside the production"),
    ],
)
def test_links_that_lead_nowhere_or_to_the_production_itself_are_refused(
    production: Path, tmp_path: Path, target: str, said: str
) -> None:
    replace(production / "log.jsonl")
    (production / "log.jsonl").symlink_to(target)
    assert_refused(tmp_path, f"film/log.jsonl is a link to '{target}'", said)


@pytest.mark.parametrize("name", ["log.jsonl", "script.yaml", "takes/1A/circled", "takes/1A/01/frames.mp4", "film.mp4"])
def test_a_pipe_is_refused_and_nothing_waits_for_it(production: Path, name: str) -> None:
    replace(production / name)
    os.mkfifo(production / name)
    for command in (("status", "film"), ("check", "film/script.yaml"), ("shoot", "film")):
        result = CliRunner().invoke(app, list(command))
        assert result.exit_code == 2, command
        if command != ("check", "film/script.yaml") or name != "script.yaml":
            assert f"film/{name} is a pipe (FIFO)" in result.output


def test_a_socket_is_refused(production: Path) -> None:
    (production / "log.jsonl").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("film/log.jsonl")  # in the working folder: a socket's path is at most some 100 bytes long
        with pytest.raises(InputError, match=r"log\.jsonl is a socket"):
            Production.open(production)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_refused(production: Path) -> None:
    (production / "log.jsonl").unlink()
    try:
        os.mknod(production / "log.jsonl", 0o20666, os.makedev(1, 7))
    except OSError:
        pytest.skip("this machine makes no devices")
    with pytest.raises(InputError, match=r"log\.jsonl is a device"):
        Production.open(production)


@pytest.mark.parametrize("name", ["log.jsonl", "session.sqlite", ".lock"])
def test_a_second_name_of_a_file_that_is_written_in_place_is_refused(
    production: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"somebody else's")
    replace(production / name)
    os.link(outside, production / name)
    assert_refused(tmp_path, f"film/{name} is also called by another name")


def test_a_production_that_is_a_link_itself_is_opened(production: Path, tmp_path: Path) -> None:
    production.rename(tmp_path / "elsewhere")
    (tmp_path / "film").symlink_to("elsewhere", target_is_directory=True)
    for command in (("status", "film"), ("check", "film"), ("cut", "film")):
        result = CliRunner().invoke(app, list(command))
        assert result.exit_code == 0, result.output


def test_version_control_is_left_alone(production: Path) -> None:
    (production / ".git").mkdir()
    (production / ".git" / "hook").symlink_to("/bin/sh")
    assert CliRunner().invoke(app, ["check", "film"]).exit_code == 0


def test_a_folder_without_a_film_is_not_walked(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="is no production"):
        Production.open(tmp_path / "home")


def test_a_new_film_is_not_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "outside").write_text("kept", encoding="utf-8")
    (tmp_path / "p" / ".gitignore").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="holds other files"):
        Production.create(tmp_path / "p", "story", Settings())
    assert (tmp_path / "outside").read_text(encoding="utf-8") == "kept"


def test_what_a_killed_run_left_is_removed_without_following_it(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "outside").write_text("kept", encoding="utf-8")
    (tmp_path / "p" / ".story-abcdefgh.partial.txt").symlink_to(tmp_path / "outside")
    Production.create(tmp_path / "p", "story", Settings())
    assert (tmp_path / "outside").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize(
    "path", ["a\0b.png", "x" * 300, "\ud800.png", "loop", "../outside.png", "/etc/passwd", "c/x.png"]
)
def test_a_path_that_leads_out_or_is_none_is_refused(tmp_path: Path, path: str) -> None:
    production = Production.create(tmp_path / "p", "story", Settings())
    (tmp_path / "p" / "loop").symlink_to("loop")
    (tmp_path / "p" / "d").mkdir()
    (tmp_path / "p" / "c").symlink_to("d")
    with pytest.raises(InputError):
        production.inside(path)


def test_the_walk_opens_no_file(production: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    for owner, name in ((os, "open"), (Path, "open")):
        monkeypatch.setattr(owner, name, refuse)
    refuse_links(production)


def test_every_command_that_takes_a_production_opens_it_with_a_look(
    production: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands above are all there are: a new one has to be added to them."""
    looked: list[Path] = []
    look: Callable[[Path], None] = refuse_links
    for module in ("filmwright.storyboard.production", "filmwright.agents.status"):
        monkeypatch.setattr(f"{module}.refuse_links", lambda folder: (looked.append(folder), look(folder)))
    for command in COMMANDS:
        looked.clear()
        CliRunner().invoke(app, list(command))
        assert looked, command
    own = {command[0] for command in COMMANDS}
    named = {info.name or info.callback.__name__ for info in app.registered_commands if info.callback is not None}
    assert named - own <= {"doctor", "train"}
