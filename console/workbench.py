"""Commands beside the making of films: `doctor`, and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import CriticOpt, DebugOpt, DirArg, GeneratorOpt, JsonOpt, MemoryOpt, PlannerOpt, reported

export_app = typer.Typer(no_args_is_help=True, help="Writes a film's script for other programs.")


def doctor(
    generator: GeneratorOpt = None, memory: MemoryOpt = None, planner: PlannerOpt = None, critic: CriticOpt = None,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Says whether everything that a film needs is there; asks a named language model one tiny question."""
    with reported(debug):
        from ..agents.doctor import examine
        from ..storyboard.errors import FilmwrightError
        from .settings import resolve

        settings = resolve({"generator": generator, "memory": memory, "planner": planner, "critic": critic}, None)
        wrong = []
        for finding in examine(settings, Path()):
            if json:
                import json as json_module

                print(
                    json_module.dumps(
                        {"what": finding.what, "ok": finding.ok, "says": finding.says}, ensure_ascii=False
                    ),
                    flush=True,
                )
            else:
                print(f"{'ok   ' if finding.ok else 'WRONG'} {finding.what}: {finding.says}", flush=True)
            wrong += [] if finding.ok else [finding.what]
        if wrong:
            raise FilmwrightError(f"{len(wrong)} to mend: {', '.join(wrong)}")


@export_app.command("fountain")
def export_fountain(
    folder: DirArg,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Where to (default: DIR/film.fountain).")] = None,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Writes the script as a screenplay in Fountain; shot data stands in notes, and reads back."""
    with reported(debug):
        from ..storyboard.files import write_text
        from ..storyboard.fountain import write_fountain
        from ..storyboard.production import Production
        from .display import open_display

        target = out or folder / "film.fountain"
        write_text(target, write_fountain(Production.open(folder).read_script()))
        open_display(as_json=json, quiet=True, verbose=False).result(str(target), screenplay=str(target))
