"""The loss that teaches routing what to recall: against a slow plain one, and against routing's own choice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filmwright.generator.routing import choose, describe
from filmwright.storyboard.errors import InputError
from filmwright.training.recipe import read_recipe
from filmwright.training.routing_guide import RoutingGuide
from filmwright.training.settings import TuningSettings
from filmwright.training.small_world import shown_again
from filmwright.training.world import Habits, random_film

FILMS, CHUNKS, LENGTH, STATE, TOKENS, HEADS, WIDTH, COPIES = 2, 4, 3, 1, 5, 2, 4, 2
SHARED = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
"""The third chunk shows whom the first showed; nobody else comes again."""


def heard(rows: int) -> torch.Tensor:
    return torch.randn(rows, (LENGTH + STATE) * TOKENS, HEADS, WIDTH)


def guide() -> RoutingGuide:
    return RoutingGuide(SHARED.repeat(FILMS, 1), FILMS, LENGTH, STATE)


def test_the_loss_is_cross_entropy_over_the_scores_that_routing_chooses_by() -> None:
    torch.manual_seed(0)
    rows = FILMS * CHUNKS
    q, k = heard(rows * (1 + COPIES)), heard(rows)
    losses, right = [], []
    for copy in range(1 + COPIES):
        for film in range(FILMS):
            keys = k[film * CHUNKS : film * CHUNKS + 2, STATE * TOKENS :].flatten(0, 1).unflatten(0, (-1, TOKENS))
            descriptors = describe(keys)  # of the six frames before the third chunk
            query = q[copy * rows + film * CHUNKS + 2, STATE * TOKENS :]
            scores = descriptors @ query.mean(dim=0).flatten() / (HEADS * WIDTH) ** 0.5
            losses.append(-scores.log_softmax(dim=0)[:LENGTH].exp().sum().log())
            right.append(float(choose(query[None], descriptors, 1)[0, 0] < LENGTH))
    asked = guide()
    asked(0, q, q, torch.cat([k] * (1 + COPIES)))
    found = asked.losses()
    assert float(found["routing"]) == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    assert float(found["routed"]) == pytest.approx(sum(right) / len(right))


def test_queries_and_keys_that_follow_it_recall_the_right_frames() -> None:
    torch.manual_seed(1)
    rows = FILMS * CHUNKS
    q, k = heard(rows).requires_grad_(True), heard(rows).requires_grad_(True)
    optimiser = torch.optim.Adam([q, k], lr=0.05)
    for _ in range(60):
        asked = guide()
        asked(0, q, q, k)
        optimiser.zero_grad()
        asked.losses()["routing"].backward()
        optimiser.step()
    assert float(asked.losses()["routed"]) == 1.0


def test_frames_of_the_window_are_not_asked_for() -> None:
    torch.manual_seed(2)
    rows = FILMS * CHUNKS
    q, k = heard(rows), heard(rows)
    near, far = (RoutingGuide(SHARED.repeat(FILMS, 1), FILMS, LENGTH, STATE, window) for window in (0, 2 * LENGTH))
    for one in (near, far):
        one(0, q, q, k)
    assert float(near.losses()["routing"]) > 0
    assert float(far.losses()["routing"]) == 0  # what the third chunk wants lies in a window of two chunks


def test_where_nobody_comes_again_nothing_is_asked() -> None:
    asked = RoutingGuide(torch.eye(CHUNKS, dtype=torch.bool), 1, LENGTH, STATE)
    asked(0, *[heard(CHUNKS)] * 3)
    assert float(asked.losses()["routing"]) == 0.0


def test_the_world_tells_which_chunks_show_the_same_puppet() -> None:
    for seed in range(20):
        film = random_film(seed, 6, habits=Habits(cuts=0.6))
        shared, stagings = shown_again(film), film.stagings()
        for row, mine in enumerate(stagings):
            for column, theirs in enumerate(stagings):
                same = any(a.kind == b.kind and a.appearance == b.appearance for a in mine.roles for b in theirs.roles)
                assert shared[row][column] == same


def test_clips_cannot_guide(tmp_path: Path) -> None:
    stage = {
        "name": "base",
        "kind": "tuning",
        "learning_rate": 1e-3,
        "memories": {"window(1)": 1},
        "routing_guide": 0.1,
    }
    assert TuningSettings.model_validate(stage).routing_guide == 0.1
    text = (
        "name: mine\nweights: w\nstages:\n"
        "- {name: base, kind: tuning, learning_rate: 1e-3, routing_guide: 0.1, memories: {window(1): 1}}\n"
    )
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="routing_guide needs to know who is in a shot"):
        read_recipe(str(tmp_path / "mine.yaml"))
