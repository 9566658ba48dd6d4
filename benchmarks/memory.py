"""What memory costs: time and peak memory against the length of the film, routing, paging to the host, replay.

    python benchmarks/memory.py [--chunks 2000] [--memory causalcine --memory …]

Chunks are drawn in one step here, so that memory weighs as much as it ever can. Nothing else should run.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from dataclasses import replace
from typing import Any

import torch
from bench import timed
from filmwright.generator import contexts
from filmwright.generator.bundle import Bundle, load_bundle
from filmwright.generator.memory import PRESETS, parse_memory
from filmwright.generator.profiles import BUNDLED
from filmwright.generator.rollout import ModelRollout
from filmwright.generator.schedule import Sampling

PROMPTS = [
    f"medium shot , {place} , day , camera still : red striped fox with hat walks right ."
    for place in ("forest", "meadow", "castle", "village")
]
SHOT = 8
WINDOW = 40
"""Chunks over which a median is taken."""
FULL = 184
"""Chunks after which every policy holds all it ever will: a pool of 512 frames is full at 171."""


def roll(rollout: ModelRollout, chunks: int, done: int = 0) -> list[float]:
    """Seconds of every chunk, from chunk `done` on; a cut every `SHOT` chunks."""
    times = []
    for chunk in range(done, done + chunks):
        if chunk % SHOT == 0:
            shot = chunk // SHOT
            rollout.begin_shot(PROMPTS[shot % len(PROMPTS)], shot=f"s{shot}", take=1)
        began = time.perf_counter()
        rollout.step()
        times.append(time.perf_counter() - began)
    return times


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def against_length(bundle: Bundle, memory: str, chunks: int) -> None:
    """Once what the policy holds is full, a chunk costs the same however long the film is: a long film and a short one
    in turns, so that what the machine does meanwhile happens to both."""
    policy = parse_memory(memory)
    long = ModelRollout(bundle, policy, 0)
    half = chunks // 2
    roll(long, half)
    middle_peak = peak_megabytes()
    roll(long, chunks - half - WINDOW, done=half)
    short = ModelRollout(bundle, policy, 0)
    full = min(chunks // 2, FULL)
    roll(short, full)
    early, late = [], []
    for turn in range(0, WINDOW, SHOT):
        late += roll(long, SHOT, done=chunks - WINDOW + turn)
        early += roll(short, SHOT, done=full + turn)
    ratios = sorted(b / a for a, b in zip(early, late, strict=True))
    print(
        f"{memory:34} from chunk {full}: {statistics.median(early) * 1e3:6.1f} ms   last {WINDOW} of {chunks}: {statistics.median(late) * 1e3:6.1f} ms   "
        f"ratio {statistics.median(ratios):.3f} (quartiles {ratios[len(ratios) // 4]:.2f} to {ratios[3 * len(ratios) // 4]:.2f})   "
        f"peak at half {middle_peak:.0f} MB, at the end {peak_megabytes():.0f} MB",
        flush=True,
    )


def routing_share(bundle: Bundle, chunks: int = 60) -> None:
    """The part of a chunk that choosing takes, with the model's own sampler and with one step."""
    spent = [0.0]
    plain = contexts.choose

    def watched(*arguments: Any) -> torch.Tensor:
        began = time.perf_counter()
        chosen = plain(*arguments)
        spent[0] += time.perf_counter() - began
        return chosen

    contexts.choose = watched
    try:
        for name, sampled in (("its own sampler", bundle), ("four steps", replace(bundle, sampling=Sampling()))):
            rollout = ModelRollout(sampled, parse_memory("causalcine"), 0)
            roll(rollout, 2 * SHOT)
            spent[0] = 0.0
            total = sum(roll(rollout, chunks))
            print(
                f"routing, {name}: {spent[0] / chunks * 1e3:.2f} ms of {total / chunks * 1e3:.1f} ms a chunk, {spent[0] / total:.1%}"
            )
    finally:
        contexts.choose = plain


def host_paging(bundle: Bundle, chunks: int = 120) -> None:
    """Bytes between host and device for every chunk, against reading all that was recalled anew."""
    few = replace(bundle, sampling=Sampling())
    rollout = ModelRollout(few, parse_memory("routed(5,tier=host)+window(3)"), 0)
    roll(rollout, 2 * SHOT)
    pool = rollout.store.pool
    assert pool is not None
    before = pool.moved_bytes
    roll(rollout, chunks)
    moved = (pool.moved_bytes - before) / chunks
    frame = rollout.store.shape.frame_bytes
    out = rollout._length * frame
    print(
        f"host paging, 4 steps and commit: {moved / 1e6:.2f} MB a chunk, {out / 1e6:.2f} MB of it the chunk's own pages going out; "
        f"fetching all that is recalled anew in every pass would move {(out + 5 * 5 * frame) / 1e6:.2f} MB (a latent frame: {frame / 1e6:.3f} MB)"
    )


def replay(bundle: Bundle, memory: str, chunks: int = 48) -> None:
    """Feeding a film back against making it."""
    made = ModelRollout(bundle, parse_memory(memory), 0)
    fed = ModelRollout(bundle, parse_memory(memory), 0)
    spent = [0.0, 0.0]
    for chunk in range(chunks):
        if chunk % SHOT == 0:
            for rollout in (made, fed):
                rollout.begin_shot(PROMPTS[chunk // SHOT % len(PROMPTS)], shot=f"s{chunk // SHOT}", take=1)
        began = time.perf_counter()
        new = made.step()
        middle = time.perf_counter()
        fed.feed(new.latents, new.state, decode=False)
        spent[0] += middle - began
        spent[1] += time.perf_counter() - middle
    print(
        f"replay, {memory}, {len(bundle.sampling.sigmas())} steps: {spent[0] / spent[1]:.1f} times faster than making it"
    )


def against_diffusers(bundle: Bundle) -> None:
    """Our forward on one chunk alone against diffusers' on the same weights and tokens, in turns."""
    from diffusers import WanTransformer3DModel

    ours = bundle.transformer
    config = {k: v for k, v in dict(ours.config).items() if not k.startswith("_") and k not in ("trained_span", "trained_segments", "history_patches", "cut_stream")}  # fmt: skip
    theirs = WanTransformer3DModel(**config).eval()
    theirs.load_state_dict(ours.state_dict())
    text = bundle.text(PROMPTS[0])
    at = torch.tensor([500.0])
    for frames, size in ((3, (8, 16)), (12, (8, 16)), (3, (30, 52))):
        x = torch.randn(1, 16, frames, *size)
        with torch.no_grad():
            mine, other = [], []
            for _ in range(3):
                mine.append(timed(lambda x=x: ours(x, at, text)))
                other.append(timed(lambda x=x: theirs(x, at, text, return_dict=False)))
        tokens = frames * size[0] * size[1] // 4
        print(
            f"forward, {tokens} tokens: {min(mine) * 1e3:.1f} ms, diffusers {min(other) * 1e3:.1f} ms, ratio {min(mine) / min(other):.2f}"
        )


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--chunks", type=int, default=2000)
    arguments.add_argument("--memory", action="append")
    given = arguments.parse_args()
    bundle = load_bundle(BUNDLED / "nano", torch.device("cpu"))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, nano")
    with torch.no_grad():
        against_diffusers(bundle)
        bundle.transformer.add_history_patches()
        routing_share(bundle)
        host_paging(bundle)
        for memory in ("window(3)", "causalcine"):
            replay(bundle, memory)
            replay(replace(bundle, sampling=Sampling()), memory)
        one = replace(bundle, sampling=Sampling(timesteps=(1000,)))
        for memory in given.memory or ["window(3)", *PRESETS]:
            against_length(one, memory, given.chunks)


if __name__ == "__main__":
    main()
