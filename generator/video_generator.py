"""The model behind the generator protocol."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..storyboard.caption import Role, Staging, caption
from ..storyboard.script import Entity
from ..storyboard.stage import Frames, Measures, Profile
from ..storyboard.staging import appearance_of, puppet_kind
from .bundle import BUNDLED, Bundle, load_bundle
from .measure import measure_frames
from .memory import Window, parse_memory
from .rollout import ModelRollout


class VideoGenerator:
    """See `storyboard.stage.Generator`."""

    def __init__(self, bundle: Bundle, memory: Window, device: torch.device) -> None:
        self._bundle, self._memory, self._device = bundle, memory, device
        self._weights = f"{bundle.profile.name}-{_digest(bundle.folder)}"
        config: Any = bundle.transformer.config
        trained = int(config.trained_span)
        span = memory.span(bundle.profile.chunk_latents)
        if trained and span > trained:
            warnings.warn(
                f"memory {memory} spans {span} positions; {bundle.profile.name} was trained with {trained}",
                stacklevel=2,
            )

    @property
    def profile(self) -> Profile:
        p = self._bundle.profile
        return Profile(
            name=p.name, fps=p.fps, width=p.width, height=p.height, enlarge=p.enlarge, chunk_latents=p.chunk_latents,
            frames_per_latent=self._bundle.autoencoder.time_factor, fresh_frames=self._bundle.autoencoder.time_factor,
            cut_stream="restart", prompt_style="caption", max_references=0, memory=str(self._memory),
            weights=self._weights, licence=p.licence, prompt_floor=p.prompt_floor,
        )  # fmt: skip

    def start(self, seed: int) -> ModelRollout:
        return ModelRollout(self._bundle, self._memory, seed, self._device)

    def draw(self, entity: Entity, seed: int) -> Frames:
        """The middle frame of a one-chunk rollout."""
        role = Role(puppet_kind(entity), "stands", "right", appearance_of(entity))
        rollout = self.start(seed)
        rollout.begin_shot(caption(Staging("medium", "meadow", "day", "still", (role,))), shot=entity.id, take=1)
        frames = rollout.step().frames
        drawn: Frames = frames[len(frames) // 2]
        return drawn

    def measure(
        self, frames: Frames, prompt: str, references: Sequence[Path] = (), before: Frames | None = None
    ) -> Measures:
        return measure_frames(frames, prompt, references, before, self._bundle.clip, self._bundle.profile.name)


def _digest(folder: Path) -> str:
    """Names the weights by the first bytes of a hash over all of them."""
    digest = hashlib.blake2b(digest_size=6)
    for file in sorted(folder.rglob("*.safetensors")):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_bundled(name: str, memory: str | None) -> VideoGenerator:
    """Opens the bundled weights of that name."""
    return open_folder(str(BUNDLED / name), memory)


def open_folder(name: str, memory: str | None) -> VideoGenerator:
    """Opens a folder of weights."""
    wanted = parse_memory(memory) if memory else None
    device = default_device()
    bundle = load_bundle(Path(name), device)
    return VideoGenerator(bundle, wanted or parse_memory(bundle.profile.memory), device)
