"""Commands around script templates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import DebugOpt, JsonOpt, SetOpt, reported

templates_app = typer.Typer(no_args_is_help=True, help="Script templates: ways to tell a story.")
NameArg = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A template's name, or its file.")]


@templates_app.command("list")
def templates_list(json: JsonOpt = False, debug: DebugOpt = False) -> None:
    """Lists the script templates: the project's (filmwright-templates/), yours, and those that come along."""
    with reported(debug):
        from ..storyboard.errors import InputError
        from ..storyboard.plain_text import json_line, one_line
        from ..templates.loader import find_templates, load_template

        for name, found in sorted(find_templates().items()):
            try:
                template = load_template(name)
                title, description = template.title, template.description
            except InputError as error:
                title, description = "", f"malformed: {error}"
            if json:
                print(json_line({"name": name, "title": title, "description": description, "origin": found.origin}))
            else:
                where = "" if found.origin == "built-in" else f" ({found.origin})"
                print(one_line(f"{name:16} {description}{where}"))


@templates_app.command("show")
def templates_show(
    name: NameArg,
    set_: SetOpt = None,
    story: Annotated[str | None, typer.Option("--story", metavar="STORY", help="Plan this story instead of the sample.")] = None,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Shows a template, and what the rules make of a sample story with it."""
    with reported(debug):
        from ..agents.tryout import SAMPLE, plan_sample
        from ..storyboard.plain_text import json_line, visible
        from ..templates.loader import load_template
        from .settings import parse_parameters
        from .story import read_story
        from .tables import shots_text, template_text

        template = load_template(name, parse_parameters(set_))
        if json:
            print(json_line(template.model_dump(mode="json")))
            return
        script = plan_sample(template, read_story(story) if story else SAMPLE)
        print(visible(f"{template_text(template)}\n\n{shots_text(script)}"))


@templates_app.command("check")
def templates_check(name: NameArg, json: JsonOpt = False, debug: DebugOpt = False) -> None:
    """Says what is wrong with a template, with its line."""
    with reported(debug):
        from ..templates.loader import load_template
        from .display import open_display

        template = load_template(name)
        said = f"{template.name}: {len(template.beats)} beats in {len(template.acts)} acts, {len(template.parameters)} parameters; in order"
        open_display(as_json=json, quiet=True, verbose=False).result(
            said, name=template.name, beats=len(template.beats)
        )


@templates_app.command("test")
def templates_test(name: NameArg, set_: SetOpt = None, json: JsonOpt = False, debug: DebugOpt = False) -> None:
    """Plans three example stories by the rules, and says how well the structure came out."""
    with reported(debug):
        from ..agents.tryout import try_out
        from ..templates.loader import load_template
        from .display import open_display
        from .settings import parse_parameters
        from .tables import tryout_table

        found = try_out(load_template(name, parse_parameters(set_)))
        open_display(as_json=json, quiet=True, verbose=False).result(tryout_table(found), template=name, stories=found)


@templates_app.command("new")
def templates_new(
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits, hyphens.")],
    extends: Annotated[str | None, typer.Option("--extends", metavar="NAME", help="Begin with everything that this one says.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="Its title.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="What it is for, in a sentence.")] = None,
    beats: Annotated[str | None, typer.Option("--beats", help="Names of its beats, with commas between.")] = None,
    user: Annotated[bool, typer.Option("--user", help="Into your own folder instead of the project's.")] = False,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Writes a new template to fill in; asks for what is not given."""
    with reported(debug):
        from ..storyboard.files import write_text
        from ..templates.loader import PROJECT, load_template, user_folder
        from ..templates.skeleton import new_template
        from .display import open_display

        asked = sys.stdin.isatty() and sys.stderr.isatty()

        def answer(given: str | None, question: str, default: str) -> str:
            return (
                given if given is not None else typer.prompt(question, default=default, err=True) if asked else default
            )

        told = answer(title, "Title", name.replace("-", " ").capitalize())
        purpose = answer(description, "What is it for, in a sentence", f"{told}: say what it is for.")
        steps = "" if extends else answer(beats, "Its beats, with commas between", "beginning, middle, end")
        text = new_template(name, told, purpose, steps, extends)
        target = (user_folder() if user else Path(PROJECT)) / f"{name}.yaml"
        if target.exists():
            from ..storyboard.errors import InputError

            raise InputError(f"{target} is there already: choose another name, or edit it")
        write_text(target, text)
        load_template(str(target))
        said = f"{target}\nedit it, then 'filmwright templates test {name}'"
        open_display(as_json=json, quiet=True, verbose=False).result(said, template=str(target))
