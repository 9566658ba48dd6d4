"""The way in: signals from the first moment on, streams that are closed or full, names that are not UTF-8."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filmwright.storyboard.production import Production

from .forked import Child, at, begin, command, needs_fork, run

ROOT = Path(__file__).parents[1]
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
LINE = "filmwright: stopped; everything finished is kept"
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def script_of_pip() -> str:
    """What the installed `filmwright` does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, function = project["project"]["scripts"]["filmwright"].partition(":")
    return f"import sys; from {module} import {function}; sys.exit({function}())"


WAYS = {"script": ["-c", script_of_pip()], "module": ["-m", "filmwright"], "cli.py": [str(ROOT / "cli.py")]}


def start(way: str, *arguments: str, python: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *python, *WAYS[way], *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@POSIX
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_in_the_first_moments_ends_the_command_in_one_line(way: str) -> None:
    for milliseconds in (20, 30, 40, 50, 80):
        process = start(way, "--help")
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        if LINE in errors:
            assert (process.returncode, errors) == (130, f"{LINE}\n")
        else:  # before the interpreter had come to our first line, or after the end
            assert not re.search(r'__main__\.py", line \d+, in (main|_run)', errors)


@POSIX
@pytest.mark.parametrize(
    ("name", "imported"),
    [("SIGINT", "filmwright.console.streams"), ("SIGHUP", "typer."), ("SIGTERM", "numpy."), ("SIGINT", "torch.")],
)
def test_a_signal_during_imports_ends_the_command_in_one_line(name: str, imported: str) -> None:
    process = start("module", "film", "A fox ran.", "--generator", "theatre", "-o", "film", python=("-X", "importtime"))
    assert process.stderr is not None
    for line in process.stderr:
        if line.rpartition("|")[2].strip().startswith(imported):
            process.send_signal(getattr(signal, name))
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == CODES[name]
    told = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert len(told) == 1
    assert told[0].startswith(LINE)


@pytest.fixture
def slow_model() -> Iterator[str]:
    """The address of a language model that never answers."""
    asked = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            Path("asked").touch()
            asked.wait(60)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    asked.set()
    server.shutdown()


def wait_for(path: Path, child: Child) -> None:
    while not path.exists():
        assert child.running()
        time.sleep(0.005)


@needs_fork
@pytest.mark.parametrize("name", CODES)
def test_a_signal_while_a_model_plans_ends_at_once_and_the_plan_goes_on(
    name: str, slow_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", slow_model)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    child = begin(
        "film", "A fox ran.", "--planner", "openai:x", "--generator", "theatre", "-o", "film", "--seconds", "4"
    )
    wait_for(Path("asked"), child)
    began = time.monotonic()
    child.signal(getattr(signal, name))
    ended = child.wait()
    assert time.monotonic() - began < 10  # the model is given up after 120 s
    assert ended.code == CODES[name]
    assert ended.lines() == [f"{LINE}; 'filmwright film film' goes on"]
    assert "Traceback" not in ended.err


@needs_fork
def test_a_second_ctrl_c_ends_at_once(tiny_bundle: Path) -> None:
    story = ("film", "A fox ran.", "--generator", tiny_bundle, "-o", "film", "--seconds", "4")
    ended = run(*story, step=lambda kind, name: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)] and None)
    assert ended.code == 130
    assert ended.err.count(LINE) == 1
    assert "Traceback" not in ended.err


@needs_fork
def test_a_signal_that_the_caller_ignores_stays_ignored(tiny_bundle: Path) -> None:
    code = "import signal, os; from filmwright.console import stopping; signal.signal(signal.SIGHUP, signal.SIG_IGN); stopping.install(); os.kill(os.getpid(), signal.SIGHUP); print('lives')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "lives\n"


CHILD = """
import multiprocessing, os, signal, sys, time
from filmwright.console import stopping
stopping.install()
def sleep():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(60)
if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=sleep, daemon=True)
    child.start()
    print(child.pid, flush=True)
    time.sleep(60)
"""


@needs_fork
def test_processes_that_were_started_end_with_the_command() -> None:
    Path("parent.py").write_text(CHILD, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, "parent.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) > 0
    parent.send_signal(signal.SIGINT)
    assert parent.communicate(timeout=30)[1] == f"{LINE}\n"  # at an end only when the child, too, has closed it
    assert parent.returncode == 130


def on_terminal(*arguments: object) -> tuple[Child, int]:
    """A child whose controlling terminal is a new one; the other end of it."""
    import pty

    pid, main = pty.fork()
    if pid == 0:
        command(arguments)
    Path("child.out").touch()
    Path("child.err").touch()
    return Child(pid, Path.cwd()), main


def read_until(main: int, text: str) -> str:
    seen = ""
    while text not in seen and select.select([main], [], [], 60)[0]:
        seen += os.read(main, 65536).decode("utf-8", "replace")
    return seen


def rest(main: int) -> str:
    seen = b""
    while select.select([main], [], [], 10)[0]:
        try:
            data = os.read(main, 65536)
        except OSError:  # the other end has gone
            break
        if not data:
            break
        seen += data
    return seen.decode("utf-8", "replace")


QUESTION = ("film", "A fox ran.", "--generator", "theatre", "-o", "film", "--seconds", "4", "--review", "script")


@needs_fork
def test_ctrl_c_at_a_question_ends_in_one_line_and_the_question_is_asked_again() -> None:
    for arguments in (QUESTION, ("film", "film")):
        child, main = on_terminal(*arguments)
        assert "[a]pprove" in read_until(main, "[a]pprove")
        os.write(main, b"\x03")
        said = rest(main)
        assert child.wait().code == 130
        os.close(main)
        assert said.count(f"{LINE}; 'filmwright film film' goes on") == 1
        assert "Traceback" not in said


@needs_fork
def test_a_terminal_that_closes_at_a_question_ends_the_command() -> None:
    child, main = on_terminal(*QUESTION)
    assert "[a]pprove" in read_until(main, "[a]pprove")
    os.close(main)
    assert child.wait().code == 129
    assert run("film", "film").code == 3


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash, in which FILMWRIGHT is the command."""
    line = line.replace("FILMWRIGHT", f"'{sys.executable}' -m filmwright")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)


FULL = "filmwright: cannot write to standard output: No space left on device; everything finished is kept\n"


@POSIX
@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("line", "code", "errors"),
    [
        ("FILMWRIGHT --version >/dev/full", 1, FULL),
        ("FILMWRIGHT --help >/dev/full", 1, FULL),
        ("FILMWRIGHT templates list >/dev/full", 1, FULL),
        ("FILMWRIGHT templates list --json >/dev/full", 1, FULL),
        ("FILMWRIGHT templates list <&- >&- 2>&-", 0, ""),
        ("FILMWRIGHT film '' <&- >&- 2>&-", 2, ""),
        ("FILMWRIGHT film - <&- >&- 2>&-", 2, ""),
        ("FILMWRIGHT film '' 2>/dev/full", 2, ""),
        ("FILMWRIGHT film '' 2>&-", 2, ""),
        ("FILMWRIGHT templates list | head -1 >/dev/null", 0, ""),
        ("FILMWRIGHT templates list --json | head -1 >/dev/null", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full_cause_no_traceback(
    line: str, code: int, errors: str, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    ended = shell(line)
    assert (ended.returncode, ended.stderr, ended.stdout) == (code, errors, "")


@pytest.mark.slow
@POSIX
def test_a_film_is_made_with_every_stream_closed(tiny_bundle: Path) -> None:
    assert (
        shell(f"FILMWRIGHT film 'A fox ran.' --generator '{tiny_bundle}' -o film --seconds 4 <&- >&- 2>&-").returncode
        == 0
    )
    assert all(json.loads(line) for line in Path("film/log.jsonl").read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
@needs_fork
def test_a_reader_of_events_that_leaves_ends_the_film_without_a_traceback(tiny_bundle: Path) -> None:
    story = f"FILMWRIGHT film 'A fox ran.' --generator '{tiny_bundle}' -o film --seconds 4 --critic none"
    ended = shell(f"{story} --json | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert run("film", "film").code == 0


@needs_fork
def test_names_that_are_not_utf8_make_a_film(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = os.fsdecode(b"f\xff")
    Path(os.fsdecode(b"story\xfe.txt")).write_text("A fox ran. A crow sang.", encoding="utf-8")
    from PIL import Image

    Image.new("RGB", (32, 32), (200, 30, 30)).save(os.fsdecode(b"fox\xfe.png"))
    monkeypatch.setenv("LC_ALL", "C")
    options = (
        "--generator",
        tiny_bundle,
        "--seconds",
        "4",
        "--critic",
        "none",
        "--review",
        "cut",
        "--memory",
        "shots(3)+window(1)",
    )
    made = run(
        "film", os.fsdecode(b"story\xfe.txt"), "-o", odd, "--reference", os.fsdecode(b"fox=fox\xfe.png"), *options
    )
    assert made.code == 3
    assert made.err.count("Traceback") == 0
    assert run("film", odd, "--review", "none").code == 0
    assert Path("child.out").read_bytes() == b"f\xff/film.mp4\n"
    events = run("film", odd, "--json").out.splitlines()
    assert json.loads(events[-1])["folder"] == odd
    for what in (
        ("status", odd),
        ("check", odd),
        ("cut", odd),
        ("export", "fountain", odd),
        ("memory", odd),
    ):
        ended = run(*what)
        assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    production = Production.open(Path(odd))
    assert {event["event"] for event in production.read_log()} >= {"plan", "take", "cut"}


@needs_fork
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("film", b"A fox \xfe ran.", "-o", b"film"), "the story is not UTF-8 text"),
        (("film", b"A fox.", "-o", b"film", "--generator", b"w\xfe"), r"setting generator from the command line = 'w\udcfe' is not UTF-8"),
        (("film", b"A fox.", "-o", b"film", "--set", b"a=\xfe"), "is not UTF-8"),
        (("film", b"no\xfe.txt"), r"story file 'no\udcfe.txt' does not exist"),
        (("film", b"A fox.", "-o", b"film", "--reference", b"f\xfe=x.png"), "does not exist"),
        (("status", b"no\xfe"), r"no\udcfe does not exist"),
    ],
)  # fmt: skip
def test_arguments_that_are_not_utf8_are_refused_in_one_line(arguments: tuple[bytes | str, ...], reason: str) -> None:
    ended = run(*(os.fsdecode(argument) for argument in arguments))
    assert ended.code == 2
    assert reason in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not Path("film").exists()


@POSIX
@pytest.mark.parametrize("setting", ["LC_ALL=C", "PYTHONIOENCODING=ascii"])
def test_text_beyond_ascii_is_shown_in_any_locale(setting: str) -> None:
    ended = shell(f"{setting} FILMWRIGHT film 'Κ' --generator théâtre; echo $?")
    assert "generator 'théâtre' is unknown" in ended.stderr
    assert ended.stdout == "2\n"


@needs_fork
def test_a_signal_while_shooting_leaves_no_temporary_file(tiny_bundle: Path) -> None:
    story = ("film", "A fox ran.", "--generator", tiny_bundle, "-o", "film", "--seconds", "4")
    ended = run(*story, step=at(signal.SIGTERM, "flush", r"\.chunk-0001-.*"))
    assert ended.code == 143
    assert ended.lines() == [f"{LINE}; 'filmwright film film' goes on"]
    assert not list(Path("film").rglob("*.partial*"))
