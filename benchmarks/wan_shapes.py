"""Speed of Wan's shapes with random weights: frames per second, first chunk, cadence. Speed needs no trained weights.

    python benchmarks/wan_shapes.py --size 1.3b --memory 'window(2)' --chunks 30      # on a GPU
    python benchmarks/wan_shapes.py --layers 1 --width 64 --height 32 --chunks 4      # a look at it on a CPU

Four steps and the commit pass; decoded by a TAEHV of random weights, or not at all. States what it ran on, and how long
the history was, since that is what the rate depends on.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from filmwright.generator.bundle import Bundle, quiet_libraries
from filmwright.generator.memory import parse_memory
from filmwright.generator.profiles import BundleProfile
from filmwright.generator.rollout import ModelRollout
from filmwright.generator.schedule import Sampling
from filmwright.generator.transformer import CausalWanTransformer3DModel
from filmwright.generator.wan_autoencoder import Taehv

SIZES = {"1.3b": {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}, "14b": {"num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824}}  # fmt: skip


def random_weights(module: Any, device: torch.device, dtype: torch.dtype) -> Any:
    module = module.to_empty(device=device).to(dtype).eval().requires_grad_(False)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return module


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--size", choices=SIZES, default="1.3b")
    arguments.add_argument("--memory", default="window(2)")
    arguments.add_argument("--chunks", type=int, default=30)
    arguments.add_argument("--layers", type=int)
    arguments.add_argument("--width", type=int, default=832)
    arguments.add_argument("--height", type=int, default=480)
    given = arguments.parse_args()
    quiet_libraries()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = {**SIZES[given.size], **({"num_layers": given.layers} if given.layers else {})}
    with torch.device("meta"):
        transformer = CausalWanTransformer3DModel(attention_head_dim=128, text_dim=4096, **config)
        tiny = Taehv()
    transformer = random_weights(transformer, device, torch.bfloat16)
    text = torch.randn(1, 512, 4096, device=device, dtype=torch.bfloat16)
    profile = BundleProfile(
        name=f"random {given.size}",
        licence="none",
        width=given.width,
        height=given.height,
        chunk_latents=3,
        prompt_style="prose",
    )
    bundle = Bundle(
        Path(), profile, Sampling(), transformer, lambda prompt: text, random_weights(tiny, device, torch.bfloat16), None, None, device, torch.bfloat16
    )  # type: ignore[arg-type]  # fmt: skip
    memory = parse_memory(given.memory)
    if memory.compressed:
        transformer.add_history_patches()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    parameters = sum(p.numel() for p in transformer.parameters()) / 1e9
    print(
        f"{parameters:.2f} B random parameters, bf16, {given.width}x{given.height}, memory {memory}, 4 steps + commit, torch {torch.__version__}, {where}"
    )
    rollout = ModelRollout(bundle, memory, 0)
    rollout.begin_shot("a prompt", shot="a", take=1)
    walls, alone = [], []
    for _ in range(given.chunks):
        began = time.perf_counter()
        chunk = rollout.step()
        walls.append(time.perf_counter() - began)
        alone.append(chunk.spent["denoise"] + chunk.spent["commit"])
    filled = (memory.span(3) // 3) + 1
    for name, times in (("with the tiny decoder", walls), ("transformer alone", alone)):
        steady = times[filled:] or times[-1:]
        print(
            f"{name}: {12 / statistics.median(steady):.2f} frames/s; first chunk {times[0]:.3f} s; cadence "
            f"P50 {percentile(steady, 0.5):.3f} P95 {percentile(steady, 0.95):.3f} P99 {percentile(steady, 0.99):.3f} s ({len(steady)} chunks, history full)"
        )
    if device.type == "cuda":
        print(f"peak device memory {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
