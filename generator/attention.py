"""The one attention of rollout, replay and training: give positions, rotate, attend.

Keys are stored un-rotated. A frame's position is decided after it was selected, relative to the block it serves
(CausalCine §3.3), so a page written long ago can stand anywhere in the span.

Legend: `R` rows (films in training x chunks, 1 in a rollout), `n` tokens per frame, `N` tokens of the chunk, `M` tokens
of the past, `H` heads, `D` head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ROPE_THETA = 10_000.0
Past = tuple[Tensor, Tensor]
"""Rotated keys and values [R, M, H, D] that a chunk attends to beside its own."""
_keeps: ContextVar[bool] = ContextVar("keeps", default=False)


def rope_widths(head_width: int) -> tuple[int, int, int]:
    """How a head's width is shared by time, rows and columns: height = width = 2·(d // 6), as in Wan."""
    side = 2 * (head_width // 6)
    return head_width - 2 * side, side, side


def rope_table(t_N: Tensor, h_N: Tensor, w_N: Tensor, head_width: int) -> Tensor:
    """Unit complex numbers [N, 1, head_width / 2] for tokens at (time, row, column); angles in fp64, as in diffusers."""
    parts = []
    for positions, width in zip((t_N, h_N, w_N), rope_widths(head_width), strict=True):
        rates = ROPE_THETA ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
        parts.append(positions.double()[:, None] * rates)
    angles = torch.cat(parts, dim=-1)[:, None]
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def token_grid(t: Tensor, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates [N] of every token of frames at times `t`, rows `h`, columns `w`."""
    t_N, h_N, w_N = torch.meshgrid(t, h, w, indexing="ij")
    return t_N.flatten(), h_N.flatten(), w_N.flatten()


@lru_cache(maxsize=256)
def frame_table(positions: tuple[int, ...], rows: int, columns: int, head_width: int, device: torch.device) -> Tensor:
    """`rope_table` of whole frames standing at `positions`: [len(positions)·rows·columns, 1, head_width / 2]."""
    grid = token_grid(torch.tensor(positions), torch.arange(rows), torch.arange(columns))
    return rope_table(*grid, head_width).to(device)


def rotate(x_RNHD: Tensor, table: Tensor) -> Tensor:
    """Rotates interleaved pairs (2i, 2i+1) of the last axis: one complex product."""
    pairs = torch.view_as_complex(x_RNHD.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table).flatten(-2).to(x_RNHD.dtype)


@cache
def _flash() -> Any | None:
    """flash-attn's kernel where the extra is installed; SDPA does the work elsewhere."""
    try:
        from flash_attn import flash_attn_func  # type: ignore[import-not-found, unused-ignore]
    except (ImportError, OSError):
        return None
    return flash_attn_func


def attend(q_RNHD: Tensor, k_RNHD: Tensor, v_RNHD: Tensor, table: Tensor, past: Sequence[Past] = ()) -> Tensor:
    """Attention of a chunk over its past and itself.

    Args:
        q_RNHD, k_RNHD, v_RNHD: the chunk's own, un-rotated.
        table: positions of the chunk's own tokens.
        past: rotated keys, and values. Attention does not see their order, but the last bits of its sums do: rollout and training
            give context, state, fixed pages, routed ones.

    Returns:
        [R, N, H, D].
    """
    q, k, v = rotate(q_RNHD, table), rotate(k_RNHD, table), v_RNHD
    if past:
        k = torch.cat([*(keys for keys, _ in past), k], dim=1)
        v = torch.cat([*(values for _, values in past), v], dim=1)
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16) and _flash() is not None:
        seen: Tensor = _flash()(q, k, v)  # type: ignore[misc]
        return seen
    return weigh(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)


@contextmanager
def kept_weights(keep: bool = True) -> Iterator[None]:
    """Inside, attention keeps its weights for the backward pass: on a CPU faster than making them again, in more memory. Its last bits are
    others than outside, and than where no gradients are made."""
    token = _keeps.set(keep)
    try:
        yield
    finally:
        _keeps.reset(token)


def weigh(q_RHND: Tensor, k_RHMD: Tensor, v_RHMD: Tensor) -> Tensor:
    """The values [R, H, N, D], each as much as its key is like the query."""
    if not (_keeps.get() and torch.is_grad_enabled()):
        return F.scaled_dot_product_attention(q_RHND, k_RHMD, v_RHMD)
    # SDPA's own way to keep them looks for rows where nothing may be seen, which takes as long as the softmax
    scores = (q_RHND * q_RHND.shape[-1] ** -0.5) @ k_RHMD.transpose(-2, -1)
    seen: Tensor = scores.softmax(dim=-1).to(v_RHMD.dtype) @ v_RHMD
    return seen
