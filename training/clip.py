"""The small CLIP, for the critic and for references: frames against their captions, and against captions that are wrong in one thing."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.clip import Clip
from ..generator.loading import load_part
from ..generator.precision import arithmetic
from ..generator.text import TEXT_TOKENS, build_tokenizer, tokenize
from ..storyboard.caption import Staging, caption
from ..storyboard.vocabulary import HUES, KINDS, Vocabulary
from .frames import READ_FRAME, half_through, random_moments, through
from .growth import Rows, grow, shared_rows, words_of
from .one_network import Seeing
from .settings import ClipSettings
from .sizes import Size
from .world import SPLITS


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
    """A trained CLIP for another tokenizer; `words`: of the one that it was trained with. What it sees stays as it is."""
    from transformers import CLIPModel

    trained: Any = load_part(CLIPModel, folder)
    positions = trained.config.text_config.max_position_embeddings

    def spelt(name: str) -> Rows:
        if "position" in name:
            return [(row, row) for row in range(min(TEXT_TOKENS, positions))]
        return shared_rows(words_of(tokenizer), words)

    config = copy.deepcopy(trained.config)
    config.text_config.vocab_size, config.text_config.max_position_embeddings = len(tokenizer), TEXT_TOKENS
    fresh: Any = CLIPModel(config)
    grow(fresh, {n: v for n, v in trained.float().state_dict().items() if not n.endswith("position_ids")}, spelt)
    return fresh


@dataclass(frozen=True)
class ToldFrames:
    """Short clips [B, 4, 3, H, W], their captions, and captions that differ from them in one thing."""

    clips: Tensor
    captions: list[str]
    rivals: list[str]


class ClipStage(Seeing):
    settings: ClipSettings

    def build(self) -> Any:
        self.tokenizer = build_tokenizer()
        return build_clip(len(self.tokenizer))

    def go_on_from(self, clip: Path, words: list[str]) -> None:
        """Starts from a trained one; `words`: of the tokenizer that it was trained with."""
        self.network = grown_clip(clip, words, self.tokenizer).to(self.device)

    def batch(self, step: int) -> ToldFrames:
        numbers = self.share.numbers(SPLITS["train"] + 500_000_000, step, self.settings.frames)
        found = random_moments(numbers, self.size)
        stagings = [scene.staging for scene in found.scenes]
        rivals = [
            caption(rival_staging(random.Random(f"rival/{number}"), staging))
            for number, staging in zip(numbers, stagings, strict=True)
        ]
        return ToldFrames(found.clips, [caption(staging) for staging in stagings], rivals)

    def loss(self, batch: ToldFrames, step: int, progress: float) -> dict[str, Tensor]:
        frames = half_through(self.autoencoder, batch.clips.to(self.device))
        ids, mask = (t.to(self.device) for t in tokenize(self.tokenizer, batch.captions + batch.rivals, TEXT_TOKENS))
        pixels = Clip(self.network, self.tokenizer, TEXT_TOKENS).pixels(frames)
        with arithmetic(self.device, self.settings.precision):
            seen = self.network.visual_projection(self.network.vision_model(pixel_values=pixels).pooler_output).float()
            told = self.network.text_projection(
                self.network.text_model(input_ids=ids, attention_mask=mask).pooler_output
            ).float()
        logits = self.network.logit_scale.exp() * F.normalize(seen, dim=-1) @ F.normalize(told, dim=-1).T
        same = torch.arange(len(frames), device=self.device)
        loss = (F.cross_entropy(logits, same) + F.cross_entropy(logits.T[: len(frames)], same)) / 2
        return {"loss": loss, "own_caption": (logits.argmax(dim=1) == same).float().mean()}

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        clip: Any = copy.deepcopy(self.network)
        clip.load_state_dict(averaged)
        clip.save_pretrained(folder / "clip")
        self.tokenizer.save_pretrained(folder / "tokenizer")


def measure_prompt_floor(
    clip: Clip, size: Size, autoencoder: TinyVideoAutoencoder, known: Vocabulary, device: torch.device
) -> float:
    """Halfway between the similarity of validation frames to their own captions and to others', in words that are known."""
    found = random_moments(range(SPLITS["validation"], SPLITS["validation"] + 64), size, known)
    frames = through(autoencoder, found.clips.to(device))[:, READ_FRAME]
    similar = clip.images(frames) @ clip.texts([caption(scene.staging) for scene in found.scenes]).T
    own = similar.diagonal().mean()
    others = (similar.sum() - similar.diagonal().sum()) / (similar.numel() - len(similar))
    return round(float((own + others) / 2), 3)
