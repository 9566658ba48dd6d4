"""What can be measured of frames: light, colour and motion by arithmetic, likeness by the bundle's own small CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..storyboard.stage import Frames, Measures
from .text import TEXT_TOKENS, tokenize

CLIP_PIXELS = 64


def clip_pixels(frames_FCHW: Tensor) -> Tensor:
    """Frames in 0 … 1 to the small CLIP's input [F, 3, 64, 64] in -1 … 1."""
    return F.interpolate(frames_FCHW, (CLIP_PIXELS, CLIP_PIXELS), mode="area") * 2 - 1


def image_features(clip: Any, frames_FCHW: Tensor) -> Tensor:
    """Unit vectors [F, d]."""
    device = next(clip.parameters()).device
    with torch.no_grad():
        pooled = clip.vision_model(pixel_values=clip_pixels(frames_FCHW).to(device)).pooler_output
        return F.normalize(clip.visual_projection(pooled), dim=-1)


def text_features(clip: Any, tokenizer: Any, prompts: list[str]) -> Tensor:
    """Unit vectors [B, d]."""
    device = next(clip.parameters()).device
    ids, mask = (t.to(device) for t in tokenize(tokenizer, prompts, TEXT_TOKENS))
    with torch.no_grad():
        pooled = clip.text_model(input_ids=ids, attention_mask=mask).pooler_output
        return F.normalize(clip.text_projection(pooled), dim=-1)


def _tensor(frames: Frames) -> Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def measure_frames(
    frames: Frames,
    prompt: str,
    references: Sequence[Path],
    before: Frames | None,
    clip: tuple[Any, Any] | None,
    name: str,
) -> Measures:
    """See `storyboard.stage.Measures`."""
    light = frames.astype(np.float32) / 255
    brightness = light.mean(axis=(1, 2, 3))
    colour = light.mean(axis=(1, 2))
    steps = np.abs(np.diff(light, axis=0)).mean(axis=(1, 2, 3)) if len(light) > 1 else np.zeros(1)
    told = alike = None
    if clip is not None:
        features = image_features(clip[0], _tensor(frames[:: max(1, len(frames) // 4)]))
        told = float((features @ text_features(clip[0], clip[1], [prompt]).T).mean())
        if references:
            images = [
                np.asarray(Image.open(path).convert("RGB").resize((CLIP_PIXELS, CLIP_PIXELS))) for path in references
            ]
            alike = float((features @ image_features(clip[0], _tensor(np.stack(images))).T).max(dim=1).values.mean())
    change = None
    if before is not None:
        change = float(np.abs(light[0] - before[-1].astype(np.float32) / 255).mean())
    return Measures(
        prompt=told, reference=alike, cut=change, motion=float(steps.mean()),
        exposure_drift=float(brightness[-1] - brightness[0]),
        colour_drift=float(np.linalg.norm(colour[-1] - colour[0]) / 3**0.5),
        flicker=float(np.abs(np.diff(brightness)).max()) if len(light) > 1 else 0.0,
        computed_by=f"small CLIP of {name}" if clip is not None else "pixel arithmetic",
    )  # fmt: skip
