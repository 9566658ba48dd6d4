"""Review pauses, answered through a real pseudo-terminal."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filmwright.storyboard.production import Production
from filmwright.storyboard.takes import circled

pty = pytest.importorskip("pty")


def talk(folder: Path, arguments: list[str], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Runs filmwright on a pseudo-terminal; types each answer when its prompt appears."""
    main, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "filmwright", *arguments], cwd=folder, stdin=child, stdout=child, stderr=child,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(child)
    seen, mark = "", 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([main], [], [], 0.2)
        if ready:
            try:
                data = os.read(main, 65536)
            except OSError:  # the other end has gone
                break
            if not data:
                break
            seen += data.decode("utf-8", "replace")
        if answers and answers[0][0] in seen[mark:]:
            mark = len(seen)
            os.write(main, (answers.pop(0)[1] + "\n").encode())
    if answers:
        process.kill()
    code = process.wait(timeout=30)
    os.close(main)
    assert not answers, f"never asked: {answers[0][0]}\n{seen}"
    return code, seen


def test_a_person_approves_the_script_and_changes_a_take(tmp_path: Path, story: str, tiny_bundle: Path) -> None:
    arguments = [
        "film",
        story,
        "--generator",
        str(tiny_bundle),
        "-o",
        "film",
        "--seconds",
        "4",
        "--critic",
        "none",  # which dislikes weights that know nothing
        "--review",
        "script,takes",
    ]
    answers = [
        ("erminate?", "maybe"),
        ("please answer", ""),
        ("erminate?", "approve"),
        ("Is take 1 of shot", "modify"),
        ("new action or prompt", "wide shot , castle , night , camera still ."),
        ("Is take 2 of shot", "a"),
        ("Is take 1 of shot", "terminate"),
    ]
    code, seen = talk(tmp_path, arguments, answers)
    assert code == 0, seen
    production = Production.open(tmp_path / "film")
    first = next(production.read_script().shots())
    assert first.prompt == "wide shot , castle , night , camera still ."
    record = circled(production, first.id)
    assert record is not None
    assert record.take == 2
    assert not (tmp_path / "film" / "film.mp4").exists()
    code, seen = talk(tmp_path, ["film", "film", "--review", "none"], [])
    assert code == 0, seen
    assert (tmp_path / "film" / "film.mp4").exists()


def test_a_rejected_script_is_planned_anew_and_an_approved_one_is_not_asked_for_again(
    tmp_path: Path, story: str, tiny_bundle: Path
) -> None:
    arguments = [
        "film",
        story,
        "--generator",
        str(tiny_bundle),
        "-o",
        "film",
        "--seconds",
        "4",
        "--review",
        "script,cut",
    ]
    code, seen = talk(tmp_path, arguments, [("erminate?", "r"), ("erminate?", "a"), ("Is this the film?", "a")])
    assert code == 0, seen
    assert (tmp_path / "film" / "plan" / "rejected-seed-0.yaml").exists()
    code, seen = talk(tmp_path, ["film", "film"], [("Is this the film?", "a")])
    assert code == 0, seen
    assert "Is this the script" not in seen
