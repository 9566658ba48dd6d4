"""Runs on the smallest Wan there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filmwright.generator.autoencoder import TinyVideoAutoencoder
from filmwright.training.parallel import World
from filmwright.training.recipe import Recipe
from filmwright.training.run_folder import Order
from filmwright.training.shop import Shop
from filmwright.training.sizes import SIZES
from filmwright.training.trainer import Budget, Progress, Run

SMALL = replace(SIZES["nano"], name="small", width=32, height=16, heads=2, head_width=12, layers=2, ffn=24)
CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
FILMS = {"films": 2, "chunks": 3, "learning_rate": 3e-3, "precision": "fp32", "warmup_steps": 1}
CLIPS: dict[str, Any] = {"name": "eye", "kind": "autoencoder", "clips": 1, "learning_rate": 3e-3}
TEXT: dict[str, Any] = {"name": "text", "kind": "text", "captions": 8, "learning_rate": 3e-3, "warmup_steps": 1}
POLICIES = ["window(1)", "sink(1)+window(1)", "routed(2)+window(1)", "state(1)+window(1)", "shots(2)+window(1)"]
WEAVER: dict[str, Any] = {"memories": {"shots(2)+compressed": 1}, "cuts": 0.3}


def quiet(progress: Progress) -> None: ...


def recipe(*stages: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.model_validate({"name": "test", "size": "small", "memory": "window(1)", "stages": stages} | more)


def tuning(**more: Any) -> dict[str, Any]:
    return {"name": "base", "kind": "tuning", **FILMS, "memories": dict.fromkeys(POLICIES, 1.0)} | more


def few_steps(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, **FILMS, "memories": {"window(1)": 1, "state(1)+routed(1)": 1}} | more


def put_autoencoder(folder: Path) -> None:
    torch.manual_seed(0)
    TinyVideoAutoencoder().save_pretrained(folder / "eye" / "vae")


def shop(folder: Path, *stages: dict[str, Any], **more: Any) -> Shop:
    """Stages after an autoencoder that nobody trained."""
    put_autoencoder(folder)
    torch.manual_seed(0)
    return Shop(recipe(CLIPS, *stages, **more), Order(folder, scratch=True), ALONE)


def run(made: Shop, name: str, steps: int) -> Run:
    found = Run(made.stage(made.recipe.stage(name)), made.run.folder / name, ALONE, 0, quiet)
    found.resume()
    found.go(Budget(steps=steps))
    return found
