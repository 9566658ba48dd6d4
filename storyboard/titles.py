"""Words on pictures: title cards, slates and subtitles."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .fonts import legible
from .stage import Frames


def wrap(draw: ImageDraw.ImageDraw, text: str, font: Any, width: int, lines: int) -> list[str]:
    """Breaks a text into lines no wider than `width` pixels, inside words only where one is wider; what does not fit ends in an
    ellipsis."""
    found: list[str] = [""]
    for word in text.split():
        while draw.textlength(word, font=font) > width and len(word) > 1:  # a script without spaces
            start = f"{found[-1]} " if found[-1] else ""
            cut = next(
                n
                for n in range(len(word) - 1, -1, -1)
                if n == 0 or draw.textlength(start + word[:n], font=font) <= width
            )
            if cut == 0 and not found[-1]:
                break
            found[-1], word = (start + word[:cut]).rstrip(), word[cut:]
            found.append("")
        longer = f"{found[-1]} {word}".strip()
        if draw.textlength(longer, font=font) <= width or not found[-1]:
            found[-1] = longer
        else:
            found.append(word)
    return found if len(found) <= lines else [*found[: lines - 1], found[lines - 1] + " …"]


def title_card(title: str, line: str, width: int, height: int) -> Frames:
    """A card [H, W, 3] with the title and one smaller line."""
    image = Image.new("RGB", (width, height), (24, 20, 30))
    draw = ImageDraw.Draw(image)
    title, big = legible(title, max(10, height // 10))
    line, small = legible(line, max(8, height // 24))
    lines = wrap(draw, title, big, int(width * 0.84), 3)
    y = height * 0.46 - len(lines) * height * 0.065
    for text in lines:
        draw.text((width / 2, y), text, font=big, fill=(244, 232, 208), anchor="mm")
        y += height * 0.13
    for text in wrap(draw, line, small, int(width * 0.8), 3):
        draw.text((width / 2, y), text, font=small, fill=(190, 176, 160), anchor="mm")
        y += height * 0.06
    return np.asarray(image)


@lru_cache(maxsize=64)
def overlay(slate: str, subtitle: str, width: int, height: int) -> tuple[Frames, Any]:
    """The words of a frame as colours [H, W, 3] and opacity [H, W, 1] in 0 … 1."""
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    if slate:
        slate, font = legible(slate, max(8, height // 28))
        box = draw.textbbox((0, 0), slate, font=font)
        draw.rectangle((0, 0, box[2] + height // 30, box[3] + height // 40), fill=(0, 0, 0, 150))
        draw.text((height // 60, height // 120), slate, font=font, fill=(255, 255, 255, 235))
    if subtitle:
        subtitle, font = legible(subtitle, max(9, height // 18))
        y = height * 0.95
        for text in reversed(wrap(draw, subtitle, font, int(width * 0.9), 3)):
            draw.text(
                (width / 2, y), text, font=font, fill=(255, 255, 255, 255), anchor="ms", stroke_width=max(1, height // 200),
                stroke_fill=(0, 0, 0, 255),
            )  # fmt: skip
            y -= height * 0.068
    pixels = np.asarray(image)
    return pixels[..., :3], pixels[..., 3:].astype(np.float32) / 255


def write_on(frame: Frames, slate: str, subtitle: str) -> Frames:
    """The frame with its words."""
    if not slate and not subtitle:
        return frame
    height, width = frame.shape[:2]
    colours, opacity = overlay(slate, subtitle, width, height)
    rows = np.flatnonzero(opacity.any(axis=(1, 2)))
    out = frame.copy()
    for part in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        if len(part):
            band = slice(part[0], part[-1] + 1)
            mixed = frame[band] * (1 - opacity[band]) + colours[band] * opacity[band]
            out[band] = mixed.astype(np.uint8)
    return out
