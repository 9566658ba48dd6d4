"""Where claims are measured: the weights that every arm goes on from, the readers, and whatever was trained or measured before.

Everything is kept in a folder and not made again, so a run that stopped goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..generator.bundle import Bundle, load_bundle
from ..generator.memory import parse_memory
from ..generator.profiles import folder_digest, part_folder
from ..generator.reader import FrameReader, load_reader
from ..generator.video_generator import VideoGenerator
from ..storyboard.errors import InputError
from ..storyboard.files import replacing, write_text
from ..storyboard.vocabulary import FULL
from ..training import checkpoint
from ..training.recipe import Recipe
from ..training.run import train
from ..training.run_folder import Order
from ..training.sizes import SIZES
from .films import Seen

STRIP_FRAMES = 8


@dataclass(frozen=True)
class Kept:
    """What was measured, and a picture of frames of the first film."""

    found: dict[str, Any]
    strip: Path


class Lab:
    """Where claims are measured.

    Args:
        weights: a folder of weights of ours: what every arm goes on from.
        films: held-out films (or shots) for each number.
        minutes: of training for each stage of an arm that needs weights of its own.

    Raises:
        InputError: weights without a reader, a student of few steps, or a folder of another lab.
    """

    def __init__(
        self, weights: Path, folder: Path, *, films: int, minutes: float, seed: int = 0, tell: Callable[[str], None] = lambda text: None
    ) -> None:  # fmt: skip
        self.weights, self.folder, self.films = weights, folder, films
        self.minutes, self.seed, self.tell = minutes, seed, tell
        reading = part_folder(weights, "reader")
        if not (reading / "config.json").is_file():
            raise InputError(f"{weights} has no reader: claims are measured on weights of ours, with theirs")
        self._bundle = lru_cache(maxsize=3)(lambda path: load_bundle(path, torch.device("cpu")))
        if self._bundle(weights).sampling.guidance == 1.0:
            raise InputError(
                f"{weights} is a student, sampled without guidance: claims go on from weights of many steps, such as nano"
            )
        self._sign()
        self.known = self._bundle(weights).vocabulary or FULL
        self.reader: FrameReader = load_reader(reading, self.known)

    def _sign(self) -> None:
        """Says in the folder what its results follow from; they are worth nothing for anything else."""
        signed = {"weights": folder_digest(self.weights), "minutes": self.minutes, "seed": self.seed}
        path = self.folder / "lab.json"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(signed, indent=1) + "\n")
            return
        before = json.loads(path.read_text(encoding="utf-8"))
        for name, value in signed.items():
            if before.get(name) != value:
                raise InputError(
                    f"{self.folder} holds results of other {name} ({before.get(name)}, now {value}): choose another -o"
                )

    def generator(self, memory: str, weights: Path | None = None, steps: int | None = None) -> VideoGenerator:
        """Weights under a memory; `steps` of Euler's method instead of their own sampling."""
        bundle: Bundle = self._bundle(weights or self.weights)
        if steps is not None:
            bundle = replace(bundle, sampling=replace(bundle.sampling, kind="euler", steps=steps))
        return VideoGenerator(bundle, parse_memory(memory))

    def guidance(self) -> dict[str, float]:
        """How the lab's weights are guided, as settings of a tuning stage: arms that go on from them differ in their training alone."""
        sampling = self._bundle(self.weights).sampling
        return {
            "guidance": sampling.guidance,
            "guide_above": sampling.guide_above,
            "recall_above": sampling.recall_above,
        }

    def kept(self, name: str, measure: Callable[[Seen], dict[str, Any]]) -> Kept:
        """What was measured under that name before, else measured now and kept, with a strip of the first film's frames."""
        path = self.folder / "measured" / f"{name}-{self.films}.json"
        if not path.is_file():
            self.tell(f"measuring {name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            strip: list[Tensor] = []
            found = measure(lambda frames: None if strip else strip.append(frames))
            _save_strip(strip[0], path.with_suffix(".png"))
            write_text(path, json.dumps(found))
        return Kept(json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".png"))

    def trained(
        self, name: str, *stages: dict[str, Any], after: str | None = None, memory: str = "window(3)", length: int = 3,
        times: float = 1.0, like: str | None = None, scratch: bool = False,
    ) -> Path:  # fmt: skip
        """Weights that these stages make of the lab's own (their `base`), each for the lab's minutes, on films in the words that
        those know; returns their folder.

        Args:
            after: what was trained before under that name, whose stages these go on from.
            times: as many minutes.
            like: what was trained before under that name; these take as many steps, however busy the machine is meanwhile.
            scratch: from nothing instead, but for the autoencoder and the text encoder.
        """
        folder, noted = self.folder / "trained" / name, "stages.json"
        if (folder / noted).is_file():
            return folder / "model"
        self.tell(f"training {name}: {self.minutes * times * len(stages):g} minutes")
        if after is None:
            patches = any(stage.get("history_patches") for stage in stages)
            earlier = [self._base(folder, memory, patches, scratch)]
        else:
            before = self.folder / "trained" / after
            earlier = json.loads((before / noted).read_text(encoding="utf-8"))
            for stage in earlier:
                skipped = shutil.ignore_patterns(checkpoint.FOLDER, "log.jsonl", "tensorboard")
                shutil.copytree(before / stage["name"], folder / stage["name"], ignore=skipped, dirs_exist_ok=True)
        width = self._bundle(self.weights).profile.width
        size = next(size.name for size in SIZES.values() if size.width == width)
        made = [*earlier, *stages]
        recipe = Recipe.model_validate({
            "name": size, "size": size, "memory": memory, "chunk_latents": length, "words": self.known.words(), "stages": made,
        })  # fmt: skip
        for stage in stages:
            steps = self.steps()[f"{like}/{stage['name']}"] if like else None
            order = Order(folder, "cpu", self.minutes * times, steps, stage["name"], self.seed, scratch)
            train(recipe, order, lambda progress: None)
        write_text(folder / noted, json.dumps(made, indent=1))
        return folder / "model"

    def steps(self) -> dict[str, int]:
        """Steps of everything that was trained here, as `NAME/STAGE`."""
        found: dict[str, int] = {}
        for folder in sorted(path.parent for path in self.folder.glob("trained/*/*/checkpoint")):
            whole = checkpoint.find(folder)
            if whole is not None:
                found[f"{folder.parent.name}/{folder.name}"] = int(whole[1]["step"])
        return found

    def _base(self, folder: Path, memory: str, history_patches: bool, scratch: bool) -> dict[str, Any]:
        """The lab's own weights as a stage that has run; where the transformer is to come from nothing, as one that taught reading
        alone."""
        parts = ["text_encoder", "tokenizer", "vae", "clip", "reader"]
        for part in parts if scratch else ["transformer", *parts]:
            shutil.copytree(part_folder(self.weights, part), folder / "base" / part, dirs_exist_ok=True)
        if scratch:
            return {"name": "base", "kind": "text", "learning_rate": 1e-4}
        return {
            "name": "base", "kind": "tuning", "learning_rate": 1e-4, "memories": {memory: 1}, "history_patches": history_patches,
        }  # fmt: skip


def _save_strip(frames: Tensor, path: Path) -> None:
    """A row of frames [F, 3, H, W], evenly over time."""
    chosen = torch.linspace(STRIP_FRAMES / 2, len(frames) - 1, STRIP_FRAMES).long().clamp(max=len(frames) - 1)
    row = torch.cat(list(frames[chosen]), dim=-1).clamp(0, 1).mul(255).round().to(torch.uint8)
    with replacing(path) as temporary:
        Image.fromarray(row.permute(1, 2, 0).numpy()).save(temporary, format="PNG")
