"""A recipe: which stages train a model, in which order, each with its own typed settings. Read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ..generator.memory import parse_memory
from ..storyboard.errors import InputError, reason_of
from ..storyboard.vocabulary import FULL, Vocabulary
from ..storyboard.yaml_files import read_yaml_file
from .settings import (
    MAKES,
    AutoencoderSettings,
    ClipSettings,
    ConsistencySettings,
    DecoderSettings,
    DistributionSettings,
    FilmSettings,
    LoraSettings,
    Name,
    OdeSettings,
    ProgressiveSettings,
    ReaderSettings,
    Settings,
    TextSettings,
    TuningSettings,
)
from .sizes import SIZES

RECIPES = Path(__file__).parent / "recipes"

SMALL_WORLD_ONLY = (AutoencoderSettings, TextSettings, ClipSettings, ReaderSettings, DecoderSettings)
Stage = Annotated[
    AutoencoderSettings | TextSettings | TuningSettings | ProgressiveSettings | ConsistencySettings | OdeSettings
    | DistributionSettings | LoraSettings | ClipSettings | ReaderSettings | DecoderSettings,
    Field(discriminator="kind"),
]  # fmt: skip


FEWEST_WORDS = {
    "kinds": 3, "hues": 5, "patterns": 1, "sets": 2, "times": 1, "views": 1, "actions": 1, "movements": 3, "facings": 2,
}  # fmt: skip
"""What a film of the small world is drawn from."""


class Recipe(Settings):
    """A whole recipe.

    Attributes:
        size: a size of ours, trained in the small world.
        weights: a folder of weights (or a bundled name) to go on from; with a size, where it has no bundled weights of its own: those of a
            smaller picture, say.
        data: a folder of clips to train on; the small world when left out.
        words: that the transformer is told, and its films drawn in; all of the small world's when left out. What sees (clip,
            reader) is trained on the whole world always.
        chunk_latents: latent frames of a chunk.
        memory: default memory of the result.
        result: the stage whose weights are bundled, or several, the mean of whose weights is (a model soup; sampled as the last of
            them); the last of the transformer's that has run when left out.
    """

    name: Name
    size: str | None = None
    weights: str | None = None
    data: str | None = None
    words: tuple[str, ...] | None = None
    chunk_latents: int = Field(default=3, ge=1, le=32)
    memory: str | None = None
    result: Annotated[
        tuple[Name, ...], BeforeValidator(lambda named: (named,) if isinstance(named, str) else named or ())
    ] = ()
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.size is None and self.weights is None:
            raise ValueError("give size (of ours), or weights (a folder to go on from)")
        if self.size is not None and self.size not in SIZES:
            raise ValueError(f"size {self.size!r} is unknown: choose one of {', '.join(SIZES)}")
        if self.words is not None:
            self._enough_words(Vocabulary.of(self.words))
        seen: dict[str, Any] = {}
        for stage in self.stages:
            if stage.name in seen:
                raise ValueError(f"stage name {stage.name!r} is used twice")
            if self.size is None and isinstance(stage, SMALL_WORLD_ONLY):
                raise ValueError(
                    f"stage {stage.name}: {stage.kind} trains in the small world alone; give size instead of weights"
                )
            if self.size is None and isinstance(stage, TuningSettings):
                for guide in ("routing_guide", "label_guide"):
                    if getattr(stage, guide):
                        raise ValueError(
                            f"stage {stage.name}: {guide} needs to know who is in a shot, which clips do not tell; leave it out"
                        )
            if self.data is not None and isinstance(stage, SMALL_WORLD_ONLY):
                raise ValueError(f"stage {stage.name}: {stage.kind} trains in the small world alone; leave data out")
            if isinstance(stage, TextSettings) and any(isinstance(earlier, FilmSettings) for earlier in seen.values()):
                raise ValueError(
                    f"stage {stage.name}: text comes before the stages of the transformer, which goes by it"
                )
            if isinstance(stage, FilmSettings):
                length = stage.chunk_latents or self.chunk_latents
                for memory in stage.policies():
                    if memory.chunk not in (None, length):
                        raise ValueError(
                            f"stage {stage.name}: memory {memory} has other chunks than chunk_latents {length}"
                        )
                for role in ("start", "teacher"):
                    wanted = getattr(stage, role, None)
                    if wanted is not None and (wanted not in seen or seen[wanted].kind in MAKES):
                        raise ValueError(
                            f"stage {stage.name}: {role} {wanted!r} is no earlier stage of the transformer"
                        )
            seen[stage.name] = stage
        if self.memory is not None:
            parse_memory(self.memory)
        elif self.size is not None:
            raise ValueError("memory: name the default memory of the result, such as window(3)")
        for name in self.result:
            if name not in seen or seen[name].kind in MAKES:
                raise ValueError(f"result {name!r} is no stage of the transformer")
        return self

    def _enough_words(self, known: Vocabulary) -> None:
        if self.size is None:
            raise ValueError("words are of the small world; give size instead of weights")
        unknown = sorted(set(self.words or ()) - set(FULL.words()))
        if unknown:
            raise ValueError(f"words: {', '.join(unknown[:5])} are no words of the small world")
        for name, least in FEWEST_WORDS.items():
            if len(getattr(known, name)) < least:
                raise ValueError(f"words: films need at least {least} {name}")

    def on(self, *, weights: str | None, data: Path | None) -> Recipe:
        """The recipe on other weights and data.

        Raises:
            InputError: it trains a size of ours, which starts from its own, in the small world.
        """
        given: dict[str, str] = {}
        if weights is not None:
            given["weights"] = weights
        if data is not None:
            given["data"] = str(data)
        if given and self.size is not None:
            raise InputError(
                f"recipe {self.name} trains {self.size} in the small world: it takes no "
                f"{' and no '.join(given)}; use 'lora', or a recipe with weights"
            )
        return self.model_copy(update=given)

    def stage(self, name: str) -> Any:
        """The settings of a stage.

        Raises:
            InputError: there is none of that name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise InputError(f"--stage {name!r} is unknown: choose one of {', '.join(s.name for s in self.stages)}")


def bundled_recipes() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(wanted: str) -> Recipe:
    """A bundled recipe by name, or one from a YAML file.

    Raises:
        InputError: there is none, or it does not hold; the message names every wrong value.
    """
    path = RECIPES / f"{wanted}.yaml"
    if not path.is_file():
        path = Path(wanted)
        if path.suffix not in (".yaml", ".yml"):
            raise InputError(f"recipe {wanted!r} is unknown: choose {', '.join(bundled_recipes())}, or a .yaml file")
        if not path.is_file():
            raise InputError(f"recipe {path} does not exist")
    data = read_yaml_file(path)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise InputError(f"recipe {path}: " + "; ".join(_said(e) for e in error.errors())) from error


def _said(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {reason_of(error)}" if where else reason_of(error)
