"""The small world: random multi-shot films of the paper theatre with captions and exact ground truth.

Splits are disjoint seed ranges: nothing is ever trained on a film it is tested on (`SPLITS`). All cuts fall on chunk
boundaries. A film has a cast of two to four puppets whose looks are drawn per film, some of one kind, told apart by looks
and names; two locations that return; its own weather; and in half of the films a light that goes on towards the next time of
day, on and off the screen, which no caption tells.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..animatic.stage import LATEST, STILL, Daylight, Scene, layout_seed
from ..storyboard.caption import Appearance, Role, Staging, caption, without_appearance
from ..storyboard.seeds import FilmSeed
from ..storyboard.vocabulary import (
    FACINGS,
    FULL,
    INDOORS,
    MAX_ROLES,
    NEEDS_PROP,
    SETS,
    TAKES_PROP,
    Vocabulary,
)

FPS = 16
FRAMES_PER_LATENT = 4
Split = Literal["train", "validation", "test"]
SPLITS: dict[Split, int] = {"train": 0, "validation": 1_000_000_000, "test": 2_000_000_000}
"""The first seed of each split; a film's seed is this plus its index."""

CHUNK_SECONDS = 0.75
SAME_KIND_PROBABILITY = 0.3
WEATHER_PROBABILITY = 0.4
LIGHT_PER_SECOND = (0.03, 0.10)


@dataclass(frozen=True)
class Habits:
    """How films are drawn.

    Attributes:
        cuts: how often a chunk begins a new shot.
        cast: most kinds of puppets in a film; 1 for films about one puppet; above the usual 3, from three to as many.
        forget: how often a caption leaves out the looks of a puppet that an earlier shot (or a picture) has shown.
        pairs: how often two puppets stand in a wide or medium shot where chance would have had it otherwise.
    """

    cuts: float = 0.4
    cast: int = 3
    forget: float = 0.8
    pairs: float = 0.0


USUAL = Habits()


@dataclass(frozen=True)
class FilmShot:
    """A shot of a small-world film: `told` is the staging its caption gives (looks may be left out); `daylight` is the light
    it begins with."""

    staging: Staging
    told: Staging
    chunks: int
    daylight: Daylight = STILL


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


def random_appearance(rng: random.Random, known: Vocabulary = FULL) -> Appearance:
    return Appearance(rng.choice(known.hues), rng.choice(known.patterns), rng.choice(known.accessories))


def random_role(
    rng: random.Random, kind: str, look: Appearance, name: str | None = None, known: Vocabulary = FULL
) -> Role:
    """A puppet that does something."""
    action = rng.choice([a for a in known.actions if known.props or a not in NEEDS_PROP])
    takes = action in NEEDS_PROP or (action in TAKES_PROP and known.props and rng.random() < 0.6)
    prop = rng.choice(known.props) if takes else None
    return Role(kind, action, rng.choice(FACINGS), look, prop, name)


def _random_cast(rng: random.Random, known: Vocabulary, most: int) -> list[tuple[str, Appearance, str | None]]:
    """Kind, looks and name of everybody in a film; only who shares a kind has a name, and no two of a kind one hue."""
    usual = rng.choice((2, 2, 3))
    count = min(most, usual) if most <= USUAL.cast else rng.randint(USUAL.cast, most)
    kinds = rng.sample(known.kinds, min(count, len(known.kinds)))
    if known.names and rng.random() < SAME_KIND_PROBABILITY:
        kinds += [kinds[0]] * rng.choice((1, 1, 2))
    names = rng.sample(known.names, len(known.names))
    hues = rng.sample(known.hues, len(kinds))
    cast = []
    for index, kind in enumerate(kinds):
        look = random_appearance(rng, known)
        if kinds.count(kind) > 1:
            look = replace(look, hue=hues[index])
        cast.append((kind, look, names[index % len(names)] if kinds.count(kind) > 1 else None))
    return cast


def random_film(seed: int, chunks: int = 4, known: Vocabulary = FULL, habits: Habits = USUAL) -> Film:
    """A film of `chunks` chunks, drawn from its seed alone, in words that are known."""
    rng = random.Random(seed)
    cast = _random_cast(rng, known, habits.cast)
    sets = rng.sample(known.sets, 2)
    time = rng.choice(known.times)
    weather = rng.choice(known.weathers) if rng.random() < WEATHER_PROBABILITY else "clear"
    light = Daylight(0.0, rng.uniform(*LIGHT_PER_SECOND) if rng.random() < 0.5 else 0.0)
    lengths = [1]
    for _ in range(chunks - 1):
        if rng.random() < habits.cuts:
            lengths.append(1)
        else:
            lengths[-1] += 1
    seen: set[int] = set()
    shots = []
    for length in lengths:
        if rng.random() < 0.1:
            time, light = rng.choice(known.times), replace(light, later=0.0)
        view = rng.choice([v for v in known.views if v != "over" or len(cast) >= MAX_ROLES])
        count = {"close": 1, "over": MAX_ROLES}.get(view) or rng.choice((0, 1, 1, 1, 2, 2))
        if habits.pairs and view != "close" and rng.random() < habits.pairs:
            count = MAX_ROLES
        who = rng.sample(range(len(cast)), min(count, len(cast)))
        roles = tuple(random_role(rng, *cast[i], known) for i in who)
        movement = rng.choice(("still", "still", "still", "left", "right"))
        place = rng.choice(sets)
        staging = Staging(view, place, time, movement, roles, "clear" if place in INDOORS else weather)
        keep = tuple(i not in seen or rng.random() > habits.forget for i in who)
        shots.append(FilmShot(staging, without_appearance(staging, keep), length, light))
        light = light.after(length * CHUNK_SECONDS)
        seen.update(who)
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


def shot_scene(film: Film, shot: FilmShot, width: int, height: int, frames_per_chunk: int) -> Scene:
    """The true scene of a shot. Light is told per chunk: it goes on slower where a chunk is longer."""
    seed = layout_seed(FilmSeed(film.seed, version=1), shot.staging.set)  # films that were measured stay what they are
    slower = CHUNK_SECONDS * FPS / frames_per_chunk
    light = replace(shot.daylight, per_second=shot.daylight.per_second * slower)
    return Scene(shot.staging, width=width, height=height, layout_seed=seed, daylight=light)


def render_film(film: Film, *, width: int, height: int, frames_per_chunk: int = 12) -> Render:
    frames, puppets = [], []
    for shot in film.shots:
        scene = shot_scene(film, shot, width, height, frames_per_chunk)
        drawing = scene.draw(torch.arange(shot.chunks * frames_per_chunk) / FPS)
        frames.append(drawing.frames)
        puppets.append(drawing.puppets)
    return Render(torch.cat(frames), torch.cat(puppets))


def random_moment(seed: int, *, width: int, height: int, known: Vocabulary = FULL) -> Scene:
    """A random shot of the film of that seed in a set laid out anew, with at least one puppet, at any light."""
    rng = random.Random(f"moment/{seed}")
    staging = rng.choice(random_film(seed, known=known).shots).staging
    if not staging.roles:
        role = random_role(rng, rng.choice(known.kinds), random_appearance(rng, known), known=known)
        staging = replace(staging, roles=(role,))
    light = Daylight(rng.uniform(0.0, LATEST), 1e-6) if rng.random() < 0.5 else STILL
    return Scene(staging, width=width, height=height, layout_seed=rng.randrange(1 << 30), daylight=light)


def random_clip(seed: int, *, width: int, height: int, frames: int) -> Render:
    """A clip of a random moment, starting anywhere in its first three seconds."""
    began = random.Random(f"clip/{seed}").uniform(0.0, 3.0)
    drawing = random_moment(seed, width=width, height=height).draw(torch.arange(frames) / FPS + began)
    return Render(drawing.frames, drawing.puppets)
