"""A run's folder may come from a stranger: nothing in its checkpoint runs."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import torch
from filmwright.cli import app
from filmwright.storyboard.errors import InputError
from filmwright.training import checkpoint
from filmwright.training.checkpoint_reader import METADATA, Planner, read_metadata
from torch import nn
from torch.distributed.checkpoint import state_dict_saver
from typer.testing import CliRunner


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Path.touch, (self.path,))


def state() -> checkpoint.State:
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    return checkpoint.State({"a": model}, {"a": dict(model.named_parameters())}, {"a": [optimiser]}, {})


NOTES = {"kind": "tuning", "step": 1, "minutes": 0.5, "updates": 1}


def saved(folder: Path) -> tuple[Path, list[str]]:
    checkpoint.save(folder, state(), NOTES)
    found = checkpoint.find(folder)
    assert found is not None
    return found[0], found[1]["warm"]


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    path, warm = saved(tmp_path)
    fresh = state()
    with torch.no_grad():
        fresh.parts["a"].weight.zero_()  # type: ignore[union-attr, operator]
    checkpoint.load(path, fresh, warm)
    assert torch.equal(fresh.trained["a"]["weight"], state().trained["a"]["weight"])
    assert isinstance(read_metadata(path).storage_meta.checkpoint_id, PurePosixPath | str | Path)  # type: ignore[union-attr]


@pytest.mark.parametrize("what", ["evil", "evil inside", "noise", "empty", "list", "missing", "outside"])
def test_a_strangers_metadata_is_refused_and_runs_nothing(tmp_path: Path, what: str) -> None:
    path, warm = saved(tmp_path)
    metadata, owned = path / METADATA, tmp_path / "owned"
    honest = read_metadata(path)
    if what == "evil":
        metadata.write_bytes(pickle.dumps(Evil(owned)))
    elif what == "evil inside":
        honest.planner_data = {"weight": Evil(owned)}
        metadata.write_bytes(pickle.dumps(honest))
    elif what == "noise":
        metadata.write_bytes(bytes(range(256)))
    elif what == "empty":
        metadata.write_bytes(b"")
    elif what == "list":
        metadata.write_bytes(pickle.dumps([1, 2]))
    elif what == "missing":
        metadata.unlink()
    else:
        for info in honest.storage_data.values():
            info.relative_path = "../../elsewhere.distcp"
        metadata.write_bytes(pickle.dumps(honest))
    with pytest.raises(InputError, match=r"checkpoint .*\.metadata"):
        checkpoint.load(path, state(), warm)
    assert not owned.exists()


def test_an_entry_that_is_no_tensor_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    path, warm = saved(tmp_path)
    owned = tmp_path / "owned"
    tensors = state().tensors(warm)
    tensors["part/a"] = {**tensors["part/a"], "weight": Evil(owned)}
    state_dict_saver.save(tensors, checkpoint_id=path, no_dist=True)
    owned.unlink(missing_ok=True)
    with pytest.raises(InputError):
        checkpoint.load(path, state(), warm)
    assert not owned.exists()
    with pytest.raises(ValueError, match="is no tensor"):
        Planner().load_bytes(type("Item", (), {"dest_index": type("Index", (), {"fqn": "x"})})(), io.BytesIO())  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", '{"kind": 3}', json.dumps(NOTES | {"step": -1, "warm": []})])
def test_damaged_notes_are_named(tmp_path: Path, text: str) -> None:
    path, _ = saved(tmp_path)
    (path / checkpoint.META).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=checkpoint.META):
        checkpoint.find(tmp_path)


@pytest.mark.usefixtures("small_size")
def test_training_in_a_strangers_folder_ends_in_one_line(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "run" / "reader")
    notes = json.loads((path / checkpoint.META).read_text(encoding="utf-8"))
    (path / checkpoint.META).write_text(json.dumps(notes | {"kind": "reader", "warm": []}), encoding="utf-8")
    (path / METADATA).write_bytes(pickle.dumps(Evil(tmp_path / "owned")))
    command = ["train", "nano", "--stage", "reader", "--steps", "1", "-o", str(tmp_path / "run"), "--device", "cpu"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and len(result.output.strip().splitlines()) == 1, result.output
    assert "which is not run" in result.output and not (tmp_path / "owned").exists()
