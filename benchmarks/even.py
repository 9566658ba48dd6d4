"""Weights of ours with even latents, to train on from: `python benchmarks/even.py WEIGHTS OUT [--evenness 4]`.

Autoencoder and transformer are turned together (`training/latents.py`). What the autoencoder draws stays the same; the transformer needs some minutes of
tuning to know the other noise: name OUT as `weights` of a recipe.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from filmwright.generator.autoencoder import TinyVideoAutoencoder
from filmwright.generator.bundle import load_bundle, load_transformer
from filmwright.generator.loading import load_part
from filmwright.training.latents import evening, turn_autoencoder, turn_transformer
from filmwright.training.world import SPLITS, random_clip

CLIPS, CLIP_FRAMES = 200, 12


def main(weights: Path, out: Path, evenness: Annotated[float, typer.Option(min=1.01)] = 4.0) -> None:
    profile = load_bundle(weights, torch.device("cpu")).profile
    shutil.copytree(weights, out)
    if profile.base is not None:  # where the parts are that it borrows, seen from its new place
        base = os.path.relpath((weights / profile.base).resolve(), out.resolve())
        written = json.loads((out / "profile.json").read_text(encoding="utf-8")) | {"base": base}
        (out / "profile.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    eye: Any = load_part(TinyVideoAutoencoder, weights / "vae")
    dtype, mean, std = eye.dtype, torch.tensor(eye.config.latents_mean), torch.tensor(eye.config.latents_std)
    eye = eye.float()
    video = torch.stack(
        [
            random_clip(SPLITS["validation"] + i, width=profile.width, height=profile.height, frames=CLIP_FRAMES).frames
            for i in range(CLIPS)
        ]
    )
    with torch.no_grad():
        latents = eye.encode(video).movedim(2, -1).flatten(0, -2)
    turn = evening(latents, evenness)
    raw = turn @ torch.diag(1.0 / std.double())  # turned latents are not normalised once more
    turn_autoencoder(eye, raw)
    eye.register_to_config(latents_mean=(raw @ mean.double()).tolist(), latents_std=(1.0,) * len(std))
    eye.to(dtype).save_pretrained(out / "vae")
    transformer: Any = load_transformer(weights / "transformer")
    turn_transformer(transformer, turn)
    transformer.save_pretrained(out / "transformer")


if __name__ == "__main__":
    typer.run(main)
