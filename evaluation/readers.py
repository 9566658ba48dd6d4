"""Readers: what is on a frame, as a small network sees it that was trained on rendered truth.

Every score they give is labelled with their own accuracy on held-out truth, which `evaluate films` measures first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..storyboard.caption import Staging
from ..storyboard.vocabulary import HUES, KINDS, SETS, TIMES, VIEWS

READ_HEIGHT, READ_WIDTH = 64, 128
CUT_CHANGE = 0.035
CUT_PROMINENCE = 3.0


def labels_of(staging: Staging) -> dict[str, Tensor]:
    """The truth of a staging as indices; `hues` is -1 where a kind is absent or stands twice."""
    hues = torch.full((len(KINDS),), -1)
    kinds = [role.kind for role in staging.roles]
    for role in staging.roles:
        if role.appearance and kinds.count(role.kind) == 1:
            hues[KINDS.index(role.kind)] = HUES.index(role.appearance.hue)
    return {
        "set": torch.tensor(SETS.index(staging.set)),
        "time": torch.tensor(TIMES.index(staging.time)),
        "view": torch.tensor(VIEWS.index(staging.view)),
        "kinds": torch.tensor([float(kind in kinds) for kind in KINDS]),
        "hues": hues,
    }


class FrameReader(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Frames [B, 3, 64, 128] in 0 … 1 to logits of set, time, view, kinds (each by itself) and the hue of each kind."""

    @register_to_config
    def __init__(self, width: int = 32) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        layers: list[nn.Module] = []
        before = 3
        for step, stride in enumerate((2, 2, 2, 1)):
            after = width * (1, 2, 3, 4)[step]
            layers += [nn.Conv2d(before, after, 5 if step == 0 else 3, stride=stride, padding=2 if step == 0 else 1),
                       nn.GroupNorm(8, after), nn.SiLU()]  # fmt: skip
            before = after
        self.features = nn.Sequential(*layers)
        self.sizes = {
            "set": len(SETS),
            "time": len(TIMES),
            "view": len(VIEWS),
            "kinds": len(KINDS),
            "hues": len(KINDS) * len(HUES),
        }
        self.heads = nn.ModuleDict({name: nn.Linear(2 * before, size) for name, size in self.sizes.items()})

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        found = self.features(frames * 2 - 1).flatten(2)
        pooled = torch.cat([found.mean(dim=-1), found.amax(dim=-1)], dim=-1)
        out = {name: head(pooled) for name, head in self.heads.items()}
        out["hues"] = out["hues"].unflatten(-1, (len(KINDS), len(HUES)))
        return out


@dataclass(frozen=True)
class Reading:
    """What is read on a few frames of one shot, their logits averaged."""

    set: str
    time: str
    view: str
    kinds: Tensor
    hues: tuple[str, ...]

    def shows(self, kind: str, count: int) -> bool:
        """Whether `kind` is among the `count` most likely kinds."""
        return KINDS.index(kind) in self.kinds.topk(count).indices.tolist()

    def hue_of(self, kind: str) -> str:
        return self.hues[KINDS.index(kind)]


def load_reader(folder: Path) -> FrameReader:
    """Loads a trained reader."""
    reader: FrameReader = (
        FrameReader.from_pretrained(folder, use_safetensors=True, low_cpu_mem_usage=False).float().eval()
    )
    return reader


def read(reader: FrameReader, frames_FCHW: Tensor) -> Reading:
    """Reads frames of one shot, of any size."""
    sized = nn.functional.interpolate(frames_FCHW, (READ_HEIGHT, READ_WIDTH), mode="area")
    with torch.no_grad():
        logits = {name: value.mean(dim=0) for name, value in reader(sized).items()}
    return Reading(
        SETS[int(logits["set"].argmax())], TIMES[int(logits["time"].argmax())], VIEWS[int(logits["view"].argmax())],
        logits["kinds"], tuple(HUES[int(i)] for i in logits["hues"].argmax(dim=-1)),
    )  # fmt: skip


def find_cuts(frames_FCHW: Tensor) -> list[int]:
    """Frame numbers where the picture changes at once: a change above `CUT_CHANGE` that stands out from its second."""
    change = (frames_FCHW[1:] - frames_FCHW[:-1]).abs().mean(dim=(1, 2, 3))
    cuts = []
    for index, value in enumerate(change.tolist()):
        around = change[max(0, index - 8) : index + 9]
        if value >= CUT_CHANGE and value == float(around.max()) and value > CUT_PROMINENCE * float(around.median()):
            cuts.append(index + 1)
    return cuts
