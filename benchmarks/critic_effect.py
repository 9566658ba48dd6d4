"""Whether the measured critic makes films better: held-out films with and without it, the same seeds, read shot by shot.

A shot is right when a reader sees its set and all of its puppets, and no other. The critic asks the bundle's own reader, so the judge
has to be another one: trained from nothing on other films, by

filmwright train nano --stage reader --scratch --seed 1 --minutes 30 -o runs/judge
python benchmarks/critic_effect.py JUDGE [generator] [films] [split]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from filmwright.agents.critic import Critic, Look, MeasuredCritic, NoCritic, wrong_puppets
from filmwright.agents.floor import MAX_INTERVENTIONS, MAX_TAKES
from filmwright.agents.prompts import kinds_asked
from filmwright.evaluation.films import Tally
from filmwright.generator.reader import load_reader, read
from filmwright.storyboard.caption import CUT_MARK
from filmwright.storyboard.stage import Frames, Generator, open_generator
from filmwright.storyboard.vocabulary import FULL
from filmwright.training.world import SPLITS, Film, random_film


def shoot(generator: Generator, film: Film, seed: int, critic: Critic) -> tuple[list[Frames], int]:
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
            floor, asked = generator.profile.prompt_floor, kinds_asked(prompt)
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


def main(judge: str, generator: str = "nano", films: str = "40", split: str = "test") -> None:
    opened = open_generator(generator)
    known = opened.profile.vocabulary or FULL
    reader = load_reader(Path(judge), known)
    critics: dict[str, Critic] = {"without": NoCritic(), "measured": MeasuredCritic()}
    tallies, stepped_in = {name: Tally() for name in critics}, dict.fromkeys(critics, 0)
    for index in range(int(films)):
        film = random_film(SPLITS[split] + 650_000_000 + index, known=known)
        for name, critic in critics.items():
            shots, often = shoot(opened, film, index, critic)
            stepped_in[name] += often
            right = 0
            for shot, frames in zip(film.shots, shots, strict=True):
                reading = read(reader, torch.from_numpy(frames).permute(0, 3, 1, 2).float()[2::4] / 255)
                asked = tuple(role.kind for role in shot.staging.roles)
                right += reading.frame["set"] == shot.staging.set and wrong_puppets(reading.kinds(), asked) is None
            tallies[name].add(right, len(film.shots))
    found = {name: {**tally.summary(), "interventions": stepped_in[name]} for name, tally in tallies.items()}
    print(
        json.dumps(
            {
                "generator": opened.profile.weights,
                "films": int(films),
                "split": split,
                "judge": judge,
                "shots right": found,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
