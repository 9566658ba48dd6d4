"""Questions to a person, and the answers as the log keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NotRequired, TypedDict, get_args

from ..storyboard.production import Production, ReviewPoint

Decision = Literal["approve", "modify", "reject", "terminate"]
"""approve: go on. modify: go on with the given text. reject: do it again. terminate: stop here, keep everything."""
DECISIONS: tuple[Decision, ...] = get_args(Decision)


class Answer(TypedDict):
    """What a person says at a pause."""

    decision: Decision
    text: NotRequired[str]


class Question(TypedDict):
    """A pending review.

    Attributes:
        about: what is asked about, the same whenever the same is asked: a digest, or shot, take, chunk and draw.
        path: what to look at.
    """

    point: ReviewPoint
    about: str
    text: str
    path: str


Asker = Callable[[Question], Answer]
"""Puts a question to a person; raises `WaitsForPerson` when nobody can answer."""


def answer_of(entry: Mapping[str, Any]) -> Answer | None:
    """The answer in an entry of the log, or in the director's state."""
    decision = next((known for known in DECISIONS if known == entry.get("decision")), None)
    if decision is None:
        return None
    text = entry.get("text")
    return {"decision": decision, "text": text} if isinstance(text, str) and text else {"decision": decision}


def answer_about(production: Production, about: str) -> Answer | None:
    """What a person last answered to the same question; None when nobody did, or said to stop."""
    for entry in reversed(production.read_log()):
        if entry.get("event") == "answer" and entry.get("of") == about:
            answer = answer_of(entry)
            return None if answer is None or answer["decision"] == "terminate" else answer
    return None
