"""What a person does with a generator's memory, from the command line: choose it, look into it, pin and feed pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filmwright.cli import app
from filmwright.generator.rollout import ModelRollout
from filmwright.storyboard.footage import read_footage
from filmwright.storyboard.production import Production
from filmwright.storyboard.script import PromptChange, Shot
from filmwright.storyboard.stage import Rollout, open_generator
from filmwright.storyboard.takes import SavedChunk, TakeRecord, circled, read_take, read_take_chunks, takes_of
from filmwright.storyboard.video import write_video
from PIL import Image
from typer.testing import CliRunner


def run(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.strip().splitlines()]


def film(bundle: Path, story: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    return run(
        "film", story, "--seconds", "12", "--generator", str(bundle), "-o", str(folder), "--critic", "none", *options
    )


@pytest.mark.parametrize("memory", ["causalcine", "filmweaver", "adastate", "longlive", "full"])
def test_a_film_is_made_with_every_preset_and_shows_what_it_remembered(
    tiny_bundle: Path, story: str, tmp_path: Path, memory: str
) -> None:
    events = film(tiny_bundle, story, tmp_path / "film", "--memory", memory)
    assert events[-1]["missing"] == []
    chunks = [event for event in events if event["event"] == "chunk"]
    assert all(0 < event["seconds"] <= event["since_last"] + 1e-3 for event in chunks)
    found = run("memory", str(tmp_path / "film"))[-1]
    assert len(found["chunks"]) == len(chunks)
    with Image.open(found["picture"]) as picture:
        assert picture.width > 200
    recalled = sum(len(layer) for row in found["chunks"] for layer in row["recalled"])
    assert bool(recalled) == (memory in ("causalcine", "full"))
    windows = [len(row["window"]) for row in found["chunks"]]
    assert max(windows) == {"causalcine": 9, "filmweaver": 0, "adastate": 3, "longlive": 6, "full": 9}[memory]


def test_a_killed_film_with_a_hidden_state_goes_on_to_the_same_latents(
    tiny_bundle: Path, story: str, tmp_path: Path
) -> None:
    film(tiny_bundle, story, tmp_path / "whole", "--memory", "full")
    film(tiny_bundle, story, tmp_path / "again", "--memory", "full")
    again = Production.open(tmp_path / "again")
    shots = list(again.read_script().shots())
    for shot in shots[2:]:  # as if the rest had not been shot yet
        shutil.rmtree(again.folder / "takes" / shot.id)
    run("shoot", str(again.folder), "--shots", f"3-{len(shots)}")
    for shot in shots:
        one, two = (Production.open(tmp_path / name) for name in ("whole", "again"))
        first, second = circled(one, shot.id), circled(two, shot.id)
        assert first is not None and second is not None
        made, redone = read_take_chunks(one, first), read_take_chunks(two, second)
        assert made is not None and redone is not None
        assert first.take == second.take
        assert all(np.array_equal(a.latents, b.latents) for a, b in zip(made, redone, strict=True))
        assert made[0].state is not None


def test_more_pins_than_the_memory_holds_are_refused_before_the_shot(
    tiny_bundle: Path, story: str, tmp_path: Path
) -> None:
    options = []
    for name, colour in (("fox", (200, 80, 0)), ("crow", (0, 0, 0))):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
        options += ["--reference", f"{name}={tmp_path / f'{name}.png'}"]
    arguments = [
        "film",
        story,
        "--seconds",
        "12",
        "--generator",
        str(tiny_bundle),
        "-o",
        str(tmp_path / "film"),
        "--memory",
        "shots(1)+window(1)",
    ]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 2
    assert "pins 2 references" in result.output
    assert "use shots(2)" in result.output


def test_a_shot_opens_with_a_picture_or_a_clip(tiny_bundle: Path, story: str, tmp_path: Path) -> None:
    folder = tmp_path / "film"
    film(tiny_bundle, story, folder)
    production = Production.open(folder)
    script = production.read_script()
    first, second = list(script.shots())[:2]
    Image.new("RGB", (100, 40), (250, 10, 10)).save(folder / "still.png")
    clip = np.zeros((24, 16, 32, 3), dtype=np.uint8)
    clip[12:] = 255
    write_video(folder / "clip.mp4", [clip], fps=16, width=32, height=16)
    first.opens_with, second.opens_with = "still.png", "clip.mp4"
    production.write_script(script)
    assert {entry["shot"] for entry in run("status", str(folder))[-1]["shots"] if entry["state"] == "stale"} == {
        first.id,
        second.id,
    }
    before = {shot.id: circled(production, shot.id) for shot in (first, second)}
    run("shoot", str(folder))
    for shot in (first, second):
        old, new = before[shot.id], circled(production, shot.id)
        assert old is not None and new is not None and new.take == old.take + 1
        was, now = read_take_chunks(production, old), read_take_chunks(production, new)
        assert was is not None and now is not None
        assert not np.array_equal(was[0].latents, now[0].latents)
    from filmwright.storyboard.stage import open_generator

    generator = open_generator(str(tiny_bundle))
    still = read_footage(folder / "still.png", width=32, height=16, fps=16, frames=12)
    now = read_take_chunks(production, circled(production, first.id))  # type: ignore[arg-type]
    assert now is not None
    assert np.array_equal(now[0].latents, generator.encode(still)[0])
    first.opens_with = "gone.png"
    production.write_script(script)
    for command in ("check", "shoot"):
        result = CliRunner().invoke(app, [command, str(folder)])
        assert result.exit_code == 2
        assert "gone.png" in result.output


def test_footage_is_resampled_and_cropped(tmp_path: Path) -> None:
    clip = np.stack([np.full((20, 40, 3), 10 * i, dtype=np.uint8) for i in range(16)])
    write_video(tmp_path / "clip.mp4", [clip], fps=8, width=40, height=20)
    frames = read_footage(tmp_path / "clip.mp4", width=32, height=16, fps=16, frames=20)
    assert frames.shape == (20, 16, 32, 3)
    means = frames.mean(axis=(1, 2, 3))
    assert np.allclose(means[::2], 10.0 * np.arange(10), atol=4)
    assert np.allclose(means[1:19:2], means[0:18:2], atol=4)  # 8 to 16 frames a second: each stands twice


def test_too_large_a_memory_names_what_would_fit(tiny_bundle: Path, story: str, tmp_path: Path) -> None:
    from filmwright.generator import pages

    arguments = [
        "film",
        story,
        "--seconds",
        "12",
        "--generator",
        str(tiny_bundle),
        "-o",
        str(tmp_path / "film"),
        "--memory",
        "routed(5,pool=16000GB)+window(3)",
    ]
    assert CliRunner().invoke(app, arguments).exit_code == 0  # a pool is a bound, not a wish: it grows as the film does
    original = pages.PageShape.empty

    def full(self: pages.PageShape, frames: int, *rest: Any, **named: Any) -> Any:
        if frames > 30:
            raise pages.OutOfPages(frames * self.frame_bytes, self.device)
        return original(self, frames, *rest, **named)

    pages.PageShape.empty = full  # type: ignore[method-assign]
    try:
        result = CliRunner().invoke(app, [*arguments[:-3], str(tmp_path / "other"), "--memory", "window(40)"])
    finally:
        pages.PageShape.empty = original  # type: ignore[method-assign]
    assert result.exit_code == 1
    assert "memory window(40) at 32x16 is too large" in result.output
    assert "--memory 'window(" in result.output


def test_a_policy_is_drawn_without_a_film(tmp_path: Path) -> None:
    found = run("memory", "filmweaver", "-o", str(tmp_path / "policy.png"))[-1]
    assert (found["span"], found["starts"]["chunk"]) == (28, 22)
    with Image.open(tmp_path / "policy.png") as picture:
        assert picture.width > 28 * 20
    result = CliRunner().invoke(app, ["memory", "nonsense"])
    assert result.exit_code == 2
    assert "is unknown at 'nonsense'" in result.output


def test_pinned_references_are_evaluated_against_none(tiny_bundle: Path) -> None:
    from filmwright.evaluation.references import evaluate_references
    from filmwright.generator.reader import WORDS, FrameReader
    from filmwright.storyboard.stage import open_generator

    found = evaluate_references(
        open_generator(str(tiny_bundle), "shots(1)+window(1)"), FrameReader(WORDS, width=16).eval(), films=2, seed=0
    )
    assert found["pinned"]["hue"]["asked"] == found["truth"]["kind"]["asked"] == 2
    result = CliRunner().invoke(app, ["evaluate", "references", "nano", "--memory", "window(3)"])
    assert result.exit_code == 2
    assert "pins no references" in result.output


def test_another_take_is_circled_and_becomes_history(tiny_bundle: Path, story: str, tmp_path: Path) -> None:
    folder = tmp_path / "film"
    film(tiny_bundle, story, folder)
    production = Production.open(folder)
    first, second = list(production.read_script().shots())[:2]
    run("shoot", str(folder), "--shots", "1", "--again")
    run("shoot", str(folder), "--shots", "2", "--again")
    after_second_take = read_take_chunks(production, circled(production, second.id))  # type: ignore[arg-type]
    run("circle", str(folder), first.id, "1")
    record = circled(production, first.id)
    assert record is not None and record.take == 1
    run("shoot", str(folder), "--shots", "2", "--again")
    after_first_take = read_take_chunks(production, circled(production, second.id))  # type: ignore[arg-type]
    assert after_first_take is not None and after_second_take is not None
    assert not np.array_equal(after_first_take[0].latents, after_second_take[0].latents)
    run("cut", str(folder))
    for arguments, said in ((("9Z", "1"), "this film has"), ((first.id, "7"), "it has 1, 2")):
        result = CliRunner().invoke(app, ["circle", str(folder), *arguments])
        assert result.exit_code == 2
        assert said in result.output


@pytest.mark.parametrize("memory", ["full", "filmweaver"])
def test_takes_in_one_run_are_those_that_a_fresh_rollout_makes(
    tiny_bundle: Path, story: str, tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[str] = []
    feed = ModelRollout.feed
    monkeypatch.setattr(
        ModelRollout, "feed", lambda self, *a, **k: fed.append(self._rolling().shot) or feed(self, *a, **k)
    )
    film(tiny_bundle, story, tmp_path / "film", "--memory", memory, "--takes", "3")
    production = Production.open(tmp_path / "film")
    shots = list(production.read_script().shots())
    chunks = {shot.id: circled(production, shot.id).chunks for shot in shots}  # type: ignore[union-attr]
    assert all(
        fed.count(shot) <= chunks[shot] for shot in chunks
    )  # the circled take where it is not the last: no shot before it
    monkeypatch.undo()
    generator, seed = open_generator(str(tiny_bundle), memory), production.read_settings().seed

    def begin(rollout: Rollout, shot: Shot, record: TakeRecord | None) -> list[SavedChunk]:
        assert record is not None and len(record.prompts) == len(record.references) == 1
        pins = [production.folder / path for path in record.references[0][1]]
        prompt = record.prompts[0][1]
        rollout.begin_shot(prompt, shot=shot.id, take=record.take, references=pins, continuity=shot.continuity)
        return read_take_chunks(production, record) or []

    for position, shot in enumerate(shots):
        for number in takes_of(production, shot.id):
            rollout = generator.start(seed)
            for earlier in shots[:position]:
                for chunk in begin(rollout, earlier, circled(production, earlier.id)):
                    rollout.feed(chunk.latents, chunk.state)
            for chunk in begin(rollout, shot, read_take(production, shot.id, number)):
                assert np.array_equal(rollout.step().latents, chunk.latents)


def test_a_production_keeps_the_policy_of_a_memory_file(tiny_bundle: Path, story: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("window: 1\nrouted: {frames: 2, pool: 1MB}\n", encoding="utf-8")
    film(tiny_bundle, story, tmp_path / "film", "--memory", str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").unlink()
    assert Production.open(tmp_path / "film").read_settings().memory == "routed(2,pool=1MB)+window(1)"
    assert run("status", str(tmp_path / "film"))


def test_looks_are_left_to_the_picture_a_person_gave(tiny_bundle: Path, story: str, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (20, 20, 250)).save(tmp_path / "fox.png")
    prompts = {}
    given = ("--reference", f"fox={tmp_path / 'fox.png'}")
    for memory, options in (("window(1)", ()), ("shots(2)+window(1)", given)):
        events = film(tiny_bundle, story, tmp_path / memory, "--memory", memory, *options)
        prompts[memory] = [
            event["prompt"] for event in events if event["event"] == "shot" and " fox " in event["prompt"]
        ]
    assert prompts["window(1)"] and all(
        "plain fox" in p or "striped fox" in p or "dotted fox" in p for p in prompts["window(1)"]
    )
    assert prompts["shots(2)+window(1)"] and not any(
        "plain fox" in p or "striped fox" in p or "dotted fox" in p for p in prompts["shots(2)+window(1)"]
    )


def test_somebody_enters_in_the_middle_of_a_shot_with_their_picture(
    tiny_bundle: Path, story: str, tmp_path: Path
) -> None:
    folder = tmp_path / "film"
    options = []
    for name, colour in (("fox", (200, 80, 0)), ("crow", (20, 20, 250))):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
        options += ["--reference", f"{name}={tmp_path / f'{name}.png'}"]
    film(tiny_bundle, story, folder, "--memory", "shots(2)+window(1)", *options)
    production = Production.open(folder)
    script = production.read_script()
    first = next(script.shots())
    first.size, first.seconds, first.entities = "MS", 3.0, ["fox"]
    first.prompt_changes = [PromptChange(at_seconds=1.5, action="The crow flies in.", entities=["fox", "crow"])]
    production.write_script(script)
    run("shoot", str(folder), "--shots", "1")
    record = circled(production, first.id)
    assert record is not None
    chunk = record.references[1][0]
    assert [(since, len(paths)) for since, paths in record.references] == [(0, 1), (chunk, 2)]
    assert [" bird " in prompt for _, prompt in record.prompts] == [False, True]
    made = read_take_chunks(production, record)
    assert made is not None
    rolling = folder / "takes" / first.id / f"{record.take:02d}.rolling"
    shutil.move(folder / "takes" / first.id / f"{record.take:02d}", rolling)
    for left in rolling.glob("chunk-*.safetensors"):
        if int(left.stem.split("-")[1]) >= chunk:  # a kill right before they entered
            left.unlink()
    run("shoot", str(folder), "--shots", "1")
    again = circled(production, first.id)
    assert again is not None and again.references == record.references
    redone = read_take_chunks(production, again)
    assert redone is not None
    assert all(np.array_equal(a.latents, b.latents) for a, b in zip(made, redone, strict=True))
    script.entities = [e for e in script.entities if e.id != "crow"]
    production.script_path.write_text(script.model_dump_json(), encoding="utf-8")
    result = CliRunner().invoke(app, ["check", str(folder)])
    assert result.exit_code == 2
    assert "entity 'crow' is unknown" in result.output
