"""What a killed run had decided and not yet done."""

from __future__ import annotations

from ..storyboard.production import Production
from ..storyboard.script import Script
from ..storyboard.takes import circled, read_take, take_folder, takes_of
from .floor import Floor


def circle_finished(production: Production, floor: Floor) -> None:
    """Circles a take that was whole when the run was killed, just before it was circled: another take would be another film."""
    script, timeline = floor.script(), floor.timeline()
    for shot, timing in zip(script.shots(), timeline.shots, strict=True):
        newest = max(takes_of(production, shot.id), default=0)
        chosen = circled(production, shot.id)
        if newest <= (chosen.take if chosen is not None else 0) or _chosen_since(production, shot.id, newest):
            continue
        record = read_take(production, shot.id, newest)
        if record is None or (chosen is not None and chosen.depends == record.depends):
            continue
        if record.depends == floor.depends(script, shot, timing):
            floor.choose(record, newest=False)


def _chosen_since(production: Production, shot_id: str, take: int) -> bool:
    """Whether a person has circled a take of the shot after this one was begun."""
    events = [e for e in production.read_log() if e["event"] in ("begin", "circle") and e.get("shot") == shot_id]
    after = next((i for i, e in enumerate(reversed(events)) if e["event"] == "begin" and e.get("take") == take), 0)
    return any(event["event"] == "circle" for event in events[len(events) - after :])


def rejected_positions(production: Production, script: Script) -> set[int]:
    """Positions whose circled take a person has rejected, and whose new take was not made any more."""
    answers = [e for e in production.read_log() if e["event"] == "answer" and e.get("point") == "takes"]
    said = {str(answer.get("of")): answer.get("decision") for answer in answers}
    found = set()
    for position, shot in enumerate(script.shots(), start=1):
        record = circled(production, shot.id) if "reject" in said.values() else None
        if record is not None:
            folder = take_folder(production, shot.id, record.take).relative_to(production.folder)
            if said.get((folder / "frames.mp4").as_posix()) == "reject":
                found.add(position)
    return found
