"""What the rest of a film will cost: calls of language and image models, their tokens, and dollars where the price is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..storyboard.production import Production, Settings
from ..storyboard.script import Script
from ..templates.loader import load_template
from .casting import DRAWN
from .current import ShotState
from .models.language import CHARACTERS_OF_TOKEN, TOKENS_OF_IMAGE, Usage
from .models.purse import Price
from .models.registry import is_model

CRITIC_CALL, PLANNER_CALL = Usage(1, 900, 350), Usage(1, 2500, 1200)
"""Text tokens of a call where the film's log has none to go by."""
CRITIC_SCHEMA = "View"
"""What calls of the critic are logged as."""


@dataclass(frozen=True)
class Estimate:
    """Calls of one model.

    Attributes:
        dollars: None where the price is not known.
        after: what the estimate goes by: calls of this film, or a guess.
    """

    role: str
    model: str
    calls: int
    sent_tokens: int
    received_tokens: int
    pictures: int
    dollars: float | None
    after: str


def cost_of_shooting(
    production: Production, settings: Settings, todo: Sequence[ShotState], chunks: int, script: Script
) -> dict[str, Any]:
    """`models`: an estimate for every paid model; `cost`: dollars in all, None where a price is not known.

    Chunks that a critic sends back are drawn and looked at again, so a film may cost more than this.
    """
    found = []
    if is_model(settings.critic) and chunks:
        found.append(_critic(production, settings, todo, chunks * settings.takes, script))
    if is_model(settings.casting):
        found.append(_casting(production, settings, script))
    return _summed([estimate for estimate in found if estimate.calls])


def cost_of_planning(production: Production, settings: Settings, story: str) -> dict[str, Any]:
    """The same for the plan of a story: three calls, and two for every scene."""
    if not is_model(settings.planner):
        return _summed([])
    scenes = len(load_template(settings.template, settings.parameters).beats)
    calls = 3 + 2 * scenes
    usage = _typical(production, settings.planner, lambda schema: schema != CRITIC_SCHEMA)
    each = usage or PLANNER_CALL + Usage(0, len(story) // CHARACTERS_OF_TOKEN, 0)
    return _summed([_estimate("planner", settings.planner, calls, each, settings, usage is not None)])


def _critic(
    production: Production, settings: Settings, todo: Sequence[ShotState], calls: int, script: Script
) -> Estimate:
    """One call a chunk, with a contact sheet and a picture of everybody in the shot."""
    usage = _typical(production, settings.critic, lambda schema: schema == CRITIC_SCHEMA)
    cast = max((len(script.cast_of(state.shot)) for state in todo), default=0)
    each = usage or CRITIC_CALL + Usage(0, TOKENS_OF_IMAGE * (1 + cast), 0)
    return _estimate("critic", settings.critic, calls, each, settings, usage is not None)


def _casting(production: Production, settings: Settings, script: Script) -> Estimate:
    """One picture for every character that has none."""
    pictures = sum(
        entity.kind == "character"
        and not entity.references
        and not (production.reference_folder(entity.id) / DRAWN).is_file()
        for entity in script.entities
    )
    dollars = settings.price[2] * pictures if settings.price and len(settings.price) > 2 else None
    return Estimate("casting", settings.casting, pictures, 0, 0, pictures, dollars, "one picture a character")


def _estimate(role: str, model: str, calls: int, each: Usage, settings: Settings, measured: bool) -> Estimate:
    sent, received = calls * each.sent, calls * each.received
    price = Price(*settings.price) if settings.price else None
    dollars = round(price.of(Usage(calls, sent, received)), 4) if price else None
    return Estimate(role, model, calls, sent, received, 0, dollars, "calls of this film" if measured else "a guess")


def _typical(production: Production, model: str, counts: Callable[[str], bool]) -> Usage | None:
    """Mean tokens of the calls of a model that the film's log has; None where it has none."""
    calls = [
        entry
        for entry in production.read_log()
        if entry.get("event") == "call" and entry.get("model") == model and counts(str(entry.get("for")))
    ]
    if not calls:
        return None
    sent, received = (sum(int(call.get(key, 0)) for call in calls) for key in ("sent_tokens", "received_tokens"))
    return Usage(1, round(sent / len(calls)), round(received / len(calls)))


def _summed(found: Sequence[Estimate]) -> dict[str, Any]:
    known = [estimate.dollars for estimate in found if estimate.dollars is not None]
    cost = round(sum(known), 4) if len(known) == len(found) else None
    return {"models": [asdict(estimate) for estimate in found], "cost": cost}
