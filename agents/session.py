"""What the commands do: one function each, over a production."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storyboard.cut import CutReport
from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.footage import read_footage
from ..storyboard.images import load_reference
from ..storyboard.production import Production, Settings
from ..storyboard.rename import rename_entity, still_called
from ..storyboard.stage import open_generator
from ..storyboard.takes import circle, circled, damage_of, takes_of
from ..storyboard.timeline import build_timeline
from ..templates.loader import load_template
from .casting import add_references, find_entity
from .crew import check_crew, hire
from .current import DAMAGED, SHOT_BEFORE, CurrentTakes, ShotState
from .director import Director, Order, cut_film, plan_story
from .estimate import cost_of_planning, cost_of_shooting
from .events import Event, Listener
from .floor import Floor
from .models.registry import EXAMPLES, is_model
from .pages import write_storyboard
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


def check_references(settings: Settings, references: Mapping[str, Path]) -> None:
    """Whether the pictures that a person gives can be read, and are looked at by the model.

    Raises:
        InputError: one is no picture, or the memory pins none.
    """
    for path in references.values():
        load_reference(path)
    profile = open_generator(settings.generator, settings.memory).profile
    if references and not profile.max_references:
        raise InputError(
            f"--reference {next(iter(references))}: {profile.name} with memory {profile.memory} looks at no pictures; "
            "choose a generator and a --memory with shots(N), such as filmweaver or full, or leave --reference out"
        )


def default_folder(story: str) -> Path:
    """The title's slug in the working folder, numbered if taken."""
    title, body = split_title(story)
    name = slug(title or " ".join(body.split()[:6]), "film")
    folder, number = Path(name), 2
    while folder.exists():
        folder, number = Path(f"{name}-{number}"), number + 1
    return folder


def new_production(
    story: str, folder: Path | None, settings: Settings, references: Mapping[str, Path], tell: Listener
) -> Production:
    """Plans a story into a new production; on bad input the folder is removed again, so that nothing is half-written."""
    check_references(settings, references)
    target = folder or default_folder(story)
    existed = target.exists()
    production = Production.create(target, story, settings)
    try:
        script = plan_story(production, settings, tell)
        for name in references:
            find_entity(script, name)
    except InputError:
        if existed:
            for path in target.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            shutil.rmtree(target, ignore_errors=True)
        raise
    return production


def plan(
    production: Production, settings: Settings, references: Mapping[str, Path], draw: Callable[..., Mapping[str, Path]]
) -> Path:
    """Writes the storyboard of a planned production; `draw` makes the stills."""
    script = production.read_script()
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


def revise(production: Production, settings: Settings, note: str, tell: Listener) -> RevisionReport:
    """Changes the script as a note asks; the one before is kept in plan/.

    Raises:
        InputError: the planner is no language model, or the note is empty.
        ModelError: the model gave no usable answer; nothing is changed.
    """
    from .writer.revise import revise as revised_by
    from .writer.revise import script_diff

    if not is_model(settings.planner):
        raise InputError(f"--revise needs a language model: say --planner {EXAMPLES}; the rules cannot read a note")
    before = production.read_script()
    after, summary = revised_by(before, note, hire(settings.planner, production, settings, tell))
    old = {shot.id: shot for shot in before.shots()}
    stale = tuple(shot.id for shot in after.shots() if old.get(shot.id) != shot)
    number = len(list((production.folder / "plan").glob("before-revision-*.yaml"))) + 1
    kept = production.folder / "plan" / f"before-revision-{number}.yaml"
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(production.script_path, kept)
    production.write_script(after)
    production.log("revise", note=note, summary=summary, shots=list(stale))
    return RevisionReport(summary, script_diff(before, after), stale)


def shoot(production: Production, settings: Settings, order: Order, ask: Any, tell: Listener) -> FilmReport:
    """Shoots what the order says, and cuts if it says so."""
    check_references(settings, order.references or {})
    with production.lock():
        production.clear_rolling()
        director = Director(production, settings, order, tell)
        state = director.run(ask)
        shares = {name: round(seconds, 3) for name, seconds in director.floor.spent.items()}
        tell(Event("done", {"shares": shares}))
        return FilmReport(
            production.folder, director.report, tuple(state.get("failed", [])), bool(state.get("stopped")), shares
        )


def cut(production: Production, settings: Settings, tell: Listener) -> CutReport:
    """Joins what has been shot."""
    with production.lock():
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
    """What `shoot` would do: which shots and why, for how long, and what it costs."""
    if not production.script_path.exists():
        story = production.read_story()
        return {
            "plan": settings.planner, "shoot": [], "stale": [], "circle": [], "chunks": 0, "estimated_seconds": None,
            **cost_of_planning(production, settings, story),
        }  # fmt: skip
    floor = Floor(production, settings, lambda event: None)
    states = floor.current.states()
    total = len(states)
    for number in shots or ():
        if not 1 <= number <= total:
            raise InputError(f"--shots {number}: this film has shots 1 to {total}")
    why = {state.timing.position: list(state.why) for state in states if state.todo in ("shoot", "continue")}
    for state in states:  # a shot that goes on from one that is made anew
        position = state.timing.position
        if position - 1 in why and position not in why and state.take is not None and state.shot.continuity != "new":
            why[position] = [SHOT_BEFORE]
    chosen = list(shots) if shots is not None else list(range(1, total + 1))
    todo = [states[n - 1] for n in chosen if again or n in why]
    rates = [
        state.take.spent_seconds / state.take.chunks
        for state in states
        if state.take is not None and state.take.weights == floor.profile.weights
    ]
    chunks = sum(_chunks_to_make(state, again) for state in todo)
    seconds = round(chunks * sum(rates) / len(rates), 1) if rates else None
    return {
        "shoot": [
            {
                "position": state.timing.position,
                "shot": state.shot.id,
                "chunks": _chunks_to_make(state, again),
                "why": why.get(state.timing.position, ["again"]),
                "continues": state.take.take if state.todo == "continue" and state.take and not again else None,
            }
            for state in todo
        ],
        "stale": sorted(why),
        "circle": [{"shot": s.shot.id, "take": s.others[-1]} for s in states if s.todo == "circle"],
        "chunks": chunks,
        "estimated_seconds": seconds,
        **cost_of_shooting(production, settings, todo, chunks, floor.script()),
    }


def _chunks_to_make(state: ShotState, again: bool) -> int:
    """Chunks that shooting a shot makes; those of a take that goes on are there already."""
    if state.todo == "continue" and state.take is not None and not again:
        return state.timing.chunks - state.take.chunks
    return state.timing.chunks


def status(production: Production, settings: Settings) -> dict[str, Any]:
    """Where a production stands."""
    floor = Floor(production, settings, lambda event: None)
    script, timeline = floor.script(), floor.timeline()
    return {
        "folder": str(production.folder), "title": script.title, "planner": script.planner, "generator": settings.generator,
        "seconds": round(timeline.seconds, 3), "frames": timeline.frames,
        "shots": [_shot_status(state) for state in floor.current.states()],
        "film": str(production.film_path) if production.film_path.exists() else None,
        "film_current": _last_cut(production) in (None, floor.current.cut_mark()),
    }  # fmt: skip


def _last_cut(production: Production) -> str | None:
    """The mark of the film's last cut; None where the log does not say."""
    cuts = [entry.get("of") for entry in production.read_log() if entry.get("event") == "cut"]
    return str(cuts[-1]) if cuts and cuts[-1] else None


def _shot_status(state: ShotState) -> dict[str, Any]:
    shot, timing, record = state.shot, state.timing, state.take
    last = record.verdicts[-1] if record and record.verdicts else None
    return {
        "position": timing.position,
        "shot": shot.id,
        "size": shot.size,
        "seconds": round(timing.seconds, 3),
        "planned_seconds": shot.seconds,
        "state": "damaged"
        if DAMAGED in state.why
        else "not shot"
        if record is None
        else "stale"
        if state.why
        else "shot",
        "why": list(state.why),
        "notes": list(state.notes),
        "take": record.take if record else None,
        "circled_by": state.by,
        "current_takes": list(state.others),
        "score": record.score if record else None,
        "verdict": f"{last['action']}: {last['reason']}" if last else None,
        "asks": [str(v["reason"]) for v in record.verdicts if v["action"] == "ask"] if record else [],
        "looked": bool(last and last.get("marks")),
        "action": shot.action,
    }


def circle_take(production: Production, shot_id: str, take: int) -> None:
    """Chooses a take for the cut.

    Raises:
        InputError: there is no such shot or take; lists those there are.
    """
    script = production.read_script()
    known = [shot.id for shot in script.shots()]
    if shot_id not in known:
        raise InputError(f"shot {shot_id!r} is unknown: this film has {', '.join(known)}")
    there = [number for number in takes_of(production, shot_id) if damage_of(production, shot_id, number) is None]
    if take not in there:
        has = f"it has {', '.join(map(str, there))}" if there else "it has none yet"
        raise InputError(f"shot {shot_id} has no whole take {take}: {has}")
    with production.lock():
        circle(production, shot_id, take, by_person=True)
        production.log("circle", shot=shot_id, take=take)


def rename(production: Production, old: str, new: str) -> list[str]:
    """Renames an entity everywhere the script names it; returns the places.

    Raises:
        InputError: nobody is called so, or somebody else is called that already.
    """
    with production.lock():
        renamed = rename_entity(production.read_script(), old, new)
        if renamed.places:
            production.write_script(renamed.script)
            production.log("rename", old=old, new=new, places=renamed.places)
    return renamed.places


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
    timeline = CurrentTakes(production, chosen, script, profile).timeline
    lines = production.shot_lines()
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
            {"position": t.position, "shot": t.shot_id, "line": lines.get(t.shot_id), "seconds": round(t.seconds, 3),
             "planned_seconds": t.planned_seconds, "cut_frame": t.cut_frame, "chunks": t.chunks,
             "prompt_changes": [
                 {"at_seconds": change.at_seconds, "chunk": chunk, "action": change.action}
                 for change, (chunk, _) in zip(sorted(shot.prompt_changes, key=lambda c: c.at_seconds), t.prompt_changes, strict=False)
             ]}
            for t, shot in zip(timeline.shots, script.shots(), strict=True)
        ],
        "notes": [
            f"entity {entity} is called {script.entity(entity).name!r}, but shot {', '.join(shots)} says {entity!r}: "
            f"'filmwright rename {production.folder} {entity} {script.entity(entity).name!r}' changes it everywhere"
            for entity, shots in still_called(script).items()
        ],
    }  # fmt: skip
