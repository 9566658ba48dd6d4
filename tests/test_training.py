"""The loop that runs the stages of a recipe: interrupted, resumed, handed on."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from filmwright.generator.precision import arithmetic
from filmwright.generator.transformer import CausalWanTransformer3DModel
from filmwright.storyboard.errors import FilmwrightError, InputError
from filmwright.training import checkpoint
from filmwright.training.films import Draws, FilmStream
from filmwright.training.run import train
from filmwright.training.run_folder import Order
from filmwright.training.shop import Shop
from filmwright.training.trainer import Budget, Run, learning_rate

from .small_runs import (
    ALONE,
    CLIPS,
    CPU,
    TEXT,
    few_steps,
    put_autoencoder,
    quiet,
    recipe,
    run,
    shop,
    tuning,
)

pytestmark = pytest.mark.usefixtures("small_size")


@pytest.mark.parametrize("native", [True, False])
def test_products_are_bf16_only_where_the_processor_has_it_unless_the_recipe_says(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filmwright.generator.precision.bf16_is_native", lambda device_type: native)
    a = torch.ones(2, 2)
    for precision, expected in (("auto", native), ("bf16", True), ("fp32", False)):
        with arithmetic(CPU, precision):  # type: ignore[arg-type]
            assert (a @ a).dtype == (torch.bfloat16 if expected else torch.float32)


def test_an_interrupted_run_ends_in_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    stages = (
        tuning(muon=2),
        few_steps("student", "distribution", critic_rate=1e-3, ratio=1, through=1),
    )
    ends = []
    for folder, pieces in ((tmp_path / "whole", (6,)), (tmp_path / "pieces", (2, 3, 6))):
        for name in ("base", "student"):
            for steps in pieces:  # each piece is a new process as far as the stage can tell
                made = shop(folder, *stages)
                found = Run(made.stage(made.recipe.stage(name)), folder / name, ALONE, 0, quiet)
                found.resume()
                batches = [found.stage.batch(step) for step in range(found.step, steps)]
                for batch in batches:
                    found.one(batch, found.step / 6)
                found.save()
            found.export()
        ends.append({name: value.clone() for name, value in found.average.values.items()})
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    lock = FileLock(str(tmp_path / ".lock"))
    with lock, pytest.raises(InputError, match="another run is training in"):
        train(recipe(CLIPS), Order(tmp_path, steps=1), quiet)
    assert not (tmp_path / "eye").exists()


def test_a_checkpoint_survives_a_full_disk_and_refuses_another_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shop(tmp_path, tuning(), few_steps("student", "consistency"))
    found = run(made, "base", 2)
    path, meta = checkpoint.find(tmp_path / "base")  # type: ignore[misc]
    with monkeypatch.context() as broken:

        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        broken.setattr(checkpoint.state_dict_saver, "save", full)
        with pytest.raises(FilmwrightError, match="No space left on device; the one before is kept"):
            found.save()
    assert checkpoint.find(tmp_path / "base") == (path, meta)
    other = shop(tmp_path, tuning(name="first"), few_steps("base", "consistency"))
    run(other, "first", 1)
    with pytest.raises(InputError, match="of kind tuning, and base is of kind consistency"):
        Run(other.stage(other.recipe.stage("base")), tmp_path / "base", ALONE, 0, quiet).resume()


def test_a_nan_loss_stops_the_run_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning())
    found = run(made, "base", 1)
    good = {name: value.clone() for name, value in found.average.values.items()}
    loss = found.stage.loss
    found.stage.loss = lambda *a: {"loss": loss(*a)["loss"] * float("nan")}  # type: ignore[method-assign]
    with pytest.raises(FilmwrightError, match=r"loss became nan at step 1 \(seed 0, batch 1\)"):
        found.go(Budget(steps=3))
    again = Run(made.stage(made.recipe.stage("base")), tmp_path / "base", ALONE, 0, quiet)
    again.resume()
    assert again.step == 1 and all(torch.equal(value, again.average.values[name]) for name, value in good.items())


def test_batches_follow_from_their_step_alone(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning())
    stream = made.stage(made.recipe.stage("base")).workshop.stream
    first = stream.batch(40, 4)
    again = made.stage(made.recipe.stage("base")).workshop.stream
    halves = [again.batch(40, 4, rank, 2) for rank in (0, 1)]
    whole = Draws(first, CPU).normal(3, 5)
    parts = [Draws(half, CPU).normal(3, 5).unflatten(0, (2, 3)) for half in halves]
    assert torch.equal(whole.unflatten(0, (4, 3))[[0, 2]], parts[0])
    assert torch.equal(whole.unflatten(0, (4, 3))[[1, 3]], parts[1])
    assert first.films.prompts[3:6] == halves[1].films.prompts[:3]
    assert torch.equal(first.films.latents.unflatten(0, (4, 3))[1], halves[1].films.latents.unflatten(0, (2, 3))[0])


def test_every_film_is_seen_about_twice_and_by_one_run_alone() -> None:
    def never(number: int) -> Any:
        raise AssertionError("no film is wanted, only its number")

    seen = Counter(n for step in range(2000) for n in FilmStream(never, seed=0).numbers(step, 3))
    assert len(seen) > 2500 and max(seen.values()) < 16  # the first few stand alone for a while
    late = [seen[number] for number in range(500, 2500)]
    assert 1.7 < sum(late) / len(late) < 2.3
    assert min(FilmStream(never, seed=0, begin=7000).numbers(0, 50)) >= 7000


def test_another_seed_and_another_stage_see_other_films(tmp_path: Path) -> None:
    def numbers(stage: str, seed: int) -> set[int]:
        put_autoencoder(tmp_path)
        made = Shop(recipe(CLIPS, tuning(), tuning(name="more")), Order(tmp_path, scratch=True, seed=seed), ALONE)
        return set(made.stage(made.recipe.stage(stage)).workshop.stream.numbers(0, 50))

    drawn = [numbers("base", 0), numbers("base", 1), numbers("more", 0)]
    assert numbers("base", 0) == drawn[0]
    assert not (drawn[0] & drawn[1]) and not (drawn[0] & drawn[2])


def test_stills_are_chunks_of_one_latent_frame_without_pictures_nobody_looks_at(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(chunk_latents=1, memories={"window(1)": 1}))
    stage = made.stage(made.recipe.stage("base"))
    films = stage.batch(0).films
    assert films.latents.shape[2] == 1 and films.keyframes.shape[2] == films.pins.shape[2] == 0
    assert all(torch.isfinite(value) for value in stage.loss(stage.batch(0), 0, 0.5).values())


def test_stills_between_films_train_the_same_weights(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(stills=0.4, chunks=4, memories={"shots(1)+window(1)": 1}, label_guide=0.1))
    stage = made.stage(made.recipe.stage("base"))
    found = [stage.batch(step) for step in range(5)]
    assert [one.films.latents.shape[2] for one in found] == [3, 3, 1, 3, 1]
    assert [len(one.films.latents) for one in found] == [8, 8, 24, 8, 24]  # as many latent frames
    stage.loss(found[2], 2, 0.5)["loss"].backward()
    assert all(
        p.grad is not None for name, p in stage.nets.named_parameters() if name.startswith("transformer.blocks.")
    )
    run(made, "base", 3)


def test_the_learning_rate_warms_up_and_falls() -> None:
    assert learning_rate(1.0, 0, 100, 0.0) == pytest.approx(0.01)
    assert learning_rate(1.0, 500, 100, 0.0) == pytest.approx(1.0)
    assert learning_rate(1.0, 500, 100, 1.0) == pytest.approx(0.03)


def test_a_recipe_ends_in_a_bundle_that_makes_a_film(tmp_path: Path, story: str) -> None:
    from filmwright.cli import app
    from filmwright.storyboard.video import count_frames
    from typer.testing import CliRunner

    stages = (
        CLIPS, TEXT, tuning(), few_steps("few", "ode", trajectory=4), few_steps("student", "distribution", critic_rate=1e-3),
        {"name": "clip", "kind": "clip", "frames": 8, "learning_rate": 1e-3},
        {"name": "reader", "kind": "reader", "frames": 8, "learning_rate": 1e-3},
    )  # fmt: skip
    order = Order(tmp_path / "run", device="cpu", steps=6, scratch=True)
    folder = train(recipe(*stages), order, quiet)
    profile = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    assert profile["sampling"]["kind"] == "few-step"
    assert profile["prompt_floor"] is not None
    result = CliRunner().invoke(app, ["film", story, "--generator", str(folder), "-o", "film", "--seconds", "4"])
    assert result.exit_code == 0, result.output
    assert count_frames(Path("film/film.mp4")) in (60, 72)


def test_later_stages_say_what_they_need(tmp_path: Path) -> None:
    alone = recipe(CLIPS, tuning(), few_steps("student", "consistency", teacher="base"))
    for stage, said in (("base", "needs an autoencoder"), ("student", "needs a tuned model")):
        with pytest.raises(FilmwrightError, match=said):
            train(alone, Order(tmp_path, device="cpu", steps=1, stage=stage, scratch=True), quiet)


def test_a_stage_goes_on_from_its_own_weights_when_its_checkpoint_stayed_elsewhere(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(), few_steps("student", "consistency"))
    run(made, "base", 3)
    run(made, "student", 3)
    shutil.rmtree(tmp_path / "student" / "checkpoint")
    stage = made.stage(made.recipe.stage("student"))
    written = CausalWanTransformer3DModel.from_pretrained(tmp_path / "student" / "transformer", low_cpu_mem_usage=False)
    taught = CausalWanTransformer3DModel.from_pretrained(tmp_path / "base" / "transformer", low_cpu_mem_usage=False)
    for name, value in stage.nets["transformer"].state_dict().items():
        assert torch.equal(value, written.state_dict()[name])
    for name, value in stage.teacher["transformer"].state_dict().items():
        assert torch.equal(value, taught.state_dict()[name])
