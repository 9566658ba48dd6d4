"""Reads torch's distributed checkpoints without running what a pickle in them asks for.

torch reads a checkpoint's `.metadata`, and entries that are no tensors, with plain `pickle`. A run's folder may come from
somebody else, so here only the names that a checkpoint needs are looked up, and all entries must be tensors.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem

from ..storyboard.errors import InputError

METADATA = ".metadata"
_NAMES = {
    "torch": {"Size"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
}  # fmt: skip
_PATHS = {"PosixPath": PurePosixPath, "WindowsPath": PureWindowsPath}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        """What a checkpoint is made of; a path stays a path on other systems."""
        if module.partition(".")[0] == "pathlib" and name in _PATHS:
            return _PATHS[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if name in _NAMES.get(module, ()):
            found: object = super().find_class(module, name)
            return found
        raise pickle.UnpicklingError(f"{module}.{name}")


def read_metadata(folder: Path) -> Metadata:
    """What a checkpoint holds.

    Raises:
        InputError: it is missing or damaged, or asks to run code.
    """
    path = folder / METADATA
    try:
        found = _Unpickler(io.BytesIO(path.read_bytes())).load()
    except pickle.UnpicklingError as error:
        raise InputError(
            f"checkpoint {path} is damaged or asks for {error}, which is not run: give another -o"
        ) from error
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise InputError(f"checkpoint {path} cannot be read ({type(error).__name__}): give another -o") from error
    if not isinstance(found, Metadata):
        raise InputError(f"checkpoint {path} holds a {type(found).__name__}, no checkpoint: give another -o")
    for info in (found.storage_data or {}).values():
        name = str(info.relative_path)
        if name != Path(name).name:
            raise InputError(f"checkpoint {path} reads {name!r}, which is outside of it: give another -o")
    return found


class Reader(FileSystemReader):
    """torch's reader, with `read_metadata` of this module."""

    def read_metadata(self, *args: object, **kwargs: object) -> Metadata:
        """What the checkpoint holds; one file for all processes, as `checkpoint.save` writes it."""
        found = read_metadata(Path(self.path))
        found.storage_meta = found.storage_meta or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


class Planner(DefaultLoadPlanner):
    """torch's planner, for tensors alone."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Raises ValueError: an entry is no tensor, and would be unpickled."""
        raise ValueError(f"{read_item.dest_index.fqn} is no tensor")
