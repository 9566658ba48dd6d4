"""A run of a recipe: its stages one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from ..generator.bundle import quiet_libraries
from ..storyboard.errors import InputError
from .painters import opened, painters_for
from .parallel import World, choose_device, joined
from .recipe import Recipe
from .run_folder import Order
from .shop import Shop
from .trainer import Budget, Report, Run


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two runs in one folder would write over each other's checkpoints.

    Raises:
        InputError: another one is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(folder / ".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"another run is training in {folder}: wait for it, or give another -o") from None
    try:
        yield
    finally:
        lock.release()


def _painters(order: Order, world: World) -> int:
    """Of this process."""
    return painters_for(world.device) // world.ranks if order.painters is None else order.painters


def train(recipe: Recipe, order: Order, report: Report) -> Path:
    """Runs the stages and writes `FOLDER/model`; returns that folder.

    A stage goes on from its checkpoint. Without one it starts from the weights it has written (the optimiser warms up again),
    else from those of the stage before it, else from the bundled weights of its size (only the decoder of the autoencoder moves
    then, so that latents keep their meaning).

    Raises:
        InputError: unknown stage or device, no time, data or a checkpoint that does not fit, or another run in the folder.
    """
    if not 0 < order.minutes <= 100_000:
        raise InputError(f"--minutes {order.minutes:g} is out of range: give more than 0")
    stages = [recipe.stage(order.stage)] if order.stage else list(recipe.stages)
    quiet_libraries()
    with ExitStack() as stack:
        world = stack.enter_context(joined(choose_device(order.device)))
        if world.rank == 0:
            stack.enter_context(_alone_in(order.folder))
        for stage in stages:
            for what, count in stage.examples().items():
                if count % world.ranks:
                    raise InputError(
                        f"{world.ranks} processes cannot share the {count} {what} of a step of stage {stage.name} evenly: start "
                        f"as many as divide them"
                    )
        painters = stack.enter_context(opened(_painters(order, world)))
        shop = Shop(recipe, order, world, painters)
        shares = sum(stage.share for stage in stages if stage.steps is None)
        for settings in stages:
            steps = order.steps or settings.steps
            budget = Budget(None if steps else order.minutes * settings.share / shares, steps)
            torch.manual_seed(order.seed)  # new weights are the same in every process and every run
            run = Run(shop.stage(settings), order.folder / settings.name, world, order.seed, report)
            run.resume()
            run.go(budget)
        return shop.write_bundle() if world.rank == 0 else order.folder / "model"
