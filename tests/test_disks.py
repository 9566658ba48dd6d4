"""Disks that are full, folders that cannot be written, session databases that are somebody else's."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from filmwright.storyboard.errors import FilmwrightError
from filmwright.storyboard.files import append_line, replacing
from filmwright.storyboard.production import Production, Settings
from filmwright.storyboard.video import count_frames

from .forked import Ended, film, leftovers, needs_fork, run, same

KIB = 1024


def one_line(ended: Ended) -> str:
    """The only line of an expected failure."""
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert len(ended.lines()) == 1, ended.err
    return ended.lines()[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2M", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def leave(disk: Path, free: int) -> None:
    """Fills a disk up to so many free bytes."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    there = shutil.disk_usage(disk).free - free
    ballast.write_bytes(bytes(max(0, there)))


@needs_fork
def test_a_film_on_a_disk_that_fills_up_again_and_again_is_the_same_film(
    small_disk: Path,
    tiny_film: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(small_disk.parent)
    command, refused = film(tiny_bundle, "disk/film"), []
    for step in range(60):
        leave(small_disk, 16 * KIB * step)
        ended = run(*command)
        if ended.code == 0:
            break
        refused.append(re.search(r"[^/ ]+(?=: )", one_line(ended).removeprefix("filmwright: ")).group())  # type: ignore[union-attr]
        if (small_disk / "film" / "story.txt").exists():
            command = ("film", "disk/film")
    assert ended.code == 0, ended.err
    assert same(tiny_film, small_disk / "film")
    assert leftovers(small_disk / "film") == []
    assert {"log.jsonl", "session.sqlite"} <= set(refused), refused


@needs_fork
def test_a_cut_for_which_there_is_no_space_keeps_the_old_film(
    small_disk: Path, tiny_film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_disk.parent)
    made = shutil.copytree(tiny_film, small_disk / "film")
    old, refused = (made / "film.mp4").read_bytes(), []
    for step in range(30):
        leave(small_disk, 4 * KIB * step)
        ended = run("cut", "disk/film")
        if ended.code == 0:
            break
        line = one_line(ended)
        refused.append(line.split(":")[1].rpartition("/")[2])
        assert "No space left on device; free some space and run the command again" in line
        assert (made / "film.mp4").read_bytes() == old or refused[-1] != "film.mp4"
        assert count_frames(made / "film.mp4") == count_frames(tiny_film / "film.mp4")
    assert ended.code == 0
    assert "film.mp4" in refused


@needs_fork
@pytest.mark.parametrize(
    "name",
    [
        "script.yaml",
        "drawn.png",
        "chunk-0001.safetensors",
        "frames.mp4",
        "take.json",
        "film.mp4",
        "log.jsonl",
        "storyboard.html",
    ],
)
def test_a_write_that_is_refused_is_one_line_and_the_film_goes_on(
    name: str, tiny_film: Path, tiny_bundle: Path
) -> None:
    """The system refuses writes to one file, as on a full disk."""
    stem, suffix = Path(name).stem, Path(name).suffix

    def step(kind: str, file: str) -> None:
        if kind == "flush" and (file == name or re.fullmatch(rf"\.{stem}-.*{suffix}", file)):
            raise OSError(28, "No space left on device")

    line = one_line(run(*film(tiny_bundle, "film"), step=step))
    assert re.fullmatch(
        rf"filmwright: cannot write film/.*{name}: No space left on device; free some space and run the command again, what was made is kept",
        line,
    )
    ended = run("film", "film")
    assert ended.code == 0, ended.err
    assert same(tiny_film, Path("film"))
    assert leftovers(Path("film")) == []


@needs_fork
def test_a_video_longer_than_a_file_may_be_is_one_line(tiny_film: Path) -> None:
    made = shutil.copytree(tiny_film, Path("film"))
    size = (made / "film.mp4").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        ended = run("cut", "film")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert one_line(ended).startswith("filmwright: cannot write film/film.mp4: File too large; free some space")
    assert count_frames(made / "film.mp4") == count_frames(tiny_film / "film.mp4")
    assert run("cut", "film").code == 0


# --- the log -------------------------------------------------------------------------------------------------------


def test_a_line_that_a_killed_run_left_half_spoils_no_other(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    production.log("one", text="è")
    whole_line = production.log_path.read_bytes()
    for end in range(1, len(whole_line)):
        production.log_path.write_bytes(whole_line + whole_line[:end])
        production.log("two")
        events = [event["event"] for event in production.read_log()]
        assert events[0] == "one"
        assert events[-1] == "two"
        assert len(events) == 2 + (end >= len(whole_line) - 1)


def test_a_line_for_which_there_is_no_space_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.jsonl"
    append_line(log, "one")
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if data.startswith(b"t"):
            return write(descriptor, data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(FilmwrightError, match="No space left on device; free some space"):
        append_line(log, "two")
    assert log.read_bytes() == b"one\n"


def test_what_was_logged_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    production.log("verdict", action="rewind")
    assert synced == [production.log_path.stat().st_size]


# --- temporary files -----------------------------------------------------------------------------------------------


def test_only_our_temporary_files_are_removed_and_only_under_the_lock(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    takes = production.folder / "takes" / "1A" / "01.rolling"
    takes.mkdir(parents=True)
    ours, killed = [], []
    for path in (production.script_path, takes / "chunk-0000.safetensors", production.folder / "circled"):
        killed.append(replacing(path))
        killed[-1].__enter__()  # and never left
        ours += [file for file in path.parent.glob(".*") if file.name.startswith(f".{path.stem}-")]
    for part in (".title.mp4", ".1A.mp4"):
        ours.append(production.folder / "takes" / part)
        ours[-1].touch()
    theirs = [
        production.folder / name for name in (".notes-20250101.txt", ".hidden", "notes.partial.txt", ".env", ".a.mp4")
    ]
    for path in theirs:
        path.touch()
    assert len(ours) == 5
    assert all(path.exists() for path in ours)
    with production.lock():
        assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in theirs)


def test_links_are_not_followed_when_temporary_files_are_removed(tmp_path: Path) -> None:
    production = Production.create(tmp_path / "film", "A fox ran.", Settings())
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".title.mp4").touch()
    (production.folder / "takes").symlink_to(outside, target_is_directory=True)
    with production.lock():
        pass
    assert (outside / ".title.mp4").exists()


# --- session.sqlite ------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(tiny_film: Path) -> Path:
    """A film that waits for an answer."""
    made = shutil.copytree(tiny_film, Path("film"))
    assert run("film", "film", "--review", "cut").code == 3
    return made / "session.sqlite"


@needs_fork
def test_a_database_of_another_program_is_left_alone(asked: Path) -> None:
    for path in asked.parent.glob("session.sqlite*"):
        path.unlink()
    with sqlite3.connect(asked) as theirs:
        theirs.execute("CREATE TABLE recipes (name TEXT)")
    theirs.close()
    before = asked.read_bytes()
    assert one_line(run("film", "film")) == (
        "filmwright: film/session.sqlite is a database of another program (table 'recipes'): move it away"
    )
    assert asked.read_bytes() == before


@needs_fork
def test_a_table_of_another_program_that_has_our_name_is_left_alone(asked: Path) -> None:
    for path in asked.parent.glob("session.sqlite*"):
        path.unlink()
    with sqlite3.connect(asked) as theirs:
        theirs.execute("CREATE TABLE checkpoints (epoch INTEGER)")
    theirs.close()
    assert "(table 'checkpoints')" in one_line(run("film", "film"))


@needs_fork
def test_a_damaged_database_begins_anew_and_says_so(asked: Path) -> None:
    whole_file = asked.read_bytes()
    backup = asked.with_name("session.sqlite.backup")
    backup.write_bytes(whole_file)
    damages = {
        "no database": b"broken" * 1000,
        "half": whole_file[: len(whole_file) // 2],
        "pages": whole_file[:4096] + os.urandom(4096) + whole_file[8192:],
    }
    for what, content in damages.items():
        asked.write_bytes(content)
        ended = run("film", "film")
        assert ended.code == 3, (what, ended.err)
        assert "film/session.sqlite is damaged and begins anew; a pending question is asked again" in ended.err, what
    assert backup.read_bytes() == whole_file


@needs_fork
def test_a_question_that_cannot_be_read_is_asked_again(asked: Path) -> None:
    with sqlite3.connect(asked) as session:
        session.execute("UPDATE checkpoints SET checkpoint = x'c1c1c1'")
        session.execute("UPDATE writes SET value = x'c1c1c1'")
    session.close()
    ended = run("film", "film")
    assert ended.code == 3, ended.err
    assert "Is this the film?" in ended.err
    assert "film/session.sqlite is damaged: its question is asked again" in ended.err


@needs_fork
def test_a_database_that_is_locked_or_no_file_is_one_line(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filmwright.agents.session_database.BUSY_SECONDS", 0.1)
    with sqlite3.connect(asked, isolation_level=None) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        ended = run("film", "film")
        other.execute("ROLLBACK")
    other.close()
    assert one_line(ended).endswith("another program holds it, close that")
    for path in asked.parent.glob("session.sqlite*"):
        path.unlink()
    asked.mkdir()
    assert one_line(run("film", "film")).startswith(
        "filmwright: cannot use film/session.sqlite: unable to open database file"
    )


@needs_fork
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_database_that_cannot_be_written_is_one_line(asked: Path) -> None:
    asked.chmod(0o400)
    assert one_line(run("film", "film")).endswith("it is read-only; make it writable, or move it away")
    asked.chmod(0o600)
    assert run("film", "film").code == 3
