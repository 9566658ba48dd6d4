"""A run's folder: what its stages have made, and what they begin with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..generator.loading import load_tokenizer
from ..generator.profiles import BUNDLED, part_folder, weights_folder
from ..storyboard.errors import InputError
from ..storyboard.vocabulary import FULL, Vocabulary
from .recipe import Recipe
from .settings import MAKES, FilmSettings, TaughtSettings, TextSettings
from .sizes import SIZES, Size


@dataclass(frozen=True)
class Order:
    """What to do with a recipe.

    Attributes:
        minutes: shared out over the stages; those with `steps` take what they take.
        steps: of every stage, instead of minutes.
        stage: one stage alone, for all of the minutes.
        painters: processes that draw the small world beside the one that trains; as many as are worth their while when None.
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
    painters: int | None = None


class RunFolder:
    """Where the parts of a model lie for a recipe: with a stage that has run, else with the weights it starts from.

    Attributes:
        size: of ours, None when the recipe trains others' weights.
        known: the words of the recipe.
        own: the bundled weights of the size, where the run starts from them; `start` these, or the recipe's.
        anew: parts that are made from nothing.
        alone: the one stage of the transformer that is asked for.

    Raises:
        InputError: the recipe's weights are none of ours.
    """

    def __init__(self, recipe: Recipe, order: Order) -> None:
        self.recipe, self.folder = recipe, order.folder
        self.size: Size | None = SIZES[recipe.size] if recipe.size else None
        self.known = Vocabulary.of(recipe.words) if recipe.words else FULL
        begun = recipe.weights is not None
        self.own = self._bundled() if not (order.scratch and begun) else None
        self.start = self.own or (weights_folder(recipe.weights) if recipe.weights is not None else None)
        trained = [recipe.stage(order.stage)] if order.stage else recipe.stages
        makes_film = order.stage is not None and recipe.stage(order.stage).kind not in MAKES
        self.alone = order.stage if makes_film else None  # who trains one stage wants to see what became of it
        self.anew = (
            {MAKES.get(stage.kind, "transformer") for stage in trained} if order.scratch and not begun else set()
        )
        if self.size is not None and self.start is not None and not (self.start / "profile.json").is_file():
            raise InputError(
                f"recipe {recipe.name}: weights {recipe.weights} is no folder of weights of ours (no profile.json)"
            )

    def _bundled(self) -> Path | None:
        """The bundled weights of the size."""
        folder = BUNDLED / self.size.name if self.size else None
        return folder if folder and (folder / "profile.json").is_file() else None

    def started(self, part: str) -> Path | None:
        """Where the start has a part, unless that is to be made from nothing."""
        return self.start if part not in self.anew else None

    def exported(self, stage: str) -> bool:
        return (self.folder / stage / "transformer" / "config.json").is_file()

    def origin(self, settings: FilmSettings) -> str | None:
        """The stage whose weights a stage begins with: the one it names, else the newest before it that has run."""
        if settings.start is not None:
            return settings.start
        names = [stage.name for stage in self.recipe.stages]
        done = [name for name in names[: names.index(settings.name)] if self.exported(name)]
        return done[-1] if done else None

    def teacher(self, settings: TaughtSettings) -> str | None:
        """The stage that teaches: the one it names, else where the chain of students that it goes on from began."""
        if settings.teacher is not None:
            return settings.teacher
        name = self.origin(settings)
        while name is not None and isinstance(before := self.recipe.stage(name), TaughtSettings):
            name = self.origin(before)
        return name

    def read_by(self, transformer: Path | None) -> Path | None:
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
        return self.started("text_encoder")

    @staticmethod
    def tokenizer(where: Path) -> Any:
        return load_tokenizer(where / "tokenizer")

    def part(self, part: str) -> Path | None:
        """The newest of a part that a stage of this run has made, else the start's."""
        for stage in reversed(self.recipe.stages):
            if (self.folder / stage.name / part / "config.json").is_file():
                return self.folder / stage.name / part
        start = self.started(part)
        found = part_folder(start, part) if start is not None else None
        return found if found is not None and (found / "config.json").is_file() else None
