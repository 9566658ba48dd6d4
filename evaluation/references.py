"""Whether a pinned reference gives a puppet its looks: shots whose text only names the puppet, with and without the picture.

The looks cannot be guessed from the text, so without the picture the hue is right by chance, one time in eight. The
reference is a near picture of the puppet in a set drawn at random, by the paper theatre.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..animatic.stage import Scene
from ..generator.reader import FrameReader, read
from ..storyboard.caption import Staging, caption, without_appearance
from ..storyboard.errors import InputError
from ..storyboard.stage import Generator
from ..storyboard.vocabulary import FULL, HUES
from ..training.world import SPLITS, Split, draw_reference, random_appearance, random_role
from .films import Tally, summaries

CHUNKS = 2


def evaluate_references(
    generator: Generator, reader: FrameReader, *, films: int, seed: int, on_film: Callable[[int], None] = lambda n: None,
    split: Split = "test",
) -> dict[str, Any]:  # fmt: skip
    """Rates of kind and hue with the picture pinned, without it, and of the reader on rendered truth.

    Raises:
        InputError: the generator's memory pins no references.
    """
    profile = generator.profile
    known = profile.vocabulary or FULL
    if not profile.max_references:
        raise InputError(
            f"memory {profile.memory} pins no references: give --memory 'shots(3)+window(3)' or another with shots"
        )
    tallies = {way: {"kind": Tally(), "hue": Tally()} for way in ("pinned", "unpinned", "truth")}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for index in range(films):
            number = SPLITS[split] + 400_000_000 + index
            rng = random.Random(number)
            role = random_role(rng, rng.choice(known.kinds), random_appearance(rng, known), known=known)
            staging = Staging("medium", rng.choice(known.sets), rng.choice(known.times), "still", (role,))
            picture = Path(folder) / f"{index}.png"
            assert role.appearance is not None
            drawn = draw_reference(role.kind, role.appearance, seed=number, width=256, height=128)
            Image.fromarray(drawn.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(picture)
            prompt = caption(without_appearance(staging, (False,)))
            made = {}
            for way, pins in (("pinned", [picture]), ("unpinned", [])):
                rollout = generator.start(seed + index)
                rollout.begin_shot(prompt, shot="a", take=1, references=pins)
                frames = torch.cat([torch.from_numpy(rollout.step().frames) for _ in range(CHUNKS)])
                made[way] = frames.permute(0, 3, 1, 2).float() / 255
            scene = Scene(staging, width=profile.width, height=profile.height, layout_seed=number)
            made["truth"] = scene.draw(torch.arange(24) / profile.fps).frames
            for way, frames in made.items():
                reading = read(reader, frames[2::4])
                tallies[way]["kind"].add(int(reading.shows(role.kind, 1)), 1)
                tallies[way]["hue"].add(int(reading.look_of(role.kind, "hue") == role.appearance.hue), 1)
            on_film(index + 1)
    return {
        "generator": profile.weights, "memory": profile.memory, "films": films, "seed": seed, "split": split, "chance_of_hue": 1 / len(HUES),
        "scored_by": "frame reader (small network trained on rendered truth); its accuracy on these shots' truth is in `truth`",
        **{way: summaries(found) for way, found in tallies.items()},
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
