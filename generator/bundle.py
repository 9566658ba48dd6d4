"""A bundle: everything a model needs, as a diffusers folder plus `profile.json`.

transformer/  text_encoder/  tokenizer/  vae/  clip/  reader/   profile.json   README.md (the model card)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from torch import nn

from ..storyboard.errors import InputError, reason_of
from ..storyboard.production import explain
from ..storyboard.vocabulary import Vocabulary
from .autoencoder import TinyVideoAutoencoder
from .clip import Clip, load_clip
from .loading import CONFIG, hollow_part, load_part, load_tokenizer
from .memory import parse_memory
from .pages import free_bytes
from .precision import bf16_is_native, picture_layout
from .reader import FrameReader, load_reader
from .sampling import Sampling
from .text import TextEmbedder
from .transformer import CausalWanTransformer3DModel
from .weights_files import read_config, read_json

BUNDLED = Path(__file__).parent / "weights"
LARGE_PARAMETERS = 50_000_000
"""Text encoders above this are offloaded."""
BF16_PARAMETERS = 3_000_000
"""Transformers above this have products large enough for a CPU to be faster in bf16: of an Intel Xeon with AMX `mini` takes 31 instead of 56 ms a
pass, and `nano` 7 % longer."""
WHOLE_BYTES = 64 << 20
FP32_BYTES = 4
MOST_PIXELS = 8192
"""Width or height of a film: the largest that H.264 knows."""


def weights_folder(name: str) -> Path:
    """The folder of a bundled name, or the folder itself."""
    return BUNDLED / name if (BUNDLED / name / "profile.json").is_file() else Path(name)


def part_folder(folder: Path, part: str) -> Path:
    """Where a part of a bundle is: in its folder, else in its base's, or the base of that."""
    asked: list[Path] = []
    where = folder.resolve()
    while where not in asked and not (where / part).is_dir():
        asked.append(where)
        profile = where / "profile.json"
        base = read_json(profile).get("base") if profile.is_file() else None
        if not isinstance(base, str):
            break
        where = (where / base).resolve()
    return where / part if (where / part).is_dir() else folder / part


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


class BundleProfile(BaseModel):
    """`profile.json`: what the weights' folders cannot say.

    Attributes:
        base: a folder that has the parts this one lacks, the transformer aside, relative to this one.
        text_tokens: longest prompt, the end token included.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=255)
    licence: str = Field(max_length=2000)
    fps: int = Field(default=16, ge=1, le=240)
    width: int = Field(ge=16, le=4096, multiple_of=16)
    height: int = Field(ge=16, le=4096, multiple_of=16)
    enlarge: int = Field(default=4, ge=1, le=16)
    chunk_latents: int = Field(default=3, ge=1, le=64)
    memory: str = "window(3)"
    prompt_style: Literal["caption", "prose"] = "caption"
    text_tokens: int = Field(default=32, ge=1, le=4096)
    prompt_floor: float | None = Field(default=None, ge=-1, le=1)
    sampling: dict[str, Any] = {}
    base: str | None = None

    @field_validator("memory")
    @classmethod
    def _known_memory(cls, memory: str) -> str:
        if memory.strip().endswith((".yaml", ".yml")):
            raise ValueError(f"{memory!r} is a file: name segments, such as window(3)")
        try:
            parse_memory(memory)
        except InputError as error:
            raise ValueError(str(error)) from error
        return memory

    @model_validator(mode="after")
    def _possible(self) -> BundleProfile:
        for name in ("width", "height"):
            if getattr(self, name) * self.enlarge > MOST_PIXELS:
                raise ValueError(
                    f"enlarge {self.enlarge} makes a {name} of {getattr(self, name) * self.enlarge} pixels: {MOST_PIXELS} at most"
                )
        self.as_sampled()
        return self

    def as_sampled(self) -> Sampling:
        """How its chunks are sampled.

        Raises:
            ValueError: `sampling` does not hold.
        """
        try:
            return TypeAdapter(Sampling).validate_python(self.sampling)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in ("sampling", *first["loc"]))
            raise ValueError(f"{where}: {reason_of(first)}") from error


def read_profile(path: Path) -> BundleProfile:
    """A `profile.json`.

    Raises:
        InputError: it is damaged, or a value is out of range; names file, key and value.
    """
    try:
        return BundleProfile.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(explain(error, path)) from error


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


def wan_profile(folder: Path) -> BundleProfile:
    """The profile of a Wan 2.1 diffusers folder, which has none of its own."""
    shift, scheduler = 5.0, folder / "scheduler" / "scheduler_config.json"
    if scheduler.is_file():
        shift = float(read_config(scheduler).get("flow_shift", shift))
    return BundleProfile(
        name=folder.resolve().name, licence="see the weights' page", chunk_latents=3, width=832, height=480, enlarge=1, memory="window(6)",
        prompt_style="prose", text_tokens=512,
        sampling={"kind": "euler", "steps": 50, "shift": shift, "guidance": 5.0},
    )  # fmt: skip


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
    own, wan = (folder / "profile.json").is_file(), (folder / "model_index.json").is_file()
    if not own and not wan:
        raise InputError(
            f"{folder} holds no weights (no profile.json): train some with 'filmwright train nano', convert some with 'filmwright models convert', or name another generator"
        )
    part = "profile.json" if own else "scheduler"
    try:
        profile = read_profile(folder / part) if own else wan_profile(folder)
        sampling = profile.as_sampled()
        part = "transformer"
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


def folder_digest(folder: Path) -> str:
    """Names weights by a hash over their files: whole small ones; size, beginning and end of large ones."""
    digest = hashlib.blake2b(digest_size=6)
    for file in sorted(path for path in folder.rglob("*.safetensors") if path.is_file()):
        digest.update(file.name.encode())
        size = file.stat().st_size
        with file.open("rb") as stream:
            if size <= WHOLE_BYTES:
                digest.update(stream.read())
            else:
                digest.update(str(size).encode() + stream.read(1 << 20))
                stream.seek(-(1 << 20), 2)
                digest.update(stream.read())
    return digest.hexdigest()
