"""The whole way, through the command line, with a tiny random model and with the theatre."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filmwright.agents import floor as floor_module
from filmwright.cli import app
from filmwright.storyboard.production import Production
from filmwright.storyboard.takes import circled, latents_hash, read_take, read_take_chunks, takes_of
from filmwright.storyboard.timeline import build_timeline
from filmwright.storyboard.video import count_frames
from PIL import Image
from typer.testing import CliRunner, Result

SHORT = ("--seconds", "6")


def run(*arguments: object, code: int = 0, **keywords: Any) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments], **keywords)
    assert result.exit_code == code, f"{result.exit_code}: {result.output}\n{result.exception!r}"
    return result


def latents(folder: Path) -> dict[str, list[np.ndarray]]:  # type: ignore[type-arg]
    production = Production.open(folder)
    found = {}
    for shot in production.read_script().shots():
        record = circled(production, shot.id)
        assert record is not None
        chunks = read_take_chunks(production, record)
        assert chunks is not None
        found[shot.id] = [chunk.latents for chunk in chunks]
    return found


def equal(a: Path, b: Path) -> bool:
    one, two = latents(a), latents(b)
    return one.keys() == two.keys() and all(
        len(x) == len(y) and all(map(np.array_equal, x, y)) for x, y in zip(one.values(), two.values(), strict=True)
    )


@pytest.fixture
def made(tmp_path: Path, story: str, tiny_bundle: Path) -> Path:
    run(
        "film", story, "--generator", tiny_bundle, "-o", "film", "--critic", "none", *SHORT
    )  # weights that know nothing displease
    return tmp_path / "film"


def test_a_story_becomes_a_film_with_exactly_the_frames_of_its_timeline(made: Path) -> None:
    production = Production.open(made)
    script = production.read_script()
    found = json.loads(run("check", made, "--json").stdout)
    assert count_frames(made / "film.mp4") == found["frames"] == sum(s["chunks"] for s in found["shots"]) * 12
    assert abs(found["seconds"] - 6) <= 0.6
    page = (made / "storyboard.html").read_text(encoding="utf-8")
    assert page.count('<img alt="shot ') == len(list(script.shots()))
    assert page.count('<img alt="fox"') == 2  # the reference sheet: front and near
    assert "fox: What a fine bird you are" in (made / "film.srt").read_text(encoding="utf-8")
    record = circled(production, next(script.shots()).id)
    assert record is not None
    assert record.licence == "test"


def test_a_second_run_shoots_nothing_and_changes_nothing(made: Path) -> None:
    before = latents(made)
    output = run("film", made).output
    assert "take" not in output
    assert before.keys() == latents(made).keys()


def test_only_the_edited_shot_is_stale(made: Path) -> None:
    path = made / "script.yaml"
    production = Production.open(made)
    script = production.read_script()
    shots = list(script.shots())
    before = latents(made)
    shots[1].prompt = "wide shot , castle , night , camera still ."
    production.write_script(script)
    assert path.exists()
    found = json.loads(run("shoot", made, "--dry-run", "--json").stdout)
    assert [s["position"] for s in found["shoot"]] == [2]
    assert found["cost"] == 0
    run("film", made)
    after = latents(made)
    for shot in shots:
        same = all(map(np.array_equal, before[shot.id], after[shot.id]))
        assert same == (shot.id != shots[1].id)


def test_shots_are_shot_again_by_position(made: Path) -> None:
    before = latents(made)
    run("shoot", made, "--shots", "2", "--again")
    names = list(before)
    assert Production.open(made).folder.joinpath("takes", names[1], "02").is_dir()
    assert not Production.open(made).folder.joinpath("takes", names[0], "02").exists()
    assert not np.array_equal(latents(made)[names[1]][0], before[names[1]][0])
    run("cut", made)


def test_status_names_every_shot_and_its_take(made: Path) -> None:
    found = json.loads(run("status", made, "--json").stdout)
    assert {shot["state"] for shot in found["shots"]} == {"shot"}
    assert "take 1" in run("status", made).stdout


def test_damaged_and_missing_takes_are_shot_again_with_the_same_result(made: Path) -> None:
    before = latents(made)
    first, second, *_ = list(before)
    (made / "takes" / first / "01" / "chunk-0000.safetensors").write_bytes(b"broken")
    (made / "takes" / second / "01" / "take.json").unlink()
    found = json.loads(run("shoot", made, "--dry-run", "--json").stdout)
    assert [s["position"] for s in found["shoot"]] == [1, 2]
    run("film", made)
    assert np.array_equal(latents(made)[second][0], before[second][0])


def test_a_shot_that_fails_for_good_leaves_the_film_whole(
    made: Path, story: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filmwright.generator.rollout import ModelRollout

    step = ModelRollout.step

    def broken(self: ModelRollout) -> Any:
        if self._rolling().shot.endswith("B"):
            raise RuntimeError("out of memory")
        return step(self)

    monkeypatch.setattr(ModelRollout, "step", broken)
    result = run("film", story, "--generator", tiny_bundle, "-o", "other", *SHORT, code=1)
    assert "is missing in the film" in result.output
    assert "out of memory" in result.output
    assert count_frames(Path("other/film.mp4")) == count_frames(made / "film.mp4")
    monkeypatch.setattr(ModelRollout, "step", step)
    run("film", "other")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "filmwright", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_killed_at_random_moments_the_film_goes_on_to_the_same_latents(
    tmp_path: Path, story: str, tiny_bundle: Path
) -> None:
    whole = start(tmp_path, "film", story, "--generator", str(tiny_bundle), "-o", "whole", "--seconds", "12")
    assert whole.wait() == 0
    arguments = ("film", story, "--generator", str(tiny_bundle), "-o", "cut-short", "--seconds", "12")
    rng = random.Random(0)

    def chunks_on_disk() -> int:
        return sum(name.startswith("chunk-") for _, _, names in os.walk(tmp_path / "cut-short") for name in names)

    for _ in range(10):
        goal = chunks_on_disk() + rng.randrange(3)
        process = start(tmp_path, *arguments)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and chunks_on_disk() < goal:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "cut-short" / "story.txt").exists():
            arguments = ("film", "cut-short")
    assert start(tmp_path, *arguments).wait() == 0
    assert equal(tmp_path / "whole", tmp_path / "cut-short")
    assert count_frames(tmp_path / "cut-short" / "film.mp4") == count_frames(tmp_path / "whole" / "film.mp4")


def test_ctrl_c_exits_130_and_the_film_goes_on(tmp_path: Path, story: str, tiny_bundle: Path) -> None:
    process = start(tmp_path, "film", story, "--generator", str(tiny_bundle), "-o", "film", "--seconds", "30")
    while not list((tmp_path / "film").glob("takes/*/*/chunk-*.safetensors")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    run("film", "film")


def test_a_second_shoot_is_refused_while_one_runs(made: Path) -> None:
    with Production.open(made).lock():
        assert "in use by another process" in run("shoot", made, code=1).output


def test_a_review_without_a_terminal_waits_and_goes_on_later(tmp_path: Path, story: str, tiny_bundle: Path) -> None:
    result = run("film", story, "--generator", tiny_bundle, "-o", "film", *SHORT, "--review", "script", code=3)
    assert "Is this the script to shoot?" in result.output
    assert not (tmp_path / "film" / "film.mp4").exists()
    assert run("film", "film", code=3).output.count("waiting for a person") == 1
    run("film", "film", "--review", "none")
    assert (tmp_path / "film" / "film.mp4").exists()


def test_a_reference_of_the_user_is_pinned_and_shown_to_the_critic(
    tmp_path: Path, story: str, tiny_bundle: Path
) -> None:
    Image.new("RGBA", (40, 30), (200, 30, 30, 128)).save("fox.png")
    run(
        "plan",
        story,
        "--generator",
        tiny_bundle,
        "--memory",
        "shots(3)+window(1)",
        "-o",
        "film",
        "--reference",
        "Fox=fox.png",
    )
    fox = next(e for e in Production.open(tmp_path / "film").read_script().entities if e.name == "fox")
    image = Image.open(tmp_path / "film" / fox.references[0].path)
    assert image.mode == "RGB"
    assert image.size == (40, 30)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.png", b"no image", "no readable image"),
        ("dot.png", None, "at least 16 pixels"),
        ("absent.png", "absent", "does not exist"),
    ],
)
def test_unusable_references_are_refused_before_anything_is_written(
    tmp_path: Path, story: str, name: str, content: Any, reason: str
) -> None:
    if content is None:
        Image.new("RGB", (1, 1)).save(name)
    elif isinstance(content, bytes):
        Path(name).write_bytes(content)
    assert (
        reason
        in run("film", story, "--generator", "theatre", "-o", "film", "--reference", f"fox={name}", code=2).output
    )
    assert not (tmp_path / "film").exists()


def test_a_reference_that_names_nobody_is_refused(tmp_path: Path, story: str, tiny_bundle: Path) -> None:
    Image.new("RGB", (32, 32)).save("wolf.png")
    options = ("--generator", tiny_bundle, "--memory", "shots(3)+window(1)", "-o", "film")
    assert "names nobody" in run("film", story, *options, "--reference", "wolf=wolf.png", code=2).output
    assert not (tmp_path / "film").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["film", ""], "the story is empty"),
        (["film", "nothing.txt"], "'nothing.txt' does not exist"),
        (["film", "some/where"], "'some/where' does not exist"),
        (["film", "A fox ran.", "--template", "opera"], "template 'opera' is unknown"),
        (["film", "A fox ran.", "--generator", "sora"], "generator 'sora' is unknown"),
        (
            ["film", "A fox ran.", "--generator", "theatre", "--memory", "window(3)"],
            "--memory window(3) does not apply",
        ),
        (["film", "A fox ran.", "--planner", "oracle"], "planner 'oracle' is unknown"),
        (["film", "A fox ran.", "--critic", "mother"], "critic 'mother' is unknown"),
        (["film", "A fox ran.", "--review", "sometimes"], "--review 'sometimes' is unknown"),
        (["film", "A fox ran.", "--generator", "theatre", "--seconds", "1"], "--seconds 1 is out of range"),
        (["film", "A fox ran.", "--seconds", "-5"], "setting seconds from the command line"),
        (["film", "A fox ran.", "--reference", "fox"], "is not NAME=FILE"),
        (["shoot", "nowhere"], "nowhere does not exist"),
        (["cut", "."], "is no production"),
        (["check", "nowhere"], "nowhere does not exist"),
        (["templates", "show", "opera"], "template 'opera' is unknown"),
        (["train", "giant"], "recipe 'giant' is unknown"),
        (["train", "nano", "--minutes", "0"], "--minutes 0 is out of range"),
    ],
)
def test_bad_input_is_one_line_with_value_and_fix(arguments: list[str], reason: str) -> None:
    result = run(*arguments, code=2)
    assert reason in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert list(Path().iterdir()) == []


def test_a_damaged_session_loses_nothing(made: Path) -> None:
    before = latents(made)
    (made / "session.sqlite").write_bytes(b"broken" * 1000)
    run("film", made)
    after = latents(made)
    assert all(np.array_equal(x, y) for shot in before for x, y in zip(before[shot], after[shot], strict=True))


def test_a_prompt_in_other_words_is_read_as_an_action(made: Path) -> None:
    production = Production.open(made)
    script = production.read_script()
    first = next(script.shots())
    first.prompt = "the crow sleeps"
    production.write_script(script)
    assert "outside the model's vocabulary: read as an action" in run("film", made).output
    record = circled(production, first.id)
    assert record is not None
    assert " sleeps " in record.prompts[0][1]


def test_shots_out_of_range_are_refused(made: Path) -> None:
    assert "this film has shots 1 to" in run("shoot", made, "--shots", "99", code=2).output
    assert "is no position" in run("shoot", made, "--shots", "x", code=2).output


def test_an_output_folder_with_another_film_is_left_alone(made: Path, story: str) -> None:
    before = sorted(made.rglob("*"))
    assert "holds another film" in run("film", story, "--generator", "theatre", "-o", made, code=2).output
    assert sorted(made.rglob("*")) == before


def test_without_an_output_folder_the_title_names_it(story: str, tiny_bundle: Path) -> None:
    for expected in ("the-fox-and-the-crow", "the-fox-and-the-crow-2"):
        assert run("plan", story, "--generator", tiny_bundle).stdout.strip() == str(Path(expected) / "script.yaml")


def test_a_story_comes_from_standard_input(tmp_path: Path, story: str, tiny_bundle: Path) -> None:
    run("plan", "-", "--generator", tiny_bundle, "-o", "film", input=story)
    assert (tmp_path / "film" / "story.txt").read_text(encoding="utf-8") == story


def test_settings_come_from_option_environment_production_config_default(
    tmp_path: Path, story: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(
        f'seed = 1\nseconds = 7\ncritic = "none"\ngenerator = {json.dumps(str(tiny_bundle))}\n', encoding="utf-8"
    )
    monkeypatch.setenv("FILMWRIGHT_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("FILMWRIGHT_SECONDS", "8")
    run("plan", story, "-o", "film", "--seed", "3")
    settings = Production.open(tmp_path / "film").read_settings()
    assert (settings.seed, settings.seconds, settings.critic) == (3, 8.0, "none")


def test_events_are_json_lines(story: str, tiny_bundle: Path) -> None:
    lines = run("film", story, "--generator", tiny_bundle, "-o", "film", *SHORT, "--json").stdout.splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    assert kinds[0] == "plan"
    assert kinds[-1] == "result"
    assert {"shot", "chunk", "verdict", "take", "cut"} <= set(kinds)


def test_fades_dissolves_and_prompt_changes_keep_the_length(made: Path) -> None:
    production = Production.open(made)
    script = production.read_script()
    shots = list(script.shots())
    shots[0].transition_in, shots[1].transition_in = "fade", "dissolve"
    production.write_script(script)
    run("cut", made)
    assert (
        count_frames(made / "film.mp4")
        == build_timeline(
            script, floor_module.Floor(production, production.read_settings(), lambda e: None).generator.profile
        ).frames
    )


def test_the_theatre_shoots_the_script(story: str) -> None:
    run("film", story, "--generator", "theatre", "-o", "film", "--seconds", "4")
    assert count_frames(Path("film/film.mp4")) == 60 or count_frames(Path("film/film.mp4")) == 72


def test_the_animatic_has_a_title_and_every_shot(story: str, tiny_bundle: Path) -> None:
    run("plan", story, "--generator", tiny_bundle, "-o", "film", *SHORT)
    found = json.loads(run("animatic", "film", "--json").stdout.splitlines()[-1])
    check = json.loads(run("check", "film", "--json").stdout)
    assert found["frames"] == count_frames(Path("film/animatic.mp4")) == check["frames"] + 24


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path, story: str) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot write" in run("film", story, "--generator", "theatre", "-o", "locked/film", code=1).output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_nothing_is_half_written(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (made / "film.srt").read_bytes()
    open_path: Any = Path.open
    open_descriptor: Any = os.open

    def path_open(path: Path, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        full = path.name == "log.jsonl" and "a" in mode
        return open_path(Path("/dev/full") if full else path, mode, *arguments, **keywords)

    def os_open(path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        full = str(path).endswith("log.jsonl") and flags & os.O_APPEND
        found: int = open_descriptor("/dev/full" if full else path, flags, *arguments, **keywords)
        return found

    monkeypatch.setattr(Path, "open", path_open)
    monkeypatch.setattr(os, "open", os_open)
    result = run("shoot", made, "--shots", "1", "--again", code=1)
    assert "No space left on device" in result.output
    assert (made / "film.srt").read_bytes() == before


def test_of_several_takes_the_best_is_circled(tmp_path: Path, story: str, tiny_bundle: Path) -> None:
    run("film", story, "--generator", tiny_bundle, "-o", "film", *SHORT, "--takes", "3")
    production = Production.open(tmp_path / "film")
    for shot in production.read_script().shots():
        takes = [read_take(production, shot.id, n) for n in takes_of(production, shot.id)]
        assert len(takes) == 3
        record = circled(production, shot.id)
        assert record is not None and record.score == max(t.score or 0.0 for t in takes if t)
        latents = {latents_hash([c.latents for c in read_take_chunks(production, t) or []]) for t in takes if t}
        assert len(latents) == 3


@pytest.mark.parametrize("length", [250, 260, 800, 999, 1001, 5000])
def test_a_story_of_one_line_is_a_story_however_long_it_is(story: str, tiny_bundle: Path, length: int) -> None:
    text = ("A fox ran to the sea. " * 250)[:length]
    run("plan", text, "--generator", tiny_bundle, "-o", "film", *SHORT)
    assert Path("film/story.txt").read_text(encoding="utf-8") == text
