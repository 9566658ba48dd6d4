"""The critic: looks at frames while the shot is rolling and answers with a typed verdict.

The *measured* critic only decides; the generator measures. Its thresholds are here, each with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from ..storyboard.caption import Staging
from ..storyboard.stage import Frames, Measures

Action = Literal["continue", "reprompt", "rewind", "reshoot", "ask"]


class Verdict(BaseModel):
    """What the critic wants.

    continue: go on. reprompt: `prompt` from the next chunk on. rewind: drop the last `chunks` chunks and draw them anew.
    reshoot: give the take up and begin another. ask: a person should look. `marks`: 0 … 1 by criterion, of a critic that looks;
    `by`: which model, and which version of its prompt.
    """

    model_config = ConfigDict(extra="forbid")

    action: Action
    reason: str
    score: float = Field(ge=0, le=1)
    chunks: int = Field(default=0, ge=0)
    prompt: str | None = None
    marks: dict[str, float] | None = None
    by: str | None = None


@dataclass(frozen=True)
class Scenery:
    """What a critic that looks is shown besides.

    Attributes:
        frames: of the take so far [F, H, W, 3]; `before`: the last frame of the shot before [H, W, 3].
        intent: what the shot is to show.
        references: what those in it must look like, by name.
    """

    frames: Frames
    before: Frames | None
    intent: str
    place: str
    time: str
    size: str
    notes: str
    references: dict[str, Image.Image]


@dataclass(frozen=True)
class Look:
    """What the critic is shown: the chunk's measures, its prompt, where it is, what may still be done, the picture for
    one that looks, and what was asked for in the small world's words, where it was."""

    measures: Measures
    prompt: str
    chunk: int
    cut_planned: bool
    prompt_floor: float | None
    interventions_left: int
    takes_left: int
    scene: Scenery | None = None
    asked: Staging | None = None


class Critic(Protocol):
    """Reviews a chunk."""

    def review(self, look: Look) -> Verdict:
        """Gives a verdict; must not depend on anything but the look."""


MIN_CUT_CHANGE = 0.02
"""A planned cut between different set-ups changes a pixel by 0.1 to 0.3 on average; noise alone stays below 0.02."""
MAX_FLICKER = 0.12
"""A jump of the whole picture's brightness inside a shot: the theatre never exceeds 0.03."""
MAX_EXPOSURE_DRIFT = 0.08
"""Within a chunk; 80 sound shots stayed below 0.05."""
MAX_COLOUR_DRIFT = 0.045
"""Likewise, of the mean colour; they stayed below 0.033."""
MAX_STRANGER = 0.02
"""Part of the frame that a puppet nobody asked for may seem to fill: in 220 sound validation chunks through the autoencoder the frame
reader saw one larger in two; of 72 with a puppet too many it saw that one larger in all but one."""
MIN_MOTION = 0.0008
"""A walking puppet moves a pixel by 0.004 per frame on average; a frozen picture by less than this."""
STRONGER = {"walks": "runs", "talks": "jumps"}
"""What to ask for when nothing moves: our sizes know no adverbs."""


class NoCritic:
    """Lets everything pass."""

    def review(self, look: Look) -> Verdict:
        return Verdict(action="continue", reason="nobody looked", score=1.0)


class MeasuredCritic:
    """Decides on `Measures` alone, the same way every time."""

    def review(self, look: Look) -> Verdict:
        problem, action, chunks, prompt = self._worst(look)
        score = self._score(look)
        if problem is None:
            return Verdict(action="continue", reason="as asked", score=score)
        if look.interventions_left > 0:
            return Verdict(action=action, reason=problem, score=score, chunks=chunks, prompt=prompt)
        if look.takes_left > 0:
            return Verdict(action="reshoot", reason=f"{problem}; interventions are spent", score=score)
        return Verdict(action="ask", reason=f"{problem}; interventions and takes are spent", score=score)

    def _worst(self, look: Look) -> tuple[str | None, Action, int, str | None]:
        m = look.measures
        if look.cut_planned and m.cut is not None and m.cut < MIN_CUT_CHANGE:
            return f"planned cut not seen (change {m.cut:.3f} < {MIN_CUT_CHANGE})", "rewind", 1, None
        wrong = self._not_as_asked(look)
        if wrong is not None:
            return wrong, "rewind", 1, None
        if m.flicker > MAX_FLICKER:
            return f"flicker ({m.flicker:.2f} > {MAX_FLICKER})", "rewind", 1, None
        if abs(m.exposure_drift) > MAX_EXPOSURE_DRIFT:
            return f"exposure drifts ({m.exposure_drift:+.2f})", "rewind", 1, None
        if m.colour_drift > MAX_COLOUR_DRIFT:
            return f"colour drifts ({m.colour_drift:.2f} > {MAX_COLOUR_DRIFT})", "rewind", 1, None
        moving = next((verb for verb in STRONGER if f" {verb} " in look.prompt), None)
        if moving and m.motion < MIN_MOTION:
            prompt = look.prompt.replace(moving, STRONGER[moving], 1)
            return f"stagnation ({m.motion:.4f} < {MIN_MOTION})", "reprompt", 0, prompt
        return None, "continue", 0, None

    @staticmethod
    def _not_as_asked(look: Look) -> str | None:
        """What is there and should not be, or is not and should. A reader knows it word by word; a CLIP, which says only how like a
        picture and its prompt are, is asked where there is none, or no caption to compare with."""
        m = look.measures
        if look.asked is not None and m.puppets is not None and m.place is not None:
            asked = (look.asked.set, look.asked.time)
            place = [
                f"shows {seen} instead of {told}" for seen, told in zip(m.place, asked, strict=True) if seen != told
            ]
            wrong = wrong_puppets(m.puppets, tuple(dict.fromkeys(role.kind for role in look.asked.roles)))
            return ", ".join([*place, *([wrong] if wrong else [])]) or None
        if m.prompt is not None and look.prompt_floor is not None and m.prompt < look.prompt_floor:
            return f"not what was asked (similarity {m.prompt:.2f} < {look.prompt_floor:.2f})"
        return None

    def _score(self, look: Look) -> float:
        m = look.measures
        told = 0.5 + 0.5 * m.prompt if m.prompt is not None else 1.0
        calm = 1.0 - min(1.0, m.flicker / MAX_FLICKER / 2)
        steady = 1.0 - min(1.0, abs(m.exposure_drift) / MAX_EXPOSURE_DRIFT / 2)
        right = 0.5 if self._not_as_asked(look) else 1.0
        return round(max(0.0, min(1.0, told * calm * steady * right)), 4)


def wrong_puppets(seen: dict[str, float], asked: tuple[str, ...]) -> str | None:
    """Who was asked for and is not there, or is there (`seen`: parts of the frame by kind) and was not asked for; None where all is
    right."""
    missing = [kind for kind in asked if kind not in seen]
    strangers = [kind for kind, part in seen.items() if kind not in asked and part > MAX_STRANGER]
    told = [f"shows no {kind}" for kind in missing] + [f"shows a {kind} that nobody asked for" for kind in strangers]
    return ", ".join(told) or None


def is_critic(name: str) -> bool:
    """Whether a name means one of the critics that need no language model."""
    return name in ("measured", "none")
