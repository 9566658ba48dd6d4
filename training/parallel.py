"""Training on many devices: one process a device under torchrun, weights shared out by FSDP2. The models know nothing of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from ..storyboard.errors import InputError


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        mesh: of all devices; None in a process of its own.
    """

    rank: int
    ranks: int
    device: torch.device
    mesh: DeviceMesh | None = None

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Losses averaged over the processes."""
        names = sorted(values)
        stacked = torch.stack([values[name].detach().float() for name in names])
        if self.mesh is not None:
            dist.all_reduce(stacked)
        return dict(zip(names, (stacked / self.ranks).tolist(), strict=True))

    def average_gradients(self, weights: Iterable[Tensor]) -> None:
        """Of weights that every process holds whole; those of sharded ones are averaged in the backward pass."""
        mine = [p for p in weights if not isinstance(p, DTensor)]
        if self.mesh is None or not mine:
            return
        found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in mine]
        flat = torch.cat([grad.flatten() for grad in found])
        dist.all_reduce(flat)
        for p, part in zip(mine, (flat / self.ranks).split([p.numel() for p in mine]), strict=True):
            p.grad = part.view_as(p)

    def wait(self) -> None:
        """Until every process is here."""
        if self.mesh is not None:
            dist.barrier()

    def first_says(self, value: float) -> float:
        """What process 0 measured, so that all agree (time, for one)."""
        if self.mesh is None:
            return value
        said = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(said, 0)
        return float(said)


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda`.

    Raises:
        InputError: unknown, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError(f"--device {name!r} is unknown: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this machine has no CUDA device that torch can use; choose cpu")
    return torch.device(name)


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The world that torchrun started, or a world of one.

    Raises:
        InputError: fewer devices than processes.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield World(0, 1, device)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise InputError(
                f"process {local} has no device: this machine has {torch.cuda.device_count()}; start fewer"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), ranks, device, init_device_mesh(device.type, (ranks,)))
    finally:
        dist.destroy_process_group()


def leave() -> None:
    """Ends a process that is one of many, now, without tearing Python down. Threads of gloo let go of the last tensors when they
    come to it, and one that does so in the middle of the teardown aborts the process (torch 2.13), which torchrun reports as a
    failure of the whole run. Does nothing in a process of its own."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def share_out(network: nn.Module, world: World) -> None:
    """Puts a network on its device, or shards its weights over the mesh, block by block, so that no device ever holds more
    than a block whole. Process 0 hands its weights to the others, which need not have any (`hollow`)."""
    if world.mesh is None:
        network.to(world.device)
        return
    state = network.state_dict() if world.rank == 0 else {}
    blocks = getattr(network, "blocks", ())
    if blocks:
        network.to("meta")
    for block in blocks:
        fully_shard(block, mesh=world.mesh)
    fully_shard(network, mesh=world.mesh)
    if blocks:
        network.to_empty(device=world.device)
    set_model_state_dict(network, state, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    if hasattr(network, "remember"):
        register_fsdp_forward_method(network, "remember")


def close_up(network: nn.Module) -> None:
    """Lets go of weights that a pass without gradients left whole: they would keep whether they were to be trained then, and parts of a
    stage take turns. Does nothing to a network that is not sharded."""
    if isinstance(network, FSDPModule):
        network.reshard()


def hollow(world: World) -> AbstractContextManager[Any]:
    """Where a large network is built: without weights in all processes but the first, so that a machine's memory holds them once."""
    return torch.device("meta") if world.rank else nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A weight on the CPU, gathered where it is sharded; every process must call this."""
    gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return gathered.detach().cpu()


def local(tensor: Any) -> Tensor:
    """This process's part of a weight."""
    part: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return part
