"""Long multi-shot causal tuning (CausalCine §3.2), under every memory that the weights are to serve (policy mixture), and
FilmWeaver's curriculum, which is the same with compressed history.

Legend: `R` rows (one chunk each, film-major), `L` latent frames of a chunk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..generator.schedule import warp
from .film_stage import FilmStage, Scene, Workshop, add_noise, guide, part_of, spread
from .films import Batch
from .labels import LABEL_HEAD, LabelGuide
from .routing_guide import RoutingGuide
from .settings import TuningSettings

RESAMPLED_FROM = 0.8
"""The most noise that a chunk of history is made from, before it is warped: where more is, another chunk comes out, and not a worse one."""


class TuningStage(FilmStage):
    """Flow matching: clean and noisy copies of whole films in one batch.

    Args:
        stills: trains the same networks in the steps that are of stills.
    """

    settings: TuningSettings

    def __init__(self, settings: TuningSettings, workshop: Workshop, stills: TuningStage | None = None) -> None:
        transformer: Any = workshop.networks["transformer"]
        if settings.history_patches and not transformer.config.history_patches:
            transformer.add_history_patches()
        super().__init__(settings, workshop)
        self._half_way = len(transformer.blocks) // 2
        self._stills = stills

    def batch(self, step: int) -> Batch:
        stills = self._of_stills(step)
        return super().batch(step) if stills is None else stills.batch(step)

    def loss(self, batch: Batch, step: int, progress: float) -> dict[str, Tensor]:
        stills = self._of_stills(step)
        return self._loss(batch, progress) if stills is None else stills.loss(batch, step, progress)

    def _of_stills(self, step: int) -> TuningStage | None:
        """Who trains in a step of stills; they are spread evenly."""
        share = self.settings.stills
        return self._stills if int((step + 1) * share) > int(step * share) else None

    def _loss(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        settings, scene = self.settings, self.scene(batch)
        films, chunks = len(batch.film_seeds), self.chunks(scene.films, batch)
        hidden = scene.memory.state.frames if scene.memory.state else 0
        clean = self.with_state(scene.memory, scene.films.latents)
        target = clean.repeat(settings.copies, 1, 1, 1, 1)
        shift = settings.shift + (settings.final_shift - settings.shift) * progress  # layout first, detail later
        levels = chunks if settings.timesteps == "chunk" else 1
        drawn = [scene.draws.uniform(levels) for _ in range(settings.copies)]
        sigma = warp(torch.cat([u.repeat_interleave(chunks // levels) for u in drawn]), shift)
        noise = torch.cat([scene.draws.normal(chunks, *clean.shape[1:]) for _ in range(settings.copies)])
        noisy = add_noise(target, noise, sigma)
        text = self.text(self.nets, scene.films, scene.draws.uniform(chunks) < settings.prompt_dropout)
        history = clean
        while settings.resample and scene.draws.shared.random() < settings.resample:
            history = self.resampled(scene, clean, history, films)
        guides = self._guides(scene, films, hidden)

        def listen(*heard: Any) -> None:
            for one, _ in guides.values():
                one(*heard)

        flow = self.forced(self.nets, scene, history, noisy, sigma, text, films, listen)
        error = (flow - (noise - target)).square()
        weight = self.weight(scene.films, hidden).repeat(settings.copies, 1, 1, 1, 1)
        losses = {"loss": (weight * error).mean(), "plain": error[:, :, hidden:].mean()}
        for name, (asked, share) in guides.items():
            found = asked.losses()
            losses |= {"loss": losses["loss"] + share * found[name], **found}
        return losses

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        super().export(averaged, folder)
        if self.settings.label_guide:  # for the next stage; a bundle has none
            save_file(part_of(averaged, "labels"), folder / LABEL_HEAD)

    def _guides(self, scene: Scene, films: int, hidden: int) -> dict[str, tuple[RoutingGuide | LabelGuide, float]]:
        """Who listens to a pass, by the name of what it asks for, and how much that weighs."""
        settings, found = self.settings, scene.films
        guides: dict[str, tuple[RoutingGuide | LabelGuide, float]] = {}
        if settings.routing_guide:
            window = scene.memory.window_frames(self.length)
            guides["routing"] = RoutingGuide(found.shared, films, self.length, hidden, window), settings.routing_guide
        if settings.label_guide:
            labels = found.labels.repeat(settings.copies, 1, 1, 1, 1)
            guides["labels"] = LabelGuide(self.nets["labels"], self._half_way, labels), settings.label_guide
        return guides

    @torch.no_grad()
    def resampled(self, scene: Scene, clean: Tensor, history: Tensor, films: int) -> Tensor:
        """Every chunk noised and finished in one Euler step, as the last one of a rollout, guided where that is, after such history."""
        rows = len(clean)
        sigma = warp(RESAMPLED_FROM * scene.draws.uniform(rows // films), self.settings.resample_shift)
        noisy = add_noise(clean, scene.draws.normal(rows // films, *clean.shape[1:]), sigma)
        text = self.text(self.nets, scene.films)
        sight = self.sight(self.nets, scene, history, text, films)
        told, untold = sight(noisy, sigma, text), sight(noisy, sigma, torch.zeros_like(text), pictures=False)
        return noisy - spread(sigma) * guide(told, untold, sigma, scene.films.place, self.settings)
