"""The decoder once more, on what it will be given: latents that a transformer made are not those that an encoder makes, and what is
wrong in them (noise that was not found, edges that are unsure) it can be taught to draw as a picture would be.

Legend: `R` rows (one chunk each, film-major), `L` latent frames of a chunk, `c` channels, `T` frames of a film.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..generator.autoencoder import TinyVideoAutoencoder, run_layers
from .autoencoder import unlikeness
from .distillation import TaughtStage
from .film_stage import Scene, Workshop, add_noise, spread
from .films import Batch
from .painters import Bytes, from_bytes
from .settings import DecoderSettings


@dataclass(frozen=True)
class Shown(Batch):
    """Films as latents, and as they are to look: frames [films · T, 3, H, W] and puppets [films · T, H, W], in bytes."""

    frames: Bytes
    puppets: Bytes


class DecoderStage(TaughtStage):
    """The teacher is the transformer; the encoder stays, so that latents keep their meaning.

    Args:
        frames: what films of these numbers look like.
    """

    settings: DecoderSettings

    def __init__(
        self,
        settings: DecoderSettings,
        workshop: Workshop,
        autoencoder: TinyVideoAutoencoder,
        frames: Callable[[Sequence[int]], tuple[Bytes, Bytes]],
    ) -> None:
        super().__init__(settings, workshop, workshop.networks)
        self._autoencoder, self._frames = autoencoder, frames
        autoencoder.decoder.requires_grad_(True)

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {"decoder": self._autoencoder}

    def part(self, step: int) -> str:
        return "decoder"

    def sharded(self) -> list[nn.Module]:
        """Teacher and networks are the same; the decoder is whole in every process."""
        return list(self.nets.values())

    def batch(self, step: int) -> Shown:
        films = super().batch(step)
        frames, puppets = self._frames(films.numbers)
        return Shown(**vars(films), frames=frames, puppets=puppets)

    def loss(self, batch: Batch, step: int, progress: float) -> dict[str, Tensor]:
        assert isinstance(batch, Shown)
        scene, films = self.scene(batch), len(batch.film_seeds)
        made = self.made(scene, films)
        starts = (scene.films.place == 0).unflatten(0, (films, -1))
        starts = torch.cat([starts[..., None], starts.new_zeros(*starts.shape, self.length - 1)], dim=-1).flatten(1)
        latents = made.transpose(1, 2).unflatten(0, (films, -1)).flatten(1, 2)  # [films, F, c, h, w]
        with self.arithmetic():
            seen, _ = run_layers(self._autoencoder.decoder, self._autoencoder.raw(latents), None, starts)
        shown = (from_bytes(part, self.device).unflatten(0, (films, -1)) for part in (batch.frames, batch.puppets))
        # each film by itself: how films are shared out over processes makes no difference
        losses = [unlikeness(*film) for film in zip(seen.float(), *shown, strict=True)]
        return {name: torch.stack([one[name] for one in losses]).mean() for name in losses[0]}

    @torch.no_grad()
    def made(self, scene: Scene, films: int) -> Tensor:
        """Every chunk noised and finished in one step, as the last one of a rollout [R, c, L, h, w]."""
        clean = self.with_state(scene.memory, scene.films.latents)
        chunks = len(clean) // films
        level = self.settings.noisiest * scene.draws.uniform(chunks)
        noisy = add_noise(clean, scene.draws.normal(chunks, *clean.shape[1:]), level)
        text = self.text(self.teacher, scene.films)
        sight = self.sight(self.teacher, scene, clean, text, films)
        made = noisy - spread(level) * self.guided(scene, sight, noisy, level, text)
        return made[:, :, -self.length :]

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        """Writes `vae/`."""
        config: Any = self._autoencoder.config
        model: Any = TinyVideoAutoencoder.from_config(config)
        model.load_state_dict(averaged)
        model.save_pretrained(folder / "vae")
