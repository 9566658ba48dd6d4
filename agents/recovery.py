"""What a person had rejected before a run was killed."""

from __future__ import annotations

from ..storyboard.production import Production
from ..storyboard.script import Script
from ..storyboard.takes import read_choice


def rejected_takes(production: Production) -> set[tuple[str, int]]:
    """Shot and number of every take whose last answer is a rejection."""
    said: dict[str, object] = {}
    for entry in production.read_log():
        if entry["event"] == "answer" and entry.get("point") == "takes":
            said[str(entry.get("of"))] = entry.get("decision")
    places = (about.split("/") for about, decision in said.items() if decision == "reject")
    return {
        (place[0], int(place[1])) for place in places if len(place) == 2 and place[1].isascii() and place[1].isdigit()
    }


def rejected_positions(production: Production, script: Script) -> set[int]:
    """Positions whose circled take a person has rejected, and whose new take was not made any more."""
    rejected = rejected_takes(production)
    if not rejected:
        return set()
    found = set()
    for position, shot in enumerate(script.shots(), start=1):
        choice = read_choice(production, shot.id)
        if choice is not None and choice.by == "director" and (shot.id, choice.take) in rejected:
            found.add(position)
    return found
