"""Readers and what is measured with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filmwright.animatic.stage import Daylight, Scene
from filmwright.cli import app
from filmwright.evaluation.films import Tally
from filmwright.evaluation.light import LIGHTS, find_light
from filmwright.evaluation.readers import acting, labels_of
from filmwright.evaluation.recall import GAPS, evaluate_recall, recall_film
from filmwright.evaluation.truth import evaluate_readers, seen_looks
from filmwright.generator.actions import follow
from filmwright.generator.bundle import load_bundle, reader_folder
from filmwright.generator.profiles import BUNDLED
from filmwright.generator.reader import LOOKS, WORDS, FrameReader, load_reader, read
from filmwright.storyboard.caption import Appearance, Role, Staging
from filmwright.storyboard.stage import open_generator
from filmwright.storyboard.vocabulary import HUES, KINDS, PROPS, SETS, TIMES
from typer.testing import CliRunner

LESS_SURE = {"weather": 0.95, "light": 0.97, "pattern": 0.9, "accessory": 0.9, "prop": 0.95, "action": 0.7}
FOX = Role("fox", "stands", "right", Appearance("blue", "striped", "hat"))
BIRD = Role("bird", "stands", "left", Appearance("red", "plain", "bare"))


def scene(*roles: Role, view: str = "medium") -> Scene:
    return Scene(Staging(view, "meadow", "day", "still", roles), width=128, height=64, layout_seed=3)


def test_every_cell_of_a_puppet_is_labelled_with_its_kind_and_looks() -> None:
    found = labels_of(scene(FOX, BIRD), 0.5)
    fox, bird = (found["kind"] == 1 + KINDS.index(kind) for kind in ("fox", "bird"))
    assert fox.sum() > 30 and bird.sum() > 30
    assert set(found["hue"][fox].tolist()) == {HUES.index("blue")}
    assert set(found["hue"][bird].tolist()) == {HUES.index("red")}
    assert set(found["hue"][found["kind"] == 0].tolist()) == {-1}
    assert labels_of(scene(), 0.0)["kind"].sum() == 0


def test_a_prop_is_labelled_where_it_is_seen() -> None:
    carrier = Role("fox", "carries", "right", FOX.appearance, "lantern")
    found = labels_of(scene(carrier), 0.5)
    lantern = found["prop"] == 1 + PROPS.index("lantern")
    fox = found["kind"] == 1 + KINDS.index("fox")
    assert 3 <= lantern.sum() < fox.sum() and not (lantern & fox).any()
    columns = torch.arange(64.0).expand(32, 64)
    assert columns[lantern].mean() > columns[fox].mean()  # held out in front
    assert labels_of(scene(FOX), 0.5)["prop"].max() == 0


def test_a_window_follows_a_puppet_sideways_and_shows_its_jumps() -> None:
    moments, mask = 8, torch.zeros(8, 32, 64)
    for t in range(moments):
        mask[t, 12 - 4 * (t % 2) : 24 - 4 * (t % 2), 10 + 3 * t : 16 + 3 * t] = 1.0
    frames = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].repeat(1, 3, 1, 1)
    windows, path = follow(frames, mask, torch.zeros_like(mask))
    assert windows.shape == (moments, 5, 32, 32)
    places = torch.arange(32.0)
    across = (windows[:, 3].sum(dim=1) * places).sum(dim=1) / windows[:, 3].sum(dim=(1, 2))
    down = (windows[:, 3].sum(dim=2) * places).sum(dim=1) / windows[:, 3].sum(dim=(1, 2))
    assert across.sub(15.5).abs().max() < 1.0, "it stays in the middle"
    assert (down[::2].min() - down[1::2].max()) > 3.0, "every second time it is higher"
    assert (path[1:, 0] > path[:-1, 0]).all() and (path[1::2, 1] > path[::2, 1]).all()


def test_only_actions_that_can_be_seen_are_asked() -> None:
    twin = Role("fox", "runs", "left", BIRD.appearance, name="ada")
    assert [role.kind for role in acting(scene(FOX, BIRD).staging)] == ["fox", "bird"]
    assert [role.kind for role in acting(scene(FOX, BIRD, view="over").staging)] == ["fox"]
    assert acting(scene(FOX, twin).staging) == []


def test_who_stands_in_front_hides_who_stands_behind() -> None:
    walker = Role("fox", "walks", "right", FOX.appearance)
    moments = torch.arange(0.0, 4.0, 0.2)
    both, alone = (scene(*roles).visible(moments).puppets for roles in ((walker, BIRD), (walker,)))
    assert float(both.sum(dim=0).max()) <= 1.0 + 1e-6
    overlap = both[1] * (both[0] + both[1] > 0.99)
    assert both.shape[0] == 2 and alone.shape[0] == 1 and overlap.sum() > 0


@pytest.mark.slow
def test_the_bundled_readers_know_rendered_truth() -> None:
    bundle = load_bundle(BUNDLED / "nano", torch.device("cpu"))
    bundle.vocabulary = None  # the whole world
    found = evaluate_readers(load_reader(reader_folder("nano")), bundle, shots=60)
    sure = dict.fromkeys(("set", "time", "view", "camera", "kind", "hue", "cut"), 0.95)
    for name, rate in (sure | LESS_SURE).items():
        assert found["rendered"][name]["rate"] >= rate, name
        assert sum(sum(row.values()) for row in found["rendered"][name]["confusion"].values()) >= 30


@pytest.mark.parametrize("place", SETS)
def test_the_light_is_found_by_painting_the_set(place: str) -> None:
    reader = load_reader(reader_folder("nano"))
    for time in TIMES:
        for later, word in zip((0.02, 0.2, 0.38), LIGHTS, strict=True):
            staging = Staging("medium", place, time, "still", (FOX,))
            lit = Scene(staging, width=128, height=64, layout_seed=9, daylight=Daylight(later, 1e-9))
            frames = lit.draw(torch.zeros(1)).frames
            told = {"set": place, "time": time, "weather": "clear"}
            assert find_light(reader, frames, replace(read(reader, frames), frame=told)) == word, (time, later)


def test_looks_are_asked_for_where_they_can_be_seen() -> None:
    assert seen_looks(scene(FOX), 0) == list(LOOKS)
    horse = Role("horse", "walks", "right", FOX.appearance)
    close = Scene(Staging("over", "meadow", "day", "still", (horse, BIRD)), width=128, height=64)
    assert "accessory" not in seen_looks(close, 0)  # its head is above the frame


def test_a_reader_says_only_what_can_be_there() -> None:
    dragon = replace(FOX, kind="dragon")
    frames = scene(dragon).draw(torch.arange(4) / 16).frames
    assert "dragon" in read(load_reader(reader_folder("nano")), frames).kinds()
    known = load_bundle(BUNDLED / "nano", torch.device("cpu")).vocabulary
    assert known is not None and "dragon" not in known.kinds
    reading = read(load_reader(reader_folder("nano"), known), frames)
    assert set(reading.kinds()) <= set(known.kinds) and float(reading.areas["prop"].sum()) == 0.0


@pytest.mark.parametrize("gap", GAPS)
def test_a_recall_film_keeps_its_rules(gap: int) -> None:
    absent = other_set = 0
    for seed in range(40):
        film, who = recall_film(seed, gap)
        kinds = [[role.kind for role in shot.staging.roles] for shot in film.shots]
        shows = [index for index, cast in enumerate(kinds) if who.kind in cast]
        assert len(shows) == 2 and shows[1] == len(kinds) - 1
        assert sum(shot.chunks for shot in film.shots[shows[0] + 1 : -1]) == gap
        assert film.shots[-1].told.roles[0].appearance is None and who.appearance is not None
        assert film.shots[-1].staging.view != film.shots[shows[0]].staging.view
        assert (film.shots[shows[0]].staging.roles[0].appearance) == who.appearance
        absent += shows[0] > 0
        other_set += film.shots[-1].staging.set != film.shots[shows[0]].staging.set
    assert absent >= 20 and 8 <= other_set <= 32


def test_recall_is_measured_with_true_history(tiny_bundle: Path) -> None:
    generator = open_generator(str(tiny_bundle), "routed(2)+window(1)")
    found = evaluate_recall(generator, FrameReader(WORDS, width=16).eval(), films=2, seed=0, gaps=(0, 2))
    assert found["gaps"]["2"]["hue"]["asked"] == 2 and found["truth"]["identity"]["asked"] == 4


def test_readers_are_measured_from_the_command_line() -> None:
    result = CliRunner().invoke(app, ["evaluate", "readers", "nano", "--shots", "3", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    assert found["rendered"]["set"]["asked"] == 3
    shown = CliRunner().invoke(app, ["evaluate", "readers", "nano", "--shots", "3"])
    assert "rendered" in shown.output and "accessory" in shown.output


def test_an_interval_does_not_count_draws_of_films_that_asked_nothing() -> None:
    tally = Tally([(1, 1), *[(0, 0)] * 19])
    assert tally.summary() == {"rate": 1.0, "low": 1.0, "high": 1.0, "asked": 1.0}
