"""What the commands do: one function each, over a production."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storyboard.cut import CutReport
from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.files import disk_errors, replacing
from ..storyboard.footage import read_footage
from ..storyboard.images import load_reference
from ..storyboard.production import Production, Settings
from ..storyboard.script import Script
from ..storyboard.stage import open_generator
from ..storyboard.takes import circle, circled, read_take, takes_of
from ..storyboard.timeline import build_timeline
from ..templates.loader import load_template
from .casting import add_references, find_entity, references_of
from .crew import check_crew, hire
from .director import Director, Order, check_positions, cut_film, plan_story
from .events import Event, Listener
from .floor import Floor
from .models.registry import EXAMPLES, is_model
from .pages import write_storyboard
from .recovery import circle_finished
from .rules.planner import slug
from .rules.reading import split_title


@dataclass(frozen=True)
class FilmReport:
    """How a run ended."""

    folder: Path
    film: CutReport | None
    failed: tuple[str, ...]
    stopped: bool
    shares: dict[str, float]


def check_settings(settings: Settings) -> None:
    """Every name in the settings, before any work is done.

    Raises:
        InputError: one is unknown.
    """
    check_crew(settings)
    load_template(settings.template, settings.parameters)
    open_generator(settings.generator, settings.memory)


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
    for path in references.values():
        load_reference(path)
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
        _check_references(production, script, references)
        if record:
            production.write_settings(settings)
        add_references(production, script, references)
        timeline = build_timeline(script, open_generator("theatre").profile)
        drawings = draw(script, production.folder / "plan" / "stills", seed=settings.seed)
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


def shoot(
    production: Production, settings: Settings, order: Order, ask: Any, tell: Listener, *, record: bool = False
) -> FilmReport:
    """Shoots what the order says, and cuts if it says so. `record`: the settings go to production.yaml, if nothing is refused.

    Raises:
        InputError: the script, the order or a reference is refused; nothing is changed then.
        FilmwrightError: the production is in use, or a file cannot be written.
    """
    with production.lock():
        if not production.script_path.exists():
            plan_story(production, settings, tell)
        director = Director(production, settings, order, tell)
        _check_order(director, order, record)
        if record:
            production.write_settings(settings)
        production.clear_rolling()
        circle_finished(production, director.floor)
        state = director.run(ask)
        shares = {name: round(seconds, 3) for name, seconds in director.floor.spent.items()}
        tell(Event("done", {"shares": shares}))
        return FilmReport(
            production.folder, director.report, tuple(state.get("failed", [])), bool(state.get("stopped")), shares
        )


def _check_references(production: Production, script: Script, given: Mapping[str, Path]) -> None:
    """Looks for the images that the script names, and at those that are given now."""
    for entity in script.entities:
        references_of(production, entity)
    for name, path in given.items():
        find_entity(script, name)
        load_reference(path)


def _check_order(director: Director, order: Order, record: bool) -> None:
    """Reads what is asked for, before anything is written.

    Raises:
        InputError: something in it is wrong.
    """
    script = director.production.read_script()
    check_positions(order.shots, len(list(script.shots())))
    _check_references(director.production, script, order.references or {})
    if record:
        director.floor.stale()  # opens the generator, and everything that the shots name


def cut(production: Production, settings: Settings, tell: Listener) -> CutReport:
    """Joins what has been shot."""
    with production.lock():
        _check_references(production, production.read_script(), {})
        return cut_film(production, settings, Floor(production, settings, tell), tell)


def parse_shots(text: str | None) -> list[int] | None:
    """Positions like `3,5-7`; None means all that are stale.

    Raises:
        InputError: not a list of positions and ranges.
    """
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise InputError(f"--shots {part.strip()!r} is no position: write positions and ranges like 3,5-7")
        low, high = int(first), int(last or first)
        if high < low or high > 100_000:
            raise InputError(f"--shots {part.strip()!r} is no range: write positions and ranges like 3,5-7")
        found += range(low, high + 1)
    return list(dict.fromkeys(found))


def dry_run(production: Production, settings: Settings, shots: Sequence[int] | None, again: bool) -> dict[str, Any]:
    """What `shoot` would do: stale shots, seconds, and cost."""
    floor = Floor(production, settings, lambda event: None)
    script, timeline = floor.script(), floor.timeline()
    total = len(timeline.shots)
    check_positions(shots, total)
    stale = floor.stale()
    chosen = list(shots) if shots is not None else list(range(1, total + 1))
    todo = chosen if again else [n for n in chosen if n in stale]
    rates = []
    for shot in script.shots():
        record = circled(production, shot.id)
        if record is not None and record.weights == floor.generator.profile.weights:
            rates.append(record.spent_seconds / record.chunks)
    chunks = sum(timeline.shots[n - 1].chunks for n in todo)
    seconds = round(chunks * sum(rates) / len(rates), 1) if rates else None
    return {
        "shoot": [{"position": n, "shot": timeline.shots[n - 1].shot_id, "chunks": timeline.shots[n - 1].chunks} for n in todo],
        "stale": stale, "chunks": chunks, "estimated_seconds": seconds, "cost": 0.0,
    }  # fmt: skip


def status(production: Production, settings: Settings) -> dict[str, Any]:
    """Where a production stands."""
    script = production.read_script()
    floor = Floor(production, settings, lambda event: None)
    timeline = floor.timeline()
    stale = set(floor.stale())
    shots = []
    for shot, timing in zip(script.shots(), timeline.shots, strict=True):
        record = circled(production, shot.id)
        state = "not shot" if record is None else "stale" if timing.position in stale else "shot"
        last = record.verdicts[-1] if record and record.verdicts else None
        shots.append(
            {
                "position": timing.position,
                "shot": shot.id,
                "size": shot.size,
                "seconds": round(timing.seconds, 3),
                "planned_seconds": shot.seconds,
                "state": state,
                "take": record.take if record else None,
                "score": record.score if record else None,
                "verdict": f"{last['action']}: {last['reason']}" if last else None,
                "looked": bool(last and last.get("marks")),
                "action": shot.action,
            }
        )
    return {
        "folder": str(production.folder), "title": script.title, "planner": script.planner, "generator": settings.generator,
        "seconds": round(timeline.seconds, 3), "frames": timeline.frames, "shots": shots,
        "film": str(production.film_path) if production.film_path.exists() else None,
    }  # fmt: skip


def circle_take(production: Production, shot_id: str, take: int) -> None:
    """Chooses a take for the cut.

    Raises:
        InputError: there is no such shot or take; lists those there are.
    """
    script = production.read_script()
    known = [shot.id for shot in script.shots()]
    if shot_id not in known:
        raise InputError(f"shot {shot_id!r} is unknown: this film has {', '.join(known)}")
    there = [number for number in takes_of(production, shot_id) if read_take(production, shot_id, number) is not None]
    if take not in there:
        has = f"it has {', '.join(map(str, there))}" if there else "it has none yet"
        raise InputError(f"shot {shot_id} has no whole take {take}: {has}")
    with production.lock():
        circle(production, shot_id, take)
        production.log("circle", shot=shot_id, take=take)


def check(path: Path) -> dict[str, Any]:
    """Validates a production or a script file and lays it out; seconds are those of the chunk grid.

    Raises:
        InputError: names the first thing that is wrong.
    """
    if path.is_dir():
        production = Production.open(path)
    elif path.is_file():
        production = Production(path.parent)
        if path.name != "script.yaml":
            raise InputError(f"{path} is no script.yaml: give a production's folder or its script.yaml")
    else:
        raise InputError(f"{path} does not exist")
    script = production.read_script()
    chosen = production.read_settings()
    for entity in script.entities:
        for reference in entity.references:
            load_reference(production.inside(reference.path))
    profile = open_generator(chosen.generator, chosen.memory).profile
    for shot in script.shots():
        if shot.opens_with:
            read_footage(production.inside(shot.opens_with), width=64, height=64, fps=profile.fps, frames=1)
    timeline = build_timeline(script, profile)
    damaged = []
    for shot in script.shots():
        folder = production.folder / "takes" / shot.id
        if (folder / "circled").exists() and circled(production, shot.id) is None:
            damaged.append(shot.id)
    if damaged:
        raise FilmwrightError(
            f"takes of shot {', '.join(damaged)} are damaged or missing: 'filmwright shoot {production.folder}' makes them again"
        )
    return {
        "title": script.title, "seconds": round(timeline.seconds, 3), "planned_seconds": round(script.seconds(), 3),
        "frames": timeline.frames, "fps": timeline.fps,
        "shots": [
            {"position": t.position, "shot": t.shot_id, "seconds": round(t.seconds, 3), "planned_seconds": t.planned_seconds,
             "cut_frame": t.cut_frame, "chunks": t.chunks}
            for t in timeline.shots
        ],
    }  # fmt: skip
