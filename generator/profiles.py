"""What a film needs to know of weights, read from their settings files; no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from ..storyboard.errors import InputError, reason_of
from ..storyboard.production import explain
from ..storyboard.stage import Profile
from ..storyboard.vocabulary import Vocabulary
from .memory import Memory, parse_memory
from .schedule import Sampling
from .weights_files import part_shapes, read_config, read_json

BUNDLED = Path(__file__).parent / "weights"
WHOLE_BYTES = 64 << 20
MOST_PIXELS = 8192
"""Width or height of a film: the largest that H.264 knows."""


@dataclass(frozen=True)
class Stream:
    """How an autoencoder's stream of latent frames becomes video.

    Attributes:
        time_factor: video frames of a latent frame; `fresh_frames`: of the first of a fresh stream.
        cut_stream: whether a shot begins a new stream.
    """

    time_factor: int
    fresh_frames: int
    cut_stream: Literal["continue", "restart"]


STREAMS = {
    "TinyVideoAutoencoder": Stream(4, 4, "restart"),
    "AutoencoderKLWan": Stream(4, 1, "continue"),
    "Taehv": Stream(4, 1, "continue"),
}
"""By the class that an autoencoder's settings name."""


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


def bundled_profile(name: str, memory: str | None) -> Profile:
    """The profile of bundled weights."""
    return folder_profile(str(BUNDLED / name), memory)


def folder_profile(name: str, memory: str | None) -> Profile:
    """The profile of a folder of weights.

    Raises:
        InputError: a part of the folder is missing or damaged, or the memory is none.
    """
    folder = Path(name)
    profile = read_bundle_profile(folder)
    policy = parse_memory(memory or profile.memory)
    for part in ("transformer", "vae", "text_encoder", "tokenizer"):
        if not part_folder(folder, part).is_dir():
            raise InputError(f"the weights in {folder / part} are damaged or incomplete (missing): restore the folder")
        if part != "tokenizer":
            part_shapes(
                part_folder(folder, part)
            )  # headers only: a file that is cut short is told before anything is shot
    settings = part_folder(folder, "vae") / "config.json"
    stream = STREAMS.get(str(read_config(settings).get("_class_name")))
    if stream is None:
        raise InputError(f"{settings} names none of {', '.join(STREAMS)}")
    vocabulary = _vocabulary(part_folder(folder, "tokenizer")) if profile.prompt_style == "caption" else None
    return film_profile(profile, policy, stream, f"{profile.name}-{folder_digest(folder)}", vocabulary)


def film_profile(
    profile: BundleProfile, memory: Memory, stream: Stream, weights: str, vocabulary: Vocabulary | None
) -> Profile:
    """The profile of weights under a memory."""
    return Profile(
        name=profile.name,
        fps=profile.fps,
        width=profile.width,
        height=profile.height,
        enlarge=profile.enlarge,
        chunk_latents=memory.chunk or profile.chunk_latents,
        frames_per_latent=stream.time_factor,
        fresh_frames=stream.fresh_frames,
        cut_stream=stream.cut_stream,
        prompt_style=profile.prompt_style,
        max_references=memory.shots.keyframes if memory.shots else 0,
        memory=str(memory),
        weights=weights,
        licence=profile.licence,
        prompt_floor=profile.prompt_floor,
        prompt_tokens=profile.text_tokens,
        vocabulary=vocabulary,
    )


def read_bundle_profile(folder: Path) -> BundleProfile:
    """What `profile.json` says; for a Wan 2.1 diffusers folder, what is known of those.

    Raises:
        InputError: the folder has no weights, or the file is damaged.
    """
    if not (folder / "profile.json").is_file():
        if not (folder / "model_index.json").is_file():
            raise InputError(
                f"{folder} holds no weights (no profile.json): train some with 'filmwright train nano', "
                "convert some with 'filmwright models convert', or name another generator"
            )
        return wan_profile(folder)
    path = folder / "profile.json"
    data = read_json(path)
    try:
        return BundleProfile.model_validate(data)
    except ValidationError as error:
        raise InputError(explain(error, path)) from error


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


def _vocabulary(tokenizer: Path) -> Vocabulary:
    """The words of captions that a tokenizer of ours knows."""
    model = read_json(tokenizer / "tokenizer.json").get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(words, dict):
        raise InputError(f"{tokenizer / 'tokenizer.json'} has no list of words: restore the folder")
    return Vocabulary.of(words)


def folder_digest(folder: Path) -> str:
    """Names weights by a hash over their files: whole small ones; size, beginning and end of large ones. Files that have not changed are
    hashed once."""
    files = sorted(path for path in folder.rglob("*.safetensors") if path.is_file())
    return _digest(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=16)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for file, size, _ in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            if size <= WHOLE_BYTES:
                digest.update(stream.read())
            else:
                digest.update(str(size).encode() + stream.read(1 << 20))
                stream.seek(-(1 << 20), 2)
                digest.update(stream.read())
    return digest.hexdigest()
