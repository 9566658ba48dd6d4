"""Films as a network makes them, chunk after chunk under its own memory: what a student that learns on films of its own begins with.

Legend: `R` rows (one chunk each, film-major), `L` latent frames of a chunk, `F` hidden frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ..generator.packed import FilmPages, Unrolled
from .film_stage import FilmStage, Scene

Ask = Callable[[Tensor, Tensor], Tensor]
"""The flow of one chunk of every film, given its noisy frames [films, c, F + L, h, w] and their noise levels [films]."""
Denoise = Callable[[Tensor, Ask], Tensor]
"""From noise, a clean chunk of every film."""


def unroll(
    stage: FilmStage, nets: nn.ModuleDict, scene: Scene, films: int, text: Tensor, denoise: Denoise, through: int = 0
) -> Tensor:
    """The films of a scene as `nets` make them [R, c, F + L, h, w], their own history within a shot among what they see.

    Args:
        through: gradients go on through the state so many transitions in a row, then it is cut; the pass that writes pages has
            none else.
    """
    memory, chunks = scene.memory, len(scene.films.latents) // films
    shape = stage.with_state(memory, scene.films.latents).shape
    known = None if memory.compressed else stage.known(nets, scene, text)
    pages: dict[int, FilmPages] = {}
    made: list[Tensor] = []
    for chunk in range(chunks):
        rows = torch.arange(films, device=stage.device) * chunks + chunk
        beside = [(keys[rows], values[rows]) for keys, values in known] if known is not None else None
        seen = Unrolled(memory, films, stage.length, chunk, pages, beside)
        ask: Ask = partial(stage.flow, nets, text=text[rows], context=seen)
        if memory.compressed:
            so_far = [*made, *[torch.zeros(films, *shape[1:], device=stage.device)] * (chunks - chunk)]
            history = stage.beside_history(nets, scene, torch.stack(so_far, dim=1).flatten(0, 1).detach())
            ask = partial(history, text=text[rows], rows=rows)
        clean = denoise(scene.draws.normal(1, *shape[1:]), ask)
        made.append(clean)
        if not memory.compressed:
            carry = bool(memory.state) and torch.is_grad_enabled() and chunk % (through + 1) < through
            writing = replace(seen, commit=True, carry=carry, written={})
            with torch.set_grad_enabled(carry):
                zero = torch.zeros(films, device=stage.device)
                stage.flow(nets, clean if carry else clean.detach(), zero, text[rows], writing)
            pages = writing.written
    return torch.stack(made, dim=1).flatten(0, 1)
