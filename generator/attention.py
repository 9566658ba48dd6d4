"""The one attention of rollout, replay and training: gather pages, give positions, rotate, attend.

Keys are stored un-rotated. A frame's position is decided after it was selected, relative to the block it serves
(CausalCine §3.3), so a page written long ago can stand anywhere in the span.

Legend: `R` rows (films in training x chunks, 1 in a rollout), `L` latent frames of the chunk, `P` pages, `S` selected
frames, `n` tokens per frame, `N` = L*n, `H` heads, `D` head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

ROPE_THETA = 10_000.0


@dataclass(frozen=True)
class Selection:
    """Which pages a chunk sees.

    Attributes:
        frames: page indices [R, S].
        positions: where each selected frame stands in the span [S].
        present: false where a slot is empty [R, S]; None when every slot is filled.
        base: the position of the chunk's own first frame.
    """

    frames: Tensor
    positions: Tensor
    present: Tensor | None
    base: int

    def by_filled_slots(self) -> Iterator[tuple[Tensor, Selection]]:
        """Splits the rows by which slots they fill: (row numbers, their selection without empty slots)."""
        if self.present is None:
            yield torch.arange(len(self.frames), device=self.frames.device), self
            return
        patterns, pattern_R = torch.unique(self.present, dim=0, return_inverse=True)
        for index, filled_S in enumerate(patterns):
            rows = (pattern_R == index).nonzero()[:, 0]
            yield rows, Selection(self.frames[rows][:, filled_S], self.positions[filled_S.cpu()], None, self.base)


def rope_widths(head_width: int) -> tuple[int, int, int]:
    """How a head's width is shared by time, rows and columns: height = width = 2·(d // 6), as in Wan."""
    side = 2 * (head_width // 6)
    return head_width - 2 * side, side, side


def _axis(width: int, positions: Tensor) -> Tensor:
    """Angles [len(positions), width/2] in fp64, as diffusers computes them."""
    rates = ROPE_THETA ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    return positions.double()[:, None] * rates


@lru_cache(maxsize=64)
def rope_table(positions: tuple[int, ...], rows: int, columns: int, head_width: int) -> Tensor:
    """Unit complex numbers [len(positions)·rows·columns, 1, head_width / 2] for frames at `positions`."""
    time, high, wide = rope_widths(head_width)
    t = _axis(time, torch.tensor(positions))[:, None, None].expand(-1, rows, columns, -1)
    h = _axis(high, torch.arange(rows))[None, :, None].expand(len(positions), -1, columns, -1)
    w = _axis(wide, torch.arange(columns))[None, None, :].expand(len(positions), rows, -1, -1)
    angles = torch.cat([t, h, w], dim=-1).flatten(0, 2)[:, None]
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def rotate(x_RNHD: Tensor, table: Tensor) -> Tensor:
    """Rotates interleaved pairs (2i, 2i+1) of the last axis: one complex product."""
    pairs = torch.view_as_complex(x_RNHD.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table.to(x_RNHD.device)).flatten(-2).to(x_RNHD.dtype)


def attend(
    q_RNHD: Tensor,
    k_RNHD: Tensor,
    v_RNHD: Tensor,
    pages: tuple[Tensor, Tensor] | None,
    selection: Selection | None,
    grid: tuple[int, int],
) -> Tensor:
    """Attention of a chunk over its selected pages and itself.

    Args:
        q_RNHD, k_RNHD, v_RNHD: the chunk's own, un-rotated.
        pages: un-rotated keys and values [P, n, H, D].
        selection: which pages, and where they stand; None attends to the chunk alone at positions from 0.
        grid: rows and columns of tokens in a frame.

    Returns:
        [R, N, H, D].
    """
    rows, columns = grid
    width = q_RNHD.shape[-1]
    length = q_RNHD.shape[1] // (rows * columns)
    base = selection.base if selection else 0
    own = rope_table(tuple(range(base, base + length)), rows, columns, width)
    q = rotate(q_RNHD, own)
    k = rotate(k_RNHD, own)
    v = v_RNHD
    mask = None
    if pages is not None and selection is not None and selection.frames.shape[1]:
        R = selection.frames.shape[0]
        chosen = selection.frames.flatten()
        past_k = pages[0].index_select(0, chosen).reshape(R, -1, *k.shape[2:])
        past_v = pages[1].index_select(0, chosen).reshape(R, -1, *k.shape[2:])
        past_k = rotate(past_k, rope_table(tuple(selection.positions.tolist()), rows, columns, width))
        k = torch.cat([past_k, k], dim=1)
        v = torch.cat([past_v, v], dim=1)
        if selection.present is not None:
            seen = selection.present.repeat_interleave(rows * columns, dim=1)
            own_seen = torch.ones(R, q.shape[1], dtype=torch.bool, device=q.device)
            mask = torch.cat([seen, own_seen], dim=1)[:, None, None, :]
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
    return out.transpose(1, 2)
