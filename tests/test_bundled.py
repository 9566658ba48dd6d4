"""The bundled weights: they load, they are what the model card says, and held-out films look as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filmwright.evaluation.films import evaluate
from filmwright.generator.bundle import load_bundle, reader_folder
from filmwright.generator.profiles import BUNDLED
from filmwright.generator.reader import load_reader
from filmwright.storyboard.stage import open_generator

MAX_REPOSITORY_WEIGHTS = 24_000_000
MOST_PARAMETERS = {"nano": 2_000_000, "mini": 7_000_000}
FILMS = {"nano": 6, "mini": 3}


def test_all_weights_of_the_repository_stay_small() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*.safetensors")) <= MAX_REPOSITORY_WEIGHTS


@pytest.mark.parametrize("name", MOST_PARAMETERS)
def test_a_bundle_is_whole_and_has_no_more_parameters_than_its_size_allows(name: str) -> None:
    import torch

    bundle = load_bundle(BUNDLED / name, torch.device("cpu"))
    assert sum(p.numel() for p in bundle.transformer.parameters()) <= MOST_PARAMETERS[name]
    assert bundle.clip is not None
    assert bundle.reader is not None
    assert bundle.profile.prompt_floor is not None


@pytest.fixture(scope="module", params=FILMS)
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    return evaluate(
        open_generator(request.param), load_reader(reader_folder(request.param)), films=FILMS[request.param], seed=0
    )


@pytest.mark.slow
def test_the_reader_knows_rendered_truth(found: dict[str, Any]) -> None:
    assert found["truth"]["set"]["rate"] >= 0.9
    assert found["truth"]["time"]["rate"] >= 0.9


@pytest.mark.slow
def test_held_out_films_show_the_set_they_were_asked_for(found: dict[str, Any]) -> None:
    assert found["made"]["set"]["rate"] > 0.5, "chance is 1/6"


@pytest.mark.parametrize(("asked", "action"), [("fox", "continue"), ("bear", "rewind")])
def test_the_critic_knows_who_is_there(asked: str, action: str) -> None:
    import torch
    from filmwright.agents.critic import Look, MeasuredCritic
    from filmwright.agents.prompts import staging_asked
    from filmwright.animatic.stage import Scene
    from filmwright.storyboard.caption import parse_caption

    told = "medium shot , forest , day , camera still : red plain {} walks right ."
    drawn = (
        Scene(parse_caption(told.format("fox")), width=128, height=64, layout_seed=7).draw(torch.arange(12) / 16).frames
    )
    frames = drawn.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    prompt = told.format(asked)
    nano = open_generator("nano")
    look = Look(nano.measure(frames, prompt), prompt, 1, False, None, 2, 1, asked=staging_asked(prompt))
    assert MeasuredCritic().review(look).action == action


@pytest.mark.parametrize("name", MOST_PARAMETERS)
def test_the_model_card_names_the_licence(name: str) -> None:
    assert "Apache-2.0" in (Path(BUNDLED) / name / "README.md").read_text(encoding="utf-8")
