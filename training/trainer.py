"""One loop for every stage: a budget, an average of the weights, checkpoints that survive a kill.

Everything a step does follows from its number, the seed and the weights, so a run that was interrupted ends in the same
weights as one that was not (with a budget in steps; a budget in minutes moves the learning rate by the clock).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..generator.attention import kept_weights
from ..storyboard.errors import FilmwrightError, InputError
from ..storyboard.seeds import stable_seed
from . import checkpoint
from .muon import StackedMuon
from .parallel import World, close_up, local, share_out, whole
from .settings import StageSettings

REPORT_SECONDS, SAVE_SECONDS = 5.0, 60.0


class Stage(Protocol):
    """What a stage brings to the loop."""

    name: str
    settings: Any
    keeps_attention: bool
    """Whether attention keeps its weights instead of computing them again in the backward pass: twice as fast on a CPU
    where they are small."""

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What is trained, by name; the first is averaged and handed on."""

    def part(self, step: int) -> str:
        """The part that a step trains."""

    def learning_rate(self, part: str) -> float:
        """Its peak."""

    def sharded(self) -> list[nn.Module]:
        """Every network whose weights are shared out over devices."""

    def batch(self, step: int) -> Any:
        """The data of a step, made on another thread than `loss`."""

    def loss(self, batch: Any, step: int, progress: float) -> dict[str, Tensor]:
        """The terms of the loss; `loss` is what is minimised, the others are reported."""

    def after_step(self, part: str) -> None:
        """Called after each update."""

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        """Writes the averaged weights for the next stage."""


@dataclass(frozen=True)
class Budget:
    """How long a stage runs: minutes, or exactly so many steps."""

    minutes: float | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Progress:
    """One report of a running stage; `done` of the budget, 0 … 1."""

    stage: str
    step: int
    done: float
    seconds_left: float
    losses: dict[str, float]
    steps_per_second: float


Report = Callable[[Progress], None]


def build_optimisers(module: nn.Module, rate: float, settings: StageSettings) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices of transformer blocks where the recipe says so; each group keeps its `peak` rate."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if settings.muon and ".blocks." in name and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for _, p in named if id(p) not in chosen]
    found: list[torch.optim.Optimizer] = []
    if others:
        adam = torch.optim.AdamW(
            [{"params": others, "peak": rate}], lr=rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        found.append(adam)
    if matrices:
        peak = rate * settings.muon
        group = {"params": matrices, "peak": peak}
        # sharded matrices cannot be stacked
        muon = torch.optim.Muon if isinstance(matrices[0], DTensor) else StackedMuon
        found.append(muon([group], lr=peak, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"))
    return found


def prefetch(make: Callable[[int], Any], first: int) -> Generator[Any]:
    """Batches `first`, `first + 1`, … made on other threads, a few before they are needed."""
    workers = max(1, min(16, (os.cpu_count() or 1) - 1))
    ahead = 2 * workers + 1
    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting = [pool.submit(make, first + i) for i in range(ahead)]
        index = first + ahead
        try:
            while True:
                yield waiting.pop(0).result()
                waiting.append(pool.submit(make, index))
                index += 1
        finally:
            for future in waiting:
                future.cancel()


def learning_rate(peak: float, step: int, warmup: int, progress: float) -> float:
    """Linear warm-up, then a cosine over the budget down to 3 %."""
    return peak * min(1.0, (step + 1) / warmup) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class Average:
    """An exponential average of weights that follows closely at first: early weights are far from where they end."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
        self.values = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    def update(self, module: nn.Module, count: int) -> None:
        weight = 1.0 - min(self.decay, (1 + count) / (10 + count))
        now = {name: local(p.detach()) for name, p in module.named_parameters() if name in self.values}
        torch._foreach_lerp_([local(self.values[name]) for name in now], list(now.values()), weight)

    def whole(self, module: nn.Module) -> dict[str, Tensor]:
        """All weights of the module, averaged ones where they are trained, gathered on the CPU."""
        found = module.state_dict(keep_vars=True)  # tied weights stand there under every name they have
        return {name: whole(self.values.get(self.names.get(id(value), name), value)) for name, value in found.items()}


class Run:
    """A stage being trained."""

    def __init__(self, stage: Stage, folder: Path, world: World, seed: int, report: Report) -> None:
        self.stage, self.folder, self.world, self.seed, self.report = stage, folder, world, seed, report
        self.settings: StageSettings = stage.settings
        for network in stage.sharded():
            share_out(network, world)
        self.parts = stage.parts
        self.main = next(iter(self.parts))
        self.optimisers = {
            name: build_optimisers(module, stage.learning_rate(name), self.settings)
            for name, module in self.parts.items()
        }
        self.average = Average(self.parts[self.main], self.settings.average)
        self.trained = {
            part: {name: p for name, p in module.named_parameters() if p.requires_grad}
            for part, module in self.parts.items()
        }
        self.step, self.minutes, self.updates = 0, 0.0, 0
        self.seed_version = checkpoint.seed_version(folder)

    def resume(self) -> None:
        """Goes on from the last checkpoint, where there is one.

        Raises:
            InputError: it is of another recipe.
        """
        found = checkpoint.find(self.folder)
        if found is None:
            return
        path, meta = found
        kind = self.stage.settings.kind
        if meta["kind"] != kind:
            raise InputError(
                f"checkpoint {path} is of a stage of kind {meta['kind']}, and {self.stage.name} is of kind {kind}: "
                f"give another -o, or remove it"
            )
        for weights in self.trained.values():
            for p in weights.values():
                p.requires_grad_(True)
        checkpoint.load(path, self._state(), meta["warm"])
        self.step, self.minutes, self.updates = meta["step"], meta["minutes"], meta["updates"]

    def save(self) -> None:
        meta = {
            "kind": self.stage.settings.kind, "step": self.step, "minutes": self.minutes, "updates": self.updates,
            "seed": self.seed, "seed_version": self.seed_version,
        }  # fmt: skip
        checkpoint.save(self.folder, self._state(), meta)

    def _state(self) -> checkpoint.State:
        return checkpoint.State(self.parts, self.trained, self.optimisers, self.average.values)

    def export(self) -> None:
        averaged = self.average.whole(self.parts[self.main])
        if self.world.rank == 0:
            self.stage.export(averaged, self.folder)
        self.world.wait()  # the next stage reads it

    def one(self, batch: Any, progress: float) -> dict[str, float]:
        """One update.

        Raises:
            FilmwrightError: loss or gradient became NaN; nothing was updated.
        """
        part = self.stage.part(self.step)
        # alike everywhere: what is not sharded stays equal
        torch.manual_seed(stable_seed(self.seed, self.step, version=self.seed_version))
        for network in self.stage.sharded():
            close_up(network)
        for name, weights in self.trained.items():
            for p in weights.values():
                p.requires_grad_(name == part)
        for optimiser in self.optimisers[part]:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(group["peak"], self.step, self.settings.warmup_steps, progress)
        with kept_weights(self.stage.keeps_attention):
            losses = self.stage.loss(batch, self.step, progress)
            said = self.world.mean(losses)
            self._expect_finite("loss", said["loss"])
            losses["loss"].backward()
        self.world.average_gradients(self.trained[part].values())
        norm = nn.utils.clip_grad_norm_(self.trained[part].values(), self.settings.clip)
        self._expect_finite("gradient", float(whole(norm)))
        for optimiser in self.optimisers[part]:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if part == self.main:
            self.updates += 1
            self.average.update(self.parts[part], self.updates)
        self.stage.after_step(part)
        self.step += 1
        return said

    def _expect_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise FilmwrightError(
                f"stage {self.stage.name}: the {what} became {value} at step {self.step} (seed {self.seed}, batch "
                f"{self.step}); the last good state is {self.folder / checkpoint.FOLDER}: lower the learning rate and go on"
            )

    def go(self, budget: Budget) -> None:
        """Trains until the budget is spent.

        Raises:
            FilmwrightError: NaN, or a checkpoint that could not be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        minutes = budget.minutes or 0.0
        if budget.steps is None and self.minutes >= minutes:
            minutes += self.minutes  # asked for once more: as long again
        began = time.monotonic() - self.minutes * 60
        last_save = last_report = self.world.first_says(time.monotonic())  # all must save in the same step
        with (
            closing(_Log(self.folder, self.step, self.world.rank == 0)) as log,
            closing(prefetch(self.stage.batch, self.step)) as batches,
        ):
            for batch in batches:
                now = self.world.first_says(time.monotonic())
                self.minutes = (now - began) / 60 if self.world.rank == 0 else self.minutes
                done = self.step / budget.steps if budget.steps else self.world.first_says(self.minutes / minutes)
                if done >= 1.0:
                    break
                losses = self.one(batch, done)
                if now - last_report > REPORT_SECONDS or self.step == budget.steps:
                    rate = log.rate(self.step)
                    left = (
                        (budget.steps - self.step) / max(rate, 1e-9) if budget.steps else (minutes - self.minutes) * 60
                    )
                    entry = Progress(self.stage.name, self.step, done, left, losses, rate)
                    log.write(entry)
                    if self.world.rank == 0:
                        self.report(entry)
                    last_report = now
                if now - last_save > SAVE_SECONDS:
                    self.save()
                    last_save = now
        self.save()
        self.export()


class _Log:
    """`log.jsonl`, and TensorBoard's files where it is installed."""

    def __init__(self, folder: Path, step: int, writes: bool) -> None:
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8") if writes else None
        self._board: Any = None
        self._last = (time.monotonic(), step)
        if writes:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._board = SummaryWriter(str(folder / "tensorboard"))

    def rate(self, step: int) -> float:
        """Steps per second since the last time it was asked."""
        then, before = self._last
        self._last = (time.monotonic(), step)
        return (step - before) / max(1e-9, self._last[0] - then)

    def write(self, entry: Progress) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(vars(entry)) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in [*entry.losses.items(), ("steps_per_second", entry.steps_per_second)]:
                self._board.add_scalar(f"{entry.stage}/{name}", value, entry.step)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
