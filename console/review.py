"""Questions on the terminal."""

from __future__ import annotations

import sys

from ..agents.questions import Answer, Asker, Decision, Question
from ..storyboard.errors import WaitsForPerson
from ..storyboard.plain_text import visible
from .display import Display

CHOICES: dict[str, Decision] = {"a": "approve", "m": "modify", "r": "reject", "t": "terminate"}


def confirm(question: str) -> bool:
    """A yes or no on the terminal; no where nobody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    _say(f"{question} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def terminal_asker(display: Display, folder: str) -> Asker:
    """Asks on the terminal; without one the film waits."""

    def read() -> str:
        """A line as it was typed.

        Raises:
            WaitsForPerson: the terminal is closed.
        """
        line = sys.stdin.readline()
        if not line:
            raise WaitsForPerson(f"waiting for a person: run 'filmwright film {folder}' again to answer")
        return line.strip()

    def new_text(typed: str) -> str | None:
        """The text of a change: what was typed beside the decision, or on a line of its own; None to go back."""
        if typed:
            return typed
        _say("new action or prompt (empty: back): ")
        return read() or None

    def ask(question: Question) -> Answer:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise WaitsForPerson(
                f"waiting for a person: {question['text']} Look at {question['path']}, then run 'filmwright film {folder}' in a terminal"
            )
        display.pause()
        _say(f"\n{question['text']}\n  look at {question['path']}\n")
        while True:
            _say("[a]pprove, [m]odify, [r]eject, [t]erminate? ")
            line = read()
            decision, typed = _decision(line)
            if decision is None and question["point"] == "takes" and len(line.split()) > 1:
                _say(f"is that the new action or prompt: {line!r}? [y/N] ")
                decision, typed = ("modify", line) if read().lower() in ("y", "yes") else (None, "")
            if decision is None:
                _say("please answer a, m, r or t; m TEXT gives a new action or prompt\n")
            elif decision != "modify":
                return {"decision": decision, "text": typed} if typed else {"decision": decision}
            elif question["point"] == "takes":
                text = new_text(typed)
                if text is not None:
                    return {"decision": "modify", "text": text}
            else:
                _say(f"edit {question['path']}, then press Enter ")
                read()
                return {"decision": "modify", "text": typed} if typed else {"decision": "modify"}

    return ask


def _decision(line: str) -> tuple[Decision | None, str]:
    """A decision by its first letter or letters, and what was typed behind it."""
    word, _, rest = line.partition(" ")
    decision = CHOICES.get(word[:1].lower()) if word else None
    if decision is None or not decision.startswith(word.lower()):
        return None, ""
    if rest and len(word) == 1 and word.lower() == "a":
        return None, ""  # "a bear comes in" is a text, and no approval
    return decision, rest.strip()


def _say(text: str) -> None:
    print(visible(text), end="", file=sys.stderr, flush=True)
