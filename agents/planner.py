"""Planners: story in, script out."""

from __future__ import annotations

from typing import Protocol

from ..storyboard.errors import InputError
from ..storyboard.script import Script
from ..templates.script_template import ScriptTemplate
from .models.registry import EXAMPLES, is_model
from .rules.planner import RulesPlanner

MAX_STORY_BYTES = 1_000_000
RULES = "rules"


class Planner(Protocol):
    """What makes a script of a story. `signature` is recorded in the script."""

    signature: str

    def plan(self, story: str, *, template: ScriptTemplate, seconds: float, seed: int) -> Script:
        """Plans a film of `seconds` (± 10 %).

        Raises:
            InputError: the story or the length cannot be planned.
            FilmwrightError: planning failed; what was made is kept.
        """


def open_rules() -> Planner:
    """The planner that needs neither a model nor a network."""
    return RulesPlanner()


def check_planner(name: str) -> None:
    """Whether a planner's name can be one.

    Raises:
        InputError: it is neither the rules nor a language model.
    """
    if name != RULES and not is_model(name):
        raise InputError(f"planner {name!r} is unknown: choose {RULES}, or a language model ({EXAMPLES})")


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
