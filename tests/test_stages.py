"""What every stage of training learns, and that it learns what a rollout will ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from filmwright.generator.bundle import BUNDLED, load_transformer
from filmwright.generator.contexts import Alone, Paged
from filmwright.generator.pages import PageShape, PageStore
from filmwright.generator.shot_cache import gather_context
from filmwright.storyboard.caption import caption, parse_caption
from filmwright.storyboard.errors import InputError
from filmwright.training.autoencoder import AutoencoderStage
from filmwright.training.films import FilmStream
from filmwright.training.one_network import Share
from filmwright.training.recipe import read_recipe
from filmwright.training.settings import AutoencoderSettings
from filmwright.training.shop import Order, Shop
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
    few_steps,
    quiet,
    recipe,
    run,
    shop,
    tuning,
)

pytestmark = pytest.mark.usefixtures("small_size")

HISTORY = "transformer.history_embedding.4.weight"
PROJECTION = "proj_out.weight"


def held_out_loss(stage: Any, made: Shop) -> float:
    """The mean loss on four batches of films that no step trains on."""
    world = SmallWorld(SMALL, made._autoencoder("x"), chunks=3, length=3, split="validation")
    stream = FilmStream(world.film, seed=9)
    with torch.no_grad():
        return sum(float(stage.loss(stream.batch(step, 4), step, 1.0)["loss"]) for step in range(4)) / 4


WEAVER = {"memories": {"shots(2)+compressed": 1}, "cuts": 0.3}


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
    from filmwright.generator.contexts import Paged
    from filmwright.generator.pages import PageShape, PageStore

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


def test_weights_with_compressed_history_are_distilled_under_it(tmp_path: Path) -> None:
    student = few_steps("student", "distribution", critic_rate=3e-3, ratio=1, teacher="base", **WEAVER)
    made = shop(
        tmp_path,
        tuning(**WEAVER, history_patches=True),
        few_steps("few", "consistency", grid=8, **WEAVER),
        few_steps("ends", "ode", trajectory=4, start="few", teacher="base", **WEAVER),
        student,
    )
    run(made, "base", 4)
    for name in ("few", "ends"):
        stage = made.stage(made.recipe.stage(name))
        before = {key: p.detach().clone() for key, p in stage.nets.named_parameters()}
        Run(stage, tmp_path / name, ALONE, 0, quiet).go(Budget(steps=2))
        assert not torch.equal(before[HISTORY], dict(stage.nets.named_parameters())[HISTORY])
    stage = made.stage(made.recipe.stage("student"))
    Run(stage, tmp_path / "student", ALONE, 0, quiet).go(Budget(steps=4))
    scene = next(s for s in (stage.scene(stage.batch(step)) for step in range(20)) if len(s.films.place.unique()) == 3)
    own, level = scene.films.latents, torch.full((len(scene.films.latents),), 0.5)
    noisy = torch.randn_like(own)
    with torch.no_grad():
        told = stage.text(stage.fake, scene.films)
        sight = stage.beside_history(stage.fake, scene, own)
        flow, logits = stage._judge(scene, lambda: sight(noisy, level, told))
        for row in range(len(own)):  # whatever goes together with others is in its own place
            rows = torch.tensor([row])
            assert (sight(noisy[rows], level[rows], told[rows], rows=rows) - flow[rows]).abs().max() <= 1e-5
            felt = stage.critic["head"](stage._kept)
            assert (felt - logits[rows]).abs().max() <= 1e-4
    refused = shop(tmp_path / "plain", tuning(), few_steps("few", "consistency", **WEAVER))
    run(refused, "base", 1)
    with pytest.raises(InputError, match="needs weights with patchifiers"):
        refused.stage(refused.recipe.stage("few"))


def test_a_teacher_is_guided_as_a_rollout_is(tmp_path: Path) -> None:
    """Away from nothing; at the first chunk of a shot, high up, from nothing without memory; after it, low down, not at all."""
    memory = {"memories": {"routed(2)+window(1)": 1}, "cuts": 0.5}
    made = shop(
        tmp_path,
        tuning(**memory),
        few_steps("few", "progressive", guidance=3.0, guide_above=0.6, recall_above=0.5, **memory),
    )
    run(made, "base", 1)
    stage = made.stage(made.recipe.stage("few"))
    transformer = stage.teacher["transformer"].eval()
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.1)
    scene = next(
        s for s in (stage.scene(stage.batch(step)) for step in range(20)) if s.films.place.tolist()[1:3] == [0, 1]
    )
    clean = scene.films.latents
    noisy, levels = torch.randn_like(clean), (0.8, 0.4)
    shape = PageShape(2, 2, 2, 12, torch.float32, CPU)
    with torch.no_grad():
        text = stage.text(stage.teacher, scene.films)
        sight = stage.sight(stage.teacher, scene, clean, text, 2)
        found = [stage.guided(scene, sight, noisy, torch.full((len(clean),), level), text) for level in levels]
        store = PageStore(shape, scene.memory, 3)
        for row in range(3):
            one, told, nothing = noisy[row : row + 1], text[row : row + 1], torch.zeros_like(text[:1])
            paged = Paged(store, scene.memory)
            for level, guided in zip(levels, found, strict=True):
                begins = scene.films.place[row] == 0 and level > 0.5
                at = torch.tensor([level * 1000])
                seen, unseen = (
                    transformer(one, at, told, paged),
                    transformer(one, at, nothing, Alone(paged.own) if begins else paged),
                )
                scale = 3.0 if level > 0.6 or scene.films.place[row] == 0 else 1.0
                assert (unseen + scale * (seen - unseen) - guided[row : row + 1]).abs().max() <= 1e-4
            committing = Paged(store, scene.memory, commit=True)
            transformer(clean[row : row + 1], torch.zeros(1), told, committing)
            store.advance({f for layer in committing.recalled.values() for f in layer})


def test_a_progressive_student_is_sampled_in_as_many_steps_as_it_was_taught(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(), few_steps("few", "progressive", sampling_steps=3, substeps=2, shift=4.0))
    run(made, "base", 1)
    run(made, "few", 1)
    assert made._result()[1] == {"kind": "euler", "steps": 3, "shift": 4.0}


def test_one_stage_alone_is_what_is_bundled_whatever_the_recipe_bundles(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(), few_steps("few", "progressive"), result="base")
    run(made, "base", 1)
    run(made, "few", 1)
    assert made._result()[0] == [tmp_path / "base"]
    alone = Shop(made.recipe, Order(tmp_path, stage="few", scratch=True), ALONE)
    assert alone._result()[0] == [tmp_path / "few"]


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
    smaller = load_transformer(BUNDLED / "nano" / "transformer").state_dict()
    assert all(torch.equal(value, smaller[name].float()) for name, value in transformer.state_dict().items())


def test_a_recipe_that_begins_with_weights_that_are_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weights gone is no folder of weights of ours"):
        Shop(recipe(tuning(), weights="gone"), Order(tmp_path), ALONE)


@pytest.mark.parametrize("kind", ["progressive", "consistency", "ode"])
def test_a_few_step_student_is_taught(kind: str, tmp_path: Path) -> None:
    more = {"progressive": {"substeps": 2}, "consistency": {"grid": 8}, "ode": {"trajectory": 8, "reuse": 40}}
    made = shop(tmp_path, tuning(), few_steps("student", kind, **more[kind]))
    run(made, "base", 15)
    stage = made.stage(made.recipe.stage("student"))
    for mine, theirs in zip(stage.nets.parameters(), stage.teacher.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    batch = stage.batch(0)
    before = float(stage.loss(batch, 0, 0.0)["loss"].detach())
    Run(stage, tmp_path / "student", ALONE, 0, quiet).go(Budget(steps=40))
    assert float(stage.loss(batch, 0, 0.0)["loss"].detach()) < before
    assert all(not p.requires_grad for p in stage.teacher.parameters())


def test_a_chain_of_students_keeps_the_teacher_it_began_with(tmp_path: Path) -> None:
    made = shop(
        tmp_path,
        tuning(),
        few_steps("few", "consistency", grid=8),
        few_steps("student", "distribution", critic_rate=3e-3),
    )
    run(made, "base", 2)
    run(made, "few", 2)
    stage = made.stage(made.recipe.stage("student"))
    for name, networks in (("few", stage.nets), ("base", stage.teacher), ("base", stage.fake)):
        for key, value in load_transformer(tmp_path / name / "transformer").state_dict().items():
            assert torch.equal(networks["transformer"].state_dict()[key], value), (name, key)


def test_distribution_matching_moves_student_and_fake_score_and_gradients_reach_the_state(tmp_path: Path) -> None:
    made = shop(
        tmp_path,
        tuning(),
        few_steps(
            "student", "distribution", critic_rate=3e-3, ratio=2, through=1, horizon=2.0, smooth=1.0, memories={"state(1)+window(1)": 1}
        ),
    )  # fmt: skip
    run(made, "base", 15)
    stage = made.stage(made.recipe.stage("student"))
    assert [stage.part(step) for step in range(4)] == ["critic", "critic", "networks", "critic"]
    before = {name: [p.detach().clone() for p in part.parameters()] for name, part in stage.parts.items()}
    Run(stage, tmp_path / "student", ALONE, 0, quiet).go(Budget(steps=3))
    for name, part in stage.parts.items():
        assert any(not torch.equal(a, b) for a, b in zip(before[name], part.parameters(), strict=True)), name
    scene = stage.scene(stage.batch(2))
    stage.nets.requires_grad_(True)
    films = stage.rollout(scene, 2, stage.text(stage.nets, scene.films))
    states = []
    for chunk, row in enumerate(films.unflatten(0, (2, 3)).unbind(1)):
        hidden = torch.autograd.grad(row[:, :, 1:].sum(), films, retain_graph=True)[0].unflatten(0, (2, 3))
        states.append(float(hidden[:, chunk].abs().sum()))
    assert all(value > 0 for value in states)
    last = films.unflatten(0, (2, 3))[:, 1, :, 1:].square().sum()  # chunk 1 sees the state that chunk 0 left
    with_state = torch.autograd.grad(last, list(stage.nets["transformer"].blocks[0].parameters()))
    assert all(g.abs().sum() > 0 for g in with_state)


def test_the_state_carries_gradients_from_chunk_to_chunk(tmp_path: Path) -> None:
    """With `through` the picture of chunk 1 pulls at how chunk 0's hidden frame was made; without, it does not."""
    for through in (0, 1):
        folder = tmp_path / str(through)
        settings = few_steps("student", "distribution", critic_rate=1e-3, through=through, memories={"state(1)": 1})
        made = shop(folder, tuning(), settings)
        run(made, "base", 2)
        stage = made.stage(made.recipe.stage("student"))
        torch.nn.init.normal_(stage.nets["transformer"].proj_out.weight, std=0.05)
        stage.nets.requires_grad_(True)
        scene = stage.scene(stage.batch(0))
        kept: list[torch.Tensor] = []
        commit = stage._commit

        def note(seen: Any, clean: torch.Tensor, text: torch.Tensor, kept: Any = kept, commit: Any = commit) -> Any:
            if seen.chunk == 0:
                kept.append(clean)
            return commit(seen, clean, text)

        stage._commit = note
        films = stage.rollout(scene, 2, stage.text(stage.nets, scene.films))
        pull = torch.autograd.grad(films.unflatten(0, (2, 3))[:, 1, :, 1:].sum(), kept[0], allow_unused=True)[0]
        assert (pull is not None and bool(pull[:, :, :1].abs().sum() > 0)) == bool(through)


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
