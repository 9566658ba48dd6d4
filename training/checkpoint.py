"""Checkpoints that survive a kill and a full disk: written beside the last one, then put in its place.

torch's distributed checkpoints: every process writes its part, and another number of processes can read it.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException

from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.seeds import NEWEST, SEPARATORS, SeedVersion
from .checkpoint_reader import Planner, Reader, read_metadata

FOLDER, META = "checkpoint", "filmwright.json"
NOTED: dict[str, Any] = {"kind": str, "step": int, "minutes": int | float, "updates": int, "warm": list}


@contextmanager
def _quietly() -> Iterator[None]:
    """torch warns that a process of its own is one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


@dataclass(frozen=True)
class State:
    """Everything a run goes on with: the trained weights of its parts, their optimisers, and the average."""

    parts: dict[str, nn.Module]
    trained: dict[str, dict[str, nn.Parameter]]
    optimisers: dict[str, list[torch.optim.Optimizer]]
    average: dict[str, Tensor]

    def warm(self) -> list[str]:
        """Optimisers that have stepped: the others have nothing to keep."""
        return [f"{part}/{i}" for part, each in self.optimisers.items() for i, one in enumerate(each) if one.state]

    def tensors(self, warm: list[str]) -> dict[str, Any]:
        state: dict[str, Any] = {"average": self.average}
        for part, weights in self.trained.items():
            state[f"part/{part}"] = weights
        for mark in warm:
            part, _, index = mark.rpartition("/")
            names = {id(p): name for name, p in self.trained[part].items()}
            kept = self.optimisers[part][int(index)].state
            state[f"optimiser/{mark}"] = {names[id(p)]: dict(values) for p, values in kept.items()}
        return state


def save(folder: Path, state: State, meta: dict[str, Any]) -> None:
    """Replaces `folder/checkpoint`.

    Raises:
        FilmwrightError: it could not be written; the one before stays.
    """
    target, fresh, old = folder / FOLDER, folder / f"{FOLDER}.new", folder / f"{FOLDER}.old"
    first = not dist.is_initialized() or dist.get_rank() == 0
    if first:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
    _barrier()
    warm = state.warm()
    try:
        with _quietly():
            state_dict_saver.save(state.tensors(warm), checkpoint_id=fresh, no_dist=not dist.is_initialized())
        if first:
            (fresh / META).write_text(json.dumps({**meta, "warm": warm}), encoding="utf-8")
    except (OSError, RuntimeError) as error:  # torch's writer wraps what the disk said
        cause = str(error).strip().splitlines()[-1]
        raise FilmwrightError(
            f"the checkpoint could not be written to {fresh}: {cause}; the one before is kept, make room and go on"
        ) from error
    _barrier()
    if first:
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.replace(target, old)
        os.replace(fresh, target)
        shutil.rmtree(old, ignore_errors=True)
    _barrier()


def find(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint of a stage, and what was noted with it.

    Raises:
        InputError: the notes are damaged.
    """
    for name in (FOLDER, f"{FOLDER}.old"):
        noted = folder / name / META
        if noted.is_file():
            return folder / name, _notes(noted)
    return None


def _notes(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"checkpoint {path} cannot be read: give another -o, or remove its folder") from error
    for key, kind in NOTED.items():
        value = found.get(key) if isinstance(found, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool) or (not isinstance(value, str | list) and value < 0):
            raise InputError(f"checkpoint {path}: {key} {value!r} does not hold: give another -o, or remove its folder")
    return dict(found)


def seed_version(folder: Path) -> SeedVersion:
    """How seeds follow from the run's: as the checkpoint in `folder` notes it, 1 where it notes nothing; the newest way without one.

    Raises:
        InputError: an unknown version.
    """
    found = find(folder)
    if found is None:
        return NEWEST
    path, meta = found
    noted = meta.get("seed_version", 1)
    for known in SEPARATORS:
        if noted == known:
            return known
    raise InputError(
        f"{path / META}: seed_version {noted!r} is unknown: go on with the version of filmwright that wrote it"
    )


def load(path: Path, state: State, warm: list[str]) -> None:
    """Reads a checkpoint into a run that was built alike; `warm` as it was saved.

    Raises:
        InputError: it is of other weights, damaged, or asks to run code.
    """
    read_metadata(path)
    for mark in warm:
        part, _, index = mark.rpartition("/")
        _warm(state.optimisers[part][int(index)])
    try:
        with _quietly():
            state_dict_loader.load(
                state.tensors(warm), storage_reader=Reader(path), planner=Planner(), no_dist=not dist.is_initialized()
            )
    except (RuntimeError, ValueError, KeyError, CheckpointException) as error:
        raise InputError(
            f"checkpoint {path} does not fit: {str(error).strip().splitlines()[-1]}; it is of another recipe, give another -o"
        ) from error


def _warm(optimiser: torch.optim.Optimizer) -> None:
    """Makes the state of an optimiser that has not stepped, to be read into, without moving a weight."""
    kept = [(group["lr"], group["weight_decay"]) for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        group["lr"] = group["weight_decay"] = 0.0
        for p in group["params"]:
            p.grad = torch.zeros_like(p)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    for group, (rate, decay) in zip(optimiser.param_groups, kept, strict=True):
        group["lr"], group["weight_decay"] = rate, decay
