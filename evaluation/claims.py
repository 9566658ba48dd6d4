"""What the three papers claim, measured at our sizes (DESIGN §8). Each claim is a few arms that differ in one thing (those of multi-shot
tuning in two), measured on the same held-out films with the same seeds; every number has a bootstrap interval over films.

Arms that need weights of their own are trained here, from the same weights and for as many steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..storyboard.errors import InputError
from ..training.world import USUAL
from .arm import Arm, Row
from .drift import evaluate_drift, looked_for
from .evening import evaluate_evenings
from .films import evaluate
from .lab import Kept, Lab
from .recall import evaluate_recall


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and how it is measured.

    Attributes:
        films: how many films each number is of, where so many are asked for.
    """

    key: str
    says: str
    measured: str
    run: Callable[[Lab], Iterator[Arm]]
    films: Callable[[int], int] = lambda films: films


def _made(lab: Lab, name: str, memory: str, weights: Path | None = None, steps: int | None = None) -> Kept:
    """What readers see of held-out films."""
    return lab.kept(
        name,
        lambda seen: evaluate(
            lab.generator(memory, weights, steps), lab.reader, films=lab.films, seed=lab.seed, seen=seen
        ),
    )


def _rows(rates: dict[str, dict[str, float]], names: dict[str, str]) -> tuple[Row, ...]:
    """Rows of a table of rates; `names`: as they are found, and as they are shown. What no film asked has none."""
    found = ((shown, rates[name]) for name, shown in names.items() if name in rates)
    return tuple(Row(shown, rate["rate"], rate["low"], rate["high"], int(rate["asked"])) for shown, rate in found)


# --- CausalCine: content routing recalls what windows and sinks forget ----------------------------------------------------

ROUTING = {
    "window": "window(3)", "sink": "sink(3)+window(2)", "routed": "routed(5)+window(3)", "oracle": "routed(5)+window(3)",
}  # fmt: skip
GAPS = (2, 4, 8, 12)


def _routing(lab: Lab) -> Iterator[Arm]:
    for arm, memory in ROUTING.items():
        kept = _recalled(lab, arm, memory)
        rows: tuple[Row, ...] = ()
        for gap in GAPS:
            names = {name: f"{name}, gap {gap * 3}" for name in ("kind", "hue", "identity")}
            names["routed to it"] = f"recalled frames that show it, gap {gap * 3}"
            rows += _rows(kept.found["gaps"][str(gap)], names)
        yield Arm(arm, rows, kept.strip)


def _recalled(lab: Lab, arm: str, memory: str) -> Kept:
    return lab.kept(
        f"recall-{arm}",
        lambda seen: evaluate_recall(
            lab.generator(memory), lab.reader, films=lab.films, seed=lab.seed, gaps=GAPS, oracle=arm == "oracle", seen=seen
        ),
    )  # fmt: skip


# --- CausalCine: multi-shot tuning before distillation ---------------------------------------------------------------------

FEW = {
    "name": "few", "kind": "progressive", "learning_rate": 4e-4, "muon": 2, "warmup_steps": 20, "films": 3, "chunks": 6, "guidance": 3,
    "average": 0.99, "memories": {"window(3)": 1},
}  # fmt: skip
MORE = {
    "name": "more", "kind": "tuning", "learning_rate": 6e-4, "muon": 2, "films": 3, "chunks": 6, "memories": {"window(3)": 1},
}  # fmt: skip
FIRST = {**MORE, "name": "first", "learning_rate": 1.2e-3, "cuts": 0.0}
FIRST_TIMES = 5


def _multi_shot(lab: Lab) -> Iterator[Arm]:
    lab.trained("no-cuts", FIRST, times=FIRST_TIMES, scratch=True)
    shown = {"cut": "cut where it was asked", "set": "set", "kind": "kind"}
    for arm, key, cuts, like in (
        ("tuned on films of one shot", "single-shot", 0.0, None),
        ("tuned on films of several shots", "multi-shot", USUAL.cuts, "single-shot"),
    ):
        few = {**FEW, "start": "more", "teacher": "more", "cuts": cuts}
        weights = lab.trained(key, {**MORE, "cuts": cuts}, few, after="no-cuts", like=like)
        kept = _made(lab, f"cuts-{key}", "window(3)", weights)
        yield Arm(arm, _rows(kept.found["made"], shown), kept.strip)


# --- CausalCine: four steps keep the base's quality ------------------------------------------------------------------------

FEW_TIMES = 3
"""How many times as long as another stage the four-step student is taught here."""
INIT = {
    "name": "init", "kind": "consistency", "learning_rate": 3e-4, "muon": 2, "films": 3, "chunks": 6, "teacher": "base",
    "memories": {"window(3)": 1},
}  # fmt: skip
MATCHED = {
    "name": "student", "kind": "distribution", "learning_rate": 1e-4, "critic_rate": 2e-4, "betas": [0, 0.99], "warmup_steps": 20,
    "films": 3, "chunks": 6, "start": "init", "teacher": "base", "memories": {"window(3)": 1},
}  # fmt: skip


def _taught(lab: Lab) -> Path:
    """Weights of four steps, by progressive distillation."""
    return lab.trained("few", {**FEW, **lab.guidance(), "teacher": "base"}, times=FEW_TIMES)


def _matched(lab: Lab, adversarial: float) -> Path:
    """Weights of four steps by the paper's way: few-step init, then distribution matching."""
    lab.trained("init", INIT | lab.guidance())
    stage = MATCHED | lab.guidance()
    headed = lab.trained(
        "student-with-head", {**stage, "adversarial": ADVERSARIAL, "critic_adversarial": ADVERSARIAL}, after="init"
    )
    if adversarial:
        return headed
    plain = {**stage, "adversarial": 0.0, "critic_adversarial": 0.0}
    return lab.trained("student-without-head", plain, after="init", like="student-with-head")


def _few_steps(lab: Lab) -> Iterator[Arm]:
    shown = {name: name for name in ("set", "time", "kind", "hue", "cut")}
    for arm, key, weights, steps in (
        ("base, 50 steps", "50", None, 50),
        ("base, 12 steps", "12", None, 12),
        ("base, 4 steps", "4", None, 4),
        ("student, 4 steps, progressive distillation", "few", _taught, None),
        ("student, 4 steps, consistency and distribution matching", "matched", lambda lab: _matched(lab, ADVERSARIAL), None),
    ):  # fmt: skip
        kept = _made(lab, f"steps-{key}", "window(3)", weights(lab) if weights else None, steps)
        speed = Row("speed", kept.found["frames_per_second"], None, None, kept.found["films"], "frames per second")
        yield Arm(arm, (*_rows(kept.found["made"], shown), speed), kept.strip)


# --- CausalCine: the adversarial head stops drift --------------------------------------------------------------------------

ADVERSARIAL = 0.01
DRIFTED = 60
"""The chunk at which drift is looked for."""


def _adversarial(lab: Lab) -> Iterator[Arm]:
    shown = {f"{name} at {chunk}": f"{name} right, chunk {chunk}" for name, chunk in looked_for(DRIFTED)}
    for arm, weight in (("without the head", 0.0), ("with the head", ADVERSARIAL)):
        kept = _drifted(lab, f"drift-{arm.replace(' ', '-')}", _matched(lab, weight))
        yield Arm(arm, _rows(kept.found["made"], shown), kept.strip)


def long_films(films: int) -> int:
    """How many long films are made where so many others are: a long one costs as much as sixteen."""
    return max(4, films // 5)


def _drifted(lab: Lab, name: str, weights: Path) -> Kept:
    return lab.kept(
        name,
        lambda seen: evaluate_drift(
            lab.generator("window(3)", weights),
            lab.reader,
            films=long_films(lab.films),
            seed=lab.seed,
            last=DRIFTED,
            seen=seen,
        ),
    )


# --- FilmWeaver: shot cache and temporal cache hold consistency ------------------------------------------------------------

WEAVER = {
    "name": "modes", "kind": "tuning", "learning_rate": 6e-4, "muon": 2, "films": 4, "chunks": 4, "history_patches": True,
    "memories": {"shots(3)+compressed": 3, "compressed": 1},
}  # fmt: skip
NOISE = {
    "noisy": {"picture_noise": [100, 400], "history_noise": [0, 100]},
    "clean": {"picture_noise": [0, 0], "history_noise": [0, 0]},
}  # fmt: skip
CACHES = {
    "both caches": ("noisy", "shots(3,noise=200)+compressed(noise=50)+chunk(6)"),
    "without the shot cache": ("noisy", "compressed(noise=50)+chunk(6)"),
    "without the temporal cache": ("noisy", "shots(3,noise=200)+chunk(6)"),
    "without noise on the caches": ("clean", "shots(3)+compressed+chunk(6)"),
}


def _caches(lab: Lab) -> Iterator[Arm]:
    shown = {
        "same hue over a cut in one set": "same hue over a cut", "hue": "hue as asked", "kind": "kind as asked", "set": "set as asked",
    }  # fmt: skip
    for arm, (noise, memory) in CACHES.items():
        stage = {**WEAVER, **NOISE[noise], **lab.guidance()}
        like = "weaver-noisy" if noise == "clean" else None
        weights = lab.trained(f"weaver-{noise}", stage, memory="shots(3)+compressed+chunk(6)", length=6, like=like)
        kept = _made(lab, f"caches-{arm.replace(' ', '-')}", memory, weights)
        yield Arm(arm, _rows(kept.found["made"], shown), kept.strip)


# --- AdaState: an evolving state frees motion without losing the scene -----------------------------------------------------

ANCHORS = {"no anchor": "window(1)", "static anchor": "sink(3)+window(1)", "evolving state": "state(1)+window(1)"}


def _state(lab: Lab) -> Iterator[Arm]:
    names = {"light": "light that went on unseen, right", "set": "set right at the end"}
    for arm, memory in ANCHORS.items():
        kept = _anchored(lab, f"state-{arm.replace(' ', '-')}", memory)
        found = kept.found
        motion = Row("motion", found["motion"], None, None, found["films"], "change per frame in thousandths")
        yield Arm(arm, (*_rows(found["rates"], names), motion), kept.strip)


def _anchored(lab: Lab, name: str, memory: str) -> Kept:
    return lab.kept(
        name,
        lambda seen: evaluate_evenings(lab.generator(memory), lab.reader, films=lab.films, seed=lab.seed, seen=seen),
    )


# --- Ours: one set of weights for every memory -----------------------------------------------------------------------------

MIXTURE = {
    "name": "mixture", "kind": "tuning", "learning_rate": 6e-4, "muon": 2, "films": 3, "chunks": 12, "cuts": 0.45, "cast": 5, "pairs": 0.3, "shift": 4,
    "final_shift": 2, "matter": 0.5, "average": 0.99,
    "memories": {
        "window(3)": 1, "sink(3)+window(2)": 1, "routed(5)+window(3)": 2, "shots(3)+window(3)": 1, "sink(3)+window(1)": 1, "state(1)+window(1)": 1,
    },
}  # fmt: skip
MIXTURE_TIMES = 2

BOTH_ASKED = ("window(3)", "sink(3)+window(1)")
"""Routing would find nothing outside its window in films of four chunks."""


def _mixture(lab: Lab) -> Iterator[Arm]:
    mixture = MIXTURE | lab.guidance()
    mixed = lab.trained("mixture", mixture, times=MIXTURE_TIMES)
    single = lab.trained("single", {**mixture, "memories": {"window(3)": 1}}, times=MIXTURE_TIMES, like="mixture")
    for arm, key, weights in (("six memories in turn", "mixed", mixed), ("window(3) alone", "single", single)):
        rows: tuple[Row, ...] = ()
        for memory in BOTH_ASKED:
            kept = _made(lab, f"mixture-{key}-{memory.partition('(')[0]}", memory, weights)
            rows += _rows(kept.found["made"], {name: f"{name}, {memory}" for name in ("set", "kind", "hue", "cut")})
        yield Arm(arm, rows, kept.strip)


CLAIMS = (
    Claim(
        "routing", "Content-aware routing recalls what windows and sinks forget (CausalCine: 0.753 against 0.611 and 0.583).",
        "A puppet is introduced, others fill the gap, the last shot only names it. True history is fed; only that shot is made. `oracle` has "
        "nothing outside the window but the frames that show it. The weights as they are; `nano` was tuned under all of these memories, and with "
        "`routing_guide`: a loss that asks routing to find the frames that show a chunk's puppets. CausalCine leaves that to attention, so this is "
        "no test of routing without it.", _routing,
    ),
    Claim(
        "multi-shot", "Multi-shot tuning before distillation makes cuts land (CausalCine: 0.504 to 0.973).",
        "Both arms go on from weights that have never seen a cut (trained from nothing on films of one shot, five times as long as a stage), on "
        "films of one shot or of several. Each is then distilled by the same method, with itself as the teacher, on films of the same kind. So the "
        "arms differ in two things at once, the films of tuning and the films of distillation; what either does alone is not measured.", _multi_shot,
    ),
    Claim(
        "few-steps", "Four steps keep the quality of the many-step base (CausalCine).",
        "Held-out films by the base in 50, 12 and 4 Euler steps with guidance, and by students of 4 without: one learns to take three guided steps "
        "of the base in one, the other goes the paper's way.", _few_steps,
    ),
    Claim(
        "adversarial", "An adversarial head stops the drift of long films (CausalCine).",
        "Two students that differ in the head's weight; long films of shots of about four chunks; readers look early and late. A long film costs as "
        "much as sixteen others, so there are a fifth as many, four at least; intervals over so few films are rough. `n` counts shots, or puppets "
        "in them.", _adversarial, long_films,
    ),
    Claim(
        "caches", "Shot cache and temporal cache hold consistency (FilmWeaver: 75.12 against 65.44 and 70.57); noise on them buys prompt "
        "following (31.23 against 28.12).",
        "One set of weights with a cache left out at a time, and one trained without noise. What the noise is for is not measured here: FilmWeaver's "
        "effect is on a prompt that changes inside a shot, and no film of these arms has one.", _caches,
    ),
    Claim(
        "state", "An evolving state frees motion without losing the scene (AdaState).",
        "The light of a film goes on while the camera is elsewhere, and no caption tells; the last shot returns. The weights as they are; "
        "`nano` was tuned under the last of these memories, and under windows and sinks of other lengths: the state has been through tuning only, not through distribution matching, where it is meant to learn what it is for.", _state,
    ),
    Claim(
        "mixture", "One set of weights serves every memory as well as one tuned for it (ours; no paper claims it).",
        "Tuned for as many steps under six memories, one drawn for each step, or under one alone; both are asked with that one, and with one "
        "that only the first has seen.", _mixture,
    ),
)  # fmt: skip


def measure_claims(lab: Lab, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """All claims, or some of them.

    Returns:
        `claims`: key -> `says`, `measured`, `films`, `arms` (name, rows, strip); beside it what it was measured with.

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
        arms = [asdict(arm) | {"strip": str(arm.strip)} for arm in claim.run(lab)]
        films = claim.films(lab.films)
        found[claim.key] = {"says": claim.says, "measured": claim.measured, "films": films, "arms": arms}
    profile = lab.generator("window(3)").profile
    return {
        "weights": profile.weights, "films": lab.films, "minutes": lab.minutes, "seed": lab.seed, "threads": torch.get_num_threads(), "steps": lab.steps(),
        "scored_by": "frame reader (small network trained on rendered truth)", "claims": found,
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
