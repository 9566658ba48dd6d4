"""The recipe: which stages run, for how long, and how their results become a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.bundle import BUNDLED, quiet_libraries
from ..generator.clip import load_clip
from ..generator.text import TEXT_TOKENS, build_tokenizer
from ..generator.transformer import CausalWanTransformer3DModel
from ..storyboard.errors import FilmwrightError, InputError
from .autoencoder import AutoencoderStage
from .eyes import EyesStage, measure_prompt_floor
from .sizes import CHUNK_LATENTS, PINNED_MEMORY, SHIFT, SIZES, Size
from .trainer import Report, run_stage
from .transformer import BaseStage, StudentStage
from .world import FPS

SHARES = {"autoencoder": 0.28, "base": 0.5, "student": 0.14, "eyes": 0.08}
"""Each stage's part of --minutes."""


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda`.

    Raises:
        InputError: unknown, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError(f"--device {name!r} is unknown: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this machine has no CUDA device that torch can use; choose cpu")
    return torch.device(name)


def train(
    size: str,
    *,
    minutes: float,
    device: str,
    out: Path | None,
    stage: str | None,
    seed: int,
    scratch: bool,
    report: Report,
) -> Path:
    """Runs the stages and writes `OUT/model`; returns that folder.

    A stage goes on from its checkpoint. Without one it starts from the bundled weights of that size (the optimiser warms up
    again, and only the decoder of the autoencoder is trained, so that latents keep their meaning) unless `scratch`.

    Raises:
        InputError: unknown size, stage or device, or no time.
    """
    if size not in SIZES:
        raise InputError(f"size {size!r} is unknown: choose one of {', '.join(SIZES)}")
    if stage is not None and stage not in SHARES:
        raise InputError(f"--stage {stage!r} is unknown: choose one of {', '.join(SHARES)}")
    if not 0 < minutes <= 100_000:
        raise InputError(f"--minutes {minutes:g} is out of range: give more than 0")
    chosen, where = SIZES[size], choose_device(device)
    quiet_libraries()
    folder = out or Path("runs") / size
    bundled = BUNDLED / size
    start = bundled if not scratch and (bundled / "profile.json").is_file() else None
    for name in [stage] if stage else list(SHARES):
        built = build_stage(name, chosen, folder, where, start)
        run_stage(built, folder / name, minutes=minutes if stage else minutes * SHARES[name], seed=seed, report=report)
    return write_bundle(chosen, folder, where)


def _find(folder: Path, part: str, start: Path | None, *, needed_by: str) -> Path:
    """Where a stage's input is: this run's, else the bundle's."""
    stages = {"vae": ("autoencoder",), "transformer": ("student", "base"), "clip": ("eyes",), "reader": ("eyes",)}
    for candidate in [*(folder / s / part for s in stages[part]), *([start / part] if start else [])]:
        if (candidate / "config.json").is_file():
            return candidate
    raise FilmwrightError(
        f"stage {needed_by} needs {part} weights in {folder}: run the earlier stages first (leave --stage out)"
    )


def load_autoencoder(path: Path, device: torch.device) -> TinyVideoAutoencoder:
    loaded = TinyVideoAutoencoder.from_pretrained(path, use_safetensors=True, low_cpu_mem_usage=False)
    ready: TinyVideoAutoencoder = loaded.float().eval().requires_grad_(False).to(device)
    return ready


def build_stage(name: str, size: Size, folder: Path, device: torch.device, start: Path | None) -> Any:
    """A stage ready to run, its inputs loaded."""
    fresh = not (folder / name / "checkpoint.pt").exists()
    if name == "autoencoder":
        stage = AutoencoderStage(width=size.width, height=size.height, batch=size.clips, device=device)
        if fresh and start is not None:
            stage.go_on_from(load_autoencoder(start / "vae", device))
        return stage
    autoencoder = load_autoencoder(_find(folder, "vae", start, needed_by=name), device)
    if name == "base":
        base = BaseStage(size, autoencoder, device)
        if fresh and start is not None:
            base.load(start)
        return base
    if name == "student":
        where = folder / "base" if (folder / "base" / "transformer").is_dir() else start
        if where is None:
            raise FilmwrightError(
                f"stage student needs base weights in {folder}: run the earlier stages first (leave --stage out)"
            )
        return StudentStage(size, autoencoder, device, where)
    return EyesStage(size, autoencoder, device)


def _forget_path(config: Path) -> None:
    """Takes out where the weights lay on the machine that made them."""
    values = json.loads(config.read_text(encoding="utf-8"))
    values.pop("_name_or_path", None)
    config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def write_bundle(size: Size, folder: Path, device: torch.device) -> Path:
    """Collects the newest weights of every stage into `folder/model`, in bf16.

    Without a student the base is bundled, to be sampled in many steps.
    """
    from transformers import CLIPModel, UMT5EncoderModel

    from ..evaluation.readers import FrameReader

    target, fresh = folder / "model", folder / "model.new"
    shutil.rmtree(fresh, ignore_errors=True)
    student = (folder / "student" / "transformer").is_dir()
    source = folder / ("student" if student else "base")
    start = BUNDLED / size.name
    if not (source / "transformer").is_dir():
        source = start
    vae = _find(folder, "vae", start, needed_by="the bundle")
    parts: list[tuple[str, Any, Path]] = [
        ("vae", TinyVideoAutoencoder, vae),
        ("transformer", CausalWanTransformer3DModel, source / "transformer"),
        ("text_encoder", UMT5EncoderModel, source / "text_encoder"),
    ]
    eyes = folder / "eyes" if (folder / "eyes" / "clip").is_dir() else start
    if (eyes / "clip").is_dir():
        parts += [("clip", CLIPModel, eyes / "clip"), ("reader", FrameReader, eyes / "reader")]
    for name, model, path in parts:
        model.from_pretrained(path).to(torch.bfloat16).save_pretrained(fresh / name)
        _forget_path(fresh / name / "config.json")
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(fresh / "tokenizer")
    floor = None
    if (fresh / "clip").is_dir():
        stage = EyesStage(size, load_autoencoder(fresh / "vae", device), device)
        floor = measure_prompt_floor(load_clip(fresh / "clip", tokenizer, TEXT_TOKENS, device), stage)
    if source == start:
        sampling = json.loads((start / "profile.json").read_text(encoding="utf-8"))["sampling"]
    elif student:
        sampling = {"kind": "few-step", "timesteps": [1000, 750, 500, 250], "shift": SHIFT}
    else:
        sampling = {"kind": "euler", "steps": 12, "shift": SHIFT, "guidance": 3.5}
    profile = {
        "name": size.name, "licence": "Apache-2.0", "fps": FPS, "width": size.width, "height": size.height, "enlarge": 4,
        "chunk_latents": CHUNK_LATENTS, "memory": str(PINNED_MEMORY), "prompt_floor": floor, "sampling": sampling,
    }  # fmt: skip
    (fresh / "profile.json").write_text(json.dumps(profile, indent=1) + "\n", encoding="utf-8")
    if (start / "README.md").is_file():
        shutil.copy(start / "README.md", fresh / "README.md")
    shutil.rmtree(target, ignore_errors=True)
    fresh.replace(target)
    return target
