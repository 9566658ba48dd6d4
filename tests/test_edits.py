"""What an edit of the script, or of a setting, does to a film that is shot: only the edited shot is made anew, and every stale
shot says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import opentimelineio
import pytest
from filmwright.cli import app
from filmwright.generator.rollout import ModelRollout
from filmwright.storyboard.production import Production
from filmwright.storyboard.script import Script, Shot
from filmwright.storyboard.takes import circled, read_choice, read_take, read_take_chunks, takes_of
from filmwright.storyboard.video import count_frames
from PIL import Image
from typer.testing import CliRunner, Result


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.exit_code}: {result.output}\n{result.exception!r}"
    return result


def answer(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json").stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def shot_once(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of several shots, made once."""
    folder = tmp_path_factory.mktemp("edits") / "film"
    story = "A fox slept in the forest. A bear came to the river. The fox ran to the sea. The bear sang on the hill."
    run("film", story, "--generator", tiny_bundle, "-o", folder, "--critic", "none", "--seconds", "10")
    return folder


@pytest.fixture
def made(shot_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(shot_once, tmp_path / "film")
    return tmp_path / "film"


def edit(folder: Path, change: Callable[[Script], None]) -> None:
    production = Production.open(folder)
    script = production.read_script()
    change(script)
    production.write_script(Script.model_validate(script.model_dump()))


def shots_of(folder: Path) -> list[Shot]:
    return list(Production.open(folder).read_script().shots())


def latents(folder: Path, shot: str, take: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    production = Production.open(folder)
    record = read_take(production, shot, take)
    assert record is not None
    return [chunk.latents for chunk in read_take_chunks(production, record) or []]


def test_a_longer_shot_is_continued_and_its_neighbours_stay(made: Path) -> None:
    first, *others = shots_of(made)
    before = circled(Production.open(made), first.id)
    assert before is not None
    edit(made, lambda script: setattr(next(script.shots()), "seconds", first.seconds + 1.3))
    found = answer("shoot", made, "--dry-run")
    assert [(s["shot"], s["why"], s["continues"]) for s in found["shoot"]] == [(first.id, ["seconds"], 1)]
    assert found["shoot"][0]["chunks"] < before.chunks + 3
    run("film", made)
    after = circled(Production.open(made), first.id)
    assert after is not None and after.take == 2 and after.continues == 1 and after.chunks > before.chunks
    old, new = latents(made, first.id, 1), latents(made, first.id, 2)
    assert all(map(np.array_equal, old, new))
    assert all(takes_of(Production.open(made), shot.id) == [1] for shot in others)
    status = answer("status", made)
    assert {shot["state"] for shot in status["shots"]} == {"shot"}
    assert status["shots"][0]["seconds"] == round(round((first.seconds + 1.3) * 16) / 16, 3)
    assert count_frames(made / "film.mp4") == status["frames"]
    assert answer("shoot", made, "--dry-run")["shoot"] == []


def test_a_shot_made_shorter_is_trimmed_to_the_frame_without_shooting(made: Path) -> None:
    first = shots_of(made)[0]
    before = count_frames(made / "film.mp4")
    own = answer("status", made)["shots"][0]["seconds"]
    edit(made, lambda script: setattr(next(script.shots()), "seconds", 0.9))
    assert answer("shoot", made, "--dry-run")["shoot"] == []
    assert "an older cut" in run("status", made).stdout
    run("cut", made)
    assert "an older cut" not in run("status", made).stdout
    assert count_frames(made / "film.mp4") == before - round(own * 16) + round(0.9 * 16)
    assert "trimmed to 0.88 of" in run("status", made).stdout
    clip = next(iter(opentimelineio.adapters.read_from_file(str(made / "film.otio")).find_clips()))
    assert clip.name == first.id and clip.source_range.duration.value == 14
    assert clip.media_reference.available_range.duration.value == round(own * 16)


def test_deleting_a_scene_or_a_shot_leaves_the_others_as_they_are(made: Path) -> None:
    def without_second_shot(script: Script) -> None:
        scene = next(s for s in script.scenes if s is not script.scenes[0] or len(s.shots) > 1)
        del scene.shots[0 if scene is not script.scenes[0] else 1]
        script.scenes = [s for s in script.scenes if s.shots]

    edit(made, without_second_shot)
    assert answer("shoot", made, "--dry-run")["shoot"] == []
    run("cut", made)
    assert count_frames(made / "film.mp4") == answer("status", made)["frames"]


def test_an_edit_that_changes_nothing_says_so_and_why(made: Path) -> None:
    edit(made, lambda script: setattr(next(script.shots()), "lens", "35mm anamorphic"))
    found = answer("status", made)["shots"][0]
    assert found["state"] == "shot" and "asked for the same" in found["notes"][0]
    assert all(not shot["notes"] for shot in answer("status", made)["shots"][1:])
    assert "asked for the same" in run("status", made).stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [(("--seed", "5"), "seed"), (("--memory", "window(1)"), "memory"), (("--generator", "theatre"), "weights")],
)
def test_a_setting_that_makes_takes_stale_is_named(made: Path, options: tuple[str, str], why: str) -> None:
    found = answer("shoot", made, "--dry-run", *options)
    assert len(found["shoot"]) == len(shots_of(made))
    assert all(why in shot["why"] for shot in found["shoot"])


def test_an_edited_prompt_is_named_and_taking_it_back_shoots_nothing(made: Path) -> None:
    first = shots_of(made)[0]
    edit(made, lambda script: setattr(next(script.shots()), "prompt", "wide shot , castle , night , camera still ."))
    assert answer("shoot", made, "--dry-run")["shoot"][0]["why"] == ["prompt"]
    run("shoot", made)
    assert read_choice(Production.open(made), first.id).take == 2  # type: ignore[union-attr]
    edit(made, lambda script: setattr(next(script.shots()), "prompt", None))
    assert answer("shoot", made, "--dry-run")["circle"] == [{"shot": first.id, "take": 1}]
    run("shoot", made)
    assert takes_of(Production.open(made), first.id) == [1, 2]
    assert read_choice(Production.open(made), first.id).take == 1  # type: ignore[union-attr]


def test_what_a_person_circled_stays_circled_also_when_it_is_stale(made: Path) -> None:
    first = shots_of(made)[0]
    run("shoot", made, "--shots", "1", "--again")
    run("circle", made, first.id, 1)
    edit(made, lambda script: setattr(next(script.shots()), "prompt", "wide shot , castle , night , camera still ."))
    output = run("film", made).output
    assert "take 1 stays circled, as you chose" in output and f"circle {made} {first.id} 3" in output
    assert takes_of(Production.open(made), first.id) == [1, 2, 3]
    assert read_choice(Production.open(made), first.id).take == 1  # type: ignore[union-attr]
    assert answer("shoot", made, "--dry-run")["shoot"] == []
    status = answer("status", made)["shots"][0]
    assert (status["state"], status["why"], status["current_takes"]) == ("stale", ["prompt"], [3])
    run("circle", made, first.id, 3)
    assert answer("status", made)["shots"][0]["state"] == "shot"


def test_a_circled_take_that_is_made_longer_stays_the_persons_choice(made: Path) -> None:
    first = shots_of(made)[0]
    run("circle", made, first.id, 1)
    edit(made, lambda script: setattr(next(script.shots()), "seconds", first.seconds + 1.0))
    run("film", made)
    choice = read_choice(Production.open(made), first.id)
    assert choice is not None and (choice.take, choice.by) == (2, "person")


def test_the_cut_for_editing_programs_has_every_whole_take(made: Path) -> None:
    first = shots_of(made)[0]
    run("shoot", made, "--shots", "1", "--again")
    edit(made, lambda script: setattr(next(script.shots()), "seconds", first.seconds + 1.0))
    run("film", made)
    clip = next(iter(opentimelineio.adapters.read_from_file(str(made / "film.otio")).find_clips()))
    assert set(clip.media_references()) == {"take 1", "take 2", "take 3"}


def test_any_whole_take_can_be_circled_and_is_in_the_film_with_its_own_length(made: Path) -> None:
    first = shots_of(made)[0]
    edit(made, lambda script: setattr(next(script.shots()), "seconds", first.seconds + 1.0))
    run("film", made)
    run("circle", made, first.id, 1)
    assert "take 1 is in the film, though stale (seconds)" in run("cut", made).output
    found = answer("status", made)
    assert count_frames(made / "film.mp4") == found["frames"]
    assert found["shots"][0]["state"] == "stale" and found["shots"][0]["why"] == ["seconds"]
    assert found["shots"][0]["notes"][0].startswith("the film has")


def test_a_shot_that_goes_on_from_another_is_stale_when_that_ends_otherwise(made: Path) -> None:
    shots = shots_of(made)
    edit(made, lambda script: setattr(list(script.shots())[1], "continuity", "continuous"))
    run("film", made)
    assert {shot["state"] for shot in answer("status", made)["shots"]} == {"shot"}
    run("shoot", made, "--shots", "1", "--again")
    found = answer("status", made)["shots"]
    assert [(shot["shot"], shot["why"]) for shot in found if shot["why"]] == [(shots[1].id, ["shot before"])]
    assert found[1]["take"] == 2
    run("circle", made, shots[0].id, 1)
    assert answer("status", made)["shots"][1]["state"] == "shot"


def test_a_shot_that_goes_on_is_shot_in_the_same_run_as_the_one_before(made: Path) -> None:
    edit(made, lambda script: setattr(list(script.shots())[1], "continuity", "continuous"))
    run("film", made)
    edit(made, lambda script: setattr(next(script.shots()), "prompt", "wide shot , castle , night , camera still ."))
    assert [shot["why"] for shot in answer("shoot", made, "--dry-run")["shoot"]] == [["prompt"], ["shot before"]]
    run("film", made)
    assert {shot["state"] for shot in answer("status", made)["shots"]} == {"shot"}


def test_takes_made_before_they_recorded_what_was_asked_stay_current(made: Path) -> None:
    for path in made.glob("takes/*/*/take.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        for key in ("asked", "cut_frames", "starts_from", "continues"):
            del record[key]
        path.write_text(json.dumps(record), encoding="utf-8")
    assert answer("shoot", made, "--dry-run")["shoot"] == []
    first = shots_of(made)[0]
    edit(made, lambda script: setattr(next(script.shots()), "seconds", first.seconds + 2.0))
    assert [s["why"] for s in answer("shoot", made, "--dry-run")["shoot"]] == [["seconds"]]
    assert all("seed" in s["why"] for s in answer("shoot", made, "--dry-run", "--seed", "9")["shoot"])


def test_a_reference_that_the_memory_cannot_use_is_refused_before_shooting(made: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "fox.png")
    before = sorted(made.rglob("*"))
    said = run("film", made, "--reference", f"fox={tmp_path / 'fox.png'}", "--memory", "window(1)", code=2).output
    assert "window(1)" in said and "shots(" in said
    assert sorted(made.rglob("*")) == before
    said = run(
        "film", "A fox ran.", "--generator", "theatre", "--reference", f"fox={tmp_path / 'fox.png'}", code=2
    ).output
    assert "theatre" in said


def test_a_bug_while_shooting_is_logged_with_its_traceback_and_shown_with_debug(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ModelRollout) -> Any:
        raise ValueError("a bug of ours")

    monkeypatch.setattr(ModelRollout, "step", broken)
    said = run("shoot", made, "--shots", "1", "--again", code=1).output
    assert "unexpected ValueError: a bug of ours" in said
    failed = [entry for entry in Production.open(made).read_log() if entry["event"] == "failed"]
    assert "in broken" in failed[-1]["traceback"]
    result = CliRunner().invoke(app, ["shoot", str(made), "--shots", "1", "--again", "--debug"])
    assert isinstance(result.exception, ValueError)


def test_a_generator_that_fails_for_a_reason_outside_is_told_without_calling_it_a_bug(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filmwright.generator import rollout

    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(rollout, "sample", full)
    said = run("shoot", made, "--shots", "1", "--again", "--debug", code=1).output
    assert "not enough memory" in said and "unexpected" not in said


def test_a_dry_run_says_what_paid_models_will_cost(made: Path, tmp_path: Path) -> None:
    script = tmp_path / "critic.json"
    script.write_text("[]", encoding="utf-8")
    paid = ("--critic", f"scripted:{script}")
    found = answer("shoot", made, "--dry-run", "--again", *paid)
    (critic,) = found["models"]
    assert (critic["calls"], critic["dollars"], critic["after"]) == (found["chunks"], None, "a guess")
    assert found["cost"] is None and "price unknown" in run("shoot", made, "--dry-run", "--again", *paid).stdout
    production = Production.open(made)
    production.write_settings(production.read_settings().model_copy(update={"price": (1.0, 2.0), "takes": 2}))
    production.log("call", **{"model": paid[1], "for": "View", "sent_tokens": 1000, "received_tokens": 100})
    found = answer("shoot", made, "--dry-run", "--again", *paid)
    (critic,) = found["models"]
    assert (critic["calls"], critic["after"]) == (2 * found["chunks"], "calls of this film")
    assert found["cost"] == pytest.approx(2 * found["chunks"] * (1000 * 1.0 + 100 * 2.0) / 1e6)
    assert answer("shoot", made, "--dry-run", *paid)["models"] == []  # nothing to shoot, nothing to look at


def test_a_dry_run_before_the_plan_says_what_planning_will_cost(made: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("[]", encoding="utf-8")
    (made / "script.yaml").unlink()
    production = Production.open(made)
    settings = production.read_settings().model_copy(
        update={"planner": f"scripted:{tmp_path / 'plan.json'}", "price": (1.0, 2.0)}
    )
    production.write_settings(settings)
    found = answer("shoot", made, "--dry-run")
    assert found["models"][0]["role"] == "planner" and found["models"][0]["calls"] > 3 and found["cost"] > 0
    assert "would plan the story first" in run("shoot", made, "--dry-run").stdout


def test_a_take_that_goes_on_and_is_killed_goes_on_to_the_same_latents(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shots_of(made)[0]
    edit(made, lambda script: setattr(next(script.shots()), "seconds", first.seconds + 2.0))
    shutil.copytree(made, tmp_path / "whole")
    run("shoot", tmp_path / "whole")
    step, steps = ModelRollout.step, iter(range(9))

    def stopped(self: ModelRollout) -> Any:
        if next(steps) == 1:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(ModelRollout, "step", stopped)
    run("shoot", made, code=130)
    monkeypatch.setattr(ModelRollout, "step", step)
    run("shoot", made)
    assert all(map(np.array_equal, latents(made, first.id, 2), latents(tmp_path / "whole", first.id, 2)))
