"""Options that commands share, and how their failures are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..storyboard.errors import FilmwrightError
from ..storyboard.plain_text import one_line

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
    """Expected failures become one line and an exit code."""
    try:
        yield
    except FilmwrightError as error:
        if debug:
            raise
        print(f"filmwright: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        print("\nfilmwright: stopped; nothing finished is lost, the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # whoever read the output has had enough
        sys.stdout = None
        raise typer.Exit(1) from None
    except OSError as error:
        if debug:
            raise
        said = f"filmwright: {error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        print(one_line(said), file=sys.stderr)
        raise typer.Exit(1) from None
