"""The closed vocabulary of the paper theatre and of our own model sizes: everything `mini` and `nano` can draw.

The order of each tuple is part of the bundled weights' meaning for the readers; append, do not reorder.
"""

SETS = ("forest", "meadow", "seashore", "village", "castle", "kitchen")
TIMES = ("day", "evening", "night")
KINDS = ("person", "rabbit", "bear", "bird", "fox", "turtle")
HUES = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
PATTERNS = ("plain", "striped", "dotted")
ACCESSORIES = ("bare", "hat", "scarf")
ACTIONS = ("stands", "walks", "runs", "jumps", "talks", "sleeps")
VIEWS = ("wide", "medium", "close")
MOVEMENTS = ("still", "left", "right")
FACINGS = ("left", "right")

MAX_ROLES = 2
"""Puppets on the stage at once that our sizes were trained to draw."""

GRAMMAR_WORDS = ("cut", "shot", "camera", "with", ":", ";", ",", ".")
"""The caption's own words beside the vocabulary above (`caption.py`)."""

WORDS = (
    *GRAMMAR_WORDS,
    *dict.fromkeys((*VIEWS, *SETS, *TIMES, *MOVEMENTS, *HUES, *PATTERNS, *ACCESSORIES, *KINDS, *ACTIONS, *FACINGS)),
)
"""Every word a caption can hold, each once: the tokenizer's vocabulary."""
