"""Pictures from strangers: every kind is read as upright RGB, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.images import load_reference
from PIL import Image


def write(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.png"
    match kind:
        case "cmyk":
            path = path.with_suffix(".jpg")
            Image.new("CMYK", (40, 30), (0, 255, 255, 0)).save(path)
        case "animated":
            path = path.with_suffix(".gif")
            frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
            frames[0].save(path, save_all=True, append_images=frames[1:])
        case "transparent":
            Image.new("RGBA", (40, 30), (255, 0, 0, 0)).save(path)
        case "palette":
            Image.new("P", (40, 30), 0).save(path, transparency=0)
        case "grey":
            Image.new("L", (40, 30), 128).save(path)
        case "turned":
            path = path.with_suffix(".jpg")
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.new("RGB", (40, 30), "red").save(path, exif=exif)
        case "tiny":
            Image.new("RGB", (1, 1)).save(path)
        case "huge":
            Image.new("1", (10_000, 10_000)).save(path)
        case "text":
            path.write_text("not a picture", encoding="utf-8")
        case "half":
            Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(path)
            path.write_bytes(path.read_bytes()[:3000])
    return path


@pytest.mark.parametrize(
    ("kind", "corner"),
    [
        ("cmyk", (255, 0, 0)),
        ("animated", (255, 0, 0)),
        ("transparent", (255, 255, 255)),
        ("palette", (255, 255, 255)),
        ("grey", (128, 128, 128)),
    ],
)
def test_every_kind_becomes_rgb(tmp_path: Path, kind: str, corner: tuple[int, int, int]) -> None:
    image = load_reference(write(tmp_path, kind))
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert np.abs(np.subtract(image.getpixel((5, 5)), corner)).max() <= 3


def test_a_turned_photograph_stands_upright(tmp_path: Path) -> None:
    assert load_reference(write(tmp_path, "turned")).size == (30, 40)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("tiny", "is 1x1: at least 16"),
        ("huge", "10000x10000 pixels: at most 60 megapixels"),
        ("text", "no readable image"),
        ("half", "no readable image"),
        ("missing", "does not exist"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path, kind: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_reference(write(tmp_path, kind))
    assert "\n" not in str(caught.value)
