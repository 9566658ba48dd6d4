"""A bundle: everything a model needs, as a diffusers folder plus `profile.json`.

transformer/  text_encoder/  tokenizer/  vae/  clip/  reader/   profile.json   README.md (the model card)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import nn

from ..storyboard.errors import InputError
from ..storyboard.vocabulary import Vocabulary
from .autoencoder import TinyVideoAutoencoder
from .clip import Clip, load_clip
from .loading import CONFIG, hollow_part, load_part, load_tokenizer
from .pages import free_bytes
from .precision import bf16_is_native, picture_layout
from .profiles import BundleProfile, folder_digest, part_folder, read_bundle_profile, weights_folder
from .reader import FrameReader, load_reader
from .schedule import Sampling
from .text import TextEmbedder
from .transformer import CausalWanTransformer3DModel
from .weights_files import read_config

LARGE_PARAMETERS = 50_000_000
"""Text encoders above this are offloaded."""
BF16_PARAMETERS = 3_000_000
"""Transformers above this have products large enough for a CPU to be faster in bf16: of an Intel Xeon with AMX `mini` takes 31 instead of 56 ms a
pass, and `nano` 7 % longer."""
FP32_BYTES = 4


def reader_folder(generator: str) -> Path:
    """Where the reader of a bundle is; the theatre is read by the nano bundle's.

    Raises:
        InputError: there is none.
    """
    folder = weights_folder("nano" if generator == "theatre" else generator)
    reader = part_folder(folder, "reader")
    if not (reader / "config.json").is_file():
        raise InputError(f"{folder} has no reader: 'filmwright train nano --stage reader' makes one")
    return reader


@dataclass
class Bundle:
    """Loaded weights, in evaluation mode.

    Attributes:
        vocabulary: the words of captions that the weights know; None for those that are told prose.
    """

    folder: Path
    profile: BundleProfile
    sampling: Sampling
    transformer: CausalWanTransformer3DModel
    text: TextEmbedder
    autoencoder: Any
    clip: Clip | None
    reader: FrameReader | None
    device: torch.device
    dtype: torch.dtype
    vocabulary: Vocabulary | None = None

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


def _load_autoencoder(path: Path, device: torch.device) -> Any:
    from .wan_autoencoder import Taehv, WanAutoencoder

    config = read_config(path / CONFIG)
    kind = config.get("_class_name")
    if kind == "AutoencoderKLWan":
        if config.get("patch_size") is not None:
            raise InputError(
                f"{path / CONFIG}: patch_size {config['patch_size']} is Wan 2.2's: give weights of Wan 2.1"
            )
        from diffusers import AutoencoderKLWan

        return WanAutoencoder(load_part(AutoencoderKLWan, path))
    classes: dict[Any, Any] = {"TinyVideoAutoencoder": TinyVideoAutoencoder, "Taehv": Taehv}
    if kind not in classes:
        raise InputError(f"{path} is a {kind}, not one of {', '.join(classes)}, AutoencoderKLWan")
    loaded = load_part(classes[kind], path)
    return loaded.to(memory_format=picture_layout(device))


def choose_dtype(parameters: int, device: torch.device) -> torch.dtype:
    """What the transformer computes in: bf16 on a GPU, and on a CPU for large weights where it is faster, or where fp32 would leave no
    room; never fp16."""
    if device.type == "cuda":
        return torch.bfloat16
    room = free_bytes(device) // 2 or parameters * FP32_BYTES
    better = bf16_is_native(device.type) or parameters * FP32_BYTES > room
    return torch.bfloat16 if parameters > BF16_PARAMETERS and better else torch.float32


def load_transformer(folder: Path, *, hollow: bool = False) -> CausalWanTransformer3DModel:
    """A transformer from its folder; `hollow`: its shape alone, on `meta`."""
    make = hollow_part if hollow else load_part
    made: CausalWanTransformer3DModel = make(CausalWanTransformer3DModel, folder)
    return made


def load_bundle(folder: Path, device: torch.device, *, hollow: bool = False) -> Bundle:
    """Loads a folder of weights (safetensors only): one of ours, a converted one, or a Wan 2.1 diffusers folder.

    Args:
        hollow: leave the transformer without weights (on `meta`), for who needs only what stands around it.

    Raises:
        InputError: the folder or a part of it is missing or damaged, or holds NaN; says which part.
    """
    from transformers import UMT5EncoderModel

    quiet_libraries()
    profile = read_bundle_profile(folder)
    sampling, part = profile.as_sampled(), "transformer"
    try:
        transformer = load_transformer(folder / part, hollow=hollow)
        part = "vae"
        autoencoder = _load_autoencoder(part_folder(folder, part), device)
        part = "text_encoder"
        encoder_path = part_folder(folder, part)
        encoder = load_part(UMT5EncoderModel, encoder_path)
        part = "tokenizer"
        tokenizer = load_tokenizer(part_folder(folder, part))
        part = "clip"
        clip, seeing = None, part_folder(folder, part)
        if seeing.is_dir():
            clip = load_clip(seeing, tokenizer, profile.text_tokens, device)
        part = "reader"
        reading = part_folder(folder, part)
        reader: Any = load_reader(reading) if reading.is_dir() else None
        if reader is not None:
            reader.to(device)
    except Exception as error:  # loaders raise whatever their file formats do
        if isinstance(error, InputError):
            raise
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the weights in {folder / part} are damaged or incomplete ({reason}): restore the folder"
        ) from error
    dtype = choose_dtype(sum(p.numel() for p in transformer.parameters()), device)
    # Convolutions gain more by it than matrix products of this size, and what is rounded here does not build up.
    pixels = torch.bfloat16 if bf16_is_native(device.type) else dtype
    large_encoder = sum(p.numel() for p in encoder.parameters()) > LARGE_PARAMETERS
    parts: dict[str, tuple[nn.Module, torch.dtype, torch.device]] = {
        "transformer": (transformer, dtype, torch.device("meta") if hollow else device),
        "vae": (autoencoder, pixels, device),
        "text_encoder": (encoder, dtype, torch.device("cpu") if large_encoder else device),
    }
    for name, (module, to, where) in parts.items():
        module.to(to).eval().requires_grad_(False).to(where)
        for key, value in module.state_dict().items():
            if not value.is_meta and value.is_floating_point() and not torch.isfinite(value).all():
                raise InputError(f"the weights in {folder / name} hold NaN or infinity in {key}: restore the folder")
    store = None
    if large_encoder:
        store = Path(platformdirs.user_cache_dir("filmwright")) / "text" / folder_digest(encoder_path)
    text = TextEmbedder(tokenizer, encoder, profile.text_tokens, device, store)
    vocabulary = Vocabulary.of(tokenizer.get_vocab()) if profile.prompt_style == "caption" else None
    if reader is not None and vocabulary is not None:
        reader.known = vocabulary
    return Bundle(folder, profile, sampling, transformer, text, autoencoder, clip, reader, device, dtype, vocabulary)
