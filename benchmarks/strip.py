"""Draws the README's picture from a finished film: its shots as the model made them, below the theatre's drawings.

python benchmarks/strip.py films/the-nightingale docs/film.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from filmwright.animatic.movie import draw_panels
from filmwright.storyboard.production import Production
from filmwright.storyboard.takes import circled, take_folder
from PIL import Image

TILE = (256, 128)
COLUMNS = 4


def main(folder: str, target: str) -> None:
    production = Production.open(Path(folder))
    script = production.read_script()
    shots = list(script.shots())[: 2 * COLUMNS]
    with tempfile.TemporaryDirectory() as name:
        drawn = draw_panels(script, Path(name), seed=production.read_settings().film_seed)
        tiles = {shot.id: Image.open(drawn[shot.id]).convert("RGB").resize(TILE) for shot in shots}
    rows = [shots[i : i + COLUMNS] for i in range(0, len(shots), COLUMNS)]
    gap = 6
    width = COLUMNS * (TILE[0] + gap) - gap
    strip = Image.new("RGB", (width, len(rows) * (2 * TILE[1] + 2 * gap) - gap), (255, 255, 255))
    for row, group in enumerate(rows):
        top = row * (2 * TILE[1] + 2 * gap)
        for column, shot in enumerate(group):
            record = circled(production, shot.id)
            if record is None:
                raise SystemExit(f"shot {shot.id} has no take")
            still = take_folder(production, shot.id, record.take) / "keyframes" / "middle.png"
            left = column * (TILE[0] + gap)
            strip.paste(tiles[shot.id], (left, top))
            strip.paste(
                Image.open(still).convert("RGB").resize(TILE, Image.Resampling.LANCZOS), (left, top + TILE[1] + 1)
            )
    strip.save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
