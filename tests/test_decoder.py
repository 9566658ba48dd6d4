"""The decoder learns to paint what the transformer makes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from filmwright.generator.autoencoder import TinyVideoAutoencoder
from filmwright.storyboard.errors import InputError
from filmwright.training.decoder import DecoderStage, deepened
from filmwright.training.shop import Shop
from filmwright.training.trainer import Budget, Run

from .small_runs import ALONE, FILMS, quiet, run, shop, tuning

pytestmark = pytest.mark.usefixtures("small_size")


def decoder(**more: Any) -> dict[str, Any]:
    return {"name": "paint", "kind": "decoder", **FILMS, "memories": {"window(1)": 1, "state(1)+window(1)": 1}} | more


def staged(folder: Path, **more: Any) -> tuple[Shop, DecoderStage]:
    made = shop(folder, tuning(), decoder(**more))
    run(made, "base", 3)
    stage = made.stage(made.recipe.stage("paint"))
    assert isinstance(stage, DecoderStage)
    return made, stage


def test_more_blocks_change_nothing_before_they_are_trained() -> None:
    torch.manual_seed(0)
    plain = TinyVideoAutoencoder(decoder_blocks=(1, 2, 1))
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    deeper = deepened(plain, (3, 2, 2))
    latents, starts = torch.randn(2, 3, 16, 2, 4), torch.tensor([[True, False, True]]).expand(2, -1)
    assert len(deeper.decoder) == len(plain.decoder) + 3
    with torch.no_grad():
        assert torch.equal(deeper.paint(latents, None, starts)[0], plain.paint(latents, None, starts)[0])


def test_a_decoder_is_not_made_shallower(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(), decoder(blocks=(1, 2, 1)))
    run(made, "base", 1)
    with pytest.raises(InputError, match=r"blocks \[1, 2, 1\] are fewer than the decoder has: \[2, 2, 1\]"):
        made.stage(made.recipe.stage("paint"))


def test_shots_are_painted_as_a_rollout_decodes_them(tmp_path: Path) -> None:
    """A stream restarts at every shot: each equals itself decoded alone."""
    _, stage = staged(tmp_path, chunks=4, cuts=0.5)
    batch = next(b for b in (stage.batch(2 * i) for i in range(20)) if b.batch.films.place[:4].max() in (1, 2))
    latents, starts = stage.remade(batch.batch)
    assert latents.shape == (2, 12, 16, 2, 4) and batch.frames.shape == (2, 48, 3, 16, 32)
    begins = starts[0].nonzero()[:, 0].tolist()
    assert begins[0] == 0 and len(begins) > 1
    with torch.no_grad():
        painted, _ = stage.autoencoder.paint(latents, None, starts)
        for first, last in pairwise([*begins, 12]):
            alone, _ = stage.autoencoder.paint(latents[:1, first:last])
            assert (painted[0, first * 4 : last * 4] - alone[0]).abs().max() <= 1e-5


def test_without_noise_the_latents_are_the_true_ones(tmp_path: Path) -> None:
    _, stage = staged(tmp_path, noise=0.0)
    batch = stage.batch(0).batch
    latents, _ = stage.remade(batch)
    true = batch.films.latents.transpose(1, 2).unflatten(0, (2, 3)).flatten(1, 2)
    assert torch.equal(latents, true)


def test_the_decoder_learns_and_latents_keep_their_meaning(tmp_path: Path) -> None:
    made, stage = staged(tmp_path, blocks=(2, 2, 2), noise=0.5)
    trained = {name: p.clone() for name, p in stage.nets.named_parameters()}
    batch = stage.batch(1001)
    before = float(stage.loss(batch, 1001, 0.0)["mae"].detach())
    assert [stage.part(step) for step in range(3)] == ["judge", "decoder", "judge"]
    Run(stage, tmp_path / "paint", ALONE, 0, quiet).go(Budget(steps=60))
    assert float(stage.loss(batch, 1001, 0.0)["mae"].detach()) < 0.9 * before
    assert all(torch.equal(p, trained[name]) for name, p in stage.nets.named_parameters())
    own, first = made._autoencoder("paint"), TinyVideoAutoencoder.from_pretrained(tmp_path / "eye" / "vae")
    assert tuple(own.config.decoder_blocks) == (2, 2, 2)  # type: ignore[attr-defined]
    video = torch.rand(1, 8, 3, 16, 32)
    assert torch.equal(own.encode(video), first.encode(video))


def test_the_judge_asks_for_true_frames(tmp_path: Path) -> None:
    _, stage = staged(tmp_path, judge_rate=3e-3, learning_rate=1e-9)  # the decoder stays
    found = Run(stage, tmp_path / "paint", ALONE, 0, quiet)
    found.go(Budget(steps=60))
    batch = stage.batch(1001)
    with torch.no_grad():
        made = stage.paint(batch.batch).clamp(0, 1)
        assert stage.judge(batch.frames).mean() > stage.judge(made).mean()


def test_an_interruption_between_decoder_and_judge_changes_nothing(tmp_path: Path) -> None:
    ends = []
    for folder, pieces in ((tmp_path / "whole", (4,)), (tmp_path / "pieces", (1, 4))):
        for steps in pieces:
            made = shop(folder, tuning(), decoder())
            if not (folder / "base").exists():
                run(made, "base", 1)
            found = Run(made.stage(made.recipe.stage("paint")), folder / "paint", ALONE, 0, quiet)
            found.resume()
            for batch in [found.stage.batch(step) for step in range(found.step, steps)]:
                found.one(batch, found.step / 4)
            found.save()
        ends.append({name: p.detach().clone() for name, p in found.stage.autoencoder.named_parameters()})  # type: ignore[attr-defined]
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name
