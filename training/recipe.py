"""A recipe: which stages train a model, in which order, each with its own typed settings. Read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..generator.memory import Memory, parse_memory
from ..storyboard.errors import InputError, reason_of
from ..storyboard.vocabulary import FULL, Vocabulary
from .sizes import SIZES
from .world import USUAL, Habits

RECIPES = Path(__file__).parent / "recipes"
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,31}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Timestep = Annotated[int, Field(ge=0, le=999)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StageSettings(_Settings):
    """What every stage has.

    Attributes:
        name: of the stage, and of its folder in the run.
        share: of the run's minutes; `steps` says exactly how long instead.
        muon: Muon for the matrices of transformer blocks, at `muon` times the learning rate; 0 for AdamW throughout.
        average: decay of the exponential average of the weights, which is what a stage hands on.
        precision: of matrix products; weights and optimiser are fp32 always.
    """

    name: Name
    share: float = Field(default=1.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(gt=0, le=1)
    warmup_steps: int = Field(default=100, ge=1)
    muon: float = Field(default=0.0, ge=0)
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    average: Fraction = 0.995
    precision: Literal["bf16", "fp32"] = "bf16"

    def examples(self) -> dict[str, int]:
        """What a step is made of: processes share each of them."""
        return {
            name: getattr(self, name)
            for name in ("clips", "captions", "frames", "shots", "films")
            if hasattr(self, name)
        }


class AutoencoderSettings(StageSettings):
    """Clips to latents and back: L1 + 2·MSE + edges, puppets weighted.

    Attributes:
        clips: of a step.
        keep_latents: whether weights that it goes on from keep their encoder, so that latents keep their meaning and no
            transformer has to learn them anew.
    """

    kind: Literal["autoencoder"]
    clips: int = Field(default=3, ge=1)
    keep_latents: bool = True


class TextSettings(StageSettings):
    """The text encoder on captions alone, before any film; `captions` of a step.

    Attributes:
        keep: how much weights that it goes on from keep of what they say, since a transformer goes by it.
    """

    kind: Literal["text"]
    captions: int = Field(default=128, ge=2)
    keep: float = Field(default=3.0, ge=0)


class ClipSettings(StageSettings):
    """The small CLIP, on single frames and their captions; `frames` of a step."""

    kind: Literal["clip"]
    frames: int = Field(default=32, ge=2)


class ReaderSettings(StageSettings):
    """The frame reader, on single frames and their truth (`frames` of a step) and on shots (`shots`) for what puppets do."""

    kind: Literal["reader"]
    frames: int = Field(default=32, ge=2)
    shots: int = Field(default=4, ge=1)


class FilmSettings(StageSettings):
    """What all stages of the transformer have.

    Attributes:
        start: the stage whose weights it goes on from; the one before when left out.
        films, chunks: films of a step, and chunks of a film.
        memories: policy -> how often it is drawn, anew for every step.
        checkpointing: whether activations of blocks are computed again in the backward pass instead of kept.
        shift: warps noise levels towards noise; it moves to `final_shift` over the stage.
        matter: what the puppets of a chunk weigh together, however small they are, against its whole frame: 1 for as much.
        picture_noise, history_noise: ranges of the timestep to which pictures and compressed history are noised, and with
            which they are labelled (FilmWeaver: 100-400 and 0-100).
        cuts, cast, forget, pairs: how films of the small world are drawn (`world.Habits`); cuts 0 for films of one shot.
        pinned: how often the pictures are references, and captions leave looks to them; else keyframes of earlier shots.
    """

    start: Name | None = None
    films: int = Field(default=3, ge=1)
    chunks: int = Field(default=12, ge=1)
    memories: dict[str, float] = Field(min_length=1)
    checkpointing: bool = False
    shift: float = Field(default=3.0, ge=1)
    matter: float = Field(default=1.0, ge=0)
    picture_noise: tuple[Timestep, Timestep] = (0, 300)
    history_noise: tuple[Timestep, Timestep] = (0, 100)
    pinned: Fraction = 0.5
    cuts: Fraction = USUAL.cuts
    cast: int = Field(default=USUAL.cast, ge=1, le=len(FULL.kinds))
    forget: Fraction = USUAL.forget
    pairs: Fraction = USUAL.pairs

    @model_validator(mode="after")
    def _sensible(self) -> FilmSettings:
        for written, weight in self.memories.items():
            memory = parse_memory(written)
            if not weight > 0:
                raise ValueError(f"memories: {written} has weight {weight:g}; give more than 0, or leave it out")
            if memory.absolute:
                raise ValueError(f"memories: {written}: absolute positions are not trained; leave 'absolute' out")
            if memory.compressed and (memory.routed or memory.state or memory.sink):
                raise ValueError(f"memories: {written}: compressed is trained alone or with shots(K)")
        for name in ("picture_noise", "history_noise"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} {low}-{high} is no range: the first must not be the larger")
        return self

    def habits(self) -> Habits:
        return Habits(self.cuts, self.cast, self.forget, self.pairs)

    def policies(self) -> dict[Memory, float]:
        return {parse_memory(written): weight for written, weight in self.memories.items()}


class TuningSettings(FilmSettings):
    """Long multi-shot causal tuning by teacher forcing (CausalCine §3.2).

    Attributes:
        copies: noisy copies per clean one; the clean half costs as much as a copy and gives no loss.
        timesteps: one noise level per chunk, or one for the whole film.
        prompt_dropout: part of the chunks that are told nothing, for guidance.
        history_patches: whether the model gets patchifiers for compressed history.
        guidance, recall_above, sampling_shift: recommended for sampling the result in `sampling_steps` Euler steps
            (`generator.sampling.Sampling`).
        routing_guide: weight of the loss that asks routing to find the frames that show a chunk's puppets; 0 leaves it to
            attention, as CausalCine does.
    """

    kind: Literal["tuning"]
    copies: int = Field(default=2, ge=1)
    timesteps: Literal["chunk", "film"] = "chunk"
    final_shift: float = Field(default=1.2, ge=1)
    prompt_dropout: Fraction = 0.1
    history_patches: bool = False
    guidance: float = Field(default=3.5, ge=1)
    recall_above: Fraction = 1.0
    sampling_steps: int = Field(default=12, ge=1)
    sampling_shift: float = Field(default=3.0, ge=1)
    routing_guide: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _patches(self) -> TuningSettings:
        if not self.history_patches and any(memory.compressed for memory in self.policies()):
            raise ValueError("memories with compressed need history_patches: true")
        return self


class FewStepSettings(FilmSettings):
    """What the three ways to a few-step student share: timesteps before warping, and the teacher's guidance."""

    teacher: Name | None = None
    timesteps: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = (1000, 750, 500, 250)
    guidance: float = Field(default=2.0, ge=1)

    @model_validator(mode="after")
    def _falling(self) -> FewStepSettings:
        if list(self.timesteps) != sorted(set(self.timesteps), reverse=True):
            raise ValueError(f"timesteps {list(self.timesteps)} must fall")
        if any(memory.compressed for memory in self.policies()):
            raise ValueError("memories with compressed cannot be distilled yet; use window, routed, state or shots")
        return self


class ConsistencySettings(FewStepSettings):
    """Causal consistency distillation (Causal-Forcing++): one guided Euler step of the teacher on a grid."""

    kind: Literal["consistency"]
    grid: int = Field(default=48, ge=2)
    target_average: Fraction = 0.95


class OdeSettings(FewStepSettings):
    """Causal ODE regression: the teacher's trajectories, teacher-forced; the student meets their ends from its timesteps.

    Attributes:
        trajectory: Euler steps of the teacher.
        reuse: steps trained on the same trajectories.
    """

    kind: Literal["ode"]
    trajectory: int = Field(default=48, ge=2)
    reuse: int = Field(default=8, ge=1)


class DistributionSettings(FewStepSettings):
    """Distribution matching with an adversarial head (CausalCine §3.4, AdaState's horizon weighting).

    Attributes:
        ratio: updates of the fake score for one of the student.
        critic_rate: the fake score's learning rate.
        adversarial: weight of the head's loss for the student; `critic_adversarial` for the fake score. 0 leaves it out.
        smooth: weight of the approximate R1 penalty on real films.
        horizon: how much more the last chunk weighs than the first: 1 for all alike.
        through: transitions of the state that gradients go through in a row.
        clamp: noise levels at which scores are compared.
    """

    kind: Literal["distribution"]
    ratio: int = Field(default=5, ge=1)
    critic_rate: float = Field(gt=0, le=1)
    adversarial: float = Field(default=0.01, ge=0)
    critic_adversarial: float = Field(default=0.01, ge=0)
    smooth: float = Field(default=0.0, ge=0)
    horizon: float = Field(default=1.0, ge=1)
    through: int = Field(default=0, ge=0, le=8)
    clamp: tuple[Timestep, Timestep] = (20, 980)


class LoraSettings(TuningSettings):
    """Tuning of low-rank adapters on a model whose own weights stay as they are (peft)."""

    kind: Literal["lora"]  # type: ignore[assignment]
    history_patches: Literal[False] = False
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=16, ge=1)


SMALL_WORLD_ONLY = (AutoencoderSettings, TextSettings, ClipSettings, ReaderSettings)
Stage = Annotated[
    AutoencoderSettings | TextSettings | TuningSettings | ConsistencySettings | OdeSettings | DistributionSettings | LoraSettings
    | ClipSettings | ReaderSettings,
    Field(discriminator="kind"),
]  # fmt: skip


FEWEST_WORDS = {
    "kinds": 3, "hues": 5, "patterns": 1, "sets": 2, "times": 1, "views": 1, "actions": 1, "movements": 3, "facings": 2,
}  # fmt: skip
"""What a film of the small world is drawn from."""


class Recipe(_Settings):
    """A whole recipe.

    Attributes:
        size: a size of ours, trained in the small world; or
        weights: a folder of weights (or a bundled name) to go on from.
        data: a folder of clips to train on; the small world when left out.
        words: that the transformer is told, and its films drawn in; all of the small world's when left out. What sees (clip,
            reader) is trained on the whole world always.
        chunk_latents: latent frames of a chunk.
        memory: default memory of the result.
        result: the stage whose weights are bundled; the last of the transformer's that has run when left out.
    """

    name: Name
    size: str | None = None
    weights: str | None = None
    data: str | None = None
    words: tuple[str, ...] | None = None
    chunk_latents: int = Field(default=3, ge=1, le=32)
    memory: str | None = None
    result: Name | None = None
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if (self.size is None) == (self.weights is None):
            raise ValueError("give either size (of ours) or weights (a folder to go on from)")
        if self.size is not None and self.size not in SIZES:
            raise ValueError(f"size {self.size!r} is unknown: choose one of {', '.join(SIZES)}")
        if self.words is not None:
            self._enough_words(Vocabulary.of(self.words))
        seen: dict[str, StageSettings] = {}
        for stage in self.stages:
            if stage.name in seen:
                raise ValueError(f"stage name {stage.name!r} is used twice")
            if self.size is None and isinstance(stage, SMALL_WORLD_ONLY):
                raise ValueError(
                    f"stage {stage.name}: {stage.kind} trains in the small world alone; give size instead of weights"
                )
            if self.size is None and isinstance(stage, TuningSettings) and stage.routing_guide:
                raise ValueError(
                    f"stage {stage.name}: routing_guide needs to know who is in a shot, which clips do not tell; leave it out"
                )
            if self.data is not None and isinstance(stage, SMALL_WORLD_ONLY):
                raise ValueError(f"stage {stage.name}: {stage.kind} trains in the small world alone; leave data out")
            if isinstance(stage, TextSettings) and any(isinstance(earlier, FilmSettings) for earlier in seen.values()):
                raise ValueError(
                    f"stage {stage.name}: text comes before the stages of the transformer, which goes by it"
                )
            if isinstance(stage, FilmSettings):
                for memory in stage.policies():
                    if memory.chunk not in (None, self.chunk_latents):
                        raise ValueError(
                            f"stage {stage.name}: memory {memory} has other chunks than chunk_latents {self.chunk_latents}"
                        )
                for role in ("start", "teacher"):
                    wanted = getattr(stage, role, None)
                    if wanted is not None and not isinstance(seen.get(wanted), FilmSettings):
                        raise ValueError(
                            f"stage {stage.name}: {role} {wanted!r} is no earlier stage of the transformer"
                        )
            seen[stage.name] = stage
        if self.memory is not None:
            parse_memory(self.memory)
        elif self.size is not None:
            raise ValueError("memory: name the default memory of the result, such as window(3)")
        if self.result is not None and not isinstance(seen.get(self.result), FilmSettings):
            raise ValueError(f"result {self.result!r} is no stage of the transformer")
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
    try:
        data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path} is no YAML: {str(error).splitlines()[0]}") from error
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise InputError(f"recipe {path}: " + "; ".join(_said(e) for e in error.errors())) from error


def _said(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {reason_of(error)}" if where else reason_of(error)
