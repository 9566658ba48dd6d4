"""Stage 1: the autoencoder, on clips of random shots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..generator.autoencoder import TinyVideoAutoencoder
from .world import random_clip

CLIP_FRAMES = 12
PUPPET_WEIGHT = 4.0
"""Puppets cover a fifth of the picture and are what a viewer looks at."""


class AutoencoderStage:
    name = "autoencoder"
    learning_rate = 1.5e-3

    def __init__(self, *, width: int, height: int, batch: int, device: torch.device) -> None:
        self.width, self.height, self.size, self.device = width, height, batch, device
        self.autoencoder = TinyVideoAutoencoder().to(device)

    @property
    def model(self) -> nn.Module:
        return self.autoencoder

    def batch(self, seed: int) -> tuple[Tensor, Tensor]:
        clips = [
            random_clip(seed * self.size + i, width=self.width, height=self.height, frames=CLIP_FRAMES)
            for i in range(self.size)
        ]
        return torch.stack([c.frames for c in clips]), torch.stack([c.puppets for c in clips])

    def loss(self, batch: tuple[Tensor, Tensor], progress: float) -> dict[str, Tensor]:
        video, puppets = (t.to(self.device) for t in batch)
        with torch.autocast(self.device.type, torch.bfloat16):
            seen, raw = self.autoencoder.reconstruct(video, noise=0.05)
        seen, raw = seen.float(), raw.float()
        weight = 1.0 + PUPPET_WEIGHT * puppets[:, :, None]
        error = seen - video
        mae = (weight * error.abs()).mean() / weight.mean()
        mse = (weight * error.square()).mean() / weight.mean()
        edges = sum(
            (torch.diff(seen, dim=d) - torch.diff(video, dim=d)).abs().mean() for d in (-1, -2)
        )
        scale = raw.mean(dim=(0, 1, 3, 4)).square().mean() + (raw.std(dim=(0, 1, 3, 4)) - 1.0).square().mean()
        psnr = -10.0 * torch.log10(error.square().mean())
        return {"loss": mae + 2.0 * mse + 0.5 * edges + 0.01 * scale, "mae": mae, "psnr": psnr}

    def after_step(self, ema: nn.Module) -> None:
        pass

    def save(self, ema: nn.Module, folder: Path) -> None:
        """Measures the latents' statistics on validation clips and writes `vae/`."""
        model: Any = ema
        with torch.no_grad():
            clips = [random_clip(10**8 + i, width=self.width, height=self.height, frames=CLIP_FRAMES) for i in range(24)]
            video = torch.stack([c.frames for c in clips]).to(self.device)
            model.register_to_config(latents_mean=(0.0,) * 16, latents_std=(1.0,) * 16)
            raw = model.encode(video)
        mean, std = raw.mean(dim=(0, 1, 3, 4)), raw.std(dim=(0, 1, 3, 4))
        model.register_to_config(
            latents_mean=tuple(round(float(v), 4) for v in mean), latents_std=tuple(round(float(v), 4) for v in std)
        )
        model.save_pretrained(folder / "vae")
