"""Stage 4: the eyes. A small CLIP (for the critic and for references) and the frame reader (for evaluation), both on the
same random frames, half of which have been through the autoencoder, as generated ones have."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..animatic.stage import Scene
from ..evaluation.readers import FrameReader, labels_of
from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.clip import Clip
from ..generator.text import TEXT_TOKENS, build_tokenizer, tokenize
from ..storyboard.caption import caption
from .sizes import Size
from .world import FPS, SPLITS, random_film

FRAMES_PER_BATCH = 32


@dataclass(frozen=True)
class FrameBatch:
    """Short clips [B, 4, 3, H, W], their captions and their labels."""

    clips: Tensor
    captions: list[str]
    labels: dict[str, Tensor]


def random_frames(seed: int, count: int, size: Size) -> FrameBatch:
    """`count` random moments of the films that start at `seed`."""
    clips, captions, labels = [], [], []
    for index in range(count):
        film = random_film(seed + index)
        rng = random.Random(f"moment/{seed + index}")
        staging = rng.choice(film.shots).staging
        scene = Scene(staging, width=size.width, height=size.height, layout_seed=rng.randrange(1 << 30))
        clips.append(scene.draw(torch.arange(4) / FPS + rng.uniform(0.0, 3.0)).frames)
        captions.append(caption(staging))
        labels.append(labels_of(staging))
    return FrameBatch(torch.stack(clips), captions, {k: torch.stack([one[k] for one in labels]) for k in labels[0]})


def build_clip(vocabulary: int) -> Any:
    """A CLIP of about a million parameters."""
    from transformers import CLIPConfig, CLIPModel

    both = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "projection_dim": 64}
    config = CLIPConfig(
        text_config={**both, "num_hidden_layers": 2, "vocab_size": vocabulary, "max_position_embeddings": TEXT_TOKENS,
                     "eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 0},
        vision_config={**both, "num_hidden_layers": 3, "image_size": 64, "patch_size": 8},
        projection_dim=64,
    )  # fmt: skip
    return CLIPModel(config)


class EyesStage:
    name = "eyes"
    learning_rate = 1e-3

    def __init__(self, size: Size, autoencoder: TinyVideoAutoencoder, device: torch.device) -> None:
        self.size, self.autoencoder, self.device = size, autoencoder, device
        self.tokenizer = build_tokenizer()
        self.nets = nn.ModuleDict({"clip": build_clip(len(self.tokenizer)), "reader": FrameReader()}).to(device)

    @property
    def model(self) -> nn.Module:
        return self.nets

    def batch(self, seed: int) -> FrameBatch:
        return random_frames(SPLITS["train"] + 500_000_000 + seed * FRAMES_PER_BATCH, FRAMES_PER_BATCH, self.size)

    def frames(self, batch: FrameBatch, half: bool) -> Tensor:
        """One frame per clip; all through the autoencoder, or only every second."""
        clips = batch.clips.to(self.device)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            part = clips[::2] if half else clips
            seen, _ = self.autoencoder.decode(self.autoencoder.encode(part))
        if half:
            clips[::2] = seen.float()
        else:
            clips = seen.float()
        return clips[:, 2]

    def loss(self, batch: FrameBatch, progress: float) -> dict[str, Tensor]:
        frames = self.frames(batch, half=True)
        labels = {name: value.to(self.device) for name, value in batch.labels.items()}
        out = self.nets["reader"](F.interpolate(frames, (64, 128), mode="area"))
        reading = sum(F.cross_entropy(out[name], labels[name]) for name in ("set", "time", "view"))
        reading = reading + F.binary_cross_entropy_with_logits(out["kinds"], labels["kinds"]) * 4
        reading = reading + F.cross_entropy(out["hues"].flatten(0, 1), labels["hues"].flatten(), ignore_index=-1)
        clip: Any = self.nets["clip"]
        ids, mask = (t.to(self.device) for t in tokenize(self.tokenizer, batch.captions, TEXT_TOKENS))
        seen = clip.visual_projection(
            clip.vision_model(pixel_values=Clip(clip, self.tokenizer, TEXT_TOKENS).pixels(frames)).pooler_output
        )
        told = clip.text_projection(clip.text_model(input_ids=ids, attention_mask=mask).pooler_output)
        logits = clip.logit_scale.exp() * F.normalize(seen, dim=-1) @ F.normalize(told, dim=-1).T
        same = torch.arange(len(frames), device=self.device)
        contrast = (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2
        right = (out["kinds"] > 0).eq(labels["kinds"] > 0).float().mean()
        return {"loss": reading + contrast, "contrast": contrast, "kinds_right": right}

    def after_step(self, ema: nn.Module) -> None:
        pass

    def save(self, ema: nn.Module, folder: Path) -> None:
        nets: Any = ema
        nets["clip"].save_pretrained(folder / "clip")
        nets["reader"].save_pretrained(folder / "reader")


def measure_prompt_floor(clip: Clip, stage: EyesStage) -> float:
    """Halfway between the similarity of validation frames to their own captions and to others'."""
    batch = random_frames(SPLITS["validation"], 64, stage.size)
    frames = stage.frames(batch, half=False)
    similar = clip.images(frames) @ clip.texts(batch.captions).T
    own = similar.diagonal().mean()
    others = (similar.sum() - similar.diagonal().sum()) / (similar.numel() - len(similar))
    return round(float((own + others) / 2), 3)
