"""What can be measured of frames: light, colour and motion by arithmetic, likeness by the bundle's own small CLIP, who is there
by its own frame reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..storyboard.images import load_reference
from ..storyboard.stage import Frames, Measures
from .clip import Clip
from .reader import FrameReader, read

REFERENCE_PIXELS = 256


def _tensor(frames: Frames) -> Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def measure_frames(
    frames: Frames,
    prompt: str,
    references: Sequence[Path],
    before: Frames | None,
    clip: Clip | None,
    reader: FrameReader | None,
    name: str,
) -> Measures:
    """See `storyboard.stage.Measures`."""
    light = frames.astype(np.float32) / 255
    brightness = light.mean(axis=(1, 2, 3))
    colour = light.mean(axis=(1, 2))
    steps = np.abs(np.diff(light, axis=0)).mean(axis=(1, 2, 3)) if len(light) > 1 else np.zeros(1)
    some = frames[:: max(1, len(frames) // 4)]
    told = alike = None
    if clip is not None:
        features = clip.images(_tensor(some))
        told = float((features @ clip.texts([prompt]).T).mean())
        if references:
            images = [
                np.asarray(load_reference(path).resize((REFERENCE_PIXELS, REFERENCE_PIXELS))) for path in references
            ]
            alike = float((features @ clip.images(_tensor(np.stack(images))).T).max(dim=1).values.mean())
    reading = read(reader, _tensor(some)) if reader is not None else None
    change = None
    if before is not None:
        change = float(np.abs(light[0] - before[-1].astype(np.float32) / 255).mean())
    return Measures(
        prompt=told, reference=alike, cut=change, motion=float(steps.mean()),
        exposure_drift=float((brightness[-1] - brightness[0]) / max(1e-3, float(brightness.mean()))),
        colour_drift=float(np.linalg.norm(colour[-1] - colour[0]) / 3**0.5),
        flicker=float(np.abs(np.diff(brightness)).max()) if len(light) > 1 else 0.0,
        computed_by=f"CLIP of {name}" if clip is not None else "pixel arithmetic",
        puppets=reading.kinds() if reading else None,
        place=(reading.frame["set"], reading.frame["time"]) if reading else None,
    )  # fmt: skip
