"""Images that people give."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from .errors import InputError

MAX_PIXELS = 60_000_000
MIN_SIDE = 16
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "AVIF")
"""Formats that Pillow decodes by itself; others run a program, or are rare enough to have been looked at by few."""
EMBEDDED_WIDTHS = (640, 480, 320, 240)
"""Pixels of a picture in a page: the first at which it is small enough, else the last."""


def load_reference(path: Path) -> Image.Image:
    """Reads an image of any kind as upright RGB: the first frame of an animation, transparency on white.

    Raises:
        InputError: it is missing, no image, too small or too large.
    """
    if not path.is_file():
        raise InputError(f"reference {path} does not exist")
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path, formats=FORMATS) as image,
        ):
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"reference {path} has {image.width}x{image.height} pixels: at most {MAX_PIXELS // 1_000_000} megapixels, make it smaller"
                )
            if min(image.size) < MIN_SIDE:
                raise InputError(
                    f"reference {path} is {image.width}x{image.height}: at least {MIN_SIDE} pixels a side are needed"
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                clear = upright.convert("RGBA")
                white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
                return Image.alpha_composite(white, clear).convert("RGB")
            return upright.convert("RGB")
    except InputError:
        raise
    except Exception as error:  # a decoder raises anything at all for what a stranger has made
        raise InputError(
            f"reference {path} is no readable image ({type(error).__name__}): give a PNG or JPEG file"
        ) from error


def is_picture(path: Path) -> bool:
    """Whether a file can be read as a picture."""
    try:
        load_reference(path)
        return True
    except InputError:
        return False


def embedded_picture(path: Path | None, most: int) -> str | None:
    """A picture for a page: decoded, made smaller where it is wide, and written anew as WebP in base64.

    Args:
        most: characters that it may take; where that is few, it is made smaller still.

    Returns:
        None where there is none, or nothing that can be decoded.
    """
    if path is None or not path.is_file():
        return None
    try:
        picture = load_reference(path)
    except InputError:
        return None
    text = ""
    for width in EMBEDDED_WIDTHS:
        picture.thumbnail((width, width))
        out = io.BytesIO()
        picture.save(out, format="WEBP", quality=80, method=2)
        text = base64.b64encode(out.getvalue()).decode("ascii")
        if len(text) <= most:
            break
    return text
