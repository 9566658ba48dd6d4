"""A font for any text: Pillow's own where it has all the letters, else one of this machine's."""

from __future__ import annotations

import os
import sys
import unicodedata
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import ImageFont

PROBE_SIZE = 20
NO_LETTER = "\uffff"
"""Never a letter: every font draws its sign for what it lacks."""
FIRST = (
    "dejavusans.ttf",
    "notosans-regular",
    "arial unicode",
    "arial.ttf",
    "segoeui.ttf",
    "notosanscjk",
    "hiragino",
    "yugoth",
    "msyh",
)
"""Names that are looked at before others: plain upright faces with many letters."""

SPELT = {
    "ß": "ss",
    "œ": "oe",
    "Œ": "OE",
    "æ": "ae",
    "Æ": "AE",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "ı": "i",
}
ALIKE = {"Pd": "-", "Pi": "'", "Pf": "'"}
"""By the letter's category: dashes and quotation marks."""


def _folders() -> list[Path]:
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), Path.home() / "Library/Fonts"]
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    home = [Path.home() / ".local/share/fonts", Path.home() / ".fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), *home]


def _rank(path: Path) -> tuple[int, str]:
    name = path.name.lower()
    return next((place for place, first in enumerate(FIRST) if name.startswith(first)), len(FIRST)), str(path)


@lru_cache(maxsize=1)
def _faces() -> tuple[Path | None, ...]:
    """Pillow's own (None) and the machine's font files, the likeliest first."""
    kinds = {".ttf", ".otf", ".ttc"}
    found = [
        path for folder in _folders() if folder.is_dir() for path in folder.rglob("*") if path.suffix.lower() in kinds
    ]
    return (None, *sorted(found, key=_rank))


@lru_cache(maxsize=64)
def _load(face: Path | None, size: int) -> Any:
    """The font; None where the file cannot be opened at that size."""
    if face is None:
        return ImageFont.load_default(size=size)
    try:
        return ImageFont.truetype(str(face), size)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _draws(face: Path | None, letter: str) -> bool:
    font = _load(face, PROBE_SIZE)
    return font is not None and bytes(font.getmask(letter)) != bytes(font.getmask(NO_LETTER))


@lru_cache(maxsize=256)
def _face_of(letters: frozenset[str]) -> Path | None:
    """The first face that has all of the letters, else the first of those that have most."""
    best, most = None, -1
    for face in _faces():
        has = sum(_draws(face, letter) for letter in letters)
        if has > most:
            best, most = face, has
        if has == len(letters):
            break
    return best


def _letters(text: str) -> frozenset[str]:
    return frozenset(letter for letter in text if not letter.isspace() and unicodedata.category(letter)[0] != "C")


def legible(text: str, size: int) -> tuple[str, Any]:
    """The text and a font of `size` pixels that has its letters. Where no font on this machine has them all, letters lose their
    accents, and what even then cannot be drawn is left out, with a warning."""
    text = unicodedata.normalize("NFC", text)
    letters = _letters(text)
    face = _face_of(letters)
    drawn = {letter: _drawable(face, letter) for letter in letters}
    lost = sorted(letter for letter in letters if not drawn[letter])
    if lost:
        said = " ".join(lost[:8])
        warnings.warn(f"no font on this machine has {said}: pictures go without; film.srt has every word", stacklevel=2)
    words = ("".join(drawn.get(letter, "") for letter in word) for word in text.split())
    return " ".join(word for word in words if word), _load(face, size)


def _drawable(face: Path | None, letter: str) -> str:
    """The letter, or what the face can draw in its place; nothing where there is no such thing."""
    base = unicodedata.normalize("NFKD", letter)[0]
    for option in (letter, base, SPELT.get(letter, ""), ALIKE.get(unicodedata.category(letter), "")):
        if option and all(_draws(face, one) for one in option):
            return option
    return ""
