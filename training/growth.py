"""Trained weights in a network that knows more words: rows of words that both know are carried over, new ones start fresh."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

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
