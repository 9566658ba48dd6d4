"""How right the readers are, on shots of which everything is known: rendered truth, and the same through the autoencoder.

Looks are asked of puppets that stand alone in their kind and fill at least two parts in a hundred of the frame: smaller ones
are too small to tell stripes from dots at 128x64, for people too.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch

from ..animatic.stage import Scene
from ..generator.bundle import Bundle
from ..storyboard.caption import Role, Staging
from ..storyboard.vocabulary import ACTIONS, FACINGS, KINDS, MOVEMENTS, SETS, TIMES, VIEWS
from ..training.world import FPS, SPLITS, random_appearance
from .readers import LOOKS, WHOLE, FrameReader, find_cuts, find_movement, read

FRAMES = 24
LARGE_ENOUGH = 0.02
NOBODY = "nobody"


def random_staging(rng: random.Random) -> Staging:
    """A shot of the small world with up to two puppets of different kinds."""
    view = rng.choice(VIEWS)
    kinds = rng.sample(KINDS, 1 if view == "close" else rng.choice((0, 1, 1, 2)))
    roles = tuple(Role(kind, rng.choice(ACTIONS), rng.choice(FACINGS), random_appearance(rng)) for kind in kinds)
    return Staging(view, rng.choice(SETS), rng.choice(TIMES), rng.choice(MOVEMENTS), roles)


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
        staging = random_staging(random.Random(number))
        scene = Scene(staging, width=profile.width, height=profile.height, layout_seed=number)
        seconds = torch.arange(FRAMES) / FPS
        drawn = scene.draw(seconds).frames
        with torch.no_grad():
            seen, _ = bundle.autoencoder.decode(bundle.autoencoder.encode(drawn[None].to(bundle.device)))
        areas = scene.visible(seconds[2::4]).mean(dim=(1, 2, 3)).tolist()
        for way, frames in (("rendered", drawn), ("encoded", seen[0].float().cpu())):
            _compare(found[way], reader, staging, areas, frames, before.get(way))
            before[way] = frames
        on_shot(index + 1)
    ways = {way: {name: _summary(table) for name, table in tables.items()} for way, tables in found.items()}
    return {"shots": shots, "weights": profile.name, **ways, "seconds": round(time.perf_counter() - began, 1)}


def _compare(
    tables: dict[str, dict[str, Counter[str]]],
    reader: FrameReader,
    staging: Staging,
    areas: list[float],
    frames: torch.Tensor,
    before: torch.Tensor | None,
) -> None:
    reading = read(reader, frames[2::4])
    for name in WHOLE:
        tables[name][getattr(staging, name)][getattr(reading, name)] += 1
    tables["camera"][staging.movement][find_movement(reader, frames)] += 1
    there = {role.kind for role, area in zip(staging.roles, areas, strict=False) if area >= LARGE_ENOUGH}
    absent = [kind for kind in KINDS if kind not in {role.kind for role in staging.roles}]
    for kind in sorted(there):
        tables["kind"][kind][kind if reading.shows(kind, len(KINDS)) else NOBODY] += 1
    for kind in absent:
        tables["kind"][NOBODY][kind if reading.shows(kind, len(KINDS)) else NOBODY] += 1
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
