"""Trained weights in a larger network: one that knows more words, where rows of words that both know are carried over and new ones start fresh;
one of more blocks, or of wider feed-forwards, whose new parts begin by adding nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..generator.transformer import Block, CausalWanTransformer3DModel
from ..storyboard.errors import InputError

Rows = list[tuple[int, int]]
"""Row of the fresh network, row of the trained one."""


def shared_rows(fresh: Sequence[str], trained: Sequence[str], offset: int = 0) -> Rows:
    """Rows of the words that both know, after `offset` rows that stay."""
    places = {word: place for place, word in enumerate(trained)}
    words = [(place + offset, places[word] + offset) for place, word in enumerate(fresh) if word in places]
    return [(row, row) for row in range(offset)] + words


def grow(fresh: nn.Module, trained: dict[str, Tensor], rows_of: Callable[[str], Rows]) -> None:
    """Loads trained weights; of one with another number of rows, those that `rows_of` its name gives.

    Raises:
        RuntimeError: the networks differ in more than rows.
    """
    state = fresh.state_dict()
    for name, value in trained.items():
        if name in state and state[name].shape != value.shape and state[name].shape[1:] == value.shape[1:]:
            merged = state[name].clone()
            ours, theirs = (torch.tensor(column) for column in zip(*rows_of(name), strict=True))
            merged[ours] = value[theirs].to(merged)
            trained = {**trained, name: merged}
    missing = {name: value for name, value in state.items() if name not in trained}
    fresh.load_state_dict({**trained, **missing})


def words_of(tokenizer: object) -> list[str]:
    """The words of a tokenizer by their ids."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()  # type: ignore[attr-defined]
    return sorted(vocabulary, key=lambda word: vocabulary[word])


GROWS = ("num_layers", "ffn_dim")


def enlarge(trained: Any, layers: int, ffn: int) -> CausalWanTransformer3DModel:
    """The transformer with so many blocks, and feed-forwards so wide: it computes what it did, and can learn more. New blocks stand evenly among
    the trained ones; each begins as the one before it, saying nothing (LLaMA Pro, arXiv 2401.02415).

    Raises:
        InputError: that is less than it has.
    """
    had = {name: trained.config[name] for name in GROWS}
    if layers < had["num_layers"] or ffn < had["ffn_dim"]:
        raise InputError(
            f"weights of {had['num_layers']} blocks and feed-forwards {had['ffn_dim']} wide do not fit in {layers} and {ffn}: weights can only grow"
        )
    if (layers, ffn) == (had["num_layers"], had["ffn_dim"]):
        return trained  # type: ignore[no-any-return]
    plain = {name: value for name, value in trained.config.items() if not name.startswith("_")}
    device = next(trained.parameters()).device
    with device:
        grown: Any = CausalWanTransformer3DModel(**{**plain, "num_layers": layers, "ffn_dim": ffn})
    if device.type == "meta":  # a process that is handed its weights
        return grown  # type: ignore[no-any-return]
    blocks: Any = grown.blocks
    rest = {name: value for name, value in trained.state_dict().items() if not name.startswith("blocks.")}
    grown.load_state_dict({**grown.state_dict(), **rest})
    begun: set[int] = set()
    for layer, block in enumerate(blocks):
        like = layer * had["num_layers"] // layers
        _widen(block, trained.blocks[like])
        if like in begun:
            _silence(block)
        begun.add(like)
    return grown  # type: ignore[no-any-return]


def _widen(block: Block, trained: Block) -> None:
    """Copies a block into one whose feed-forward is as wide or wider: what is new is heard by nobody."""
    state, own = trained.state_dict(), block.state_dict()
    for name, value in state.items():
        if value.shape != own[name].shape:
            into = own[name].clone() if "net.0" in name else torch.zeros_like(own[name])
            into[tuple(slice(0, size) for size in value.shape)] = value
            state[name] = into
    block.load_state_dict(state)


def _silence(block: Any) -> None:
    for said in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
        nn.init.zeros_(said.weight)
        nn.init.zeros_(said.bias)
