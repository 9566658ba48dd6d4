"""A bundle: everything a model needs, as a diffusers folder plus `profile.json`.

transformer/  text_encoder/  tokenizer/  vae/  clip/   profile.json   README.md (the model card)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from ..storyboard.errors import InputError
from .autoencoder import TinyVideoAutoencoder
from .sampling import Sampling
from .text import TEXT_TOKENS, TextEmbedder
from .transformer import CausalWanTransformer3DModel

BUNDLED = Path(__file__).parent / "weights"


def reader_folder(generator: str) -> Path:
    """Where the reader of a bundle is; the theatre is read by the nano bundle's.

    Raises:
        InputError: there is none.
    """
    folder = (
        Path(generator) if Path(generator).is_dir() else BUNDLED / ("nano" if generator == "theatre" else generator)
    )
    if not (folder / "reader" / "config.json").is_file():
        raise InputError(f"{folder} has no reader: 'filmwright train nano --stage eyes' makes one")
    return folder / "reader"


class BundleProfile(BaseModel):
    """`profile.json`: what the weights' folders cannot say."""

    model_config = ConfigDict(extra="forbid")

    name: str
    licence: str
    fps: int = 16
    width: int
    height: int
    enlarge: int = 4
    chunk_latents: int = 3
    memory: str = "window(3)"
    prompt_style: Literal["caption", "prose"] = "caption"
    prompt_floor: float | None = None
    sampling: dict[str, Any] = {}


@dataclass
class Bundle:
    """Loaded weights, in evaluation mode."""

    folder: Path
    profile: BundleProfile
    sampling: Sampling
    transformer: CausalWanTransformer3DModel
    text: TextEmbedder
    autoencoder: TinyVideoAutoencoder
    clip: tuple[Any, Any] | None
    device: torch.device
    dtype: torch.dtype

    @property
    def latent_size(self) -> tuple[int, int]:
        """Rows and columns of a latent frame."""
        factor = self.autoencoder.space_factor
        return self.profile.height // factor, self.profile.width // factor

    @property
    def channels(self) -> int:
        config: Any = self.transformer.config
        return int(config.in_channels)


def quiet_libraries() -> None:
    """Keeps the loaders' bars and advice off the terminal; errors still come as exceptions."""
    import transformers
    from diffusers.utils import logging as diffusers_logging

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()


def load_bundle(folder: Path, device: torch.device) -> Bundle:
    """Loads a folder of weights (safetensors only).

    Raises:
        InputError: the folder or a part of it is missing or damaged, or holds NaN; says which part.
    """
    from transformers import CLIPModel, PreTrainedTokenizerFast, UMT5EncoderModel

    quiet_libraries()
    if not (folder / "profile.json").is_file():
        raise InputError(
            f"{folder} holds no weights (no profile.json): train some with 'filmwright train nano', or name another generator"
        )
    part = "profile.json"
    try:
        profile = BundleProfile.model_validate(json.loads((folder / part).read_text(encoding="utf-8")))
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in profile.sampling.items()}
        sampling = Sampling(**values)
        part = "transformer"
        transformer = CausalWanTransformer3DModel.from_pretrained(
            folder / part, use_safetensors=True, low_cpu_mem_usage=False
        )
        part = "vae"
        autoencoder = TinyVideoAutoencoder.from_pretrained(folder / part, use_safetensors=True, low_cpu_mem_usage=False)
        part = "text_encoder"
        encoder = UMT5EncoderModel.from_pretrained(folder / part, local_files_only=True, use_safetensors=True)
        part = "tokenizer"
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / part, local_files_only=True)
        part = "clip"
        clip = None
        if (folder / part).is_dir():
            clip_model = CLIPModel.from_pretrained(folder / part, local_files_only=True, use_safetensors=True)
            clip = (clip_model.float().eval().to(device), tokenizer)
    except Exception as error:  # loaders raise whatever their file formats do
        if isinstance(error, InputError):
            raise
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the weights in {folder / part} are damaged or incomplete ({reason}): restore the folder"
        ) from error
    parts: dict[str, nn.Module] = {"transformer": transformer, "vae": autoencoder, "text_encoder": encoder}
    for name, module in parts.items():
        module.float().eval().requires_grad_(False).to(device)
        for key, value in module.state_dict().items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise InputError(f"the weights in {folder / name} hold NaN or infinity in {key}: restore the folder")
    text = TextEmbedder(tokenizer, encoder, TEXT_TOKENS)
    return Bundle(folder, profile, sampling, transformer, text, autoencoder, clip, device, torch.float32)
