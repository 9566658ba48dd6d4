"""Random moments of the small world: what the CLIP and the reader are trained on. Half of them have been through the autoencoder, as
generated frames have."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..animatic.stage import Scene
from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.precision import arithmetic
from ..storyboard.vocabulary import FULL, Vocabulary
from .sizes import Size
from .world import FPS, random_moment

READ_FRAME = 2
"""The frame of a clip that is looked at: its latent frame holds two on either side."""


@dataclass(frozen=True)
class Moments:
    """Short clips [B, 4, 3, H, W], the scenes they are of, and the time of the frame that is looked at."""

    clips: Tensor
    scenes: list[Scene]
    seconds: list[float]


def random_moments(numbers: Sequence[int], size: Size, known: Vocabulary = FULL) -> Moments:
    """A random moment of each of these films, in words that are known."""
    scenes = [random_moment(number, width=size.width, height=size.height, known=known) for number in numbers]
    began = [random.Random(f"frames/{number}").uniform(0.0, 3.0) for number in numbers]
    times = [torch.arange(4) / FPS + start for start in began]
    clips = torch.stack([scene.draw(time).frames for scene, time in zip(scenes, times, strict=True)])
    return Moments(clips, scenes, [float(time[READ_FRAME]) for time in times])


def through(autoencoder: TinyVideoAutoencoder, clips: Tensor) -> Tensor:
    """Clips [B, T, 3, H, W] as the autoencoder gives them back."""
    with torch.no_grad(), arithmetic(clips.device):
        seen, _ = autoencoder.decode(autoencoder.encode(clips))
    return seen.float()


def random_shots(numbers: Sequence[int], size: Size, frames: int) -> tuple[Tensor, list[Scene]]:
    """Clips [B, F, 3, H, W] of random moments of these films, as shots begin, and the scenes they are of."""
    scenes = [random_moment(number, width=size.width, height=size.height) for number in numbers]
    return torch.stack([scene.draw(torch.arange(frames) / FPS).frames for scene in scenes]), scenes


def half_through(autoencoder: TinyVideoAutoencoder, clips: Tensor) -> Tensor:
    """The frames [B, 3, H, W] to look at; every second clip has been through the autoencoder."""
    clips = clips.clone()
    clips[::2] = through(autoencoder, clips[::2])
    return clips[:, READ_FRAME]
