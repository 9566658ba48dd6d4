"""Stage 2: text encoder and transformer by teacher forcing on multi-shot films (CausalCine §3.2), and
stage 3: the four-step student by causal consistency distillation."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.contexts import Keyframes, Packed
from ..generator.text import build_text_encoder, build_tokenizer, embed
from ..generator.transformer import CausalWanTransformer3DModel
from .latents import FilmPool, LatentFilm
from .sizes import CHUNK_LATENTS, FILM_CHUNKS, MEMORY, PINNED_MEMORY, SHIFT, Size

PROMPT_DROPOUT = 0.1
PUPPET_WEIGHT = 3.0
NOISY_COPIES = 2
"""Noisy copies per clean one in the base stage: the clean half costs as much as a copy and gives no loss."""
FINAL_SHIFT = 1.2
"""The base's noise levels move from SHIFT towards this over its budget."""
CONSISTENCY_GRID = 48
PINNED_SHARE = 0.4
"""Steps of the base in which pictures are pinned."""
PIN_NOISE = 300


def add_noise(clean: Tensor, noise: Tensor, sigma_R: Tensor) -> Tensor:
    sigma = sigma_R[:, None, None, None, None]
    return (1 - sigma) * clean + sigma * noise


def _attention_kernel(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU the backward pass of the plain kernel is twice as fast as the fused one at these sizes."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


class _FilmStage:
    """What the two stages share: films, text, and the packed forward pass."""

    def __init__(self, size: Size, autoencoder: TinyVideoAutoencoder, device: torch.device) -> None:
        self.size, self.device = size, device
        self.tokenizer = build_tokenizer()
        self.nets = nn.ModuleDict(
            {
                "transformer": CausalWanTransformer3DModel(**size.transformer_config()),
                "text_encoder": build_text_encoder(len(self.tokenizer)),
            }
        ).to(device)
        self._pool = FilmPool(size, autoencoder, self.tokenizer)

    @property
    def model(self) -> nn.Module:
        return self.nets

    def batch(self, seed: int) -> LatentFilm:
        return self._pool.batch(seed, self.size.films)

    def text(self, nets: nn.ModuleDict, films: LatentFilm, dropped_R: Tensor | None = None) -> Tensor:
        text = embed(nets["text_encoder"], films.tokens.to(self.device), films.mask.to(self.device))
        return text if dropped_R is None else text.masked_fill(dropped_R[:, None, None], 0.0)

    def flow(
        self,
        nets: nn.ModuleDict,
        clean: Tensor,
        noisy: Tensor,
        sigma_R: Tensor,
        text: Tensor,
        pins: Keyframes | None = None,
    ) -> Tensor:
        """The predicted flow of the noisy rows, each seeing clean history and, where there are any, pinned pictures;
        `noisy` may hold several copies of the films."""
        films, copies = len(clean) // FILM_CHUNKS, len(noisy) // len(clean)
        memory = PINNED_MEMORY if pins is not None else MEMORY
        times = torch.cat([torch.zeros(len(clean), device=self.device), sigma_R * 1000])
        transformer: Any = nets["transformer"]
        with torch.autocast(self.device.type, torch.bfloat16), _attention_kernel(self.device):
            context = transformer.remember([pins], text) if pins is not None else None
            packed = Packed(memory, films, FILM_CHUNKS, CHUNK_LATENTS, copies, context)
            out: Tensor = transformer(torch.cat([clean, noisy]), times, text.repeat(1 + copies, 1, 1), packed)
        return out[len(clean) :].float()

    def pins(self, films: LatentFilm) -> Keyframes:
        """The pinned pictures, noised so that they are looked at and not copied (FilmWeaver's training strategy)."""
        timestep = int(torch.randint(0, PIN_NOISE, ()))
        clean = films.pins.to(self.device)
        noisy = torch.lerp(clean, torch.randn_like(clean), timestep / 1000)
        first = PINNED_MEMORY.starts(CHUNK_LATENTS)["shots"]
        return Keyframes(noisy, 1, tuple(range(first, first + clean.shape[2])), timestep)

    def weight(self, films: LatentFilm) -> Tensor:
        weight = 1.0 + PUPPET_WEIGHT * films.puppets.to(self.device)
        return weight / weight.mean()

    def after_step(self, ema: nn.Module) -> None:
        pass

    def save(self, ema: nn.Module, folder: Path) -> None:
        nets: Any = ema
        nets["transformer"].save_pretrained(folder / "transformer")
        nets["text_encoder"].save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")

    def load(self, folder: Path) -> None:
        """Starts from weights that `save` wrote."""
        from transformers import UMT5EncoderModel

        transformer = CausalWanTransformer3DModel.from_pretrained(folder / "transformer", low_cpu_mem_usage=False)
        self.nets["transformer"].load_state_dict(transformer.float().state_dict())
        encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder")
        self.nets["text_encoder"].load_state_dict(encoder.float().state_dict())


class BaseStage(_FilmStage):
    """Flow matching with one timestep per chunk."""

    name = "base"
    learning_rate = 1.2e-3

    def loss(self, films: LatentFilm, progress: float) -> dict[str, Tensor]:
        clean = films.latents.to(self.device)
        target = clean.repeat(NOISY_COPIES, 1, 1, 1, 1)
        u = torch.rand(len(target), device=self.device)
        shift = SHIFT + (FINAL_SHIFT - SHIFT) * progress  # layout first, detail later
        sigma = shift * u / (1 + (shift - 1) * u)
        noise = torch.randn_like(target)
        dropped = torch.rand(len(clean), device=self.device) < PROMPT_DROPOUT
        pins = None
        if float(torch.rand(())) < PINNED_SHARE:
            films = replace(films, tokens=films.pinned_tokens, mask=films.pinned_mask)
            pins = self.pins(films)
        text = self.text(self.nets, films, dropped)
        flow = self.flow(self.nets, clean, add_noise(target, noise, sigma), sigma, text, pins)
        error = (flow - (noise - target)).square()
        weight = self.weight(films).repeat(NOISY_COPIES, 1, 1, 1, 1)
        return {"loss": (weight * error).mean(), "plain": error.mean()}


class StudentStage(_FilmStage):
    """Causal consistency distillation (Causal-Forcing++): the teacher takes one guided Euler step on a grid of 48, the
    student must predict from both ends the same clean chunk."""

    name = "student"
    learning_rate = 3e-4
    guidance = 2.0

    def __init__(self, size: Size, autoencoder: TinyVideoAutoencoder, device: torch.device, base: Path) -> None:
        super().__init__(size, autoencoder, device)
        self.load(base)
        self.teacher = copy.deepcopy(self.nets).requires_grad_(False)
        self.target = copy.deepcopy(self.teacher)

    def after_step(self, ema: nn.Module) -> None:
        with torch.no_grad():
            for mine, theirs in zip(self.target.parameters(), self.nets.parameters(), strict=True):
                mine.lerp_(theirs, 0.05)

    def loss(self, films: LatentFilm, progress: float) -> dict[str, Tensor]:
        clean = films.latents.to(self.device)
        rows = len(clean)
        index = torch.randint(0, CONSISTENCY_GRID, (rows,), device=self.device)
        levels = [(1 - (index + d) / CONSISTENCY_GRID).clamp(min=0.0) for d in (0, 1)]
        high, low = (SHIFT * t / (1 + (SHIFT - 1) * t) for t in levels)
        noisy = add_noise(clean, torch.randn_like(clean), high)
        spread = (slice(None), None, None, None, None)
        with torch.no_grad():
            text = self.text(self.teacher, films)
            told = self.flow(self.teacher, clean, noisy, high, text)
            untold = self.flow(self.teacher, clean, noisy, high, torch.zeros_like(text))
            guided = untold + self.guidance * (told - untold)
            nearer = noisy + (low - high)[spread] * guided
            target_text = self.text(self.target, films)
            goal = nearer - low[spread] * self.flow(self.target, clean, nearer, low, target_text)
        mine = noisy - high[spread] * self.flow(self.nets, clean, noisy, high, self.text(self.nets, films))
        error = (mine - goal).square()
        return {"loss": (self.weight(films) * error).mean(), "plain": error.mean()}
