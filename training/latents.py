"""Latents in which what is small is not drowned (ours).

An autoencoder may say how bright it is in all of its channels at once. Then one direction of a latent holds two thirds of all variance, what tells
a hat from an ear a few thousandths of it, and flow matching's noise, which is as large in every direction, hides that from all but the last step.
So the latents are stretched along their principal axes until none of those is much larger than another. Encoder and decoder begin and
end in a linear layer that takes this up: what is drawn stays the same. A transformer takes it up in its first and last layer, and has to learn
what is new, how much noise there is beside what.

Legend: `C` channels, `N` latent pixels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def evening(latents_NC: Tensor, most: float) -> Tensor:
    """The symmetric matrix [C, C] by which latents are to be multiplied so that the largest of their principal axes is at most
    `most` times the smallest, all in the same proportion on a logarithmic scale, and their variance is 1 in the mean.

    It is symmetric (as ZCA's), so that a channel goes on to mean what it meant, and latents that are even enough are scaled alone.
    """
    variance, axes = torch.linalg.eigh(torch.cov(latents_NC.double().T))
    size = variance.clamp(min=1e-12).sqrt()
    ratio = float(size[-1] / size[0])
    wanted = size ** min(1.0, math.log(most) / math.log(ratio)) if ratio > most else size
    wanted = wanted / wanted.square().mean().sqrt()
    matrix: Tensor = (axes * (wanted / size)) @ axes.T
    return matrix


def turn_autoencoder(model: nn.Module, raw_CC: Tensor) -> None:
    """Lets the encoder say its raw latents multiplied by a matrix, and the decoder read them so; in place."""
    says, reads = _ends(model)
    dtype, back = says.weight.dtype, torch.linalg.inv(raw_CC)
    with torch.no_grad():
        says.weight.copy_(torch.einsum("ij,jkhw->ikhw", raw_CC, says.weight.double()).to(dtype))
        says.bias.copy_((raw_CC @ says.bias.double()).to(dtype))
        reads.weight.copy_(torch.einsum("ojhw,ji->oihw", reads.weight.double(), back).to(dtype))


def turn_transformer(transformer: nn.Module, latents_CC: Tensor) -> None:
    """Lets a transformer speak of its (normalised) latents multiplied by a matrix; in place."""
    reads: Any = transformer.get_submodule("patch_embedding")
    says: Any = transformer.get_submodule("proj_out")
    dtype, back, channels = reads.weight.dtype, torch.linalg.inv(latents_CC), len(latents_CC)
    with torch.no_grad():
        reads.weight.copy_(torch.einsum("ojthw,ji->oithw", reads.weight.double(), back).to(dtype))
        patches = says.weight.double().unflatten(0, (-1, channels))  # the channel is the last index of a patch
        says.weight.copy_(torch.einsum("ij,pjd->pid", latents_CC, patches).flatten(0, 1).to(dtype))
        says.bias.copy_((says.bias.double().unflatten(0, (-1, channels)) @ latents_CC.T).flatten().to(dtype))


def _ends(model: nn.Module) -> tuple[Any, Any]:
    """The layers that say and read raw latents."""
    both: Any = model
    return both.encoder[-1], both.decoder[0]
