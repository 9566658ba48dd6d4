"""Wan's own autoencoder, decoding as a stream, and TAEHV, the tiny decoder for it.

Both give one video frame for the first latent frame of a fresh stream and four for every other one, and a stream goes
on over a cut. They answer as `TinyVideoAutoencoder` does; a stream's memory is the caller's, so many streams can run
and any of them can go back.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from .autoencoder import MemoryBlock, TimeGrow, TimePool, _conv, run_layers


class WanAutoencoder(nn.Module):
    """`AutoencoderKLWan` of diffusers, one latent frame at a time: bit-identical to passing the whole.

    diffusers' `encode` and `decode` keep the stream's cache on the module, where streams of two threads mix. Here every
    stream has its own, and the module has no state.
    """

    time_factor = 4
    fresh_frames = 1
    space_factor = 8
    cut_stream: Literal["continue", "restart"] = "continue"

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    @property
    def dtype(self) -> torch.dtype:
        return cast(torch.dtype, self.inner.dtype)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.inner.config
        shape = (1, 1, -1, 1, 1)
        mean, std = (torch.tensor(v, dtype=like.dtype, device=like.device).view(shape) for v in (config.latents_mean, config.latents_std))  # fmt: skip
        return mean, std

    @staticmethod
    def _layers(part: nn.Module) -> int:
        """Layers of a part that remember the frames before."""
        return sum(isinstance(module, WanCausalConv3d) for module in part.modules())

    def encode(self, video_BTCHW: Tensor, starts_BF: Tensor | None = None) -> Tensor:
        """Video of 1 + 4k frames in 0 … 1 to normalised latents of 1 + k frames [B, F, C, h, w]. Threads may share it.

        Raises:
            ValueError: `starts_BF` marks a shot: Wan's stream does not restart. Or frames are left over.
        """
        if starts_BF is not None and bool(starts_BF[:, 1:].any()):
            raise ValueError("Wan's autoencoder encodes one stream: it cannot restart at a shot")
        frames = video_BTCHW.shape[1]
        if frames % self.time_factor != self.fresh_frames:
            raise ValueError(f"Wan's autoencoder encodes 1 + 4k frames, not {frames}")
        pixels = (video_BTCHW * 2 - 1).transpose(1, 2).to(self.dtype)
        memory: list[Any] = [None] * self._layers(self.inner.encoder)
        steps = pixels.split([1] + [self.time_factor] * (frames // self.time_factor), dim=2)
        seen = torch.cat([self.inner.encoder(step, feat_cache=memory, feat_idx=[0]) for step in steps], dim=2)
        raw: Tensor = (
            self.inner.quant_conv(seen).chunk(2, dim=1)[0].transpose(1, 2)
        )  # the mean; its variance is not used
        mean, std = self._statistics(raw)
        return (raw - mean) / std

    def decode(self, latents_BFCHW: Tensor, memory: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """A stretch of one stream to video in 0 … 1, and the memory to go on with."""
        mean, std = self._statistics(latents_BFCHW)
        z = self.inner.post_quant_conv((latents_BFCHW * std + mean).transpose(1, 2))
        kept: list[Any] = list(memory) if memory is not None else [None] * self._layers(self.inner.decoder)
        frames = []
        for index in range(z.shape[2]):
            fresh = memory is None and index == 0
            frames.append(
                self.inner.decoder(z[:, :, index : index + 1], feat_cache=kept, feat_idx=[0], first_chunk=fresh)
            )
        video = torch.cat(frames, dim=2).clamp(-1.0, 1.0)
        return ((video + 1) / 2).transpose(1, 2), kept


class _Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Taehv(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """madebyollin's TAEHV in the layout of `taew2_1`: latents as the sampler has them, no statistics to apply."""

    time_factor = 4
    fresh_frames = 1
    space_factor = 8
    cut_stream: Literal["continue", "restart"] = "continue"

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        encoder_width: int = 64,
        decoder_widths: tuple[int, ...] = (256, 128, 64, 64),
        blocks: int = 3,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        w = encoder_width
        self.encoder = nn.ModuleList([_conv(3, w), nn.ReLU()])
        for stride in (2, 2, 1):
            self.encoder += [
                TimePool(w, stride),
                _conv(w, w, stride=2, bias=False),
                *(MemoryBlock(w) for _ in range(blocks)),
            ]
        self.encoder += [_conv(w, latent_channels)]
        n = decoder_widths
        self.decoder = nn.ModuleList([_Clamp(), _conv(latent_channels, n[0]), nn.ReLU()])
        for level, stride in enumerate((1, 2, 2)):
            self.decoder += [
                *(MemoryBlock(n[level]) for _ in range(blocks)),
                nn.Upsample(scale_factor=2), TimeGrow(n[level], stride), _conv(n[level], n[level + 1], bias=False),
            ]  # fmt: skip
        self.decoder += [nn.ReLU(), _conv(n[3], 3)]

    def encode(self, video_BTCHW: Tensor, starts_BF: Tensor | None = None) -> Tensor:
        """Video in 0 … 1 to latents; the last frame is repeated until whole latent frames are full."""
        missing = -video_BTCHW.shape[1] % 4
        video = torch.cat([video_BTCHW, video_BTCHW[:, -1:].expand(-1, missing, -1, -1, -1)], dim=1)
        return run_layers(self.encoder, video.to(self.dtype), None, starts_BF)[0]

    def decode(self, latents_BFCHW: Tensor, memory: list[Tensor | None] | None = None) -> tuple[Tensor, Any]:
        """A stretch of one stream to video in 0 … 1, and the memory to go on with; a fresh stream's first latent frame
        gives one video frame."""
        video, kept = run_layers(self.decoder, latents_BFCHW, memory, None)
        return video[:, 3 if memory is None else 0 :].clamp(0.0, 1.0), kept
