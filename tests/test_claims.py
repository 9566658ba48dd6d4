"""The papers' claims: every one is measured from end to end, on weights of no size that know nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filmwright.cli import app
from filmwright.console.tables import drift_table, wear_table
from filmwright.evaluation.claims import CLAIMS, measure_claims
from filmwright.evaluation.claims_page import HEAD, write_page
from filmwright.evaluation.evening import evening_film
from filmwright.evaluation.lab import Lab
from filmwright.generator.autoencoder import TinyVideoAutoencoder
from filmwright.generator.bundle import load_bundle
from filmwright.generator.reader import WORDS, FrameReader
from filmwright.generator.text import build_tokenizer
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.vocabulary import FULL
from filmwright.training.clip import build_clip
from filmwright.training.parallel import World
from filmwright.training.recipe import Recipe
from filmwright.training.run_folder import Order
from filmwright.training.shop import Shop
from filmwright.training.sizes import SIZES, Size
from filmwright.training.trainer import Budget, Run
from PIL import Image
from typer.testing import CliRunner

ALONE = World(0, 1, torch.device("cpu"))
KNOWN = replace(FULL, kinds=FULL.kinds[:6], props=(), actions=FULL.actions[:6])
SMALL = Size("small", 32, 16, 2, heads=2, head_width=12, layers=1, ffn=24)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole model of the smallest size, as good as untrained."""
    monkeypatch.setitem(SIZES, "small", SMALL)
    torch.manual_seed(0)
    run, narrow = tmp_path / "run", (8, 8, 8)
    TinyVideoAutoencoder(encoder_widths=narrow, decoder_widths=narrow, decoder_blocks=(1, 1, 1)).save_pretrained(
        run / "eye" / "vae"
    )
    tokenizer = build_tokenizer()
    for part, model in (("clip", build_clip(len(tokenizer))), ("reader", FrameReader(WORDS, width=16))):
        model.save_pretrained(run / "eye" / part)
    tokenizer.save_pretrained(run / "eye" / "tokenizer")
    stages = [
        {"name": "eye", "kind": "autoencoder", "learning_rate": 1e-3},
        {
            "name": "base",
            "kind": "tuning",
            "learning_rate": 1e-3,
            "films": 1,
            "chunks": 2,
            "memories": {"window(1)": 1},
        },
    ]
    recipe = Recipe.model_validate(
        {"name": "small", "size": "small", "memory": "window(1)", "words": KNOWN.words(), "stages": stages}
    )
    shop = Shop(recipe, Order(run, scratch=True), ALONE)
    found = Run(shop.stage(recipe.stage("base")), run / "base", ALONE, 0, lambda progress: None)
    found.resume()
    found.go(Budget(steps=1))
    return shop.write_bundle()


def test_the_page_says_of_every_claim_what_the_code_says() -> None:
    page = (Path(__file__).parent.parent / "docs" / "claims.md").read_text(encoding="utf-8")
    assert page.startswith(HEAD)
    for claim in CLAIMS:
        section = page.partition(f"## {claim.says}\n\n")[2].partition("\n## ")[0]
        assert section.startswith(f"{claim.measured}\n\n*On ")
        assert f", {claim.films(24)} films for each number" in section


def test_every_claim_has_its_own_key_and_says_what_it_is() -> None:
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS) == 7
    assert all(claim.says and claim.measured for claim in CLAIMS)


@pytest.mark.parametrize("key", ["routing", "state"])
def test_a_claim_that_needs_no_training_is_measured_and_kept(key: str, weights: Path, tmp_path: Path) -> None:
    told: list[str] = []
    lab = Lab(weights, tmp_path / "lab", films=2, minutes=0.01, tell=told.append)
    found = measure_claims(lab, (key,))
    arms = {arm["name"]: arm["rows"] for arm in found["claims"][key]["arms"]}
    assert len(arms) >= 3 and all(row["asked"] > 0 for rows in arms.values() for row in rows)
    if key == "routing":
        to_it = {row["value"] for row in arms["oracle"] if "recalled frames" in row["measure"]}
        assert to_it == {1.0}  # the oracle has nothing else to recall
    assert told
    told.clear()
    assert measure_claims(lab, (key,))["claims"] == found["claims"] and told == []


@pytest.mark.slow
def test_a_claim_that_needs_training_trains_both_arms_alike(weights: Path) -> None:
    command = [
        "evaluate",
        "claims",
        str(weights),
        "--only",
        "multi-shot",
        "--films",
        "2",
        "--minutes",
        "0.02",
        "-o",
        "lab",
        "--json",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    arms = {arm["name"] for arm in found["claims"]["multi-shot"]["arms"]}
    assert arms == {"tuned on films of one shot", "tuned on films of several shots"}
    assert "Multi-shot tuning" in Path("lab/claims.md").read_text(encoding="utf-8")
    assert Path("lab/claims-multi-shot.png").is_file()
    with Image.open("lab/claims-multi-shot-frames.png") as frames:
        assert frames.width == 8 * SMALL.width and frames.height > 2 * SMALL.height
    for arm in ("multi-shot", "single-shot"):
        assert Path(f"lab/trained/{arm}/few/transformer").is_dir()
        assert load_bundle(Path(f"lab/trained/{arm}/model"), ALONE.device).vocabulary == KNOWN  # no word is new
    steps = found["steps"]
    assert steps["no-cuts/first"] > 0
    assert all(steps[f"multi-shot/{stage}"] == steps[f"single-shot/{stage}"] > 0 for stage in ("more", "few"))


@pytest.mark.slow
@pytest.mark.parametrize(("key", "arms"), [("few-steps", 5), ("adversarial", 2), ("caches", 4), ("mixture", 2)])
def test_every_other_claim_is_measured_arm_by_arm(key: str, arms: int, weights: Path, tmp_path: Path) -> None:
    found = measure_claims(Lab(weights, tmp_path / "lab", films=2, minutes=0.01), (key,))
    measured = found["claims"][key]["arms"]
    assert len(measured) == arms
    assert found["claims"][key]["films"] == (4 if key == "adversarial" else 2)
    if key == "adversarial":
        kept = json.loads((tmp_path / "lab" / "measured" / "drift-with-the-head-2.json").read_text(encoding="utf-8"))
        assert kept["films"] == 4
        write_page(found, tmp_path / "page.md")
        assert ", 4 films for each number" in (tmp_path / "page.md").read_text(encoding="utf-8")
    rows = [row for arm in measured for row in arm["rows"]]
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["unit"] == "part")
    assert all(row["asked"] > 0 for row in rows)


def test_long_films_are_read_early_and_late(weights: Path) -> None:
    command = ["evaluate", "drift", str(weights), "--films", "1", "--chunks", "40", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    assert {f"set at {at}" for at in (20, 40)} < set(found["made"])
    assert found["made"]["set at 40"]["asked"] >= 3
    wrong = [1 - rate["rate"] for name, rate in found["made"].items() if name.endswith("at 40")]
    assert found["error"]["40"] == pytest.approx(sum(wrong) / len(wrong), abs=1e-3)
    assert "around chunk 40" in drift_table(found) and "% late" in drift_table(found)


def test_a_long_shot_is_read_chunk_by_chunk(weights: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "wear", str(weights), "--films", "2", "--chunks", "3", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.strip().splitlines()[-1])
    assert len(found["made"]) == len(found["truth"]) == len(found["edges"]) == 3
    assert all(chunk["set"]["asked"] == 2 for chunk in found["made"])
    assert "against the truth's" in wear_table(found)


def test_results_of_other_weights_or_minutes_are_refused(weights: Path, tmp_path: Path) -> None:
    Lab(weights, tmp_path / "lab", films=2, minutes=1)
    Lab(weights, tmp_path / "lab", films=5, minutes=1)  # more films are measured beside those
    with pytest.raises(InputError, match="results of other minutes \\(1, now 2\\): choose another -o"):
        Lab(weights, tmp_path / "lab", films=2, minutes=2)


def test_films_of_an_evening_keep_to_known_words() -> None:
    played = [role for seed in range(30) for shot in evening_film(seed, KNOWN).shots for role in shot.staging.roles]
    assert {role.kind for role in played} <= set(KNOWN.kinds)


def test_a_page_keeps_the_claims_that_were_not_measured_anew(weights: Path, tmp_path: Path) -> None:
    page = tmp_path / "claims.md"
    shutil.copy(Path(__file__).parent.parent / "docs" / "claims.md", page)
    before = page.read_text(encoding="utf-8")
    found = measure_claims(Lab(weights, tmp_path / "lab", films=2, minutes=0.01), ("state",))
    write_page(found, page)
    after = page.read_text(encoding="utf-8")
    sections = [dict(zip(("title", "text"), part.split("\n", 1), strict=True)) for part in after.split("\n## ")[1:]]
    assert [section["title"] for section in sections] == [claim.says for claim in CLAIMS]
    fresh = [section["title"] for section in sections if section["text"] not in before]
    assert fresh == [next(claim.says for claim in CLAIMS if claim.key == "state")]
    write_page(found, page)  # the same once more
    assert page.read_text(encoding="utf-8") == after


def test_an_unknown_claim_is_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'magic' is unknown: choose of routing"):
        measure_claims(Lab(weights, tmp_path, films=2, minutes=1), ("magic",))


def test_the_light_of_an_evening_ends_in_each_of_its_thirds() -> None:
    ends = {round(evening_film(seed).shots[-1].daylight.later, 2) for seed in range(40)}
    assert len(ends) == 3
