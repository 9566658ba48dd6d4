"""What training costs: films per second and share of the machine's rate by stage, peak memory against film length, two
processes against one, seconds to resume.

    python benchmarks/training.py [--device cuda]

Nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from filmwright.training.parallel import World, choose_device
from filmwright.training.recipe import Recipe, read_recipe
from filmwright.training.run_folder import Order
from filmwright.training.shop import Shop
from filmwright.training.trainer import Run
from ruamel.yaml import YAML
from torch.utils.flop_counter import FlopCounterMode

WARM, STEPS = 3, 12


def machine_rate(device: torch.device) -> float:
    """Floating-point operations per second of a large bf16 matrix product."""
    a, b = (torch.randn(4096, 4096, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(6):
        began = time.perf_counter()
        a @ b
        wait(device)
        times.append(time.perf_counter() - began)
    return 2 * 4096**3 / min(times)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def open_run(recipe: Recipe, folder: Path, stage: str, device: torch.device) -> Run:
    shop = Shop(recipe, Order(folder), World(0, 1, device))
    torch.manual_seed(0)
    settings = recipe.stage(stage)
    if hasattr(settings, "teacher"):
        settings = settings.model_copy(update={"teacher": None})  # no stage has run here: the start teaches itself
    return Run(shop.stage(settings), folder / stage, World(0, 1, device), 0, lambda progress: None)


def by_stage(device: torch.device) -> None:
    """Each stage of the nano recipe; batches are made beforehand, as the other thread would have."""
    peak = machine_rate(device)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {device}; a large bf16 product: {peak / 1e9:.0f} GFLOP/s"
    )
    recipe = read_recipe("nano")
    with tempfile.TemporaryDirectory() as name:
        for settings in recipe.stages:
            run = open_run(recipe, Path(name), settings.name, device)
            batches = [run.stage.batch(step) for step in range(WARM + STEPS)]
            times, flops = [], 0
            for step, batch in enumerate(batches):
                began = time.perf_counter()
                if step < WARM:
                    with FlopCounterMode(display=False) as counter:
                        run.one(batch, 0.0)
                    flops = max(flops, counter.get_total_flops())
                    continue
                run.one(batch, 0.0)
                wait(device)
                times.append(time.perf_counter() - began)
            seconds = statistics.mean(times)  # stages in turns, and memories, cost differently
            count = (
                getattr(settings, "films", None) or getattr(settings, "clips", None) or getattr(settings, "frames", 1)
            )
            kind = "films" if hasattr(settings, "chunks") else "clips" if hasattr(settings, "clips") else "frames"
            length = f" of {settings.chunks} chunks" if hasattr(settings, "chunks") else ""
            print(
                f"{settings.name:12} {count / seconds:6.2f} {kind}/s{length}, {seconds * 1e3:.0f} ms a step "
                f"({min(times) * 1e3:.0f} to {max(times) * 1e3:.0f}), at most {flops / seconds / peak:.1%} of that rate",
                flush=True,
            )  # fmt: skip


def tuned(chunks: int, checkpointing: bool, films: int = 1, precision: str = "bf16") -> dict[str, Any]:
    base = next(s for s in read_recipe("nano").stages if s.name == "base").model_dump(mode="json")
    memories = {"shots(3)+window(3)": 1, "routed(5)+window(3)": 1}
    stage = base | {
        "chunks": chunks,
        "films": films,
        "checkpointing": checkpointing,
        "precision": precision,
        "memories": memories,
    }
    return {"name": "bench", "size": "nano", "memory": "window(3)", "stages": [stage]}


def peak_megabytes() -> float:
    """Of this process. Linux hands `ru_maxrss` on to a child; the high-water mark of its own memory starts anew."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_peak(chunks: int, checkpointing: bool, device: torch.device) -> None:
    """Prints the peak of a process that does three steps."""
    recipe = Recipe.model_validate(tuned(chunks, checkpointing))
    with tempfile.TemporaryDirectory() as name:
        run = open_run(recipe, Path(name), "base", device)
        before = peak_megabytes()
        began = time.perf_counter()
        for step in range(3):
            run.one(run.stage.batch(step), 0.0)
        seconds = (time.perf_counter() - began) / 3
        if device.type == "cuda":
            grown = torch.cuda.max_memory_allocated() / 1e6
        else:
            grown = peak_megabytes() - before
        print(json.dumps({"megabytes": grown, "seconds": seconds}))


def against_length(device: torch.device) -> None:
    for chunks in (6, 12, 24, 48):
        found = []
        for checkpointing in ("0", "1"):
            command = [sys.executable, __file__, "--peak", str(chunks), checkpointing, "--device", device.type]
            found.append(
                json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
            )
        kept, again = found
        print(
            f"a film of {chunks} chunks: {kept['megabytes']:.0f} MB and {kept['seconds']:.2f} s a step; with checkpointing "
            f"{again['megabytes']:.0f} MB and {again['seconds']:.2f} s", flush=True,
        )  # fmt: skip


def processes(device: torch.device) -> None:
    """Steps per second of one process with two threads and of two with one each."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "two.yaml"
        with path.open("w", encoding="utf-8") as file:
            YAML().dump(tuned(6, False, films=4, precision="fp32"), file)
        rates, losses = [], []
        for count in (1, 2):
            launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(count)] if count > 1 else []
            command = [
                sys.executable,
                *launch,
                "-m",
                "filmwright",
                "train",
                str(path),
                "--steps",
                "16",
                "-o",
                f"{name}/{count}",
            ]
            env = {**os.environ, "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count))}
            subprocess.run([*command, "--device", device.type], env=env, check=True, capture_output=True)
            log = [
                json.loads(line)
                for line in (Path(name) / str(count) / "base" / "log.jsonl").read_text("utf-8").splitlines()
            ]
            rates.append(statistics.median(entry["steps_per_second"] for entry in log))
            losses.append(log[-1]["losses"]["loss"])
        print(
            f"two processes against one, 4 films a step: {rates[1]:.2f} and {rates[0]:.2f} steps/s, efficiency "
            f"{rates[1] / rates[0]:.2f}; loss after 16 steps {losses[1]:.6f} and {losses[0]:.6f}"
        )


def resuming(device: torch.device) -> None:
    recipe = read_recipe("nano")
    with tempfile.TemporaryDirectory() as name:
        run = open_run(recipe, Path(name), "base", device)
        run.one(run.stage.batch(0), 0.0)
        began = time.perf_counter()
        run.save()
        saved = time.perf_counter() - began
        size = sum(p.stat().st_size for p in (Path(name) / "base" / "checkpoint").iterdir()) / 1e6
        began = time.perf_counter()
        again = open_run(recipe, Path(name), "base", device)
        again.resume()
        opened = time.perf_counter() - began
        again.one(again.stage.batch(1), 0.0)
        first = time.perf_counter() - began
        print(
            f"a checkpoint: {size:.0f} MB, written in {saved:.2f} s; opened in {opened:.1f} s, the next step done after {first:.1f} s"
        )


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--device", default="auto")
    arguments.add_argument("--peak", nargs=2, type=int, metavar=("CHUNKS", "CHECKPOINTING"), help="internal")
    given = arguments.parse_args()
    device = choose_device(given.device)
    if given.peak:
        one_peak(given.peak[0], bool(given.peak[1]), device)
        return
    by_stage(device)
    against_length(device)
    processes(device)
    resuming(device)


if __name__ == "__main__":
    main()
