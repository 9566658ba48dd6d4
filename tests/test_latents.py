"""Latents made even: the same pictures, the same flow, said in other numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filmwright.generator.autoencoder import TinyVideoAutoencoder
from filmwright.generator.transformer import CausalWanTransformer3DModel
from filmwright.training.autoencoder import AutoencoderStage
from filmwright.training.latents import evening, turn_autoencoder, turn_transformer
from filmwright.training.one_network import Share
from filmwright.training.settings import AutoencoderSettings
from filmwright.training.sizes import SIZES
from torch import Tensor

from .small_runs import CPU


def axes(latents_NC: Tensor) -> Tensor:
    """Sizes of the principal axes, the smallest first."""
    return torch.linalg.eigvalsh(torch.cov(latents_NC.double().T)).sqrt()


def drowned(count: int = 4000) -> Tensor:
    """Latents that say one thing in all channels, and others so softly that no one hears them."""
    rng = torch.Generator().manual_seed(0)
    loud = 3.0 * torch.randn(count, 1, generator=rng).expand(-1, 16)
    return loud + 0.1 * torch.randn(count, 16, generator=rng) @ torch.randn(16, 16, generator=rng)


def test_no_axis_is_larger_than_asked_and_the_variance_is_one() -> None:
    raw = drowned()
    even = raw.double() @ evening(raw, 4.0).T
    assert axes(raw)[-1] > 50 * axes(raw)[0]
    assert axes(even)[-1] / axes(even)[0] == pytest.approx(4.0, rel=1e-6)
    assert float(even.var(dim=0).mean()) == pytest.approx(1.0, rel=1e-6)


def test_what_is_even_enough_is_scaled_alone() -> None:
    raw = drowned()
    even = raw.double() @ evening(raw, 4.0).T
    torch.testing.assert_close(evening(3.0 * even, 4.0), torch.eye(16).double() / 3.0)


def test_a_turned_autoencoder_draws_the_same() -> None:
    torch.manual_seed(0)
    model = TinyVideoAutoencoder().eval()
    video = torch.rand(2, 8, 3, 32, 32)
    with torch.no_grad():
        before, raw = model.reconstruct(video)
        turn = evening(drowned(), 4.0)
        turn_autoencoder(model, turn)
        after, turned = model.reconstruct(video)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned, torch.einsum("ij,bfjhw->bfihw", turn.float(), raw), atol=1e-4, rtol=1e-4)


def test_a_turned_transformer_says_the_same_in_other_numbers() -> None:
    torch.manual_seed(0)
    model = CausalWanTransformer3DModel(**SIZES["nano"].transformer_config()).eval()
    torch.nn.init.normal_(model.proj_out.weight, std=0.05)
    torch.nn.init.normal_(model.proj_out.bias, std=0.05)
    x, text, turn = torch.randn(1, 16, 3, 8, 8), torch.randn(1, 5, 128), evening(drowned(), 4.0)

    def turned(latents: Tensor) -> Tensor:
        return torch.einsum("ij,rjlhw->rilhw", turn.float(), latents)

    with torch.no_grad():
        before = model(x, torch.tensor([500.0]), text)
        turn_transformer(model, turn)
        after = model(turned(x), torch.tensor([500.0]), text)
    torch.testing.assert_close(after, turned(before), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("small_size")
def test_the_stage_writes_even_latents(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = AutoencoderSettings(name="eye", kind="autoencoder", learning_rate=1e-3, clips=1, evenness=3.0)
    stage = AutoencoderStage(settings, SIZES["small"], CPU, Share())
    stage.export(stage.network.state_dict(), tmp_path)
    made = TinyVideoAutoencoder.from_pretrained(tmp_path / "vae").eval()
    video = torch.stack([stage.batch(step)[0][0] for step in range(12)])
    latents = made.encode(video).detach().movedim(2, -1).flatten(0, -2)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.15)
    assert axes(latents)[-1] / axes(latents)[0] < 6.0  # of other clips than those it was measured on
    plain = axes(stage.network.encode(video).detach().movedim(2, -1).flatten(0, -2))
    assert plain[-1] / plain[0] > 8.0
