"""Loads parts of weights that strangers made: tensors alone, no code, no pickles, and no more than the files hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..storyboard.errors import InputError
from .weights_files import part_shapes, read_config, read_json

CONFIG = "config.json"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, never code that comes with it.

    Raises:
        InputError: it asks for code of its own. Else whatever transformers raise.
    """
    from transformers import AutoTokenizer

    for name in ("tokenizer_config.json", CONFIG):
        path = folder / name
        if path.is_file() and read_json(path).get("auto_map") is not None:
            raise InputError(f"{path}: auto_map asks to run code that comes with it, which is not run: remove it, or give other weights")  # fmt: skip
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def hollow_part(kind: Any, folder: Path) -> Any:
    """A part as its settings describe it, on `meta`: it takes no memory.

    Args:
        kind: a class of diffusers or transformers.

    Raises:
        InputError: the settings are damaged, out of range, or describe no such part.
    """
    path = folder / CONFIG
    config = read_config(path)
    try:
        with torch.device("meta"):
            if _is_transformers(kind):
                return kind(kind.config_class.from_dict(config))
            return kind.from_config(kind.load_config(folder))
    except Exception as error:  # the classes raise whatever their settings lead to
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} describes no {kind.__name__} ({reason}): restore the folder") from error


def load_part(kind: Any, folder: Path, **options: Any) -> Any:
    """A part with its weights, from safetensors.

    Args:
        kind: a class of diffusers or transformers.
        options: of its `from_pretrained`.

    Raises:
        InputError: see `hollow_part`; there are no safetensors, or their tensors are far fewer than the settings ask for.
            Else whatever `from_pretrained` raises.
    """
    if (folder / "adapter_config.json").exists():
        raise InputError(f"{folder / 'adapter_config.json'} names other weights, which are not loaded: remove it")
    check_fits(folder, hollow_part(kind, folder))
    if _is_transformers(kind):
        own = {"local_files_only": True, "trust_remote_code": False}
    else:
        own = {"low_cpu_mem_usage": False}
    return kind.from_pretrained(folder, use_safetensors=True, **own, **options)


def check_fits(folder: Path, part: nn.Module) -> None:
    """Raises InputError where a part asks for more memory beside its weights than they take: a loader fills in what is not there."""
    held = part_shapes(folder)
    wanted = {name: tuple(value.shape) for name, value in part.state_dict().items()}
    lacking = {name: math.prod(shape) for name, shape in wanted.items() if held.get(name) != shape}
    if sum(lacking.values()) > sum(map(math.prod, held.values())):
        name = max(lacking, key=lacking.__getitem__)
        found = f"is {held[name]} in" if name in held else "is not in"
        raise InputError(f"{folder / CONFIG} asks for {name} of shape {wanted[name]}, which {found} its weights: restore the folder")  # fmt: skip


def _is_transformers(kind: Any) -> bool:
    """Whether a class is of transformers, and not of diffusers."""
    return hasattr(kind, "config_class")
