"""Students of few steps: what teaches them, and what they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from filmwright.generator.bundle import load_transformer
from filmwright.generator.contexts import Alone, Paged
from filmwright.generator.pages import PageShape, PageStore
from filmwright.generator.schedule import warp
from filmwright.storyboard.errors import InputError
from filmwright.training import distribution
from filmwright.training.result import sources
from filmwright.training.trainer import Budget, Run
from filmwright.training.unroll import unroll

from .small_runs import ALONE, CPU, WEAVER, few_steps, quiet, run, shop, tuning

pytestmark = pytest.mark.usefixtures("small_size")

HISTORY = "transformer.history_embedding.4.weight"


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
    assert sources(made.run)[1] == {"kind": "euler", "steps": 3, "shift": 4.0}


TAUGHT: list[tuple[str, dict[str, Any]]] = [
    ("progressive", {"substeps": 2, "learning_rate": 5e-4}),  # it begins near its teacher: more than 1e-3 overshoots
    ("progressive", {"substeps": 1, "own_films": True, "learning_rate": 5e-4}),
    ("consistency", {"grid": 8}),
    ("ode", {"trajectory": 8, "reuse": 40}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "more"), TAUGHT)
def test_a_few_step_student_is_taught(kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(), few_steps("student", kind, **more))
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


def test_the_state_carries_gradients_from_chunk_to_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `through` the picture of chunk 1 pulls at how chunk 0's hidden frame was made; without, it does not."""
    kept: list[torch.Tensor] = []

    def noting(*given: Any) -> torch.Tensor:
        *before, denoise, through = given

        def note(x: torch.Tensor, ask: Any) -> torch.Tensor:
            kept.append(denoise(x, ask))
            return kept[-1]

        return unroll(*before, note, through)

    monkeypatch.setattr(distribution, "unroll", noting)
    for through in (0, 1):
        folder = tmp_path / str(through)
        settings = few_steps("student", "distribution", critic_rate=1e-3, through=through, memories={"state(1)": 1})
        made = shop(folder, tuning(), settings)
        run(made, "base", 2)
        stage = made.stage(made.recipe.stage("student"))
        torch.nn.init.normal_(stage.nets["transformer"].proj_out.weight, std=0.05)
        stage.nets.requires_grad_(True)
        scene = stage.scene(stage.batch(0))
        kept.clear()
        films = stage.rollout(scene, 2, stage.text(stage.nets, scene.films))
        pull = torch.autograd.grad(films.unflatten(0, (2, 3))[:, 1, :, 1:].sum(), kept[0], allow_unused=True)[0]
        assert (pull is not None and bool(pull[:, :, :1].abs().sum() > 0)) == bool(through)


def test_on_films_of_its_own_a_student_is_taught_where_its_rollouts_pass(tmp_path: Path) -> None:
    """What it meets is what its Euler steps lead to, after its own history; what it is taught there is the teacher's guided flow."""
    settings = few_steps(
        "student", "progressive", own_films=True, substeps=1, sampling_steps=3, guidance=3.0, memories={"routed(2)+window(1)": 1}
    )  # fmt: skip
    made = shop(tmp_path, tuning(), settings)
    run(made, "base", 3)
    stage = made.stage(made.recipe.stage("student"))
    for nets, seed in ((stage.nets, 0), (stage.teacher, 1)):
        torch.manual_seed(seed)
        torch.nn.init.normal_(nets["transformer"].proj_out.weight, std=0.1)
    batch = stage.batch(0)
    scene = stage.scene(batch)
    history, met = stage.own(scene, 2)
    assert not torch.equal(history, scene.films.latents)
    levels = [warp(1 - i / 3, 3.0) for i in range(3)] + [0.0]
    errors = []
    with torch.no_grad():
        text = stage.text(stage.nets, scene.films)
        ends = [x for x, _ in met[1:]] + [history]
        for (x, index), end, level, nearer in zip(met, ends, levels[:-1], levels[1:], strict=True):
            sigma = torch.full((len(x),), level)
            assert torch.allclose(warp(1 - index / 3, 3.0), sigma)
            flow = stage.forced(stage.nets, scene, history, x, sigma, text, 2)
            assert (x + (nearer - level) * flow - end).abs().max() <= 1e-4
            sight = stage.sight(stage.teacher, scene, history, text, 2)
            errors.append((stage.guided(scene, sight, x, sigma, text) - flow).square().mean())
    found = stage.loss(batch, 0, 0.0)
    assert float(found["plain"].detach()) == pytest.approx(float(torch.stack(errors).mean()), rel=1e-3)
    along = sum(error * (level - nearer) for error, level, nearer in zip(errors, levels[:-1], levels[1:], strict=True))
    assert float(found["loss"].detach()) == pytest.approx(float(along), rel=1e-3)
