"""The sizes that can be trained in the small world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Size:
    """A model size: its frame in pixels, how many times that is enlarged when it is delivered, and its transformer."""

    name: str
    width: int
    height: int
    enlarge: int
    heads: int
    head_width: int
    layers: int
    ffn: int

    @property
    def latent(self) -> tuple[int, int]:
        """Rows and columns of a latent frame."""
        return self.height // 8, self.width // 8

    def transformer_config(self) -> dict[str, Any]:
        return {
            "num_attention_heads": self.heads, "attention_head_dim": self.head_width, "num_layers": self.layers,
            "ffn_dim": self.ffn, "text_dim": 128, "freq_dim": 60, "in_channels": 16, "out_channels": 16,
            "cut_stream": "restart",
        }  # fmt: skip


SIZES = {
    "nano": Size("nano", 128, 64, 4, heads=3, head_width=56, layers=5, ffn=304),
    "mini": Size("mini", 256, 128, 2, heads=3, head_width=56, layers=8, ffn=608),
}
