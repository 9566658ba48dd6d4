"""`CausalWanTransformer3DModel`: Wan 2.1's transformer made causal over chunks.

Parameter names are exactly those of diffusers' `WanTransformer3DModel`, so Wan folders load. What differs is that the
self-attention of a chunk asks a `Context` what it may see: nothing but itself, the pages of a rollout, or the packed
clean copies of training.

Legend: `R` rows (one chunk each), `C` latent channels, `L` latent frames, `N` tokens of the chunk, `n` tokens of a
frame, `H` heads, `D` head width, `d` model width, `S` text tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from .attention import Past, weigh
from .contexts import Alone, Context, Keyframes, Remembering

ALIKE_ROWS = 16
"""From so many rows on, a row of a matrix product has the same bits however many there are (MKL, fp32): fewer go through another
kernel, and a rollout's one chunk would not be bit-equal to the many of training."""


Listen = Callable[[int, Tensor, Tensor, Tensor], None]
"""Is told a layer's number, output, queries and keys."""


class RMSNorm(nn.Module):
    """Over the whole width, before the heads are split, as in Wan."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.norm_q, self.norm_k = RMSNorm(width, eps), RMSNorm(width, eps)

    def project(self, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        split = (self.heads, -1)
        return (
            self.norm_q(self.to_q(x)).unflatten(-1, split),
            self.norm_k(self.to_k(source)).unflatten(-1, split),
            self.to_v(source).unflatten(-1, split),
        )

    def out(self, x_RNHD: Tensor) -> Tensor:
        return cast(Tensor, self.to_out[0](x_RNHD.flatten(2)))


class _Gelu(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """Named as diffusers names it: net.0.proj, (dropout), net.2."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([_Gelu(width, inner), nn.Identity(), nn.Linear(inner, width)])

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.net[2](self.net[0](x)))


class LayerNorm(nn.LayerNorm):
    """In fp32, whatever the weights are, as in Wan."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (p.float() if p is not None else None for p in (self.weight, self.bias))
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, cross_attn_norm: bool, eps: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width, eps, elementwise_affine=False)
        self.attn1 = Attention(width, heads, eps)
        self.attn2 = Attention(width, heads, eps)
        self.norm2 = LayerNorm(width, eps) if cross_attn_norm else nn.Identity()
        self.ffn = FeedForward(width, inner)
        self.norm3 = LayerNorm(width, eps, elementwise_affine=False)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, width) / width**0.5)

    def forward(
        self, x: Tensor, text: Tensor, time_RT6d: Tensor, layer: int, context: Context, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The tokens, and the queries, keys and values that others may keep: sharding has to know of everything that leaves a
        block. `time_RT6d` holds one modulation for the row (T = 1) or one for every token."""
        parts = (self.scale_shift_table.float() + time_RT6d.float()).unbind(dim=2)
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = parts
        h = (self.norm1(x) * (1 + scale) + shift).to(x.dtype)
        q, k, v = self.attn1.project(h, h)
        x = (x.float() + self.attn1.out(context.attend(layer, q, k, v, grid)) * gate).to(x.dtype)
        h = self.norm2(x).to(x.dtype)
        asked, known, told = (t.transpose(1, 2) for t in self.attn2.project(h, text))
        x = x + self.attn2.out(weigh(asked, known, told).transpose(1, 2))
        h = (self.norm3(x) * (1 + ffn_scale) + ffn_shift).to(x.dtype)
        out: Tensor = (x.float() + self.ffn(h).float() * ffn_gate).to(x.dtype)
        return out, q, k, v


class _TwoLayer(nn.Module):
    def __init__(self, inputs: int, width: int, gelu: bool) -> None:
        super().__init__()
        self.linear_1, self.linear_2, self.gelu = nn.Linear(inputs, width), nn.Linear(width, width), gelu

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear_1(x)
        return cast(Tensor, self.linear_2(F.gelu(h, approximate="tanh") if self.gelu else F.silu(h)))


class ConditionEmbedder(nn.Module):
    def __init__(self, width: int, freq_dim: int, text_dim: int) -> None:
        super().__init__()
        self.freq_dim = freq_dim
        self.time_embedder = _TwoLayer(freq_dim, width, gelu=False)
        self.time_proj = nn.Linear(width, 6 * width)
        self.text_embedder = _TwoLayer(text_dim, width, gelu=True)

    def forward(self, timestep_RT: Tensor, text_RSd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Time [R, T, d], its six modulations [R, T, 6, d], and text [R, S, d]."""
        half = self.freq_dim // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, device=timestep_RT.device) / half)
        angles = timestep_RT.float()[..., None] * rates
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1).to(self.time_embedder.linear_1.weight.dtype)
        count = waves.shape[0] * waves.shape[1]
        filled = F.pad(waves.flatten(0, 1), (0, 0, 0, max(0, ALIKE_ROWS - count)))
        time = self.time_embedder(filled)
        parts = self.time_proj(F.silu(time))
        time, parts = (x[:count].unflatten(0, timestep_RT.shape) for x in (time, parts))
        return time, parts.unflatten(-1, (6, -1)), self.text_embedder(text_RSd)


def _in_patches(conv: nn.Conv3d, x_RCLhw: Tensor) -> Tensor:
    """A convolution whose patches do not overlap, as a matrix product over them: [R, L / t, h / p, w / q, d]. Every row has the same
    bits, however many there are."""
    (t, p, q), (R, C, L, h, w) = conv.kernel_size, x_RCLhw.shape
    patches = x_RCLhw.reshape(R, C, L // t, t, h // p, p, w // q, q).permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)
    return F.linear(patches, conv.weight.flatten(1), conv.bias)


def _history_embedding(channels: int, width: int) -> nn.ModuleDict:
    """Patchifiers by how much smaller they make history: (1, 4, 4) and (2, 8, 8) against the model's (1, 2, 2)."""
    kernels = {"4": (1, 4, 4), "32": (2, 8, 8)}
    return nn.ModuleDict({name: nn.Conv3d(channels, width, k, stride=k) for name, k in kernels.items()})


class CausalWanTransformer3DModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts the flow (noise - clean) of the chunk in every row.

    Args as `WanTransformer3DModel`, and:
        trained_span: temporal positions the weights were trained with; 0 when nobody said.
        trained_segments: names of the memory segments the weights were trained with.
        history_patches: whether there are patchifiers for compressed history (FilmWeaver).
        cut_stream: whether the autoencoder's stream goes on over a cut (`continue`) or begins anew (`restart`).
    """

    _supports_gradient_checkpointing = True
    _gradient_checkpointing_func: Any

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        eps: float = 1e-6,
        trained_span: int = 0,
        trained_segments: tuple[str, ...] = (),
        history_patches: bool = False,
        cut_stream: str = "continue",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        width = num_attention_heads * attention_head_dim
        self.patch_embedding = nn.Conv3d(in_channels, width, kernel_size=patch_size, stride=patch_size)
        if history_patches:
            self.history_embedding = _history_embedding(in_channels, width)
        self.condition_embedder = ConditionEmbedder(width, freq_dim, text_dim)
        self.blocks = nn.ModuleList(
            [Block(width, num_attention_heads, ffn_dim, cross_attn_norm, eps) for _ in range(num_layers)]
        )
        self.norm_out = LayerNorm(width, eps, elementwise_affine=False)
        self.proj_out = nn.Linear(width, out_channels * math.prod(patch_size))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, width) / width**0.5)
        self.gradient_checkpointing = False
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of tokens in a latent frame of `rows` x `columns`."""
        _, p, q = cast(Any, self.config).patch_size
        if rows % p or columns % q:
            raise ValueError(f"a latent frame of {rows}x{columns} does not divide into patches of {p}x{q}")
        return rows // p, columns // q

    def add_history_patches(self) -> None:
        """Makes patchifiers for compressed history of the model's own: at first a coarse patch is embedded as the model's
        own embeds the picture shrunk to fit (FramePack's initialisation)."""
        own = self.patch_embedding
        history = _history_embedding(own.in_channels, own.out_channels).to(own.weight)
        with torch.no_grad():
            for module in history.values():
                conv = cast(nn.Conv3d, module)
                spread, times = own.weight, [k // s for k, s in zip(conv.kernel_size, own.kernel_size, strict=True)]
                for axis, count in enumerate(times, start=2):
                    spread = spread.repeat_interleave(count, dim=axis)
                conv.weight.copy_(spread / math.prod(times))
                cast(Tensor, conv.bias).copy_(cast(Tensor, own.bias))
        self.history_embedding = history
        self.register_to_config(history_patches=True)  # type: ignore[no-untyped-call]

    def _patch(self, keyframes: Keyframes) -> Tensor:
        """Embedded [R, frames, rows, columns, d]; frames that do not fill a patch are padded by their edge."""
        x = keyframes.latents.to(self.patch_embedding.weight)
        if keyframes.factor == 1:
            return _in_patches(self.patch_embedding, x)
        conv: Any = self.history_embedding[str(keyframes.factor)]
        pad = [0 if size % k == 0 else k - size % k for size, k in zip(x.shape[2:], conv.kernel_size, strict=True)]
        return _in_patches(conv, F.pad(x, (0, pad[2], 0, pad[1], pad[0], 0), mode="replicate"))

    def remember(self, context: Sequence[Keyframes], encoder_hidden_states: Tensor) -> list[Past]:
        """Runs context frames through the model once, at their noise labels and under the prompt.

        Returns:
            By layer, rotated keys and values [R, M, H, D] for the passes of the rows' chunks.
        """
        tokens, coordinates, times = [], [], []
        for keyframes in context:
            x = self._patch(keyframes)
            coordinates.append(keyframes.coordinates(*x.shape[1:4]))
            tokens.append(x.flatten(1, 3))
            times.append(torch.full(tokens[-1].shape[:2], float(keyframes.timestep), device=x.device))
        heads: Any = self.blocks[0].get_submodule("attn1")
        width = heads.to_q.out_features // heads.heads
        seen = Remembering(coordinates, width, tokens[0].device)
        x = torch.cat(tokens, dim=1)
        _, time_RT6d, text = self.condition_embedder(torch.cat(times, dim=1), encoder_hidden_states)
        for layer, block in enumerate(self.blocks):
            x, *_ = block(x, text, time_RT6d, layer, seen, (0, 0))
        return seen.layers

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        context: Context | None = None,
        listen: Listen | None = None,
    ) -> Tensor:
        """Runs one pass.

        Args:
            hidden_states: latents [R, C, L, rows, columns].
            timestep: [R], 0 (clean) to 1000 (noise).
            encoder_hidden_states: text [R, S, text_dim], zero-padded.
            context: what each row attends to; itself alone when None.
            listen: is told what every layer makes of the tokens [R, N, d], and its queries and keys [R, N, H, D], un-rotated.
        """
        R, _, L, rows, columns = hidden_states.shape
        high, wide = self.grid(rows, columns)
        x = _in_patches(self.patch_embedding, hidden_states).flatten(1, 3)
        time, time_RT6d, text = self.condition_embedder(timestep[:, None], encoder_hidden_states)
        seen = context or Alone()
        for layer, block in enumerate(self.blocks):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x, q, k, _ = self._gradient_checkpointing_func(block, x, text, time_RT6d, layer, seen, (high, wide))
            else:
                x, q, k, _ = block(x, text, time_RT6d, layer, seen, (high, wide))
            if listen is not None:
                listen(layer, x, q, k)
        shift, scale = (self.scale_shift_table.float() + time.float()).chunk(2, dim=1)
        x = self.proj_out((self.norm_out(x) * (1 + scale) + shift).to(x.dtype))
        _, tall, broad = cast(Any, self.config).patch_size
        flow: Tensor = (
            x.view(R, L, high, wide, tall, broad, -1).permute(0, 6, 1, 2, 4, 3, 5).reshape(R, -1, L, rows, columns)
        )
        return flow
