"""Films of the small world as latents, made on the fly and kept in a pool that renews itself."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.text import TEXT_TOKENS, tokenize
from .sizes import CHUNK_LATENTS, FILM_CHUNKS, Size
from .world import SPLITS, Film, random_film, render_film


@dataclass(frozen=True)
class LatentFilm:
    """Clean chunks [C, 16, L, h, w], puppet coverage [C, 1, L, h, w], caption tokens and mask [C, S]."""

    latents: Tensor
    puppets: Tensor
    tokens: Tensor
    mask: Tensor


def to_chunks(latents_FCHW: Tensor) -> Tensor:
    """[F, C, h, w] to [chunks, C, L, h, w]."""
    chunks: Tensor = latents_FCHW.unflatten(0, (-1, CHUNK_LATENTS)).transpose(1, 2)
    return chunks


def encode_film(film: Film, size: Size, autoencoder: TinyVideoAutoencoder, tokenizer: Any) -> LatentFilm:
    """Renders and encodes a film; the stream restarts at every shot."""
    device = next(autoencoder.parameters()).device
    render = render_film(film, width=size.width, height=size.height)
    starts = torch.tensor(film.starts()).repeat_interleave(CHUNK_LATENTS)
    starts &= torch.arange(len(starts)) % CHUNK_LATENTS == 0
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        latents = autoencoder.encode(render.frames[None].to(device), starts[None].to(device))[0].float()
    covered = F.avg_pool3d(render.puppets[None], (4, 8, 8))[0][:, None]
    tokens, mask = tokenize(tokenizer, film.prompts(), TEXT_TOKENS)
    return LatentFilm(to_chunks(latents), to_chunks(covered).to(device), tokens, mask)


class FilmPool:
    """Up to `room` encoded films of the training split; every batch draws from it and renews `fresh` of it."""

    def __init__(
        self,
        size: Size,
        autoencoder: TinyVideoAutoencoder,
        tokenizer: Any,
        *,
        room: int = 4000,
        first: int = 64,
        fresh: int = 1,
    ) -> None:
        self._size, self._autoencoder, self._tokenizer = size, autoencoder, tokenizer
        self._room, self._first, self._fresh = room, first, fresh
        self._films: list[LatentFilm] = []
        self._next = SPLITS["train"]

    def _grow(self) -> None:
        film = encode_film(random_film(self._next, FILM_CHUNKS), self._size, self._autoencoder, self._tokenizer)
        if len(self._films) < self._room:
            self._films.append(film)
        else:
            self._films[self._next % self._room] = film
        self._next += 1

    def batch(self, seed: int, count: int) -> LatentFilm:
        """`count` films stacked film-major: [count·C, …]."""
        if not self._films:
            self._next += seed * self._fresh  # a resumed run sees other films than the first did
        for _ in range(max(self._fresh, self._first - len(self._films))):
            self._grow()
        drawn = random.Random(seed).choices(self._films, k=count)
        return LatentFilm(
            *(torch.cat([getattr(film, name) for film in drawn]) for name in LatentFilm.__dataclass_fields__)
        )
