"""Builds the stages of a recipe with what lies in the run's folder, and collects what they made into a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.bundle import Bundle, load_bundle, load_transformer
from ..generator.loading import load_part
from ..generator.text import build_text_encoder, build_tokenizer
from ..generator.transformer import CausalWanTransformer3DModel
from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.seeds import SeedVersion, stable_seed
from . import checkpoint
from .autoencoder import AutoencoderStage, load_autoencoder
from .clip import ClipStage
from .clips import ClipFolder
from .decoder import DecoderStage
from .distillation import ConsistencyStage, OdeStage, ProgressiveStage
from .distribution import DistributionStage
from .film_stage import FilmStage, Workshop
from .films import FilmStream
from .growth import enlarge, grow, shared_rows, words_of
from .labels import label_head
from .lora import LoraStage
from .one_network import Share
from .painters import ALONE, Painters
from .parallel import World, hollow
from .reader import ReaderStage
from .recipe import Recipe
from .result import write_bundle
from .run_folder import Order, RunFolder
from .settings import (
    AutoencoderSettings,
    ClipSettings,
    ConsistencySettings,
    DecoderSettings,
    DistributionSettings,
    FilmSettings,
    LoraSettings,
    OdeSettings,
    ProgressiveSettings,
    ReaderSettings,
    StageSettings,
    TaughtSettings,
    TextSettings,
    TuningSettings,
)
from .small_world import SmallWorld
from .text import TextStage
from .tuning import TuningStage

MOST_FILMS = 500_000_000
"""Of the train split where a stage may begin: every stage of every seed has films of its own."""


class Shop:
    """Builds stages with what lies in the run's folder, and the bundle in the end."""

    def __init__(self, recipe: Recipe, order: Order, world: World, painters: Painters = ALONE) -> None:
        self.recipe, self.run, self.world, self.seed = recipe, RunFolder(recipe, order), world, order.seed
        self._painters = painters
        self.device, self.share = world.device, Share(order.seed, world.rank, world.ranks)
        self.size, self.known = self.run.size, self.run.known
        self.bundle: Bundle | None = None
        if self.size is None:
            assert self.run.start is not None
            self.bundle = load_bundle(self.run.start, self.device, hollow=True)

    def write_bundle(self) -> Path:
        """Collects the result into `FOLDER/model`."""
        return write_bundle(self.run, self.bundle, self.device)

    def stage(self, settings: StageSettings) -> Any:
        """A stage ready to run, its inputs loaded."""
        if isinstance(settings, AutoencoderSettings):
            assert self.size is not None
            stage = AutoencoderStage(settings, self.size, self.device, self.share, self._painters)
            found = self.run.part("vae")
            if found is not None:
                stage.go_on_from(
                    load_autoencoder(found, self.device),
                    keep_latents=settings.keep_latents and self.run.started("vae") is not None,
                )
            return stage
        if isinstance(settings, TextSettings):
            reading, trained = TextStage(settings, self.known, self.device, self.share), self.run.read_by(None)
            if trained is not None:
                reading.go_on_from(self._text_encoder(trained))
            return reading
        if isinstance(settings, ClipSettings):
            assert self.size is not None
            seeing, clip = (
                ClipStage(settings, self.size, self._autoencoder(settings.name), self.device, self.share),
                self.run.part("clip"),
            )
            if clip is not None:
                seeing.go_on_from(clip, words_of(self.run.tokenizer(clip.parent)))
            return seeing
        if isinstance(settings, ReaderSettings):
            assert self.size is not None
            looking = ReaderStage(settings, self.size, self._autoencoder(settings.name), self.device, self.share)
            reader = self.run.part("reader")
            if reader is not None:
                looking.go_on_from(reader)
            return looking
        assert isinstance(settings, FilmSettings)
        return self._film_stage(settings)

    def _film_stage(self, settings: FilmSettings) -> FilmStage:
        workshop = self._workshop(settings)
        if isinstance(settings, LoraSettings):
            return LoraStage(settings, workshop)
        if isinstance(settings, TuningSettings):
            return TuningStage(settings, workshop, self._stills(settings, workshop))
        assert isinstance(settings, TaughtSettings)
        if isinstance(settings, DecoderSettings):
            world = self._small_world(settings, workshop.length, labelled=False)
            return DecoderStage(settings, workshop, self._autoencoder(settings.name), world.frames)
        teacher = self._networks(self.run.teacher(settings), settings.name)
        if isinstance(settings, ProgressiveSettings):
            return ProgressiveStage(settings, workshop, teacher)
        if isinstance(settings, ConsistencySettings):
            return ConsistencyStage(settings, workshop, teacher)
        if isinstance(settings, OdeSettings):
            return OdeStage(settings, workshop, teacher)
        assert isinstance(settings, DistributionSettings)
        return DistributionStage(settings, workshop, teacher)

    def _workshop(self, settings: FilmSettings) -> Workshop:
        own = settings.name if self.run.exported(settings.name) else None  # of a run whose checkpoint stayed elsewhere
        begun = own or self.run.origin(settings)
        networks = self._networks(begun, settings.name)
        asks = isinstance(settings, TuningSettings) and settings.label_guide > 0
        if asks:
            width: int = networks["transformer"].proj_out.in_features  # type: ignore[union-attr, assignment]
            networks["labels"] = label_head(self.run.folder / begun if begun else None, width).to(self.device)
        if self.size is not None:
            tokenizer, embed = build_tokenizer(self.known), None
        else:
            assert self.bundle is not None
            tokenizer, embed = None, self.bundle.text
        length = settings.chunk_latents or self.recipe.chunk_latents
        stream = self._stream(settings, length, asks, self._seed_version(settings))
        return Workshop(
            networks, tokenizer, embed, stream, length, self._tokens(networks) * length, self.device,
            self.world.rank, self.world.ranks,
        )  # fmt: skip

    def _stills(self, settings: TuningSettings, workshop: Workshop) -> TuningStage | None:
        """What trains the same networks in steps of stills."""
        if not settings.stills:
            return None
        still = settings.of_stills(workshop.length)
        stream = self._stream(still, 1, still.label_guide > 0, self._seed_version(settings))
        tokens = workshop.tokens // workshop.length
        return TuningStage(still, replace(workshop, stream=stream, length=1, tokens=tokens))

    def _seed_version(self, settings: FilmSettings) -> SeedVersion:
        return checkpoint.seed_version(self.run.folder / settings.name)

    def _stream(self, settings: FilmSettings, length: int, labelled: bool, version: SeedVersion) -> FilmStream:
        """The films that a stage sees."""
        begin = stable_seed(self.seed, settings.name, version=version) % MOST_FILMS
        if self.size is None:
            clips = self._clips(settings, length)
            return FilmStream(clips.film, seed=self.seed, begin=begin, count=len(clips), version=version)
        world = self._small_world(settings, length, labelled)
        return FilmStream(world.film, seed=self.seed, begin=begin, times=settings.times, version=version)

    def _small_world(self, settings: FilmSettings, length: int, labelled: bool) -> SmallWorld:
        assert self.size is not None
        return SmallWorld(
            self.size, self._autoencoder(settings.name), chunks=settings.chunks, length=length, known=self.known,
            habits=settings.habits(), labelled=labelled, pictured=any(memory.shots for memory in settings.policies()),
            painters=self._painters,
        )  # fmt: skip

    def _tokens(self, networks: nn.ModuleDict) -> int:
        """Of a latent frame."""
        latent = self.size.latent if self.size else self.bundle.latent_size  # type: ignore[union-attr]
        transformer: Any = networks["transformer"]
        rows, columns = transformer.grid(*latent)
        return int(rows * columns)

    def _clips(self, settings: FilmSettings, length: int) -> ClipFolder:
        assert self.bundle is not None
        if self.recipe.data is None:
            raise InputError(
                f"recipe {self.recipe.name} trains on clips: name their folder, as in 'filmwright train {self.recipe.name} DATA'"
            )
        return ClipFolder(Path(self.recipe.data), self.bundle, chunks=settings.chunks, length=length)

    def _networks(self, stage: str | None, needed_by: str) -> nn.ModuleDict:
        """Transformer and text encoder of a stage that has run, else of the start, else new ones."""
        if stage is not None:
            where = self.run.folder / stage
            if not self.run.exported(stage):
                raise FilmwrightError(
                    f"stage {needed_by} needs the weights of stage {stage} in {where}: run that first"
                )
        elif (start := self.run.started("transformer")) is not None:
            where = start
        elif isinstance(self.recipe.stage(needed_by), TaughtSettings):
            raise FilmwrightError(
                f"stage {needed_by} needs a tuned model in {self.run.folder}: run the earlier stages first"
            )
        else:
            assert self.size is not None
            with hollow(self.world):
                fresh = CausalWanTransformer3DModel(**self.size.transformer_config())
            return nn.ModuleDict({"transformer": fresh, "text_encoder": self._text_encoder(self.run.read_by(None))})
        transformer: nn.Module = load_transformer(where / "transformer", hollow=self.world.rank > 0)
        if self.size is not None:
            transformer = enlarge(transformer, self.size.layers, self.size.ffn)
        networks = nn.ModuleDict({"transformer": transformer.float().train()})
        if self.bundle is None:
            networks["text_encoder"] = self._text_encoder(self.run.read_by(where))
        return networks

    def _text_encoder(self, where: Path | None) -> nn.Module:
        """The text encoder there, in the words of the recipe; a new one where there is none."""
        from transformers import UMT5EncoderModel

        tokenizer = build_tokenizer(self.known)
        encoder: nn.Module = build_text_encoder(len(tokenizer))
        if where is not None:
            trained = load_part(UMT5EncoderModel, where / "text_encoder")
            words = words_of(self.run.tokenizer(where)), words_of(tokenizer)
            grow(encoder, trained.state_dict(), lambda name: shared_rows(words[1], words[0]))
        return encoder.float().train()

    def _autoencoder(self, needed_by: str) -> TinyVideoAutoencoder:
        path = self.run.part("vae")
        if path is None:
            raise FilmwrightError(f"stage {needed_by} needs an autoencoder in {self.run.folder}: run that stage first")
        return load_autoencoder(path, self.device)
