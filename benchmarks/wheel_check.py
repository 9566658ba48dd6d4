"""Installs the newest wheel into a fresh environment outside the checkout, imports every module, makes a film."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORT_ALL = """
import importlib, pkgutil, filmwright
names = [m.name for m in pkgutil.walk_packages(filmwright.__path__, "filmwright.") if "__main__" not in m.name]
for name in names:
    importlib.import_module(name)
print(f"imported {len(names)} modules from {filmwright.__path__[0]}")
"""


def main() -> None:
    wheel = max((ROOT / "dist").glob("filmwright-*.whl"), key=lambda path: path.stat().st_mtime)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        bin_folder = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin")
        python = str(bin_folder / "python")

        def run(*command: str) -> None:
            subprocess.run(command, cwd=folder, check=True)

        run(python, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel))
        run(python, "-c", IMPORT_ALL)
        story = ROOT / "examples" / "hare-and-tortoise.txt"
        run(str(bin_folder / "filmwright"), "film", str(story), "--seconds", "6", "-o", "film")
        size = (folder / "film" / "film.mp4").stat().st_size
        print(f"made a film of {size} bytes")


if __name__ == "__main__":
    main()
