"""Films from a folder of clips: `NAME.mp4` beside `NAME.json`, or the same two members in WebDataset shards (`*.tar`).

The JSON says where shots begin and what is in them:

    {"shots": [{"start_seconds": 0, "caption": "A fox on a hill."}, {"start_seconds": 3.5, "caption": "The hill at night."}]}
"""

from __future__ import annotations

import codecs
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from ..generator.bundle import Bundle
from ..storyboard.caption import CUT_MARK
from ..storyboard.errors import InputError
from ..storyboard.footage import decode_clip
from ..storyboard.stage import Frames
from .films import PICTURES, LatentFilm, to_chunks

VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
LONGEST_SECONDS = 600
MAX_NOTES_BYTES = 8_000_000


class ClipShot(BaseModel):
    """A shot of a clip: where it begins, and what is in it."""

    model_config = ConfigDict(extra="forbid")
    start_seconds: Annotated[float, Field(ge=0, le=360_000)]
    caption: Annotated[str, Field(min_length=1, max_length=4000)]


class ClipNotes(BaseModel):
    """What stands beside a clip."""

    model_config = ConfigDict(extra="forbid")
    shots: list[ClipShot] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> ClipNotes:
        starts = [shot.start_seconds for shot in self.shots]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("shots must begin at 0 seconds, and each after the one before")
        return self


@dataclass(frozen=True)
class _Clip:
    """Where a clip lies: a file, or a member of a shard."""

    name: str
    video: Path
    member: str | None
    notes: ClipNotes


def _notes(text: bytes, name: str) -> ClipNotes:
    if len(text) > MAX_NOTES_BYTES:
        raise InputError(f"{name} is larger than {MAX_NOTES_BYTES // 1_000_000} MB")
    try:
        return ClipNotes.model_validate_json(text.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"{name} does not hold: {said}") from error


def find_clips(folder: Path) -> list[_Clip]:
    """Every clip of a folder and of its shards, in the order of their names.

    Raises:
        InputError: there are none, or one lacks its notes, or they do not hold.
    """
    if not folder.is_dir():
        raise InputError(f"data {folder} is no folder")
    found: list[_Clip] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (*VIDEOS, ".tar"):
            continue
        if not path.is_file():  # a pipe would be waited for
            raise InputError(f"clip {path} is no file: move it out of {folder}")
        if path.suffix.lower() in VIDEOS:
            beside = path.with_suffix(".json")
            if not beside.is_file():
                raise InputError(f"clip {path} has no {beside.name} beside it: write where its shots begin")
            found.append(_Clip(str(path), path, None, _notes(_start_of(beside), str(beside))))
        else:
            found += _in_shard(path)
    if not found:
        raise InputError(f"data {folder} holds no clips: put NAME.mp4 and NAME.json there, or .tar shards of them")
    return found


def _start_of(path: Path) -> bytes:
    """As much of a file as notes may have, and a byte that tells whether there is more."""
    with path.open("rb") as file:
        return file.read(MAX_NOTES_BYTES + 1)


@contextmanager
def _open_shard(path: Path) -> Iterator[tarfile.TarFile]:
    """Opens a tar that is not compressed: a small compressed one can hold more than any memory."""
    try:
        with tarfile.open(path, "r:") as shard:
            yield shard
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise InputError(f"{path} is no tar, or a compressed or damaged one: {error}") from error


def _in_shard(path: Path) -> list[_Clip]:
    found = []
    with _open_shard(path) as shard:
        members = {member.name: member for member in shard if member.isfile()}
        for name in sorted(members):
            stem, dot, suffix = name.rpartition(".")
            if dot + suffix.lower() not in VIDEOS:
                continue
            beside = members.get(f"{stem}.json")
            stream = shard.extractfile(beside) if beside else None
            if stream is None:
                raise InputError(f"clip {name} of {path} has no {stem}.json in its shard")
            notes = _notes(stream.read(MAX_NOTES_BYTES + 1), f"{path}/{stem}.json")
            found.append(_Clip(f"{path}/{name}", path, name, notes))
    return found


class ClipFolder:
    """Film number `i` is clip number `i`, its shots cut to whole chunks so that every cut falls between chunks.

    Args:
        chunks, length: chunks of a film, latent frames of a chunk. Longer clips give their first `chunks`, shorter ones are
            an error that names them.
    """

    def __init__(self, folder: Path, bundle: Bundle, *, chunks: int, length: int) -> None:
        self.clips, self.bundle, self.chunks, self.length = find_clips(folder), bundle, chunks, length

    def __len__(self) -> int:
        return len(self.clips)

    def _frames(self, clip: _Clip) -> Frames:
        profile = self.bundle.profile
        sizes = {"width": profile.width, "height": profile.height, "fps": profile.fps}
        most = LONGEST_SECONDS * profile.fps
        if clip.member is None:
            return decode_clip(clip.video, clip.name, frames=most, **sizes)
        with _open_shard(clip.video) as shard:
            stream = shard.extractfile(clip.member)
            if stream is None:
                raise InputError(f"clip {clip.name} is no file of its shard any more")
            return decode_clip(stream, clip.name, frames=most, **sizes)

    def _shots(self, clip: _Clip) -> list[tuple[Tensor, str]]:
        """Frames [F, 3, H, W] of every shot, as many as whole chunks take, and its caption."""
        autoencoder, fps = self.bundle.autoencoder, self.bundle.profile.fps
        frames = torch.from_numpy(self._frames(clip)).permute(0, 3, 1, 2).float() / 255
        starts = [round(shot.start_seconds * fps) for shot in clip.notes.shots] + [len(frames)]
        restart, fresh = autoencoder.cut_stream == "restart", autoencoder.fresh_frames
        found: list[tuple[Tensor, str]] = []
        left = self.chunks
        for shot, first, end in zip(clip.notes.shots, starts, starts[1:], strict=False):
            lost = 4 - fresh if restart or not found else 0  # the first latent frame of a fresh stream holds fewer
            chunks = min(left, (end - first + lost) // (4 * self.length))
            if chunks > 0:
                found.append((frames[first : first + chunks * 4 * self.length - lost], shot.caption))
                left -= chunks
        if left:
            raise InputError(
                f"clip {clip.name} has {self.chunks - left} whole chunks of {4 * self.length} frames at {fps} fps; this stage "
                f"takes films of {self.chunks}: use longer clips, or fewer chunks in the recipe"
            )
        return found

    def _encode(self, frames_FCHW: Tensor) -> Tensor:
        """[F, c, h, w]."""
        bundle = self.bundle
        with torch.no_grad():
            latents: Tensor = bundle.autoencoder.encode(frames_FCHW[None].to(bundle.device, bundle.autoencoder.dtype))[
                0
            ]
        return latents.float()

    def _still(self, frame_CHW: Tensor) -> Tensor:
        return self._encode(frame_CHW[None].expand(self.bundle.autoencoder.fresh_frames, -1, -1, -1))[0]

    def film(self, number: int) -> LatentFilm:
        shots = self._shots(self.clips[number])
        if self.bundle.autoencoder.cut_stream == "restart":
            latents = torch.cat([self._encode(frames) for frames, _ in shots])
        else:
            latents = self._encode(torch.cat([frames for frames, _ in shots]))
        chunks = to_chunks(latents, self.length)
        spans = self._spans(shots)
        prompts = [caption for (_, caption), span in zip(shots, spans, strict=True) for _ in range(span)]
        place = torch.tensor([index for span in spans for index in range(span)])
        if self.bundle.profile.prompt_style == "caption":
            prompts = [CUT_MARK + p if at == 0 else p for p, at in zip(prompts, place.tolist(), strict=True)]
        stranger = self._still(self._shots(self.clips[(number + 1) % len(self.clips)])[0][0][0])
        own = [self._still(frames[len(frames) // 2]) for frames, _ in shots]
        pictures = []
        for index, span in enumerate(spans):
            earlier = own[max(0, index - PICTURES) : index]
            pictures += [torch.stack(earlier + [stranger] * (PICTURES - len(earlier)), dim=1)] * span
        keyframes = torch.stack(pictures)
        return LatentFilm(
            chunks, torch.zeros_like(chunks[:, :1]), place, tuple(prompts), keyframes, keyframes, tuple(prompts),
            torch.zeros(len(chunks), len(chunks), dtype=torch.bool), chunks[:, :0],
        )  # fmt: skip

    def _spans(self, shots: list[tuple[Tensor, str]]) -> list[int]:
        """Chunks of every shot."""
        return [-(-len(frames) // (4 * self.length)) for frames, _ in shots]
