"""Commands beside the making of films: `doctor`, `memory` and `export`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import CriticOpt, DebugOpt, DirArg, GeneratorOpt, JsonOpt, MemoryOpt, PlannerOpt, is_production, reported

if TYPE_CHECKING:
    from .display import Display

export_app = typer.Typer(no_args_is_help=True, help="Writes a film's script for other programs.")


def doctor(
    generator: GeneratorOpt = None, memory: MemoryOpt = None, planner: PlannerOpt = None, critic: CriticOpt = None,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Says whether everything that a film needs is there; asks a named language model one tiny question."""
    with reported(debug):
        from ..agents.doctor import examine
        from ..storyboard.errors import FilmwrightError
        from ..storyboard.plain_text import json_line, one_line
        from .settings import resolve

        settings = resolve({"generator": generator, "memory": memory, "planner": planner, "critic": critic}, None)
        wrong = []
        for finding in examine(settings, Path()):
            if json:
                print(json_line({"what": finding.what, "ok": finding.ok, "says": finding.says}), flush=True)
            else:
                said = f"{'ok   ' if finding.ok else 'WRONG'} {finding.what}: {finding.says}"
                print(one_line(said), flush=True)
            wrong += [] if finding.ok else [finding.what]
        if wrong:
            raise FilmwrightError(f"{len(wrong)} to mend: {', '.join(wrong)}")


def memory(
    what: Annotated[str, typer.Argument(metavar="DIR|POLICY", help="A production's folder, or a memory policy.")],
    layer: Annotated[int | None, typer.Option("--layer", help="Only what this layer recalled, from 0 (default: all).")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="The picture (default: memory.png, in DIR).")] = None,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Draws what a film remembered while it was made, chunk by chunk; or what a policy holds, and where it stands."""
    with reported(debug):
        from ..evaluation.memory_map import draw_map, read_map
        from ..storyboard.files import replacing
        from ..storyboard.production import Production
        from .display import open_display

        display = open_display(as_json=json, quiet=True, verbose=False)
        if not is_production(what):
            _draw_policy(what, out or Path("memory.png"), display)
            return
        production = Production.open(Path(what))
        found = read_map(production)
        target = out or production.folder / "memory.png"
        with production.lock() if out is None else nullcontext(), replacing(target) as temporary:
            draw_map(found, layer).save(temporary, format="PNG")
        display.result(
            str(target), picture=str(target), memory=found.memory, recalled_from=found.recalled_from(),
            chunks=[{"shot": r.shot, "chunk": r.chunk, "start": r.start, "window": r.window, "sink": r.sink, "recalled": r.recalled} for r in found.rows],
        )  # fmt: skip


def _draw_policy(written: str, target: Path, display: Display) -> None:
    from ..evaluation.span_chart import draw_spans
    from ..generator.memory import parse_memory
    from ..storyboard.files import replacing

    policy = parse_memory(written)
    with replacing(target) as temporary:
        draw_spans({written: policy}).save(temporary, format="PNG")
    length = policy.chunk or 3
    display.result(
        str(target), picture=str(target), memory=str(policy), span=policy.span(length), starts=policy.starts(length)
    )


@export_app.command("fountain")
def export_fountain(
    folder: DirArg,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Where to, - for standard output (default: DIR/film.fountain).")] = None,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Writes the script as a screenplay in Fountain; shot data stands in notes, and reads back."""
    with reported(debug):
        from ..storyboard.files import write_text
        from ..storyboard.fountain import write_fountain
        from ..storyboard.production import Production
        from .display import open_display

        target = out or folder / "film.fountain"
        production = Production.open(folder)
        screenplay = write_fountain(production.read_script())
        if str(target) == "-":
            sys.stdout.write(screenplay)
            return
        with production.lock() if out is None else nullcontext():
            write_text(target, screenplay)
        open_display(as_json=json, quiet=True, verbose=False).result(str(target), screenplay=str(target))
