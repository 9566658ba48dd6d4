"""Faults planted in chunks of the small world, and a generator that makes them: what the critic is measured on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from filmwright.animatic.stage import Scene
from filmwright.generator.bundle import Bundle
from filmwright.storyboard.caption import Staging
from filmwright.storyboard.stage import Frames, Generator
from filmwright.storyboard.vocabulary import Vocabulary
from filmwright.training.world import FPS, Film, shot_scene

FAULTS = ("wrong puppet", "missing puppet", "frozen", "colour drift", "missed cut")
MOVING = ("walks", "talks")
FRAMES = 12


def drawn(scene: Scene, bundle: Bundle, began: float) -> Frames:
    """A chunk of a scene from `began` seconds on, as the autoencoder gives it back."""
    frames = scene.draw(torch.arange(FRAMES) / FPS + began).frames
    with torch.no_grad():
        seen, _ = bundle.autoencoder.decode(bundle.autoencoder.encode(frames[None]))
    pixels: Frames = seen[0].float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return pixels


def with_wrong_people(staging: Staging, fault: str | None, rng: random.Random, known: Vocabulary) -> Staging:
    """What is drawn instead of a staging, where the fault is one of who is there."""
    if fault == "wrong puppet":
        kind = rng.choice([k for k in known.kinds if k not in {r.kind for r in staging.roles}])
        return replace(staging, roles=(replace(staging.roles[0], kind=kind), *staging.roles[1:]))
    if fault == "missing puppet":
        view = "medium" if staging.view in ("close", "over") else staging.view
        return replace(staging, roles=staging.roles[1:], view=view)
    return staging


def spoilt(frames: Frames, fault: str | None, rng: random.Random) -> Frames:
    """Frames with the fault, where it is one of the picture."""
    if fault == "frozen":
        return np.repeat(frames[:1], FRAMES, axis=0)
    if fault == "colour drift":
        channels = rng.choice(((1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)))  # all of the light, or a tint
        end = 1.0 + np.array(channels) * rng.choice((-0.4, 0.5))
        return (frames * np.linspace(np.ones(3), end, FRAMES)[:, None, None, :]).clip(0, 255).astype(np.uint8)
    return frames


@dataclass
class Erring:
    """A generator that makes one film of the small world as it should be, but for a fault in one chunk of `1 / rate`; a chunk that is
    drawn again is spared or spoilt anew. It measures like the generator whose autoencoder it draws through."""

    opened: Generator
    bundle: Bundle
    film: Film
    known: Vocabulary
    rate: float
    faults: dict[tuple[int, int], str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.profile, self.measure = self.opened.profile, self.opened.measure

    def start(self, seed: int) -> ErringRollout:
        return ErringRollout(self, seed)


@dataclass
class Step:
    frames: Frames


class ErringRollout:
    """The part of `storyboard.stage.Rollout` that shooting needs; the last fault of every chunk is kept in `Erring.faults`."""

    def __init__(self, made_by: Erring, seed: int) -> None:
        self.by, self.seed, self.number, self.chunk = made_by, seed, -1, 0
        self.draws: dict[tuple[int, int], int] = {}

    def begin_shot(self, prompt: str, *, shot: str, take: int) -> None:
        self.number, self.chunk = self.number + 1, 0

    def reprompt(self, prompt: str) -> None:
        """It shows the film, whatever it is told."""

    def rewind(self, chunks: int) -> None:
        self.chunk -= chunks

    def step(self) -> Step:
        at = self.number, self.chunk
        draw = self.draws[at] = self.draws.get(at, -1) + 1
        rng = random.Random(f"{self.seed}/{self.by.film.seed}/{at}/{draw}")
        shot, fault = self.by.film.shots[self.number], None
        if rng.random() < self.by.rate:
            fault = rng.choice(self.possible(shot.staging))
        self.by.faults[at] = fault
        began = self.chunk * FRAMES / FPS
        if fault == "missed cut":
            shot = self.by.film.shots[self.number - 1]
            began = shot.chunks * FRAMES / FPS
        seen = replace(shot, staging=with_wrong_people(shot.staging, fault, rng, self.by.known))
        scene = shot_scene(self.by.film, seen, self.by.profile.width, self.by.profile.height, FRAMES)
        self.chunk += 1
        return Step(spoilt(drawn(scene, self.by.bundle, began), fault, rng))

    def possible(self, staging: Staging) -> list[str]:
        """Faults that would be seen in this chunk."""
        found = ["colour drift"]
        if staging.roles:
            found += ["wrong puppet", "missing puppet"]
        if staging.movement == "still" and any(role.action in MOVING for role in staging.roles):
            found.append("frozen")
        if self.number and not self.chunk:
            found.append("missed cut")
        return found
