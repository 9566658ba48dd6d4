"""Transformer weights in the layouts people have: original Wan, Self-Forcing, Causal-Forcing, LongLive, ShotStream, Krea.

All hold Wan's parameters under other names and wrappers. Here they get diffusers' names, strictly: every key must
belong, none may be missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..storyboard.errors import InputError
from .containers import State, read_tensors
from .transformer import CausalWanTransformer3DModel
from .weights_files import COUNTS

WRAPPERS = ("_fsdp_wrapped_module.", "_orig_mod.", "module.", "_checkpoint_wrapped_module.")
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "generator.", "model.")
HEAD_WIDTH = 128
"""Of every published Wan 2.1; the weights themselves do not tell it."""

_RENAMED = (
    (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
    (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
    (r"^time_projection\.1\.", "condition_embedder.time_proj."),
    (r"^head\.modulation$", "scale_shift_table"),
    (r"^head\.head\.", "proj_out."),
    (r"^(blocks\.\d+)\.modulation$", r"\1.scale_shift_table"),
    (r"^(blocks\.\d+)\.self_attn\.(norm_[qk])\.", r"\1.attn1.\2."),
    (r"^(blocks\.\d+)\.cross_attn\.(norm_[qk])\.", r"\1.attn2.\2."),
    (r"^(blocks\.\d+)\.self_attn\.([qkv])\.", r"\1.attn1.to_\2."),
    (r"^(blocks\.\d+)\.cross_attn\.([qkv])\.", r"\1.attn2.to_\2."),
    (r"^(blocks\.\d+)\.self_attn\.o\.", r"\1.attn1.to_out.0."),
    (r"^(blocks\.\d+)\.cross_attn\.o\.", r"\1.attn2.to_out.0."),
    (r"^(blocks\.\d+)\.norm3\.", r"\1.norm2."),  # the only norm with weights; diffusers numbers it 2
    (r"^(blocks\.\d+)\.ffn\.0\.", r"\1.ffn.net.0.proj."),
    (r"^(blocks\.\d+)\.ffn\.2\.", r"\1.ffn.net.2."),
)


@dataclass(frozen=True)
class Layout:
    """How published weights want to be run: memory, sampling, and the span they were trained with."""

    memory: str
    sampling: dict[str, Any]
    trained_span: int
    trained_segments: tuple[str, ...]
    licence: str


_FEW = {"kind": "few-step", "timesteps": [1000, 750, 500, 250], "shift": 5.0}
LAYOUTS = {
    "wan": Layout("window(6)", {"kind": "euler", "steps": 50, "shift": 5.0, "guidance": 5.0}, 0, (), "Apache-2.0"),
    "self-forcing": Layout("self-forcing", _FEW, 21, ("window",), "Apache-2.0"),
    "causal-forcing": Layout("self-forcing", _FEW, 21, ("window",), "Apache-2.0"),
    "longlive": Layout("longlive", _FEW, 12, ("sink", "window"), "Apache-2.0"),
    "shotstream": Layout(
        "window(6)", {"kind": "few-step", "timesteps": [1000, 740, 500, 260], "shift": 8.0}, 27, ("window",), "not stated"
    ),
    "krea": Layout("window(1)", _FEW, 6, ("window",), "CC BY-NC-SA 4.0 (code); see the weights' page"),
}  # fmt: skip
"""Settings from the published configurations; what ours cannot follow (Krea's re-computed keys, ShotStream's sampled
conditioning frames) is left out."""


def _bare(key: str) -> str:
    """A key without the wrappers of trainers."""
    for wrapper in WRAPPERS:
        key = key.replace(wrapper, "")
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            if key.startswith(prefix):
                key, changed = key.removeprefix(prefix), True
    return key


def _renamed(key: str) -> str:
    """The original repository's key under diffusers' name; others stay as they are."""
    for pattern, to in _RENAMED:
        renamed, count = re.subn(pattern, to, key)
        if count:
            return renamed
    return key


def _split_fused(state: State) -> State:
    """Separate q, k and v where a checkpoint has them fused."""
    out: State = {}
    for key, value in state.items():
        match = re.fullmatch(r"(.*\.)(?:to_)?qkv\.(weight|bias)", key)
        if match is None:
            out[key] = value
            continue
        prefix = "to_" if ".to_qkv." in key else ""
        for name, part in zip("qkv", value.chunk(3, dim=0), strict=True):
            out[f"{match[1]}{prefix}{name}.{match[2]}"] = part
    return out


def to_diffusers(state: State) -> State:
    """Wan's parameters under diffusers' names, whatever wrapped them.

    Raises:
        InputError: the weights are of another kind (image to video, a low-rank adapter, another model).
    """
    bare = _split_fused({_bare(key): value for key, value in state.items()})
    if any(key.startswith("img_emb") or ".k_img." in key or "image_embedder" in key for key in bare):
        raise InputError("these are image-to-video weights (img_emb …): give text-to-video weights")
    if any("lora_" in key for key in bare):
        raise InputError("this is a low-rank adapter, not a whole model: give it with --lora beside the base weights")
    if not any(key.startswith("blocks.") for key in bare) or "patch_embedding.weight" not in bare:
        raise InputError(f"these are not Wan weights (keys such as {', '.join(list(bare)[:3])})")
    return {_renamed(key): value for key, value in bare.items()}


def merge_lora(state: State, lora: State, scale: float = 1.0) -> State:
    """Base weights in diffusers' names with a low-rank adapter added: W + scale · B A (LongLive: alpha = rank, so 1).

    Raises:
        InputError: the adapter is of another model.
    """
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, value in lora.items():
        match = re.fullmatch(r"(?:base_model\.)?(.*)\.lora_([AB])(?:\.\w+)?\.weight", key)
        if match is None:
            raise InputError(f"key {key!r} belongs to no low-rank adapter")
        pairs.setdefault(_bare(match[1]), {})[match[2]] = value
    merged = dict(state)
    for name, pair in pairs.items():
        key = _renamed(f"{name}.weight")
        if key not in merged or set(pair) != {"A", "B"} or not _fits(merged[key], pair["A"], pair["B"]):
            raise InputError(f"the adapter does not fit these weights at {name}")
        delta = pair["B"].float() @ pair["A"].float()
        merged[key] = (merged[key].float() + scale * delta).to(merged[key].dtype)
    return merged


def _fits(whole: Tensor, a: Tensor, b: Tensor) -> bool:
    """Whether B A has the shape of the whole."""
    matrices = whole.ndim == a.ndim == b.ndim == 2
    return matrices and b.shape[1] == a.shape[0] and (b.shape[0], a.shape[1]) == tuple(whole.shape)


def infer_config(state: State, head_width: int = HEAD_WIDTH) -> dict[str, Any]:
    """The configuration that the shapes of diffusers-named weights imply.

    Raises:
        InputError: a width that `head_width` does not divide, or weights that no Wan has; names them.
    """
    ranks = {
        "patch_embedding.weight": 5, "proj_out.weight": 2, "condition_embedder.text_embedder.linear_1.weight": 2,
        "condition_embedder.time_embedder.linear_1.weight": 2, "blocks.0.ffn.net.0.proj.weight": 2,
    }  # fmt: skip
    for key, rank in ranks.items():
        if key not in state or state[key].ndim != rank:
            found = f"have {key} of shape {tuple(state[key].shape)}" if key in state else f"lack {key}"
            raise InputError(f"these are not Wan weights: they {found}")
    blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
    odd = [name for name in blocks if not name.isascii() or not name.isdigit() or int(name[:9]) >= len(blocks)]
    if odd or len(blocks) > COUNTS["num_layers"]:
        raise InputError(
            f"these are not Wan weights: they have {len(blocks)} blocks, one of them numbered {max(odd or blocks, key=len)[:40]}"
        )
    patch = state["patch_embedding.weight"]
    width = patch.shape[0]
    if width % head_width:
        raise InputError(f"a model {width} wide has no heads of {head_width}: give --head-width")
    size = tuple(patch.shape[2:])
    return {
        "patch_size": size,
        "num_attention_heads": width // head_width,
        "attention_head_dim": head_width,
        "in_channels": patch.shape[1],
        "out_channels": state["proj_out.weight"].shape[0] // math.prod(size),
        "text_dim": state["condition_embedder.text_embedder.linear_1.weight"].shape[1],
        "freq_dim": state["condition_embedder.time_embedder.linear_1.weight"].shape[1],
        "ffn_dim": state["blocks.0.ffn.net.0.proj.weight"].shape[0],
        "num_layers": len(blocks),
        "cross_attn_norm": "blocks.0.norm2.weight" in state,
    }


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")


def load_strictly(model: torch.nn.Module, state: State) -> None:
    """Loads weights, every key accounted for.

    Raises:
        InputError: missing, unexpected or wrongly shaped keys, by name; or NaN.
    """
    wanted = model.state_dict()
    missing, unexpected = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or unexpected:
        parts = [f"missing {_some(missing)}"] if missing else []
        parts += [f"unexpected {_some(unexpected)}"] if unexpected else []
        raise InputError(f"the weights do not fit the model: {'; '.join(parts)}")
    wrong = [key for key, value in state.items() if value.shape != wanted[key].shape]
    if wrong:
        key = wrong[0]
        raise InputError(f"the weights do not fit the model: {key} is {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}")  # fmt: skip
    check_finite(state)
    model.load_state_dict(state, assign=True)


def check_finite(state: State) -> None:
    """Raises InputError where a tensor holds NaN or infinity, or is of a type no model computes in."""
    for key, value in state.items():
        if value.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise InputError(f"the weights hold {key} in {value.dtype}: give fp32, bf16 or fp16")
        if not torch.isfinite(value).all():
            raise InputError(f"the weights hold NaN or infinity in {key}: fetch them again")


def load_transformer(
    path: Path,
    *,
    layout: str = "wan",
    lora: Path | None = None,
    section: str | None = None,
    head_width: int = HEAD_WIDTH,
) -> CausalWanTransformer3DModel:
    """Our transformer with the weights of a checkpoint in any of the layouts.

    Raises:
        InputError: see the steps above; or the layout is unknown.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is unknown: choose one of {', '.join(LAYOUTS)}")
    state = to_diffusers(read_tensors(path, section))
    if lora is not None:
        state = merge_lora(state, read_tensors(lora))
    config = infer_config(state, head_width)
    known = LAYOUTS[layout]
    with torch.device("meta"):
        model: CausalWanTransformer3DModel = CausalWanTransformer3DModel(
            **config, trained_span=known.trained_span, trained_segments=known.trained_segments
        )
    load_strictly(model, state)
    model.eval()
    return model
