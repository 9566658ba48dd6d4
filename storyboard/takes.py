"""Takes on disk: what a shot depends on, its chunks while it rolls, and which take is circled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import FilmwrightError
from .files import disk_errors, replacing, write_text
from .production import Production
from .stage import Latents


class TakeRecord(BaseModel):
    """`take.json`.

    Attributes:
        depends: hash of everything the shot asks for (`dependency_hash`); another hash makes the take stale.
        before: hash of the latents of the shot before, for information: a new take there does not make this one stale.
        prompts: (chunk, prompt) as they were given, the critic's changes among them.
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


def read_chunk(folder: Path, chunk: int) -> tuple[Latents, dict[str, str]] | None:
    """Latents and metadata of a chunk; None when the file is missing or damaged."""
    path = chunk_path(folder, chunk)
    try:
        with safe_open(str(path), framework="numpy") as file:
            latents: Latents = file.get_tensor("latents")
            return (latents, file.metadata() or {}) if np.isfinite(latents).all() else None
    except (OSError, SafetensorError):
        return None


def read_take_chunks(production: Production, record: TakeRecord) -> list[Latents] | None:
    """All latents of a take; None when a chunk is missing or damaged."""
    folder = take_folder(production, record.shot, record.take)
    chunks = [read_chunk(folder, index) for index in range(record.chunks)]
    whole = [chunk[0] for chunk in chunks if chunk is not None]
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

    def kept(self, chunk: int, draw: int) -> Latents | None:
        """What an interrupted run had made for this chunk in this draw."""
        found = read_chunk(self.folder, chunk)
        if found is None:
            return None
        latents, metadata = found
        return latents if metadata == self._metadata(draw) else None

    def write(self, chunk: int, draw: int, latents: Latents) -> None:
        with replacing(chunk_path(self.folder, chunk)) as temporary:
            save_file({"latents": np.ascontiguousarray(latents)}, str(temporary), metadata=self._metadata(draw))

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

    def _metadata(self, draw: int) -> dict[str, str]:
        return {"depends": self._depends, "draw": str(draw)}
