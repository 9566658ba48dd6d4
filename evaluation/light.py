"""How far the light has gone, found by painting: a set is painted at many moments between its time of day and the next, and the
moment is the one whose colours the frames' background has. Colours hardly depend on how a set is laid out."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..animatic.stage import LATEST, Daylight, Scene
from ..generator.reader import READ_HEIGHT, READ_WIDTH, FrameReader, Reading
from ..storyboard.caption import Staging

LIGHTS = ("told", "late", "later")
"""How far the light has gone towards the next time of day, in thirds of what it can."""
MOMENTS = 25
LAYOUTS = (0, 1)
"""Seeds of the sets that are painted: two have nearly all colours there are."""
PIXELS = 600
"""Of the background that are compared."""
FAR = 0.05
"""A colour farther than this from all that were painted says nothing about the light: it is of something in the way."""


def third_of(light: Daylight) -> str:
    """The word for a light."""
    return LIGHTS[min(int(light.later / LATEST * len(LIGHTS)), len(LIGHTS) - 1)]


@lru_cache(maxsize=64)
def _colours(place: str, time: str, weather: str) -> tuple[Tensor, Tensor]:
    """Colours of the set [N, 3] in the light that is told, and the same pixels in the latest."""
    ends: list[list[Tensor]] = [[], []]
    staging = Staging("wide", place, time, "still", (), weather)
    for seed in LAYOUTS:
        for end, later in zip(ends, (0.0, LATEST), strict=True):
            scene = Scene(
                staging, width=READ_WIDTH, height=READ_HEIGHT, layout_seed=seed, daylight=Daylight(later, 1e-9)
            )
            picture = scene.backdrop(torch.zeros(1), torch.zeros(1))[0]
            end.append(picture[:, ::2, ::2].flatten(1).T)
    return torch.cat(ends[0]), torch.cat(ends[1])


def find_light(reader: FrameReader, frames_FCHW: Tensor, reading: Reading) -> str:
    """The light of frames whose set, time of day and weather have been read, in the middle of them."""
    sized = F.interpolate(frames_FCHW, (READ_HEIGHT, READ_WIDTH), mode="area")
    with torch.no_grad():
        puppets = reader.seen(sized)["kind"].softmax(dim=1)[:, 1:].sum(dim=1, keepdim=True)
    free = F.interpolate(puppets, (READ_HEIGHT, READ_WIDTH), mode="nearest")[:, 0] < 0.3
    pixels = sized.permute(0, 2, 3, 1)[:, ::3, ::3][free[:, ::3, ::3]]
    if not len(pixels):
        return LIGHTS[0]
    pixels = pixels[torch.linspace(0, len(pixels) - 1, min(PIXELS, len(pixels))).long()]
    first, last = _colours(reading.frame["set"], reading.frame["time"], reading.frame["weather"])
    moments = torch.linspace(0.0, 1.0, MOMENTS)
    apart = [torch.cdist(pixels, torch.lerp(first, last, m)).amin(dim=1).clamp(max=FAR).mean() for m in moments]
    return third_of(Daylight(float(moments[int(torch.stack(apart).argmin())]) * LATEST))
