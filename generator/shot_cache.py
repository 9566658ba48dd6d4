"""The dual-level cache (FilmWeaver): keyframes of earlier shots and pinned references between shots, compressed history
within a shot.

Four modes follow from what is filled: neither (the first shot begins), history alone (it goes on), shots alone (a new
shot begins), both (it goes on).

Legend: `C` latent channels, `h`, `w` latent rows and columns, `E` width of the CLIP features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from ..storyboard.errors import InputError
from ..storyboard.images import load_reference
from ..storyboard.seeds import stable_seed
from ..storyboard.stage import Frames
from .bundle import Bundle
from .contexts import Keyframes
from .memory import Compressed, Memory, Shots


@dataclass
class Keyframe:
    """One frame that may stand for its shot, off the device: its latent [C, h, w] and its CLIP feature [E]."""

    latent: Tensor
    feature: Tensor | None


@dataclass
class ShotCache:
    """Keyframes of the shots made so far, and what a prompt finds among them."""

    bundle: Bundle
    segment: Shots
    shots: list[list[Keyframe]] = field(default_factory=list)
    _images: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def encode(self, image: Frames) -> Tensor:
        """A still [H, W, 3] as the one latent frame of a fresh stream [C, h, w]."""
        video = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        autoencoder = self.bundle.autoencoder
        still = video.to(self.bundle.device).expand(1, autoencoder.fresh_frames, -1, -1, -1)
        with torch.no_grad():
            latent: Tensor = autoencoder.encode(still)[0, 0].float()
        return latent.cpu()

    def keyframe(self, image: Frames) -> Keyframe:
        """A frame of the film as a keyframe."""
        feature: Tensor | None = None
        if self.bundle.clip is not None:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            feature = self.bundle.clip.images(pixels)[0].cpu()
        return Keyframe(self.encode(image), feature)

    def reference(self, path: Path) -> Tensor:
        """A reference image, cropped to the model's frame, as one latent frame.

        Raises:
            InputError: it is missing or no usable image.
        """
        mark = (str(path), path.stat().st_mtime_ns if path.is_file() else 0)
        if mark not in self._images:
            profile = self.bundle.profile
            fitted = ImageOps.fit(load_reference(path), (profile.width, profile.height))
            self._images[mark] = self.encode(np.array(fitted))
        return self._images[mark]

    def fill(self, prompt: str, references: Sequence[Path], last: Keyframe | None) -> list[Tensor]:
        """The cache of a shot: pinned references first, the last picture where the shot starts from it, then of each
        earlier shot the keyframe that fits the prompt best, best shots first (FilmWeaver, top-K by cosine similarity).

        Where references are pinned, keyframes get a third of the places, and what is empty is filled with the references again:
        one picture among two others, or alone before the chunk's own tokens, is too little to be looked at.

        Raises:
            InputError: more references than the cache holds.
        """
        room = self.segment.keyframes
        if len(references) > room:
            raise InputError(
                f"{len(references)} references are pinned but the memory holds {room}: pin fewer, or use shots({len(references)})"
            )
        pins = [self.reference(path) for path in references]
        cached = list(pins)
        if last is not None and len(cached) < room:
            cached.append(last.latent)
        most = min(room - len(cached), max(1, room // 3)) if pins else room - len(cached)
        keyframes = [k.latent for k in self._best(prompt)[:most]]
        again = [pins[i % len(pins)] for i in range(room - len(cached) - len(keyframes))] if pins else []
        return cached + again + keyframes

    def _best(self, prompt: str) -> list[Keyframe]:
        found = [shot for shot in self.shots if shot]
        clip = self.bundle.clip
        if clip is None:  # nothing can tell which fits: the newest shots
            return [shot[-1] for shot in reversed(found)]
        if not found:
            return []
        told = clip.texts([prompt])[0].cpu()

        def likeness(keyframe: Keyframe) -> float:
            return float(keyframe.feature @ told) if keyframe.feature is not None else -1.0

        best = [max(shot, key=likeness) for shot in found]
        order = sorted(range(len(best)), key=lambda i: (-likeness(best[i]), -i))
        return [best[i] for i in order]


def compressed_history(segment: Compressed, history_RCFhw: Tensor, base: int) -> list[Keyframes]:
    """The newest latents of every row's shot at 1x, 4x and 32x, standing right before position `base`."""
    frames_in_all = history_RCFhw.shape[2]
    found, newest = [], frames_in_all
    for count, factor in segment.levels:
        first = max(0, newest - count)
        if first < newest:
            frames = list(range(first, newest))
            if factor == 32 and len(frames) % 2:  # two frames share a token
                frames.insert(0, first)
            positions = tuple(base - (frames_in_all - f) for f in frames)
            found.append(Keyframes(history_RCFhw[:, :, frames], factor, positions, segment.noise))
        newest = first
    return found


def gather_context(
    memory: Memory, length: int, cached: Sequence[Tensor], history_CFhw: Tensor | None, *, seed: tuple[object, ...]
) -> list[Keyframes]:
    """Everything of a chunk that is context, noised to the levels its segments are labelled with."""
    at = memory.starts(length)
    context = []
    if memory.shots and cached:
        positions = tuple(range(at["shots"], at["shots"] + len(cached)))
        context.append(Keyframes(torch.stack(list(cached), dim=1)[None], 1, positions, memory.shots.noise))
    if memory.compressed and history_CFhw is not None and history_CFhw.shape[1]:
        context += compressed_history(memory.compressed, history_CFhw[None], at["chunk"])
    return [_noised(k, stable_seed(*seed, "context", i)) if k.timestep else k for i, k in enumerate(context)]


def _noised(keyframes: Keyframes, seed: int) -> Keyframes:
    sigma = keyframes.timestep / 1000
    drawn = torch.randn(keyframes.latents.shape, generator=torch.Generator().manual_seed(seed))
    noisy = (1 - sigma) * keyframes.latents + sigma * drawn.to(keyframes.latents)
    return Keyframes(noisy, keyframes.factor, keyframes.positions, keyframes.timestep)
