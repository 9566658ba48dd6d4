"""The text encoder learns to read captions: of every word, whose it is, and what else is said of that puppet.

The flow loss hardly teaches it: left to that alone, nano's encoder stayed a bag of words (a probe on what it made of a hue could not
tell in a caption of two puppets whether the left or the right one has it: 49 % right), so that kinds and hues fell on either. Large text
encoders bring their reading along from a training of their own; this is ours.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generator.precision import arithmetic
from ..generator.text import TEXT_TOKENS, build_text_encoder, build_tokenizer, embed, tokenize
from ..storyboard.caption import Role, Staging, caption
from ..storyboard.vocabulary import MAX_ROLES, Vocabulary
from .one_network import OneNetwork, Share
from .settings import TextSettings
from .world import SPLITS, Habits, random_film

WHOSE = "whose"
UNSAID = "-"
HABITS = Habits(forget=0.5, pairs=0.5)
"""Half of the looks are told, and two puppets stand in most shots: one alone is easily told from nobody else."""


def says(role: Role) -> dict[str, str]:
    """What a caption says of a role, by field."""
    look = role.appearance
    said = {"kind": role.kind, "action": role.action, "facing": role.facing, "prop": role.prop, "name": role.name}
    looks = {name: getattr(look, name) if look else None for name in ("hue", "pattern", "accessory")}
    return {field: word or UNSAID for field, word in (said | looks).items()}


def answers(known: Vocabulary) -> dict[str, list[str]]:
    """The questions that are asked of a word, and all their answers."""
    fields = {
        "kind": known.kinds, "action": known.actions, "facing": known.facings, "prop": known.props, "name": known.names,
        "hue": known.hues, "pattern": known.patterns, "accessory": known.accessories,
    }  # fmt: skip
    whose = [UNSAID, *(str(place) for place in range(MAX_ROLES))]
    return {WHOSE: whose} | {field: [UNSAID, *words] for field, words in fields.items()}


def answers_of(staging: Staging) -> list[dict[str, str]]:
    """The right answers for every word of its caption; a word about nobody is only asked whose it is."""
    found: list[dict[str, str]] = []
    place = -1
    for word in caption(staging).split():
        if word in (":", ";"):
            place += 1
        if place < 0 or word in (":", ";", "."):
            found.append({WHOSE: UNSAID})
        else:
            found.append({WHOSE: str(place), **says(staging.roles[place])})
    return found


@dataclass(frozen=True)
class Asked:
    """Token ids and mask [B, S] of captions, and by question the index of each word's answer [B, S], -1 where it is not asked."""

    ids: Tensor
    mask: Tensor
    right: dict[str, Tensor]


class AnsweringEncoder(nn.Module):
    """A text encoder, and a linear layer for each question."""

    def __init__(self, encoder: nn.Module, width: int, questions: dict[str, list[str]]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(words)) for name, words in questions.items()})

    def forward(self, embedded_BSd: Tensor) -> dict[str, Tensor]:
        """Logits [B, S, answers] by question."""
        return {name: head(embedded_BSd) for name, head in self.heads.items()}


class TextStage(OneNetwork):
    settings: TextSettings

    def __init__(self, settings: TextSettings, known: Vocabulary, device: torch.device, share: Share) -> None:
        super().__init__(settings, share)
        self.settings, self.known, self.device = settings, known, device
        self.tokenizer, self.questions = build_tokenizer(known), answers(known)
        self._before: nn.Module | None = None
        self._read_with(build_text_encoder(len(self.tokenizer)))

    def _read_with(self, encoder: Any) -> None:
        self.network = AnsweringEncoder(encoder, encoder.config.d_model, self.questions).to(self.device)

    def go_on_from(self, encoder: nn.Module) -> None:
        """Starts from a trained one of the same tokenizer, and stays near it: a transformer goes by what it says."""
        self._before = copy.deepcopy(encoder).to(self.device).eval().requires_grad_(False)
        self._read_with(encoder)

    def batch(self, step: int) -> Asked:
        numbers = self.share.numbers(SPLITS["train"] + 600_000_000, step, self.settings.captions)
        stagings = [
            random.Random(f"told/{n}").choice(random_film(n, 6, self.known, HABITS).shots).told for n in numbers
        ]
        return self.asked(stagings)

    def asked(self, stagings: list[Staging]) -> Asked:
        ids, mask = tokenize(self.tokenizer, [caption(staging) for staging in stagings], TEXT_TOKENS)
        right = {name: torch.full(ids.shape, -1) for name in self.questions}
        for row, staging in enumerate(stagings):
            for column, said in enumerate(answers_of(staging)[: TEXT_TOKENS - 1]):
                for name, word in said.items():
                    right[name][row, column] = self.questions[name].index(word)
        return Asked(ids, mask, right)

    def loss(self, batch: Asked, step: int, progress: float) -> dict[str, Tensor]:
        ids, mask = batch.ids.to(self.device), batch.mask.to(self.device)
        with arithmetic(self.device, self.settings.precision):
            embedded = embed(self.network.encoder, ids, mask).float()
        losses, read = [], []
        for name, logits in self.network(embedded).items():
            right = batch.right[name].to(self.device)
            losses.append(F.cross_entropy(logits.flatten(0, 1), right.flatten(), ignore_index=-1))
            read.append((logits.argmax(dim=-1) == right)[right >= 0].float().mean())
        loss = torch.stack(losses).sum()
        out = {"loss": loss, "read": torch.stack(read).mean()}
        if self._before is not None:
            with torch.no_grad():
                before = embed(self._before, ids, mask).float()
            out["moved"] = (embedded - before)[mask.bool()].square().mean()
            out["loss"] = loss + self.settings.keep * out["moved"]
        return out

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        reading = copy.deepcopy(self.network)
        reading.load_state_dict(averaged)
        reading.encoder.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
