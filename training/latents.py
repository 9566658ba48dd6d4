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
from ..storyboard.caption import Appearance, caption, without_appearance
from ..storyboard.vocabulary import KINDS
from .sizes import CHUNK_LATENTS, FILM_CHUNKS, Size
from .world import SPLITS, Film, draw_reference, random_appearance, random_film, render_film

PINS = 3
LEAVE_TO_PICTURE = 0.7
"""How often the pinned caption of a puppet leaves its looks to its picture."""


@dataclass(frozen=True)
class LatentFilm:
    """A film, chunk by chunk.

    Attributes:
        latents, puppets: clean chunks [C, 16, L, h, w] and puppet coverage [C, 1, L, h, w].
        tokens, mask: captions [C, S].
        pins: reference pictures [C, 16, PINS, h, w]: of the shot's cast, and of puppets that are not in it.
        pinned_tokens, pinned_mask: captions that leave looks to the pictures [C, S].
    """

    latents: Tensor
    puppets: Tensor
    tokens: Tensor
    mask: Tensor
    pins: Tensor
    pinned_tokens: Tensor
    pinned_mask: Tensor


def _pictures(film: Film, size: Size, autoencoder: TinyVideoAutoencoder) -> tuple[list[tuple[str, Appearance]], Tensor]:
    """Puppets, the film's own first, and the latents of a picture of each [P, 16, h, w]."""
    rng = random.Random(f"pictures/{film.seed}")
    puppets = film.cast()
    while len(puppets) < max(PINS, len(film.cast()) + 1):
        puppets.append((rng.choice(KINDS), random_appearance(rng)))
    device = next(autoencoder.parameters()).device
    drawn = [
        draw_reference(kind, look, seed=rng.randrange(1 << 30), width=size.width, height=size.height)
        for kind, look in puppets
    ]
    stills = torch.stack(drawn)[:, None].expand(-1, autoencoder.fresh_frames, -1, -1, -1)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        return puppets, autoencoder.encode(stills.to(device))[:, 0].float()


def _pin(film: Film, size: Size, autoencoder: TinyVideoAutoencoder) -> tuple[Tensor, list[str]]:
    """For every chunk its pins [C, 16, PINS, h, w], and a caption that leaves the looks of the pinned to the pictures."""
    rng = random.Random(f"pins/{film.seed}")
    puppets, latents = _pictures(film, size, autoencoder)
    pins, captions = [], []
    for shot in film.shots:
        roles = shot.staging.roles
        wanted = [puppets.index((role.kind, role.appearance)) for role in roles if role.appearance]
        others = [index for index in range(len(puppets)) if index not in wanted]
        rng.shuffle(others)
        chosen = (list(dict.fromkeys(wanted)) + others)[:PINS]  # irrelevant ones too: the text says who is meant
        rng.shuffle(chosen)
        kinds = [role.kind for role in roles]
        keep = tuple(kinds.count(kind) > 1 or rng.random() > LEAVE_TO_PICTURE for kind in kinds)
        told = without_appearance(shot.staging, keep)
        pins += [latents[chosen].transpose(0, 1)] * shot.chunks
        captions += [caption(told, cut=index == 0) for index in range(shot.chunks)]
    return torch.stack(pins), captions


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
    pins, captions = _pin(film, size, autoencoder)
    said, left = (tokenize(tokenizer, prompts, TEXT_TOKENS) for prompts in (film.prompts(), captions))
    return LatentFilm(to_chunks(latents), to_chunks(covered).to(device), *said, pins, *left)


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
