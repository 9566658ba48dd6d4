"""What the measured critic finds: shots of the small world with planted faults, and as many without, through the bundled CLIP and reader.

python benchmarks/critic.py [generator] [cases of each fault] [split]
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace

import torch
from faults import FAULTS, MOVING, drawn, spoilt, with_wrong_people
from filmwright.agents.critic import Look, MeasuredCritic
from filmwright.agents.prompts import staging_asked
from filmwright.animatic.stage import Scene
from filmwright.evaluation.films import Tally
from filmwright.generator.bundle import load_bundle
from filmwright.generator.profiles import weights_folder
from filmwright.storyboard.caption import Staging, caption
from filmwright.storyboard.stage import open_generator
from filmwright.storyboard.vocabulary import FULL
from filmwright.training.world import SPLITS, random_film, random_role


def shot(rng: random.Random, number: int, known: object) -> Staging:
    """A shot with somebody in it."""
    while True:
        for one in random_film(number, known=known).shots:  # type: ignore[arg-type]
            if one.staging.roles:
                return one.staging
        number += 7_000_000


def main(generator: str = "nano", cases: str = "60", split: str = "test") -> None:
    opened = open_generator(generator)
    bundle = load_bundle(weights_folder(generator), torch.device("cpu"))
    profile, known = opened.profile, opened.profile.vocabulary or FULL
    tallies = {fault: Tally() for fault in ("none", *FAULTS)}
    reasons: dict[str, dict[str, int]] = {fault: {} for fault in ("none", *FAULTS)}
    for number, fault in ((SPLITS[split] + 600_000_000 + i, fault) for i in range(int(cases)) for fault in tallies):
        rng = random.Random(f"{number}/{fault}")
        staging = shot(rng, number, known)
        if fault == "frozen":
            role = replace(staging.roles[0], action=rng.choice(MOVING), prop=None)
            staging = replace(staging, roles=(role, *staging.roles[1:]), movement="still")
        seen = with_wrong_people(staging, fault, rng, known)
        scene = Scene(seen, width=128, height=64, layout_seed=number)
        frames = spoilt(drawn(scene, bundle, rng.uniform(0.2, 1.5)), fault, rng)
        other = random_role(rng, rng.choice(known.kinds), staging.roles[0].appearance, known=known)  # type: ignore[arg-type]
        elsewhere = Staging("wide", rng.choice(known.sets), "day", "still", (other,))
        before = (
            frames[:1]
            if fault == "missed cut"
            else drawn(Scene(elsewhere, width=128, height=64, layout_seed=number + 1), bundle, 0.5)[-1:]
        )
        prompt = caption(staging)
        measures = opened.measure(frames, prompt, (), before)
        verdict = MeasuredCritic().review(
            Look(measures, prompt, 0, True, profile.prompt_floor, 2, 1, asked=staging_asked(prompt))
        )
        tallies[fault].add(int(verdict.action != "continue"), 1)
        why = verdict.reason.split("(")[0].strip()
        reasons[fault][why] = reasons[fault].get(why, 0) + 1
    out = {fault: {**tally.summary(), "reasons": reasons[fault]} for fault, tally in tallies.items()}
    print(json.dumps({"generator": profile.weights, "split": split, "cases": int(cases), "stopped": out}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
