"""The sizes that can be trained in the small world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..generator.memory import parse_memory


@dataclass(frozen=True)
class Size:
    """A model size: its frame in pixels, its transformer, and what a step of each stage holds."""

    name: str
    width: int
    height: int
    heads: int
    head_width: int
    layers: int
    ffn: int
    clips: int
    films: int

    @property
    def latent(self) -> tuple[int, int]:
        """Rows and columns of a latent frame."""
        return self.height // 8, self.width // 8

    def transformer_config(self) -> dict[str, Any]:
        return {
            "num_attention_heads": self.heads, "attention_head_dim": self.head_width, "num_layers": self.layers,
            "ffn_dim": self.ffn, "text_dim": 128, "freq_dim": 60, "in_channels": 16, "out_channels": 16,
            "trained_span": PINNED_MEMORY.span(CHUNK_LATENTS), "trained_segments": ("window", "shots"), "cut_stream": "restart",
        }  # fmt: skip


CHUNK_LATENTS = 3
CHUNK_FRAMES = 12
FILM_CHUNKS = 4
MEMORY = parse_memory("window(3)")
PINNED_MEMORY = parse_memory("shots(3)+window(3)")
"""The policies the base is trained with, drawn anew for every step."""
SHIFT = 3.0

SIZES = {
    "nano": Size("nano", 128, 64, heads=3, head_width=56, layers=5, ffn=304, clips=3, films=8),
    "mini": Size("mini", 256, 128, heads=4, head_width=64, layers=8, ffn=512, clips=3, films=8),
}
