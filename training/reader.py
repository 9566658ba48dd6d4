"""The frame reader, for evaluation: every cell and every frame of random moments against their truth, and a few shots for what
puppets do in them. The action's network learns from what the reader finds, and the reader not from it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..evaluation.readers import acting, labels_of
from ..generator.actions import EVERY, MOMENTS, mirrored
from ..generator.precision import arithmetic
from ..generator.reader import LOOKS, READ_HEIGHT, READ_WIDTH, THINGS, WHOLE, WORDS, FrameReader, load_reader
from ..storyboard.caption import Role
from .frames import half_through, random_moments, random_shots, through
from .growth import Rows, grow, shared_rows
from .one_network import Seeing
from .settings import ReaderSettings
from .world import SPLITS

BACKGROUND_WEIGHT = {"kind": 0.3, "prop": 0.05}
"""Nine cells of ten show no puppet, and nearly all no prop."""
THING_WEIGHT = 4.0


@dataclass(frozen=True)
class Labelled:
    """Short clips [B, 4, 3, H, W] with the labels of the frame that is looked at; shots [S, F, 3, H, W] and who does what."""

    clips: Tensor
    labels: dict[str, Tensor]
    shots: Tensor
    roles: list[list[Role]]


class ReaderStage(Seeing):
    settings: ReaderSettings

    def build(self) -> Any:
        return FrameReader(WORDS)

    def go_on_from(self, reader: Path) -> None:
        """Starts from a trained one, which may know fewer words."""
        trained = load_reader(reader)

        def said(name: str) -> Rows:
            what = name.split(".")[1]  # frame.set.2.weight, cells.kind.bias
            return shared_rows(WORDS[what], trained.words[what], offset=1 if what in THINGS else 0)

        grow(self.network, trained.state_dict(), said)

    def batch(self, step: int) -> Labelled:
        train, settings = SPLITS["train"], self.settings
        found = random_moments(self.share.numbers(train + 550_000_000, step, settings.frames), self.size)
        labels = [labels_of(scene, seconds) for scene, seconds in zip(found.scenes, found.seconds, strict=True)]
        stacked = {name: torch.stack([one[name] for one in labels]) for name in labels[0]}
        numbers = self.share.numbers(train + 580_000_000, step, settings.shots)
        shots, scenes = random_shots(numbers, self.size, EVERY * MOMENTS)
        return Labelled(found.clips, stacked, shots, [acting(scene.staging) for scene in scenes])

    def loss(self, batch: Labelled, step: int, progress: float) -> dict[str, Tensor]:
        frames = half_through(self.autoencoder, batch.clips.to(self.device))
        labels = {name: value.to(self.device) for name, value in batch.labels.items()}
        with arithmetic(self.device, self.settings.precision):
            read = self.network(F.interpolate(frames, (READ_HEIGHT, READ_WIDTH), mode="area"))
        out = {name: value.float() for name, value in read.items()}
        losses = {name: F.cross_entropy(out[name], labels[name]) for name in WHOLE}
        for name, words in THINGS.items():
            weight = torch.ones(1 + len(words), device=self.device)
            weight[0] = BACKGROUND_WEIGHT[name]
            losses[name] = THING_WEIGHT * F.cross_entropy(out[name], labels[name], weight, ignore_index=-1)
        for name in LOOKS:
            losses[name] = F.cross_entropy(out[name], labels[name], ignore_index=-1)
        losses["action"] = self._action_loss(batch, step)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def _action_loss(self, batch: Labelled, step: int) -> Tensor:
        shots = batch.shots.to(self.device)
        windows: list[Tensor] = []
        paths: list[Tensor] = []
        truth: list[int] = []
        shots[::2] = through(self.autoencoder, shots[::2])
        for shot, roles in zip(shots, batch.roles, strict=True):
            if roles:
                sized = F.interpolate(shot[::EVERY], (READ_HEIGHT, READ_WIDTH), mode="area")
                seen, path = self.network.followed(sized, [role.kind for role in roles])
                windows, paths = [*windows, seen], [*paths, path]
                truth += [WORDS["action"].index(role.action) for role in roles]
        if not truth:
            return torch.zeros((), device=self.device)
        seen, path = torch.cat(windows), torch.cat(paths)
        if step % 2:
            seen, path = mirrored(seen, path)
        said = self.network.action(seen, path)
        return F.cross_entropy(said, torch.tensor(truth, device=self.device))

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        reader = copy.deepcopy(self.network)
        reader.load_state_dict(averaged)
        reader.save_pretrained(folder / "reader")
