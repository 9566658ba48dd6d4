"""Samplers for flow matching: x_t = (1 - sigma)·x0 + sigma·noise, the model predicts noise - x0.

Plain functions over a `predict(x, sigma) -> flow` and a `draw_noise(step) -> noise`; the few-step list is
Self-Forcing's, warped by a shift.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .schedule import Sampling

Predict = Callable[[Tensor, float], Tensor]
DrawNoise = Callable[[int], Tensor]


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
