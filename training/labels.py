"""What the middle of the transformer should know (ours): a head tells, for every cell of a noisy chunk, which puppet covers it, how it
looks, what it does, and which part of it this is.

A hat is a few pixels and weighs next to nothing in the flow's error; to the one who paints it, that it is a hat is everything. The small
world knows. Training asks the tokens half-way up for it, hands the head from stage to stage and leaves it out of what is bundled: representation alignment (Yu et al. 2024,
REPA), with the world's own truth for the representation.

Legend: `R` rows (one chunk each), `L` latent frames of a chunk, `N` tokens of the chunk, `A` kinds of label, `d` model width.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..storyboard.vocabulary import ACCESSORIES, ACTIONS, FACINGS, HUES, KINDS, PATTERNS
from .world import FPS, FRAMES_PER_LATENT, Film, shot_scene

PART_ROWS, PART_COLUMNS = 4, 3
ANSWERS = {
    "kind": 1 + len(KINDS), "hue": len(HUES), "pattern": len(PATTERNS), "accessory": len(ACCESSORIES),
    "action": len(ACTIONS), "facing": len(FACINGS), "part": PART_ROWS * PART_COLUMNS,
}  # fmt: skip
"""How many answers each label has. `kind` counts nobody as the first; `part` is the place in the puppet's outline."""
UNKNOWN = -1
EMPTY_BELOW, COVERED_ABOVE = 0.05, 0.3
"""Coverage of a cell by all puppets together, by one."""
EMPTY_WEIGHT = 0.3
"""Most cells show nobody."""
LABEL_HEAD = "labels.safetensors"
"""In the folder of a stage."""
CELLS = 2
"""Cells of a token, each way: a latent pixel each."""


def film_labels(film: Film, *, width: int, height: int, length: int) -> Tensor:
    """The labels of a film's chunks, at the second frame of every latent one [chunks, A, L, height / 8, width / 8]."""
    found = []
    for shot in film.shots:
        scene = shot_scene(film, shot, width, height, FRAMES_PER_LATENT * length)
        seconds = (torch.arange(shot.chunks * length) * FRAMES_PER_LATENT + 1) / FPS
        puppets = scene.visible(seconds).puppets
        frames = torch.full((len(ANSWERS), len(seconds), height // 8, width // 8), UNKNOWN, dtype=torch.int8)
        shown = F.avg_pool2d(puppets, 8)
        frames[0][shown.sum(dim=0) < EMPTY_BELOW] = 0
        for role, outline, covered in zip(shot.staging.roles, puppets, shown, strict=False):
            look = role.appearance
            assert look is not None
            mine = covered > COVERED_ABOVE
            told = (
                1 + KINDS.index(role.kind), HUES.index(look.hue), PATTERNS.index(look.pattern),
                ACCESSORIES.index(look.accessory), ACTIONS.index(role.action), FACINGS.index(role.facing),
            )  # fmt: skip
            for place, label in enumerate(told):
                frames[place][mine] = label
            frames[-1][mine] = _parts(outline)[mine]
        found.append(frames.unflatten(1, (shot.chunks, length)).transpose(0, 1))
    return torch.cat(found)


def _parts(outline_FHW: Tensor) -> Tensor:
    """For every cell [F, h, w], where it lies in the box around a puppet: rows of `PART_COLUMNS` from the top."""
    parts = []
    for outline in outline_FHW > 0.5:
        rows, columns = _places(outline.any(dim=1), PART_ROWS), _places(outline.any(dim=0), PART_COLUMNS)
        parts.append(rows[:, None] * PART_COLUMNS + columns)
    return torch.stack(parts).to(torch.int8)


def _places(inside: Tensor, count: int) -> Tensor:
    """For every cell along an axis, which of `count` equal parts of what is inside its middle lies in."""
    middles = torch.arange(len(inside) // 8) * 8 + 4
    if not inside.any():
        return torch.zeros(len(middles), dtype=torch.long)
    at = torch.nonzero(inside)[:, 0]
    first, last = int(at[0]), int(at[-1]) + 1
    return ((middles - first) * count // max(1, last - first)).clamp(0, count - 1)


class LabelHead(nn.Module):
    """Labels of a token's cells from what the model makes of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, CELLS * CELLS * sum(ANSWERS.values()))

    def forward(self, x_RNd: Tensor, grid: tuple[int, int]) -> Tensor:
        """Logits of every label, one after the other [R, answers, frames, 2 · rows, 2 · columns]."""
        out = self.out(F.gelu(self.hidden(self.norm(x_RNd.float()))))
        cells = out.unflatten(2, (CELLS, CELLS, -1)).unflatten(1, (-1, *grid))
        return cast(Tensor, cells.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4))


def label_head(stage: Path | None, width: int) -> LabelHead:
    """The head that a stage has trained, a new one where it has none: that takes some hundred steps to be of use."""
    head = LabelHead(width)
    if stage is not None and (stage / LABEL_HEAD).is_file():
        head.load_state_dict(load_file(stage / LABEL_HEAD))
    return head


class LabelGuide:
    """Listens to a pass for the tokens half-way up.

    Args:
        layer: whose output is asked.
        labels: of the rows that are asked, the last ones of the pass [R, A, L, h, w].
    """

    def __init__(self, head: nn.Module, layer: int, labels: Tensor) -> None:
        self._head, self._layer, self._labels = head, layer, labels
        self._tokens: Tensor | None = None

    def __call__(self, layer: int, x_RNd: Tensor, q_RNHD: Tensor, k_RNHD: Tensor) -> None:
        if layer == self._layer:
            self._tokens = x_RNd

    def losses(self) -> dict[str, Tensor]:
        """`labels`: cross-entropy, summed over the labels; `told`: part of the covered cells whose kind is right."""
        assert self._tokens is not None
        rows, _, length, h, w = self._labels.shape
        said = self._head(self._tokens[-rows:], (h // CELLS, w // CELLS))[:, :, -length:].float()
        total, told = said.sum() * 0.0, said.new_zeros(())
        for logits, (name, size), truth in zip(
            said.split(list(ANSWERS.values()), dim=1), ANSWERS.items(), self._labels.long().unbind(dim=1), strict=True
        ):
            weight = torch.ones(size, device=said.device)
            if name == "kind":
                weight[0] = EMPTY_WEIGHT
                covered = truth > 0
                told = (logits.argmax(dim=1) == truth)[covered].float().mean() if covered.any() else told
            if (truth != UNKNOWN).any():
                total = total + F.cross_entropy(logits, truth, weight, ignore_index=UNKNOWN)
        return {"labels": total, "told": told}
