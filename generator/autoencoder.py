"""A tiny causal video autoencoder of the TAEHV class: 4x8x8, 16 channels, one frame of memory per block.

Every latent frame stands for 4 video frames. A stream may *restart* at a shot (`cut_stream: restart`): all memories are
zero there, so a shot decodes alone and a cut is sharp. Decoding is always done in the units in which latents arrive, so
a streamed decode equals a later one bit for bit when the chunks are the same.

Legend: `B` batch, `T` video frames (or time steps at a level), `F` latent frames, `C` channels, `H`, `W` pixels of a level.
Layout after madebyollin/taehv (memory blocks, time pooling and growing); the code is our own.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F_
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

Memory = list[Tensor | None]
"""What a stream remembers: the last input of each memory block, None before the first frame."""


def _conv(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class MemoryBlock(nn.Module):
    """A residual block that also sees the frame before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        last = _conv(width, width)
        nn.init.zeros_(last.weight)  # a deep plain stack stalls with the default initialisation
        self.conv = nn.Sequential(_conv(2 * width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), last)

    def forward(self, x_BTCHW: Tensor, before: Tensor | None, starts_BT: Tensor | None) -> Tensor:
        B, T = x_BTCHW.shape[:2]
        # joined film by film: tensors of four dimensions keep channels last
        first = [torch.zeros_like(x[:1]) for x in x_BTCHW] if before is None else before.split(1)
        past = torch.cat([part for one, x in zip(first, x_BTCHW, strict=True) for part in (one, x[:-1])])
        if starts_BT is not None:
            past.masked_fill_(starts_BT.flatten()[:, None, None, None], 0.0)
        x = x_BTCHW.flatten(0, 1)
        out: Tensor = F_.relu(x + self.conv(torch.cat([x, past], dim=1)))
        return out.view(B, T, *out.shape[1:])


class TimePool(nn.Module):
    """Folds `stride` frames into one."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        x = x_BTCHW.flatten(0, 1)
        folded: Tensor = self.conv(torch.cat([x[i :: self.stride] for i in range(self.stride)], dim=1))
        return folded.view(len(x_BTCHW), -1, *folded.shape[1:])


class TimeGrow(nn.Module):
    """Unfolds one frame into `stride`."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        B, T, C, H, W = x_BTCHW.shape
        grown: Tensor = self.conv(x_BTCHW.flatten(0, 1))
        frames = grown.movedim(1, -1).view(B * T, H, W, self.stride, C).movedim(3, 1)
        return frames.reshape(B, T * self.stride, H, W, C).movedim(-1, 2)


def run_layers(
    layers: nn.ModuleList, x: Tensor, memory: Memory | None, starts_BF: Tensor | None
) -> tuple[Tensor, Memory]:
    """Passes [B, T, C, H, W] through; `starts_BF` marks latent frames at which all memory is dropped."""
    kept: Memory = []
    latent_frames = starts_BF.shape[1] if starts_BF is not None else 0
    for layer in layers:
        if isinstance(layer, MemoryBlock):
            before = memory[len(kept)] if memory else None
            starts = None
            if starts_BF is not None:
                per_latent = x.shape[1] // latent_frames
                starts = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
                starts[:, ::per_latent] = starts_BF
            kept.append(x[:, -1])
            x = layer(x, before, starts)
        elif isinstance(layer, (TimePool, TimeGrow)):
            x = layer(x)
        else:
            B, T = x.shape[:2]
            x = layer(x.flatten(0, 1)).unflatten(0, (B, T))
    return x, kept


class TinyVideoAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Video [B, T, 3, H, W] in 0 … 1 to normalised latents [B, T/4, 16, H/8, W/8] and back.

    Args:
        latent_channels: 16 as in Wan.
        encoder_widths, decoder_widths: widths of the three levels, in the order the data passes them.
        decoder_blocks: memory blocks at each decoder level.
        latents_mean, latents_std: per-channel statistics; outputs of `encode` are normalised with them.
    """

    time_factor = 4
    fresh_frames = 4
    space_factor = 8
    cut_stream: Literal["continue", "restart"] = "restart"

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        encoder_widths: tuple[int, ...] = (32, 48, 64),
        decoder_widths: tuple[int, ...] = (96, 64, 32),
        decoder_blocks: tuple[int, ...] = (2, 2, 1),
        latents_mean: tuple[float, ...] = (0.0,) * 16,
        latents_std: tuple[float, ...] = (1.0,) * 16,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        a, b, c = encoder_widths
        self.encoder = nn.ModuleList(
            [
                nn.PixelUnshuffle(2), _conv(12, a), nn.ReLU(), TimePool(a, 2), MemoryBlock(a),
                _conv(a, b, stride=2, bias=False), TimePool(b, 2), MemoryBlock(b),
                _conv(b, c, stride=2, bias=False), MemoryBlock(c), _conv(c, latent_channels),
            ]
        )  # fmt: skip
        d, e, f = decoder_widths
        n = decoder_blocks
        self.decoder = nn.ModuleList(
            [
                _conv(latent_channels, d), nn.ReLU(), *(MemoryBlock(d) for _ in range(n[0])),
                nn.Upsample(scale_factor=2), TimeGrow(d, 2), _conv(d, e, bias=False), *(MemoryBlock(e) for _ in range(n[1])),
                nn.Upsample(scale_factor=2), TimeGrow(e, 2), _conv(e, f, bias=False), *(MemoryBlock(f) for _ in range(n[2])),
                nn.ReLU(), _conv(f, 12), nn.PixelShuffle(2),
            ]
        )  # fmt: skip

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config: Any = self.config
        mean = torch.tensor(config.latents_mean, dtype=like.dtype, device=like.device)[:, None, None]
        std = torch.tensor(config.latents_std, dtype=like.dtype, device=like.device)[:, None, None]
        return mean, std

    def encode(self, video_BTCHW: Tensor, starts_BF: Tensor | None = None) -> Tensor:
        """Video in 0 … 1 to normalised latents; `starts_BF` marks the latent frames that begin a shot."""
        raw, _ = run_layers(self.encoder, video_BTCHW.to(self.dtype), None, starts_BF)
        mean, std = self._statistics(raw)
        return (raw - mean) / std

    def decode(self, latents_BFCHW: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """Normalised latents of a stretch of one stream to video in 0 … 1, and the memory to go on with."""
        video, memory = run_layers(self.decoder, self.raw(latents_BFCHW), memory, None)
        return video.clamp(0.0, 1.0), memory

    def raw(self, latents_BFCHW: Tensor) -> Tensor:
        """Normalised latents as the decoder's layers take them."""
        mean, std = self._statistics(latents_BFCHW)
        return (latents_BFCHW * std + mean).to(self.dtype)

    def reconstruct(self, video_BTCHW: Tensor, noise: float = 0.0) -> tuple[Tensor, Tensor]:
        """For training: the un-clamped reconstruction and the raw latents, with noise on what the decoder sees."""
        raw, _ = run_layers(self.encoder, video_BTCHW, None, None)
        seen = raw + noise * torch.randn_like(raw) if noise else raw
        video, _ = run_layers(self.decoder, seen, None, None)
        return video, raw
