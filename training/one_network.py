"""What stages share that train one small network, whole on every device."""

from __future__ import annotations

from typing import Any

from torch import nn

from .recipe import AutoencoderSettings, ClipSettings, ReaderSettings


class OneNetwork:
    """The part of `trainer.Stage` that is the same for all of them; the part trained is named as the stage's kind.

    Attributes:
        network: what is trained.
    """

    plain_attention = False
    network: Any

    def __init__(self, settings: AutoencoderSettings | ClipSettings | ReaderSettings) -> None:
        self.name, self.kind, self._rate = settings.name, settings.kind, settings.learning_rate

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
