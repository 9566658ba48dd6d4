"""The seam between people and models: what a generator is, without torch.

`agents` know generators only through these protocols and the registry of names. Frames are uint8 arrays
[F, H, W, 3]; latents are float32 arrays [C, L, h, w].
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import FilmwrightError, InputError
from .script import Continuity
from .vocabulary import Vocabulary

Frames = NDArray[np.uint8]
Latents = NDArray[np.float32]


class GenerationFailed(FilmwrightError):
    """A generator could not make a chunk for a reason outside the code: memory ran out, or the model gave no picture. The shot
    fails, and the film goes on without it. Whatever else a generator raises counts as a bug."""


@dataclass(frozen=True)
class Profile:
    """What a film needs to know of a generator.

    Attributes:
        width, height: the model's own frame size in pixels; films are delivered `enlarge` times larger.
        chunk_latents: latent frames of a chunk, the unit in which shots are counted.
        frames_per_latent: video frames of a latent frame.
        fresh_frames: video frames of the first latent frame of a fresh stream (1 on Wan).
        cut_stream: whether the decoder's stream goes on over a cut or begins anew.
        prompt_style: `caption` for the closed vocabulary, `prose` for general models.
        max_references: reference images a shot can pin; 0 when the weights cannot use any.
        weights, licence: recorded in every take.
        prompt_floor: prompt similarity below which a picture is not of its prompt, as measured on validation films; None
            when the generator cannot tell.
        prompt_tokens: longest prompt.
        vocabulary: the words its captions may hold; None for all of them, and for `prose`.
    """

    name: str
    fps: int
    width: int
    height: int
    enlarge: int
    chunk_latents: int
    frames_per_latent: int
    fresh_frames: int
    cut_stream: Literal["continue", "restart"]
    prompt_style: Literal["caption", "prose"]
    max_references: int
    memory: str
    weights: str
    licence: str
    prompt_floor: float | None = None
    prompt_tokens: int = 512
    vocabulary: Vocabulary | None = None

    def video_frames(self, latents: int, fresh: bool) -> int:
        """Video frames that `latents` latent frames decode to; `fresh`: a new stream begins with them."""
        if latents < 1:
            return 0
        if fresh:
            return self.fresh_frames + (latents - 1) * self.frames_per_latent
        return latents * self.frames_per_latent

    @property
    def delivered_size(self) -> tuple[int, int]:
        """Width and height of the film in pixels."""
        return self.width * self.enlarge, self.height * self.enlarge


@dataclass(frozen=True)
class Chunk:
    """What one step of a rollout gives.

    Attributes:
        index: number of the chunk in its shot, from 0.
        draw: how often this chunk had been rewound before.
        frames: empty when they were not asked for.
        spent: seconds by kind of work: `denoise`, `commit`, `decode`.
        start: number of its first latent frame, over the whole film.
        state: hidden frames that were denoised with it and are never shown, where the memory has them.
        recalled: by layer, the numbers of the latent frames that routing recalled for the finished chunk.
    """

    index: int
    draw: int
    latents: Latents
    frames: Frames
    spent: dict[str, float] = field(default_factory=dict)
    start: int = 0
    state: Latents | None = None
    recalled: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class Measures:
    """What can be measured of frames without an opinion; None where it does not apply.

    Attributes:
        prompt: similarity of the frames to the prompt, -1 … 1, by the generator's own CLIP.
        reference: similarity to the nearest reference image, -1 … 1, likewise.
        cut: picture change between the frame ahead of the cut and the first frame, 0 … 1.
        motion: mean absolute change between neighbouring frames, 0 … 1.
        exposure_drift: change of mean brightness from the first frame to the last, as a part of the mean.
        colour_drift: distance between the mean colours of the first frame and the last, 0 … 1.
        flicker: largest change of mean brightness between neighbouring frames, 0 … 1.
        computed_by: what gave `prompt` and `reference`.
        puppets: the part of the frame that each kind of puppet fills, as the generator's own frame reader sees it; `place`: the set
            and the time of day that it sees; None where there is no reader.
    """

    prompt: float | None
    reference: float | None
    cut: float | None
    motion: float
    exposure_drift: float
    colour_drift: float
    flicker: float
    computed_by: str
    puppets: dict[str, float] | None = None
    place: tuple[str, str] | None = None


class Rollout(Protocol):
    """The running generation of a film."""

    def begin_shot(
        self,
        prompt: str,
        *,
        shot: str,
        take: int,
        references: Sequence[Path] = (),
        continuity: Continuity = "new",
        retake: bool = False,
    ) -> None:
        """Begins the next shot; its first chunk is the cut. A `retake` stands in the last shot's place, as if that had never begun."""

    def reprompt(self, prompt: str, *, recache: bool | None = None) -> None:
        """Changes the prompt from the next chunk on; the picture goes on. `recache` also writes the recent history anew
        under the new prompt, which then takes hold faster; None leaves it to the memory."""

    def pin(self, references: Sequence[Path]) -> None:
        """Changes which reference images the shot sees, from the next chunk on."""

    def step(self) -> Chunk:
        """Generates the next chunk.

        Raises:
            GenerationFailed: it could not, for a reason outside the code.
        """

    def rewind(self, chunks: int) -> None:
        """Drops the last chunks of this shot; the next draw of them gets other noise."""

    def feed(self, latents: Latents, state: Latents | None = None, *, decode: bool = True) -> Chunk:
        """Commits a chunk that exists already: resume, another circled take, image or video to video. Frames are made
        only where `decode` asks for them."""


class Generator(Protocol):
    """A video model, or the theatre, behind one protocol."""

    @property
    def profile(self) -> Profile:
        """What the film needs to know."""

    def start(self, seed: int) -> Rollout:
        """Begins a film."""

    def encode(self, frames: Frames) -> list[Latents]:
        """Footage [F, H, W, 3] as the chunks that `feed` takes; frames that fill no whole chunk are left out."""

    def draw(self, prompt: str, seed: int) -> Frames:
        """A still picture [H, W, 3]."""

    def measure(
        self,
        frames: Frames,
        prompt: str,
        references: Sequence[Path] = (),
        before: Frames | None = None,
    ) -> Measures:
        """Measures frames of one shot; `before`: the frames ahead of its cut."""


@dataclass(frozen=True)
class Registered:
    """Where a generator is found, as `module:function` of (name, memory).

    Attributes:
        opens: opens it with its weights.
        profile: reads its profile without its weights; the module imports no torch.
    """

    opens: str
    profile: str


VIDEO_GENERATOR = "filmwright.generator.video_generator"
PROFILES = "filmwright.generator.profiles"
BUNDLED = Registered(f"{VIDEO_GENERATOR}:open_bundled", f"{PROFILES}:bundled_profile")
FOLDER = Registered(f"{VIDEO_GENERATOR}:open_folder", f"{PROFILES}:folder_profile")
REGISTRY = {
    "mini": BUNDLED,
    "nano": BUNDLED,
    "theatre": Registered("filmwright.animatic.theatre:open_theatre", "filmwright.animatic.profile:theatre_profile"),
}
"""Generators by name."""


@lru_cache(maxsize=2)
def open_generator(name: str, memory: str | None = None) -> Generator:
    """Opens a generator by its registered name, or the weights in a folder; once, since loading takes seconds.

    Raises:
        InputError: the name is neither registered nor a folder, or its weights are missing or damaged.
    """
    opened: Generator = _function(_registered(name).opens)(name, memory)
    return opened


def read_profile(name: str, memory: str | None = None) -> Profile:
    """The profile that the opened generator has, read without its weights and without torch.

    Raises:
        InputError: as `open_generator`; tensors are not looked at.
    """
    profile: Profile = _function(_registered(name).profile)(name, memory)
    return profile


def _registered(name: str) -> Registered:
    known = REGISTRY.get(name)
    if known is None and not Path(name).is_dir():
        raise InputError(f"generator {name!r} is unknown: choose one of {', '.join(REGISTRY)}, or a folder of weights")
    return known or FOLDER


def _function(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)
