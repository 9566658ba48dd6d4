"""Where a pass is asked for: from the store if the same was asked before, else from the model, again and again within reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from ...storyboard.takes import dependency_hash
from ...templates.prompt import Prompt
from ..models.language import Answered, BadAnswer, LanguageModel, Message, ask
from .store import PassStore

Value = TypeVar("Value", bound=BaseModel)
PASS_TRIES = 3
"""How often a pass is asked for, each time with a repair turn: cheaper models break many of their answers."""


@dataclass(frozen=True)
class PassReport:
    """How a pass went: kept from an earlier run, valid at once, or valid after the repair turn."""

    name: str
    kept: bool
    repaired: bool


@dataclass(frozen=True)
class Desk:
    """A model, the answers it has given, and who is told of every pass."""

    model: LanguageModel
    store: PassStore
    heard: Callable[[PassReport], None] = lambda report: None

    def ask(
        self, name: str, messages: Sequence[Message], answer: type[Value], check: Callable[[Value], list[str]], prompt: Prompt,
        seed: int,
    ) -> Value:  # fmt: skip
        """The answer of a pass; a seed that was not asked before asks anew.

        Raises:
            ModelError: the model gave no usable answer.
        """
        asked = dependency_hash(self.model.name, prompt.mark, seed, [(m.role, m.text) for m in messages])
        kept = self.store.get(name, asked, answer)
        if kept is not None and not check(kept):
            self.heard(PassReport(name, True, False))
            return kept
        said = self._persistent(messages, answer, check)
        self.store.put(name, asked, said.value, model=self.model.name, prompt=prompt.mark)
        self.heard(PassReport(name, False, said.repaired))
        value: Value = said.value
        return value

    def _persistent(
        self, messages: Sequence[Message], answer: type[Value], check: Callable[[Value], list[str]]
    ) -> Answered:
        """An answer; where the repair turn did not help, the question is put anew."""
        for _ in range(PASS_TRIES - 1):
            try:
                return ask(self.model, messages, answer, check=check)
            except BadAnswer:
                continue
        return ask(self.model, messages, answer, check=check)
