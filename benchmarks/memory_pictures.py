"""Draws the pictures of docs/memory.md: the presets' spans, and what a film of the bundled model recalled.

python benchmarks/memory_pictures.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from filmwright.evaluation.span_chart import draw_spans
from filmwright.generator.memory import PRESETS, parse_memory

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    draw_spans({name: parse_memory(name) for name in PRESETS}).save(ROOT / "docs" / "memory-spans.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "filmwright"]
        story = str(ROOT / "examples" / "hare-and-tortoise.txt")
        made = Path(folder) / "film"
        film = [*command, "film", story, "--seconds", "30", "--memory", "causalcine", "-o", str(made), "-q"]
        subprocess.run(film, check=True)
        picture = ROOT / "docs" / "memory-causalcine.png"
        subprocess.run([*command, "memory", str(made), "-o", str(picture)], check=True)


if __name__ == "__main__":
    main()
