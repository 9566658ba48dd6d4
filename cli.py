"""The `filmwright` command: parses, calls, prints. Heavy imports happen inside the command that needs them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if __package__ in (None, ""):  # started as `python cli.py`: hand over to the installed package
    import runpy

    runpy.run_module("filmwright", run_name="__main__", alter_sys=True)
    sys.exit(0)

import typer

from . import __version__
from .storyboard.errors import FilmwrightError, InputError

if TYPE_CHECKING:
    from .console.display import Display
    from .storyboard.production import Production, Settings

for _name in (
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "DIFFUSERS_OFFLINE",
    "TRANSFORMERS_OFFLINE",
):
    os.environ.setdefault(_name, "1")

app = typer.Typer(
    name="filmwright", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Turns a story into a film.",
)  # fmt: skip
templates_app = typer.Typer(no_args_is_help=True, help="Script templates.")
models_app = typer.Typer(no_args_is_help=True, help="Generators.")
app.add_typer(templates_app, name="templates")
app.add_typer(models_app, name="models")
evaluate_app = typer.Typer(no_args_is_help=True, help="Measures generators.")
app.add_typer(evaluate_app, name="evaluate")

DirArg = Annotated[Path, typer.Argument(metavar="DIR", help="The production's folder.")]
OutOpt = Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder of the new production.")]
SecondsOpt = Annotated[float | None, typer.Option("--seconds", help="Length of the film, within 10 %.")]
SeedOpt = Annotated[int | None, typer.Option("--seed", help="The same seed gives the same film.")]
TemplateOpt = Annotated[str | None, typer.Option("--template", help="Script template.")]
PlannerOpt = Annotated[str | None, typer.Option("--planner", help="Who plans: rules.")]
GeneratorOpt = Annotated[
    str | None, typer.Option("--generator", help="Who draws: nano, theatre, or a folder of weights.")
]
MemoryOpt = Annotated[
    str | None,
    typer.Option(
        "--memory", help="What the model remembers: a preset, segments such as 'routed(5)+window(3)', or a YAML file."
    ),
]
CriticOpt = Annotated[str | None, typer.Option("--critic", help="Who reviews: measured or none.")]
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


@contextmanager
def _errors(debug: bool) -> Iterator[None]:
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
    except OSError as error:
        if debug:
            raise
        print(
            f"filmwright: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr
        )
        raise typer.Exit(1) from None


def _references(given: list[str] | None) -> dict[str, Path]:
    found = {}
    for item in given or []:
        name, equals, file = item.partition("=")
        if not equals or not name.strip() or not file.strip():
            raise InputError(f"--reference {item!r} is not NAME=FILE, such as --reference fox=fox.png")
        found[name.strip()] = Path(file.strip())
    return found


def _options(**given: Any) -> dict[str, Any]:
    from .console.settings import parse_review

    if given.get("review") is not None:
        given["review"] = parse_review(given["review"])
    return given


def _open(folder: Path, options: dict[str, Any]) -> tuple[Production, Settings]:
    """A production with its settings; options given now are recorded."""
    from .console.settings import resolve
    from .storyboard.production import Production

    production = Production.open(folder)
    recorded = production.read_settings()
    settings = resolve(options, recorded)
    if any(value is not None for value in options.values()) and settings != recorded:
        from .agents.session import check_settings

        check_settings(settings)
        production.write_settings(settings)
    return production, settings


def _is_production(argument: str) -> bool:
    return 0 < len(argument.strip()) < 1000 and "\n" not in argument and Path(argument).is_dir()


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
    out: OutOpt = None, seconds: SecondsOpt = None, seed: SeedOpt = None, template: TemplateOpt = None,
    planner: PlannerOpt = None, generator: GeneratorOpt = None, memory: MemoryOpt = None, critic: CriticOpt = None,
    review: ReviewOpt = None, reference: ReferenceOpt = None, json: JsonOpt = False, verbose: VerboseOpt = False,
    quiet: QuietOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Makes a film of a story, or goes on with one that was begun."""
    with _errors(debug):
        options = _options(seconds=seconds, seed=seed, template=template, planner=planner, generator=generator, memory=memory, critic=critic, review=review)  # fmt: skip
        from .agents.director import Order
        from .agents.session import shoot
        from .console.display import open_display
        from .console.review import terminal_asker

        references = _references(reference)
        with open_display(as_json=json, quiet=quiet, verbose=verbose) as display:
            if _is_production(story):
                if out is not None:
                    raise InputError(f"-o {out} does not go with the existing production {story}: leave it out")
                production, settings = _open(Path(story), options)
            else:
                production, settings = _new(story, out, options, references, display)
            asker = terminal_asker(display, str(production.folder))
            report = shoot(production, settings, Order(references=references), asker, display)
        _finish(report, display)


def _new(
    story: str, out: Path | None, options: dict[str, Any], references: dict[str, Path], display: Display
) -> tuple[Production, Settings]:
    from .agents.session import check_settings, new_production
    from .console.settings import resolve
    from .console.story import read_story

    text = read_story(story)
    settings = resolve(options, None)
    check_settings(settings)
    return new_production(text, out, settings, references, display), settings


def _finish(report: Any, display: Display) -> None:
    if report.stopped:
        print(f"filmwright: stopped as you said; 'filmwright film {report.folder}' goes on", file=sys.stderr)
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


@app.command()
def plan(
    story: Annotated[str, typer.Argument(metavar="STORY", help="A story: file, text or -.")],
    out: OutOpt = None, seconds: SecondsOpt = None, seed: SeedOpt = None, template: TemplateOpt = None,
    planner: PlannerOpt = None, generator: GeneratorOpt = None, memory: MemoryOpt = None, critic: CriticOpt = None,
    review: ReviewOpt = None, reference: ReferenceOpt = None, json: JsonOpt = False, verbose: VerboseOpt = False,
    quiet: QuietOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Plans a film: script.yaml and storyboard.html."""
    with _errors(debug):
        options = _options(seconds=seconds, seed=seed, template=template, planner=planner, generator=generator, memory=memory, critic=critic, review=review)  # fmt: skip
        from .agents.session import plan as plan_pages
        from .animatic.movie import draw_panels
        from .console.display import open_display

        references = _references(reference)
        with open_display(as_json=json, quiet=quiet, verbose=verbose) as display:
            production, settings = _new(story, out, options, references, display)
            page = plan_pages(production, settings, references, draw_panels)
        display.result(
            str(production.script_path),
            folder=str(production.folder),
            script=str(production.script_path),
            storyboard=str(page),
        )


@app.command()
def animatic(
    folder: DirArg, json: JsonOpt = False, quiet: QuietOpt = False, verbose: VerboseOpt = False, debug: DebugOpt = False
) -> None:
    """Draws the script with the paper theatre: animatic.mp4, in seconds."""
    with _errors(debug):
        from .animatic.movie import make_animatic
        from .console.display import open_display
        from .storyboard.files import disk_errors

        production, settings = _open(folder, {})
        script = production.read_script()
        with open_display(as_json=json, quiet=quiet, verbose=verbose) as display, disk_errors(production.animatic_path):
            from .agents.events import Event

            report = make_animatic(
                script, production.animatic_path, seed=settings.seed,
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
    review: ReviewOpt = None, reference: ReferenceOpt = None, json: JsonOpt = False, verbose: VerboseOpt = False,
    quiet: QuietOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Shoots what changed, or the shots you name."""
    with _errors(debug):
        from .agents import session
        from .agents.director import Order
        from .console.display import open_display
        from .console.review import terminal_asker

        positions = session.parse_shots(shots)
        production, settings = _open(
            folder, _options(seed=seed, generator=generator, memory=memory, critic=critic, review=review)
        )
        with open_display(as_json=json, quiet=quiet, verbose=verbose) as display:
            if dry_run:
                found = session.dry_run(production, settings, positions, again)
                names = ", ".join(f"{s['position']} ({s['shot']})" for s in found["shoot"]) or "nothing"
                guess = (
                    f"about {found['estimated_seconds']:.0f} s"
                    if found["estimated_seconds"] is not None
                    else "time unknown before the first take"
                )
                display.result(f"would shoot {names}: {found['chunks']} chunks, {guess}, no cost", **found)
                return
            order = Order(positions, again, cut=False, references=_references(reference))
            report = session.shoot(production, settings, order, terminal_asker(display, str(folder)), display)
        if not report.stopped:
            display.result(
                f"shot; 'filmwright cut {folder}' joins the film", folder=str(folder), failed=list(report.failed)
            )
        _finish(report, display)


@app.command()
def cut(
    folder: DirArg, json: JsonOpt = False, quiet: QuietOpt = False, verbose: VerboseOpt = False, debug: DebugOpt = False
) -> None:
    """Joins the circled takes: film.mp4, film.srt, storyboard.html."""
    with _errors(debug):
        from .agents import session
        from .console.display import open_display

        production, settings = _open(folder, {})
        with open_display(as_json=json, quiet=quiet, verbose=verbose) as display:
            report = session.cut(production, settings, display)
        _finish(session.FilmReport(folder, report, (), False, {}), display)


@app.command()
def status(folder: DirArg, json: JsonOpt = False, debug: DebugOpt = False) -> None:
    """Says where a production stands, shot by shot."""
    with _errors(debug):
        from .agents import session
        from .console.display import open_display
        from .console.tables import status_table

        production, settings = _open(folder, {})
        found = session.status(production, settings)
        open_display(as_json=json, quiet=True, verbose=False).result(status_table(found), **found)


@app.command()
def memory(
    folder: DirArg,
    layer: Annotated[int | None, typer.Option("--layer", help="Only what this layer recalled, from 0 (default: all).")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="The picture (default: DIR/memory.png).")] = None,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Draws what the film remembered while it was made: which frames each chunk saw and recalled."""
    with _errors(debug):
        from .console.display import open_display
        from .evaluation.memory_map import draw_map, read_map
        from .storyboard.files import replacing

        production, _ = _open(folder, {})
        found = read_map(production)
        target = out or production.folder / "memory.png"
        with replacing(target) as temporary:
            draw_map(found, layer).save(temporary, format="PNG")
        open_display(as_json=json, quiet=True, verbose=False).result(
            str(target), picture=str(target), memory=found.memory, recalled_from=found.recalled_from(),
            chunks=[{"shot": r.shot, "chunk": r.chunk, "start": r.start, "window": r.window, "sink": r.sink, "recalled": r.recalled} for r in found.rows],
        )  # fmt: skip


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A production's folder or its script.yaml.")],
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Validates a production and shows its shots on the chunk grid."""
    with _errors(debug):
        from .agents import session
        from .console.display import open_display
        from .console.tables import check_table

        found = session.check(path)
        open_display(as_json=json, quiet=True, verbose=False).result(check_table(found), **found)


@templates_app.command("list")
def templates_list(json: JsonOpt = False, debug: DebugOpt = False) -> None:
    """Lists the script templates."""
    with _errors(debug):
        from .templates.loader import load_template, template_names

        for name in template_names():
            template = load_template(name)
            if json:
                import json as json_module

                print(
                    json_module.dumps(
                        {"name": name, "title": template.title, "description": template.description}, ensure_ascii=False
                    )
                )
            else:
                print(f"{name:16} {template.description}")


@templates_app.command("show")
def templates_show(
    name: Annotated[str, typer.Argument(help="A template's name.")], json: JsonOpt = False, debug: DebugOpt = False
) -> None:
    """Shows a template: its story beats and shot grammar."""
    with _errors(debug):
        from .console.tables import template_text
        from .templates.loader import load_template

        template = load_template(name)
        print(template.model_dump_json() if json else template_text(template))


@models_app.command("list")
def models_list(
    published: Annotated[bool, typer.Option("--published", help="Weights of others that 'models pull' fetches.")] = False,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Lists the generators and what each can do."""
    with _errors(debug):
        from .console.display import open_display
        from .console.tables import models_found, published_found

        display = open_display(as_json=json, quiet=True, verbose=False)
        for entry in published_found() if published else models_found():
            display.result(f"{entry['name']:14} {entry['says']}", **entry)


@models_app.command("pull")
def models_pull(
    wanted: Annotated[str, typer.Argument(metavar="NAME", help="A name of 'filmwright models list --published'.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder to fetch into (default: weights/NAME).")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask after size and licence were shown.")] = False,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Fetches published weights: size and licence first, then, when you say so, the files."""
    with _errors(debug):
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):  # the one command that goes to the network
            os.environ.pop(name, None)
        from .console.display import open_display
        from .console.review import confirm
        from .generator.library import look_up, pull

        offer = look_up(wanted)
        told = f"{offer.repository}: {offer.size / 1e9:.2f} GB in {len(offer.files)} files, licence {offer.licence}"
        print(told, file=sys.stderr)
        if not yes and not confirm("fetch it?"):
            raise InputError("nothing was fetched: say --yes to go on without a question")
        folder = pull(offer, out or Path("weights") / wanted)
        open_display(as_json=json, quiet=True, verbose=False).result(
            str(folder), folder=str(folder), bytes=offer.size, licence=offer.licence, revision=offer.revision
        )


@models_app.command("convert")
def models_convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A .pt or .safetensors file, or a folder of shards.")],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    layout: Annotated[str | None, typer.Option("--layout", help="wan, self-forcing, causal-forcing, longlive, shotstream, krea or taehv (default: by the file's name).")] = None,
    lora: Annotated[Path | None, typer.Option("--lora", help="A low-rank adapter to merge (LongLive).")] = None,
    base: Annotated[Path | None, typer.Option("--base", help="A Wan diffusers folder that has text encoder, tokenizer and autoencoder.")] = None,
    section: Annotated[str | None, typer.Option("--section", help="Which entry of a .pt (default: generator_ema, generator or model).")] = None,
    head_width: Annotated[int, typer.Option("--head-width", min=2, help="Width of an attention head.")] = 128,
    fp32: Annotated[bool, typer.Option("--fp32", help="Keep fp32 (default: bf16).")] = False,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Writes a checkpoint of any known layout as a folder of weights."""
    with _errors(debug):
        from .console.display import open_display
        from .generator.library import convert

        folder = convert(
            source, target, layout=layout, lora=lora, base=base, section=section, head_width=head_width, bf16=not fp32
        )
        open_display(as_json=json, quiet=True, verbose=False).result(str(folder), folder=str(folder))


@models_app.command("check")
def models_check(
    folder: Annotated[str, typer.Argument(metavar="DIR|NAME", help="A folder of weights, or a bundled model.")],
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Opens weights, looks at every part, and rolls one small chunk."""
    with _errors(debug):
        from .console.display import open_display
        from .console.tables import weights_table
        from .generator.bundle import BUNDLED
        from .generator.library import check as check_weights
        from .generator.video_generator import default_device

        bundled = BUNDLED / folder
        found = check_weights(bundled if bundled.is_dir() else Path(folder), default_device())
        open_display(as_json=json, quiet=True, verbose=False).result(weights_table(found), **found)


@app.command()
def train(
    size: Annotated[str, typer.Argument(help="mini or nano.")],
    minutes: Annotated[float, typer.Option("--minutes", help="Time to train, shared out over the stages.")] = 60.0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder of the run (default: runs/SIZE).")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Only this stage: autoencoder, base, student or eyes.")] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Do not start from the bundled weights.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the data and the noise.")] = 0,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Trains a model of ours in the small world; goes on where an earlier run stopped."""
    with _errors(debug):
        from .console.tables import training_line
        from .training.recipe import train as run_training

        folder = run_training(
            size, minutes=minutes, device=device, out=out, stage=stage, seed=seed, scratch=scratch, report=lambda p: print(training_line(p, json), file=sys.stdout if json else sys.stderr, flush=True)
        )  # fmt: skip
        print(folder)


@evaluate_app.command("films")
def evaluate_films(
    generator: Annotated[str, typer.Argument(help="A generator's name, or a folder of weights.")] = "nano",
    films: Annotated[int, typer.Option("--films", min=1, max=10_000, help="Held-out films to make.")] = 50,
    memory: MemoryOpt = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the rollouts.")] = 0,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Reads what a generator makes of held-out films: set, time, kind, hue, cuts."""
    with _errors(debug):
        from .console.display import open_display
        from .console.tables import evaluation_table
        from .evaluation.films import evaluate
        from .evaluation.readers import load_reader
        from .generator.bundle import reader_folder
        from .storyboard.stage import open_generator

        reader = load_reader(reader_folder(generator))
        found = evaluate(open_generator(generator, memory), reader, films=films, seed=seed, on_film=lambda n: print(f"\rfilm {n}/{films}", end="", file=sys.stderr, flush=True))  # fmt: skip
        print(file=sys.stderr)
        open_display(as_json=json, quiet=True, verbose=False).result(evaluation_table(found), **found)


def main() -> None:
    """Entry point: UTF-8 output, Ctrl-C as an exception, exit codes 0, 1, 2, 3, 130."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    app()


if __name__ == "__main__":
    main()
