"""Builds the stages of a recipe with what lies in the run's folder, and collects what they made into a bundle."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.bundle import BUNDLED, Bundle, load_bundle, load_transformer, part_folder, weights_folder
from ..generator.clip import load_clip
from ..generator.text import TEXT_TOKENS, build_text_encoder, build_tokenizer
from ..generator.transformer import CausalWanTransformer3DModel
from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.seeds import stable_seed
from ..storyboard.vocabulary import FULL, Vocabulary
from .autoencoder import AutoencoderStage
from .clip import ClipStage, grown_clip, measure_prompt_floor
from .clips import ClipFolder
from .distillation import ConsistencyStage, OdeStage, ProgressiveStage
from .distribution import DistributionStage
from .film_stage import FilmStage, Workshop
from .films import FilmStream
from .growth import grow, shared_rows, words_of
from .labels import label_head
from .lora import LoraStage
from .one_network import Share
from .parallel import World, hollow
from .reader import ReaderStage
from .recipe import Recipe
from .settings import (
    AutoencoderSettings,
    ClipSettings,
    ConsistencySettings,
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
from .sizes import SIZES, Size
from .small_world import SmallWorld
from .text import TextStage
from .tuning import TuningStage
from .world import FPS


@dataclass(frozen=True)
class Order:
    """What to do with a recipe.

    Attributes:
        minutes: shared out over the stages; those with `steps` take what they take.
        steps: of every stage, instead of minutes.
        stage: one stage alone, for all of the minutes.
        scratch: whether what is trained starts from nothing (from the recipe's `weights`, where it names some) instead of from the bundled
            weights of the size.
    """

    folder: Path
    device: str = "auto"
    minutes: float = 60.0
    steps: int | None = None
    stage: str | None = None
    seed: int = 0
    scratch: bool = False


def load_autoencoder(path: Path, device: torch.device) -> TinyVideoAutoencoder:
    loaded = TinyVideoAutoencoder.from_pretrained(path, use_safetensors=True, low_cpu_mem_usage=False)
    ready: TinyVideoAutoencoder = loaded.float().eval().requires_grad_(False).to(device)
    return ready


MAKES = {"autoencoder": "vae", "text": "text_encoder", "clip": "clip", "reader": "reader"}
"""The part of a bundle that a kind of stage makes; all others make the transformer."""
MOST_FILMS = 500_000_000
"""Of the train split where a stage may begin: every stage of every seed has films of its own."""


class Shop:
    """Builds stages with what lies in the run's folder, and the bundle in the end."""

    def __init__(self, recipe: Recipe, order: Order, world: World) -> None:
        self.recipe, self.folder, self.world, self.seed = recipe, order.folder, world, order.seed
        self.device, self.share = world.device, Share(order.seed, world.rank, world.ranks)
        self.size: Size | None = SIZES[recipe.size] if recipe.size else None
        self.known = Vocabulary.of(recipe.words) if recipe.words else FULL
        begun = recipe.weights is not None
        self.own = self._bundled() if not (order.scratch and begun) else None
        self.start = self.own or (weights_folder(recipe.weights) if recipe.weights is not None else None)
        trained = [recipe.stage(order.stage)] if order.stage else recipe.stages
        makes_film = order.stage is not None and isinstance(recipe.stage(order.stage), FilmSettings)
        self.alone = order.stage if makes_film else None  # who trains one stage wants to see what became of it
        self.anew = (
            {MAKES.get(stage.kind, "transformer") for stage in trained} if order.scratch and not begun else set()
        )
        self.bundle: Bundle | None = None
        if self.size is not None and self.start is not None and not (self.start / "profile.json").is_file():
            raise InputError(
                f"recipe {recipe.name}: weights {recipe.weights} is no folder of weights of ours (no profile.json)"
            )
        if self.size is None:
            assert self.start is not None
            self.bundle = load_bundle(self.start, self.device, hollow=True)

    def _bundled(self) -> Path | None:
        """The bundled weights of the size."""
        folder = BUNDLED / self.size.name if self.size else None
        return folder if folder and (folder / "profile.json").is_file() else None

    def _started(self, part: str) -> Path | None:
        """Where the start has a part, unless that is to be made from nothing."""
        return self.start if part not in self.anew else None

    def stage(self, settings: StageSettings) -> Any:
        """A stage ready to run, its inputs loaded."""
        if isinstance(settings, AutoencoderSettings):
            assert self.size is not None
            stage = AutoencoderStage(settings, self.size, self.device, self.share)
            found = self._part("vae")
            if found is not None:
                stage.go_on_from(
                    load_autoencoder(found, self.device),
                    keep_latents=settings.keep_latents and self._started("vae") is not None,
                )
            return stage
        if isinstance(settings, TextSettings):
            reading, trained = TextStage(settings, self.known, self.device, self.share), self._read_by(None)
            if trained is not None:
                reading.go_on_from(self._text_encoder(trained))
            return reading
        if isinstance(settings, ClipSettings):
            assert self.size is not None
            seeing, clip = (
                ClipStage(settings, self.size, self._autoencoder(settings.name), self.device, self.share),
                self._part("clip"),
            )
            if clip is not None:
                seeing.go_on_from(clip, words_of(self._tokenizer(clip.parent)))
            return seeing
        if isinstance(settings, ReaderSettings):
            assert self.size is not None
            looking = ReaderStage(settings, self.size, self._autoencoder(settings.name), self.device, self.share)
            reader = self._part("reader")
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
            return TuningStage(settings, workshop)
        assert isinstance(settings, TaughtSettings)
        teacher = self._networks(self._teacher(settings), settings.name)
        if isinstance(settings, ProgressiveSettings):
            return ProgressiveStage(settings, workshop, teacher)
        if isinstance(settings, ConsistencySettings):
            return ConsistencyStage(settings, workshop, teacher)
        if isinstance(settings, OdeSettings):
            return OdeStage(settings, workshop, teacher)
        assert isinstance(settings, DistributionSettings)
        return DistributionStage(settings, workshop, teacher)

    def _workshop(self, settings: FilmSettings) -> Workshop:
        own = settings.name if self._exported(settings.name) else None  # of a run whose checkpoint stayed elsewhere
        begun = own or self._origin(settings)
        networks = self._networks(begun, settings.name)
        asks = isinstance(settings, TuningSettings) and settings.label_guide > 0
        if asks:
            width: int = networks["transformer"].proj_out.in_features  # type: ignore[union-attr, assignment]
            networks["labels"] = label_head(self.folder / begun if begun else None, width).to(self.device)
        source: SmallWorld | ClipFolder
        length = settings.chunk_latents or self.recipe.chunk_latents
        if self.size is not None:
            source = SmallWorld(
                self.size, self._autoencoder(settings.name), chunks=settings.chunks, length=length, known=self.known,
                habits=settings.habits(), labelled=asks, pictured=any(memory.shots for memory in settings.policies()),
            )  # fmt: skip
            tokenizer, embed, count = build_tokenizer(self.known), None, None
        else:
            assert self.bundle is not None
            source = self._clips(settings, length)
            tokenizer, embed, count = None, self.bundle.text, len(source)
        begin = stable_seed(self.seed, settings.name) % MOST_FILMS
        stream = FilmStream(source.film, seed=self.seed, begin=begin, count=count)
        return Workshop(
            networks, tokenizer, embed, stream, length, self._tokens(networks) * length, self.device,
            self.world.rank, self.world.ranks,
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

    def _exported(self, stage: str) -> bool:
        return (self.folder / stage / "transformer" / "config.json").is_file()

    def _origin(self, settings: FilmSettings) -> str | None:
        """The stage whose weights a stage begins with: the one it names, else the newest before it that has run."""
        if settings.start is not None:
            return settings.start
        names = [stage.name for stage in self.recipe.stages]
        done = [name for name in names[: names.index(settings.name)] if self._exported(name)]
        return done[-1] if done else None

    def _teacher(self, settings: TaughtSettings) -> str | None:
        """The stage that teaches: the one it names, else where the chain of students that it goes on from began."""
        if settings.teacher is not None:
            return settings.teacher
        name = self._origin(settings)
        while name is not None and isinstance(before := self.recipe.stage(name), TaughtSettings):
            name = self._origin(before)
        return name

    def _networks(self, stage: str | None, needed_by: str) -> nn.ModuleDict:
        """Transformer and text encoder of a stage that has run, else of the start, else new ones."""
        if stage is not None:
            where = self.folder / stage
            if not self._exported(stage):
                raise FilmwrightError(
                    f"stage {needed_by} needs the weights of stage {stage} in {where}: run that first"
                )
        elif (start := self._started("transformer")) is not None:
            where = start
        elif isinstance(self.recipe.stage(needed_by), TaughtSettings):
            raise FilmwrightError(
                f"stage {needed_by} needs a tuned model in {self.folder}: run the earlier stages first"
            )
        else:
            assert self.size is not None
            with hollow(self.world):
                fresh = CausalWanTransformer3DModel(**self.size.transformer_config())
            return nn.ModuleDict({"transformer": fresh, "text_encoder": self._text_encoder(self._read_by(None))})
        transformer: nn.Module = load_transformer(where / "transformer", hollow=self.world.rank > 0)
        networks = nn.ModuleDict({"transformer": transformer.float().train()})
        if self.bundle is None:
            networks["text_encoder"] = self._text_encoder(self._read_by(where))
        return networks

    def _read_by(self, transformer: Path | None) -> Path | None:
        """Where the text encoder of a transformer lies: beside it, where a stage of this run made both; else with the stage
        that made the text encoder alone, else with the start."""
        if transformer is not None and transformer.parent == self.folder:
            return transformer
        for stage in self.recipe.stages:
            if (
                isinstance(stage, TextSettings)
                and (self.folder / stage.name / "text_encoder" / "config.json").is_file()
            ):
                return self.folder / stage.name
        return self._started("text_encoder")

    def _text_encoder(self, where: Path | None) -> nn.Module:
        """The text encoder there, in the words of the recipe; a new one where there is none."""
        from transformers import UMT5EncoderModel

        tokenizer = build_tokenizer(self.known)
        encoder: nn.Module = build_text_encoder(len(tokenizer))
        if where is not None:
            trained = UMT5EncoderModel.from_pretrained(
                where / "text_encoder", local_files_only=True, use_safetensors=True
            )
            words = words_of(self._tokenizer(where)), words_of(tokenizer)
            grow(encoder, trained.state_dict(), lambda name: shared_rows(words[1], words[0]))
        return encoder.float().train()

    @staticmethod
    def _tokenizer(where: Path) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(where / "tokenizer", local_files_only=True)

    def _part(self, part: str) -> Path | None:
        """The newest of a part that a stage of this run has made, else the start's."""
        for stage in reversed(self.recipe.stages):
            if (self.folder / stage.name / part / "config.json").is_file():
                return self.folder / stage.name / part
        start = self._started(part)
        found = part_folder(start, part) if start is not None else None
        return found if found is not None and (found / "config.json").is_file() else None

    def _autoencoder(self, needed_by: str) -> TinyVideoAutoencoder:
        path = self._part("vae")
        if path is None:
            raise FilmwrightError(f"stage {needed_by} needs an autoencoder in {self.folder}: run that stage first")
        return load_autoencoder(path, self.device)

    def _result(self) -> tuple[list[Path], dict[str, Any] | None]:
        """Where the transformers are whose mean is to be bundled, and how it is sampled; None when it is the start's."""
        wanted = (self.alone,) if self.alone else self.recipe.result
        made = [name for name in wanted or [stage.name for stage in self.recipe.stages] if self._exported(name)]
        if not wanted:
            made = made[-1:]  # the newest
        if made:
            return [self.folder / name for name in made], self.recipe.stage(made[-1]).sampling()
        start = self._started("transformer")
        if start is None:
            raise FilmwrightError(f"{self.folder} holds no transformer yet: run a stage that trains one")
        return [start], None

    def write_bundle(self) -> Path:
        """Collects the result into `FOLDER/model`, in bf16."""
        sources, sampling = self._result()
        target, fresh = self.folder / "model", self.folder / "model.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._write_weights(CausalWanTransformer3DModel, fresh / "transformer", [s / "transformer" for s in sources])
        profile = self._own_profile(fresh, sources) if self.size is not None else self._others_profile(fresh)
        if sampling is None:
            assert self.start is not None
            profile["sampling"] = json.loads((self.start / "profile.json").read_text(encoding="utf-8"))["sampling"]
        else:
            profile["sampling"] = sampling
        (fresh / "profile.json").write_text(json.dumps(profile, indent=1) + "\n", encoding="utf-8")
        card = self.own if self.size is not None else self.start  # that of a smaller picture is no card of a larger one
        if card is not None and not self.anew and (card / "README.md").is_file():
            shutil.copy(card / "README.md", fresh / "README.md")
        shutil.rmtree(target, ignore_errors=True)
        fresh.replace(target)
        return target

    def _write_weights(self, model: Any, target: Path, sources: list[Path]) -> None:
        """The mean of the sources' weights."""
        made = model.from_pretrained(sources[-1])
        if len(sources) > 1:
            each = [model.from_pretrained(source).state_dict() for source in sources]
            made.load_state_dict({n: torch.stack([one[n].float() for one in each]).mean(dim=0) for n in each[0]})
        made.to(torch.bfloat16).save_pretrained(target)
        config = target / "config.json"
        values = json.loads(config.read_text(encoding="utf-8"))
        values.pop("_name_or_path", None)  # where the weights lay on the machine that made them
        config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def _own_profile(self, fresh: Path, sources: list[Path]) -> dict[str, Any]:
        """The other parts of a model of ours, and its profile."""
        from transformers import UMT5EncoderModel

        from ..generator.reader import FrameReader

        assert self.size is not None
        vae = self._part("vae")
        assert vae is not None
        self._write_weights(TinyVideoAutoencoder, fresh / "vae", [vae])
        reads = [where for where in map(self._read_by, sources) if where is not None]
        self._write_weights(UMT5EncoderModel, fresh / "text_encoder", [where / "text_encoder" for where in reads])
        tokenizer = self._tokenizer(reads[-1])
        tokenizer.backend_tokenizer.no_padding()  # it keeps how it was last used
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.save_pretrained(fresh / "tokenizer")
        clip, reader = self._part("clip"), self._part("reader")
        if reader is not None:
            self._write_weights(FrameReader, fresh / "reader", [reader])
        floor = None
        if clip is not None:
            seeing = grown_clip(clip, words_of(self._tokenizer(clip.parent)), tokenizer)
            seeing.to(torch.bfloat16).save_pretrained(fresh / "clip")
            eyes = load_clip(fresh / "clip", tokenizer, TEXT_TOKENS, self.device)
            sees = load_autoencoder(fresh / "vae", self.device)
            floor = measure_prompt_floor(eyes, self.size, sees, self.known, self.device)
        return {
            "name": self.size.name, "licence": "Apache-2.0", "fps": FPS, "width": self.size.width, "height": self.size.height,
            "enlarge": self.size.enlarge, "chunk_latents": self.recipe.chunk_latents, "memory": self.recipe.memory,
            "text_tokens": TEXT_TOKENS, "prompt_floor": floor,
        }  # fmt: skip

    def _others_profile(self, fresh: Path) -> dict[str, Any]:
        """The profile of weights made of others', which lends the other parts from them."""
        assert self.bundle is not None and self.start is not None
        profile = self.bundle.profile.model_dump()
        profile |= {
            "name": f"{self.bundle.profile.name}-{self.recipe.name}", "base": os.path.relpath(self.start.resolve(), self.folder.resolve() / "model"),
            "memory": self.recipe.memory or self.bundle.profile.memory, "chunk_latents": self.recipe.chunk_latents,
        }  # fmt: skip
        return profile
