"""The autoencoder's decoder on what the transformer makes: true films are noised part of the way and denoised again, as in a rollout, and
the decoder learns to paint the true frames from the latents that come out. Where these leave details open, a judge of pairs of frames
asks for crisp ones (an adversarial loss, as the decoders of latent diffusion have it; Rombach et al. 2022, §3.1).

Latents keep their meaning: the encoder and the transformer stay as they are.

Legend: `B` films, `T` video frames of a film, `F` its latent frames, `R` rows (one chunk each, film-major).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F_
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..generator.autoencoder import MemoryBlock, TinyVideoAutoencoder
from ..generator.sampling import Sampling
from ..storyboard.errors import InputError
from .film_stage import FilmStage, Workshop, add_noise
from .films import Batch
from .settings import DecoderSettings
from .small_world import SmallWorld

PUPPET_WEIGHT = 4.0
"""As in the autoencoder's own stage."""


@dataclass(frozen=True)
class Painted:
    """Films as latents, and their true frames [B, T, 3, H, W]; puppets cover [B, T, H, W] of them."""

    batch: Batch
    frames: Tensor
    puppets: Tensor


class Judge(nn.Module):
    """Looks at pairs of neighbouring frames [N, 6, H, W]; a logit for every patch of about 30 pixels, positive for true ones."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = (6, width, 2 * width, 3 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        last = spectral_norm(nn.Conv2d(sizes[-1], sizes[-1], 3, padding=1))
        self.layers = nn.Sequential(
            *layers, last, nn.LeakyReLU(0.2), spectral_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))
        )

    def forward(self, video_BTCHW: Tensor) -> Tensor:
        pairs = torch.cat([video_BTCHW[:, :-1], video_BTCHW[:, 1:]], dim=2).flatten(0, 1)
        logits: Tensor = self.layers(pairs * 2 - 1)
        return logits.float()


def depth_of(autoencoder: TinyVideoAutoencoder) -> tuple[int, ...]:
    """Memory blocks at each level of its decoder."""
    config: Any = autoencoder.config
    return tuple(config.decoder_blocks)


def deepened(autoencoder: TinyVideoAutoencoder, blocks: tuple[int, ...]) -> TinyVideoAutoencoder:
    """The same autoencoder with more memory blocks in its decoder, which change nothing before they are trained."""
    config: Any = autoencoder.config
    fresh: Any = TinyVideoAutoencoder.from_config({**config, "decoder_blocks": blocks})
    fresh.encoder.load_state_dict(autoencoder.encoder.state_dict())
    had, depth, level, place = list(autoencoder.decoder), depth_of(autoencoder), -1, 0
    before: nn.Module | None = None
    for layer in fresh.decoder:
        if isinstance(layer, MemoryBlock):
            level, place = (level, place + 1) if isinstance(before, MemoryBlock) else (level + 1, 0)
        before = layer
        if isinstance(layer, MemoryBlock) and place >= depth[level]:
            continue
        layer.load_state_dict(had.pop(0).state_dict())
    return fresh  # type: ignore[no-any-return]


class DecoderStage(FilmStage):
    """Trains the decoder and its judge in turns; the transformer paints nothing and learns nothing."""

    settings: DecoderSettings

    def __init__(
        self, settings: DecoderSettings, workshop: Workshop, world: SmallWorld, sampling: Sampling, autoencoder: TinyVideoAutoencoder
    ) -> None:  # fmt: skip
        super().__init__(settings, workshop)
        self.nets.requires_grad_(False)
        self.world, self.sampling = world, sampling
        had = depth_of(autoencoder)
        blocks = settings.blocks or had
        if any(mine < before for mine, before in zip(blocks, had, strict=True)):
            raise InputError(
                f"stage {settings.name}: blocks {list(blocks)} are fewer than the decoder has: {list(had)}"
            )
        deeper: Any = deepened(autoencoder, blocks)
        self.autoencoder = deeper.to(self.device)
        self.autoencoder.encoder.requires_grad_(False)
        self.judge = Judge().to(self.device)
        self._remade: tuple[int, Tensor, Tensor] | None = None

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {"decoder": self.autoencoder.decoder, "judge": self.judge}

    def part(self, step: int) -> str:
        return "judge" if self.settings.adversarial and step % 2 == 0 else "decoder"

    def learning_rate(self, part: str) -> float:
        return self.settings.learning_rate if part == "decoder" else self.settings.judge_rate

    def batch(self, step: int) -> Painted:  # type: ignore[override]
        """The judge and the decoder get the same films one after the other."""
        step, workshop = step // 2 if self.settings.adversarial else step, self.workshop
        numbers = workshop.stream.numbers(step, self.settings.films)[workshop.rank :: workshop.ranks]
        renders = [self.world.render(self.world.told(number)) for number in numbers]
        return Painted(
            super().batch(step), torch.stack([r.frames for r in renders]), torch.stack([r.puppets for r in renders])
        )

    def remade(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Latents [B, F, c, h, w] as the transformer makes them from true ones that were noised, and where shots begin [B, F]."""
        scene, films = self.scene(batch), len(batch.film_seeds)
        chunks = self.chunks(scene.films, batch)
        clean = self.with_state(scene.memory, scene.films.latents)
        levels = [*self.sampling.sigmas(), 0.0]
        began = scene.draws.shared.choice([at for at, level in enumerate(levels) if level <= self.settings.noise])
        with torch.no_grad():
            text = self.text(self.nets, scene.films)
            sight = self.sight(self.nets, scene, clean, text, films)
            level = torch.full((len(clean),), levels[began], device=self.device)
            x = add_noise(clean, scene.draws.normal(chunks, *clean.shape[1:]), level)
            for sigma, nearer in pairwise(levels[began:]):
                at = torch.full_like(level, sigma)
                x = x + (nearer - sigma) * self.guided(sight, x, at, text, self.sampling.guidance)
        own = x[:, :, -self.length :].transpose(1, 2).unflatten(0, (films, chunks)).flatten(1, 2)
        starts = torch.zeros(films, chunks, self.length, dtype=torch.bool, device=self.device)
        starts[:, :, 0] = scene.films.place.view(films, chunks) == 0
        return own, starts.flatten(1)

    def paint(self, batch: Batch) -> Tensor:
        """The frames [B, T, 3, H, W] of films that the transformer has remade: the judge's and the decoder's step look at the same."""
        if self._remade is None or self._remade[0] != batch.seed:
            self._remade = batch.seed, *self.remade(batch)
        with self.arithmetic():
            made, _ = self.autoencoder.paint(self._remade[1], None, self._remade[2])
        painted: Tensor = made.float()
        return painted

    def loss(self, batch: Painted, step: int, progress: float) -> dict[str, Tensor]:
        true = batch.frames.to(self.device)
        if self.part(step) == "decoder":
            return self._decoder(self.paint(batch.batch), true, batch.puppets.to(self.device))
        with torch.no_grad():
            made = self.paint(batch.batch).clamp(0, 1)
        with self.arithmetic():
            seen, said = self.judge(true), self.judge(made)
        loss = F_.softplus(-seen).mean() + F_.softplus(said).mean()
        return {"loss": loss, "telling": loss}

    def _decoder(self, made: Tensor, true: Tensor, puppets: Tensor) -> dict[str, Tensor]:
        error = made - true
        weight = 1.0 + PUPPET_WEIGHT * puppets[:, :, None]
        mae = (weight * error.abs()).mean() / weight.mean()
        edges = sum((torch.diff(made, dim=d) - torch.diff(true, dim=d)).abs().mean() for d in (-1, -2))
        losses = {"loss": mae + 0.5 * edges, "mae": mae, "psnr": -10.0 * torch.log10(error.square().mean())}
        if self.settings.adversarial:
            with self.arithmetic():
                fooled = F_.softplus(-self.judge(made.clamp(0, 1))).mean()
            losses |= {"loss": losses["loss"] + self.settings.adversarial * fooled, "fooled": fooled}
        return losses

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        """Writes `vae/`."""
        model: Any = deepened(self.autoencoder, depth_of(self.autoencoder))
        model.decoder.load_state_dict(averaged)
        model.save_pretrained(folder / "vae")
