"""Tensors out of the files that checkpoints come in: safetensors, folders of shards, `.pt`.

Files come from strangers: nothing in a `.pt` is run, and nothing is allocated that a file does not hold.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..storyboard.errors import InputError
from .weights_files import expect_file, shard_names, tensor_shapes

State = dict[str, Tensor]

SECTIONS = ("generator_ema", "generator", "model", "state_dict", "generator_lora")
"""Where trainers put the transformer, the averaged weights first, or an adapter for it."""


def read_tensors(path: Path, section: str | None = None) -> State:
    """All tensors of a checkpoint: a safetensors file, a folder of shards, or a `.pt`.

    Args:
        section: the entry of a `.pt` that holds the transformer; the first of `SECTIONS` there is when None.

    Raises:
        InputError: missing, damaged or half downloaded, or the section is not there.
    """
    try:
        if path.is_dir():
            return _read_shards(path)
        expect_file(path)
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        loaded = _unpickle(path)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"weights {path} do not exist") from error
    except pickle.UnpicklingError as error:  # torch's own text tells how to run what is in it
        raise InputError(f"weights {path} are no checkpoint, or hold more than tensors, which is not run") from error
    except Exception as error:  # file formats raise whatever they do
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise InputError(
            f"weights {path} are damaged, half downloaded or no checkpoint ({reason}): fetch them again"
        ) from error
    if not isinstance(loaded, dict):
        raise InputError(f"weights {path} hold a {type(loaded).__name__}, no dictionary of tensors")
    if section is not None and section not in loaded:
        raise InputError(
            f"weights {path} have no section {section!r}: choose one of {', '.join(map(str, loaded))[:200]}"
        )
    for name in [section] if section else SECTIONS:
        if name is not None and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
            break
    tensors = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
    for key, value in tensors.items():
        if value.layout != torch.strided or not value.numel():
            raise InputError(f"weights {path}: {key} is empty or sparse (shape {tuple(value.shape)}): fetch them again")
    return tensors


def _unpickle(path: Path) -> Any:
    """A `.pt` without running anything in it; mapped from the disk where its format allows."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            packed = [member.filename for member in archive.infolist() if member.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise InputError(
                f"weights {path}: {packed[0][:80]} is compressed, which no checkpoint is: fetch them again"
            )
    check_held(path, torch.load(path, map_location="meta", weights_only=True))
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def check_held(path: Path, loaded: object) -> None:
    """Looks at what a `.pt` holds, on `meta`, before anything is allocated for it.

    Raises:
        InputError: a tensor claims more than the file has; names it and its shape.
    """
    room, seen = path.stat().st_size, set[int]()
    waiting: list[tuple[str, object]] = [("", loaded)]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if value.layout == torch.strided:
                _expect_room(path, name, value, room)
        elif isinstance(value, dict):
            waiting += [(f"{name}.{key}".lstrip("."), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(f"{name}[{index}]", item) for index, item in enumerate(value)]


def _expect_room(path: Path, name: str, value: Tensor, room: int) -> None:
    if max(value.numel() * value.element_size(), value.untyped_storage().nbytes()) > room:
        raise InputError(
            f"weights {path}: {name} claims shape {tuple(value.shape)}, which a file of {room} bytes does not hold: fetch them again"
        )


def _read_safetensors(path: Path) -> State:
    from safetensors.torch import load_file

    tensor_shapes(path)
    return dict(load_file(path))


def _read_shards(folder: Path) -> State:
    index = next(iter(sorted(folder.glob("*.safetensors.index.json"))), None)
    if index is not None:
        names = shard_names(index)
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        raise InputError(f"{folder} holds no safetensors")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} lacks {', '.join(missing)}: the download is not complete")
    state: State = {}
    for name in names:
        state |= _read_safetensors(folder / name)
    return state
