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
    query_RE1 = q_RNHD.mean(dim=1, dtype=torch.float32).flatten(1)[..., None]
    scores = torch.matmul(descriptors_RPE, query_RE1)[..., 0]
    best = torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :count]
    return best.sort(dim=1).values
