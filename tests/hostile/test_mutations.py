"""Whatever a file of a production holds: an exit code, one line, nothing outside touched, and never a traceback or a hang.

`make fuzz` tries many more. A case is had again by `tests/hostile/fuzz.py --first NUMBER --cases 1`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import mutations

CASES, BATCHES, QUICK_BATCHES, PROCESSES = 1000, 20, 4, 30


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mutations.make_production(tmp_path_factory.mktemp("template") / "film")


@pytest.mark.filterwarnings("ignore:.*not an entry of the log")
@pytest.mark.parametrize(
    "batch",
    [batch if batch < QUICK_BATCHES else pytest.param(batch, marks=pytest.mark.slow) for batch in range(BATCHES)],
)
def test_a_changed_file_never_breaks_a_command(template: Path, tmp_path: Path, batch: int) -> None:
    mutations.prepare(tmp_path)
    size = CASES // BATCHES
    for number in range(batch * size, (batch + 1) * size):
        done, tried = mutations.try_case(number, template, tmp_path, commands=1)
        for one in tried:
            assert not one.wrong, f"case {number} ({done}): {' '.join(one.command)}: {one.wrong}\n{one.says}"


@pytest.mark.slow
def test_a_changed_file_never_breaks_a_process(template: Path, tmp_path: Path) -> None:
    mutations.prepare(tmp_path)
    folder = tmp_path / "film"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for number in range(PROCESSES):
        rng = random.Random(CASES + number)
        shutil.copytree(template, folder)
        done = mutations.mutate(rng, folder)
        before = mutations.around(tmp_path, folder)
        command = [
            sys.executable,
            "-m",
            "filmwright",
            *(("export", "fountain") if number % 10 else ("status",)),
            str(folder),
        ]
        ended = subprocess.run(command, capture_output=True, timeout=120, env=environment, check=False)
        says = ended.stderr.decode("utf-8", "replace")
        assert ended.returncode in (0, 1, 2, 3), f"case {CASES + number} ({done}): {says}"
        assert "Traceback" not in says, f"case {CASES + number} ({done}): {says}"
        assert mutations.around(tmp_path, folder) == before, done
        shutil.rmtree(folder)
