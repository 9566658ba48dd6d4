"""How a chunk is denoised: the settings of a sampler and its noise levels; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor

Timesteps = Annotated[tuple[Annotated[int, Field(gt=0, le=1000)], ...], Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class Sampling:
    """How a chunk is denoised.

    Attributes:
        kind: `few-step` for distilled weights, `euler` for the others.
        timesteps: few-step: the list before warping, from 1000 down.
        steps: euler: number of steps.
        shift: warps time towards noise.
        guidance: classifier-free guidance scale; 1 runs no unconditional pass.
        guide_above: noise level above which there is guidance, after the first chunk of a shot (limited interval, arXiv 2404.07724).
            Below it nothing is left to decide but detail, which guidance overdraws, in every chunk a little more than in the one before.
        recall_above: noise level above which, at the first chunk of a shot, the unconditional pass forgets memory too, so that
            guidance pulls towards what was shown before; 1 for never.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["few-step", "euler"] = "few-step"
    timesteps: Timesteps = (1000, 750, 500, 250)
    steps: Annotated[int, Field(ge=1, le=1000)] = 30
    shift: Annotated[float, Field(gt=0, le=1000)] = 5.0
    guidance: Annotated[float, Field(ge=0, le=1000)] = 1.0
    guide_above: Annotated[float, Field(ge=0, le=1)] = 0.0
    recall_above: Annotated[float, Field(ge=0, le=1)] = 1.0

    def sigmas(self) -> list[float]:
        """Noise levels at which the model is asked, in order."""
        if self.kind == "few-step":
            times = [t / 1000 for t in self.timesteps]
        else:
            times = [1 - i / self.steps for i in range(self.steps)]
        return [warp(t, self.shift) for t in times]


Time = TypeVar("Time", float, "Tensor")


def warp(time: Time, shift: float) -> Time:
    """shift·t / (1 + (shift - 1)·t)."""
    return shift * time / (1 + (shift - 1) * time)
