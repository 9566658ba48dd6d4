"""Stage 4: the eyes. A small CLIP (for the critic and for references) and the frame reader (for evaluation), both on the
same random frames, half of which have been through the autoencoder, as generated ones have."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..evaluation.readers import LOOKS, READ_HEIGHT, READ_WIDTH, WHOLE, WORDS, FrameReader, labels_of
from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.clip import Clip
from ..generator.text import TEXT_TOKENS, build_tokenizer, tokenize
from ..storyboard.caption import Staging, caption
from ..storyboard.vocabulary import HUES, KINDS
from .growth import Rows, grow, shared_rows, words_of
from .recipe import EyesSettings
from .sizes import Size
from .world import FPS, SPLITS, random_moment

BACKGROUND_WEIGHT = 0.3
"""Nine cells of ten show no puppet."""
READ_FRAME = 2
"""The frame of a clip that is looked at: its latent frame holds two on either side."""


@dataclass(frozen=True)
class FrameBatch:
    """Short clips [B, 4, 3, H, W], their captions, captions that differ from them in one thing, and their labels."""

    clips: Tensor
    captions: list[str]
    rivals: list[str]
    labels: dict[str, Tensor]


def random_frames(seed: int, count: int, size: Size) -> FrameBatch:
    """`count` random moments of the films that start at `seed`."""
    clips, captions, rivals, labels = [], [], [], []
    for index in range(count):
        scene = random_moment(seed + index, width=size.width, height=size.height)
        moments = torch.arange(4) / FPS + random.Random(f"frames/{seed + index}").uniform(0.0, 3.0)
        clips.append(scene.draw(moments).frames)
        captions.append(caption(scene.staging))
        rivals.append(caption(rival_staging(random.Random(f"rival/{seed + index}"), scene.staging)))
        labels.append(labels_of(scene, float(moments[READ_FRAME])))
    return FrameBatch(
        torch.stack(clips), captions, rivals, {k: torch.stack([one[k] for one in labels]) for k in labels[0]}
    )


def rival_staging(rng: random.Random, staging: Staging) -> Staging:
    """The same with one puppet of another kind or hue, or without it: what a CLIP must tell apart to be of use to a critic."""
    index = rng.randrange(len(staging.roles))
    role, others = staging.roles[index], (*staging.roles[:index], *staging.roles[index + 1 :])
    what = rng.choice(("kind", "kind", "hue", "gone"))
    if what == "gone":
        view = "medium" if staging.view in ("close", "over") else staging.view
        return replace(staging, roles=others, view=view)
    if what == "hue" and role.appearance is not None:
        hue = rng.choice([h for h in HUES if h != role.appearance.hue])
        role = replace(role, appearance=replace(role.appearance, hue=hue))
    else:
        role = replace(role, kind=rng.choice([k for k in KINDS if k not in {r.kind for r in staging.roles}]))
    return replace(staging, roles=(*staging.roles[:index], role, *staging.roles[index + 1 :]))


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


def grown_clip(folder: Path, words: list[str], tokenizer: Any) -> Any:
    """A trained CLIP for another tokenizer; `words`: of the one that it was trained with."""
    from transformers import CLIPModel

    trained: Any = CLIPModel.from_pretrained(folder)
    positions = trained.config.text_config.max_position_embeddings

    def spelt(name: str) -> Rows:
        if "position" in name:
            return [(row, row) for row in range(min(TEXT_TOKENS, positions))]
        return shared_rows(words_of(tokenizer), words)

    fresh = build_clip(len(tokenizer))
    grow(fresh, {n: v for n, v in trained.float().state_dict().items() if not n.endswith("position_ids")}, spelt)
    return fresh


def through(autoencoder: TinyVideoAutoencoder, clips: Tensor) -> Tensor:
    """Clips [B, T, 3, H, W] as the autoencoder gives them back."""
    with torch.no_grad(), torch.autocast(clips.device.type, torch.bfloat16):
        seen, _ = autoencoder.decode(autoencoder.encode(clips))
    return seen.float()


class EyesStage:
    plain_attention = False

    def __init__(
        self, settings: EyesSettings, size: Size, autoencoder: TinyVideoAutoencoder, device: torch.device
    ) -> None:
        self.settings, self.name = settings, settings.name
        self.size, self.autoencoder, self.device = size, autoencoder, device
        self.tokenizer = build_tokenizer()
        self.nets = nn.ModuleDict({"clip": build_clip(len(self.tokenizer)), "reader": FrameReader(WORDS)}).to(device)

    def go_on_from(self, clip: Path, reader: Path, words: list[str]) -> None:
        """Starts from trained nets; `words`: of the tokenizer that the CLIP was trained with."""
        read = FrameReader.from_pretrained(reader, use_safetensors=True, low_cpu_mem_usage=False)

        def said(name: str) -> Rows:
            what = name.split(".")[1]  # frame.set.weight, cells.kind.bias
            return shared_rows(WORDS[what], read.words[what], offset=1 if what == "kind" else 0)

        self.nets["clip"].load_state_dict(grown_clip(clip, words, self.tokenizer).state_dict())
        grow(self.nets["reader"], read.float().state_dict(), said)

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {"eyes": self.nets}

    def part(self, step: int) -> str:
        return "eyes"

    def learning_rate(self, part: str) -> float:
        return self.settings.learning_rate

    def sharded(self) -> list[nn.Module]:
        return []

    def batch(self, step: int) -> FrameBatch:
        count = self.settings.frames
        return random_frames(SPLITS["train"] + 500_000_000 + step * count, count, self.size)

    def loss(self, batch: FrameBatch, step: int, progress: float) -> dict[str, Tensor]:
        clips = batch.clips.to(self.device)
        clips[::2] = through(self.autoencoder, clips[::2])
        frames = clips[:, READ_FRAME]
        labels = {name: value.to(self.device) for name, value in batch.labels.items()}
        clip: Any = self.nets["clip"]
        ids, mask = (t.to(self.device) for t in tokenize(self.tokenizer, batch.captions + batch.rivals, TEXT_TOKENS))
        pixels = Clip(clip, self.tokenizer, TEXT_TOKENS).pixels(frames)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            read = self.nets["reader"](F.interpolate(frames, (READ_HEIGHT, READ_WIDTH), mode="area"))
            seen = clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output).float()
            told = clip.text_projection(clip.text_model(input_ids=ids, attention_mask=mask).pooler_output).float()
        out = {name: value.float() for name, value in read.items()}
        reading = sum(F.cross_entropy(out[name], labels[name]) for name in WHOLE)
        weight = torch.ones(1 + len(KINDS), device=self.device)
        weight[0] = BACKGROUND_WEIGHT
        reading = reading + 4 * F.cross_entropy(out["kind"], labels["kind"], weight, ignore_index=-1)
        for name in LOOKS:
            reading = reading + F.cross_entropy(out[name], labels[name], ignore_index=-1)
        logits = clip.logit_scale.exp() * F.normalize(seen, dim=-1) @ F.normalize(told, dim=-1).T
        same = torch.arange(len(frames), device=self.device)
        contrast = (F.cross_entropy(logits, same) + F.cross_entropy(logits.T[: len(frames)], same)) / 2
        puppets = labels["kind"] > 0
        right = (out["kind"].argmax(dim=1) == labels["kind"])[puppets].float().mean()
        return {"loss": reading + contrast, "contrast": contrast, "puppets_right": right}

    def after_step(self, part: str) -> None:
        pass

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        nets: Any = copy.deepcopy(self.nets)
        nets.load_state_dict(averaged)
        nets["clip"].save_pretrained(folder / "clip")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        nets["reader"].save_pretrained(folder / "reader")


def measure_prompt_floor(clip: Clip, size: Size, autoencoder: TinyVideoAutoencoder, device: torch.device) -> float:
    """Halfway between the similarity of validation frames to their own captions and to others'."""
    batch = random_frames(SPLITS["validation"], 64, size)
    frames = through(autoencoder, batch.clips.to(device))[:, READ_FRAME]
    similar = clip.images(frames) @ clip.texts(batch.captions).T
    own = similar.diagonal().mean()
    others = (similar.sum() - similar.diagonal().sum()) / (similar.numel() - len(similar))
    return round(float((own + others) / 2), 3)
