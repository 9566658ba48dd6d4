"""The small world: random multi-shot films of the paper theatre with captions and exact ground truth.

Splits are disjoint seed ranges: nothing is ever trained on a film it is tested on (`SPLITS`). All cuts fall on chunk
boundaries. A film has a cast of two or three puppets of different kinds whose looks are drawn per film, and two
locations that return.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..animatic.stage import Scene, layout_seed
from ..storyboard.caption import Appearance, Role, Staging, caption, without_appearance
from ..storyboard.vocabulary import ACCESSORIES, ACTIONS, FACINGS, HUES, KINDS, PATTERNS, SETS, TIMES, VIEWS

FPS = 16
FRAMES_PER_LATENT = 4
SPLITS = {"train": 0, "validation": 1_000_000_000, "test": 2_000_000_000}
"""The first seed of each split; a film's seed is this plus its index."""

CUT_PROBABILITY = 0.4
FORGET_PROBABILITY = 0.35
"""How often a caption leaves out the looks of a puppet that an earlier shot has shown."""


@dataclass(frozen=True)
class FilmShot:
    """A shot of a small-world film: `told` is the staging its caption gives (looks may be left out)."""

    staging: Staging
    told: Staging
    chunks: int


@dataclass(frozen=True)
class Film:
    seed: int
    shots: tuple[FilmShot, ...]

    def prompts(self) -> list[str]:
        """One caption per chunk; the first of each shot carries the cut mark."""
        return [caption(shot.told, cut=index == 0) for shot in self.shots for index in range(shot.chunks)]

    def starts(self) -> list[bool]:
        """For every chunk, whether a shot begins there."""
        return [index == 0 for shot in self.shots for index in range(shot.chunks)]

    def stagings(self) -> list[Staging]:
        """The true staging of every chunk."""
        return [shot.staging for shot in self.shots for _ in range(shot.chunks)]

    def cast(self) -> list[tuple[str, Appearance]]:
        """The puppets that are seen, kind and looks, in the order of their entrance."""
        seen = [(r.kind, r.appearance) for shot in self.shots for r in shot.staging.roles if r.appearance]
        return list(dict.fromkeys(seen))


def random_appearance(rng: random.Random) -> Appearance:
    return Appearance(rng.choice(HUES), rng.choice(PATTERNS), rng.choice(ACCESSORIES))


def random_film(seed: int, chunks: int = 4) -> Film:
    """A film of `chunks` chunks, drawn from its seed alone."""
    rng = random.Random(seed)
    kinds = rng.sample(KINDS, rng.choice((2, 2, 3)))
    if rng.random() < 0.2:
        kinds[1] = kinds[0]  # two of a kind: only their looks tell them apart
    puppets = [(kind, random_appearance(rng)) for kind in kinds]
    sets = rng.sample(SETS, 2)
    time = rng.choice(TIMES)
    lengths = [1]
    for _ in range(chunks - 1):
        if rng.random() < CUT_PROBABILITY:
            lengths.append(1)
        else:
            lengths[-1] += 1
    seen: set[int] = set()
    shots = []
    for length in lengths:
        if rng.random() < 0.1:
            time = rng.choice(TIMES)
        view = rng.choice(VIEWS)
        cast = rng.sample(range(len(puppets)), 1 if view == "close" else rng.choice((0, 1, 1, 1, 2, 2)))
        roles = tuple(Role(puppets[i][0], rng.choice(ACTIONS), rng.choice(FACINGS), puppets[i][1]) for i in cast)
        movement = rng.choice(("still", "still", "still", "left", "right"))
        staging = Staging(view, rng.choice(sets), time, movement, roles)
        keep = tuple(i not in seen or kinds.count(kinds[i]) > 1 or rng.random() > FORGET_PROBABILITY for i in cast)
        shots.append(FilmShot(staging, without_appearance(staging, keep), length))
        seen.update(cast)
    return Film(seed, tuple(shots))


def draw_reference(kind: str, look: Appearance, *, seed: int, width: int, height: int) -> Tensor:
    """A picture of one puppet [3, H, W], near, in a set of its own."""
    rng = random.Random(f"reference/{seed}")
    role = Role(kind, "stands", rng.choice(FACINGS), look)
    staging = Staging(
        rng.choice(("close", "medium")), rng.choice(SETS), rng.choice(("day", "evening")), "still", (role,)
    )
    scene = Scene(staging, width=width, height=height, layout_seed=rng.randrange(1 << 30))
    picture: Tensor = scene.draw(torch.zeros(1)).frames[0]
    return picture


@dataclass(frozen=True)
class Render:
    """Frames [F, 3, H, W] and puppet coverage [F, H, W] of a whole film, in 0 … 1."""

    frames: Tensor
    puppets: Tensor


def render_film(film: Film, *, width: int, height: int, frames_per_chunk: int = 12) -> Render:
    frames, puppets = [], []
    for shot in film.shots:
        scene = Scene(shot.staging, width=width, height=height, layout_seed=layout_seed(film.seed, shot.staging.set))
        drawing = scene.draw(torch.arange(shot.chunks * frames_per_chunk) / FPS)
        frames.append(drawing.frames)
        puppets.append(drawing.puppets)
    return Render(torch.cat(frames), torch.cat(puppets))


def random_clip(seed: int, *, width: int, height: int, frames: int) -> Render:
    """A clip inside one random shot of the film of that seed, starting anywhere in its first three seconds."""
    rng = random.Random(f"clip/{seed}")
    staging = rng.choice(random_film(seed).shots).staging
    if not staging.roles:
        staging = replace(
            staging, roles=(Role(rng.choice(KINDS), rng.choice(ACTIONS), "left", random_appearance(rng)),)
        )
    scene = Scene(staging, width=width, height=height, layout_seed=rng.randrange(1 << 30))
    drawing = scene.draw(torch.arange(frames) / FPS + rng.uniform(0.0, 3.0))
    return Render(drawing.frames, drawing.puppets)
