"""Who draws the small world: the process that trains, or others beside it. Drawing takes a core longer than a step takes an accelerator.

What is drawn is a function of its arguments, so who drew it makes no difference. It travels as NumPy arrays of bytes, as video does.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..storyboard.errors import FilmwrightError

Bytes = np.ndarray[Any, Any]

MOST = 32
LEFT = 2
"""Cores that the training process itself keeps busy."""


class Painters:
    """Calls functions in this process, or in `processes` others (`pool`)."""

    def __init__(self, pool: ProcessPoolExecutor | None = None) -> None:
        self._pool = pool

    def every(self, draw: Callable[[int], Any], numbers: Sequence[int]) -> list[Any]:
        """What `draw` makes of each number, in their order.

        Raises:
            FilmwrightError: a process was killed, by want of memory for one.
        """
        if self._pool is None:
            return [draw(number) for number in numbers]
        try:
            return list(self._pool.map(draw, numbers))
        except BrokenProcessPool as error:
            raise FilmwrightError(
                "a process that draws films was killed, likely for want of memory: give fewer --painters, and go on"
            ) from error


ALONE = Painters()


def painters_for(device: torch.device) -> int:
    """How many are worth their while: none where the cores train anyway."""
    return 0 if device.type == "cpu" else max(0, min(MOST, (os.cpu_count() or 1) - LEFT))


@contextmanager
def opened(processes: int) -> Iterator[Painters]:
    """So many processes that draw, until it is left."""
    if not processes:
        yield ALONE
        return
    # fresh processes: a copy of one that has threads and a device is not safe to use
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield Painters(pool)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that trains, which ends the others
    torch.set_num_threads(1)


def as_bytes(x: Tensor) -> Bytes:
    """0 … 1 as a byte each."""
    return (x.clamp(0, 1) * 255).round().byte().numpy()


def from_bytes(drawn: Bytes, device: torch.device) -> Tensor:
    """The other way, on a device."""
    return torch.from_numpy(drawn).to(device).float() / 255
