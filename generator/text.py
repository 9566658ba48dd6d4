"""The prompt's way into the model: tokenizer, UMT5 encoder, zero-padded embeddings as Wan expects them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from ..storyboard.files import replacing
from ..storyboard.vocabulary import FULL, Vocabulary

TEXT_TOKENS = 36
"""Longest caption of our sizes, the end token included."""
KEPT_PROMPTS = 256
_tokenizing = Lock()


def build_tokenizer(known: Vocabulary = FULL) -> Any:
    """One token a word of the closed vocabulary, or of a part of it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(("<pad>", "</s>", "<unk>", *known.words()))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=TEXT_TOKENS
    )


def build_text_encoder(vocabulary: int) -> Any:
    """A two-layer UMT5 of width 128."""
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=vocabulary, d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, dropout_rate=0.0,
        relative_attention_num_buckets=16, relative_attention_max_distance=32, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return UMT5EncoderModel(config)


def tokenize(tokenizer: Any, prompts: list[str], length: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask [B, length]. Threads may share a tokenizer."""
    with _tokenizing:  # it keeps the length on itself, and text encoder and CLIP may share it
        tokens = tokenizer(prompts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    return tokens["input_ids"], tokens["attention_mask"]


def embed(encoder: nn.Module, ids_BS: Tensor, mask_BS: Tensor) -> Tensor:
    """Embeddings [B, S, d]: zero beyond each prompt's end, and the model is given no mask, as in Wan."""
    hidden: Tensor = encoder(input_ids=ids_BS, attention_mask=mask_BS).last_hidden_state
    return hidden * mask_BS[..., None].to(hidden.dtype)


class TextEmbedder:
    """Embeds prompts one at a time and keeps the results: a film says the same prompt many times.

    A large encoder is moved to the device for each new prompt and away again, and its embeddings are kept on disk by
    the content they depend on. Threads take turns.
    """

    def __init__(
        self, tokenizer: Any, encoder: nn.Module, length: int, device: torch.device, store: Path | None
    ) -> None:
        """`store`: folder of kept embeddings, for an encoder worth offloading; None for a small one."""
        self._tokenizer, self._encoder, self._length = tokenizer, encoder, length
        self._device, self._store = device, store
        self._kept: dict[str, Tensor] = {}
        self._turn = Lock()

    def __call__(self, prompt: str) -> Tensor:
        """[1, S, d]."""
        with self._turn:
            if prompt not in self._kept:
                if len(self._kept) >= KEPT_PROMPTS:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[prompt] = self._embed(prompt) if self._store is None else self._stored(self._store, prompt)
            return self._kept[prompt]

    def _embed(self, prompt: str) -> Tensor:
        ids, mask = (t.to(self._device) for t in tokenize(self._tokenizer, [prompt], self._length))
        with torch.no_grad():
            return embed(self._encoder, ids, mask)

    def _stored(self, store: Path, prompt: str) -> Tensor:
        from safetensors import SafetensorError
        from safetensors.torch import load_file, save_file

        clean = " ".join(prompt.split())
        path = store / f"{hashlib.blake2b(clean.encode(), digest_size=16).hexdigest()}.safetensors"
        try:
            return load_file(path)["text"].to(self._device)
        except (OSError, SafetensorError, KeyError):
            pass
        self._encoder.to(self._device)
        text = self._embed(clean)
        self._encoder.to("cpu")
        store.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file({"text": text.cpu().contiguous()}, str(temporary))
        return text
