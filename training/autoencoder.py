"""Stage 1: the autoencoder, on clips of random shots."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.loading import load_part
from ..generator.precision import arithmetic, picture_layout
from .latents import evening, turn_autoencoder
from .one_network import OneNetwork, Share
from .painters import ALONE, Bytes, Painters, as_bytes, from_bytes
from .settings import AutoencoderSettings
from .sizes import Size
from .world import SPLITS, random_clip

CLIP_FRAMES = 12
PUPPET_WEIGHT = 4.0
"""Puppets cover a fifth of the picture and are what a viewer looks at."""


class AutoencoderStage(OneNetwork):
    def __init__(
        self,
        settings: AutoencoderSettings,
        size: Size,
        device: torch.device,
        share: Share,
        painters: Painters = ALONE,
    ) -> None:
        super().__init__(settings, share)
        self._painters = painters
        self.settings, self.clips, self.device = settings, settings.clips, device
        self.width, self.height = size.width, size.height
        self.network = TinyVideoAutoencoder().to(device, memory_format=picture_layout(device))
        self._statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def go_on_from(self, weights: TinyVideoAutoencoder, *, keep_latents: bool) -> None:
        """Starts from trained weights; with `keep_latents` the decoder alone is trained, so that latents keep their meaning."""
        config: Any = weights.config
        self.network.load_state_dict(weights.state_dict())
        if not keep_latents:
            return
        self.network.encoder.requires_grad_(False)
        self._statistics = (tuple(config.latents_mean), tuple(config.latents_std))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        numbers = self.share.numbers(SPLITS["train"], step, self.clips)
        drawn = self._painters.every(partial(_clip, width=self.width, height=self.height), numbers)
        frames, puppets = (np.stack(part) for part in zip(*drawn, strict=True))
        return from_bytes(frames, self.device), from_bytes(puppets, self.device)

    def loss(self, batch: tuple[Tensor, Tensor], step: int, progress: float) -> dict[str, Tensor]:
        video, puppets = batch
        with arithmetic(self.device, self.settings.precision):
            seen, raw = self.network.reconstruct(video, noise=0.05)
        seen, raw = seen.float(), raw.float()
        losses = unlikeness(seen, video, puppets)
        scale = raw.mean(dim=(0, 1, 3, 4)).square().mean() + (raw.std(dim=(0, 1, 3, 4)) - 1.0).square().mean()
        return {**losses, "loss": losses["loss"] + 0.01 * scale}

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        """Writes `vae/`, its latents made even and their statistics measured on clips of the validation split."""
        config: Any = self.network.config
        model: Any = TinyVideoAutoencoder.from_config(config)
        model.load_state_dict(averaged)
        if self._statistics is None:
            latents = self._raw_latents(model.to(self.device)).cpu().double()
            if self.settings.evenness is not None:
                turn = evening(latents, self.settings.evenness)
                turn_autoencoder(model.cpu(), turn)
                latents = latents @ turn.T
            mean, std = _rounded(latents.mean(dim=0)), _rounded(latents.std(dim=0))
        else:
            mean, std = self._statistics
        model.register_to_config(latents_mean=mean, latents_std=std)
        model.save_pretrained(folder / "vae")

    def _raw_latents(self, model: Any) -> Tensor:
        """Of validation clips, as the encoder says them [N, C]."""
        first = SPLITS["validation"]
        clips = [random_clip(first + i, width=self.width, height=self.height, frames=CLIP_FRAMES) for i in range(24)]
        model.register_to_config(latents_mean=(0.0,) * 16, latents_std=(1.0,) * 16)
        with torch.no_grad():
            raw: Tensor = model.encode(torch.stack([c.frames for c in clips]).to(self.device))
        return raw.movedim(2, -1).flatten(0, -2)


def unlikeness(seen: Tensor, video: Tensor, puppets: Tensor) -> dict[str, Tensor]:
    """How far what a decoder gives back [..., 3, H, W] is from the video, by L1, squares and edges; puppets [..., H, W] weigh more."""
    weight = 1.0 + PUPPET_WEIGHT * puppets[..., None, :, :]
    error = seen - video
    mae = (weight * error.abs()).mean() / weight.mean()
    mse = (weight * error.square()).mean() / weight.mean()
    edges = sum((torch.diff(seen, dim=d) - torch.diff(video, dim=d)).abs().mean() for d in (-1, -2))
    psnr = -10.0 * torch.log10(error.square().mean())
    return {"loss": mae + 2.0 * mse + 0.5 * edges, "mae": mae, "psnr": psnr}


def _clip(number: int, *, width: int, height: int) -> tuple[Bytes, Bytes]:
    """Frames and puppets of a clip, in bytes."""
    clip = random_clip(number, width=width, height=height, frames=CLIP_FRAMES)
    return as_bytes(clip.frames), as_bytes(clip.puppets)


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(v), 4) for v in values)


def load_autoencoder(path: Path, device: torch.device) -> TinyVideoAutoencoder:
    """Weights that only look and draw."""
    loaded = load_part(TinyVideoAutoencoder, path)
    ready: TinyVideoAutoencoder = (
        loaded.float().eval().requires_grad_(False).to(device, memory_format=picture_layout(device))
    )
    return ready
