"""Muon for many small matrices: those of one shape go through Newton-Schulz together.

torch's takes one matrix after the other, some thirty calls each. For the hundred matrices of a small transformer that keeps a device waiting longer
than a forward pass takes it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPS = 1e-7


def orthogonal(grads_BMN: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """What is left of matrices when their singular values are all about 1, in bf16: Newton-Schulz, as torch's `Muon` does it."""
    a, b, c = coefficients
    wide = grads_BMN.shape[1] <= grads_BMN.shape[2]
    x = grads_BMN.bfloat16()
    x = x if wide else x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT


class StackedMuon(torch.optim.Muon):
    """torch's Muon, with `adjust_lr_fn: match_rms_adamw`, shape by shape. Its state is torch's."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights: list[Tensor] = []
            grads: list[Tensor] = []
            momenta: list[Tensor] = []
            self._init_group(group, weights, grads, momenta)
            if not weights:
                continue
            torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
            heading = torch._foreach_lerp(grads, momenta, group["momentum"]) if group["nesterov"] else momenta
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            by_shape: dict[torch.Size, list[int]] = {}
            for index, weight in enumerate(weights):
                by_shape.setdefault(weight.shape, []).append(index)
            for shape, mine in by_shape.items():
                step = orthogonal(torch.stack([heading[i] for i in mine]), group["ns_coefficients"], group["ns_steps"])
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                torch._foreach_add_(
                    [weights[i] for i in mine], list(step.to(weights[mine[0]].dtype).unbind()), alpha=-rate
                )
