"""Runs that are killed: at chosen steps of writing, at random ones, by every signal. The film that comes out is the same."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest
from filmwright.storyboard.production import Production
from filmwright.storyboard.takes import circled, takes_of
from filmwright.storyboard.video import count_frames

from .forked import Ended, at, at_step, film, leftovers, needs_fork, run, same
from .model_server import Served, serving

pytestmark = needs_fork
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGKILL: -9}
POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def made(tiny_film: Path) -> Path:
    """A film that nobody disturbed, named film."""
    return shutil.copytree(tiny_film, Path("film"))


def again(bundle: Path, folder: str = "film") -> tuple[object, ...]:
    """The same command, or the one that goes on once there is something to go on with."""
    return ("film", folder) if (Path(folder) / "story.txt").exists() else film(bundle, folder)


def well_told(ended: Ended) -> bool:
    return "Traceback" not in ended.err and ended.err.count("filmwright: stopped") == 1


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_film_stopped_again_and_again_goes_on_to_the_same_film(
    number: int, tiny_film: Path, tiny_bundle: Path
) -> None:
    rng = random.Random(int(number))
    for _ in range(60):
        ended = run(*again(tiny_bundle), step=at_step(number, rng.randint(8, 24)))
        if ended.code == 0:
            break
        assert ended.code == CODES[signal.Signals(number)], ended.err
        assert number == signal.SIGKILL or well_told(ended), ended.err
    assert ended.code == 0, ended.err
    assert same(tiny_film, Path("film"))
    assert count_frames(Path("film/film.mp4")) == count_frames(tiny_film / "film.mp4")
    assert leftovers(Path("film")) == []


def test_a_take_that_was_whole_but_not_circled_yet_is_kept(tiny_film: Path, tiny_bundle: Path) -> None:
    assert run(*film(tiny_bundle, "film"), step=at(signal.SIGKILL, "rename", "01")).code == -9
    production = Production.open(Path("film"))
    first = next(production.read_script().shots()).id
    assert takes_of(production, first) == [1] and circled(production, first) is None
    assert run("film", "film").code == 0
    assert same(tiny_film, Path("film"))
    assert takes_of(production, first) == [1]


@pytest.mark.parametrize("step", ["flush", "rename"])
def test_the_cut_leaves_the_old_film_or_the_new_one(step: str, tiny_film: Path, made: Path) -> None:
    path = made / "film.mp4"
    old = path.read_bytes()
    script = Path("film/script.yaml")
    script.write_text("titles: true\n" + script.read_text(encoding="utf-8"), encoding="utf-8")
    name = r"\.film-.*\.partial\.mp4" if step == "flush" else r"film\.mp4"
    assert run("cut", "film", step=at(signal.SIGKILL, step, name)).code == -9
    assert (path.read_bytes() == old) == (step == "flush")
    assert count_frames(path) > 0
    assert leftovers(Path("film")) != []
    assert run("cut", "film").code == 0
    assert leftovers(Path("film")) == []
    assert count_frames(path) == count_frames(tiny_film / "film.mp4") + 32


@pytest.mark.parametrize("number", POLITE)
def test_a_signal_in_the_cut_keeps_the_old_film(number: int, made: Path) -> None:
    old = (made / "film.mp4").read_bytes()
    ended = run("cut", "film", step=at(number, "flush", r"\.film-.*\.partial\.mp4"))
    assert ended.code == CODES[signal.Signals(number)]
    assert ended.lines() == ["filmwright: stopped; everything finished is kept; 'filmwright cut film' goes on"]
    assert (made / "film.mp4").read_bytes() == old
    assert leftovers(Path("film")) == []


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("name", [r"story\.txt", r"\.script-.*", r"script\.yaml"])
def test_a_plan_that_is_stopped_goes_on(number: int, name: str, tiny_film: Path) -> None:
    story = "A fox ran in the forest. A crow sang in the tree."
    arguments = ("plan", story, "--generator", "theatre", "-o", "film", "--seconds", "4", "--seed", "7")
    ended = run(*arguments, step=at(number, "flush" if name.startswith(r"\.") else "rename", name))
    assert ended.code == CODES[signal.Signals(number)], ended.err
    production = Production.open(Path("film"))
    planned = (production.folder / "script.yaml").exists()
    assert number == signal.SIGKILL or well_told(ended)
    if not planned:
        assert run("plan", "film").code == 0
    assert production.read_settings().seed == 7
    assert [shot.action for shot in production.read_script().shots()] == [
        shot.action for shot in Production.open(tiny_film).read_script().shots()
    ]


@pytest.mark.parametrize("name", [r"\.gitignore", r"production\.yaml"])
def test_a_folder_that_was_only_begun_is_taken_by_the_same_command(name: str) -> None:
    arguments = ("plan", "A fox ran.", "--generator", "theatre", "-o", "film", "--seconds", "4")
    assert run(*arguments, step=at(signal.SIGKILL, "rename", name)).code == -9
    assert not Path("film/story.txt").exists()
    assert run(*arguments).code == 0


def test_a_rejected_take_is_shot_again_after_a_kill(made: Path) -> None:
    production = Production.open(made)
    first = next(production.read_script().shots()).id
    production.log("answer", point="takes", of=f"{first}/1", decision="reject")
    assert run("film", "film").code == 0
    assert takes_of(production, first) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("flush", r"\.before-revision-.*"),
        ("rename", r"before-revision-1\.yaml"),
        ("flush", r"\.script-.*"),
        ("rename", r"script\.yaml"),
    ],
)
def test_a_revision_that_is_stopped_leaves_the_old_script_or_the_new_one(
    number: int, what: str, name: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shorter(schema: str, said: str) -> object:
        return {"summary": "One shot less.", "changes": [{"what": "remove", "shot": "1B", "content": None}]}

    script = made / "script.yaml"
    old = script.read_bytes()
    with serving(Served(shorter)) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        revise = ("plan", "film", "--revise", "shorter", "--planner", "openai:m")
        ended = run(*revise, step=at(number, what, name))
        assert ended.code == CODES[signal.Signals(number)], ended.err
        new = script.read_bytes()
        assert (new == old) == ((what, name) != ("rename", r"script\.yaml"))
        if new == old:
            assert run(*revise).code == 0
    assert [shot.id for shot in Production.open(made).read_script().shots()] == ["1A"]
    assert leftovers(made) == []
    kept = [path.read_bytes() for path in (made / "plan").glob("before-revision-*.yaml")]
    assert kept and set(kept) == {old}
