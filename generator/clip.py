"""A CLIP: pictures and prompts as unit vectors that lie close when they belong together.

Ours is a small one trained in the small world; beside Wan weights any CLIP of transformers can stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..storyboard.errors import InputError
from .loading import load_part, load_tokenizer
from .text import tokenize
from .weights_files import read_config

KEPT_PROMPTS = 512


@dataclass
class Clip:
    """A `CLIPModel` and how it wants its input.

    Attributes:
        tokens: longest prompt, the end token included.
        mean, std: of the pixels, as it was trained.
    """

    model: Any
    tokenizer: Any
    tokens: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    _told: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _turn: Any = field(default_factory=Lock, repr=False)

    def pixels(self, frames_FCHW: Tensor) -> Tensor:
        """Frames in 0 … 1 as the model wants them [F, 3, S, S]."""
        size = self.model.config.vision_config.image_size
        sized = F.interpolate(frames_FCHW, (size, size), mode="area")
        mean, std = (torch.tensor(v, device=sized.device)[:, None, None] for v in (self.mean, self.std))
        return (sized - mean) / std

    def images(self, frames_FCHW: Tensor) -> Tensor:
        """Unit vectors [F, d]."""
        device = next(self.model.parameters()).device
        with torch.no_grad():
            pooled = self.model.vision_model(pixel_values=self.pixels(frames_FCHW.to(device))).pooler_output
            return F.normalize(self.model.visual_projection(pooled), dim=-1)

    def texts(self, prompts: list[str]) -> Tensor:
        """Unit vectors [B, d]; a prompt is looked at once, not with every chunk. Threads take turns."""
        with self._turn:
            fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._told]
            if fresh:
                if len(self._told) > KEPT_PROMPTS:
                    self._told.clear()
                    fresh = list(dict.fromkeys(prompts))
                self._told |= dict(zip(fresh, self._look_at(fresh), strict=True))
            return torch.stack([self._told[prompt] for prompt in prompts])

    def _look_at(self, prompts: list[str]) -> Tensor:
        device = next(self.model.parameters()).device
        ids, mask = (t.to(device) for t in tokenize(self.tokenizer, prompts, self.tokens))
        with torch.no_grad():
            pooled = self.model.text_model(input_ids=ids, attention_mask=mask).pooler_output
            return F.normalize(self.model.text_projection(pooled), dim=-1)


def _colour(path: Path, given: dict[str, Any], key: str) -> tuple[float, ...]:
    """Three numbers of a preprocessor's settings."""
    value = given.get(key)
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(part, int | float) for part in value):
        raise InputError(f"{path}: {key} {str(value)[:80]} is not three numbers: restore the folder")
    return tuple(float(part) for part in value)


def load_clip(folder: Path, tokenizer: Any, tokens: int, device: torch.device) -> Clip:
    """The CLIP of a folder; with a tokenizer or a preprocessor of its own where the folder has them."""
    from transformers import CLIPModel

    model = load_part(CLIPModel, folder).float().eval().to(device)
    clip = Clip(model, tokenizer, tokens)
    if (folder / "tokenizer_config.json").is_file():
        clip.tokenizer = load_tokenizer(folder)
        clip.tokens = model.config.text_config.max_position_embeddings
    prepared = folder / "preprocessor_config.json"
    if prepared.is_file():
        given = read_config(prepared)
        clip.mean, clip.std = (_colour(prepared, given, key) for key in ("image_mean", "image_std"))
    return clip
