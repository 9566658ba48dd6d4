"""The decoder: that it draws fast, and that it learns to draw what a transformer makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filmwright.generator.autoencoder import TinyVideoAutoencoder, run_layers
from filmwright.generator.bundle import load_bundle
from filmwright.training.settings import DecoderSettings
from filmwright.training.trainer import Budget, Run
from torch import Tensor, nn

from .small_runs import ALONE, CPU, few_steps, quiet, recipe, run, shop, tuning

MEMORY = {"memories": {"window(1)": 1}, "cuts": 0.5}


def watched(network: nn.Module) -> dict[str, bool]:
    """Whether all that convolutions after the first are given lies channels last, once it has run."""
    found: dict[str, bool] = {}
    last = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)][1:]
    for name, layer in last:

        def look(_: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
            found[name] = found.get(name, True) and given[0].is_contiguous(memory_format=torch.channels_last)

        layer.register_forward_pre_hook(look)
    return found


@pytest.mark.parametrize("films", [1, 2])
def test_pictures_stay_channels_last_through_all_layers_and_are_the_same(films: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = TinyVideoAutoencoder().eval()
    for layer in plain.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.05)
    ours = TinyVideoAutoencoder().eval()
    ours.load_state_dict(plain.state_dict())
    ours.to(memory_format=torch.channels_last)
    video = torch.rand(films, 12, 3, 32, 64)
    starts = torch.tensor([[True, False, True]] * films)
    with torch.no_grad():
        latents = plain.encode(video, starts)
        whole, _ = run_layers(plain.decoder, latents, None, starts)
        seen = watched(ours.encoder) | watched(ours.decoder)
        assert (ours.encode(video, starts) - latents).abs().max() < 1e-5
        assert (run_layers(ours.decoder, latents, None, starts)[0] - whole).abs().max() < 1e-5
        first, memory = ours.decode(latents[:, :2])
        second, _ = ours.decode(latents[:, 2:], memory)
        assert (torch.cat([first, second], dim=1) - plain.decode(latents)[0]).abs().max() < 1e-5
    assert all(seen.values()), [name for name, last in seen.items() if not last]


def test_a_bundle_is_loaded_channels_last(tiny_bundle: Path) -> None:
    weights = [p for p in load_bundle(tiny_bundle, CPU).autoencoder.parameters() if p.ndim == 4 and p.shape[-1] > 1]
    assert weights
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


@pytest.mark.usefixtures("small_size")
def test_the_decoder_learns_what_a_transformer_makes_and_latents_keep_their_meaning(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(**MEMORY), few_steps("draw", "decoder", guidance=2.0, noisiest=0.5, **MEMORY))
    run(made, "base", 2)
    stage = made.stage(made.recipe.stage("draw"))
    before = {name: p.detach().clone() for name, p in stage.parts["decoder"].named_parameters()}
    batch = stage.batch(0)
    assert batch.frames.shape == (2 * 3 * 12, 3, 16, 32)
    first = float(stage.loss(batch, 0, 0.0)["loss"].detach())
    transformer = [p.detach().clone() for p in stage.teacher.parameters()]
    Run(stage, tmp_path / "draw", ALONE, 0, quiet).go(Budget(steps=25))
    assert float(stage.loss(batch, 0, 0.0)["loss"].detach()) < 0.8 * first
    for name, p in stage.parts["decoder"].named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("encoder"), name
    assert all(torch.equal(a, b) for a, b in zip(transformer, stage.teacher.parameters(), strict=True))
    model = made.write_bundle()  # the transformer is the tuned one, the pictures are drawn by the new decoder
    drawn = TinyVideoAutoencoder.from_pretrained(model / "vae", torch_dtype=torch.bfloat16)
    trained = TinyVideoAutoencoder.from_pretrained(tmp_path / "draw" / "vae", torch_dtype=torch.bfloat16)
    assert all(torch.equal(a, b) for a, b in zip(drawn.parameters(), trained.parameters(), strict=True))


@pytest.mark.usefixtures("small_size")
def test_what_the_decoder_is_given_is_near_the_films_it_is_to_draw(tmp_path: Path) -> None:
    """Where hardly any noise is, what the transformer finishes is what it was given."""
    made = shop(tmp_path, tuning(**MEMORY), few_steps("draw", "decoder", noisiest=1e-4, **MEMORY))
    run(made, "base", 1)
    stage = made.stage(made.recipe.stage("draw"))
    scene = stage.scene(stage.batch(0))
    assert (stage.made(scene, 2) - scene.films.latents).abs().max() < 0.01
    assert isinstance(stage.settings, DecoderSettings)
    with pytest.raises(ValueError, match="trains in the small world alone"):
        recipe(few_steps("draw", "decoder", **MEMORY), size=None, weights="nano", memory=None)
    for wanted in ({"result": "draw"}, {"later": {"start": "draw"}}):
        stages = [
            tuning(**MEMORY),
            few_steps("draw", "decoder", **MEMORY),
            few_steps("few", "consistency", **wanted.pop("later", {})),
        ]
        with pytest.raises(ValueError, match=r"no (earlier )?stage of the transformer"):
            recipe(*stages, **wanted)
