"""What the three papers claim, measured at our sizes (DESIGN §8). Each claim is a few arms that differ in one thing, measured on the
same held-out films with the same seeds; every number has a bootstrap interval over films.

Arms that need weights of their own are trained here, from the same weights and for the same minutes. What is trained or measured is
kept in the folder and not made again, so a run that stopped goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..generator.bundle import BUNDLED, Bundle, load_bundle
from ..generator.memory import parse_memory
from ..generator.sampling import Sampling
from ..generator.video_generator import VideoGenerator
from ..storyboard.caption import CUT_MARK, Role, Staging, caption
from ..storyboard.errors import InputError
from ..storyboard.files import write_text
from ..storyboard.vocabulary import FULL
from ..training.recipe import Recipe
from ..training.run import Order, train
from ..training.world import CHUNK_SECONDS, SPLITS, random_appearance, random_film, random_role, render_film
from .films import Tally, evaluate
from .readers import LIGHTS, FrameReader, load_reader, read, told_of
from .recall import evaluate_recall

DRIFT_CHUNKS = (20, 60)
"""Chunks of a long film at which the readers look, a shot around each."""
DRIFT_SHOT = 4


@dataclass(frozen=True)
class Row:
    """One number of a claim.

    Attributes:
        arm: what differs; `measure`: what was measured, in which unit (a part, unless it says otherwise).
        low, high: 95 % bootstrap interval over films; the value twice where there is none.
    """

    arm: str
    measure: str
    value: float
    low: float
    high: float
    asked: int


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and how it is measured."""

    key: str
    says: str
    measured: str
    run: Callable[[Lab], Iterator[Row]]


class Lab:
    """Where claims are measured: weights, readers, and what has been made before.

    Args:
        weights: a folder of weights of ours, tuned under the mixture of memories: what every arm goes on from.
        films: held-out films (or shots) for each number.
        minutes: of training for each arm that needs it.
    """

    def __init__(
        self, weights: Path, folder: Path, *, films: int, minutes: float, seed: int = 0, tell: Callable[[str], None] = lambda text: None
    ) -> None:  # fmt: skip
        self.weights, self.folder, self.films, self.minutes, self.seed, self.tell = (
            weights,
            folder,
            films,
            minutes,
            seed,
            tell,
        )
        if not (weights / "reader" / "config.json").is_file():
            raise InputError(f"{weights} has no reader: claims are measured on weights of ours, with theirs")
        self.reader: FrameReader = load_reader(weights / "reader")
        self._bundle = lru_cache(maxsize=3)(lambda path: load_bundle(path, torch.device("cpu")))

    def generator(self, memory: str, weights: Path | None = None, steps: int | None = None) -> VideoGenerator:
        """Weights under a memory; `steps` of Euler's method instead of their own sampling."""
        bundle: Bundle = self._bundle(weights or self.weights)
        if steps is not None:
            euler = Sampling(kind="euler", steps=steps, shift=3.0, guidance=max(bundle.sampling.guidance, 1.0))
            bundle = replace(bundle, sampling=euler)
        return VideoGenerator(bundle, parse_memory(memory))

    def kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was measured under that name before, else measured now and kept."""
        path = self.folder / "measured" / f"{name}-{self.films}-{self.seed}.json"
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
        self.tell(f"measuring {name}")
        found = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(found))
        return found

    def trained(self, name: str, *stages: dict[str, Any], memory: str = "window(3)", length: int = 3) -> Path:
        """Weights that these stages make of the lab's own; each stage takes its share of the minutes."""
        folder = self.folder / "trained" / name
        if (folder / "whole").is_file():
            return folder / "model"
        self.tell(f"training {name}: {self.minutes * len(stages):g} minutes")
        base = {
            "name": "base",
            "kind": "tuning",
            "learning_rate": 1e-4,
            "memories": {memory: 1},
            "films": 1,
            "chunks": 1,
        }
        if any(stage.get("history_patches") for stage in stages):
            base["history_patches"] = True
        size = json.loads((self.weights / "profile.json").read_text(encoding="utf-8"))["name"]
        recipe = Recipe.model_validate(
            {
                "name": size,
                "size": size,
                "memory": memory,
                "chunk_latents": length,
                "stages": [base, *stages],
            }
        )
        for part in ("transformer", "text_encoder", "tokenizer"):
            shutil.copytree(self.weights / part, folder / "base" / part, dirs_exist_ok=True)
        for part in ("vae", "clip", "reader"):
            shutil.copytree(self.weights / part, folder / "base" / part, dirs_exist_ok=True)
        for stage in stages:
            train(
                recipe, Order(folder, "cpu", self.minutes, stage=stage["name"], seed=self.seed), lambda progress: None
            )
        write_text(folder / "whole", "")
        return folder / "model"


def _made(lab: Lab, name: str, memory: str, weights: Path | None = None, steps: int | None = None) -> dict[str, Any]:
    """What readers see of held-out films."""
    return lab.kept(
        name, lambda: evaluate(lab.generator(memory, weights, steps), lab.reader, films=lab.films, seed=lab.seed)
    )


def _rows(arm: str, rates: dict[str, dict[str, float]], names: dict[str, str]) -> Iterator[Row]:
    """Rows of a table of rates; `names`: as they are found, and as they are shown."""
    for name, shown in names.items():
        rate = rates[name]
        yield Row(arm, shown, rate["rate"], rate["low"], rate["high"], int(rate["asked"]))


# --- CausalCine: content routing recalls what windows and sinks forget ----------------------------------------------------

ROUTING = {
    "window": "window(3)", "sink": "sink(3)+window(2)", "routed": "routed(5)+window(3)", "oracle": "routed(5)+window(3)",
}  # fmt: skip
GAPS = (2, 4, 8, 12)


def _recalled(lab: Lab, arm: str, memory: str) -> dict[str, Any]:
    def measure() -> dict[str, Any]:
        return evaluate_recall(
            lab.generator(memory), lab.reader, films=lab.films, seed=lab.seed, gaps=GAPS, oracle=arm == "oracle"
        )

    return lab.kept(f"recall-{arm}", measure)


def _routing(lab: Lab) -> Iterator[Row]:
    for arm, memory in ROUTING.items():
        found = _recalled(lab, arm, memory)
        for gap in GAPS:
            rates = found["gaps"][str(gap)]
            yield from _rows(arm, rates, {name: f"{name}, gap {gap * 3}" for name in ("kind", "hue", "identity")})
            if rates["routed to it"]["asked"]:
                yield from _rows(arm, rates, {"routed to it": f"recalled frames that show it, gap {gap * 3}"})


# --- CausalCine: multi-shot tuning before distillation ---------------------------------------------------------------------

FEW = {"kind": "consistency", "learning_rate": 3e-4, "muon": 2, "films": 3, "chunks": 6, "guidance": 3, "memories": {"window(3)": 1}}  # fmt: skip
MORE = {"kind": "tuning", "learning_rate": 6e-4, "muon": 2, "films": 3, "chunks": 6, "memories": {"window(3)": 1}}


def _multi_shot(lab: Lab) -> Iterator[Row]:
    for arm, cuts in (("tuned on films of one shot", 0.0), ("tuned on films of several shots", 0.4)):
        key = "single" if cuts == 0 else "multi"
        weights = lab.trained(
            f"{key}-shot",
            {**MORE, "name": "more", "cuts": cuts},
            {**FEW, "name": "few", "start": "more", "teacher": "more", "cuts": cuts},
        )
        found = _made(lab, f"cuts-{key}", "window(3)", weights)
        yield from _rows(arm, found["made"], {"cut": "cut where it was asked", "set": "set", "kind": "kind"})


# --- CausalCine: four steps keep the base's quality ------------------------------------------------------------------------


def _few_steps(lab: Lab) -> Iterator[Row]:
    shown = {name: name for name in ("set", "time", "kind", "hue", "cut")}
    student = lab.trained("student", {**FEW, "name": "few"}, {**DISTRIBUTION, "name": "student", "teacher": "base"})
    arms: list[tuple[str, str, Path | None, int | None]] = [
        ("base, 50 steps", "base-50", None, 50), ("base, 12 steps", "base-12", None, 12), ("base, 4 steps", "base-4", None, 4),
        ("student, 4 steps", "student-4", student, None),
    ]  # fmt: skip
    for arm, key, weights, steps in arms:
        found = _made(lab, f"steps-{key}", "window(3)", weights, steps)
        yield from _rows(arm, found["made"], shown)
        rate = found["frames_per_second"]
        yield Row(arm, "frames per second", rate, rate, rate, found["films"])


# --- CausalCine: the adversarial head stops drift --------------------------------------------------------------------------

DISTRIBUTION = {
    "kind": "distribution", "learning_rate": 1e-4, "critic_rate": 2e-4, "betas": [0, 0.99], "warmup_steps": 20, "films": 3, "chunks": 6,
    "guidance": 3, "teacher": "base", "memories": {"window(3)": 1},
}  # fmt: skip


def _adversarial(lab: Lab) -> Iterator[Row]:
    for arm, weight in (("without the head", 0.0), ("with the head", 0.01)):
        key = "plain" if weight == 0 else "headed"
        stage = {**DISTRIBUTION, "name": "student", "adversarial": weight, "critic_adversarial": weight, "start": "few"}
        weights = lab.trained(f"{key}-student", {**FEW, "name": "few"}, stage)
        found = _drifted(lab, f"drift-{key}", weights)
        for chunk in DRIFT_CHUNKS:
            names = {f"{name} at {chunk}": f"{name} right, chunk {chunk}" for name in ("set", "view", "kind")}
            yield from _rows(arm, found, names)


def _drifted(lab: Lab, name: str, weights: Path) -> dict[str, Any]:
    return lab.kept(name, lambda: _drift(lab, lab.generator("window(3)", weights)))


def _drift(lab: Lab, generator: VideoGenerator) -> dict[str, Any]:
    """What readers see of long films, early and late."""
    profile = generator.profile
    names = [f"{name} at {chunk}" for chunk in DRIFT_CHUNKS for name in ("set", "view", "kind")]
    tallies = {name: Tally() for name in names}
    last = max(DRIFT_CHUNKS)
    for index in range(max(4, lab.films // 5)):
        film = random_film(
            SPLITS["test"] + 800_000_000 + index, last + DRIFT_SHOT, profile.vocabulary or FULL, 1 / DRIFT_SHOT
        )
        rollout, chunk = generator.start(lab.seed + index), 0
        for number, shot in enumerate(film.shots):
            prompt = film.prompts()[chunk].removeprefix(CUT_MARK)
            rollout.begin_shot(prompt, shot=f"s{number}", take=1)
            frames = torch.cat([torch.from_numpy(rollout.step().frames) for _ in range(shot.chunks)])
            looked = [c for c in DRIFT_CHUNKS if chunk <= c < chunk + shot.chunks]
            chunk += shot.chunks
            if not looked:
                continue
            reading = read(lab.reader, frames.permute(0, 3, 1, 2).float()[2::4] / 255)
            kinds = [role.kind for role in shot.staging.roles]
            for at in looked:
                for name in ("set", "view"):
                    tallies[f"{name} at {at}"].add(int(reading.frame[name] == getattr(shot.staging, name)), 1)
                tallies[f"kind at {at}"].add(sum(reading.shows(kind, len(set(kinds))) for kind in kinds), len(kinds))
    return {name: tally.summary() for name, tally in tallies.items()}


# --- FilmWeaver: shot cache and temporal cache hold consistency ------------------------------------------------------------

WEAVER = {
    "kind": "tuning", "learning_rate": 6e-4, "muon": 2, "films": 4, "chunks": 4, "history_patches": True,
    "memories": {"shots(3)+compressed": 3, "compressed": 1},
}  # fmt: skip
CACHES = {
    "both caches": ("noisy", "shots(3,noise=200)+compressed(noise=50)+chunk(6)"),
    "without the shot cache": ("noisy", "compressed(noise=50)+chunk(6)"),
    "without the temporal cache": ("noisy", "shots(3,noise=200)+chunk(6)"),
    "without noise on the caches": ("clean", "shots(3)+compressed+chunk(6)"),
}


def _caches(lab: Lab) -> Iterator[Row]:
    for arm, (noise, memory) in CACHES.items():
        ranges = (
            {"picture_noise": [100, 400], "history_noise": [0, 100]}
            if noise == "noisy"
            else {"picture_noise": [0, 0], "history_noise": [0, 0]}
        )
        weights = lab.trained(
            f"weaver-{noise}", {**WEAVER, **ranges, "name": "modes"}, memory="shots(3)+compressed+chunk(6)", length=6
        )
        found = _made(lab, f"caches-{arm.replace(' ', '-')}", memory, weights)
        shown = {
            "same hue over a cut in one set": "same hue over a cut",
            "hue": "hue as asked",
            "kind": "kind as asked",
            "set": "set as asked",
        }
        yield from _rows(arm, found["made"], shown)


# --- AdaState: an evolving state frees motion without losing the scene -----------------------------------------------------

ANCHORS = {"no anchor": "window(1)", "static anchor": "sink(3)+window(1)", "evolving state": "state(1)+window(1)"}


def _state(lab: Lab) -> Iterator[Row]:
    for arm, memory in ANCHORS.items():
        found = _anchored(lab, arm, memory)
        names = {"light": "light that went on unseen, right", "set": "set right at the end"}
        yield from _rows(arm, found["rates"], names)
        yield Row(
            arm,
            "motion, change per frame in thousandths",
            found["motion"],
            found["motion"],
            found["motion"],
            found["films"],
        )


def _anchored(lab: Lab, arm: str, memory: str) -> dict[str, Any]:
    return lab.kept(f"state-{arm.replace(' ', '-')}", lambda: _evolving(lab, lab.generator(memory)))


def _evolving(lab: Lab, generator: VideoGenerator) -> dict[str, Any]:
    """True history of films whose light goes on is fed up to their last shot, which is made: does the light fit, and does it move?"""
    profile = generator.profile
    tallies, motion = {"light": Tally(), "set": Tally()}, 0.0
    for index in range(lab.films):
        film = _evening(SPLITS["test"] + 900_000_000 + index)
        render = render_film(film, width=profile.width, height=profile.height)
        rollout, chunk, prompts = generator.start(lab.seed + index), 0, film.prompts()
        for number, shot in enumerate(film.shots):
            rollout.begin_shot(prompts[chunk].removeprefix(CUT_MARK), shot=f"s{number}", take=1)
            if number < len(film.shots) - 1:
                pixels = (
                    render.frames[chunk * 12 : (chunk + shot.chunks) * 12]
                    .mul(255)
                    .round()
                    .to(torch.uint8)
                    .permute(0, 2, 3, 1)
                    .numpy()
                )
                for latents in generator.encode(pixels):
                    rollout.feed(latents, decode=False)
            chunk += shot.chunks
        last = film.shots[-1]
        made = (
            torch.cat([torch.from_numpy(rollout.step().frames) for _ in range(last.chunks)]).permute(0, 3, 1, 2).float()
            / 255
        )
        reading = read(lab.reader, made[2::4])
        true = told_of(last.staging, last.daylight.after(last.chunks * CHUNK_SECONDS / 2))
        if "light" in reading.frame:
            tallies["light"].add(int(reading.frame["light"] == true["light"]), 1)
        tallies["set"].add(int(reading.frame["set"] == true["set"]), 1)
        motion += float((made[1:] - made[:-1]).abs().mean()) * 1000
    rates = {name: tally.summary() for name, tally in tallies.items()}
    return {"rates": rates, "motion": round(motion / lab.films, 3), "films": lab.films}


def _evening(seed: int) -> Any:
    """A film of eight chunks in one set; the light goes through all its thirds while the camera is elsewhere."""
    import random

    from ..animatic.stage import LATEST, Daylight
    from ..training.world import Film, FilmShot

    rng = random.Random(f"evening/{seed}")
    set_, elsewhere = rng.sample(FULL.sets, 2)
    time_of_day, look, kind = rng.choice(FULL.times), random_appearance(rng), rng.choice(FULL.kinds)
    end = rng.choice((0.05, 0.5, 0.95)) * LATEST
    light = Daylight(0.0, end / (6 * CHUNK_SECONDS))
    shots = []
    for place, chunks in ((set_, 2), (elsewhere, 4), (set_, 2)):
        role = Role(kind, "walks", random_role(rng, kind, look).facing, look)
        staging = Staging("medium", place, time_of_day, "still", (role,))
        shots.append(FilmShot(staging, staging, chunks, light))
        light = light.after(chunks * CHUNK_SECONDS)
    assert caption(staging) and len(LIGHTS) == 3
    return Film(seed, tuple(shots))


CLAIMS = (
    Claim(
        "routing", "Content-aware routing recalls what windows and sinks forget (CausalCine: 0.753 against 0.611 and 0.583).",
        "A puppet is introduced, others fill the gap, the last shot only names it. True history is fed; only that shot is made. `oracle` has "
        "nothing outside the window but the frames that show it.", _routing,
    ),
    Claim(
        "multi-shot", "Multi-shot tuning before distillation makes cuts land (CausalCine: 0.504 to 0.973).",
        "Both arms go on from the same weights, on films of one shot or of several, and are distilled the same way.", _multi_shot,
    ),
    Claim(
        "few-steps", "Four steps keep the quality of the many-step base (CausalCine).",
        "Held-out films by the base in 50, 12 and 4 Euler steps with guidance, and by a student of 4.", _few_steps,
    ),
    Claim(
        "adversarial", "An adversarial head stops the drift of long films (CausalCine).",
        "Two students that differ in the head's weight; long films of shots of about four chunks; readers look early and late.", _adversarial,
    ),
    Claim(
        "caches", "Shot cache and temporal cache hold consistency (FilmWeaver: 75.12 against 65.44 and 70.57); noise on them buys prompt "
        "following (31.23 against 28.12).",
        "One set of weights with a cache left out at a time, and one trained without noise.", _caches,
    ),
    Claim(
        "state", "An evolving state frees motion without losing the scene (AdaState).",
        "The light of a film goes on while the camera is elsewhere, and no caption tells; the last shot returns.", _state,
    ),
)  # fmt: skip


def measure_claims(lab: Lab, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """All claims, or some of them.

    Returns:
        `claims`: key -> `says`, `measured`, `rows`; beside it what it was measured with.

    Raises:
        InputError: an unknown claim.
    """
    known = [claim.key for claim in CLAIMS]
    for key in only:
        if key not in known:
            raise InputError(f"claim {key!r} is unknown: choose of {', '.join(known)}")
    began = time.perf_counter()
    found = {}
    for claim in CLAIMS:
        if only and claim.key not in only:
            continue
        rows = [vars(row) for row in claim.run(lab)]
        found[claim.key] = {"says": claim.says, "measured": claim.measured, "rows": rows}
    profile = lab.generator("window(3)").profile
    return {
        "weights": profile.weights, "films": lab.films, "minutes": lab.minutes, "seed": lab.seed, "threads": torch.get_num_threads(),
        "scored_by": "frame reader (small network trained on rendered truth)", "claims": found,
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def weights_folder(name: str) -> Path:
    """The folder of a bundled name, or the folder itself."""
    return BUNDLED / name if (BUNDLED / name).is_dir() else Path(name)
