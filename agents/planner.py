"""Planners: story in, script out."""

from __future__ import annotations

from typing import Protocol

from ..storyboard.errors import InputError
from ..storyboard.script import Script
from ..templates.loader import ScriptTemplate
from .rules.planner import RulesPlanner

MAX_STORY_BYTES = 1_000_000


class Planner(Protocol):
    """What makes a script of a story. `signature` is recorded in the script."""

    signature: str

    def plan(self, story: str, *, template: ScriptTemplate, seconds: float, seed: int) -> Script:
        """Plans a film of `seconds` (± 10 %).

        Raises:
            InputError: the story or the length cannot be planned.
        """


PLANNERS = {"rules": RulesPlanner}


def open_planner(name: str) -> Planner:
    """A planner by name.

    Raises:
        InputError: it is unknown.
    """
    if name not in PLANNERS:
        raise InputError(f"planner {name!r} is unknown: choose one of {', '.join(PLANNERS)}")
    return PLANNERS[name]()


def check_story(text: str, source: str) -> str:
    """The story, or an error that says what is wrong with it.

    Raises:
        InputError: empty, binary or longer than 1 MB.
    """
    size = len(text.encode("utf-8"))
    if size > MAX_STORY_BYTES:
        raise InputError(f"{source} is {size / 1e6:.1f} MB long: at most 1 MB of text is accepted, split it")
    if "\x00" in text:
        raise InputError(f"{source} is binary, not text")
    if not any(c.isalpha() for c in text):
        raise InputError(f"{source} is empty: give a story of at least one sentence")
    return text.replace("\r\n", "\n")
