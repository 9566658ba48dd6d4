"""Samplers for flow matching: x_t = (1 - sigma)·x0 + sigma·noise, the model predicts noise - x0.

Plain functions over a `predict(x, sigma) -> flow` and a `draw_noise(step) -> noise`; the few-step list is
Self-Forcing's, warped by a shift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

Predict = Callable[[Tensor, float], Tensor]
DrawNoise = Callable[[int], Tensor]
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


Time = TypeVar("Time", float, Tensor)


def warp(time: Time, shift: float) -> Time:
    """shift·t / (1 + (shift - 1)·t)."""
    return shift * time / (1 + (shift - 1) * time)


def few_step(predict: Predict, draw_noise: DrawNoise, sigmas: list[float]) -> Tensor:
    """Predicts x0, adds fresh noise at the next level, and again."""
    x = draw_noise(0)
    clean = x
    for step, sigma in enumerate(sigmas):
        clean = x - sigma * predict(x, sigma)
        if step + 1 < len(sigmas):
            nxt = sigmas[step + 1]
            x = (1 - nxt) * clean + nxt * draw_noise(step + 1)
    return clean


def euler(predict: Predict, draw_noise: DrawNoise, sigmas: list[float]) -> Tensor:
    """Follows the flow from noise to the clean chunk."""
    x = draw_noise(0)
    for sigma, nxt in zip(sigmas, [*sigmas[1:], 0.0], strict=True):
        x = x + (nxt - sigma) * predict(x, sigma)
    return x


def sample(sampling: Sampling, predict: Predict, draw_noise: DrawNoise) -> Tensor:
    """Draws a clean chunk."""
    run = few_step if sampling.kind == "few-step" else euler
    with torch.no_grad():
        return run(predict, draw_noise, sampling.sigmas())
