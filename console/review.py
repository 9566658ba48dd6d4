"""Questions on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..agents.director import Answer, Question
from ..storyboard.errors import WaitsForPerson
from .display import Display

CHOICES = {"a": "approve", "m": "modify", "r": "reject", "t": "terminate"}


def confirm(question: str) -> bool:
    """A yes or no on the terminal; no where nobody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def terminal_asker(display: Display, folder: str) -> Callable[[Question], Answer]:
    """Asks on the terminal; without one the film waits."""

    def ask(question: Question) -> Answer:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise WaitsForPerson(
                f"waiting for a person: {question.text} Look at {question.path}, then run 'filmwright film {folder}' in a terminal"
            )
        display.pause()
        print(f"\n{question.text}\n  {question.path}", file=sys.stderr)
        while True:
            print("[a]pprove, [m]odify, [r]eject, [t]erminate? ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            if not line:
                raise WaitsForPerson(f"waiting for a person: run 'filmwright film {folder}' again to answer")
            word = line.strip().lower()
            decision = CHOICES.get(word[:1]) if word else None
            if decision is None or not decision.startswith(word):
                print("please answer a, m, r or t", file=sys.stderr)
                continue
            if decision == "modify" and question.point == "takes":
                print("new action or prompt: ", end="", file=sys.stderr, flush=True)
                return {"decision": "modify", "text": sys.stdin.readline().strip()}
            if decision == "modify":
                print(f"edit {question.path}, then press Enter ", end="", file=sys.stderr, flush=True)
                sys.stdin.readline()
            return {"decision": decision}  # type: ignore[typeddict-item]

    return ask
