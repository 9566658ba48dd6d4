"""Options that commands share, and how their failures are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..storyboard.errors import SHOWN_INPUT, FilmwrightError
from ..storyboard.plain_text import one_line
from .stopping import received
from .streams import output_failure

DirArg = Annotated[Path, typer.Argument(metavar="DIR", help="The production's folder.")]
OutOpt = Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder of the new production.")]
SecondsOpt = Annotated[float | None, typer.Option("--seconds", help="Length of the film, within 10 %.")]
SeedOpt = Annotated[int | None, typer.Option("--seed", help="The same seed gives the same film.")]
TemplateOpt = Annotated[str | None, typer.Option("--template", help="Script template: a name or a file.")]
SetOpt = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the template; repeatable.")
]
PlannerOpt = Annotated[
    str | None, typer.Option("--planner", help="Who plans: rules, openai:MODEL (any compatible server), gemini:MODEL.")
]
BudgetOpt = Annotated[
    float | None, typer.Option("--budget", metavar="DOLLARS", help="What language models may cost the film in all.")
]
PriceOpt = Annotated[
    str | None,
    typer.Option("--price", metavar="SENT,RECEIVED", help="Dollars per million tokens of the language model."),
]
GeneratorOpt = Annotated[
    str | None,
    typer.Option(
        "--generator",
        help="Who draws: mini, nano (a quarter of the picture, faster), theatre, or a folder of weights.",
    ),
]
MemoryOpt = Annotated[
    str | None,
    typer.Option(
        "--memory", help="What the model remembers: a preset, segments such as 'routed(5)+window(3)', or a YAML file."
    ),
]
CriticOpt = Annotated[
    str | None, typer.Option("--critic", help="Who reviews: measured, none, openai:MODEL, gemini:MODEL.")
]
TakesOpt = Annotated[
    int | None, typer.Option("--takes", help="Takes of every shot; the best by the critic's score is circled.")
]
CastingOpt = Annotated[
    str | None,
    typer.Option("--casting", help="Who draws references: generator, or an image model (openai:MODEL, gemini:MODEL)."),
]
ReviewOpt = Annotated[
    str | None, typer.Option("--review", help="Where a person decides: none, all, or script,casting,takes,cut.")
]
ReferenceOpt = Annotated[
    list[str] | None, typer.Option("--reference", metavar="NAME=FILE", help="An image of an entity; repeatable.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="One event a line on stdout.")]
VerboseOpt = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
QuietOpt = Annotated[bool, typer.Option("-q", "--quiet", help="Results only.")]
DebugOpt = Annotated[bool, typer.Option("--debug", help="Tracebacks instead of one-line errors.")]


def is_production(argument: str) -> bool:
    """Whether an argument names a folder, and is no story or policy."""
    try:
        return 0 < len(argument.strip()) < 1000 and "\n" not in argument and Path(argument).is_dir()
    except OSError:  # a story is longer than a file's name can be
        return False


@contextmanager
def reported(debug: bool) -> Iterator[None]:
    """Turns expected failures into one line on standard error and an exit code.

    The entry point tells of signals, and of output that cannot be written.
    """
    try:
        yield
    except (FilmwrightError, OSError, UnicodeEncodeError) as error:
        if debug or received() is not None:
            raise
        if isinstance(error, FilmwrightError) or output_failure() is None:
            print(f"filmwright: {_line(error)}", file=sys.stderr)
        raise typer.Exit(error.exit_code if isinstance(error, FilmwrightError) else 1) from None


def _line(error: FilmwrightError | OSError | UnicodeEncodeError) -> str:
    if isinstance(error, FilmwrightError):
        return str(error)
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[:SHOWN_INPUT]!r} holds bytes that are not UTF-8: rename or mend it"
    return one_line(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
