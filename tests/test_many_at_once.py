"""What a device is given in few calls is what it would be given in many: chunks that see alike, matrices of one shape, films drawn elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filmwright.generator.memory import parse_memory
from filmwright.generator.packed import Packed, alike
from filmwright.storyboard.errors import InputError
from filmwright.training.growth import enlarge
from filmwright.training.muon import StackedMuon
from filmwright.training.painters import Painters, opened
from filmwright.training.run_folder import Order
from filmwright.training.shop import Shop

from .small_runs import ALONE, CLIPS, POLICIES, put_autoencoder, recipe, run, shop, tuning

pytestmark = pytest.mark.usefixtures("small_size")

MANY = "state(1)+shots(2)+sink(1)+routed(2)+window(2)"


@pytest.mark.parametrize("written", [*POLICIES, MANY])
def test_chunks_that_see_alike_attend_together_as_they_do_one_by_one(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shop(tmp_path, tuning(memories={written: 1}, chunks=6, films=2))
    stage = made.stage(made.recipe.stage("base"))
    torch.nn.init.normal_(stage.nets["transformer"].proj_out.weight)
    batch, found = stage.batch(0), []
    for together in (False, True):
        if together:
            monkeypatch.setattr(Packed, "_runs", lambda self, device: alike(self.memory, self.chunks, self.length))
        stage.nets.zero_grad()
        loss = stage.loss(batch, 0, 0.5)["loss"]
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in stage.nets.parameters() if p.grad is not None)])
    for one, many in zip(*found, strict=True):
        torch.testing.assert_close(many, one, rtol=1e-3, atol=1e-5)


def test_most_chunks_of_a_film_see_alike() -> None:
    assert alike(parse_memory("shots(3)+window(1)"), 12, 3) == (range(1), range(1, 12))

    assert alike(parse_memory("routed(2)+window(1)"), 6, 3)[-1] == range(2, 6)


def test_matrices_of_one_shape_are_updated_together_as_torch_updates_them_one_by_one() -> None:
    torch.manual_seed(0)
    shapes = [(8, 8), (8, 8), (24, 8), (8, 24), (24, 8)]
    start, grads = [torch.randn(s) for s in shapes], [[torch.randn(s) for s in shapes] for _ in range(3)]
    ends = []
    for kind in (torch.optim.Muon, StackedMuon):
        weights = [torch.nn.Parameter(value.clone()) for value in start]
        optimiser = kind(weights, lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for step in grads:
            for p, grad in zip(weights, step, strict=True):
                p.grad = grad.clone()
            optimiser.step()
        ends.append(weights)
    for ours, theirs, before in zip(*ends, start, strict=True):
        moved = (theirs - before).norm()
        assert moved > 0.1 and (ours - theirs).norm() < 0.02 * moved  # both in bf16


def test_films_drawn_by_other_processes_are_the_same(tmp_path: Path) -> None:
    stages = CLIPS, tuning(films=1, memories={"shots(2)+window(1)": 1}, label_guide=0.1)
    put_autoencoder(tmp_path)
    with opened(1) as painters:
        made = [Shop(recipe(*stages), Order(tmp_path, scratch=True), ALONE, who) for who in (painters, Painters())]
        here, there = (shop.stage(shop.recipe.stage("base")).batch(0).films for shop in made)
        clips = [shop.stage(shop.recipe.stage("eye")).batch(0) for shop in made]
    for name, value in vars(here).items():
        assert (
            torch.equal(value, getattr(there, name))
            if isinstance(value, torch.Tensor)
            else value == getattr(there, name)
        )
    assert torch.equal(clips[0][0], clips[1][0]) and clips[0][0].max() <= 1 and clips[0][0].std() > 0.1


def test_a_grown_transformer_says_what_it_said_and_every_weight_of_it_learns(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning())
    small = run(made, "base", 3).stage.nets["transformer"]
    grown = enlarge(small, 5, 40)
    assert len(grown.blocks) == 5 and grown.config["trained_span"] == small.config["trained_span"]
    x, text = torch.randn(2, 16, 3, 2, 4), torch.randn(2, 5, 128)
    args = x, torch.tensor([300.0, 700.0]), text
    torch.testing.assert_close(grown(*args), small(*args))
    with torch.no_grad():
        grown.proj_out.weight.normal_()
    grown(*args).square().mean().backward()
    silent = [block for block in grown.blocks if not block.ffn.net[2].weight.any()]
    assert len(silent) == 3
    for block in silent:
        assert block.ffn.net[2].weight.grad.any() and block.attn1.to_out[0].weight.grad.any()
    assert enlarge(small, 2, 24) is small
    hollow = enlarge(type(small)(**dict(small.config)).to("meta"), 3, 24)
    assert len(hollow.blocks) == 3 and all(p.is_meta for p in hollow.parameters())
    with pytest.raises(InputError, match="can only grow"):
        enlarge(grown, 2, 40)
