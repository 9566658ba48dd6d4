"""Whether long films drift: what readers see of them early and late."""

from __future__ import annotations

from typing import Any

import torch

from ..generator.reader import FrameReader, read
from ..generator.video_generator import VideoGenerator
from ..storyboard.caption import CUT_MARK
from ..storyboard.vocabulary import FULL
from ..training.world import SPLITS, Habits, random_film
from .films import Seen, Tally, summaries

LOOKED_AT = (20, 60)
"""Chunks of a long film at which the readers look, a shot around each."""
SHOT_CHUNKS = 4
NAMES = ("set", "view", "kind")


def evaluate_drift(
    generator: VideoGenerator, reader: FrameReader, *, films: int, seed: int, seen: Seen = lambda frames: None
) -> dict[str, Any]:
    """Rates of set, view and kind, as `NAME at CHUNK`, on held-out films of shots of about `SHOT_CHUNKS` chunks."""
    tallies = {f"{name} at {chunk}": Tally() for chunk in LOOKED_AT for name in NAMES}
    known, length = generator.profile.vocabulary or FULL, max(LOOKED_AT) + SHOT_CHUNKS
    for index in range(films):
        film = random_film(SPLITS["test"] + 800_000_000 + index, length, known, Habits(cuts=1 / SHOT_CHUNKS))
        rollout, chunk, prompts, shots = generator.start(seed + index), 0, film.prompts(), []
        for number, shot in enumerate(film.shots):
            rollout.begin_shot(prompts[chunk].removeprefix(CUT_MARK), shot=f"s{number}", take=1)
            frames = torch.cat([torch.from_numpy(rollout.step().frames) for _ in range(shot.chunks)])
            shots.append(frames.permute(0, 3, 1, 2).float() / 255)
            looked = [at for at in LOOKED_AT if chunk <= at < chunk + shot.chunks]
            chunk += shot.chunks
            if not looked:
                continue
            reading = read(reader, shots[-1][2::4])
            kinds = [role.kind for role in shot.staging.roles]
            for at in looked:
                for name in ("set", "view"):
                    tallies[f"{name} at {at}"].add(int(reading.frame[name] == getattr(shot.staging, name)), 1)
                tallies[f"kind at {at}"].add(sum(reading.shows(kind, len(set(kinds))) for kind in kinds), len(kinds))
        seen(torch.cat(shots))
    return summaries(tallies)
