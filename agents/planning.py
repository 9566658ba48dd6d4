"""A story becomes a production: planned, revised, and drawn as a storyboard. Nothing is shot."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.files import disk_errors, replacing
from ..storyboard.fountain import is_fountain
from ..storyboard.images import load_reference
from ..storyboard.production import Production, Settings
from ..storyboard.script import Script
from ..storyboard.stage import read_profile
from ..storyboard.timeline import build_timeline
from ..templates.loader import load_template
from .casting import add_references, find_entity
from .crew import check_crew, hire, hire_planner
from .events import Event, Listener
from .models.registry import EXAMPLES, is_model
from .pages import write_storyboard
from .planner import RULES
from .rules.planner import slug
from .rules.reading import split_title
from .screenplay import plan_screenplay


def check_settings(settings: Settings) -> None:
    """Every name in the settings, before any work is done.

    Raises:
        InputError: one is unknown.
    """
    check_crew(settings)
    load_template(settings.template, settings.parameters)
    read_profile(settings.generator, settings.memory)


def check_references(settings: Settings, references: Mapping[str, Path], script: Script | None = None) -> None:
    """Whether the pictures that a person gives can be read, are looked at by the model, and are of somebody in the script.

    Raises:
        InputError: one is no picture, or of nobody, or the memory pins none.
    """
    for name, path in references.items():
        load_reference(path)
        if script is not None:
            find_entity(script, name)
    profile = read_profile(settings.generator, settings.memory)
    if references and not profile.max_references:
        raise InputError(
            f"--reference {next(iter(references))}: {profile.name} with memory {profile.memory} looks at no pictures; "
            "choose a generator and a --memory with shots(N), such as filmweaver or full, or leave --reference out"
        )


def make_folder(story: str) -> Path:
    """A new folder in the working folder, named after the title and numbered if that is taken."""
    title, body = split_title(story)
    name = slug(title or " ".join(body.split()[:6]), "film")
    folder, number = Path(name), 2
    while True:
        try:
            with disk_errors(folder.absolute().parent):
                folder.mkdir()
            return folder
        except FilmwrightError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
            folder, number = Path(f"{name}-{number}"), number + 1


def new_production(
    story: str, folder: Path | None, settings: Settings, references: Mapping[str, Path], tell: Listener,
    begun: Callable[[Path], None] = lambda folder: None,
) -> Production:  # fmt: skip
    """Plans a story into a new production; on bad input everything made is removed again, so that nothing is half-written.

    Args:
        begun: hears of the folder, once what it holds can be gone on with.

    Raises:
        InputError: the folder holds something, or the story, a setting or a reference is refused.
        FilmwrightError: another process makes a production of the same folder, or a file cannot be written.
    """
    check_references(settings, references)
    made = [path for path in (folder, *folder.parents) if not path.exists()] if folder else []
    target = folder or make_folder(story)
    try:
        production = Production.create(target, story, settings)
    except FilmwrightError:
        if folder is None:
            shutil.rmtree(target, ignore_errors=True)
        raise
    begun(target)
    try:
        with production.lock():
            try:
                script = plan_story(production, settings, tell)
                for name in references:
                    find_entity(script, name)
            except InputError:
                production.discard()
                raise
    except InputError:
        with suppress(OSError):
            (target / ".lock").unlink()
            for path in made if folder else [target]:
                path.rmdir()
        raise
    return production


def plan(
    production: Production, settings: Settings, references: Mapping[str, Path], draw: Callable[..., Mapping[str, Path]],
    tell: Listener, *, record: bool = False,
) -> Path:  # fmt: skip
    """Writes the storyboard of a production, planned before if it was not; `draw` makes the stills."""
    with production.lock():
        if not production.script_path.exists():
            plan_story(production, settings, tell)
        script = production.read_script()
        check_references(settings, references, script)
        if record:
            production.write_settings(settings)
        add_references(production, script, references)
        timeline = build_timeline(script, read_profile("theatre"))
        drawings = draw(script, production.folder / "plan" / "stills", seed=settings.film_seed)
        return write_storyboard(production, script, timeline, drawings)


@dataclass(frozen=True)
class RevisionReport:
    """What a note changed: in a sentence, as a diff, and the shots that are to be shot anew."""

    summary: str
    diff: str
    stale: tuple[str, ...]


def revise(
    production: Production, settings: Settings, note: str, tell: Listener, *, record: bool = False
) -> RevisionReport:
    """Changes the script as a note asks; the one before is kept in plan/. `record`: the settings go to production.yaml.

    Raises:
        InputError: the planner is no language model, or the note is empty.
        ModelError: the model gave no usable answer; nothing is changed.
    """
    from .writer.revise import revise as revised_by
    from .writer.revise import script_diff

    if not is_model(settings.planner):
        raise InputError(f"--revise needs a language model: say --planner {EXAMPLES}; the rules cannot read a note")
    with production.lock():
        before = production.read_script()
        after, summary = revised_by(before, note, hire(settings.planner, production, settings, tell))
        old = {shot.id: shot for shot in before.shots()}
        stale = tuple(shot.id for shot in after.shots() if old.get(shot.id) != shot)
        number = len(list((production.folder / "plan").glob("before-revision-*.yaml"))) + 1
        with replacing(production.folder / "plan" / f"before-revision-{number}.yaml") as kept:
            shutil.copyfile(production.script_path, kept)
        if record:
            production.write_settings(settings)
        production.write_script(after)
        production.log("revise", note=note, summary=summary, shots=list(stale))
        return RevisionReport(summary, script_diff(before, after), stale)


def plan_story(production: Production, settings: Settings, tell: Listener) -> Script:
    """Plans the production's story and writes its script."""
    began = time.perf_counter()
    planner = hire_planner(production, settings, tell)
    story = production.read_story()
    template = load_template(settings.template, settings.parameters)
    if settings.planner == RULES and is_fountain(story):
        script = plan_screenplay(story, template=template, seconds=settings.seconds)
    else:
        script = planner.plan(story, template=template, seconds=settings.seconds, seed=settings.seed)
    production.write_script(script)
    shots = list(script.shots())
    production.log("plan", planner=script.planner, template=template.name, shots=len(shots))
    tell(
        Event(
            "plan",
            {"planner": script.planner, "title": script.title, "shots": len(shots), "seconds": round(script.seconds(), 2),
             "spent_seconds": round(time.perf_counter() - began, 3)},
        )
    )  # fmt: skip
    return script
