"""What the measured critic finds: shots of the small world with planted faults, and as many without, through the bundled CLIP and reader.

python benchmarks/critic.py [generator] [cases of each fault] [split]
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace

import numpy as np
import torch
from filmwright.agents.critic import Look, MeasuredCritic
from filmwright.agents.prompts import kinds_asked
from filmwright.animatic.stage import Scene
from filmwright.evaluation.films import Tally
from filmwright.generator.bundle import load_bundle, weights_folder
from filmwright.storyboard.caption import Staging, caption
from filmwright.storyboard.stage import Frames, open_generator
from filmwright.storyboard.vocabulary import FULL
from filmwright.training.world import FPS, SPLITS, random_film, random_role

FAULTS = ("none", "wrong puppet", "missing puppet", "frozen", "colour drift", "missed cut")
MOVING = ("walks", "talks")
FRAMES = 12


def shot(rng: random.Random, number: int, known: object) -> Staging:
    """A shot with somebody in it."""
    while True:
        for one in random_film(number, known=known).shots:  # type: ignore[arg-type]
            if one.staging.roles:
                return one.staging
        number += 7_000_000


def drawn(staging: Staging, number: int, bundle: object, began: float) -> Frames:
    """A chunk of it, as the autoencoder gives it back."""
    scene = Scene(staging, width=128, height=64, layout_seed=number)
    frames = scene.draw(torch.arange(FRAMES) / FPS + began).frames
    with torch.no_grad():
        seen, _ = bundle.autoencoder.decode(bundle.autoencoder.encode(frames[None]))  # type: ignore[attr-defined]
    pixels: Frames = seen[0].clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return pixels


def main(generator: str = "nano", cases: str = "60", split: str = "test") -> None:
    opened = open_generator(generator)
    bundle = load_bundle(weights_folder(generator), torch.device("cpu"))
    profile, known = opened.profile, opened.profile.vocabulary or FULL
    tallies = {fault: Tally() for fault in FAULTS}
    reasons: dict[str, dict[str, int]] = {fault: {} for fault in FAULTS}
    for number, fault in ((SPLITS[split] + 600_000_000 + i, fault) for i in range(int(cases)) for fault in FAULTS):
        rng = random.Random(f"{number}/{fault}")
        staging = shot(rng, number, known)
        if fault == "frozen":
            role = replace(staging.roles[0], action=rng.choice(MOVING), prop=None)
            staging = replace(staging, roles=(role, *staging.roles[1:]), movement="still")
        seen = staging
        if fault == "wrong puppet":
            kind = rng.choice([k for k in known.kinds if k not in {r.kind for r in staging.roles}])
            seen = replace(staging, roles=(replace(staging.roles[0], kind=kind), *staging.roles[1:]))
        elif fault == "missing puppet":
            view = "medium" if staging.view in ("close", "over") else staging.view
            seen = replace(staging, roles=staging.roles[1:], view=view)
        frames = drawn(seen, number, bundle, rng.uniform(0.2, 1.5))
        if fault == "frozen":
            frames = np.repeat(frames[:1], FRAMES, axis=0)
        elif fault == "colour drift":
            channels = rng.choice(((1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)))  # all of the light, or a tint
            end = 1.0 + np.array(channels) * rng.choice((-0.4, 0.5))
            ramp = np.linspace(np.ones(3), end, FRAMES)[:, None, None, :]
            frames = (frames * ramp).clip(0, 255).astype(np.uint8)
        other = random_role(rng, rng.choice(known.kinds), staging.roles[0].appearance, known=known)  # type: ignore[arg-type]
        before = (
            frames[:1]
            if fault == "missed cut"
            else drawn(Staging("wide", rng.choice(known.sets), "day", "still", (other,)), number + 1, bundle, 0.5)[-1:]
        )
        prompt = caption(staging)
        measures = opened.measure(frames, prompt, (), before)
        verdict = MeasuredCritic().review(
            Look(measures, prompt, 0, True, profile.prompt_floor, 2, 1, asked=kinds_asked(prompt))
        )
        tallies[fault].add(int(verdict.action != "continue"), 1)
        why = verdict.reason.split("(")[0].strip()
        reasons[fault][why] = reasons[fault].get(why, 0) + 1
    out = {fault: {**tally.summary(), "reasons": reasons[fault]} for fault, tally in tallies.items()}
    print(json.dumps({"generator": profile.weights, "split": split, "cases": int(cases), "stopped": out}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
