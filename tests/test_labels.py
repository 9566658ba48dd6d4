"""What the middle of the transformer is asked: labels against the staging they come from, and a head that learns to tell them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.vocabulary import HUES, KINDS
from filmwright.training.labels import ANSWERS, LABEL_HEAD, UNKNOWN, LabelGuide, LabelHead, film_labels
from filmwright.training.recipe import read_recipe
from filmwright.training.trainer import Budget, Run
from filmwright.training.world import random_film

from .small_runs import ALONE, quiet, shop, tuning

NAMES, WIDTH, GRID, LENGTH = list(ANSWERS), 24, (2, 4), 3


def test_every_cell_is_labelled_as_the_staging_says() -> None:
    seen = 0
    for seed in range(6):
        film = random_film(seed, 4)
        labels = film_labels(film, width=128, height=64, length=LENGTH)
        assert labels.shape == (4, len(ANSWERS), LENGTH, 8, 16)
        for chunk, staging in enumerate(film.stagings()):
            kind, hue = (labels[chunk, NAMES.index(name)].long() for name in ("kind", "hue"))
            pairs = {
                (KINDS[k - 1], HUES[h]) for k, h in zip(kind[kind > 0].tolist(), hue[kind > 0].tolist(), strict=True)
            }
            assert pairs <= {(role.kind, role.appearance.hue) for role in staging.roles if role.appearance}
            covered = kind > 0
            for name in NAMES[1:]:
                assert (labels[chunk, NAMES.index(name)][~covered] == UNKNOWN).all()
                assert (labels[chunk, NAMES.index(name)][covered] >= 0).all()
            assert staging.roles or not covered.any()
            seen += int(covered.any())
    assert seen > 8


def test_parts_of_a_puppet_go_from_its_head_to_its_feet() -> None:
    film = next(
        f
        for f in map(random_film, range(99))
        if f.shots[0].staging.view == "medium" and len(f.shots[0].staging.roles) == 1
    )
    part = film_labels(film, width=256, height=128, length=LENGTH)[0, NAMES.index("part"), 0]
    rows = [part[row][part[row] >= 0] // 3 for row in range(part.shape[0])]
    heights = [float(row.float().mean()) for row in rows if len(row)]
    assert heights == sorted(heights) and heights[0] == 0 and heights[-1] == 3


def test_the_head_answers_for_the_cells_of_its_own_token() -> None:
    torch.manual_seed(0)
    head, x = LabelHead(WIDTH), torch.randn(1, LENGTH * GRID[0] * GRID[1], WIDTH)
    before = head(x, GRID)
    assert before.shape == (1, sum(ANSWERS.values()), LENGTH, 2 * GRID[0], 2 * GRID[1])
    token = 1 * GRID[0] * GRID[1] + 1 * GRID[1] + 2  # second frame, second row, third column
    x[0, token] = torch.randn(WIDTH)
    changed = (head(x, GRID) != before).any(dim=1)[0]
    assert changed.nonzero().tolist() == [[1, row, column] for row in (2, 3) for column in (4, 5)]


def test_what_the_tokens_hold_is_learnt() -> None:
    torch.manual_seed(0)
    kind = torch.randint(0, 3, (2, 1, LENGTH, 4, 8)).repeat_interleave(len(ANSWERS), dim=1)
    labels = torch.where(torch.arange(len(ANSWERS))[:, None, None, None] == 0, kind, UNKNOWN)
    tokens = torch.nn.functional.one_hot(kind[:, 0].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4), 3).float().flatten(4)
    x = torch.cat([torch.zeros(1, 24, 12), tokens.flatten(1, 3)])  # a clean row before them, which nobody asks
    head = LabelHead(12)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(150):
        guide = LabelGuide(head, 1, labels)
        guide(0, torch.randn_like(x), x, x)
        guide(1, x, x, x)
        found = guide.losses()
        optimiser.zero_grad()
        found["labels"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(found["told"]) == 1.0 and float(found["labels"].detach()) < 0.1


@pytest.mark.usefixtures("small_size")
def test_a_stage_asks_its_noisy_chunks_and_hands_its_head_to_the_next(tmp_path: Path) -> None:
    asking = {"memories": {"state(1)+window(1)": 1}, "label_guide": 0.1}
    made = shop(tmp_path, tuning(**asking), tuning(name="next", **asking))
    stage = made.stage(made.recipe.stage("base"))
    batch = next(b for b in map(stage.batch, range(20)) if (b.films.labels[:, 0] > 0).any())
    found = stage.loss(batch, 0, 0.0)
    assert float(found["labels"].detach()) > 1
    found["labels"].backward()
    transformer = stage.nets["transformer"]
    assert transformer.blocks[0].attn1.to_q.weight.grad.abs().sum() > 0
    assert transformer.proj_out.weight.grad is None  # half-way up
    run = Run(stage, tmp_path / "base", ALONE, 0, quiet)
    run.go(Budget(steps=2))
    after = made.stage(made.recipe.stage("next")).nets["labels"].state_dict()
    assert all(torch.equal(run.average.values[f"labels.{name}"], value) for name, value in after.items())
    assert not list(made.write_bundle().rglob(LABEL_HEAD))


@pytest.mark.parametrize(
    "stage, said",
    [
        ("weights: w\nstages:\n- {memories: {window(1): 1}, ", "label_guide needs to know who is in a shot"),
        (
            "size: nano\nmemory: window(1)\nstages:\n- {memories: {compressed: 1}, history_patches: true, ",
            "label_guide listens to whole films",
        ),
    ],
)
def test_labels_are_asked_where_there_are_some(stage: str, said: str, tmp_path: Path) -> None:
    text = f"name: mine\n{stage}name: base, kind: tuning, learning_rate: 1e-3, label_guide: 0.1}}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_recipe(str(tmp_path / "mine.yaml"))
