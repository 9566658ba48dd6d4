"""What a film's length costs: `python benchmarks/long_film.py [--shots 240] [--generator theatre] [--folder DIR]`.

Shoots a long film and a short one of equal shots. Where the short one is at shot 40 and the long one at its end, they take turns shot by shot, so that
other work on the machine slows both alike. Then runs `check`, `status` and `shoot --dry-run` in fresh processes. Prints seconds of processor
per shot early and late, seconds of the commands, and bytes of `session.sqlite` and `storyboard.html`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Semaphore, Thread
from typing import Annotated

import torch
import typer
from filmwright.agents.director import Order
from filmwright.agents.events import Event
from filmwright.agents.session import cut, shoot
from filmwright.storyboard.production import Production, Settings
from filmwright.storyboard.script import Entity, Scene, Script, Shot

SHOTS_PER_SCENE = 10
EARLY, LATE = 40, 240
AROUND = 20
"""Shots before and after the 40th, and twice as many before the last, that are compared."""
ACTIONS = (
    "The fox walks through the forest.",
    "The crow sits and talks.",
    "The fox jumps and waves at the crow.",
    "The crow sleeps in the tree.",
    "The fox carries an apple.",
)
"""Repeated over and over: all stretches of the film ask for the same work."""


class Enough(Exception):
    """Ends a film that has been watched long enough."""


class WatchedFilm:
    """A film shot in a thread of its own that waits after every take until it is told to go on."""

    def __init__(self, production: Production, settings: Settings) -> None:
        self.production, self.settings = production, settings
        self.seconds: list[float] = []
        self.session_bytes: list[int] = []
        self._go, self._paused = Semaphore(0), Semaphore(0)
        self._began, self._stopping = 0.0, False
        self._thread = Thread(target=self._shoot)
        self._thread.start()

    def advance(self, shots: int) -> None:
        """Shoots the next shots."""
        for _ in range(shots):
            self._go.release()
            self._paused.acquire()

    def stop(self) -> None:
        """Ends the film where it is; a film whose last shot is shot ends well."""
        self._stopping = True
        self._go.release()
        self._thread.join()

    def _shoot(self) -> None:
        torch.set_num_threads(1)
        self._go.acquire()
        self._began = time.process_time()
        try:
            shoot(self.production, self.settings, Order(cut=False), None, self._hear)
        except Enough:
            pass
        finally:
            self._paused.release()

    def _hear(self, event: Event) -> None:
        if event.kind != "take":
            return
        self.seconds.append(time.process_time() - self._began)
        path = self.production.session_path
        self.session_bytes.append(sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")))
        self._paused.release()
        self._go.acquire()
        if self._stopping:
            raise Enough
        self._began = time.process_time()


def long_script(shots: int, seconds: float) -> Script:
    """A script of equal scenes."""
    entities = [
        Entity(id="fox", kind="character", name="Fox", description="a red fox with a hat"),
        Entity(id="crow", kind="character", name="Crow", description="a blue bird with a scarf"),
        Entity(id="forest", kind="location", name="Forest", description="a forest of tall trees"),
    ]
    made = []
    for number in range(shots):
        action = ACTIONS[number % len(ACTIONS)]
        cast = [name for name in ("fox", "crow") if name in action.lower()]
        made.append(Shot(id=f"{number // SHOTS_PER_SCENE + 1}{'ABCDEFGHIJ'[number % SHOTS_PER_SCENE]}", seconds=seconds, action=action, entities=cast))  # fmt: skip
    scenes = [
        Scene(id=f"s{first // SHOTS_PER_SCENE + 1}", location="forest", shots=made[first : first + SHOTS_PER_SCENE])
        for first in range(0, shots, SHOTS_PER_SCENE)
    ]
    return Script(title="A long film", entities=entities, scenes=scenes)


def command(*words: str) -> float:
    """Seconds of a command in a fresh process, the better of two."""
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "filmwright", *words, "--json"], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return min(taken)


def main(
    shots: Annotated[int, typer.Option(min=4 * AROUND)] = LATE,
    seconds: float = 1.5,
    generator: str = "theatre",
    critic: Annotated[str, typer.Option(help="One that asks for shots anew makes shots unequal.")] = "none",
    folder: Annotated[Path | None, typer.Option(help="Keep the film here.")] = None,
    joined: Annotated[
        bool, typer.Option("--cut/--no-cut", help="Also cut the film, which writes the storyboard.")
    ] = True,
) -> None:
    place = folder or Path(tempfile.mkdtemp(prefix="long-film-"))
    settings = Settings(generator=generator, critic=critic)
    films = []
    try:
        for name in ("film", "short"):
            production = Production.create(place / name, "A long film.", settings)
            production.write_script(long_script(shots, seconds))
            films.append(WatchedFilm(production, settings))
        late, early = films
        late.advance(shots - 2 * AROUND)
        early.advance(EARLY - AROUND)
        for _ in range(2 * AROUND):
            early.advance(1)
            late.advance(1)
        for film in films:
            film.stop()
        production = late.production
        both = [statistics.median(film.seconds[-2 * AROUND :]) for film in films]
        found: dict[str, object] = {
            "shots": shots, "generator": generator, "shot_seconds_early": round(both[1], 4), "shot_seconds_late": round(both[0], 4),
            "ratio": round(both[0] / both[1], 3), "session_bytes": [late.session_bytes[EARLY - 1], late.session_bytes[-1]],
        }  # fmt: skip
        if joined:
            began = time.perf_counter()
            cut(production, settings, lambda event: None)
            found["cut_seconds"] = round(time.perf_counter() - began, 1)
            found["storyboard_bytes"] = production.page_path.stat().st_size
        where = os.fspath(production.folder)
        found["check_seconds"] = round(command("check", where), 2)
        found["status_seconds"] = round(command("status", where), 2)
        found["dry_run_seconds"] = round(command("shoot", where, "--dry-run"), 2)
        print(json.dumps(found, indent=1))
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
