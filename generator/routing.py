"""Content-aware memory routing (CausalCine §3.3): a chunk recalls the frames whose keys answer its queries.

Legend: `R` rows, `N` tokens of the chunk, `H` heads, `D` head width, `E` = H·D, `P` candidate frames.
"""

from __future__ import annotations

import torch
from torch import Tensor


def describe(keys_FnHD: Tensor) -> Tensor:
    """Content descriptors [F, E]: the mean key of every frame (equation 6)."""
    return keys_FnHD.float().mean(dim=1).flatten(1)


def choose(q_RNHD: Tensor, descriptors_RPE: Tensor, count: int) -> Tensor:
    """The `count` best candidates of every row, as indices into P in rising order [R, min(count, P)].

    One decision for all frames of the chunk: the mean query against every descriptor, summed over heads (equation 7).
    Equal scores go to the earlier candidate.
    """
    query = q_RNHD.float().mean(dim=1).flatten(1)
    scores = torch.einsum("re,rpe->rp", query, descriptors_RPE)
    best = torch.argsort(scores, dim=1, descending=True, stable=True)[:, :count]
    return best.sort(dim=1).values
