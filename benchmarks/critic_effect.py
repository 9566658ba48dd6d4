"""Whether the measured critic makes films better: held-out films with and without it, the same seeds, shot by shot.

python benchmarks/critic_effect.py planted [generator] [films] [split]
python benchmarks/critic_effect.py READER [generator] [films] [split]

`planted`: films that are as they should be but for a fault in every fourth chunk that is drawn (`faults.py`). A shot is right when none of
its chunks has one: that is known, and nobody has to judge.

With a judge: the generator's own films. A shot is right when a reader sees its set and all of its puppets, and no other; `truth` is
what it says of the films as they should be. The critic asks the bundle's own reader, so the judge has to be another one,
trained from nothing on other films, by

filmwright train nano --stage reader --scratch --seed 1 --minutes 30 -o runs/judge     # READER: runs/judge/model/reader
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faults import FRAMES, Erring
from filmwright.agents.critic import Critic, Look, MeasuredCritic, NoCritic, wrong_puppets
from filmwright.agents.floor import MAX_INTERVENTIONS, MAX_TAKES
from filmwright.agents.prompts import staging_asked
from filmwright.evaluation.films import Tally
from filmwright.generator.bundle import load_bundle
from filmwright.generator.profiles import weights_folder
from filmwright.generator.reader import load_reader, read
from filmwright.storyboard.caption import CUT_MARK
from filmwright.storyboard.stage import Frames, Generator, open_generator
from filmwright.storyboard.vocabulary import FULL, Vocabulary
from filmwright.training.world import SPLITS, Film, random_film, render_film
from torch import Tensor


def shoot(generator: Generator | Erring, film: Film, seed: int, critic: Critic) -> tuple[list[Frames], int]:
    """The frames of every shot, and how often the critic stepped in: as the director has it, so often a take, and so many takes."""
    rollout, chunk, stepped_in = generator.start(seed), 0, 0
    shots: list[Frames] = []
    for number, shot in enumerate(film.shots):
        prompt = film.prompts()[chunk].removeprefix(CUT_MARK)
        rollout.begin_shot(prompt, shot=f"s{number}", take=1)
        chunk += shot.chunks
        before, made = (shots[-1][-1:] if shots else None), []
        left, takes = MAX_INTERVENTIONS, MAX_TAKES - 1
        while len(made) < shot.chunks:
            frames = rollout.step().frames
            measures = generator.measure(frames, prompt, (), before if not made else None)
            floor, asked = generator.profile.prompt_floor, staging_asked(prompt)
            verdict = critic.review(
                Look(measures, prompt, len(made), number > 0 and not made, floor, left, takes, asked=asked)
            )
            stepped_in += verdict.action in ("rewind", "reprompt", "reshoot")
            if verdict.action == "rewind":
                rollout.rewind(1)
                left -= 1
            elif verdict.action == "reshoot":
                rollout.rewind(len(made) + 1)
                made, left, takes = [], MAX_INTERVENTIONS, takes - 1
            else:
                made.append(frames)
                if verdict.action == "reprompt" and verdict.prompt:
                    rollout.reprompt(verdict.prompt)
                    left -= 1
        shots.append(np.concatenate(made))
    return shots, stepped_in


FAULT_RATE = 0.25
CRITICS: dict[str, Critic] = {"without": NoCritic(), "measured": MeasuredCritic()}


def planted(opened: Generator, films: list[Film], known: Vocabulary) -> dict[str, Any]:
    """Shots right, of films with planted faults; and how many faults were drawn, of which kinds they were that stayed."""
    bundle = load_bundle(weights_folder(opened.profile.name), torch.device("cpu"))
    found: dict[str, Any] = {}
    for name, critic in CRITICS.items():
        tally, stepped_in, stayed = Tally(), 0, Counter[str]()
        for index, film in enumerate(films):
            erring = Erring(opened, bundle, film, known, FAULT_RATE)
            stepped_in += shoot(erring, film, index, critic)[1]
            stayed.update(fault for fault in erring.faults.values() if fault)
            shots = [[erring.faults[n, c] for c in range(shot.chunks)] for n, shot in enumerate(film.shots)]
            tally.add(sum(not any(faults) for faults in shots), len(shots))
        found[name] = {**tally.summary(), "interventions": stepped_in, "faults that stayed": dict(stayed)}
    return found


def judged(opened: Generator, films: list[Film], known: Vocabulary, judge: Path) -> dict[str, Any]:
    """Shots right of the generator's own films, by a reader."""
    reader = load_reader(judge, known)
    tallies, stepped_in = {name: Tally() for name in ("truth", *CRITICS)}, dict.fromkeys(CRITICS, 0)

    def right(film: Film, shots: list[Tensor]) -> int:
        count = 0
        for shot, frames in zip(film.shots, shots, strict=True):
            reading = read(reader, frames[2::4])
            asked = tuple(role.kind for role in shot.staging.roles)
            count += reading.frame["set"] == shot.staging.set and wrong_puppets(reading.kinds(), asked) is None
        return count

    for index, film in enumerate(films):
        render = render_film(film, width=opened.profile.width, height=opened.profile.height)
        true = render.frames.split([shot.chunks * FRAMES for shot in film.shots])
        tallies["truth"].add(right(film, list(true)), len(film.shots))
        for name, critic in CRITICS.items():
            shots, often = shoot(opened, film, index, critic)
            stepped_in[name] += often
            made = [torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 for frames in shots]
            tallies[name].add(right(film, made), len(film.shots))
    return {name: {**tally.summary(), "interventions": stepped_in.get(name)} for name, tally in tallies.items()}


def main(judge: str, generator: str = "nano", films: str = "40", split: str = "test") -> None:
    opened = open_generator(generator)
    known = opened.profile.vocabulary or FULL
    drawn = [random_film(SPLITS[split] + 650_000_000 + index, known=known) for index in range(int(films))]
    found = planted(opened, drawn, known) if judge == "planted" else judged(opened, drawn, known, Path(judge))
    asked = {"generator": opened.profile.weights, "films": len(drawn), "split": split, "judge": judge}
    print(json.dumps({**asked, "shots right": found}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
