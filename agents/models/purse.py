"""What calls cost: counted, kept under a ceiling, and paced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .language import Completion, LanguageModel, Message, ModelError, Usage, guess_usage

TOKENS_OF_ANSWER = 4000
"""Put aside before a call; what it really took replaces it afterwards."""


class BudgetReached(ModelError):
    """The next call could cost more than is left."""


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens, and for a picture, as the provider's page says."""

    sent: float
    received: float
    picture: float = 0.0

    def of(self, usage: Usage) -> float:
        return (usage.sent * self.sent + usage.received * self.received) / 1e6


class Purse:
    """The spending of one film. Calls may run side by side: each reserves what it could cost, and gives back the rest.

    Args:
        ceiling: dollars the film may cost in all; None for no limit.
        spent: dollars that earlier runs of the film have cost.
    """

    def __init__(self, price: Price | None, ceiling: float | None, spent: float = 0.0) -> None:
        self.price, self.ceiling, self.spent = price, ceiling, spent
        self.usage = Usage()
        self._reserved = 0.0
        self._lock = threading.Lock()

    def reserve(self, name: str, sent_tokens: int) -> float:
        """Puts aside what a call could cost.

        Raises:
            BudgetReached: that is more than is left.
        """
        if self.price is None:
            return 0.0
        return self._put_aside(name, self.price.of(Usage(1, sent_tokens, TOKENS_OF_ANSWER)))

    def reserve_picture(self, name: str) -> float:
        """Puts aside what a picture costs.

        Raises:
            BudgetReached: that is more than is left.
        """
        return self._put_aside(name, self.price.picture if self.price else 0.0)

    def _put_aside(self, name: str, cost: float) -> float:
        if self.ceiling is None:
            return 0.0
        with self._lock:
            if self.spent + self._reserved + cost > self.ceiling:
                raise BudgetReached(
                    f"{name}: {self.spent:.4f} of {self.ceiling:g} dollars are spent and the next call could cost {cost:.4f}: "
                    "raise --budget and run the same command again; what was made is kept"
                )
            self._reserved += cost
        return cost

    def settle(self, reserved: float, usage: Usage) -> float:
        """Books what a call has cost; returns it in dollars."""
        with self._lock:
            self.usage = self.usage + usage
        return self._book(reserved, self.price.of(usage) if self.price else 0.0)

    def settle_pictures(self, reserved: float, pictures: int) -> float:
        """Books what pictures have cost; returns it in dollars."""
        return self._book(reserved, self.price.picture * pictures if self.price else 0.0)

    def _book(self, reserved: float, cost: float) -> float:
        with self._lock:
            self._reserved -= reserved
            self.spent += cost
        return cost


class Metered:
    """A language model whose calls are paid from a purse, told of, and paced."""

    def __init__(
        self, model: LanguageModel, purse: Purse, tell: Callable[[dict[str, Any]], None], per_minute: float = 0.0
    ) -> None:
        """`tell` hears of every call: what, tokens, dollars, seconds; `per_minute`: calls at most, 0 for no limit."""
        self.name = model.name
        self._model, self._purse, self._tell = model, purse, tell
        self._pause = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def complete(self, messages: Sequence[Message], schema: dict[str, Any], images: Sequence[bytes] = ()) -> Completion:
        """See `LanguageModel.complete`.

        Raises:
            BudgetReached: the purse does not hold what this could cost.
        """
        self._wait()
        reserved = self._purse.reserve(self.name, guess_usage(messages, images).sent)
        began = time.perf_counter()
        usage = Usage(1)
        try:
            said = self._model.complete(messages, schema, images)
            usage = said.usage
        except ModelError as error:
            usage = error.usage
            raise
        finally:
            dollars = self._purse.settle(reserved, usage)
            self._tell({
                "model": self.name, "for": schema["title"], "sent_tokens": usage.sent, "received_tokens": usage.received,
                "dollars": round(dollars, 6), "seconds": round(time.perf_counter() - began, 2),
            })  # fmt: skip
        return said

    def _wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._pause
        time.sleep(max(0.0, mine - now))
