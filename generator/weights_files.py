"""The files of weights, read before anything is built from them: settings within limits, and what safetensors hold. No torch.

Weights come from strangers. A settings file of a few bytes must not ask for more memory than the weights beside it fill.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

from ..storyboard.errors import InputError

Shape = tuple[int, ...]

MAX_JSON_BYTES = 8 << 20
MAX_HEADER_BYTES = 100 << 20
"""Of a safetensors file, as its own library has it."""
COUNTS = {
    "num_layers": 512, "num_hidden_layers": 512, "num_decoder_layers": 512, "num_attention_heads": 1024, "num_heads": 1024,
    "attention_head_dim": 4096, "d_kv": 4096, "num_res_blocks": 64, "blocks": 64, "decoder_blocks": 64, "dim_mult": 256,
    "patch_size": 64, "image_size": 8192,
}  # fmt: skip
"""Largest values by key."""
WIDTHS = (
    "in_channels", "out_channels", "text_dim", "freq_dim", "ffn_dim", "d_model", "d_ff", "hidden_size", "intermediate_size", "projection_dim",
    "base_dim", "z_dim", "latent_channels", "width", "encoder_width", "encoder_widths", "decoder_widths",
)  # fmt: skip
MAX_WIDTH = 1 << 18
MAX_NUMBER = 1 << 22
"""Of any other key: larger than every vocabulary."""
MAX_ENTRIES, MAX_DEPTH = 4096, 8
REFUSED = {
    "auto_map": "weights bring no code here",
    "quantization_config": "give weights in fp32, bf16 or fp16",
    "attn_implementation": "weights bring no code here",
    "_attn_implementation": "weights bring no code here",
    "experts_implementation": "weights bring no code here",
}
"""Keys at which a loader fetches or runs something else than tensors, and the reason."""
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


def expect_file(path: Path) -> None:
    """Raises InputError where a pipe or a device stands in the place of a file: reading it may never end."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no file: restore it")


def read_json(path: Path) -> dict[str, Any]:
    """An object from a settings file.

    Raises:
        InputError: it is missing, too large or no JSON object.
    """
    expect_file(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path} is larger than {MAX_JSON_BYTES >> 20} MB: no settings of weights are")
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: restore the folder") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise InputError(f"{path} is damaged ({reason}): restore the folder") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}, no settings: restore the folder")
    return found


def read_config(path: Path) -> dict[str, Any]:
    """The settings of a part, within limits.

    Raises:
        InputError: see `read_json`; or a value is out of range, or asks for more than weights. Names file, key and value.
    """
    config = read_json(path)
    _check(path, "", config, 0)
    return config


def _check(path: Path, key: str, value: object, depth: int) -> None:
    name = key.rpartition(".")[2]
    if name in REFUSED and value is not None:
        raise InputError(
            f"{path}: {key} {_short(value)} is not followed, {REFUSED[name]}: remove it, or give other weights"
        )
    if isinstance(value, dict | list):
        if depth == MAX_DEPTH or len(value) > MAX_ENTRIES:
            raise InputError(f"{path}: {key or 'it'} holds too much: at most {MAX_ENTRIES} entries, {MAX_DEPTH} deep")
        for inner, item in value.items() if isinstance(value, dict) else ((None, item) for item in value):
            _check(path, key if inner is None else f"{key}.{inner}".lstrip("."), item, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{path}: {key} {value} is no number: restore the folder")
    elif isinstance(value, int) and not isinstance(value, bool):
        most = COUNTS.get(name, MAX_WIDTH if name in WIDTHS else MAX_NUMBER)
        if abs(value) > most:
            raise InputError(f"{path}: {key} {_short(value)} is out of range: {most} at most; give other weights")


def _short(value: object) -> str:
    return json.dumps(value)[:80]


def part_shapes(folder: Path) -> dict[str, Shape]:
    """The shape of every tensor in a folder's safetensors.

    Raises:
        InputError: there are none, one is damaged, or an index names files elsewhere.
    """
    files = sorted(folder.glob("*.safetensors"))
    for index in sorted(folder.glob("*.safetensors.index.json")):
        shard_names(index)
    if not files:
        raise InputError(f"{folder} holds no safetensors: pickled weights (.bin, .pt) are not read there, convert them")
    return {name: shape for file in files for name, shape in tensor_shapes(file).items()}


def shard_names(index: Path) -> list[str]:
    """The files that an index of shards names.

    Raises:
        InputError: it is damaged, or names one that is no safetensors file beside it.
    """
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict):
        raise InputError(f"{index} is damaged (no weight_map): restore the folder")
    names = set(named.values())
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise InputError(f"{index}: {_short(name)} is no safetensors file beside it: restore the folder")
    return sorted(names)


def tensor_shapes(path: Path) -> dict[str, Shape]:
    """The shape of every tensor of a safetensors file, from its header.

    Raises:
        InputError: the header is damaged, or claims what the file does not hold. Names file, tensor and value.
    """
    expect_file(path)
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise InputError(f"{path} is damaged or half downloaded (its header takes {length} of {size} bytes)")
            header = json.loads(stream.read(length))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged or half downloaded (its header is no JSON): fetch it again") from error
    if not isinstance(header, dict):
        raise InputError(f"{path} is damaged (its header is no JSON object): fetch it again")
    tensors = ((name, entry) for name, entry in header.items() if name != "__metadata__")
    return {name: _shape(path, name, entry, size - 8 - length) for name, entry in tensors}


def _shape(path: Path, name: str, entry: object, room: int) -> Shape:
    """The shape in one entry of a header; `room`: bytes that the file has for tensors."""
    values: dict[str, Any] = entry if isinstance(entry, dict) else {}
    shape, offsets = values.get("shape"), values.get("data_offsets")
    if not _whole(shape) or not _whole(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InputError(f"{path} is damaged: {name} is {_short(entry)}: fetch it again")
    item = ITEM_BYTES.get(str(values.get("dtype")))
    bytes_held = offsets[1] - offsets[0]
    if offsets[1] > room or not all(shape) or (item is not None and math.prod(shape) * item != bytes_held):
        raise InputError(
            f"{path}: {name} claims shape {_short(shape)} and has {min(bytes_held, room)} bytes: fetch it again"
        )
    return tuple(shape)


def _whole(values: object) -> TypeGuard[list[int]]:
    """Whether these are whole numbers from 0."""
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
