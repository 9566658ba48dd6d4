"""The cut of a production: circled takes, and drawings where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..storyboard.cut import CutReport, assemble, write_stand_in
from ..storyboard.production import Production, Settings
from ..storyboard.script import Script
from ..storyboard.stage import Frames, open_generator
from ..storyboard.takes import shot_folder
from ..storyboard.timeline import ShotTiming
from .current import CurrentTakes
from .events import Event, Listener
from .pages import write_storyboard
from .prompts import shot_prompt


def cut_film(production: Production, settings: Settings, current: CurrentTakes, tell: Listener) -> CutReport:
    """Joins the circled takes; a missing shot is stood in for by its drawing."""
    script, timeline, profile = current.script, current.timeline, current.profile
    takes = current.in_film()
    for state in current.states():
        if state.why and state.shot.id in takes:
            text = f"shot {state.shot.id}: take {takes[state.shot.id].take} is in the film, though stale ({', '.join(state.why)})"
            tell(Event("warning", {"text": text}))
    stand_ins: dict[str, Path] = {}
    for timing in timeline.shots:
        if timing.shot_id not in takes:
            path = shot_folder(production, timing.shot_id) / "missing.mp4"
            write_stand_in(path, _drawn(script, timing, settings.film_seed), timing, profile)
            stand_ins[timing.shot_id] = path
    report = assemble(production, script, timeline, profile, takes, stand_ins)
    write_storyboard(production, script, timeline)
    production.log("cut", frames=report.frames, missing=list(report.missing), of=current.cut_mark())
    tell(
        Event(
            "cut",
            {"film": str(report.path), "frames": report.frames, "seconds": round(report.seconds, 3), "missing": list(report.missing)},
        )
    )  # fmt: skip
    return report


def _drawn(script: Script, timing: ShotTiming, seed: int) -> Frames:
    """A shot as the theatre draws it, cut to the shot's frames."""
    theatre = open_generator("theatre")
    shot = next(s for s in script.shots() if s.id == timing.shot_id)
    copy = shot.model_copy(update={"prompt": None})
    rollout = theatre.start(seed)
    rollout.begin_shot(shot_prompt(script, copy, theatre.profile)[0], shot=shot.id, take=1)
    frames: list[Frames] = []
    while sum(len(f) for f in frames) < timing.frames:
        frames.append(rollout.step().frames)
    drawn: Frames = np.concatenate(frames)[: timing.frames]
    return drawn
