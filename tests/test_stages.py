"""What every stage of training learns, and that it learns what a rollout will ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from filmwright.generator.bundle import load_transformer
from filmwright.generator.contexts import Paged
from filmwright.generator.pages import PageShape, PageStore
from filmwright.generator.profiles import BUNDLED
from filmwright.generator.shot_cache import gather_context
from filmwright.storyboard.caption import caption, parse_caption
from filmwright.storyboard.errors import InputError
from filmwright.training.autoencoder import AutoencoderStage
from filmwright.training.films import FilmStream
from filmwright.training.one_network import Share
from filmwright.training.recipe import read_recipe
from filmwright.training.result import sources
from filmwright.training.run_folder import Order
from filmwright.training.settings import AutoencoderSettings
from filmwright.training.shop import Shop
from filmwright.training.sizes import SIZES
from filmwright.training.small_world import SmallWorld
from filmwright.training.text import answers_of
from filmwright.training.trainer import Budget, Run
from filmwright.training.world import SPLITS, random_film
from transformers import UMT5EncoderModel

from .small_runs import (
    ALONE,
    CPU,
    POLICIES,
    SMALL,
    TEXT,
    WEAVER,
    few_steps,
    quiet,
    recipe,
    run,
    shop,
    tuning,
)

pytestmark = pytest.mark.usefixtures("small_size")

PROJECTION = "proj_out.weight"


def held_out_loss(stage: Any, made: Shop) -> float:
    """The mean loss on four batches of films that no step trains on."""
    world = SmallWorld(SMALL, made._autoencoder("x"), chunks=3, length=3, split="validation")
    stream = FilmStream(world.film, seed=9)
    with torch.no_grad():
        return sum(float(stage.loss(stream.batch(step, 4), step, 1.0)["loss"]) for step in range(4)) / 4


def test_the_autoencoder_learns() -> None:
    torch.manual_seed(0)
    settings = AutoencoderSettings(name="eye", kind="autoencoder", learning_rate=3e-3, clips=2)
    stage, losses = AutoencoderStage(settings, SMALL, CPU, Share()), []
    optimiser = torch.optim.AdamW(stage.network.parameters(), lr=3e-3)
    for step in range(40):
        loss = stage.loss(stage.batch(step), step, 0.0)["loss"]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("written", [*POLICIES, "shots(2)+compressed"])
def test_tuning_lowers_the_held_out_loss_and_reaches_every_weight(written: str, tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(memories={written: 1}, history_patches="compressed" in written, muon=2))
    stage = made.stage(made.recipe.stage("base"))
    before = held_out_loss(stage, made)
    found = Run(stage, tmp_path / "base", ALONE, 0, quiet)
    found.go(Budget(steps=40))
    assert held_out_loss(stage, made) < 0.97 * before
    for step in range(3, 7):  # some of these films have a shot of three chunks
        stage.loss(stage.batch(step), step, 0.5)["loss"].backward()
    for name, parameter in stage.nets.named_parameters():
        if "relative_attention_bias" not in name:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    config = json.loads((tmp_path / "base" / "transformer" / "config.json").read_text(encoding="utf-8"))
    assert set(config["trained_segments"]) == {part.partition("(")[0] for part in written.split("+")}


def test_the_loss_of_packed_tuning_equals_a_slow_plain_one(tmp_path: Path) -> None:
    """Chunk by chunk, film by film, with the store of a rollout."""
    made = shop(tmp_path, tuning(memories={"routed(2)+window(1)": 1}, copies=1, prompt_dropout=0, matter=0))
    stage = made.stage(made.recipe.stage("base"))
    torch.nn.init.normal_(stage.nets["transformer"].proj_out.weight, std=0.05)
    batch = stage.batch(0)
    loss = float(stage.loss(batch, 0, 0.0)["loss"].detach())
    scene = stage.scene(batch)
    levels = scene.draws.uniform(3)
    sigma = 3.0 * levels / (1 + 2.0 * levels)
    noise = scene.draws.normal(3, *scene.films.latents.shape[1:])
    text, total = stage.text(stage.nets, scene.films), 0.0
    shape = PageShape(2, 2, 2, 12, torch.float32, CPU)
    with torch.no_grad():
        for film in range(2):
            store = PageStore(shape, scene.memory, 3)
            for row in range(film * 3, film * 3 + 3):
                clean = scene.films.latents[row : row + 1]
                noisy = (1 - sigma[row]) * clean + sigma[row] * noise[row]
                level = sigma[row : row + 1] * 1000
                transformer = stage.nets["transformer"]
                flow = transformer(noisy, level, text[row : row + 1], Paged(store, scene.memory))
                total += float((flow - (noise[row] - clean)).square().mean()) / 6
                paged = Paged(store, scene.memory, commit=True)
                transformer(clean, torch.zeros(1), text[row : row + 1], paged)
                store.advance({f for layer in paged.recalled.values() for f in layer})
    assert loss == pytest.approx(total, rel=1e-5)


def test_a_guided_step_adds_the_guides_loss(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(memories={"routed(2)": 1}, routing_guide=0.5, cuts=1.0, chunks=3))
    stage = made.stage(made.recipe.stage("base"))
    batch = next(b for b in map(stage.batch, range(20)) if b.films.shared[2, :2].sum() == 1)  # one of two comes again
    guided = stage.loss(batch, 0, 0.0)
    assert float(guided["routing"].detach()) > 0
    made = shop(tmp_path, tuning(memories={"routed(2)": 1}, cuts=1.0, chunks=3))
    torch.manual_seed(0)
    free = made.stage(made.recipe.stage("base"))
    free.nets.load_state_dict(stage.nets.state_dict())
    plain = free.loss(batch, 0, 0.0)
    assert float(guided["loss"]) == pytest.approx(float(plain["loss"]) + 0.5 * float(guided["routing"]), rel=1e-3)
    guided["routing"].backward()
    assert stage.nets["transformer"].blocks[0].attn1.to_q.weight.grad.abs().sum() > 0


def test_compressed_history_is_seen_in_training_as_in_a_rollout(tmp_path: Path) -> None:
    plain = {"picture_noise": (0, 0), "history_noise": (0, 0)}
    made = shop(tmp_path, tuning(**WEAVER, **plain, history_patches=True))
    stage = made.stage(made.recipe.stage("base"))
    transformer = stage.nets["transformer"].eval()
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.1)
    scene = next(s for s in (stage.scene(stage.batch(step)) for step in range(20)) if s.films.place.max() == 2)
    clean = scene.films.latents
    noisy, sigma = torch.randn_like(clean), torch.full((len(clean),), 0.5)
    heads = transformer.blocks[0].attn1.heads
    shape = PageShape(2, stage.workshop.tokens // 3, heads, SMALL.head_width, torch.float32, CPU)
    with torch.no_grad():
        text = stage.text(stage.nets, scene.films)
        seen = stage.beside_history(stage.nets, scene, clean)(noisy, sigma, text)
        for row, place in enumerate(scene.films.place.tolist()):
            history = torch.cat(list(clean[row - place : row]), dim=1) if place else None
            pictures = list(scene.pictures.latents[row].unbind(1))
            context = gather_context(scene.memory, 3, pictures, history, seed=())
            known = transformer.remember(context, text[row : row + 1])
            paged = Paged(PageStore(shape, scene.memory, 3), scene.memory, known)
            rolled = transformer(noisy[row : row + 1], sigma[:1] * 1000, text[row : row + 1], paged)
            assert (rolled[0] - seen[row]).abs().max() <= 1e-5


def test_one_stage_alone_is_what_is_bundled_whatever_the_recipe_bundles(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(), few_steps("few", "progressive"), result="base")
    run(made, "base", 1)
    run(made, "few", 1)
    assert sources(made.run)[0] == [tmp_path / "base"]
    alone = Shop(made.recipe, Order(tmp_path, stage="few", scratch=True), ALONE)
    assert sources(alone.run)[0] == [tmp_path / "few"]


def test_several_results_are_bundled_as_the_mean_of_their_weights(tmp_path: Path) -> None:
    made = shop(tmp_path, TEXT, tuning(), tuning(name="more", guidance=2.0, start="base"), result=["base", "more"])
    for stage in ("text", "base", "more"):
        run(made, stage, 1)
    folder = made.write_bundle()
    base, more, mean = (
        load_transformer(p / "transformer").state_dict() for p in (tmp_path / "base", tmp_path / "more", folder)
    )
    assert all(torch.equal(mean[n], ((base[n] + more[n]) / 2).to(torch.bfloat16)) for n in mean)
    assert not torch.equal(base[PROJECTION], more[PROJECTION])
    assert json.loads((folder / "profile.json").read_text(encoding="utf-8"))["sampling"]["guidance"] == 2.0


def test_a_size_begins_with_the_weights_that_its_recipe_names(tmp_path: Path) -> None:
    named = recipe(tuning(), size="mini", weights="nano", words=read_recipe("nano").words)
    made = Shop(named, Order(tmp_path, scratch=True), ALONE)
    transformer = made.stage(made.recipe.stage("base")).nets["transformer"]
    smaller = load_transformer(BUNDLED / "nano" / "transformer").float()
    assert len(transformer.blocks) == SIZES["mini"].layers > len(smaller.blocks), "it grows"
    x, text = torch.randn(1, 16, 3, 16, 32), torch.randn(1, 9, 128)
    args = x, torch.tensor([400.0]), text
    torch.testing.assert_close(transformer(*args), smaller(*args))


def test_a_recipe_that_begins_with_weights_that_are_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weights gone is no folder of weights of ours"):
        Shop(recipe(tuning(), weights="gone"), Order(tmp_path), ALONE)


def test_activations_computed_again_give_the_same_gradients(tmp_path: Path) -> None:
    grads = []
    for checkpointing in (False, True):
        made = shop(tmp_path, tuning(checkpointing=checkpointing, memories={"shots(2)+routed(1)+window(1)": 1}))
        stage = made.stage(made.recipe.stage("base"))
        stage.loss(stage.batch(0), 0, 0.0)["loss"].backward()
        grads.append([p.grad for p in stage.nets["transformer"].parameters()])
    for plain, again in zip(*grads, strict=True):
        assert torch.allclose(plain, again, atol=1e-7)


def test_a_word_is_asked_whose_it_is() -> None:
    told = parse_caption(
        "wide shot , forest , day , camera still : fox walks left ; red plain bear with hat talks right ."
    )
    asked = [
        (word, said["whose"], said.get("kind"), said.get("hue"))
        for word, said in zip(caption(told).split(), answers_of(told), strict=True)
    ]
    assert (
        ("fox", "0", "fox", "-") in asked
        and ("hat", "1", "bear", "red") in asked
        and ("forest", "-", None, None) in asked
    )


def test_the_text_encoder_learns_to_read_and_the_transformer_goes_by_it(tmp_path: Path) -> None:
    made = shop(tmp_path, TEXT, tuning())
    stage = made.stage(made.recipe.stage("text"))
    film_shots = [random_film(SPLITS["validation"] + i, 6).shots for i in range(40)]
    held_out = stage.asked([shot.told for shots in film_shots for shot in shots])
    with torch.no_grad():
        before = stage.loss(held_out, 0, 0.0)
    learnt = run(made, "text", 60).stage
    with torch.no_grad():
        after = learnt.loss(held_out, 0, 1.0)
    assert after["loss"] < 0.8 * before["loss"]
    assert after["read"] > before["read"]
    base = made.stage(made.recipe.stage("base"))
    written = UMT5EncoderModel.from_pretrained(tmp_path / "text" / "text_encoder").state_dict()
    for name, value in base.nets["text_encoder"].state_dict().items():
        assert torch.equal(value, written[name])
