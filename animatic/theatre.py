"""The theatre as a generator: it draws the true picture behind the same protocol as the model. The test oracle.

Its latents are not a picture but the numbers of the latent frames since the shot began, so that chunks can be saved,
fed and rewound like a model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..storyboard.caption import Appearance, parse_caption
from ..storyboard.errors import FilmwrightError
from ..storyboard.script import Continuity
from ..storyboard.stage import Chunk, Frames, Latents, Measures, Profile
from .profile import PROFILE, theatre_profile
from .stage import Scene, layout_seed

MAX_LATENTS = 2**24
"""Numbers of latent frames that single precision holds exactly."""


def draw_frames(scene: Scene, seconds: Tensor) -> Frames:
    """The frames of a scene at `seconds` [F] as [F, H, W, 3] uint8."""
    frames: Frames = np.empty((len(seconds), scene.height, scene.width, 3), dtype=np.uint8)
    done = 0
    for part in scene.parts(seconds):
        pixels = part.frames.mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1)
        frames[done : done + len(pixels)] = pixels.numpy()
        done += len(pixels)
    return frames


class TheatreRollout:
    """See `storyboard.stage.Rollout`. It remembers how each kind looked when a caption does not say it."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self._profile, self._seed = profile, seed
        self._looks: dict[str, Appearance] = {}
        self._chunks = 0
        self._began_at = 0
        self._at_cut = (0, self._looks)
        self._draws: dict[int, int] = {}
        self._scene: Scene | None = None

    def begin_shot(
        self, prompt: str, *, shot: str, take: int, references: Sequence[Path] = (), continuity: Continuity = "new",
        retake: bool = False,
    ) -> None:  # fmt: skip
        if not retake:
            self._at_cut = (self._began_at + self._chunks, dict(self._looks))
        ended, looks = self._at_cut
        self._looks = dict(looks)
        elapsed = ended if continuity == "extend" else 0
        self._began_at, self._chunks, self._draws = elapsed, 0, {}
        self._scene = self._stage(prompt)

    def reprompt(self, prompt: str, *, recache: bool | None = None) -> None:
        self._scene = self._stage(prompt)

    def pin(self, references: Sequence[Path]) -> None:
        raise FilmwrightError("the theatre draws what the script says and looks at no references")

    def step(self) -> Chunk:
        length = self._profile.chunk_latents
        first = (self._began_at + self._chunks) * length
        return self.feed(np.arange(first, first + length, dtype=np.float32).reshape(1, length, 1, 1))

    def rewind(self, chunks: int) -> None:
        if not 1 <= chunks <= self._chunks:
            raise FilmwrightError(f"cannot rewind {chunks} chunks: the shot has {self._chunks} so far")
        for chunk in range(self._chunks - chunks, self._chunks):
            self._draws[chunk] = self._draws.get(chunk, 0) + 1
        self._chunks -= chunks

    def feed(self, latents: Latents, state: Latents | None = None, *, decode: bool = True) -> Chunk:
        if self._scene is None:
            raise FilmwrightError("no shot has begun: call begin_shot first")
        if latents.shape != (1, self._profile.chunk_latents, 1, 1):
            raise FilmwrightError(
                f"latents of shape {latents.shape} are not the theatre's: these chunks are another generator's"
            )
        per = self._profile.frames_per_latent
        first = latents[0, 0, 0, 0]
        if not 0 <= first <= MAX_LATENTS or not np.array_equal(
            latents[0, :, 0, 0], first + np.arange(latents.shape[1])
        ):
            raise FilmwrightError("these latents are not the numbers of latent frames: delete the take and shoot again")
        frames = torch.arange(int(first) * per, (int(first) + latents.shape[1]) * per)
        if decode:
            drawn = draw_frames(self._scene, frames / self._profile.fps)
        else:
            drawn = np.empty((0, self._profile.height, self._profile.width, 3), dtype=np.uint8)
        chunk = Chunk(self._chunks, self._draws.get(self._chunks, 0), latents, drawn)
        self._chunks += 1
        return chunk

    def _stage(self, prompt: str) -> Scene:
        staging = parse_caption(prompt)
        self._looks |= {role.kind: role.appearance for role in staging.roles if role.appearance}
        return Scene(
            staging, width=self._profile.width, height=self._profile.height,
            layout_seed=layout_seed(self._seed, staging.set), appearances=self._looks,
        )  # fmt: skip


class TheatreGenerator:
    """See `storyboard.stage.Generator`."""

    def __init__(self, profile: Profile = PROFILE) -> None:
        self.profile = profile

    def start(self, seed: int) -> TheatreRollout:
        return TheatreRollout(self.profile, seed)

    def encode(self, frames: Frames) -> list[Latents]:
        raise FilmwrightError("the theatre draws what the script says: a shot of it cannot open with footage")

    def draw(self, prompt: str, seed: int) -> Frames:
        rollout = self.start(seed)
        rollout.begin_shot(prompt, shot="still", take=1)
        drawn: Frames = rollout.step().frames[0]
        return drawn

    def measure(
        self,
        frames: Frames,
        prompt: str,
        references: Sequence[Path] = (),
        before: Frames | None = None,
    ) -> Measures:
        """Pixel arithmetic only; the theatre has no CLIP."""
        from ..generator.measure import measure_frames

        return measure_frames(frames, prompt, references, before, None, None, "theatre")


def open_theatre(name: str, memory: str | None) -> TheatreGenerator:
    """Opens the theatre; it has no memory to choose."""
    return TheatreGenerator(theatre_profile(name, memory))


def sized(width: int, height: int) -> TheatreGenerator:
    """A theatre of another frame size, for tests."""
    return TheatreGenerator(replace(PROFILE, width=width, height=height))
