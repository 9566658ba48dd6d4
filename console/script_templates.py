"""Commands around script templates."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import DebugOpt, JsonOpt, reported

templates_app = typer.Typer(no_args_is_help=True, help="Script templates.")


@templates_app.command("list")
def templates_list(json: JsonOpt = False, debug: DebugOpt = False) -> None:
    """Lists the script templates."""
    with reported(debug):
        from ..templates.loader import load_template, template_names

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
    with reported(debug):
        from ..templates.loader import load_template
        from .tables import template_text

        template = load_template(name)
        print(template.model_dump_json() if json else template_text(template))
