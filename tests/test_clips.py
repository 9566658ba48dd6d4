"""Training on people's own clips: folders, WebDataset shards, low-rank adapters."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filmwright.cli import app
from filmwright.generator.bundle import load_bundle
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.video import write_video
from filmwright.training.clips import ClipFolder
from filmwright.training.recipe import RECIPES
from safetensors.torch import load_file
from typer.testing import CliRunner

SHOTS = [{"start_seconds": 0, "caption": "a red fox"}, {"start_seconds": 1.6, "caption": "a blue bird"}]


def put_clip(folder: Path, name: str, notes: Any = None, seconds: float = 3.2) -> None:
    """Red for 1.6 s, then blue."""
    folder.mkdir(exist_ok=True)
    frames = np.zeros((round(seconds * 16), 16, 32, 3), dtype=np.uint8)
    frames[:26, ..., 0], frames[26:, ..., 2] = 250, 250
    write_video(folder / f"{name}.mp4", [frames], fps=16, width=32, height=16)
    (folder / f"{name}.json").write_text(json.dumps(notes or {"shots": SHOTS}), encoding="utf-8")


def test_shots_are_cut_to_whole_chunks(tiny_bundle: Path, tmp_path: Path) -> None:
    put_clip(tmp_path / "clips", "a")
    bundle = load_bundle(tiny_bundle, torch.device("cpu"))
    data = ClipFolder(tmp_path / "clips", bundle, chunks=4, length=3)
    film = data.film(0)
    assert film.latents.shape == (4, 16, 3, 2, 4)
    assert film.place.tolist() == [0, 1, 0, 1]
    assert [prompt.removeprefix("cut . ") for prompt in film.prompts] == ["a red fox"] * 2 + ["a blue bird"] * 2
    red, blue = (data._still(torch.tensor([c]).view(3, 1, 1).expand(3, 16, 32)) for c in ((0.98, 0, 0), (0, 0, 0.98)))
    for row in film.keyframes[2:]:  # the second shot remembers the first
        near = [(row[:, k] - red).abs().mean() < (row[:, k] - blue).abs().mean() for k in range(3)]
        assert near[0]


def test_a_shard_gives_the_films_of_its_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    put_clip(tmp_path / "clips", "a")
    put_clip(tmp_path / "clips", "b", seconds=4.0)
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "000.tar", "w") as shard:
        for path in sorted((tmp_path / "clips").iterdir()):
            shard.add(path, path.name)
    bundle = load_bundle(tiny_bundle, torch.device("cpu"))
    folder, shards = (ClipFolder(tmp_path / name, bundle, chunks=4, length=3) for name in ("clips", "shards"))
    assert len(folder) == len(shards) == 2
    for number in range(2):
        for name, value in vars(folder.film(number)).items():
            other = getattr(shards.film(number), name)
            assert value == other if isinstance(value, tuple) else torch.equal(value, other), name


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"shots": []}, "a.json does not hold"),
        ({"shots": [{"start_seconds": 1, "caption": "x"}]}, "must begin at 0 seconds"),
        ({"shots": [{"start_seconds": 0, "caption": "x", "colour": 1}]}, "Extra inputs"),
        (None, "a.json does not hold"),
        ({"shots": [{"start_seconds": 0, "caption": "x"}, {"start_seconds": float("inf"), "caption": "x"}]}, "600"),
        ({"shots": [{"start_seconds": 0, "caption": "x"}], "more": "x" * 8_000_000}, "larger than 8 MB"),
        ("deep", "recursion limit"),
        ("long", "has 4 whole chunks of 12 frames"),
        ("missing", "has no a.json beside it"),
        ("empty", "holds no clips"),
        ("no folder", "is no folder"),
    ],
)
def test_clips_that_do_not_hold_are_named(tiny_bundle: Path, tmp_path: Path, notes: Any, said: str) -> None:
    folder = tmp_path / "clips"
    put_clip(folder, "a", notes if isinstance(notes, dict) else None)
    if notes is None:
        (folder / "a.json").write_text("no json", encoding="utf-8")
    if notes == "deep":
        (folder / "a.json").write_text("[" * 100_000, encoding="utf-8")
    if notes in ("missing", "empty"):
        (folder / "a.json").unlink()
    if notes == "empty":
        (folder / "a.mp4").unlink()
    wanted = tmp_path / "other" if notes == "no folder" else folder
    bundle = load_bundle(tiny_bundle, torch.device("cpu"))
    with pytest.raises(InputError, match=said):
        ClipFolder(wanted, bundle, chunks=9 if notes == "long" else 4, length=3).film(0)


def test_adapters_learn_clips_and_make_a_film(tiny_bundle: Path, tmp_path: Path, story: str) -> None:
    put_clip(tmp_path / "clips", "a")
    put_clip(tmp_path / "clips", "b")
    out = tmp_path / "run"
    result = CliRunner().invoke(
        app,
        ["train", "lora", str(tmp_path / "clips"), "--generator", str(tiny_bundle), "--steps", "6", "-o", str(out), "--json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["folder"] == str(out / "model")
    adapter = load_file(out / "adapter" / "adapter" / "pytorch_lora_weights.safetensors")
    assert adapter and all(".lora_" in name for name in adapter)
    before = load_file(tiny_bundle / "transformer" / "diffusion_pytorch_model.safetensors")
    after = load_file(out / "adapter" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert before.keys() == after.keys()
    moved = {
        name for name, value in before.items() if not torch.allclose(value.float(), after[name].float(), atol=1e-7)
    }
    assert moved and all(".attn" in name or ".ffn." in name for name in moved)
    film = CliRunner().invoke(
        app, ["film", story, "--generator", str(out / "model"), "-o", str(tmp_path / "film"), "--seconds", "4"]
    )
    assert film.exit_code == 0, film.output


def test_the_wan_recipe_runs_on_a_wan_of_two_layers(wan_bundle: Path, tmp_path: Path, story: str) -> None:
    put_clip(tmp_path / "clips", "a", seconds=3.4)
    text = (RECIPES / "wan-1.3b.yaml").read_text(encoding="utf-8")
    for number in ("films: 8", "chunks: 20", "chunks: 7"):
        text = text.replace(number, number.split()[0] + " 2")
    (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
    options = ["--generator", str(wan_bundle), "--steps", "6", "-o", str(tmp_path / "run")]
    result = CliRunner().invoke(app, ["train", str(tmp_path / "small.yaml"), str(tmp_path / "clips"), *options])
    assert result.exit_code == 0, result.output
    model = tmp_path / "run" / "model"
    profile = json.loads((model / "profile.json").read_text(encoding="utf-8"))
    assert profile["sampling"] == {"kind": "few-step", "timesteps": [1000, 750, 500, 250], "shift": 5.0}
    options = ["--generator", str(model), "-o", str(tmp_path / "film"), "--seconds", "4", "--critic", "none"]
    film = CliRunner().invoke(app, ["film", story, *options])
    assert film.exit_code == 0, film.output
