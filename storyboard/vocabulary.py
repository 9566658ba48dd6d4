"""The closed vocabulary of the paper theatre: every word that a caption can hold. Weights of our own sizes know all of it, or
the part that was there when they were trained (`Vocabulary.of`).

The order of each tuple is kept: append, do not reorder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

SETS = ("forest", "meadow", "seashore", "village", "castle", "kitchen")
INDOORS = ("castle", "kitchen")
"""Sets with a roof: no weather there."""
TIMES = ("day", "evening", "night")
WEATHERS = ("clear", "rain", "snow")
KINDS = ("person", "rabbit", "bear", "bird", "fox", "turtle", "horse", "dragon")
HUES = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
PATTERNS = ("plain", "striped", "dotted")
ACCESSORIES = ("bare", "hat", "scarf")
NAMES = ("ada", "ben", "cleo", "dora")
"""What tells two puppets of one kind apart where their looks are left out."""
ACTIONS = (
    "stands", "walks", "runs", "jumps", "talks", "sleeps", "sits", "waves", "dances", "eats", "carries", "gives",
)  # fmt: skip
PROPS = ("apple", "flower", "lantern", "crown", "book", "sword")
VIEWS = ("wide", "medium", "close", "over")
"""`over`: over the shoulder of the second role, at the first. Its reverse has the roles the other way round."""
MOVEMENTS = ("still", "left", "right")
FACINGS = ("left", "right")

NEEDS_PROP = ("carries", "gives")
TAKES_PROP = ("eats", *NEEDS_PROP)

MAX_ROLES = 2
"""Puppets on the stage at once that our sizes were trained to draw."""

GRAMMAR_WORDS = ("cut", "shot", "camera", "with", ":", ";", ",", ".")
"""The caption's own words beside the vocabulary (`caption.py`)."""
UNSAID = ("clear", "bare")
"""What a caption means by saying nothing."""
NEAREST = {
    "horse": "fox", "dragon": "turtle", "over": "close", "rain": "clear", "snow": "clear", "sits": "stands", "waves": "stands",
    "dances": "jumps", "eats": "stands", "carries": "walks", "gives": "stands",
}  # fmt: skip
"""What weights that do not know a word draw instead; without an entry it is left out."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of a caption by what they mean, as far as some weights know them."""

    sets: tuple[str, ...] = SETS
    times: tuple[str, ...] = TIMES
    weathers: tuple[str, ...] = WEATHERS
    kinds: tuple[str, ...] = KINDS
    hues: tuple[str, ...] = HUES
    patterns: tuple[str, ...] = PATTERNS
    accessories: tuple[str, ...] = ACCESSORIES
    names: tuple[str, ...] = NAMES
    actions: tuple[str, ...] = ACTIONS
    props: tuple[str, ...] = PROPS
    views: tuple[str, ...] = VIEWS
    movements: tuple[str, ...] = MOVEMENTS
    facings: tuple[str, ...] = FACINGS

    @classmethod
    def of(cls, words: Iterable[str]) -> Vocabulary:
        """What a tokenizer of those words can say."""
        known = {*words, *UNSAID}
        return cls(**{f.name: tuple(w for w in getattr(FULL, f.name) if w in known) for f in fields(cls)})

    def words(self) -> tuple[str, ...]:
        """Every word a caption can hold, each once: a tokenizer's vocabulary."""
        return tuple(dict.fromkeys((*GRAMMAR_WORDS, *(w for f in fields(self) for w in getattr(self, f.name)))))


FULL = Vocabulary()
