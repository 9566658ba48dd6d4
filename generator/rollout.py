"""The rollout: a film being generated, chunk by chunk.

A rollout is the fold of its log: shots begun, prompts changed, chunks committed. Pages, decoder memory and everything
else follow from it, so `rewind` cuts the log, and a replay feeds it again.

Legend: `C` channels, `L` latent frames of a chunk, `h`, `w` latent rows and columns.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..storyboard.caption import CUT_MARK
from ..storyboard.errors import FilmwrightError
from ..storyboard.script import Continuity
from ..storyboard.stage import Chunk, Frames, Latents
from .autoencoder import Memory
from .bundle import Bundle
from .memory import Window
from .noise import noise
from .pages import PageStore
from .sampling import sample
from .transformer import Paged


@dataclass
class _Shot:
    """The shot being rolled. `draws` counts how often each chunk has been rewound."""

    shot: str
    take: int
    prompts: list[tuple[int, str]]
    decoder_start: Memory | None
    latents: list[Tensor] = field(default_factory=list)
    draws: dict[int, int] = field(default_factory=dict)
    fresh: bool = True

    def prompt_of(self, chunk: int) -> str:
        """The prompt in force at a chunk; the first of a new shot carries the cut mark."""
        prompt = next(text for since, text in reversed(self.prompts) if since <= chunk)
        return CUT_MARK + prompt if chunk == 0 and self.fresh else prompt


class ModelRollout:
    """See `storyboard.stage.Rollout`."""

    def __init__(self, bundle: Bundle, memory: Window, seed: int, device: torch.device) -> None:
        self._bundle, self._memory, self._seed, self._device = bundle, memory, seed, device
        self._length = bundle.profile.chunk_latents
        self._latent = (bundle.profile.height // 8, bundle.profile.width // 8)
        model = bundle.transformer
        self._grid = model.grid(*self._latent)
        first: Any = model.blocks[0].get_submodule("attn1")
        self._store = PageStore(
            layers=len(model.blocks), capacity=memory.capacity(self._length), tokens=self._grid[0] * self._grid[1],
            heads=first.heads, head_width=first.to_q.out_features // first.heads, dtype=torch.float32, device=device,
        )  # fmt: skip
        self._history: list[tuple[str, Tensor]] = []
        self._decoder: Memory | None = None
        self._shot: _Shot | None = None

    def begin_shot(
        self, prompt: str, *, shot: str, take: int, references: Sequence[Path] = (), continuity: Continuity = "new"
    ) -> None:
        fresh = continuity != "extend" or self._shot is None
        if fresh and self._bundle.autoencoder.cut_stream == "restart":
            self._decoder = None
        self._shot = _Shot(shot, take, [(0, prompt)], self._decoder, fresh=fresh)

    def reprompt(self, prompt: str) -> None:
        shot = self._rolling()
        shot.prompts.append((len(shot.latents), prompt))

    def step(self) -> Chunk:
        shot = self._rolling()
        chunk = len(shot.latents)
        draw = shot.draws.get(chunk, 0)
        text = self._bundle.text(shot.prompt_of(chunk))
        nothing = torch.zeros_like(text)
        guidance = self._bundle.sampling.guidance
        context = Paged(self._store, self._memory.select(self._store.frames, self._length, self._device))

        def predict(x: Tensor, sigma: float) -> Tensor:
            time = torch.tensor([sigma * 1000], device=self._device)
            flow: Tensor = self._bundle.transformer(x, time, text, context)
            if guidance == 1.0:
                return flow
            free: Tensor = self._bundle.transformer(x, time, nothing, context)
            return free + guidance * (flow - free)

        def draw_noise(step: int) -> Tensor:
            shape = (1, 16, self._length, *self._latent)
            drawn = noise(shape, seed=self._seed, shot=shot.shot, take=shot.take, draw=draw, chunk=chunk, step=step)
            return drawn.to(self._device)

        began = time.perf_counter()
        latents = sample(self._bundle.sampling, predict, draw_noise)[0]
        if not torch.isfinite(latents).all():
            raise RuntimeError(f"shot {shot.shot}, chunk {chunk}: the model produced NaN or infinity")
        return self._append(latents, time.perf_counter() - began)

    def feed(self, latents: Latents) -> Chunk:
        expected = (16, self._length, *self._latent)
        if latents.shape != expected:
            raise FilmwrightError(f"latents of shape {latents.shape} cannot be fed: this model's chunks are {expected}")
        if not np.isfinite(latents).all():
            raise FilmwrightError(
                "latents with NaN or infinity cannot be fed: the chunk file is damaged, shoot it again"
            )
        return self._append(torch.from_numpy(np.ascontiguousarray(latents, dtype=np.float32)).to(self._device))

    def rewind(self, chunks: int) -> None:
        shot = self._rolling()
        if not 1 <= chunks <= len(shot.latents):
            raise FilmwrightError(f"cannot rewind {chunks} chunks: shot {shot.shot} has {len(shot.latents)} so far")
        kept = len(shot.latents) - chunks
        for chunk in range(kept, len(shot.latents)):
            shot.draws[chunk] = shot.draws.get(chunk, 0) + 1
        del shot.latents[kept:]
        del self._history[-chunks:]
        shot.prompts = [(since, text) for since, text in shot.prompts if since <= kept]
        frames = self._store.frames - chunks * self._length
        if self._store.available(self._memory.oldest(frames, self._length)):
            self._store.truncate(frames)
        else:
            self._replay()
        self._decoder = shot.decoder_start
        for latents in shot.latents:
            self._decode(latents)

    def _rolling(self) -> _Shot:
        if self._shot is None:
            raise FilmwrightError("no shot has begun: call begin_shot first")
        return self._shot

    def _append(self, latents: Tensor, denoise_seconds: float = 0.0) -> Chunk:
        shot = self._rolling()
        chunk = len(shot.latents)
        prompt = shot.prompt_of(chunk)
        began = time.perf_counter()
        self._commit(prompt, latents)
        committed = time.perf_counter()
        shot.latents.append(latents)
        self._history.append((prompt, latents))
        frames = self._decode(latents)
        spent = {
            "denoise": denoise_seconds, "commit": committed - began, "decode": time.perf_counter() - committed,
        }  # fmt: skip
        return Chunk(chunk, shot.draws.get(chunk, 0), latents.cpu().numpy().astype(np.float32), frames, spent)

    def _commit(self, prompt: str, latents: Tensor) -> None:
        """One clean pass at t=0 that writes the chunk's pages."""
        selection = self._memory.select(self._store.frames, self._length, self._device)
        with torch.no_grad():
            self._bundle.transformer(
                latents[None], torch.zeros(1, device=self._device), self._bundle.text(prompt),
                Paged(self._store, selection, commit=True),
            )  # fmt: skip
        self._store.advance(self._length)

    def _replay(self) -> None:
        """Writes all pages anew from the latents."""
        self._store.clear()
        for prompt, latents in self._history:
            self._commit(prompt, latents)

    def _decode(self, latents: Tensor) -> Frames:
        with torch.no_grad():
            video, self._decoder = self._bundle.autoencoder.decode(latents.transpose(0, 1)[None], self._decoder)
        pixels = (video[0] * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
        frames: Frames = pixels.contiguous().cpu().numpy()
        return frames
