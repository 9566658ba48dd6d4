"""Makes a film of every example and writes docs/gallery.md: one frame of every shot; and the moving picture of the README.

python benchmarks/gallery.py [generator] [seconds]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from filmwright.storyboard.defaults import DEFAULT_GENERATOR
from filmwright.storyboard.production import Production
from filmwright.storyboard.takes import circled, take_folder
from filmwright.storyboard.video import read_frames
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TILE, COLUMNS, GAP = (256, 128), 4, 4
COLOURS = 128
MOVING = "nightingale"
MOVING_SECONDS, MOVING_RATE, MOVING_SIZE = 10, 8, (256, 128)


def stills(production: Production) -> Image.Image:
    """The middle frame of every shot, in rows."""
    tiles = []
    for shot in production.read_script().shots():
        record = circled(production, shot.id)
        if record is not None:
            tiles.append(take_folder(production, shot.id, record.take) / "keyframes" / "middle.png")
    rows = -(-len(tiles) // COLUMNS)
    size = (COLUMNS * (TILE[0] + GAP) - GAP, rows * (TILE[1] + GAP) - GAP)
    sheet = Image.new("RGB", size, (255, 255, 255))
    for index, path in enumerate(tiles):
        tile = Image.open(path).convert("RGB").resize(TILE, Image.Resampling.LANCZOS)
        sheet.paste(tile, (index % COLUMNS * (TILE[0] + GAP), index // COLUMNS * (TILE[1] + GAP)))
    return sheet.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def moving(film: Path, target: Path) -> None:
    """The beginning of a film as a GIF."""
    every = 16 // MOVING_RATE
    frames = islice(read_frames(film), 0, MOVING_SECONDS * 16, every)
    pictures = [
        Image.fromarray(f).resize(MOVING_SIZE, Image.Resampling.LANCZOS).quantize(64, dither=Image.Dither.NONE)
        for f in frames
    ]
    pictures[0].save(
        target, save_all=True, append_images=pictures[1:], duration=1000 // MOVING_RATE, loop=0, optimize=True
    )


def main(generator: str = DEFAULT_GENERATOR, seconds: str = "20") -> None:
    lines = [
        "# Gallery", "",
        "One frame of every shot, as the bundled miniature makes them on two CPU cores; below each the command. Nothing was chosen or made twice:",
        "`python benchmarks/gallery.py` writes this page. Sets, hours and cuts are as asked, and who is there in which colour mostly is; faces are lost, and heads of turtles and foxes often.", "",
        "![The beginning of The Nightingale](film.gif)", "",
    ]  # fmt: skip
    for story in sorted((ROOT / "examples").glob("*.txt")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / story.stem
            command = ["film", str(story), "-o", str(folder), "--seconds", seconds, "--generator", generator, "-q"]
            subprocess.run([sys.executable, "-m", "filmwright", *command], check=True, capture_output=True)
            production = Production.open(folder)
            stills(production).save(ROOT / "docs" / f"gallery-{story.stem}.png", optimize=True)
            if story.stem == MOVING:
                moving(production.film_path, ROOT / "docs" / "film.gif")
            title = production.read_script().title
        lines += [
            f"## {title}", "", f"![{title}](gallery-{story.stem}.png)", "", f"`filmwright film examples/{story.name} --seconds {seconds}`", "",
        ]  # fmt: skip
    (ROOT / "docs" / "gallery.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
