"""Stories longer than a model likes to read: shortened part by part, side by side, and told as one."""

from __future__ import annotations

import re

WHOLE_WORDS = 6000
"""A story up to here is read whole."""
PART_WORDS = 4000
DIGEST_WORDS = 6000
"""Words of all digests together."""
MAX_WORDS = 100_000


def split_story(story: str, words: int = PART_WORDS) -> list[str]:
    """Parts of about so many words: chapters where it has them, else paragraphs, else sentences."""
    parts: list[str] = []
    held: list[str] = []
    count = 0
    for piece in _pieces(story, words):
        size = len(piece.split())
        heading = bool(re.match(r"\s*(#|chapter\b|kapitel\b|chapitre\b|cap[ií]tulo\b|part\b|第)", piece, re.IGNORECASE))
        if held and (count + size > words or (heading and count > words // 3)):
            parts.append("\n\n".join(held))
            held, count = [], 0
        held.append(piece)
        count += size
    return [*parts, "\n\n".join(held)] if held else parts


def _pieces(story: str, words: int) -> list[str]:
    """Paragraphs; a longer one sentence by sentence, a longer sentence word by word."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", story):
        if len(paragraph.split()) <= words:
            found.append(paragraph.strip())
            continue
        for sentence in re.split(r"(?<=[.!?…。！？])\s+", paragraph):
            each = sentence.split()
            found += [" ".join(each[i : i + words]) for i in range(0, len(each), words)]
    return [piece for piece in found if piece]
