"""What all stages of the transformer share: networks, films, memories, and the packed forward pass.

Legend: `R` rows (one chunk each, film-major), `L` latent frames of a chunk, `F` hidden frames before them, `K` pictures.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..generator.attention import Past
from ..generator.contexts import Context, Keyframes
from ..generator.memory import Memory
from ..generator.packed import Noting, Packed
from ..generator.precision import arithmetic
from ..generator.text import TEXT_TOKENS, embed, tokenize
from ..generator.transformer import CausalWanTransformer3DModel, Listen
from ..storyboard.errors import InputError
from .films import Batch, Draws, FilmStream, LatentFilm
from .settings import FilmSettings, TaughtSettings, TuningSettings
from .sight import HistorySight, PagesSight, Remember, Sight

KEPT_TOKENS = 6144
"""Tokens of one copy of a step's films up to which attention weights are kept on a CPU: a step of `mini` has 4608, and takes a
quarter less time for 0.8 GB more."""
LEAST_COVERED = 0.02
"""Part of the frame from which on puppets have their whole weight: a hand at the edge is not worth a scene."""
STATE_WEIGHT = 0.25
"""The hidden state's part in teacher forcing, where it is to be the newest picture: a start for what rollouts teach it."""


@dataclass(frozen=True)
class Workshop:
    """What a stage of the transformer works with.

    Attributes:
        networks: transformer and text encoder to train, from wherever the stage starts, and the head of labels where some are asked.
        tokenizer: for a text encoder that is trained too; otherwise
        embed: gives a prompt's embedding [1, S, d], and the networks are the transformer alone.
        stream: where films come from.
        length: latent frames of a chunk.
        tokens: of a chunk.
        rank, ranks: this process among those that share the films of a step.
    """

    networks: nn.ModuleDict
    tokenizer: Any
    embed: Callable[[str], Tensor] | None
    stream: FilmStream
    length: int
    tokens: int
    device: torch.device
    rank: int = 0
    ranks: int = 1


@dataclass(frozen=True)
class Scene:
    """What a step trains on: films under one memory, with what their chunks are told and shown.

    Attributes:
        pictures: keyframes beside every row [R, c, K, h, w], noised, with their label; None where the memory has none.
        haze: the label of compressed history, and the noise on every row's chunk [R, c, L, h, w]; None where the memory has none.
    """

    memory: Memory
    films: LatentFilm
    pictures: Keyframes | None
    haze: tuple[int, Tensor] | None
    draws: Draws


class FilmStage:
    """A stage that trains a transformer on films."""

    def __init__(self, settings: FilmSettings, workshop: Workshop) -> None:
        self.settings, self.workshop, self.device = settings, workshop, workshop.device
        self.name, self.nets, self.length = settings.name, workshop.networks, workshop.length
        if settings.checkpointing:
            transformer: Any = self.nets["transformer"]
            transformer.enable_gradient_checkpointing()
        self._policies = settings.policies()
        for memory in self._policies:
            if memory.compressed and not workshop.networks["transformer"].config.history_patches:  # type: ignore[union-attr]
                raise InputError(
                    f"stage {settings.name}: memory {memory} needs weights with patchifiers for compressed history: tune them first, "
                    f"with history_patches: true"
                )
        self.keeps_attention = (
            self.device.type == "cpu" and settings.films * settings.chunks * workshop.tokens <= KEPT_TOKENS
        )

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What is trained; the first is averaged and handed on."""
        return {"networks": self.nets}

    def part(self, step: int) -> str:
        """The part that a step trains."""
        return "networks"

    def learning_rate(self, part: str) -> float:
        return self.settings.learning_rate

    def sharded(self) -> list[nn.Module]:
        """Every network whose weights are shared out over devices, trained or not."""
        return list(self.nets.values())

    def batch(self, step: int) -> Batch:
        return self.workshop.stream.batch(step, self.settings.films, self.workshop.rank, self.workshop.ranks)

    def after_step(self, part: str) -> None:
        pass

    def scene(self, batch: Batch) -> Scene:
        """Draws the memory of a step and what stands in it."""
        draws = Draws(batch, self.device)
        memory = draws.shared.choices(list(self._policies), list(self._policies.values()))[0]
        films = batch.films.on(self.device)
        haze = None
        if memory.compressed:
            label = draws.shared.randint(*self.settings.history_noise)
            haze = label, draws.normal(self.chunks(films, batch), *films.latents.shape[1:])
        if memory.shots is None:
            return Scene(memory, films, None, haze, draws)
        pictures = films.keyframes
        if draws.shared.random() < self.settings.pinned:
            pictures = films.pins
            films = replace(films, prompts=films.pinned_prompts)
        pictures = pictures[:, :, : memory.shots.keyframes]
        label = draws.shared.randint(*self.settings.picture_noise)
        first = memory.starts(self.length)["shots"]
        noisy = torch.lerp(pictures, draws.normal(self.chunks(films, batch), *pictures.shape[1:]), label / 1000)
        positions = tuple(range(first, first + pictures.shape[2]))
        return Scene(memory, films, Keyframes(noisy, 1, positions, label), haze, draws)

    @staticmethod
    def chunks(films: LatentFilm, batch: Batch) -> int:
        return len(films.latents) // len(batch.film_seeds)

    def arithmetic(self) -> torch.autocast:
        """The precision of a pass."""
        return arithmetic(self.device, self.settings.precision)

    def text(self, nets: nn.ModuleDict, films: LatentFilm, dropped_R: Tensor | None = None) -> Tensor:
        if self.workshop.embed is not None:
            text = torch.cat([self.workshop.embed(prompt) for prompt in films.prompts]).float()
        else:
            ids, mask = tokenize(self.workshop.tokenizer, list(films.prompts), TEXT_TOKENS)
            with self.arithmetic():
                text = embed(nets["text_encoder"], ids.to(self.device), mask.to(self.device)).float()
        return text if dropped_R is None else text.masked_fill(dropped_R[:, None, None], 0.0)

    @staticmethod
    def with_state(memory: Memory, latents: Tensor) -> Tensor:
        """Clean chunks with their hidden frames before them: the newest picture."""
        if memory.state is None:
            return latents
        return torch.cat([latents[:, :, -1:].expand(-1, -1, memory.state.frames, -1, -1), latents], dim=2)

    def remember(self, nets: nn.ModuleDict) -> Remember:
        """Gives keys and values of context, for one copy of the rows."""
        transformer: Any = nets["transformer"]

        def known(context: list[Keyframes], text: Tensor) -> list[Past]:
            with self.arithmetic():
                found: list[Past] = transformer.remember(context, text)
            return found

        return known

    def known(self, nets: nn.ModuleDict, scene: Scene, text: Tensor) -> list[Past] | None:
        """Keys and values of the pictures."""
        return None if scene.pictures is None else self.remember(nets)([scene.pictures], text)

    def flow(
        self,
        nets: nn.ModuleDict,
        x: Tensor,
        sigma_R: Tensor,
        text: Tensor,
        context: Context,
        listen: Listen | None = None,
    ) -> Tensor:
        """One pass, in fp32 from outside."""
        transformer: Any = nets["transformer"]
        with self.arithmetic():
            out: Tensor = transformer(x, sigma_R * 1000, text, context, listen)
        return out.float()

    def forced(
        self, nets: nn.ModuleDict, scene: Scene, clean: Tensor, noisy: Tensor, sigma_R: Tensor, text: Tensor, films: int,
        listen: Listen | None = None,
    ) -> Tensor:  # fmt: skip
        """The flow of noisy copies beside the clean rows, by teacher forcing."""
        if scene.memory.compressed:
            return self.beside_history(nets, scene, clean)(noisy, sigma_R, text)
        copies = len(noisy) // len(clean)
        packed = Packed(scene.memory, films, len(clean) // films, self.length, self.known(nets, scene, text))
        sigma = torch.cat([torch.zeros(len(clean), device=self.device), sigma_R])
        out = self.flow(nets, torch.cat([clean, noisy]), sigma, text.repeat(1 + copies, 1, 1), packed, listen)
        return out[len(clean) :]

    def sight(self, nets: nn.ModuleDict, scene: Scene, clean: Tensor, text: Tensor, films: int) -> Sight:
        """What the rows see, after one clean pass where that takes one; it serves any number of passes over noisy copies alone."""
        if scene.memory.compressed:
            return self.beside_history(nets, scene, clean)
        chunks = len(clean) // films
        context = self.known(nets, scene, text)
        noting = Noting(Packed(scene.memory, films, chunks, self.length, context))
        self.flow(nets, clean, torch.zeros(len(clean), device=self.device), text, noting)
        packed = Packed(scene.memory, films, chunks, self.length, context, noting.pages)
        return PagesSight(partial(self.flow, nets), packed)

    def beside_history(self, nets: nn.ModuleDict, scene: Scene, clean: Tensor) -> HistorySight:
        """The rows' clean chunks as history of those that follow in the shot."""
        assert scene.haze is not None
        transformer: Any = nets["transformer"]
        label, noise = scene.haze
        return HistorySight(
            partial(self.flow, nets), self.remember(nets), len(transformer.blocks), scene.memory, self.length,
            scene.pictures, torch.lerp(clean, noise, label / 1000), scene.films.place, label,
        )  # fmt: skip

    def weight(self, films: LatentFilm, state: int, matter: float | None = None) -> Tensor:
        """How much every latent pixel counts [R, 1, F + L, h, w]: 1 in the mean of every chunk's own frames; puppets as the settings
        say unless `matter` does."""
        matter = self.settings.matter if matter is None else matter
        covered = films.matter.mean(dim=(1, 2, 3, 4), keepdim=True).clamp(min=LEAST_COVERED)
        own = 1.0 + matter * films.matter / covered
        own = own / own.mean(dim=(1, 2, 3, 4), keepdim=True)
        if not state:
            return own
        return torch.cat([torch.full_like(own[:, :, :state], STATE_WEIGHT), own], dim=2)

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        """Writes averaged weights (of the first part, by name) for the next stage."""
        transformer: Any = CausalWanTransformer3DModel(**self._config())
        transformer.load_state_dict(part_of(averaged, "transformer"))
        transformer.save_pretrained(folder / "transformer")
        if "text_encoder" in self.nets:
            from transformers import UMT5EncoderModel

            trained: Any = self.nets["text_encoder"]
            encoder: Any = UMT5EncoderModel(trained.config)
            encoder.load_state_dict(part_of(averaged, "text_encoder"))
            encoder.save_pretrained(folder / "text_encoder")
            self.workshop.tokenizer.save_pretrained(folder / "tokenizer")

    def _config(self) -> dict[str, Any]:
        transformer: Any = self.nets["transformer"]
        known = inspect.signature(CausalWanTransformer3DModel.__init__).parameters  # a Wan folder's config has more
        plain = {name: value for name, value in transformer.config.items() if name in known}
        return {**plain, **self.trained()}

    def trained(self) -> dict[str, Any]:
        """What the transformer's config says of its training."""
        segments = sorted({type(s).__name__.lower() for memory in self._policies for s in memory.segments()})
        span = max(memory.span(self.length) for memory in self._policies)
        return {"trained_span": span, "trained_segments": tuple(segments)}


def part_of(state: dict[str, Tensor], network: str) -> dict[str, Tensor]:
    """The weights of one network, under its own names."""
    return {name.removeprefix(f"{network}."): v for name, v in state.items() if name.startswith(f"{network}.")}


def add_noise(clean: Tensor, noise: Tensor, sigma_R: Tensor) -> Tensor:
    sigma = spread(sigma_R)
    return (1 - sigma) * clean + sigma * noise


def guide(
    told: Tensor, untold: Tensor, sigma_R: Tensor, place_R: Tensor, settings: TuningSettings | TaughtSettings
) -> Tensor:
    """The flow that a rollout follows: away from what comes of no prompt, where it is guided (`generator.sampling.Sampling`)."""
    there = spread((sigma_R > settings.guide_above) | (place_R == 0))
    return torch.where(there, untold + settings.guidance * (told - untold), told)


def spread(x_R: Tensor) -> Tensor:
    """[R] to [R, 1, 1, 1, 1]."""
    return x_R[:, None, None, None, None]
