"""The rollout: a film being generated, chunk by chunk.

A rollout is the fold of its log: shots begun, prompts changed, references pinned, chunks committed. Pages, caches and
the decoder's memory follow from it, so `rewind` cuts the log, and a replay goes through it again.

Legend: `C` channels, `L` latent frames of a chunk, `F` of the hidden state, `h`, `w` latent rows and columns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..storyboard.caption import CUT_MARK
from ..storyboard.errors import FilmwrightError
from ..storyboard.script import Continuity
from ..storyboard.stage import Chunk, Frames, GenerationFailed, Latents
from .attention import Past
from .bundle import Bundle
from .contexts import Alone, Context, Paged
from .memory import Memory
from .noise import noise
from .pages import OutOfPages, PageShape, PageStore, free_bytes, largest_window
from .sampling import sample
from .shot_cache import ShotCache, gather_context

OUT_OF_MEMORY = (
    "not enough memory for a chunk: use a --memory with fewer frames, smaller weights, or close other programs"
)
KEYFRAME_CANDIDATES = 3
"""Pictures of a shot that may stand for it: of its first, middle and last chunk."""


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Gives an allocation that failed its type; a CPU's allocator raises a plain RuntimeError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise GenerationFailed(OUT_OF_MEMORY) from error
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise GenerationFailed(OUT_OF_MEMORY) from error
        raise


@dataclass
class _Shot:
    """A shot of the log, off the device: it grows with the film. Lists of (chunk, …) say since which chunk something holds.

    Attributes:
        fresh: whether a new picture begins, and not the old one goes on.
        inherited: latents before the shot that its history goes on from.
        draws: how often each chunk has been rewound.
    """

    shot: str
    take: int
    fresh: bool
    prompts: list[tuple[int, str, bool]]
    cached: list[tuple[int, list[Tensor]]]
    inherited: Tensor | None
    decoder_start: Any
    latents: list[Tensor] = field(default_factory=list)
    states: list[Tensor | None] = field(default_factory=list)
    pictures: list[Frames] = field(default_factory=list)
    draws: dict[int, int] = field(default_factory=dict)

    def prompt_of(self, chunk: int, mark_cut: bool) -> str:
        """The prompt in force at a chunk; the first of a new shot may carry the cut mark."""
        prompt = next(text for since, text, _ in reversed(self.prompts) if since <= chunk)
        return CUT_MARK + prompt if mark_cut and chunk == 0 and self.fresh else prompt

    def cached_at(self, chunk: int) -> list[Tensor]:
        return next((kept for since, kept in reversed(self.cached) if since <= chunk), [])

    def history(self, chunk: int, most: int) -> Tensor | None:
        """The newest latents [C, at most `most` (and a chunk), h, w] of this shot before a chunk."""
        recent: list[Tensor] = []
        frames = 0
        for latents in reversed(self.latents[:chunk]):
            if frames >= most:
                break
            recent.insert(0, latents)
            frames += latents.shape[1]
        if self.inherited is not None and frames < most:
            recent.insert(0, self.inherited)
        return torch.cat(recent, dim=1)[:, -most:] if recent else None

    def forget(self, kept: int) -> None:
        """Cuts the log after `kept` chunks; the next draw of the others gets other noise."""
        for chunk in range(kept, len(self.latents)):
            self.draws[chunk] = self.draws.get(chunk, 0) + 1
        del self.latents[kept:], self.states[kept:], self.pictures[kept:]
        self.prompts = [entry for entry in self.prompts if entry[0] <= kept]
        self.cached = [entry for entry in self.cached if entry[0] <= kept]


class ModelRollout:
    """See `storyboard.stage.Rollout`."""

    def __init__(self, bundle: Bundle, memory: Memory, seed: int) -> None:
        self._bundle, self._memory, self._seed, self._device = bundle, memory, seed, bundle.device
        self._length = memory.chunk or bundle.profile.chunk_latents
        self._latent = bundle.latent_size
        self._channels = bundle.channels
        grid = bundle.transformer.grid(*self._latent)
        first: Any = bundle.transformer.blocks[0].get_submodule("attn1")
        shape = PageShape(
            len(bundle.transformer.blocks), grid[0] * grid[1], first.heads, first.to_q.out_features // first.heads,
            bundle.dtype, self._device,
        )  # fmt: skip
        self.store = _open_store(shape, memory, self._length, bundle)
        self._cache = ShotCache(bundle, memory.shots) if memory.shots else None
        self._shots: list[_Shot] = []
        self._decoder: Any = None
        self._undecoded: list[Tensor] = []

    def begin_shot(
        self, prompt: str, *, shot: str, take: int, references: Sequence[Path] = (), continuity: Continuity = "new",
        retake: bool = False,
    ) -> None:  # fmt: skip
        if retake:
            self._drop_shot()
        before = self._shots[-1] if self._shots else None
        fresh = continuity != "extend" or before is None
        if fresh and self._bundle.autoencoder.cut_stream == "restart":
            self._decoder, self._undecoded = None, []
        elif self._undecoded:
            self._decode_pending()
        cached: list[Tensor] = []
        if self._cache is not None:
            if len(self._cache.shots) < len(
                self._shots
            ):  # the shot before ends now, and not already at one that was dropped
                assert before is not None
                self._cache.shots.append([self._cache.keyframe(p) for p in _spread(before.pictures)])
                before.pictures.clear()
            if fresh:
                ended = self._cache.shots[-1] if continuity == "continuous" and before is not None else []
                last = ended[-1] if ended else None
                cached = self._cache.fill(prompt, references, last)
            elif before is not None:
                cached = before.cached_at(len(before.latents))
        inherited = None
        if not fresh and before is not None and self._memory.compressed:
            inherited = before.history(len(before.latents), self._memory.compressed.frames)
        self._shots.append(_Shot(shot, take, fresh, [(0, prompt, False)], [(0, cached)], inherited, self._decoder))

    def reprompt(self, prompt: str, *, recache: bool | None = None) -> None:
        shot = self._rolling()
        anew = self._memory.recache if recache is None else recache
        shot.prompts.append((len(shot.latents), prompt, anew))
        if anew:
            self._recache(len(self._shots) - 1, len(shot.latents), prompt)

    def pin(self, references: Sequence[Path]) -> None:
        shot = self._rolling()
        if self._cache is None:
            raise FilmwrightError(f"memory {self._memory} pins no references: use one with shots(N)")
        chunk = len(shot.latents)
        shot.cached.append((chunk, self._cache.fill(shot.prompt_of(chunk, False), references, None)))

    @_memory_errors()
    def step(self) -> Chunk:
        shot = self._rolling()
        chunk = len(shot.latents)
        draw = shot.draws.get(chunk, 0)
        sampling = self._bundle.sampling
        frames = self.store.state_frames + self._length
        began = time.perf_counter()
        text = self._text(shot, chunk)
        context = self._context(shot, chunk, text)
        paged = Paged(self.store, self._memory, context)
        nothing = torch.zeros_like(text)
        both = torch.cat([text, nothing])
        first = chunk == 0 and shot.fresh
        pinless = alone = None
        if sampling.guidance != 1.0:
            if paged.context is not None:
                pinless = Paged(self.store, self._memory, self._context(shot, chunk, nothing, pinned=False))
            if first and (self.store.frames or pinless is not None):
                alone = Alone(paged.own)

        def predict(x: Tensor, sigma: float) -> Tensor:
            if sampling.guidance == 1.0 or (sigma <= sampling.guide_above and not first):
                return self._pass(x, sigma * 1000, text, paged)
            less = alone if alone is not None and sigma > sampling.recall_above else pinless
            if less is not None:  # guidance pulls towards what the other pass does not see
                told, untold = (self._pass(x, sigma * 1000, *seen) for seen in ((text, paged), (nothing, less)))
            else:
                told, untold = self._pass(x.expand(2, -1, -1, -1, -1), sigma * 1000, both, paged).chunk(2)
            return untold + sampling.guidance * (told - untold)

        def draw_noise(step: int) -> Tensor:
            shape = (1, self._channels, frames, *self._latent)
            drawn = noise(shape, seed=self._seed, shot=shot.shot, take=shot.take, draw=draw, chunk=chunk, step=step)
            return drawn.to(self._device)

        sampled = sample(sampling, predict, draw_noise)[0]
        if not torch.isfinite(sampled).all():
            raise GenerationFailed(f"shot {shot.shot}, chunk {chunk}: the model produced NaN or infinity")
        state, latents = sampled[:, : self.store.state_frames], sampled[:, self.store.state_frames :]
        spent = {"denoise": time.perf_counter() - began}
        return self._append(latents, state if self.store.state_frames else None, paged, spent)

    @_memory_errors()
    def feed(self, latents: Latents, state: Latents | None = None, *, decode: bool = True) -> Chunk:
        shot = self._rolling()
        clean = self._checked(latents, self._length, "latents")
        hidden = None
        if self.store.state_frames:
            hidden = (
                self._checked(state, self.store.state_frames, "state")
                if state is not None
                else clean[:, -1:].expand(-1, self.store.state_frames, -1, -1)
            )
        context = self._context(shot, len(shot.latents), self._text(shot, len(shot.latents)))
        return self._append(clean, hidden, Paged(self.store, self._memory, context), {}, decode=decode)

    def rewind(self, chunks: int) -> None:
        shot = self._rolling()
        if not 1 <= chunks <= len(shot.latents):
            raise FilmwrightError(f"cannot rewind {chunks} chunks: shot {shot.shot} has {len(shot.latents)} so far")
        kept = len(shot.latents) - chunks
        recached = any(recache and since > kept for since, _, recache in shot.prompts)
        shot.forget(kept)
        self._take_back(chunks, recached)
        self._decoder, self._undecoded = shot.decoder_start, list(shot.latents)

    def _drop_shot(self) -> None:
        """Cuts the last shot out of the log; the one before has ended, and its keyframes are made."""
        dropped = self._rolling()
        self._shots.pop()
        self._take_back(len(dropped.latents), any(recache for _, _, recache in dropped.prompts))
        self._decoder, self._undecoded = None, []
        if self._shots:
            self._decoder, self._undecoded = self._shots[-1].decoder_start, list(self._shots[-1].latents)

    def _take_back(self, chunks: int, recached: bool) -> None:
        """Brings the pages to what the log says, after its last chunks were cut off."""
        frames = self.store.frames - chunks * self._length
        if recached or not self.store.rewind(frames, self._memory.oldest(frames, self._length)):
            self._replay()

    def _rolling(self) -> _Shot:
        if not self._shots:
            raise FilmwrightError("no shot has begun: call begin_shot first")
        return self._shots[-1]

    def _checked(self, latents: Latents, frames: int, what: str) -> Tensor:
        expected = (self._channels, frames, *self._latent)
        if latents.shape != expected:
            raise FilmwrightError(f"{what} of shape {latents.shape} cannot be fed: this model's are {expected}")
        if not np.isfinite(latents).all():
            raise FilmwrightError(
                f"{what} with NaN or infinity cannot be fed: the chunk file is damaged, shoot it again"
            )
        return torch.from_numpy(np.ascontiguousarray(latents, dtype=np.float32)).to(self._device)

    def _text(self, shot: _Shot, chunk: int) -> Tensor:
        return self._bundle.text(shot.prompt_of(chunk, self._bundle.profile.prompt_style == "caption"))

    def _context(self, shot: _Shot, chunk: int, text: Tensor, *, pinned: bool = True) -> list[Past] | None:
        """Keys and values of the chunk's context, one pass of the model; None where its memory has none. Without
        `pinned` the shot cache is left out."""
        if not (self._memory.shots or self._memory.compressed):
            return None
        history = shot.history(chunk, self._memory.compressed.frames) if self._memory.compressed else None
        seed = (self._seed, shot.shot, shot.take, chunk)
        found = gather_context(self._memory, self._length, shot.cached_at(chunk) if pinned else [], history, seed=seed)
        context = [replace(k, latents=k.latents.to(self._device)) for k in found]
        with torch.no_grad():
            return self._bundle.transformer.remember(context, text) if context else None

    def _pass(self, x: Tensor, timestep: float, text: Tensor, seen: Context) -> Tensor:
        at = torch.full((len(x),), timestep, device=self._device)
        flow: Tensor = self._bundle.transformer(x.to(self._bundle.dtype), at, text, seen)
        return flow.float()

    def _append(
        self, latents: Tensor, state: Tensor | None, paged: Paged, spent: dict[str, float], *, decode: bool = True
    ) -> Chunk:
        shot = self._rolling()
        chunk, start = len(shot.latents), self.store.frames
        began = time.perf_counter()
        self._commit(latents, state, self._text(shot, chunk), paged)
        committed = time.perf_counter()
        shot.latents.append(latents.cpu())
        shot.states.append(state.cpu() if state is not None else None)
        self._undecoded.append(latents)
        frames = self._decode_pending() if decode or self._cache is not None else self._no_frames()
        if self._cache is not None:
            shot.pictures.append(frames[-1].copy())  # a view would keep the whole chunk's frames
        spent |= {"commit": committed - began, "decode": time.perf_counter() - committed}
        return Chunk(
            chunk, shot.draws.get(chunk, 0), _numpy(latents), frames, spent, start,
            _numpy(state) if state is not None else None, [paged.recalled[layer] for layer in sorted(paged.recalled)],
        )  # fmt: skip

    def _commit(self, latents: Tensor, state: Tensor | None, text: Tensor, paged: Paged) -> None:
        """One clean pass at t=0 that writes the chunk's pages; it routes by its own, clean queries."""
        paged.commit = True
        x = latents if state is None else torch.cat([state, latents], dim=1)
        with torch.no_grad():
            self._pass(x[None], 0.0, text, paged)
        self.store.advance({frame for layer in paged.recalled.values() for frame in layer})

    def _commit_again(self, shot: _Shot, chunk: int, text: Tensor) -> None:
        paged = Paged(self.store, self._memory, self._context(shot, chunk, text))
        state = shot.states[chunk]
        self._commit(
            shot.latents[chunk].to(self._device), state.to(self._device) if state is not None else None, text, paged
        )

    def _recache(self, last_shot: int, chunks: int, prompt: str) -> None:
        """Writes new versions of the window's pages under a prompt (LongLive 1.0), up to `chunks` of shot `last_shot`."""
        window = min(self._memory.window_frames(self._length) // self._length, self.store.rewind_chunks)
        recent: list[tuple[_Shot, int]] = []
        for number in range(last_shot, -1, -1):
            shot = self._shots[number]
            count = chunks if number == last_shot else len(shot.latents)
            recent = [(shot, c) for c in range(count)][-(window - len(recent)) :] + recent
            if len(recent) >= window:
                break
        recent = recent[-window:] if window else []
        frames = self.store.frames - len(recent) * self._length
        if not self.store.rewind(frames, self._memory.oldest(frames, self._length)):
            raise FilmwrightError("the window's pages are gone: re-caching needs a memory that keeps them")
        for shot, chunk in recent:
            self._commit_again(shot, chunk, self._bundle.text(prompt))

    def _replay(self) -> None:
        """Writes all pages anew from the latents."""
        self.store.clear()
        for number, shot in enumerate(self._shots):
            for chunk in range(len(shot.latents) + 1):
                for since, prompt, recache in shot.prompts:
                    if recache and since == chunk:
                        self._recache(number, chunk, prompt)
                if chunk < len(shot.latents):
                    self._commit_again(shot, chunk, self._text(shot, chunk))

    def _no_frames(self) -> Frames:
        return np.zeros((0, self._bundle.profile.height, self._bundle.profile.width, 3), dtype=np.uint8)

    def _decode_pending(self) -> Frames:
        """Decodes what has not been decoded yet; returns the frames of the last chunk."""
        video = None
        for latents in self._undecoded:
            with torch.no_grad():
                video, self._decoder = self._bundle.autoencoder.decode(
                    latents.transpose(0, 1)[None].to(self._device, self._bundle.autoencoder.dtype), self._decoder
                )
        self._undecoded = []
        if video is None:
            return self._no_frames()
        pixels = (video[0].float() * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
        frames: Frames = pixels.contiguous().cpu().numpy()
        return frames


def _open_store(shape: PageShape, memory: Memory, length: int, bundle: Bundle) -> PageStore:
    """The page store; when it does not fit, the error names what would."""
    try:
        return PageStore(shape, memory, length)
    except OutOfPages as error:
        free = free_bytes(shape.device)
        window = largest_window(shape, length, int(0.8 * free))
        fits = f"--memory 'window({window})' would" if window else "no window does: use smaller weights or frames"
        pool = ", or routed(…,tier=host) with less pool=" if memory.routed else ""
        raise FilmwrightError(
            f"memory {memory} at {bundle.profile.width}x{bundle.profile.height} is too large: {error} "
            f"({shape.frame_bytes / 1e6:.1f} MB a latent frame, {free / 1e9:.1f} GB free); {fits}{pool}"
        ) from error


def _numpy(latents: Tensor) -> Latents:
    array: Latents = latents.cpu().numpy().astype(np.float32)
    return array


def _spread(pictures: list[Frames]) -> list[Frames]:
    """The first, middle and last of them."""
    if len(pictures) <= KEYFRAME_CANDIDATES:
        return pictures
    return [pictures[0], pictures[len(pictures) // 2], pictures[-1]]
