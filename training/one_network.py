"""What stages share that train one small network: whole on every device, each on its share of the examples of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..generator.autoencoder import TinyVideoAutoencoder
from .settings import AutoencoderSettings, ClipSettings, ReaderSettings, TextSettings
from .sizes import Size

SEED_STRIDE, SEED_ROOM = 1_000_003, 20_000_000


@dataclass(frozen=True)
class Share:
    """What this process takes of the examples of every step.

    Attributes:
        seed: of the run; another seed trains on other examples.
    """

    seed: int = 0
    rank: int = 0
    ranks: int = 1

    def numbers(self, first: int, step: int, count: int) -> list[int]:
        """The examples of a step, of `count` in all, counted from `first` on."""
        begin = first + self.seed * SEED_STRIDE % SEED_ROOM + step * count
        return list(range(begin, begin + count))[self.rank :: self.ranks]


class OneNetwork:
    """The part of `trainer.Stage` that is the same for all of them; the part trained is named as the stage's kind.

    Attributes:
        network: what is trained; its gradients are averaged over the processes.
    """

    keeps_attention = False
    network: Any

    def __init__(
        self, settings: AutoencoderSettings | TextSettings | ClipSettings | ReaderSettings, share: Share
    ) -> None:
        self.name, self.kind, self._rate, self.share = settings.name, settings.kind, settings.learning_rate, share

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {self.kind: self.network}

    def part(self, step: int) -> str:
        return self.kind

    def learning_rate(self, part: str) -> float:
        return self._rate

    def sharded(self) -> list[nn.Module]:
        return []

    def after_step(self, part: str) -> None:
        pass


class Seeing(OneNetwork):
    """One that looks at frames, some of which have been through the autoencoder."""

    def __init__(
        self,
        settings: ClipSettings | ReaderSettings,
        size: Size,
        autoencoder: TinyVideoAutoencoder,
        device: torch.device,
        share: Share,
    ) -> None:
        super().__init__(settings, share)
        self.settings: Any = settings
        self.size, self.autoencoder, self.device = size, autoencoder, device
        self.network = self.build().to(device)

    def build(self) -> Any:
        """The network, as yet untrained."""
        raise NotImplementedError
