"""Seeds: the same for ever where something was begun with them, and never the same for two things."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filmwright.animatic.movie import draw_panels
from filmwright.animatic.theatre import sized
from filmwright.cli import app
from filmwright.generator.memory import parse_memory
from filmwright.generator.noise import noise
from filmwright.generator.shot_cache import gather_context
from filmwright.storyboard.caption import Staging, caption
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.production import Production, Settings
from filmwright.storyboard.seeds import FilmSeed, stable_seed
from filmwright.training import checkpoint
from filmwright.training.trainer import Run
from filmwright.training.world import random_film, render_film
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from .small_runs import ALONE, quiet, shop, tuning

PARTS = st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=4) | st.integers(), min_size=1, max_size=4)


def test_seeds_are_what_they_always_were() -> None:
    assert stable_seed(7, "1A", 1, 0, 2, 3) == 5274329797261498252
    assert stable_seed(0, "1A", 1, 2, "context", 0) == 8666312769147408488
    assert stable_seed(7, "layout", "meadow", version=1) == 6594501611518817885
    assert stable_seed(0, "base", version=1) == 5423306965852988390


@given(PARTS, PARTS)
def test_other_parts_give_another_seed(one: list[Any], other: list[Any]) -> None:
    alike = list(map(str, one)) == list(map(str, other))
    assert (stable_seed(*one) == stable_seed(*other)) == alike


def test_parts_that_hold_a_stroke_are_kept_apart() -> None:
    assert stable_seed("a/b", "c") != stable_seed("a", "b/c")


def test_the_noise_of_a_rollout_is_what_it_always_was() -> None:
    drawn = noise((4,), seed=7, shot="1A", take=1, draw=0, chunk=2, step=3)
    assert drawn.tolist() == [-0.027911875396966934, 0.09075334668159485, -1.3693634271621704, 0.3412761688232422]
    memory = parse_memory("shots(1,noise=200)+window(1)")
    for seed in (7, FilmSeed(7, version=1)):  # whatever the production notes of its layouts
        context = gather_context(memory, 3, [torch.zeros(1, 1, 2)], None, seed=(seed, "1A", 1, 0))
        assert context[0].latents.flatten().tolist() == [-0.4200915992259979, -0.1492408812046051]


def green(seed: int) -> list[list[int]]:
    """A few green values of a forest that the theatre draws."""
    rollout = sized(64, 32).start(seed)
    rollout.begin_shot(caption(Staging("wide", "forest", "day")), shot="a", take=1)
    found: list[list[int]] = rollout.step().frames[0, ::8, ::16, 1].tolist()
    return found


def test_the_theatre_lays_out_by_the_version_of_the_seed() -> None:
    assert green(FilmSeed(7, version=1)) == [
        [170, 170, 170, 170], [197, 197, 102, 102], [117, 75, 76, 76], [103, 103, 95, 95],
    ]  # fmt: skip
    assert green(FilmSeed(7)) == green(7) != green(FilmSeed(7, version=1))


def test_films_of_the_small_world_are_what_they_always_were() -> None:
    frames = render_film(random_film(3), width=32, height=16).frames
    assert (frames[::16, 1, 3, ::8] * 255).round().int().tolist() == [
        [98, 130, 81, 134], [103, 103, 17, 84], [107, 107, 88, 149],
    ]  # fmt: skip


def put_production(folder: Path, story: str) -> Production:
    result = CliRunner().invoke(
        app, ["plan", story, "-o", str(folder), "--generator", "theatre", "--seed", "7", "--seconds", "6"]
    )
    assert result.exit_code == 0, result.output
    return Production(folder)


def panels(production: Production, folder: Path) -> list[Any]:
    drawn = draw_panels(production.read_script(), folder, seed=production.read_settings().film_seed)
    return [np.asarray(Image.open(path)) for path in drawn.values()]


def test_an_old_production_is_drawn_as_it_was_and_a_new_one_the_new_way(tmp_path: Path, story: str) -> None:
    production = put_production(tmp_path / "film", story)
    assert production.read_settings().seed_version == 2
    new = panels(production, tmp_path / "new")
    written = production.settings_path.read_text(encoding="utf-8")
    assert "seed_version: 2\n" in written
    production.settings_path.write_text(written.replace("seed_version: 2\n", ""), encoding="utf-8")
    assert production.read_settings().film_seed == 7 and production.read_settings().film_seed.version == 1
    old = panels(production, tmp_path / "old")
    expected = draw_panels(production.read_script(), tmp_path / "expected", seed=FilmSeed(7, version=1))
    assert all(np.array_equal(a, np.asarray(Image.open(b))) for a, b in zip(old, expected.values(), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))
    production.write_settings(production.read_settings())
    assert "seed_version: 1\n" in production.settings_path.read_text(encoding="utf-8")
    production.settings_path.unlink()
    assert production.read_settings() == Settings(seed_version=1)


def test_no_environment_gives_a_production_another_version(
    tmp_path: Path, story: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILMWRIGHT_SEED_VERSION", "1")
    assert put_production(tmp_path / "film", story).read_settings().seed_version == 2


STAGE = tuning(stills=0.5, chunks=2)


def trained(folder: Path, *pieces: int, forget: bool = False) -> dict[str, torch.Tensor]:
    """The weights that a stage ends in that stops after each of these steps; `forget`: as runs before versions left it."""
    for steps in pieces:
        made = shop(folder, STAGE)
        found = Run(made.stage(made.recipe.stage("base")), folder / "base", ALONE, 0, quiet)
        found.resume()
        while found.step < steps:
            found.one(found.stage.batch(found.step), found.step / 4)
        found.save()
        if forget:
            noted = folder / "base" / checkpoint.FOLDER / checkpoint.META
            meta = json.loads(noted.read_text(encoding="utf-8"))
            meta.pop("seed_version", None)
            noted.write_text(json.dumps(meta), encoding="utf-8")
    return {name: value.clone() for name, value in found.average.values.items()}


@pytest.mark.usefixtures("small_size")
def test_a_run_goes_on_with_the_seeds_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = trained(tmp_path / "new", 4)
    with monkeypatch.context() as before:
        before.setattr(checkpoint, "seed_version", lambda folder: 1)
        old = trained(tmp_path / "old", 4)
        trained(tmp_path / "pieces", 2, forget=True)
    went_on = trained(tmp_path / "pieces", 4)
    assert all(torch.equal(old[name], value) for name, value in went_on.items())
    assert not all(torch.equal(new[name], value) for name, value in went_on.items())
    assert all(torch.equal(new[name], value) for name, value in trained(tmp_path / "new pieces", 2, 4).items())


def test_a_version_of_the_future_is_refused(tmp_path: Path) -> None:
    noted = tmp_path / checkpoint.FOLDER / checkpoint.META
    noted.parent.mkdir()
    noted.write_text(
        '{"kind": "tuning", "step": 1, "minutes": 1, "updates": 1, "warm": [], "seed_version": 9}', encoding="utf-8"
    )
    with pytest.raises(InputError, match="seed_version 9 is unknown"):
        checkpoint.seed_version(tmp_path)
