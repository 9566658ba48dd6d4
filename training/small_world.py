"""Films of the small world, rendered and encoded as they are asked for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.precision import arithmetic
from ..storyboard.caption import Appearance, caption, without_appearance
from ..storyboard.vocabulary import FULL, Vocabulary
from .films import PICTURES, LatentFilm, to_chunks
from .labels import film_labels
from .painters import ALONE, Bytes, Painters, as_bytes, from_bytes
from .sizes import Size
from .world import (
    FRAMES_PER_LATENT,
    SPLITS,
    USUAL,
    Film,
    Habits,
    Render,
    Split,
    draw_reference,
    random_appearance,
    random_film,
    render_film,
)


def shown_again(film: Film) -> list[list[bool]]:
    """Whether a chunk shows a puppet of another chunk, the same with its looks: row by row, for all chunks."""
    casts = [{(role.kind, role.appearance) for role in staging.roles} for staging in film.stagings()]
    return [[bool(mine & theirs) for theirs in casts] for mine in casts]


@dataclass(frozen=True)
class Drawn:
    """A film as it is drawn, in bytes.

    Attributes:
        frames: [F, 3, H, W].
        covered: how much of each latent pixel puppets cover [F / 4, H / 8, W / 8].
        labels: of every chunk (`labels.film_labels`); None where nobody asks.
        puppets: kind and looks, the film's own first, with a picture of each [P, 3, H, W]; none where nobody asks.
    """

    film: Film
    frames: Bytes
    covered: Bytes
    labels: Bytes | None
    puppets: list[tuple[str, Appearance]]
    pictures: Bytes | None


@dataclass(frozen=True)
class Sketch:
    """What a film of a number looks like: all that drawing it needs, and nothing that sees.

    Attributes:
        chunks, length: chunks of a film, latent frames of a chunk; cuts fall on chunks.
        known: words that films are told in.
        labelled, pictured: whether films have labels, and pictures beside them; making those costs as much as a short film.
    """

    size: Size
    chunks: int
    length: int
    first: int
    known: Vocabulary = FULL
    habits: Habits = USUAL
    labelled: bool = False
    pictured: bool = True

    def __call__(self, number: int) -> Drawn:
        film = random_film(self.first + number, self.chunks, self.known, self.habits)
        size = {"width": self.size.width, "height": self.size.height}
        render = self._render(film)
        covered = F.avg_pool3d(render.puppets[None], (FRAMES_PER_LATENT, 8, 8))[0]
        labels = film_labels(film, length=self.length, **size).numpy() if self.labelled else None
        puppets, pictures = self._pictures(film) if self.pictured else ([], None)
        return Drawn(film, as_bytes(render.frames), as_bytes(covered), labels, puppets, pictures)

    def frames(self, number: int) -> tuple[Bytes, Bytes]:
        """Frames [F, 3, H, W] of a film, and its puppets [F, H, W]."""
        render = self._render(random_film(self.first + number, self.chunks, self.known, self.habits))
        return as_bytes(render.frames), as_bytes(render.puppets)

    def _render(self, film: Film) -> Render:
        size = {"width": self.size.width, "height": self.size.height}
        return render_film(film, frames_per_chunk=FRAMES_PER_LATENT * self.length, **size)

    def _pictures(self, film: Film) -> tuple[list[tuple[str, Appearance]], Bytes]:
        rng = random.Random(f"pictures/{film.seed}")
        puppets = film.cast()
        while len(puppets) < max(PICTURES, len(film.cast()) + 1):
            puppets.append((rng.choice(self.known.kinds), random_appearance(rng, self.known)))
        size = {"width": self.size.width, "height": self.size.height}
        drawn = [draw_reference(kind, look, seed=rng.randrange(1 << 30), **size) for kind, look in puppets]
        return puppets, as_bytes(torch.stack(drawn))


class SmallWorld:
    """Film number `i` of a split is a function of `i`; what films are like, `Sketch` says."""

    def __init__(
        self,
        size: Size,
        autoencoder: TinyVideoAutoencoder,
        *,
        chunks: int,
        length: int,
        split: Split = "train",
        known: Vocabulary = FULL,
        habits: Habits = USUAL,
        labelled: bool = False,
        pictured: bool = True,
        painters: Painters = ALONE,
    ) -> None:
        self.sketch = Sketch(size, chunks, length, SPLITS[split], known, habits, labelled, pictured)
        self.autoencoder, self._painters = autoencoder, painters

    def frames(self, numbers: Sequence[int]) -> tuple[Bytes, Bytes]:
        """What films look like, one after the other: frames [F, 3, H, W], and puppets [F, H, W]."""
        frames, puppets = zip(*self._painters.every(self.sketch.frames, numbers), strict=True)
        return np.concatenate(frames), np.concatenate(puppets)

    def film(self, number: int) -> LatentFilm:
        drawn: Drawn = self._painters.every(self.sketch, [number])[0]
        film, chunks, length = drawn.film, self.sketch.chunks, self.sketch.length
        device = next(self.autoencoder.parameters()).device
        frames = from_bytes(drawn.frames, device)
        starts = torch.zeros(chunks * length, dtype=torch.bool)
        starts[::length] = torch.tensor(film.starts())  # the stream restarts at every shot
        with torch.no_grad(), arithmetic(device):
            encoded = self.autoencoder.encode(frames[None], starts[None].to(device))[0].float()
        covered = from_bytes(drawn.covered, device)[:, None]
        prompts = tuple(film.prompts())
        keyframes = pins = encoded.new_zeros(chunks, encoded.shape[1], 0, *encoded.shape[-2:])
        pinned_prompts = prompts
        if drawn.pictures is not None:
            pictures = self._still(from_bytes(drawn.pictures, device))
            keyframes = self._keyframes(film, frames, pictures)
            pins, pinned_prompts = self._pins(film, drawn.puppets, pictures, keyframes[:, :, 0])
        labels = torch.zeros(chunks, 0, length, *encoded.shape[-2:], dtype=torch.int8)
        if drawn.labels is not None:
            labels = torch.from_numpy(drawn.labels)
        place = torch.tensor([index for shot in film.shots for index in range(shot.chunks)])
        return LatentFilm(
            to_chunks(encoded, length), to_chunks(covered, length), place, prompts, keyframes, pins, pinned_prompts,
            torch.tensor(shown_again(film)), labels.to(device),
        )  # fmt: skip

    def _still(self, pictures_BCHW: Tensor) -> Tensor:
        """Pictures as the one latent frame of a fresh stream [B, c, h, w]."""
        device = next(self.autoencoder.parameters()).device
        stills = pictures_BCHW[:, None].expand(-1, self.autoencoder.fresh_frames, -1, -1, -1).to(device)
        with torch.no_grad(), arithmetic(device):
            return self.autoencoder.encode(stills)[:, 0].float()

    def _pins(
        self, film: Film, puppets: list[tuple[str, Appearance]], pictures: Tensor, keyframes_Cchw: Tensor
    ) -> tuple[Tensor, tuple[str, ...]]:
        """For every chunk its pins [C, c, K, h, w], and a caption that leaves the looks of the pinned to them: the cast's pictures,
        again and again, and in the last place mostly something else, as in the shot cache of a rollout."""
        rng = random.Random(f"pins/{film.seed}")
        pins: list[Tensor] = []
        captions = []
        for shot in film.shots:
            chunk = len(pins)
            roles = shot.staging.roles
            wanted = list(
                dict.fromkeys(puppets.index((role.kind, role.appearance)) for role in roles if role.appearance)
            )
            others = [index for index in range(len(puppets)) if index not in wanted]
            rng.shuffle(wanted)
            rng.shuffle(others)
            cast = wanted or others
            shown = pictures[[cast[i % len(cast)] for i in range(PICTURES)]].transpose(0, 1)
            beside = rng.random()
            if beside < 0.4:  # irrelevant ones too: the text says who is meant
                shown[:, -1] = pictures[others[-1]]
            elif beside < 0.8:
                shown[:, -1] = keyframes_Cchw[chunk]
            kinds = [role.kind for role in roles]
            keep = tuple(kinds.count(kind) > 1 or rng.random() > self.sketch.habits.forget for kind in kinds)
            told = without_appearance(shot.staging, keep)
            pins += [shown] * shot.chunks
            captions += [caption(told, cut=index == 0) for index in range(shot.chunks)]
        return torch.stack(pins), tuple(captions)

    def _keyframes(self, film: Film, frames: Tensor, pictures: Tensor) -> Tensor:
        """For every chunk a frame of each of the last three shots before it, strangers where there are fewer
        [C, c, K, h, w]: FilmWeaver's shot cache, irrelevant pictures among them."""
        rng = random.Random(f"keyframes/{film.seed}")
        per_chunk = FRAMES_PER_LATENT * self.sketch.length
        begins, frame = [], 0
        for shot in film.shots:
            begins.append(frame)
            frame += shot.chunks * per_chunk
        moments = [
            begin + rng.choice((0, shot.chunks // 2 * per_chunk, shot.chunks * per_chunk - 1))
            for begin, shot in zip(begins, film.shots, strict=True)
        ]
        own = self._still(frames[moments])
        strangers = list(pictures[len(film.cast()) :])
        found = []
        for number, shot in enumerate(film.shots):
            earlier = list(range(number))
            chosen = [own[i] for i in rng.sample(earlier, min(PICTURES, len(earlier)))]
            while len(chosen) < PICTURES:
                chosen.append(rng.choice(strangers))
            found += [torch.stack(chosen, dim=1)] * shot.chunks
        return torch.stack(found)
