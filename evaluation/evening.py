"""Whether a slow change goes on unseen: the light of a film moves on while the camera is elsewhere, and no caption tells."""

from __future__ import annotations

import random
from typing import Any

import torch

from ..animatic.stage import LATEST, Daylight
from ..generator.reader import FrameReader, read
from ..generator.video_generator import VideoGenerator
from ..storyboard.caption import CUT_MARK, Role, Staging
from ..storyboard.vocabulary import FULL, Vocabulary
from ..training.world import CHUNK_SECONDS, SPLITS, Film, FilmShot, random_appearance, render_film
from .films import Seen, Tally, summaries
from .light import find_light
from .readers import told_of
from .recall import FRAMES_PER_CHUNK, as_chunks

HERE, ELSEWHERE = 2, 4
"""Chunks of the first and the last shot, and of the one between them."""
ENDS = (0.05, 0.5, 0.95)
"""How far the light has gone in the end, of what it can: one in each third."""


def evening_film(seed: int, known: Vocabulary = FULL) -> Film:
    """A puppet walks in a set, then in another, then in the first again, whose light has gone on."""
    rng = random.Random(f"evening/{seed}")
    place, other = rng.sample(known.sets, 2)
    time_of_day, look, kind = rng.choice(known.times), random_appearance(rng, known), rng.choice(known.kinds)
    light = Daylight(0.0, rng.choice(ENDS) * LATEST / ((HERE + ELSEWHERE) * CHUNK_SECONDS))
    shots = []
    for where, chunks in ((place, HERE), (other, ELSEWHERE), (place, HERE)):
        role = Role(kind, "walks", rng.choice(known.facings), look)
        staging = Staging("medium", where, time_of_day, "still", (role,))
        shots.append(FilmShot(staging, staging, chunks, light))
        light = light.after(chunks * CHUNK_SECONDS)
    return Film(seed, tuple(shots))


def evaluate_evenings(
    generator: VideoGenerator, reader: FrameReader, *, films: int, seed: int, seen: Seen = lambda frames: None
) -> dict[str, Any]:
    """True history is fed up to the last shot, which is made: `rates` of its light and its set, and `motion`, the mean change
    per frame in thousandths."""
    profile = generator.profile
    tallies, motion = {"light": Tally(), "set": Tally()}, 0.0
    for index in range(films):
        film = evening_film(SPLITS["test"] + 900_000_000 + index, profile.vocabulary or FULL)
        render = render_film(film, width=profile.width, height=profile.height)
        rollout, chunk, prompts = generator.start(seed + index), 0, film.prompts()
        for number, shot in enumerate(film.shots):
            rollout.begin_shot(prompts[chunk].removeprefix(CUT_MARK), shot=f"s{number}", take=1)
            if number < len(film.shots) - 1:
                frames = render.frames[chunk * FRAMES_PER_CHUNK : (chunk + shot.chunks) * FRAMES_PER_CHUNK]
                for latents in as_chunks(generator, frames, shot.chunks):
                    rollout.feed(latents, decode=False)
            chunk += shot.chunks
        last = film.shots[-1]
        frames = torch.cat([torch.from_numpy(rollout.step().frames) for _ in range(last.chunks)])
        made = frames.permute(0, 3, 1, 2).float() / 255
        seen(torch.cat([render.frames[: -len(made)], made]))
        reading = read(reader, made[2::4])
        true = told_of(last.staging, last.daylight.after(last.chunks * CHUNK_SECONDS / 2))
        tallies["set"].add(int(reading.frame["set"] == true["set"]), 1)
        tallies["light"].add(int(find_light(reader, made[2::4], reading) == true["light"]), 1)
        motion += float((made[1:] - made[:-1]).abs().mean()) * 1000
    return {"rates": summaries(tallies), "motion": round(motion / films, 3), "films": films}
