"""Who works on a film: the planner and the critic that its settings name. Language models are paid from the film's purse, and every
call is in the film's log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..storyboard.errors import InputError
from ..storyboard.production import Production, Settings
from ..storyboard.stage import read_profile
from .casting import Painter
from .critic import Critic, MeasuredCritic, NoCritic, is_critic
from .events import Event, Listener
from .models.language import LanguageModel
from .models.purse import Metered, Price, Purse
from .models.registry import EXAMPLES, PICTURE_PROVIDERS, is_model, open_model
from .planner import RULES, Planner, check_planner, open_rules

GENERATOR = "generator"


def check_crew(settings: Settings) -> None:
    """Names, keys, addresses and prices, before any work is done. No call is made.

    Raises:
        InputError: one of them cannot be right.
    """
    check_planner(settings.planner)
    if not is_critic(settings.critic) and not is_model(settings.critic):
        raise InputError(
            f"critic {settings.critic!r} is unknown: choose measured, none, or a language model ({EXAMPLES})"
        )
    if settings.casting != GENERATOR and settings.casting.partition(":")[0] not in PICTURE_PROVIDERS:
        raise InputError(f"casting {settings.casting!r} is unknown: choose {GENERATOR}, or an image model ({EXAMPLES})")
    named = [name for name in (settings.planner, settings.critic, settings.casting) if is_model(name)]
    for name in named:
        open_model(name)
    if settings.budget is not None and named and settings.price is None:
        raise InputError(
            f"--budget {settings.budget:g}: what {named[0]} costs is not known here; "
            "say --price SENT,RECEIVED in dollars per million tokens, as the provider's page has it"
        )
    if settings.budget is not None and is_model(settings.casting) and len(settings.price or ()) < 3:
        raise InputError(
            f"--budget {settings.budget:g}: say what a picture of {settings.casting} costs: --price SENT,RECEIVED,PICTURE"
        )


def spent_so_far(production: Production) -> float:
    """Dollars that a film has cost."""
    return sum(float(entry.get("dollars", 0.0)) for entry in production.read_log() if entry["event"] == "call")


def _purse(production: Production, settings: Settings) -> Purse:
    """What is left of a film's budget."""
    price = Price(*settings.price) if settings.price else None
    return Purse(price, settings.budget, spent_so_far(production))


def _books(production: Production, tell: Listener) -> Callable[[dict[str, Any]], None]:
    """Writes a call down, and tells of it."""

    def told(call: dict[str, Any]) -> None:
        production.log("call", **call)
        tell(Event("call", call))

    return told


def hire(name: str, production: Production, settings: Settings, tell: Listener) -> LanguageModel:
    """A language model that works for a film."""
    model = open_model(name, timeout_seconds=settings.model_timeout)
    return Metered(model, _purse(production, settings), _books(production, tell), settings.requests_per_minute)


def hire_painter(production: Production, settings: Settings, tell: Listener) -> Painter | None:
    """Who draws references instead of the generator; None where it does."""
    if settings.casting == GENERATOR:
        return None
    from .models.painter import PaidPainter

    model: Any = open_model(settings.casting, timeout_seconds=settings.model_timeout)
    return PaidPainter(model, _purse(production, settings), _books(production, tell))


def hire_planner(production: Production, settings: Settings, tell: Listener) -> Planner:
    """The planner that a film's settings name."""
    if settings.planner == RULES:
        return open_rules()
    from .writer.desk import PassReport
    from .writer.planner import ModelPlanner
    from .writer.store import PassStore

    def heard(report: PassReport) -> None:
        tell(Event("pass", {"name": report.name, "kept": report.kept, "repaired": report.repaired}))

    profile = read_profile(settings.generator, settings.memory)
    model = hire(settings.planner, production, settings, tell)
    return ModelPlanner(model, PassStore(production.folder / "plan"), profile.vocabulary, heard)


def hire_critic(production: Production, settings: Settings, tell: Listener) -> Critic:
    """The critic that a film's settings name; a language model looks on top of the measured one."""
    if settings.critic == "none":
        return NoCritic()
    if settings.critic == "measured":
        return MeasuredCritic()
    from .viewer import Viewer

    simple = read_profile(settings.generator, settings.memory).prompt_style == "caption"
    return Viewer(hire(settings.critic, production, settings, tell), MeasuredCritic(), simple)
