"""How right the readers are, on shots of which everything is known: rendered truth, and the same through the autoencoder.

Looks are asked of puppets that stand alone in their kind and fill at least two parts in a hundred of the frame: smaller ones
are too small to tell stripes from dots at 128x64, for people too.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch

from ..animatic.stage import Scene
from ..generator.bundle import Bundle
from ..storyboard.vocabulary import FULL
from ..training.world import FPS, SPLITS, random_moment
from .readers import LOOKS, FrameReader, find_cuts, find_movement, read, told_of

FRAMES = 24
LARGE_ENOUGH = 0.02
NOBODY = "nobody"


def evaluate_readers(
    reader: FrameReader, bundle: Bundle, *, shots: int, on_shot: Callable[[int], None] = lambda n: None
) -> dict[str, Any]:
    """Accuracy and confusion of every reader.

    Returns:
        By `rendered` and `encoded`: for each attribute `rate`, `asked`, and `confusion`, true word -> read word -> count.
    """
    began = time.perf_counter()
    profile = bundle.profile
    found: dict[str, dict[str, dict[str, Counter[str]]]] = {
        way: defaultdict(lambda: defaultdict(Counter)) for way in ("rendered", "encoded")
    }
    before: dict[str, torch.Tensor] = {}
    for index in range(shots):
        number = SPLITS["test"] + 300_000_000 + index
        scene = random_moment(number, width=profile.width, height=profile.height, known=bundle.vocabulary or FULL)
        seconds = torch.arange(FRAMES) / FPS
        drawn = scene.draw(seconds).frames
        with torch.no_grad():
            seen, _ = bundle.autoencoder.decode(bundle.autoencoder.encode(drawn[None].to(bundle.device)))
        areas = scene.visible(seconds[2::4]).mean(dim=(1, 2, 3)).tolist()
        for way, frames in (("rendered", drawn), ("encoded", seen[0].float().cpu())):
            _compare(found[way], reader, scene, areas, frames, before.get(way))
            before[way] = frames
        on_shot(index + 1)
    ways = {way: {name: _summary(table) for name, table in tables.items()} for way, tables in found.items()}
    return {"shots": shots, "weights": profile.name, **ways, "seconds": round(time.perf_counter() - began, 1)}


def _compare(
    tables: dict[str, dict[str, Counter[str]]],
    reader: FrameReader,
    scene: Scene,
    areas: list[float],
    frames: torch.Tensor,
    before: torch.Tensor | None,
) -> None:
    reading, staging = read(reader, frames[2::4]), scene.staging
    true = told_of(staging, scene.daylight)
    for name, said in reading.frame.items():
        tables[name][true[name]][said] += 1
    tables["camera"][staging.movement][find_movement(reader, frames)] += 1
    played = [role.kind for role in staging.roles]
    there = {
        role.kind
        for role, area in zip(staging.roles, areas, strict=False)
        if area >= LARGE_ENOUGH and played.count(role.kind) == 1
    }
    kinds = reading.words["kind"]
    for kind in kinds:
        if kind in there or kind not in played:
            read_as = kind if reading.shows(kind, len(kinds)) else NOBODY
            tables["kind"][kind if kind in there else NOBODY][read_as] += 1
    for role in staging.roles:
        if role.kind in there:
            for look in LOOKS:
                tables[look][getattr(role.appearance, look)][reading.look_of(role.kind, look)] += 1
    if before is not None:
        cuts = find_cuts(torch.cat([before, frames]))
        tables["cut"]["cut"]["cut" if cuts == [len(before)] else "missed" if not cuts else "elsewhere"] += 1


def _summary(table: dict[str, Counter[str]]) -> dict[str, Any]:
    asked = sum(sum(row.values()) for row in table.values())
    right = sum(row[name] for name, row in table.items())
    return {
        "rate": round(right / asked, 4), "asked": asked,
        "confusion": {name: dict(row.most_common()) for name, row in sorted(table.items())},
    }  # fmt: skip
