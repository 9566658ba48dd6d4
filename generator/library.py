"""Weights that others published: fetching them, converting them, checking them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.files import disk_errors
from .bundle import BundleProfile, load_bundle, quiet_libraries
from .checkpoints import HEAD_WIDTH, LAYOUTS, check_finite, load_strictly, load_transformer, read_tensors
from .memory import parse_memory
from .rollout import ModelRollout
from .sampling import Sampling


@dataclass(frozen=True)
class Published:
    """Where weights are, which files of the repository are wanted, and how they are laid out."""

    repository: str
    files: tuple[str, ...]
    layout: str
    says: str


PUBLISHED = {
    "wan-1.3b": Published("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", ("*.json", "*.safetensors", "tokenizer/*"), "wan", "Wan 2.1 text to video 1.3B, a diffusers folder"),
    "wan-14b": Published("Wan-AI/Wan2.1-T2V-14B-Diffusers", ("*.json", "*.safetensors", "tokenizer/*"), "wan", "Wan 2.1 text to video 14B, a diffusers folder"),
    "self-forcing": Published("gdhe17/Self-Forcing", ("checkpoints/self_forcing_dmd.pt",), "self-forcing", "Self-Forcing 1.3B, four steps"),
    "causal-forcing": Published("zhuhz22/Causal-Forcing", ("chunkwise/causal_forcing.pt",), "causal-forcing", "Causal-Forcing 1.3B, chunk by chunk, four steps"),
    "longlive": Published("Efficient-Large-Model/LongLive-1.3B", ("models/longlive_base.pt", "models/lora.pt"), "longlive", "LongLive 1.0 1.3B: base and adapter"),
    "shotstream": Published("KlingTeam/ShotStream", ("shotstream_merged.pt", "*.yaml"), "shotstream", "ShotStream 1.3B"),
    "krea": Published("krea/krea-realtime-video", ("krea-realtime-video-14b.safetensors",), "krea", "Krea realtime 14B, four steps"),
    "taew2_1": Published("madebyollin/taehv", ("safetensors/taew2_1.safetensors", "taew2_1.pth"), "taehv", "TAEHV, the tiny decoder for Wan 2.1"),
}  # fmt: skip


@dataclass(frozen=True)
class Offer:
    """What a download would be: looked up before anything is fetched."""

    name: str
    repository: str
    revision: str
    licence: str
    files: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(size for _, size in self.files)


def look_up(name: str) -> Offer:
    """Size and licence of published weights, as their page says.

    Raises:
        InputError: an unknown name. FilmwrightError: the page cannot be reached, or no longer has the files.
    """
    if name not in PUBLISHED:
        raise InputError(f"{name!r} is unknown: choose one of {', '.join(PUBLISHED)}")
    from fnmatch import fnmatch

    from huggingface_hub import HfApi

    wanted = PUBLISHED[name]
    try:
        info = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).model_info(wanted.repository, files_metadata=True)
    except Exception as error:  # the hub's client raises many kinds
        raise FilmwrightError(f"{wanted.repository} cannot be looked up ({type(error).__name__}): check the network") from error  # fmt: skip
    listed = [(s.rfilename, int(s.size or 0)) for s in info.siblings or []]
    files = tuple((file, size) for file, size in listed if any(fnmatch(file, pattern) for pattern in wanted.files))
    if not files:
        raise FilmwrightError(f"{wanted.repository} has none of {', '.join(wanted.files)} any more")
    licence = str((info.card_data.get("license") if info.card_data else None) or "not stated")
    return Offer(name, wanted.repository, str(info.sha), licence, files)


def pull(offer: Offer, folder: Path) -> Path:
    """Fetches what was offered into a folder; an interrupted download goes on where it stopped.

    Raises:
        FilmwrightError: the network or the disk failed; what is there stays for the next try.
    """
    from huggingface_hub import snapshot_download

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if free < offer.size:
        raise FilmwrightError(f"{folder} has {free / 1e9:.1f} GB free, {offer.name} needs {offer.size / 1e9:.1f} GB")
    try:
        snapshot_download(
            offer.repository, revision=offer.revision, allow_patterns=[file for file, _ in offer.files],
            local_dir=folder, endpoint=os.environ.get("HF_ENDPOINT"),
        )  # fmt: skip
    except Exception as error:  # the hub's client raises many kinds
        raise FilmwrightError(f"the download of {offer.name} stopped ({type(error).__name__}): run the same command again to go on") from error  # fmt: skip
    source = {"repository": offer.repository, "revision": offer.revision, "licence": offer.licence}
    (folder / "source.json").write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")
    return folder


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
            return str(json.loads((folder / "source.json").read_text(encoding="utf-8"))["licence"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _convert_taehv(source: Path, target: Path) -> Path:
    """TAEHV's file as the `vae` folder of a bundle."""
    from .wan_autoencoder import Taehv

    state = read_tensors(source)
    first, last = state.get("encoder.0.weight"), state.get("decoder.1.weight")
    if first is None or last is None:
        raise InputError(f"{source} is no TAEHV (keys such as {', '.join(list(state)[:3])})")
    widths = tuple(int(state[f"decoder.{i}.weight"].shape[0]) for i in (1, 8, 14, 20) if f"decoder.{i}.weight" in state)
    if len(widths) != 4:
        raise InputError(f"{source} is a TAEHV of another shape than taew2_1")
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
    check_finite({k: v for k, v in bundle.transformer.state_dict().items() if v.is_floating_point()})
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
