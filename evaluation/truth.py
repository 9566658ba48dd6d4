"""How right the readers are, on shots of which everything is known: rendered truth, and the same through the autoencoder.

What people could not tell either is not asked: looks of puppets that do not stand alone in their kind or fill less than two
parts in a hundred of the frame (stripes and dots are alike there at 128x64), looks that could be others without a change that is seen (the
hat of who stands with the head above the frame), props that are hidden but for less than two in a thousand, light that is on the
border of two thirds.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ..animatic.stage import LATEST, Daylight, Scene
from ..generator.bundle import Bundle
from ..generator.reader import LOOKS, THINGS, FrameReader, read
from ..storyboard.vocabulary import FULL
from ..training.world import FPS, SPLITS, Split, random_moment
from .light import LIGHTS, find_light
from .readers import acting, find_actions, find_cuts, find_movement, told_of

FRAMES = 24
LARGE_ENOUGH = {"kind": 0.02, "prop": 0.002}
NONE = "none"
PLAINLY, SEEN = 0.1, 0.004
"""A look is seen where any other would change so large a part of the frame so much. Of 252 asked on validation shots three would change
0.001 to 0.002, all others 0.005 and more."""
BORDER = 1 / 6
"""Of a third of the light."""


def evaluate_readers(
    reader: FrameReader, bundle: Bundle, *, shots: int, on_shot: Callable[[int], None] = lambda n: None, split: Split = "test"
) -> dict[str, Any]:  # fmt: skip
    """Accuracy and confusion of every reader, on shots in the words that the bundle knows (all, where it says none).

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
        number = SPLITS[split] + 300_000_000 + index
        scene = random_moment(number, width=profile.width, height=profile.height, known=bundle.vocabulary or FULL)
        seconds = torch.arange(FRAMES) / FPS
        drawn = scene.draw(seconds).frames
        with torch.no_grad():
            seen, _ = bundle.autoencoder.decode(bundle.autoencoder.encode(drawn[None].to(bundle.device)))
        visible = scene.visible(seconds[2::4])
        areas = {
            "kind": visible.puppets.mean(dim=(1, 2, 3)).tolist(),
            "prop": visible.props.mean(dim=(1, 2, 3)).tolist(),
        }
        for way, frames in (("rendered", drawn), ("encoded", seen[0].float().cpu())):
            _compare(found[way], reader, scene, areas, frames, before.get(way))
            before[way] = frames
        on_shot(index + 1)
    ways = {way: {name: _summary(table) for name, table in tables.items()} for way, tables in found.items()}
    return {
        "shots": shots,
        "split": split,
        "weights": profile.name,
        **ways,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _compare(
    tables: dict[str, dict[str, Counter[str]]],
    reader: FrameReader,
    scene: Scene,
    areas: dict[str, list[float]],
    frames: torch.Tensor,
    before: torch.Tensor | None,
) -> None:
    reading, staging = read(reader, frames[2::4]), scene.staging
    true = told_of(staging, scene.daylight)
    for name, said in reading.frame.items():
        tables[name][true[name]][said] += 1
    if _is_clear(scene.daylight):
        tables["light"][true["light"]][find_light(reader, frames[2::4], reading)] += 1
    tables["camera"][staging.movement][find_movement(reader, frames)] += 1
    for what in THINGS:
        played = [getattr(role, what) for role in staging.roles if getattr(role, what)]
        large = {
            getattr(role, what)
            for role, area in zip(staging.roles, areas[what], strict=False)
            if area >= LARGE_ENOUGH[what]
        }
        there = {thing for thing in large if what == "prop" or played.count(thing) == 1}
        words = reading.words[what]
        for thing in words:
            if thing in there or thing not in played:
                read_as = thing if reading.shows(thing, len(words), what) else NONE
                tables[what][thing if thing in there else NONE][read_as] += 1
        for role in staging.roles:
            if what == "kind" and role.kind in there:
                for look in seen_looks(scene, staging.roles.index(role)):
                    tables[look][getattr(role.appearance, look)][reading.look_of(role.kind, look)] += 1
        if what == "kind":
            doing = [role for role in acting(staging) if role.kind in there]
            done = find_actions(reader, frames, [role.kind for role in doing]) if doing else []
            for role, action in zip(doing, done, strict=True):
                tables["action"][role.action][action] += 1
    if before is not None:
        cuts = find_cuts(torch.cat([before, frames]))
        tables["cut"]["cut"]["cut" if cuts == [len(before)] else "missed" if not cuts else "elsewhere"] += 1


def seen_looks(scene: Scene, role: int) -> list[str]:
    """The looks of a role that can be told from the others on the frames that are read: the scene is drawn with each of them."""
    seconds, look = torch.arange(FRAMES)[2::4] / FPS, scene.staging.roles[role].appearance
    if look is None:
        return []
    own, found = scene.draw(seconds).frames, []
    for name, words in LOOKS.items():
        looks = (replace(look, **{name: word}) for word in words if word != getattr(look, name))
        others = (scene.dressed(role, other).draw(seconds).frames for other in looks)
        changes = [float(((other - own).abs().amax(dim=1) > PLAINLY).float().mean()) for other in others]
        if min(changes) >= SEEN:
            found.append(name)
    return found


def _is_clear(light: Daylight) -> bool:
    """Whether the light is within a third of what it can be, off its borders."""
    thirds = light.later / LATEST * len(LIGHTS)
    return abs(thirds - round(thirds)) >= BORDER or round(thirds) in (0, len(LIGHTS))


def _summary(table: dict[str, Counter[str]]) -> dict[str, Any]:
    asked = sum(sum(row.values()) for row in table.values())
    right = sum(row[name] for name, row in table.items())
    return {
        "rate": round(right / asked, 4), "asked": asked,
        "confusion": {name: dict(row.most_common()) for name, row in sorted(table.items())},
    }  # fmt: skip
