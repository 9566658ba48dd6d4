"""Prints the numbers of docs/numbers.md on this machine: `make bench`; `python benchmarks/bench.py mini` those of another model of ours."""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from filmwright.generator.video_generator import open_bundled
from filmwright.storyboard.vocabulary import SETS

ROOT = Path(__file__).resolve().parent.parent
STORY = ROOT / "examples" / "hare-and-tortoise.txt"
COMMAND = [sys.executable, "-m", "filmwright"]
PROMPT = "medium shot , {} , day , camera still : red striped fox with hat walks right ; blue plain bear talks left ."


def timed(work: Callable[[], object], repeats: int = 30) -> float:
    """Median seconds of a call, after three that warm up."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def end_to_end(generator: str, runs: int = 3) -> None:
    """A 20-second film in a fresh process, wall clock."""
    walls, shares = [], {}
    for run in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            out = subprocess.run(
                [
                    *COMMAND,
                    "film",
                    str(STORY),
                    "--seconds",
                    "20",
                    "--seed",
                    str(run),
                    "--generator",
                    generator,
                    "--json",
                    "-o",
                    "film",
                ],
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            walls.append(time.perf_counter() - began)
            shares = json.loads(out.splitlines()[-1])["shares"]
    print(
        f"20-second film, {generator}: {statistics.median(walls):.1f} s end to end ({min(walls):.1f} to {max(walls):.1f}, {runs} seeds)"
    )
    rest = walls[-1] - sum(shares.values())
    print(
        "  shares of the last: "
        + ", ".join(f"{k} {v:.1f} s" for k, v in shares.items())
        + f", start and the rest {rest:.1f} s"
    )


def animatic() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "filmwright"]
        subprocess.run(
            [*command, "plan", str(STORY), "-o", "film", "-q", "--seconds", "60"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        began = time.perf_counter()
        out = subprocess.run(
            [*COMMAND, "animatic", "film", "--json"], cwd=folder, check=True, capture_output=True, text=True
        ).stdout
        wall = time.perf_counter() - began
        seconds = json.loads(out.splitlines()[-1])["seconds"]
        print(
            f"animatic 832x480: {seconds:.1f} s of film in {wall:.1f} s, {seconds / wall:.1f} times faster than real time"
        )


def denoise_pass(name: str) -> None:
    """One denoise pass with a full window against its own GEMM and SDPA calls at the same shapes, timed alone."""
    from filmwright.generator.contexts import Paged

    generator = open_bundled(name, None)
    rollout = generator.start(0)
    rollout.begin_shot(PROMPT.format("forest"), shot="a", take=1)
    for _ in range(5):
        rollout.step()
    model, store = generator._bundle.transformer, rollout.store
    random = partial(torch.randn, dtype=generator._bundle.dtype)
    x = random(1, 16, rollout._length, *rollout._latent)
    text = generator._bundle.text(PROMPT.format("forest"))
    context = Paged(store, rollout._memory)
    with torch.no_grad():
        whole = timed(lambda: model(x, torch.tensor([500.0]), text, context))
        attn = model.blocks[0].attn1
        width, heads = attn.to_q.in_features, attn.heads
        tokens = rollout._length * store.shape.tokens
        span = tokens + len(context.plan.fixed) * store.shape.tokens
        inner = model.blocks[0].ffn.net[0].proj.out_features
        square, narrow, wide = random(width, width), random(width, inner), random(inner, width)
        rows, deep, said = random(tokens, width), random(tokens, inner), random(text.shape[1], width)
        q, kv, kv_text = (random(1, heads, n, width // heads) for n in (tokens, span, text.shape[1]))

        def alone() -> None:
            for _ in model.blocks:
                for _ in range(6):
                    rows @ square
                said @ square, said @ square
                rows @ narrow, deep @ wide
                F.scaled_dot_product_attention(q, kv, kv)
                F.scaled_dot_product_attention(q, kv_text, kv_text)

        bare = timed(alone)
    print(
        f"denoise pass, {name}: {whole * 1e3:.1f} ms; its GEMM and SDPA calls alone {bare * 1e3:.1f} ms, {bare / whole:.0%} of the pass"
    )


def long_film(name: str) -> None:
    """Seconds per chunk and peak memory of a film of 200 chunks, around chunk 5 and chunk 200."""
    generator = open_bundled(name, None)
    rollout = generator.start(0)
    times, peaks = [], []
    for chunk in range(200):
        if chunk % 4 == 0:
            rollout.begin_shot(PROMPT.format(SETS[chunk // 4 % len(SETS)]), shot=f"s{chunk}", take=1)
        began = time.perf_counter()
        rollout.step()
        times.append(time.perf_counter() - began)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    early, full, late = (statistics.median(part) for part in (times[2:10], times[16:32], times[-16:]))
    print(
        f"chunk 5: {early * 1e3:.0f} ms, peak {peaks[9]:.0f} MiB; chunk 24, every memory full: {full * 1e3:.0f} ms, peak {peaks[31]:.0f} MiB; "
        f"chunk 200: {late * 1e3:.0f} ms, peak {peaks[-1]:.0f} MiB; 200 against 5: {late / early:.3f}, {peaks[-1] / peaks[9]:.3f}; against 24: {late / full:.3f}, {peaks[-1] / peaks[31]:.3f}"
    )


def main(name: str = "nano") -> None:
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
    )
    denoise_pass(name)
    long_film(name)
    end_to_end(name)
    end_to_end("theatre", runs=1)
    animatic()


if __name__ == "__main__":
    main(*sys.argv[1:])
