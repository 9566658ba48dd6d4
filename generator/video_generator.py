"""The model behind the generator protocol."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..storyboard.stage import Frames, Latents, Measures, Profile
from .bundle import Bundle, load_bundle
from .measure import measure_frames
from .memory import Memory, parse_memory
from .profiles import BUNDLED, Stream, film_profile, folder_digest
from .rollout import ModelRollout


class VideoGenerator:
    """See `storyboard.stage.Generator`."""

    def __init__(self, bundle: Bundle, memory: Memory) -> None:
        self._bundle, self._memory = bundle, memory
        self._weights = f"{bundle.profile.name}-{folder_digest(bundle.folder)}"
        config: Any = bundle.transformer.config
        if memory.compressed and not config.history_patches:
            bundle.transformer.add_history_patches()
        for warning in self._untrained():
            warnings.warn(warning, stacklevel=2)

    def _untrained(self) -> list[str]:
        """What the memory asks of the weights that they were not trained for."""
        config: Any = self._bundle.transformer.config
        name, span = self._bundle.profile.name, self._memory.span(self._length)
        found = []
        if config.trained_span and span > config.trained_span:
            found.append(f"memory {self._memory} spans {span} positions; {name} was trained with {config.trained_span}")
        segments = [type(segment).__name__.lower() for segment in self._memory.segments()]
        missing = [
            segment for segment in segments if config.trained_segments and segment not in config.trained_segments
        ]
        if missing:
            found.append(f"{name} was not trained with {', '.join(missing)}: expect little of that memory")
        return found

    @property
    def _length(self) -> int:
        return self._memory.chunk or self._bundle.profile.chunk_latents

    @property
    def profile(self) -> Profile:
        bundle = self._bundle
        stream = Stream(bundle.autoencoder.time_factor, bundle.autoencoder.fresh_frames, bundle.autoencoder.cut_stream)
        return film_profile(bundle.profile, self._memory, stream, self._weights, bundle.vocabulary)

    def start(self, seed: int) -> ModelRollout:
        return ModelRollout(self._bundle, self._memory, seed)

    def encode(self, frames: Frames) -> list[Latents]:
        """See `Generator.encode`. The footage is encoded as a stream of its own."""
        autoencoder, profile = self._bundle.autoencoder, self.profile
        chunks = 0
        while profile.video_frames((chunks + 1) * self._length, fresh=True) <= len(frames):
            chunks += 1
        if not chunks:
            return []
        used = frames[: profile.video_frames(chunks * self._length, fresh=True)]
        video = torch.from_numpy(used).permute(0, 3, 1, 2)[None].to(self._bundle.device, self._bundle.dtype) / 255
        with torch.no_grad():
            latents = autoencoder.encode(video)[0].float().transpose(0, 1).cpu().numpy()
        return [latents[:, c * self._length : (c + 1) * self._length] for c in range(chunks)]

    def draw(self, prompt: str, seed: int) -> Frames:
        """See `Generator.draw`: the middle frame of a one-chunk rollout."""
        rollout = self.start(seed)
        rollout.begin_shot(prompt, shot="still", take=1)
        frames = rollout.step().frames
        drawn: Frames = frames[len(frames) // 2]
        return drawn

    def measure(
        self,
        frames: Frames,
        prompt: str,
        references: Sequence[Path] = (),
        before: Frames | None = None,
    ) -> Measures:
        clip, reader, name = self._bundle.clip, self._bundle.reader, self._bundle.profile.name
        return measure_frames(frames, prompt, references, before, clip, reader, name)


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_bundled(name: str, memory: str | None) -> VideoGenerator:
    """Opens the bundled weights of that name."""
    return open_folder(str(BUNDLED / name), memory)


def open_folder(name: str, memory: str | None) -> VideoGenerator:
    """Opens a folder of weights."""
    wanted = parse_memory(memory) if memory else None
    bundle = load_bundle(Path(name), default_device())
    return VideoGenerator(bundle, wanted or parse_memory(bundle.profile.memory))
