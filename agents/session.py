"""Shooting and cutting a production."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..storyboard.cut import CutReport
from ..storyboard.production import Production, Settings
from .casting import look_for_references
from .cutting import cut_film
from .director import Director, Order
from .edits import check_positions
from .events import Event, Listener
from .pictures import check_openings
from .planning import check_references, plan_story
from .questions import Asker
from .status import current_takes


@dataclass(frozen=True)
class FilmReport:
    """How a run ended."""

    folder: Path
    film: CutReport | None
    failed: tuple[str, ...]
    stopped: bool
    shares: dict[str, float]


def shoot(
    production: Production, settings: Settings, order: Order, ask: Asker, tell: Listener, *, record: bool = False
) -> FilmReport:
    """Shoots what the order says, and cuts if it says so. `record`: the settings go to production.yaml, if nothing is refused.

    Raises:
        InputError: the script, the order or a reference is refused; nothing is changed then.
        FilmwrightError: the production is in use, or a file cannot be written.
    """
    with production.lock():
        if not production.script_path.exists():
            plan_story(production, settings, tell)
        director = Director(production, settings, order, tell)
        _check_order(production, settings, order)
        if record:
            production.write_settings(settings)
        production.clear_rolling()
        state = director.run(ask)
        shares = {name: round(seconds, 3) for name, seconds in director.floor.spent.items()}
        tell(Event("done", {"shares": shares}))
        return FilmReport(
            production.folder, director.report, tuple(state.get("failed", [])), bool(state.get("stopped")), shares
        )


def _check_order(production: Production, settings: Settings, order: Order) -> None:
    """Reads what is asked for, before anything is written.

    Raises:
        InputError: something in it is wrong.
    """
    script = production.read_script()
    check_positions(order.shots, len(list(script.shots())))
    check_references(settings, order.references or {}, script)
    look_for_references(production, script)
    check_openings(production, script)
    current_takes(production, settings).states()  # everything that the shots name


def cut(production: Production, settings: Settings, tell: Listener) -> CutReport:
    """Joins what has been shot."""
    with production.lock():
        look_for_references(production, production.read_script())
        return cut_film(production, settings, current_takes(production, settings), tell)
