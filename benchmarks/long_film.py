"""A film of many shots: how much time a late shot takes against an early one, how long the commands that shoot nothing take, and how large
its files grow.

    python benchmarks/long_film.py [SHOTS] [GENERATOR] [FOLDER]
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filmwright.storyboard.production import Production, Settings
from filmwright.storyboard.script import Script

SECONDS = 2.25
SETS = ("forest", "meadow", "seashore", "village", "castle", "kitchen")
ACTIONS = ("walks", "runs", "talks", "sleeps", "jumps", "stands")


def long_script(shots: int) -> Script:
    """A script of so many shots, eight to a scene, with two characters."""
    entities = [{"id": name, "kind": "location", "name": name} for name in SETS]
    entities += [
        {"id": name, "kind": "character", "name": name, "description": f"a {name}"} for name in ("fox", "bear")
    ]
    scenes = []
    for first in range(0, shots, 8):
        number = first // 8
        scenes.append(
            {
                "id": f"s{number}",
                "location": SETS[number % len(SETS)],
                "shots": [
                    {
                        "id": f"{number}-{index}",
                        "seconds": SECONDS,
                        "size": ("LS", "MS")[index % 2],
                        "action": f"The fox {ACTIONS[(first + index) % len(ACTIONS)]}, and the bear looks on.",
                        "entities": ["fox", "bear"][: 1 + index % 2],
                        "lines": [{"speaker": "fox", "text": "Where are we going?"}] if index % 3 == 0 else [],
                    }
                    for index in range(min(8, shots - first))
                ],
            }
        )
    return Script.model_validate({"title": "A long film", "entities": entities, "scenes": scenes})


def seconds_of(*arguments: str) -> float:
    """Wall seconds of a command, in a process of its own: the median of three."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "filmwright", *arguments], check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main(shots: int = 240, generator: str = "theatre", where: str | None = None) -> None:
    """Makes the film, and prints the table."""
    folder = Path(where or tempfile.mkdtemp()) / "long"
    settings = Settings(generator=generator, critic="none", seconds=shots * SECONDS)
    production = Production.create(folder, "A long story.", settings)
    production.write_script(long_script(shots))
    command = [sys.executable, "-m", "filmwright", "film", str(folder), "--json"]
    sizes: dict[int, int] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ends: list[float] = []
        for line in process.stdout:
            if json.loads(line)["event"] == "take":
                ends.append(time.perf_counter())
                sizes[len(ends)] = sum(path.stat().st_size for path in folder.glob("session.sqlite*"))
    lengths = [b - a for a, b in itertools.pairwise(ends)]
    tenth = max(1, shots // 12)
    early, late = (statistics.median(part) for part in (lengths[tenth : 3 * tenth], lengths[-2 * tenth :]))
    rows = {
        f"shot {tenth} to {3 * tenth}, median seconds": f"{early:.3f}",
        f"shot {shots - 2 * tenth} to {shots}, median seconds": f"{late:.3f}",
        "late against early": f"{late / early:.3f}",
        "status, cold, seconds": f"{seconds_of('status', str(folder)):.2f}",
        "check, cold, seconds": f"{seconds_of('check', str(folder)):.2f}",
        "shoot --dry-run, cold, seconds": f"{seconds_of('shoot', str(folder), '--dry-run'):.2f}",
        "storyboard.html, MB": f"{(folder / 'storyboard.html').stat().st_size / 1e6:.2f}",
        f"session.sqlite at shot {2 * tenth}, kB": f"{sizes[2 * tenth] / 1e3:.0f}",
        f"session.sqlite at shot {shots}, kB": f"{sizes[shots] / 1e3:.0f}",
        "log.jsonl, kB": f"{(folder / 'log.jsonl').stat().st_size / 1e3:.0f}",
    }
    for name, value in rows.items():
        print(f"{name:<44}{value:>12}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 240, *sys.argv[2:])
