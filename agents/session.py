"""What the commands do: one function each, over a production."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..storyboard.cut import CutReport
from ..storyboard.production import Production, Settings
from .cutting import cut_film
from .director import Director, Order
from .events import Event, Listener
from .pictures import check_openings
from .planning import check_references
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


def shoot(production: Production, settings: Settings, order: Order, ask: Asker, tell: Listener) -> FilmReport:
    """Shoots what the order says, and cuts if it says so."""
    check_references(settings, order.references or {})
    if production.script_path.exists():
        check_openings(production, production.read_script())
    with production.lock():
        production.clear_rolling()
        director = Director(production, settings, order, tell)
        state = director.run(ask)
        shares = {name: round(seconds, 3) for name, seconds in director.floor.spent.items()}
        tell(Event("done", {"shares": shares}))
        return FilmReport(
            production.folder, director.report, tuple(state.get("failed", [])), bool(state.get("stopped")), shares
        )


def cut(production: Production, settings: Settings, tell: Listener) -> CutReport:
    """Joins what has been shot."""
    with production.lock():
        return cut_film(production, settings, current_takes(production, settings), tell)
