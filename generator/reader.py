"""The frame reader: a small network that was trained on rendered truth of the small world and names what is on a frame: the kind
of puppet of every cell, and its looks; set, hour, view and weather of the whole. The critic asks it who is there, evaluation
what was made.

Every score it gives is labelled with its own accuracy on rendered truth, which `evaluate readers` measures.

Legend: `B` frames, `K` kinds and the background, `h`, `w` rows and columns of cells (two pixels wide at 128x64).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..storyboard.errors import InputError
from ..storyboard.vocabulary import (
    ACCESSORIES,
    ACTIONS,
    FULL,
    HUES,
    KINDS,
    PATTERNS,
    PROPS,
    SETS,
    TIMES,
    VIEWS,
    WEATHERS,
    Vocabulary,
)
from .actions import ActionHead, follow
from .loading import load_part

READ_HEIGHT, READ_WIDTH = 64, 128
CELL = 2
WHOLE = {"set": SETS, "time": TIMES, "view": VIEWS, "weather": WEATHERS}
"""What is read of a whole frame."""
THINGS = {"kind": KINDS, "prop": PROPS}
"""What fills cells of its own."""
LOOKS = {"hue": HUES, "pattern": PATTERNS, "accessory": ACCESSORIES}
"""What is read of a puppet."""
WORDS: dict[str, list[str]] = {
    name: list(words) for name, words in {**WHOLE, **THINGS, **LOOKS, "action": ACTIONS}.items()
}
FIELDS = {
    "set": "sets", "time": "times", "view": "views", "weather": "weathers", "kind": "kinds", "prop": "props", "hue": "hues",
    "pattern": "patterns", "accessory": "accessories", "action": "actions",
}  # fmt: skip
"""The field of a `Vocabulary` that holds the words of what is read."""
SURE = {"kind": 0.5, "prop": 0.7}
"""Belief above which a cell counts. Training made much of props, which fill few cells, so belief in them comes too easily."""
SMALLEST = {"kind": 0.003, "prop": 0.001}
"""Part of the frame below which a thing is not there."""
PALETTE_ROWS, PALETTE_COLUMNS = 4, 8
"""The frame's colours as they are go to what is read of all of it: the layers' normalisation takes the light out."""


def _layer(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation)
    return nn.Sequential(conv, nn.GroupNorm(8, outputs), nn.SiLU())


class FrameReader(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Frames [B, 3, 64, 128] in 0 … 1 to logits: of what is read of a frame [B, n], of things [B, 1 + n, h, w] (the first is
    none of them) and looks [B, n, h, w] of every cell.

    Args:
        words: what it can say by what it reads.

    Attributes:
        known: the words that whoever drew the frames knows. Others are not said: weights that never heard of a dragon draw none.
    """

    known: Vocabulary = FULL

    @register_to_config
    def __init__(self, words: dict[str, list[str]], width: int = 32) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sharp = _layer(3, width // 2)
        self.fine = nn.Sequential(_layer(width // 2, width, stride=2), _layer(width, width))
        self.middle = nn.Sequential(_layer(width, 2 * width, stride=2), _layer(2 * width, 2 * width))
        self.coarse = nn.Sequential(
            _layer(2 * width, 3 * width, stride=2),
            _layer(3 * width, 3 * width, dilation=2),
            _layer(3 * width, 3 * width),
        )
        self.to_middle = _layer(5 * width, 2 * width)
        self.to_fine = _layer(3 * width, width)
        whole = 6 * width + 3 * PALETTE_ROWS * PALETTE_COLUMNS
        self.frame = nn.ModuleDict({name: self._head(whole, 2 * width, len(words[name])) for name in WHOLE})
        self.cells = nn.ModuleDict({name: nn.Conv2d(width + 3, 1 + len(words[name]), 1) for name in THINGS})
        for name in LOOKS:
            self.cells[name] = nn.Conv2d(width + 3, len(words[name]), 1)
        self.action = ActionHead(len(words["action"]))

    @staticmethod
    def _head(inputs: int, width: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))

    @property
    def words(self) -> dict[str, list[str]]:
        """What it can say by what it reads."""
        config: Any = self.config
        return dict(config.words)

    def followed(self, frames: Tensor, kinds: list[str]) -> tuple[Tensor, Tensor]:
        """Windows [K, T, 5, S, S] around puppets of these kinds on frames [T, 3, 64, 128], and their paths [K, T, 3]."""
        with torch.no_grad():
            found = {name: logits.softmax(dim=1)[:, 1:] for name, logits in self.seen(frames).items() if name in THINGS}
            props = found["prop"].sum(dim=1)
            each = [follow(frames, found["kind"][:, self.words["kind"].index(kind)], props) for kind in kinds]
        return torch.stack([windows for windows, _ in each]), torch.stack([path for _, path in each])

    def possible(self, name: str, logits: Tensor) -> Tensor:
        """Logits [B, n, …] without the words that are not known; the first of things is none of them."""
        allowed = getattr(self.known, FIELDS[name])
        first = 1 if name in THINGS else 0
        left_out = [first + index for index, word in enumerate(self.words[name]) if word not in allowed]
        return logits.index_fill(1, torch.tensor(left_out, dtype=torch.long, device=logits.device), -torch.inf)

    def seen(self, frames: Tensor) -> dict[str, Tensor]:
        """`forward`, in words that are known."""
        return {name: self.possible(name, logits) for name, logits in self.forward(frames).items()}

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        frames = frames * 2 - 1
        fine = self.fine(self.sharp(frames))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        palette = F.adaptive_avg_pool2d(frames, (PALETTE_ROWS, PALETTE_COLUMNS)).flatten(1)
        whole = torch.cat([coarse.mean(dim=(2, 3)), coarse.amax(dim=(2, 3)), palette], dim=1)
        up = self.to_middle(torch.cat([F.interpolate(coarse, scale_factor=2.0), middle], dim=1))
        up = self.to_fine(torch.cat([F.interpolate(up, scale_factor=2.0), fine], dim=1))
        up = torch.cat([up, F.avg_pool2d(frames, CELL)], dim=1)
        out: dict[str, Tensor] = {name: head(whole) for name, head in self.frame.items()}
        return out | {name: head(up) for name, head in self.cells.items()}


@dataclass(frozen=True)
class Reading:
    """What is read on a few frames of one shot.

    Attributes:
        words: what the reader can say.
        frame: what it says of the whole frame.
        areas: part of the frame that each kind, and each prop, fills.
        looks: for every look, evidence for each of its words by kind [kinds, words].
    """

    words: dict[str, list[str]]
    frame: dict[str, str]
    areas: dict[str, Tensor]
    looks: dict[str, Tensor]

    def shows(self, thing: str, count: int, what: str = "kind") -> bool:
        """Whether a kind (or a prop) is there, and among the `count` largest."""
        areas, index = self.areas[what], self.words[what].index(thing)
        return float(areas[index]) >= SMALLEST[what] and index in areas.topk(count).indices.tolist()

    def kinds(self) -> dict[str, float]:
        """The part of the frame that each kind fills that is there."""
        parts = zip(self.words["kind"], self.areas["kind"].tolist(), strict=True)
        return {kind: round(part, 4) for kind, part in parts if part >= SMALLEST["kind"]}

    def look_of(self, kind: str, look: str) -> str:
        """The hue, pattern or accessory of a kind."""
        return self.words[look][int(self.looks[look][self.words["kind"].index(kind)].argmax())]


def load_reader(folder: Path, known: Vocabulary = FULL) -> FrameReader:
    """Loads a trained reader, for frames of whoever knows the words `known`.

    Raises:
        InputError: it is of another shape than readers are now.
    """
    fresh = InputError(
        f"the reader in {folder} is of another version: remove it, and 'filmwright train nano --stage reader' makes one"
    )
    try:
        reader, found = load_part(FrameReader, folder, output_loading_info=True)
    except RuntimeError as error:  # other sizes
        raise fresh from error
    if found["missing_keys"]:
        raise fresh
    ready: FrameReader = reader.float().eval()
    ready.known = known
    return ready


def read(reader: FrameReader, frames_FCHW: Tensor) -> Reading:
    """Reads frames of one shot, of any size."""
    sized = F.interpolate(frames_FCHW, (READ_HEIGHT, READ_WIDTH), mode="area")
    with torch.no_grad():
        logits = {name: found.cpu() for name, found in reader.seen(sized.to(reader.device)).items()}
    words = reader.words
    frame = {name: words[name][int(logits[name].mean(dim=0).argmax())] for name in reader.frame}
    shown = {name: logits[name].softmax(dim=1)[:, 1:] for name in THINGS}
    shown = {name: part * (part > SURE[name]) for name, part in shown.items()}
    areas = {name: part.mean(dim=(0, 2, 3)) for name, part in shown.items()}
    looks = {name: torch.einsum("bkhw,bchw->kc", shown["kind"], logits[name].softmax(dim=1)) for name in LOOKS}
    return Reading(words, frame, areas, looks)
