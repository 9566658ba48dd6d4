"""The typed settings of every kind of stage."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ..generator.memory import Memory, parse_memory
from ..generator.precision import Precision
from ..storyboard.vocabulary import FULL
from .world import USUAL, Habits

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,31}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
STILLS = 2
"""Of a film: the second is of the same shot, or comes after a cut."""
Timestep = Annotated[int, Field(ge=0, le=999)]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


MAKES = {"autoencoder": "vae", "decoder": "vae", "text": "text_encoder", "clip": "clip", "reader": "reader"}
"""The part of a bundle that a kind of stage makes; all others make the transformer."""


class StageSettings(Settings):
    """What every stage has.

    Attributes:
        name: of the stage, and of its folder in the run.
        share: of the run's minutes; `steps` says exactly how long instead.
        muon: Muon for the matrices of transformer blocks, at `muon` times the learning rate; 0 for AdamW throughout.
        average: decay of the exponential average of the weights, which is what a stage hands on.
        precision: of matrix products: `auto` is bf16 where the device has instructions for it; weights and optimiser are fp32 always.
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
    precision: Precision = "auto"

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
        evenness: how many times larger the largest principal axis of the latents may be than the smallest (`latents`); as the encoder makes
            them when left out.
    """

    kind: Literal["autoencoder"]
    clips: int = Field(default=3, ge=1)
    keep_latents: bool = True
    evenness: float | None = Field(default=None, gt=1)


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
        times: how often a film of the small world is seen before it is left behind: what is seen again and again is learnt by heart.
            With one new film a step, however many a step took, an hour of training lowered the loss on puppets by 2.7 % in films that it had
            seen, and by 0.9 % in others.
        chunk_latents: latent frames of a chunk in this stage; the recipe's when left out. How things look is learnt cheapest from
            stills, chunks of one.
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
    times: int = Field(default=2, ge=1)
    chunk_latents: int | None = Field(default=None, ge=1, le=32)
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
        resample: how often history is made by the model instead of taken as it was, and how often that is done once more, after what it
            made (self-resampling, arXiv 2512.15702): what is wrong in a chunk it then learns to mend in the next, not to make worse.
        resample_shift: warps the noise that history is made from: the same noise hides less of a larger picture.
        history_patches: whether the model gets patchifiers for compressed history.
        guidance, guide_above, recall_above, sampling_shift: recommended for sampling the result in `sampling_steps` Euler steps
            (`generator.sampling.Sampling`).
        routing_guide: weight of the loss that asks routing to find the frames that show a chunk's puppets; 0 leaves it to
            attention, as CausalCine does.
        label_guide: weight of the loss that asks tokens half-way up who is there, how they look and what they do (`labels`); 0 leaves
            it to the flow.
        stills: part of the steps that are of stills instead, two for each film and as many latent frames in all, under `window(1)`.
    """

    kind: Literal["tuning"]
    copies: int = Field(default=2, ge=1)
    timesteps: Literal["chunk", "film"] = "chunk"
    final_shift: float = Field(default=1.2, ge=1)
    prompt_dropout: Fraction = 0.1
    resample: float = Field(default=0.0, ge=0, le=0.9)
    resample_shift: float = Field(default=1.0, ge=1)
    history_patches: bool = False
    guidance: float = Field(default=3.5, ge=1)
    guide_above: Fraction = 0.0
    recall_above: Fraction = 1.0
    sampling_steps: int = Field(default=12, ge=1)
    sampling_shift: float = Field(default=3.0, ge=1)
    routing_guide: float = Field(default=0.0, ge=0)
    label_guide: float = Field(default=0.0, ge=0)
    stills: Fraction = 0.0

    @model_validator(mode="after")
    def _fits_compressed(self) -> TuningSettings:
        if not self.history_patches and any(memory.compressed for memory in self.policies()):
            raise ValueError("memories with compressed need history_patches: true")
        if self.label_guide and any(memory.compressed for memory in self.policies()):
            raise ValueError(
                "label_guide listens to whole films at once, which memories with compressed are not: leave one out"
            )
        return self

    def of_stills(self, chunk_latents: int) -> TuningSettings:
        """What its steps of stills have, where chunks of its films are of so many latent frames."""
        films = self.films * max(1, self.chunks * chunk_latents // STILLS)  # processes that share films can share these
        changed = {
            "name": f"{self.name}-stills", "films": films, "chunks": STILLS, "chunk_latents": 1, "resample": 0.0, "memories": {"window(1)": 1.0},
        }  # fmt: skip
        return self.model_copy(update=changed)

    def sampling(self) -> dict[str, Any]:
        """How the result is sampled, as a profile says it."""
        return {
            "kind": "euler", "steps": self.sampling_steps, "shift": self.sampling_shift, "guidance": self.guidance,
            "guide_above": self.guide_above, "recall_above": self.recall_above,
        }  # fmt: skip


class TaughtSettings(FilmSettings):
    """What the ways to a few-step student share.

    Attributes:
        teacher: the stage whose weights teach; when left out, where the chain of students that this one goes on from began.
        guidance, guide_above, recall_above: how the teacher is guided (`generator.sampling.Sampling`).
    """

    teacher: Name | None = None
    guidance: float = Field(default=2.0, ge=1)
    guide_above: Fraction = 0.0
    recall_above: Fraction = 1.0


class DecoderSettings(TaughtSettings):
    """The decoder, on latents as the transformer makes them (guided as `guidance` says), and on films cut into shots.

    Attributes:
        noisiest: the noise level up to which the transformer is given what it is to finish; where more is, it makes something else.
    """

    kind: Literal["decoder"]
    noisiest: Fraction = 0.8


class ProgressiveSettings(TaughtSettings):
    """Progressive distillation (Salimans and Ho 2022), all halvings at once: of the teacher's guided Euler steps the student takes
    `substeps` in one; 1 takes the second pass of guidance out alone. An error weighs as much as its step is long.

    Attributes:
        sampling_steps: of the student.
        own_films: whether it is taught wherever its own rollouts pass, after its own history (on-policy distillation, as DAgger, Ross et
            al. 2011, and GKD, arXiv 2306.13649), instead of on true films with noise. Its puppets stand elsewhere, so `matter` says nothing then.
    """

    kind: Literal["progressive"]
    own_films: bool = False
    sampling_steps: int = Field(default=4, ge=1)
    substeps: int = Field(default=3, ge=1)

    def sampling(self) -> dict[str, Any]:
        return {"kind": "euler", "steps": self.sampling_steps, "shift": self.shift}


class FewStepSettings(TaughtSettings):
    """Students that predict the clean chunk at every one of these timesteps (before warping), and are noised again in between."""

    timesteps: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = (1000, 750, 500, 250)

    def sampling(self) -> dict[str, Any]:
        return {"kind": "few-step", "timesteps": list(self.timesteps), "shift": self.shift}

    @model_validator(mode="after")
    def _falling(self) -> FewStepSettings:
        if list(self.timesteps) != sorted(set(self.timesteps), reverse=True):
            raise ValueError(f"timesteps {list(self.timesteps)} must fall")
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
    stills: Literal[0] = 0
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=16, ge=1)
