"""The flow loss on held-out films: what it is of, that it tells better weights from worse, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from filmwright.cli import app
from filmwright.evaluation.flow import FIRST, HABITS, LEVELS, _less, evaluate_flow
from filmwright.generator.bundle import Bundle, load_bundle
from filmwright.generator.profiles import BUNDLED
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.seeds import stable_seed
from filmwright.training.sizes import SIZES
from filmwright.training.small_world import SmallWorld
from typer.testing import CliRunner


def nano() -> Bundle:
    return load_bundle(BUNDLED / "nano", torch.device("cpu"))


def measured(*bundles: Bundle, films: int = 2, memory: str = "shots(2)+window(1)") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = evaluate_flow(bundles, memory, films=films, seed=3, chunks=2)["weights"]
    return found


def test_weights_that_say_nothing_err_by_all_of_the_flow() -> None:
    silent = nano()
    for parameter in silent.transformer.proj_out.parameters():
        torch.nn.init.zeros_(parameter)
    found = measured(silent, films=1)[0]["levels"]
    assert silent.vocabulary is not None
    world = SmallWorld(
        SIZES["nano"],
        silent.autoencoder,
        chunks=2,
        length=3,
        split="validation",
        known=silent.vocabulary,
        habits=HABITS,
    )
    clean = world.film(FIRST).latents.repeat(len(LEVELS), 1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(stable_seed(3, 0)))
    expected = (noise - clean).square().unflatten(0, (len(LEVELS), 2)).mean(dim=(1, 2, 3, 4, 5))
    assert [found[f"{level:g}"]["all"] for level in LEVELS] == pytest.approx(expected.tolist(), abs=1e-4)
    assert found["mean"]["all"] == pytest.approx(float(expected.mean()), abs=1e-4)


@pytest.mark.parametrize("memory", ["shots(2)+window(1)", "state(1)+routed(2)+window(1)"])
def test_worse_weights_lose_more_and_the_same_weights_exactly_as_much(memory: str) -> None:
    worse = nano()
    with torch.no_grad():
        for parameter in worse.transformer.blocks[2].parameters():
            parameter.add_(
                0.3 * parameter.std() * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
            )
    first, same, less = measured(nano(), nano(), worse, films=4, memory=memory)
    assert first["less"] is None and first["levels"] == same["levels"]
    assert all(value == 0.0 for part in same["less"].values() for value in part.values())
    assert less["less"]["all"]["high"] < 0 and less["less"]["puppets"]["part"] < 0
    assert less["levels"]["mean"]["all"] > first["levels"]["mean"]["all"]
    part = 1 - less["levels"]["mean"]["all"] / first["levels"]["mean"]["all"]
    assert less["less"]["all"]["part"] == pytest.approx(part, abs=2e-3)


def test_films_without_puppets_say_nothing_of_puppets() -> None:
    picture = torch.rand(3, len(LEVELS))
    empty = torch.stack([picture, torch.full_like(picture, torch.nan)], dim=2)
    found = _less(empty, 2 * empty)
    assert found is not None and found["all"]["part"] == pytest.approx(-1.0)
    assert all(value != value for value in found["puppets"].values())


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other autoencoders"):
        evaluate_flow([nano(), load_bundle(BUNDLED / "mini", torch.device("cpu"))], None, films=1, seed=0)
    with pytest.raises(InputError, match="without compressed"):
        evaluate_flow([nano()], "compressed", films=1, seed=0)
    other = tmp_path / "other"
    shutil.copytree(BUNDLED / "nano", other)
    profile = json.loads((other / "profile.json").read_text(encoding="utf-8"))
    (other / "profile.json").write_text(json.dumps(profile | {"width": 192}), encoding="utf-8")
    result = CliRunner().invoke(app, ["evaluate", "flow", str(other)])
    assert result.exit_code == 2 and "of no size of ours (nano, mini)" in result.stderr


def test_the_command_shows_and_says_what_it_found() -> None:
    command = ["evaluate", "flow", "nano", str(BUNDLED / "nano"), "--films", "1"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "less than the first: all +0.00% (+0.00% … +0.00%)" in shown.stdout
    said = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert said["split"] == "validation" and said["weights"][0]["levels"]["mean"]["all"] < 0.3
