"""The `filmwright` command: parses, calls, prints. Heavy imports happen inside the command that needs them."""

from __future__ import annotations

if __package__ in (None, ""):  # started as `python cli.py`: hand over to the installed package
    from filmwright.__main__ import main

    main()

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .console.evaluate import evaluate_app
from .console.options import (
    BudgetOpt,
    CastingOpt,
    CriticOpt,
    DebugOpt,
    DirArg,
    GeneratorOpt,
    JsonOpt,
    MemoryOpt,
    OutOpt,
    PlannerOpt,
    PriceOpt,
    QuietOpt,
    ReferenceOpt,
    ReviewOpt,
    SecondsOpt,
    SeedOpt,
    SetOpt,
    TakesOpt,
    TemplateOpt,
    VerboseOpt,
    is_production,
    reported,
)
from .console.productions import (
    given_options,
    is_planned,
    locked_production,
    new_production_of,
    open_production,
    parse_references,
    tell_end,
)
from .console.script_templates import templates_app
from .console.weights import models_app, train
from .console.workbench import doctor, export_app, memory
from .storyboard.errors import InputError

if TYPE_CHECKING:
    from .console.display import Display

for _name in (
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "DIFFUSERS_OFFLINE",
    "TRANSFORMERS_OFFLINE",
):
    os.environ.setdefault(_name, "1")
# A thread that spins while it waits for one that has no core takes that core, too: with something else at work on the machine a film took half
# as long again. One that sleeps at once is slow to wake. So it spins for a moment (docs/numbers.md).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

app = typer.Typer(
    name="filmwright", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Turns a story into a film.",
)  # fmt: skip


def _version(value: bool) -> None:
    if value:
        print(f"filmwright {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turns a story into a film."""


@app.command()
def film(
    story: Annotated[str, typer.Argument(metavar="STORY|DIR", help="A story (file, text or -), or a production to go on with.")],
    out: OutOpt = None, seconds: SecondsOpt = None, seed: SeedOpt = None, template: TemplateOpt = None, set_: SetOpt = None,
    planner: PlannerOpt = None, generator: GeneratorOpt = None, memory: MemoryOpt = None, critic: CriticOpt = None,
    takes: TakesOpt = None, casting: CastingOpt = None, budget: BudgetOpt = None, price: PriceOpt = None, review: ReviewOpt = None, reference: ReferenceOpt = None,
    json: JsonOpt = False, verbose: VerboseOpt = False, quiet: QuietOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Makes a film of a story, or goes on with one that was begun."""
    with reported(debug):
        options = given_options(seconds=seconds, seed=seed, template=template, parameters=set_, planner=planner, generator=generator, memory=memory, critic=critic, takes=takes, casting=casting, budget=budget, price=price, review=review)  # fmt: skip
        from .agents.director import Order
        from .agents.session import shoot
        from .console.display import open_display
        from .console.review import terminal_asker

        references = parse_references(reference)
        with open_display(as_json=json, quiet=quiet, verbose=verbose) as display:
            if not is_production(story):
                story = str(new_production_of(story, out, options, references, display)[0].folder)
            elif out is not None:
                raise InputError(f"-o {out} does not go with the existing production {story}: leave it out")
            with locked_production("film", Path(story), options) as (production, settings, record):
                asker = terminal_asker(display, str(production.folder))
                report = shoot(
                    production, settings, Order(references=references, debug=debug), asker, display, record=record
                )
        tell_end(report, display)


@app.command()
def plan(
    story: Annotated[str, typer.Argument(metavar="STORY|DIR", help="A story (file, text or -), or a production to revise.")],
    out: OutOpt = None, seconds: SecondsOpt = None, seed: SeedOpt = None, template: TemplateOpt = None, set_: SetOpt = None,
    planner: PlannerOpt = None, generator: GeneratorOpt = None, memory: MemoryOpt = None, critic: CriticOpt = None,
    takes: TakesOpt = None, casting: CastingOpt = None, budget: BudgetOpt = None, price: PriceOpt = None, review: ReviewOpt = None, reference: ReferenceOpt = None,
    json: JsonOpt = False, verbose: VerboseOpt = False, quiet: QuietOpt = False, debug: DebugOpt = False,
    revise: Annotated[str | None, typer.Option("--revise", metavar="NOTE", help="Change DIR's script as the note asks, and nothing else.")] = None,
) -> None:  # fmt: skip
    """Plans a film: script.yaml and storyboard.html."""
    with reported(debug):
        options = given_options(seconds=seconds, seed=seed, template=template, parameters=set_, planner=planner, generator=generator, memory=memory, critic=critic, takes=takes, casting=casting, budget=budget, price=price, review=review)  # fmt: skip
        from .agents.planning import plan as plan_pages
        from .animatic.movie import draw_panels
        from .console.display import open_display

        if revise is not None or is_planned(story):
            _revise(story, revise, options, open_display(as_json=json, quiet=quiet, verbose=verbose))
            return
        references = parse_references(reference)
        with open_display(as_json=json, quiet=quiet, verbose=verbose) as display:
            if not is_production(story):
                story = str(new_production_of(story, out, options, references, display)[0].folder)
            with locked_production("plan", Path(story), options) as (production, settings, record):
                page = plan_pages(production, settings, references, draw_panels, display, record=record)
        display.result(
            str(production.script_path),
            folder=str(production.folder),
            script=str(production.script_path),
            storyboard=str(page),
        )


def _revise(folder: str, note: str | None, options: dict[str, Any], display: Display) -> None:
    from .agents import planning

    if note is None:
        raise InputError(f"{folder} is planned already: edit {folder}/script.yaml, or say --revise NOTE")
    with display, locked_production("plan", Path(folder), options) as (production, settings, record):
        report = planning.revise(production, settings, note, display, record=record)
    again = f"\nto be shot anew: {', '.join(report.stale)}" if report.stale else ""
    display.result(
        f"{report.diff}\n{report.summary}{again}", folder=folder, summary=report.summary, diff=report.diff,
        shots=list(report.stale),
    )  # fmt: skip


@app.command()
def animatic(
    folder: DirArg, json: JsonOpt = False, quiet: QuietOpt = False, verbose: VerboseOpt = False, debug: DebugOpt = False
) -> None:
    """Draws the script with the paper theatre: animatic.mp4, in seconds."""
    with reported(debug):
        from .animatic.movie import make_animatic
        from .console.display import open_display
        from .storyboard.files import disk_errors

        with (
            open_display(as_json=json, quiet=quiet, verbose=verbose) as display,
            locked_production("animatic", folder, {}) as (production, settings, _),
            disk_errors(production.animatic_path),
        ):
            from .agents.events import Event

            script = production.read_script()
            report = make_animatic(
                script, production.animatic_path, seed=settings.film_seed,
                on_shot=lambda timing, timeline: display(
                    Event("take", {"shot": timing.shot_id, "take": 0, "frames": timing.frames, "score": None, "spent_seconds": 0.0})
                ) if verbose else None,
            )  # fmt: skip
        display.result(
            str(production.animatic_path),
            film=str(production.animatic_path),
            frames=report.frames,
            seconds=report.seconds,
        )


@app.command()
def shoot(
    folder: DirArg,
    shots: Annotated[str | None, typer.Option("--shots", help="Positions, such as 3,5-7.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make new takes also where nothing changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be shot, how long it takes, what it costs.")] = False,
    seed: SeedOpt = None, generator: GeneratorOpt = None, memory: MemoryOpt = None, critic: CriticOpt = None,
    takes: TakesOpt = None, review: ReviewOpt = None, reference: ReferenceOpt = None, json: JsonOpt = False, verbose: VerboseOpt = False,
    quiet: QuietOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Shoots what changed, or the shots you name."""
    with reported(debug):
        from .agents.edits import parse_shots
        from .console.display import open_display

        positions = parse_shots(shots)
        options = given_options(
            seed=seed, generator=generator, memory=memory, critic=critic, takes=takes, review=review
        )
        with open_display(as_json=json, quiet=quiet, verbose=verbose) as display:
            if dry_run:
                from .agents import status as standing
                from .console.tables import dry_run_table

                production, settings, _ = open_production(folder, options)
                found = standing.dry_run(production, settings, positions, again)
                display.result(dry_run_table(found), **found)
                return
            from .agents import session
            from .agents.director import Order
            from .console.review import terminal_asker

            order = Order(positions, again, cut=False, references=parse_references(reference), debug=debug)
            with locked_production("shoot", folder, options) as (production, settings, record):
                asker = terminal_asker(display, str(folder))
                report = session.shoot(production, settings, order, asker, display, record=record)
        if not report.stopped:
            display.result(
                f"shot; 'filmwright cut {folder}' joins the film", folder=str(folder), failed=list(report.failed)
            )
        tell_end(report, display)


@app.command()
def circle(
    folder: DirArg,
    shot: Annotated[str, typer.Argument(metavar="SHOT", help="The shot's id, such as 2A.")],
    take: Annotated[int, typer.Argument(metavar="TAKE", min=1, help="The take's number.")],
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Chooses another take of a shot for the cut, and for the history of the shots after it."""
    with reported(debug):
        from .agents import edits
        from .console.display import open_display

        production, _, _ = open_production(folder, {})
        edits.circle_take(production, shot, take)
        said = f"shot {shot}: take {take} is circled; 'filmwright cut {folder}' joins the film"
        open_display(as_json=json, quiet=True, verbose=False).result(said, folder=str(folder), shot=shot, take=take)


@app.command()
def rename(
    folder: DirArg,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The entity's name or id.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    json: JsonOpt = False,
    debug: DebugOpt = False,
) -> None:
    """Renames a character, a prop or a place everywhere the script names it."""
    with reported(debug):
        from .agents import edits
        from .console.display import open_display

        production, _, _ = open_production(folder, {})
        places = edits.rename(production, old, new)
        said = "\n".join(places) or f"nothing says {old!r} any more"
        open_display(as_json=json, quiet=True, verbose=False).result(said, folder=str(folder), places=places)


@app.command()
def cut(
    folder: DirArg, json: JsonOpt = False, quiet: QuietOpt = False, verbose: VerboseOpt = False, debug: DebugOpt = False
) -> None:
    """Joins the circled takes: film.mp4, film.srt, film.otio, storyboard.html."""
    with reported(debug):
        from .agents import session
        from .console.display import open_display

        with (
            open_display(as_json=json, quiet=quiet, verbose=verbose) as display,
            locked_production("cut", folder, {}) as (production, settings, _),
        ):
            report = session.cut(production, settings, display)
        tell_end(session.FilmReport(folder, report, (), False, {}), display)


@app.command()
def status(folder: DirArg, json: JsonOpt = False, debug: DebugOpt = False) -> None:
    """Says where a production stands, shot by shot."""
    with reported(debug):
        from .agents import status as standing
        from .console.display import open_display
        from .console.tables import status_table

        production, settings, _ = open_production(folder, {})
        found = standing.status(production, settings)
        open_display(as_json=json, quiet=True, verbose=False).result(status_table(found), **found)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A production's folder or its script.yaml.")],
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Validates a production and shows its shots on the chunk grid."""
    with reported(debug):
        from .agents import status as standing
        from .console.display import open_display
        from .console.tables import check_table

        found = standing.check(path)
        open_display(as_json=json, quiet=True, verbose=False).result(check_table(found), **found)


app.command()(train)
app.command()(memory)
app.command()(doctor)
app.add_typer(templates_app, name="templates")
app.add_typer(models_app, name="models")
app.add_typer(export_app, name="export")
app.add_typer(evaluate_app, name="evaluate")
