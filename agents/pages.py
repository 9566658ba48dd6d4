"""Writes `storyboard.html` from what the production holds: circled takes, else drawings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..storyboard.exports import Panel, storyboard_html
from ..storyboard.files import write_text
from ..storyboard.production import Production
from ..storyboard.script import Script
from ..storyboard.takes import circled, take_folder
from ..storyboard.timeline import Timeline
from .casting import reference_sheet


def write_storyboard(
    production: Production, script: Script, timeline: Timeline, drawings: Mapping[str, Path] | None = None
) -> Path:
    """Writes the page; `drawings` are used where a shot has no circled take."""
    panels = {}
    for shot in script.shots():
        record = circled(production, shot.id)
        if record is None:
            picture = (drawings or {}).get(shot.id)
            panels[shot.id] = Panel(picture, "drawn by the paper theatre" if picture else "not shot yet")
            continue
        still = take_folder(production, shot.id, record.take) / "keyframes" / "middle.png"
        acted = [f"{v['action']}: {v['reason']}" for v in record.verdicts if v["action"] != "continue"]
        score = f"score {record.score:.2f}" if record.score is not None else "not reviewed"
        seen = [v for v in record.verdicts if v.get("marks")]
        marks = [f"{name} {mark:.1f}" for name, mark in seen[-1]["marks"].items()] if seen else []
        verdict = "; ".join([score, *acted, *([f"{seen[-1]['reason']} ({', '.join(marks)})"] if seen else [])])
        shown = seen[-1].get("sheet") if seen else None
        sheet = take_folder(production, shot.id, record.take) / shown if shown else None
        panels[shot.id] = Panel(
            still, f"take {record.take} by {record.weights} ({record.licence})", verdict, sheet=sheet
        )
    page: Path = production.page_path
    sheets = {entity.id: reference_sheet(production, entity) for entity in script.entities}
    write_text(page, storyboard_html(script, timeline, panels, sheets))
    return page
