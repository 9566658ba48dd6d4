"""Weights that others made: converting them, checking them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.files import disk_errors
from .bundle import load_bundle, quiet_libraries
from .checkpoints import HEAD_WIDTH, LAYOUTS, load_strictly, load_transformer
from .containers import read_tensors
from .memory import parse_memory
from .profiles import BundleProfile
from .rollout import ModelRollout
from .schedule import Sampling
from .weights_files import read_json


def guess_layout(path: Path) -> str:
    """The layout that a file's name tells; `wan` when it tells none."""
    name = str(path).lower().replace("_", "-")
    return next(
        (layout for layout in LAYOUTS if layout in name), "taehv" if "taew" in name or "taehv" in name else "wan"
    )


def convert(
    source: Path,
    target: Path,
    *,
    layout: str | None = None,
    lora: Path | None = None,
    base: Path | None = None,
    section: str | None = None,
    head_width: int = HEAD_WIDTH,
    bf16: bool = True,
) -> Path:
    """Writes a checkpoint of any layout as a folder that filmwright and diffusers open.

    Args:
        base: a Wan diffusers folder whose text encoder, tokenizer and autoencoder are used.

    Raises:
        InputError: the checkpoint is damaged or of another model, or `target` exists.
    """
    layout = layout or guess_layout(source)
    quiet_libraries()
    if layout == "taehv":
        return _convert_taehv(source, target)
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{target} exists and is not empty: name a new folder")
    model = load_transformer(source, layout=layout, lora=lora, section=section, head_width=head_width)
    known = LAYOUTS[layout]
    profile = BundleProfile(
        name=target.resolve().name, licence=_licence_of(source) or known.licence, width=832, height=480, enlarge=1,
        chunk_latents=3, memory=known.memory, prompt_style="prose", text_tokens=512, sampling=known.sampling,
        base=_relative(base, target) if base else None,
    )  # fmt: skip
    fresh = target.with_name(target.name + ".new")
    with disk_errors(fresh):
        shutil.rmtree(fresh, ignore_errors=True)
        to_write: Any = model
        (to_write.bfloat16() if bf16 else to_write).save_pretrained(fresh / "transformer")
        (fresh / "profile.json").write_text(profile.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if target.exists():
            target.rmdir()
        fresh.replace(target)
    return target


def _relative(base: Path, target: Path) -> str:
    """The base as seen from the new folder; absolute where no such way leads (another drive)."""
    try:
        return os.path.relpath(base.resolve(), target.resolve())
    except ValueError:
        return str(base.resolve())


def _licence_of(source: Path) -> str | None:
    """What the page said when the weights were fetched."""
    for folder in [source, *source.parents][:4]:
        try:
            return str(read_json(folder / "source.json")["licence"])[:2000]
        except (InputError, KeyError):
            continue
    return None


def _convert_taehv(source: Path, target: Path) -> Path:
    """TAEHV's file as the `vae` folder of a bundle."""
    from .wan_autoencoder import Taehv

    state = read_tensors(source)
    kernels = {name: value for name, value in state.items() if value.ndim == 4}
    first, last = kernels.get("encoder.0.weight"), kernels.get("decoder.1.weight")
    if first is None or last is None:
        raise InputError(f"{source} is no TAEHV (keys such as {', '.join(list(state)[:3])})")
    widths = tuple(
        int(kernels[f"decoder.{i}.weight"].shape[0]) for i in (1, 8, 14, 20) if f"decoder.{i}.weight" in kernels
    )
    if len(widths) != 4:
        raise InputError(f"{source} is a TAEHV of another shape than taew2_1")
    with torch.device("meta"):
        model = Taehv(latent_channels=int(last.shape[1]), encoder_width=int(first.shape[0]), decoder_widths=widths)
    load_strictly(model, state)
    with disk_errors(target):
        model.save_pretrained(target)
    return target


def check(folder: Path, device: torch.device) -> dict[str, Any]:
    """Opens a folder of weights, every part of it, and rolls one chunk of 64x64 pixels.

    Raises:
        InputError: a part is missing or damaged; says which. FilmwrightError: the smoke rollout gave NaN.
    """
    bundle = load_bundle(folder, device)
    memory = parse_memory(bundle.profile.memory)
    smoke = replace(
        bundle, profile=bundle.profile.model_copy(update={"width": 64, "height": 64}), sampling=_short(bundle.sampling)
    )
    if memory.compressed and not bundle.transformer.config.history_patches:  # type: ignore[attr-defined]
        smoke.transformer.add_history_patches()
    rollout = ModelRollout(smoke, memory, seed=0)
    rollout.begin_shot("a test", shot="check", take=1)
    try:
        chunk = rollout.step()
    except RuntimeError as error:
        raise FilmwrightError(f"the weights in {folder} do not roll: {str(error).splitlines()[0]}") from error
    config: Any = bundle.transformer.config
    return {
        "name": bundle.profile.name, "licence": bundle.profile.licence, "memory": str(memory),
        "parameters": sum(p.numel() for p in bundle.transformer.parameters()), "tensors": len(bundle.transformer.state_dict()),
        "layers": config.num_layers, "heads": config.num_attention_heads, "head_width": config.attention_head_dim,
        "trained_span": config.trained_span, "dtype": str(bundle.dtype).removeprefix("torch."), "device": str(device),
        "autoencoder": type(bundle.autoencoder).__name__, "clip": bundle.clip is not None,
        "chunk_frames": len(chunk.frames), "chunk_seconds": round(sum(chunk.spent.values()), 3),
    }  # fmt: skip


def _short(sampling: Sampling) -> Sampling:
    return replace(sampling, steps=min(2, sampling.steps), timesteps=sampling.timesteps[:2])
