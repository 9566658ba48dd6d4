"""A script template tried out: the rules plan stories with it, and its structure is looked for in what came out."""

from __future__ import annotations

from typing import Any

from ..storyboard.script import Script
from ..templates.script_template import ScriptTemplate
from .rules.planner import RulesPlanner

SAMPLE = """The Fox and the Lantern

A fox lived at the edge of the forest. Every night a light moved over the meadow, and the fox wondered what it was.
One evening the fox followed the light to the sea. There sat an old bear with a lantern. "I lost my ring," said the bear.
The fox looked in the sand until morning and found the ring. The bear laughed and gave the fox the lantern. Now two lights walk home at night.
"""
QUIET = """A Turtle at Noon

A turtle sat by the river. A bird came and talked about far countries. The turtle listened and ate a leaf.
In the afternoon it rained. The bird slept under the turtle's shell. In the evening the bird flew away, and the turtle walked a little farther
than it ever had.
"""
LOUD = """The Dragon in the Kitchen

"Fire!" cried the cook. A small dragon had crept into the kitchen of the castle and eaten all the bread. The king ran in with a sword.
The dragon wept, because it was alone. A girl danced for the dragon and the dragon laughed. The king put the sword away and gave the dragon an
apple. From that day the castle had warm bread every morning. "It is only a little smoke," said the king.
"""
STORIES = {"The Fox and the Lantern": SAMPLE, "A Turtle at Noon": QUIET, "The Dragon in the Kitchen": LOUD}
SECONDS = 20.0


def plan_sample(template: ScriptTemplate, story: str, seconds: float | None = None) -> Script:
    """A story planned by the rules with a template."""
    return RulesPlanner().plan(story, template=template, seconds=seconds or template.seconds or SECONDS, seed=0)


def try_out(template: ScriptTemplate) -> list[dict[str, Any]]:
    """For each example story: shots, seconds, which beats have a shot of their own, and how near the beats' shares are.

    Returns:
        By story: `story`, `shots`, `seconds`, `asked_seconds`, `beats` (share asked, share got), `coverage` (beats with a shot, 0 … 1).
    """
    found = []
    for name, story in STORIES.items():
        asked = template.seconds or SECONDS
        script = plan_sample(template, story)
        lengths = [shot.seconds for shot in script.shots()]
        got = _shares(template, lengths)
        found.append({
            "story": name, "shots": len(lengths), "seconds": round(sum(lengths), 2), "asked_seconds": asked,
            "beats": {beat.name: {"asked": beat.share, "got": round(share, 3)} for beat, share in zip(template.beats, got, strict=True)},
            "coverage": round(sum(share > 0 for share in got) / len(got), 3),
        })  # fmt: skip
    return found


def _shares(template: ScriptTemplate, lengths: list[float]) -> list[float]:
    """The part of the film that every beat got: a shot belongs to the beat in which its place among the shots lies."""
    total = sum(beat.share for beat in template.beats)
    got = [0.0] * len(template.beats)
    for index, length in enumerate(lengths):
        where, end, beat = (index + 0.5) / len(lengths) * total, 0.0, 0
        for beat, step in enumerate(template.beats):  # noqa: B007
            end += step.share
            if where <= end:
                break
        got[beat] += length / sum(lengths)
    return got
