"""Where a production stands: its shots on the chunk grid, what is stale and why, what shooting would cost. Nothing is opened but
the production's own files: no weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.images import load_reference
from ..storyboard.links import refuse_links
from ..storyboard.production import Production, Settings
from ..storyboard.rename import still_called
from ..storyboard.stage import read_profile
from .current import DAMAGED, SHOT_BEFORE, CurrentTakes, ShotState
from .edits import check_positions
from .estimate import cost_of_planning, cost_of_shooting
from .pictures import check_openings


def current_takes(production: Production, settings: Settings) -> CurrentTakes:
    """A production's takes, compared with its script and these settings."""
    profile = read_profile(settings.generator, settings.memory)
    return CurrentTakes(production, settings, production.read_script(), profile)


def dry_run(production: Production, settings: Settings, shots: Sequence[int] | None, again: bool) -> dict[str, Any]:
    """What `shoot` would do: which shots and why, for how long, and what it costs."""
    if not production.script_path.exists():
        story = production.read_story()
        return {
            "plan": settings.planner, "shoot": [], "stale": [], "circle": [], "chunks": 0, "estimated_seconds": None,
            **cost_of_planning(production, settings, story),
        }  # fmt: skip
    current = current_takes(production, settings)
    states = current.states()
    total = len(states)
    check_positions(shots, total)
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
        if state.take is not None and state.take.weights == current.profile.weights
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
        **cost_of_shooting(production, settings, todo, chunks, current.script),
    }


def _chunks_to_make(state: ShotState, again: bool) -> int:
    """Chunks that shooting a shot makes; those of a take that goes on are there already."""
    if state.todo == "continue" and state.take is not None and not again:
        return state.timing.chunks - state.take.chunks
    return state.timing.chunks


def status(production: Production, settings: Settings) -> dict[str, Any]:
    """Where a production stands."""
    current = current_takes(production, settings)
    script, timeline = current.script, current.timeline
    return {
        "folder": str(production.folder), "title": script.title, "planner": script.planner, "generator": settings.generator,
        "seconds": round(timeline.seconds, 3), "frames": timeline.frames,
        "shots": [_shot_status(state) for state in current.states()],
        "film": str(production.film_path) if production.film_path.exists() else None,
        "film_current": _last_cut(production) in (None, current.cut_mark()),
    }  # fmt: skip


def _last_cut(production: Production) -> str | None:
    """The mark of the film's last cut; None where the log does not say."""
    cuts = [entry.get("of") for entry in production.read_log() if entry.get("event") == "cut"]
    return str(cuts[-1]) if cuts and cuts[-1] else None


def _word(state: ShotState) -> str:
    if DAMAGED in state.why:
        return "damaged"
    if state.take is None:
        return "not shot"
    return "stale" if state.why else "shot"


def _shot_status(state: ShotState) -> dict[str, Any]:
    shot, timing, record = state.shot, state.timing, state.take
    last = record.verdicts[-1] if record and record.verdicts else None
    return {
        "position": timing.position,
        "shot": shot.id,
        "size": shot.size,
        "seconds": round(timing.seconds, 3),
        "planned_seconds": shot.seconds,
        "state": _word(state),
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
        if production.settings_path.exists() or (path.parent / "takes").exists():  # no script that stands alone
            refuse_links(path.parent)
    else:
        raise InputError(f"{path} does not exist")
    script, lines = production.read_script_and_lines()
    chosen = production.read_settings()
    for entity in script.entities:
        for reference in entity.references:
            load_reference(production.inside(reference.path))
    profile = read_profile(chosen.generator, chosen.memory)
    check_openings(production, script)
    current = CurrentTakes(production, chosen, script, profile)
    timeline, damaged = current.timeline, current.damaged()
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
