"""Weights that others published: where they are, how large, under which licence, and fetching them. No torch."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.files import disk_errors


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
