"""Seeds that are the same on every machine and in every run."""

from __future__ import annotations

import hashlib
from typing import Literal

SeedVersion = Literal[1, 2]
NEWEST: SeedVersion = 2
"""The version that new productions and new training runs write down. What was begun with 1 stays with 1."""
SEPARATORS: dict[SeedVersion, str] = {1: "/", 2: "\x1f"}
"""Between the parts of a seed. Version 1 gives ("a/b", "c") and ("a", "b/c") one seed."""


def stable_seed(*parts: object, version: SeedVersion = NEWEST) -> int:
    """A 63-bit seed from any values: blake2b of their text."""
    digest = hashlib.blake2b(SEPARATORS[version].join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class FilmSeed(int):
    """A film's seed that also says how other seeds follow from it.

    Attributes:
        version: of `stable_seed`, as the film's production notes it.
    """

    version: SeedVersion

    def __new__(cls, seed: int, version: SeedVersion = NEWEST) -> FilmSeed:
        made = super().__new__(cls, seed)
        made.version = version
        return made
