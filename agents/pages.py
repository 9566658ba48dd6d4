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
        verdict = "; ".join([score, *acted])
        panels[shot.id] = Panel(still, f"take {record.take} by {record.weights} ({record.licence})", verdict)
    page: Path = production.page_path
    write_text(page, storyboard_html(script, timeline, panels))
    return page
