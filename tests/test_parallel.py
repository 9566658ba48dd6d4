"""Training on two processes: the same losses as on one, and no run that hangs or loses what it had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filmwright.generator.bundle import load_bundle
from filmwright.generator.profiles import BUNDLED
from filmwright.training.one_network import Share
from filmwright.training.parallel import World
from filmwright.training.recipe import Recipe
from filmwright.training.run_folder import Order
from filmwright.training.shop import Shop
from ruamel.yaml import YAML

RECIPE = {
    "name": "two", "size": "nano", "memory": "window(1)",
    "stages": [
        {"name": "base", "kind": "tuning", "films": 2, "chunks": 2, "learning_rate": 1e-3, "precision": "fp32", "copies": 1,
         "warmup_steps": 1, "memories": {"shots(1)+window(1)": 1}},
        {"name": "student", "kind": "distribution", "films": 2, "chunks": 2, "learning_rate": 1e-3, "critic_rate": 1e-3, "ratio": 1,
         "precision": "fp32", "warmup_steps": 1, "memories": {"state(1)+window(1)": 1}},
        {"name": "draw", "kind": "decoder", "films": 2, "chunks": 2, "learning_rate": 1e-4, "precision": "fp32", "memories": {"window(1)": 1}},
        {"name": "reader", "kind": "reader", "frames": 2, "shots": 2, "learning_rate": 1e-4},
    ],
}  # fmt: skip


def launcher(processes: int) -> list[str]:
    rendezvous = ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *rendezvous]


def train(folder: Path, processes: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(launcher(processes) if processes > 1 else [sys.executable]),
        "-m",
        "filmwright",
        "train",
        str(folder / "two.yaml"),
    ]
    return subprocess.run(
        [*command, *options, "--device", "cpu", "--json"],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=500, check=False,
    )  # fmt: skip


def losses(folder: Path) -> dict[tuple[str, int], float]:
    found = {}
    for stage in ("base", "student", "draw"):
        for line in (folder / stage / "log.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            found[stage, entry["step"]] = entry["losses"]["loss"]
    return found


def test_only_the_first_process_holds_weights_before_they_are_sharded(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(RECIPE)
    for rank in (0, 1):
        networks = Shop(recipe, Order(tmp_path), World(rank, 2, torch.device("cpu")))._networks(None, "base")
        assert all(p.is_meta == (rank == 1) for p in networks["transformer"].parameters())
        assert not any(p.is_meta for p in networks["text_encoder"].parameters())
    around = load_bundle(BUNDLED / "nano", torch.device("cpu"), hollow=True)
    assert all(p.is_meta for p in around.transformer.parameters()) and around.channels == 16


AVERAGING = """
import os
import torch
from filmwright.training.one_network import Share
from filmwright.training.parallel import joined, leave
with joined(torch.device("cpu")) as world:
    mine, yours = torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)
    if world.rank == 0:
        mine.grad = torch.full((3,), 2.0)  # the other process has none
    yours.grad = torch.full((2,), 4.0 * world.rank)
    world.average_gradients([mine, yours])
    said = f"averaged {mine.grad.tolist()} {yours.grad.tolist()}"
    os.write(1, f"{said}{os.linesep}".encode())  # at once: both write to one pipe
leave()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="gloo under torchrun is tried on Linux and macOS")
def test_gradients_of_what_every_process_holds_whole_are_averaged(tmp_path: Path) -> None:
    (tmp_path / "averaging.py").write_text(AVERAGING, encoding="utf-8")
    done = subprocess.run(
        [*launcher(2), str(tmp_path / "averaging.py")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.count("averaged [1.0, 1.0, 1.0] [2.0, 2.0]") == 2, done.stderr


def test_a_step_is_shared_out_and_another_seed_sees_other_examples() -> None:
    shares = [Share(0, rank, 2).numbers(100, 3, 4) for rank in (0, 1)]
    assert shares == [[112, 114], [113, 115]]
    assert not {*Share(1).numbers(100, 3, 4)} & {*Share(0).numbers(100, 3, 4)}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo under torchrun is tried on Linux and macOS")
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    with (tmp_path / "two.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(RECIPE, file)
    for processes in (1, 2):
        for steps in (
            "1",
            "2",
            "4",
        ):  # each goes on from the one before, the last with both parts of the student in turn
            done = train(tmp_path, processes, "--steps", steps, "-o", str(tmp_path / str(processes)))
            assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    both = one.keys() & two.keys()
    assert both >= {(stage, step) for stage in ("base", "student") for step in (1, 2, 4)}
    assert ("draw", 4) in both
    for entry in both:
        assert one[entry] == pytest.approx(two[entry], abs=1e-5), entry
    handed = train(tmp_path, 1, "--steps", "4", "-o", str(tmp_path / "2"))  # one process goes on with what two began
    assert handed.returncode == 0, handed.stderr
    uneven = train(tmp_path, 3, "--steps", "4", "-o", str(tmp_path / "3"))
    assert uneven.returncode != 0 and "3 processes cannot share" in uneven.stdout + uneven.stderr
