"""Takes on disk: what a shot depends on, its chunks while it rolls, and which take is circled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .errors import FilmwrightError
from .files import disk_errors, replacing, write_text
from .production import Production
from .stage import Chunk, Latents


class TakeRecord(BaseModel):
    """`take.json`.

    Attributes:
        depends: hash of everything the shot asks for (`dependency_hash`); another hash makes the take stale.
        before: hash of the latents of the shot before, for information: a new take there does not make this one stale.
        prompts: (chunk, prompt) as they were given, the critic's changes among them.
        references: (chunk, images pinned from there on, relative to the production).
        score: the critic's, 0 … 1; `None` when nobody looked.
    """

    model_config = ConfigDict(extra="forbid")

    shot: str
    take: int
    depends: str
    before: str
    seed: int
    generator: str
    memory: str
    weights: str
    licence: str
    chunks: int
    frames: int
    prompts: list[tuple[int, str]]
    references: list[tuple[int, list[str]]] = []
    verdicts: list[dict[str, Any]] = []
    score: float | None = None
    spent_seconds: float
    filmwright: str


def dependency_hash(*parts: Any) -> str:
    """A short hash of JSON-like values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def file_digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=10).hexdigest()


def shot_folder(production: Production, shot_id: str) -> Path:
    return production.folder / "takes" / shot_id


def take_folder(production: Production, shot_id: str, take: int) -> Path:
    return shot_folder(production, shot_id) / f"{take:02d}"


def takes_of(production: Production, shot_id: str) -> list[int]:
    """Numbers of the whole takes."""
    folder = shot_folder(production, shot_id)
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdigit())


def read_take(production: Production, shot_id: str, take: int) -> TakeRecord | None:
    """The record of a take; None when it is missing or damaged (then it is shot again)."""
    try:
        text = (take_folder(production, shot_id, take) / "take.json").read_text(encoding="utf-8")
        return TakeRecord.model_validate_json(text)
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def circled(production: Production, shot_id: str) -> TakeRecord | None:
    """The take chosen for the cut; None when there is none or its record is damaged."""
    try:
        number = int((shot_folder(production, shot_id) / "circled").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return read_take(production, shot_id, number)


def circle(production: Production, shot_id: str, take: int) -> None:
    """Chooses a take for the cut."""
    write_text(shot_folder(production, shot_id) / "circled", f"{take}\n")


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
    path = chunk_path(folder, chunk)
    try:
        with safe_open(str(path), framework="numpy") as file:
            latents: Latents = file.get_tensor("latents")
            names = set(file.keys())
            state: Latents | None = file.get_tensor("state") if "state" in names else None
            recalled: list[list[int]] = file.get_tensor("recalled").tolist() if "recalled" in names else []
            metadata = dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return None
    if not np.isfinite(latents).all() or not (state is None or np.isfinite(state).all()):
        return None
    start = metadata.pop("start", "0")
    return SavedChunk(latents, state, int(start) if start.isdigit() else 0, recalled, metadata)


def read_take_chunks(production: Production, record: TakeRecord) -> list[SavedChunk] | None:
    """All chunks of a take; None when one is missing or damaged."""
    folder = take_folder(production, record.shot, record.take)
    chunks = [read_chunk(folder, index) for index in range(record.chunks)]
    whole = [chunk for chunk in chunks if chunk is not None]
    return whole if len(whole) == record.chunks else None


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
        for path in self.folder.glob("chunk-*.safetensors"):
            if int(path.stem.removeprefix("chunk-")) >= record.chunks:
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
