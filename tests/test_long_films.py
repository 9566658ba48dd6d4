"""What may not grow with a film: reads of its files, and what is kept of its session."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from filmwright.cli import app
from filmwright.storyboard.production import Production
from typer.testing import CliRunner

COUNT = """
import json, sys
opened = []
def note(event, arguments):
    path, mode = arguments[:2] if event == "open" else (None, None)
    if isinstance(path, (str, bytes)) and mode is not None:  # os.open, which says no mode, may serve an open of Python's
        opened.append(str(path))
from filmwright.cli import app
import hashlib
hashed, blake2b = [0], hashlib.blake2b
class Counted:
    def __init__(self, data=b"", **options):
        self.inner = blake2b(data, **options)
        hashed[0] += len(data)
    def update(self, data):
        hashed[0] += len(data)
        self.inner.update(data)
    def __getattr__(self, name):
        return getattr(self.inner, name)
hashlib.blake2b = Counted
sys.addaudithook(note)
app(json.loads(sys.argv[1]), standalone_mode=False)
print(json.dumps({"opened": opened, "hashed": hashed[0]}))
"""


def film(folder: Path, bundle: Path, shots: int) -> None:
    story = " ".join(f"A fox ran to the {place}." for place in ("forest", "sea", "hill", "river") * (shots // 4))
    options = ["--generator", str(bundle), "--critic", "none", "--seconds", str(2 * shots)]
    result = CliRunner().invoke(app, ["film", story, "-o", str(folder), *options])
    assert result.exit_code == 0, result.output


def counted(folder: Path, command: str) -> dict[str, Any]:
    arguments = [sys.executable, "-c", COUNT, json.dumps([*command.split(), str(folder)])]
    said = subprocess.run(arguments, cwd=folder.parent, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


@pytest.mark.parametrize("command", ["status", "check", "shoot --dry-run"])
def test_every_file_of_a_film_is_read_once_at_most(tiny_bundle: Path, tmp_path: Path, command: str) -> None:
    film(tmp_path / "film", tiny_bundle, 4)
    found = counted(tmp_path / "film", command)
    opened = Counter(path for path in found["opened"] if Path(path).is_relative_to(tmp_path / "film"))
    assert opened[str(tmp_path / "film" / "script.yaml")] == 1
    assert {path: count for path, count in opened.items() if count > 1} == {}
    weights = sum(path.stat().st_size for path in tiny_bundle.rglob("*.safetensors"))
    assert found["hashed"] < weights + 100_000


def test_the_session_does_not_grow_with_the_film(tiny_bundle: Path, tmp_path: Path) -> None:
    rows = []
    for shots in (4, 12):
        folder = tmp_path / f"film-{shots}"
        film(folder, tiny_bundle, shots)
        with sqlite3.connect(Production.open(folder).session_path) as session:
            rows.append(
                [session.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("checkpoints", "writes")]
            )
    assert rows[0] == rows[1]
    assert rows[0][0] == 1


def test_a_page_of_many_pictures_is_no_longer_than_one_file_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from filmwright.animatic.profile import PROFILE
    from filmwright.storyboard.exports import Panel, storyboard_html
    from filmwright.storyboard.script import Script
    from filmwright.storyboard.timeline import build_timeline
    from PIL import Image

    monkeypatch.setattr(
        "filmwright.storyboard.exports.PICTURE_CHARACTERS", 450_000
    )  # a tenth, for a tenth of the shots
    noise = np.random.default_rng(0).integers(0, 256, (480, 832, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")  # as hard to compress as a picture can be
    shots = [{"id": f"s{n}", "seconds": 2.0} for n in range(24)]
    places = [{"id": "x", "kind": "location", "name": "x"}]
    script = Script.model_validate(
        {"title": "T", "entities": places, "scenes": [{"id": "a", "location": "x", "shots": shots}]}
    )
    panels = {shot.id: Panel(tmp_path / "noise.png", "drawn") for shot in script.shots()}
    page = storyboard_html(script, build_timeline(script, PROFILE), panels)
    assert page.count('<img alt="shot ') == 24
    assert len(page) < 500_000
