"""Takes on disk: what a shot depends on, its chunks while it rolls, and which take is circled."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors.numpy import save

from .chunk_files import DamagedChunk, open_chunk
from .errors import FilmwrightError, reason_of
from .files import disk_errors, replacing, write_text
from .mp4 import count_mp4_frames
from .production import Production
from .script import MAX_SHOT_SECONDS, Continuity, Id
from .stage import Chunk, Latents
from .take_limits import (
    MAX_CHUNKS,
    MAX_VERDICTS,
    ChunkCount,
    ChunkIndex,
    Digests,
    FrameCount,
    KeptVerdict,
    Paths,
    Prompts,
    Score,
    Seconds,
    Seed,
    Side,
    TakeNumber,
    Word,
)

_TAKE_NAME = re.compile(r"0[1-9]|[1-9][0-9]{1,3}")
"""As `take_folder` writes them, up to MAX_TAKE."""
MAX_RECORD_BYTES = 8_000_000
MAX_CIRCLED_BYTES = 1000


class Asked(BaseModel):
    """What a shot asks of its take. Whatever differs between two of these makes a take stale.

    Attributes:
        prompts: (chunk, prompt) as derived from the script.
        references: (chunk, digests of the images pinned from there on).
        footage: digest of the file that the shot opens with.
        size: width and height of the delivered film in pixels.
        seconds: the shot's length in the script.
        words: digest of all that the script says of the shot, also of what this generator cannot draw.
    """

    model_config = ConfigDict(extra="forbid")

    prompts: Prompts
    references: Annotated[list[tuple[ChunkIndex, Digests]], Field(max_length=MAX_CHUNKS)]
    footage: Word | None
    continuity: Continuity
    seed: Seed
    weights: Word
    memory: Word
    size: tuple[Side, Side]
    seconds: Annotated[float, Field(gt=0, le=MAX_SHOT_SECONDS)]
    words: Word


class TakeRecord(BaseModel):
    """`take.json`. Every number is bounded, every path stays inside the production: productions come from strangers, too.

    Attributes:
        depends: hash of everything the shot asks for (`dependency_hash`); the same hash means the take is current.
        asked: the same in full; None in takes made before it was written.
        cut_frames: video frames of the take that the script asked for when it was made.
        starts_from: the take of the shot before, and its number of chunks, that a shot with another continuity than `new` goes
            on from.
        continues: the take of the same shot that this one begins with.
        before: hash of the latents of the shot before, for information: a new take there does not make this one stale.
        prompts: (chunk, prompt) as they were given, the critic's changes among them.
        references: (chunk, images pinned from there on, relative to the production).
        score: the critic's, 0 … 1; `None` when nobody looked.
    """

    model_config = ConfigDict(extra="forbid")

    shot: Id
    take: TakeNumber
    depends: Word
    asked: Asked | None = None
    cut_frames: FrameCount | None = None
    starts_from: Word | None = None
    continues: TakeNumber | None = None
    before: Word
    seed: Seed
    generator: Word
    memory: Word
    weights: Word
    licence: Word
    chunks: ChunkCount
    frames: FrameCount
    prompts: Prompts
    references: Annotated[list[tuple[ChunkIndex, Paths]], Field(max_length=MAX_CHUNKS)] = []
    verdicts: Annotated[list[KeptVerdict], Field(max_length=MAX_VERDICTS)] = []
    score: Score | None = None
    spent_seconds: Seconds
    filmwright: Word

    @model_validator(mode="after")
    def _begins_at_its_first_chunk(self) -> TakeRecord:
        if not any(since == 0 for since, _ in self.prompts):
            raise ValueError("prompts: none of them is of chunk 0")
        return self


def dependency_hash(*parts: Any) -> str:
    """A short hash of JSON-like values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def file_digest(path: Path) -> str:
    """Digest of a file's bytes, read in blocks: footage may be larger than memory."""
    digest = hashlib.blake2b(digest_size=10)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def shot_folder(production: Production, shot_id: str) -> Path:
    return production.folder / "takes" / shot_id


def take_folder(production: Production, shot_id: str, take: int) -> Path:
    return shot_folder(production, shot_id) / f"{take:02d}"


def takes_of(production: Production, shot_id: str) -> list[int]:
    """Numbers of the whole takes."""
    folder = shot_folder(production, shot_id)
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_dir())
    return sorted(int(name) for name in names if _TAKE_NAME.fullmatch(name))


class DamagedTake(Exception):
    """A take that cannot be used; says which of its files is wrong, and how."""


def load_take(production: Production, shot_id: str, take: int) -> TakeRecord:
    """The record of a take.

    Raises:
        DamagedTake: it is missing, holds what no record may hold, or is the record of another take.
    """
    try:
        with (take_folder(production, shot_id, take) / "take.json").open("rb") as file:
            text = file.read(MAX_RECORD_BYTES + 1)
        if len(text) > MAX_RECORD_BYTES:
            raise DamagedTake(f"take.json is larger than {MAX_RECORD_BYTES // 1_000_000} MB")
        record = TakeRecord.model_validate_json(text)
    except OSError as error:
        raise DamagedTake(f"take.json: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}: " for part in first["loc"][:1])
        raise DamagedTake(f"take.json: {place}{reason_of(first)}") from None
    if (record.shot, record.take) != (shot_id, take):
        raise DamagedTake(f"take.json is of take {record.take} of shot {record.shot}")
    return record


def read_take(production: Production, shot_id: str, take: int) -> TakeRecord | None:
    """The record of a take; None when it is missing or damaged (then it is shot again)."""
    try:
        return load_take(production, shot_id, take)
    except DamagedTake:
        return None


class Choice(BaseModel):
    """`circled`: the take chosen for the cut, and who chose it. A bare number is the director's choice."""

    model_config = ConfigDict(extra="forbid")

    take: TakeNumber
    by: Literal["director", "person"] = "director"


def read_choice(production: Production, shot_id: str) -> Choice | None:
    """Which take of a shot is circled; None when none is, or the file is damaged."""
    try:
        with (shot_folder(production, shot_id) / "circled").open("rb") as file:
            text = file.read(MAX_CIRCLED_BYTES).decode("utf-8").strip()
        return Choice(take=int(text)) if text.isascii() and text.isdigit() else Choice.model_validate_json(text)
    except (OSError, ValueError):
        return None


def circled(production: Production, shot_id: str) -> TakeRecord | None:
    """The take chosen for the cut; None when there is none or its record is damaged."""
    choice = read_choice(production, shot_id)
    return read_take(production, shot_id, choice.take) if choice is not None else None


def circle(production: Production, shot_id: str, take: int, *, by_person: bool = False) -> None:
    """Chooses a take for the cut. What a person chose is replaced only by a person."""
    chosen = Choice(take=take, by="person").model_dump_json() if by_person else str(take)
    write_text(shot_folder(production, shot_id) / "circled", f"{chosen}\n")


def chunk_path(folder: Path, chunk: int) -> Path:
    return folder / f"chunk-{chunk:04d}.safetensors"


@dataclass(frozen=True)
class SavedChunk:
    """A chunk file: what the rollout needs to be fed again, and what it recalled when it was made.

    Attributes:
        state: hidden frames, where the memory has them.
        start: number of its first latent frame over the film as it then was.
        recalled: frame numbers by layer [layers, k]; empty where nothing is routed.
        made_for: the hash of what was asked, and the draw.
    """

    latents: Latents
    state: Latents | None
    start: int
    recalled: list[list[int]]
    made_for: dict[str, str]


def read_chunk(folder: Path, chunk: int) -> SavedChunk | None:
    """A chunk of a take; None when the file is missing or damaged."""
    try:
        with open_chunk(chunk_path(folder, chunk)) as file:
            latents = file.latents()
            state = file.state()
            recalled = file.recalled()
    except DamagedChunk:
        return None
    return SavedChunk(latents, state, file.start, recalled, file.made_for)


def read_take_chunks(production: Production, record: TakeRecord) -> list[SavedChunk] | None:
    """All chunks of a take; None when one is missing, damaged or of another size than the first."""
    folder = take_folder(production, record.shot, record.take)
    found: list[SavedChunk] = []
    for index in range(record.chunks):
        chunk = read_chunk(folder, index)
        if chunk is None or (found and chunk.latents.shape != found[0].latents.shape):
            return None
        found.append(chunk)
    return found


def check_take_files(production: Production, record: TakeRecord) -> None:
    """Looks for a take's video and all its chunk files; they are checked by their headers, not read.

    Raises:
        DamagedTake: one is missing or damaged.
    """
    folder = take_folder(production, record.shot, record.take)
    frames = count_mp4_frames(folder / "frames.mp4")
    if frames is None:
        raise DamagedTake("frames.mp4 is missing or no whole video")
    if frames != record.frames:
        raise DamagedTake(f"frames.mp4 has {frames} frames, take.json says {record.frames}")
    shapes = set()
    for chunk in range(record.chunks):
        path = chunk_path(folder, chunk)
        try:
            with open_chunk(path) as file:
                shapes.add(file.shape)
        except DamagedChunk as error:
            raise DamagedTake(f"{path.name} {error}") from None
    if len(shapes) > 1:
        raise DamagedTake("its chunks have different sizes")


def take_is_whole(production: Production, record: TakeRecord) -> bool:
    """Whether a take's video and all its chunk files are there; they are checked by their headers, not read."""
    try:
        check_take_files(production, record)
        return True
    except DamagedTake:
        return False


def damage_of(production: Production, shot_id: str, take: int) -> str | None:
    """Why a take cannot be used, in a line; None where it can."""
    try:
        check_take_files(production, load_take(production, shot_id, take))
        return None
    except DamagedTake as error:
        return str(error)


def latents_hash(chunks: Sequence[Latents]) -> str:
    digest = hashlib.blake2b(digest_size=10)
    for chunk in chunks:
        digest.update(np.ascontiguousarray(chunk).tobytes())
    return digest.hexdigest()


class Rolling:
    """The folder of a take while it is being shot: `NN.rolling`, renamed when whole.

    Chunks that an interrupted run left are handed out again when they were made for the same thing and in the same draw.
    """

    def __init__(self, production: Production, shot_id: str, take: int, depends: str) -> None:
        self._final = take_folder(production, shot_id, take)
        self.folder = self._final.with_name(f"{take:02d}.rolling")
        self._depends = depends
        with disk_errors(self.folder):
            for other in self._final.parent.glob("*.rolling") if self._final.parent.is_dir() else ():
                if other != self.folder:
                    shutil.rmtree(other, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)

    def kept(self, chunk: int, draw: int) -> SavedChunk | None:
        """What an interrupted run had made for this chunk in this draw."""
        found = read_chunk(self.folder, chunk)
        return found if found is not None and found.made_for == self._made_for(draw) else None

    def write(self, chunk: Chunk) -> None:
        tensors: dict[str, NDArray[Any]] = {"latents": np.ascontiguousarray(chunk.latents)}
        if chunk.state is not None:
            tensors["state"] = np.ascontiguousarray(chunk.state)
        if chunk.recalled:
            tensors["recalled"] = np.asarray(chunk.recalled, dtype=np.int32)
        with replacing(chunk_path(self.folder, chunk.index)) as temporary:
            metadata = {**self._made_for(chunk.draw), "start": str(chunk.start)}
            temporary.write_bytes(save(tensors, metadata))  # its own save_file hides why a disk refused

    def finish(self, record: TakeRecord) -> None:
        """Writes the record and gives the folder its final name."""
        write_text(self.folder / "take.json", record.model_dump_json(indent=1) + "\n")
        kept = {chunk_path(self.folder, index).name for index in range(record.chunks)}
        for path in self.folder.glob("chunk-*.safetensors"):
            if path.name not in kept:
                path.unlink()
        with disk_errors(self._final):
            if self._final.exists():  # a damaged take of that number
                shutil.rmtree(self._final)
            try:
                os.replace(self.folder, self._final)
            except OSError as error:
                raise FilmwrightError(f"cannot rename {self.folder} to {self._final}: {error.strerror}") from error

    def _made_for(self, draw: int) -> dict[str, str]:
        return {"depends": self._depends, "draw": str(draw)}
