from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filmwright.generator.autoencoder import TinyVideoAutoencoder
from filmwright.storyboard.errors import FilmwrightError
from filmwright.training import recipe
from filmwright.training.autoencoder import AutoencoderStage
from filmwright.training.sizes import SIZES
from filmwright.training.trainer import Progress, learning_rate, run_stage
from filmwright.training.transformer import BaseStage, StudentStage
from filmwright.training.world import SPLITS, random_film, render_film

SMALL = replace(
    SIZES["nano"], name="small", width=32, height=16, heads=2, head_width=12, layers=1, ffn=24, clips=2, films=2
)
CPU = torch.device("cpu")


def quiet(progress: Progress) -> None: ...


def losses_over(stage: Any, steps: int, batch: int | None = None) -> list[float]:
    """Losses of plain AdamW steps, on one batch or on fresh ones."""
    optimiser = torch.optim.AdamW(stage.model.parameters(), lr=3e-3)
    found = []
    for step in range(steps):
        torch.manual_seed(step % 4)
        loss = stage.loss(stage.batch(batch if batch is not None else step), 0.0)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    return found


def test_films_of_the_splits_never_meet() -> None:
    assert SPLITS["validation"] - SPLITS["train"] >= 10**9
    assert random_film(SPLITS["train"]) != random_film(SPLITS["test"])
    assert random_film(5) == random_film(5)


def test_cuts_of_the_small_world_fall_on_chunks_and_are_marked() -> None:
    for seed in range(20):
        film = random_film(seed)
        assert [p.startswith("cut .") for p in film.prompts()] == film.starts()
        assert render_film(film, width=32, height=16).frames.shape == (48, 3, 16, 32)


def test_a_caption_forgets_looks_only_of_puppets_seen_before() -> None:
    for seed in range(200):
        seen: set[str] = set()
        for shot in random_film(seed).shots:
            for role, told in zip(shot.staging.roles, shot.told.roles, strict=True):
                assert told.appearance is not None or role.kind in seen
            seen |= {role.kind for role in shot.staging.roles}


def test_the_autoencoder_stage_learns() -> None:
    torch.manual_seed(0)
    stage = AutoencoderStage(width=32, height=16, batch=2, device=CPU)
    found = losses_over(stage, 40)
    assert sum(found[-5:]) < 0.7 * sum(found[:5])


def test_the_base_stage_learns_and_gradients_reach_everything() -> None:
    torch.manual_seed(0)
    stage = BaseStage(SMALL, TinyVideoAutoencoder().eval().requires_grad_(False), CPU)
    found = losses_over(stage, 60, batch=0)
    assert sum(found[-8:]) < 0.9 * sum(found[:8])
    for name, parameter in stage.model.named_parameters():
        if "relative_attention_bias" not in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_the_student_starts_as_its_teacher_and_learns_to_agree_over_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    autoencoder = TinyVideoAutoencoder().eval().requires_grad_(False)
    base = BaseStage(SMALL, autoencoder, CPU)
    losses_over(base, 20, batch=0)
    base.save(base.nets, tmp_path)
    student = StudentStage(SMALL, autoencoder, CPU, tmp_path)
    for mine, theirs in zip(student.nets.parameters(), base.nets.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    found = losses_over(student, 40, batch=0)
    assert sum(found[-8:]) < sum(found[:8])


def test_an_interrupted_stage_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def stage() -> AutoencoderStage:
        return AutoencoderStage(width=32, height=16, batch=1, device=CPU)

    run_stage(stage(), tmp_path, minutes=0.03, seed=0, report=quiet)
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    run_stage(stage(), tmp_path, minutes=0.03, seed=0, report=quiet)
    second = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert second["step"] > first["step"] > 0
    assert (tmp_path / "vae" / "config.json").exists()


def test_a_nan_loss_stops_the_run_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    class Broken(AutoencoderStage):
        def loss(self, batch: Any, progress: float) -> dict[str, torch.Tensor]:
            return {"loss": super().loss(batch, progress)["loss"] * float("nan")}

    with pytest.raises(FilmwrightError, match=r"loss became nan at step 0 \(batch seed 0\)"):
        run_stage(Broken(width=32, height=16, batch=1, device=CPU), tmp_path, minutes=0.1, seed=0, report=quiet)


def test_the_learning_rate_warms_up_and_falls() -> None:
    assert learning_rate(1.0, 0, 0.0) == pytest.approx(0.01)
    assert learning_rate(1.0, 500, 0.0) == pytest.approx(1.0)
    assert learning_rate(1.0, 500, 1.0) == pytest.approx(0.03)


def test_the_recipe_ends_in_a_bundle_that_makes_a_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: str
) -> None:
    from filmwright.cli import app
    from filmwright.storyboard.video import count_frames
    from typer.testing import CliRunner

    monkeypatch.setitem(recipe.SIZES, "small", SMALL)
    folder = recipe.train(
        "small", minutes=0.25, device="cpu", out=tmp_path / "run", stage=None, seed=0, scratch=True, report=quiet
    )
    profile = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    assert profile["sampling"]["kind"] == "few-step"
    assert profile["prompt_floor"] is not None
    result = CliRunner().invoke(app, ["film", story, "--generator", str(folder), "-o", "film", "--seconds", "4"])
    assert result.exit_code == 0, result.output
    assert count_frames(Path("film/film.mp4")) in (60, 72)


def test_pinned_captions_leave_looks_to_pictures_that_are_there() -> None:
    from filmwright.generator.text import build_tokenizer
    from filmwright.training.latents import PINS, encode_film

    torch.manual_seed(0)
    autoencoder, tokenizer = TinyVideoAutoencoder().eval(), build_tokenizer()
    size = SIZES["nano"]
    left = 0
    for seed in range(8):
        film = random_film(seed)
        made = encode_film(film, size, autoencoder, tokenizer)
        assert made.pins.shape == (4, 16, PINS, *size.latent)
        assert len(made.pinned_tokens) == len(film.prompts())
        left += int((made.pinned_mask.sum() < made.mask.sum()).item())
        with torch.no_grad():
            for staging, pins in zip(film.stagings(), made.pins, strict=True):
                assert len({tuple(pin.flatten().tolist()) for pin in pins.unbind(1)}) == PINS
                assert len(staging.roles) <= PINS
    assert left >= 4
