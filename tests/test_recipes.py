"""Recipes: what the bundled ones hold, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filmwright.cli import app
from filmwright.generator.text import build_tokenizer
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.vocabulary import GRAMMAR_WORDS, HUES, Vocabulary
from filmwright.training.recipe import Recipe, bundled_recipes, read_recipe
from filmwright.training.settings import TuningSettings
from filmwright.training.world import random_film
from ruamel.yaml import YAML
from typer.testing import CliRunner

STAGE = {"name": "base", "kind": "tuning", "learning_rate": 1e-3, "memories": {"window(1)": 1}}


def refused(folder: Path, stage: dict[str, Any] | None = None, **recipe: Any) -> str:
    path = folder / "mine.yaml"
    stages = recipe.pop("stages", [STAGE | (stage or {})])
    with path.open("w", encoding="utf-8") as file:
        YAML().dump({"name": "mine", "size": "nano", "memory": "window(1)", "stages": stages} | recipe, file)
    with pytest.raises(InputError) as error:
        read_recipe(str(path))
    return str(error.value)


@pytest.mark.parametrize("name", bundled_recipes())
def test_the_bundled_recipes_hold(name: str) -> None:
    assert read_recipe(name).name == name


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"learnin_rate": 1}, "learnin_rate: unknown key"),
        ({"learning_rate": 0}, "learning_rate: Input should be greater than 0"),
        ({"memories": {"widow(1)": 1}}, "is unknown at 'widow(1)'"),
        ({"memories": {"window(1)": 0}}, "window(1) has weight 0"),
        ({"memories": {"longlive": 1}}, "absolute positions are not trained"),
        ({"memories": {"compressed": 1}}, "need history_patches: true"),
        ({"memories": {"compressed+routed(1)": 1}, "history_patches": True}, "compressed is trained alone"),
        ({"memories": {"window(1)+chunk(6)": 1}}, "has other chunks than chunk_latents 3"),
        ({"kind": "tunning"}, "does not match any of the expected tags"),
        ({"picture_noise": [400, 100]}, "picture_noise 400-100 is no range"),
        ({"start": "elsewhere"}, "start 'elsewhere' is no earlier stage"),
        ({"kind": "ode", "timesteps": [250, 1000]}, "timesteps [250, 1000] must fall"),
        ({"kind": "consistency", "teacher": "base"}, "teacher 'base' is no earlier stage"),
    ],
)
def test_a_wrong_stage_is_refused_by_name(tmp_path: Path, stage: dict[str, Any], said: str) -> None:
    assert said in refused(tmp_path, stage)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            {"words": ["fox", "bear", "bird", *HUES, "plain", "forest", "day", "wide"]},
            "words: films need at least 2 sets",
        ),
        ({"words": ["fox", "unicorn"]}, "unicorn are no words of the small world"),
        ({"size": "huge"}, "size 'huge' is unknown: choose one of nano, mini"),
        ({"size": None}, "give size (of ours), or weights"),
        ({"memory": None}, "name the default memory"),
        ({"stages": [STAGE, STAGE]}, "stage name 'base' is used twice"),
        ({"stages": []}, "stages: "),
        ({"result": "last"}, "result 'last' is no stage"),
        ({"data": "clips", "stages": [{"name": "clip", "kind": "clip", "learning_rate": 1e-3}]}, "leave data out"),
        ({"stages": [STAGE, {"name": "text", "kind": "text", "learning_rate": 1e-3}]}, "text comes before"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path: Path, recipe: dict[str, Any], said: str) -> None:
    assert said in refused(tmp_path, **recipe)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["huge"], "recipe 'huge' is unknown: choose filmweaver, lora, mini, nano, wan-1.3b"),
        (["gone.yaml"], "recipe gone.yaml does not exist"),
        (["nano", "--minutes", "0"], "--minutes 0 is out of range"),
        (["nano", "--stage", "basis"], "--stage 'basis' is unknown: choose one of autoencoder, text, base"),
        (["nano", "--generator", "mini"], "it takes no weights"),
        (["lora", "--steps", "1"], "name their folder"),
        (["mini", "--generator", "nano"], "it takes no weights"),
        (["nano", "--device", "tpu"], "--device 'tpu' is unknown"),
    ],
)
def test_a_wrong_command_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", *arguments, "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_films_are_drawn_in_the_words_of_the_recipe(tmp_path: Path) -> None:
    words = [
        "fox",
        "bear",
        "bird",
        "red",
        "green",
        "blue",
        "pink",
        "cyan",
        "plain",
        "forest",
        "meadow",
        "day",
        "wide",
        "walks",
        "still",
        "left",
        "right",
    ]
    made = Recipe(name="mine", size="nano", memory="window(1)", stages=(STAGE,), words=tuple(words))
    known = Vocabulary.of(made.words or ())
    told = {word for seed in range(40) for prompt in random_film(seed, 6, known).prompts() for word in prompt.split()}
    assert told <= {*words, *GRAMMAR_WORDS} and {"fox", "bear", "bird", "pink"} <= told
    tokenizer = build_tokenizer(known)  # and the weights that a run writes know no others
    assert {*tokenizer.get_vocab()} == {"<pad>", "</s>", "<unk>", *known.words()}
    assert Vocabulary.of(tokenizer.get_vocab()) == known


def test_habits_draw_films_about_one_puppet_that_is_told_once() -> None:
    stage = TuningSettings.model_validate({**STAGE, "cuts": 1.0, "cast": 1, "forget": 1.0})
    for seed in range(40):
        film = random_film(seed, 6, habits=stage.habits())
        assert len(film.shots) == 6  # a cut at every chunk
        assert len({kind for kind, _ in film.cast()}) <= 1
        if any(role.name for shot in film.shots for role in shot.staging.roles):
            continue  # two of one kind
        told = [role for shot in film.shots for role in shot.told.roles if role.appearance]
        assert len(told) <= 1


def test_pairs_put_two_puppets_into_shots_and_leave_other_films_as_they_are() -> None:
    stage = TuningSettings.model_validate({**STAGE, "pairs": 1.0})
    for seed in range(40):
        for shot in random_film(seed, 6, habits=stage.habits()).shots:
            assert shot.staging.view == "close" or len(shot.staging.roles) == 2
        assert random_film(seed, 6, habits=TuningSettings.model_validate(STAGE).habits()) == random_film(seed, 6)
