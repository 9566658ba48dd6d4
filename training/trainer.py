"""One loop for every training stage: a time budget, an average of the weights, checkpoints that survive a kill."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..storyboard.errors import FilmwrightError


class Stage(Protocol):
    """What a stage brings to the loop."""

    name: str
    learning_rate: float
    """AdamW's. Muon's, for the matrices of transformer blocks, is `MUON_RATIO` times as high."""

    @property
    def model(self) -> nn.Module:
        """Holds every trained parameter."""

    def batch(self, seed: int) -> Any:
        """Makes the batch of a step on the CPU; runs on another thread than `loss`."""

    def loss(self, batch: Any, progress: float) -> dict[str, Tensor]:
        """The terms of the loss; `loss` is what is minimised, the others are reported."""

    def after_step(self, ema: nn.Module) -> None:
        """Called after each update with the averaged model."""

    def save(self, ema: nn.Module, folder: Path) -> None:
        """Writes the averaged weights for the next stage."""


@dataclass(frozen=True)
class Progress:
    """One report of a running stage."""

    stage: str
    step: int
    minutes: float
    budget_minutes: float
    losses: dict[str, float]
    steps_per_second: float


Report = Callable[[Progress], None]
MUON_RATIO = 2.0


def build_optimisers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of transformer blocks, AdamW for the rest; each group keeps its `peak` rate."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if ".blocks." in name and p.ndim == 2]
    others = [p for name, p in named if not (".blocks." in name and p.ndim == 2)]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([{"params": others, "peak": rate}], lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
    ]
    if matrices:
        peak = rate * MUON_RATIO
        muon = torch.optim.Muon(
            [{"params": matrices, "peak": peak}], lr=peak, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        optimisers.append(muon)
    return optimisers


def prefetch(make: Callable[[int], Any], first: int, ahead: int = 3) -> Iterator[Any]:
    """Batches `first`, `first + 1`, … made on one other thread, at most `ahead` before they are needed."""
    with ThreadPoolExecutor(max_workers=1) as pool:
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


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Linear warm-up over 100 steps (also after a resume), then a cosine over the time budget down to 3 %."""
    return peak * min(1.0, (step + 1) / 100) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def ramped_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential average that follows closely at first: early weights are far from where they end."""

    def average(mean: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
        return mean.lerp(now, 1.0 - min(decay, (1 + float(count)) / (10 + float(count))))

    return average


def run_stage(
    stage: Stage, folder: Path, *, minutes: float, seed: int, report: Report, ema_decay: float = 0.995
) -> None:
    """Trains a stage until its minutes are spent; goes on from `folder/checkpoint.pt` where there is one.

    Raises:
        FilmwrightError: the loss became NaN; the last checkpoint is kept and named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    model = stage.model
    ema = torch.optim.swa_utils.AveragedModel(model, avg_fn=ramped_average(ema_decay))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimisers = build_optimisers(model, stage.learning_rate)
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        for optimiser, state in zip(optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        step, spent = saved["step"], saved["minutes"]
    budget = spent + minutes if spent >= minutes else minutes
    began, first = time.monotonic() - spent * 60, step
    last_save = last_report = time.monotonic()
    reported = step
    log = (folder / "log.jsonl").open("a", encoding="utf-8")
    batches = prefetch(lambda index: stage.batch(seed + index), step)

    def save() -> None:
        state = {
            "model": model.state_dict(), "ema": ema.state_dict(), "optimisers": [o.state_dict() for o in optimisers],
            "step": step, "minutes": (time.monotonic() - began) / 60,
        }  # fmt: skip
        temporary = checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, checkpoint)
        stage.save(ema.module, folder)

    try:
        for batch in batches:
            now = time.monotonic()
            progress = (now - began) / 60 / budget
            if progress >= 1.0:
                break
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(group["peak"], step - first, progress)
                optimiser.zero_grad(set_to_none=True)
            losses = stage.loss(batch, progress)
            total = losses["loss"]
            if not torch.isfinite(total):
                raise FilmwrightError(
                    f"stage {stage.name}: the loss became {float(total.detach())} at step {step} (batch seed {seed + step}); "
                    f"the last good state is {checkpoint}: lower the learning rate or go on from there"
                )
            total.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            for optimiser in optimisers:
                optimiser.step()
            ema.update_parameters(model)
            stage.after_step(ema.module)
            step += 1
            if now - last_report > 5.0:
                rate = (step - reported) / (now - last_report)
                entry = Progress(
                    stage.name,
                    step,
                    (now - began) / 60,
                    budget,
                    {k: float(v.detach()) for k, v in losses.items()},
                    rate,
                )
                log.write(json.dumps(vars(entry)) + "\n")
                log.flush()
                report(entry)
                last_report, reported = now, step
            if now - last_save > 60.0:
                save()
                last_save = time.monotonic()
    finally:
        batches.close()  # type: ignore[attr-defined]
        log.close()
    save()
