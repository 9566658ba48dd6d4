"""Productions as commands open them: with the options given now, under the lock where a command writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.plain_text import one_line
from .options import is_production
from .stopping import goes_on_with

if TYPE_CHECKING:
    from ..agents.session import FilmReport
    from ..storyboard.production import Production, Settings
    from .display import Display


def parse_references(given: list[str] | None) -> dict[str, Path]:
    """`NAME=FILE`, repeated.

    Raises:
        InputError: one is not of that form.
    """
    found = {}
    for item in given or []:
        name, equals, file = item.partition("=")
        if not equals or not name.strip() or not file.strip():
            raise InputError(f"--reference {item!r} is not NAME=FILE, such as --reference fox=fox.png")
        found[name.strip()] = Path(file.strip())
    return found


def given_options(**given: Any) -> dict[str, Any]:
    """The options of a command as settings; None for those that are not given.

    Raises:
        InputError: one cannot be read.
    """
    from .settings import parse_parameters, parse_price, parse_review

    if given.get("review") is not None:
        given["review"] = parse_review(given["review"])
    if given.get("price") is not None:
        given["price"] = parse_price(given["price"])
    if "parameters" in given:
        given["parameters"] = parse_parameters(given["parameters"]) or None
    memory_file = given.get("memory")
    if memory_file and memory_file.strip().endswith((".yaml", ".yml")):
        from ..generator.memory import parse_memory

        given["memory"] = str(parse_memory(memory_file))  # the production keeps the policy, not a path that may move
    return given


def open_production(folder: Path, options: dict[str, Any]) -> tuple[Production, Settings, bool]:
    """A production, its settings with the options given now, and whether these are to be recorded. Writes nothing."""
    from ..storyboard.production import Production
    from .settings import resolve

    production = Production.open(folder)
    recorded = production.read_settings()
    settings = resolve(options, recorded)
    record = any(value is not None for value in options.values()) and settings != recorded
    if record:
        from ..agents.planning import check_settings

        check_settings(settings)
    return production, settings, record


@contextmanager
def locked_production(
    command: str, folder: Path, options: dict[str, Any]
) -> Iterator[tuple[Production, Settings, bool]]:
    """As `open_production`, for a command that writes: no other one does so meanwhile."""
    from ..storyboard.production import Production

    open_production(folder, options)  # what is wrong with the options is told also while another command is at work
    production = Production.open(folder)
    goes_on_with(f"filmwright {command} {folder}")
    with production.lock():
        _, settings, record = open_production(folder, options)
        yield production, settings, record


def new_production_of(
    story: str, out: Path | None, options: dict[str, Any], references: dict[str, Path], display: Display
) -> tuple[Production, Settings]:
    """Plans a story into a new production.

    Raises:
        InputError: story, options or references are refused; nothing is left behind.
    """
    from ..agents.planning import check_settings, new_production
    from .settings import resolve
    from .story import read_story

    text = read_story(story)
    settings = resolve(options, None)
    check_settings(settings)

    def begun(folder: Path) -> None:
        goes_on_with(f"filmwright film {folder}")

    return new_production(text, out, settings, references, display, begun), settings


def tell_end(report: FilmReport, display: Display) -> None:
    """Shows how a run ended.

    Raises:
        FilmwrightError: shots are missing in the film.
    """
    if report.stopped:
        said = f"filmwright: stopped as you said; 'filmwright film {report.folder}' goes on"
        print(one_line(said), file=sys.stderr)
        return
    if report.film is not None:
        display.result(
            str(report.film.path), folder=str(report.folder), film=str(report.film.path), frames=report.film.frames,
            seconds=round(report.film.seconds, 3), missing=list(report.film.missing), shares=report.shares,
        )  # fmt: skip
    missing = report.film.missing if report.film is not None else report.failed
    if missing:
        raise FilmwrightError(
            f"shot {', '.join(missing)} is missing in the film: 'filmwright shoot {report.folder}' tries again"
        )


def is_planned(story: str) -> bool:
    """Whether this is a folder that holds more than a story whose planning was stopped."""
    return is_production(story) and not (
        (Path(story) / "story.txt").is_file() and not (Path(story) / "script.yaml").exists()
    )
