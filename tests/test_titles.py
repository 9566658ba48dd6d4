"""Words on pictures, in any script this machine has letters for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from filmwright.storyboard import fonts
from filmwright.storyboard.titles import overlay, title_card, wrap
from PIL import Image, ImageDraw


def drawn(text: str) -> np.ndarray:  # type: ignore[type-arg]
    return overlay("", text, 416, 240)[1][..., 0]


@pytest.mark.parametrize("text", ["Größe", "garçon", "Привет", "a – b"])
def test_letters_are_told_apart(text: str) -> None:
    found, font = fonts.legible(text, 20)
    boxes = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(letter)) != boxes for letter in found if letter != " ")
    assert len(found.replace(" ", "")) >= 1


def test_a_machine_without_fonts_loses_accents_but_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_faces", lambda: (None,))
    fonts._face_of.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fonts.legible("Garçon – “Größe”!", 20)[0] == "Garcon - “Grosse”!"
    with pytest.warns(UserWarning, match="no font on this machine has 日 本"):
        assert fonts.legible("日本 now", 20)[0] == "now"
    fonts._face_of.cache_clear()


def test_a_long_line_without_spaces_is_broken() -> None:
    draw = ImageDraw.Draw(Image.new("RGB", (8, 8)))
    _, font = fonts.legible("x", 20)
    lines = wrap(draw, "well " + "x" * 60, font, 200, 9)
    assert len(lines) > 2 and "".join(lines).replace(" ", "") == "well" + "x" * 60
    assert all(draw.textlength(line, font=font) <= 200 for line in lines)


def test_a_narrow_frame_ends() -> None:
    assert title_card("Wide words", "and a line of more of them", 16, 16).shape == (16, 16, 3)
    assert drawn("Больше слов, чем места на одной строке кадра, и ещё несколько").max() == 1.0
