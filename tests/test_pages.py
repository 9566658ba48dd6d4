"""The page store and its pool."""

from __future__ import annotations

import torch
from filmwright.generator.memory import parse_memory
from filmwright.generator.pages import REWIND_CHUNKS, PageShape, PageStore, Pool
from hypothesis import given, settings
from hypothesis import strategies as st

CPU = torch.device("cpu")
SHAPE = PageShape(layers=2, tokens=1, heads=1, head_width=4, dtype=torch.float32, device=CPU)


def pages(first: int, count: int) -> torch.Tensor:
    numbers = torch.arange(first, first + count, dtype=torch.float32)
    return numbers.view(1, -1, 1, 1, 1).expand(2, -1, 1, 1, 4).contiguous()


def replayed(log: list[set[int]], host: bool) -> Pool:
    pool = Pool(SHAPE, limit=9, length=3, chosen=2, host=host)
    for chunk, chosen in enumerate(log):
        pool.add(chunk * 3, chunk, pages(chunk * 3, 3), -pages(chunk * 3, 3), chosen)
    return pool


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 3), min_size=1, max_size=60), st.booleans())
def test_the_pool_equals_a_plain_model_of_itself(moves: list[int], host: bool) -> None:
    """Positive moves commit that many chunks, negative ones rewind; after each, the pool is what a fresh one would be."""
    length, highest = 3, 0
    pool = replayed([], host)
    log: list[set[int]] = []
    for move in moves:
        if move < 0:
            kept = max(0, len(log) + move)
            del log[kept:]
            if not pool.rewind(kept * length, kept):
                assert kept < highest - REWIND_CHUNKS  # only then may it ask for a replay
                pool, highest = replayed(log, host), kept
        for _ in range(move):
            chosen = set(list(pool.candidates(0, len(log) * length - length))[:2])
            pool.add(
                len(log) * length, len(log), pages(len(log) * length, length), -pages(len(log) * length, length), chosen
            )
            log.append(chosen)
            highest = max(highest, len(log))
        fresh = replayed(log, host=False)
        assert list(pool.slot) == list(fresh.slot)
        assert pool.used == fresh.used
        kept_frames = list(pool.slot)
        for two in (kept_frames[:2], kept_frames[-2:]):
            keys, values = pool.read(1, pool.slots(two))
            assert keys[:, 0, 0, 0].tolist() == [float(f) for f in two]
            assert torch.equal(values, -keys)
        described = pool.descriptors[0].index_select(0, pool.slots(kept_frames))
        assert described[:, 0].tolist() == [float(f) for f in kept_frames]


def test_pages_of_the_store_are_where_they_belong() -> None:
    memory = parse_memory("sink(2)+window(1)")
    store = PageStore(SHAPE, memory, 3)
    for chunk in range(20):
        for layer in range(2):
            store.write(layer, pages(chunk * 3, 3)[layer], -pages(chunk * 3, 3)[layer])
        store.advance()
    keys, values = store.read(0, (0, 1, 57, 58, 59))
    assert keys[:, 0, 0, 0].tolist() == [0.0, 1.0, 57.0, 58.0, 59.0]
    assert torch.equal(values, -keys)
    assert not store.rewind(3, 0)
    assert store.rewind(57, 54)
    assert store.frames == 57


def test_room_to_rewind_shrinks_where_pages_are_large() -> None:
    wan = PageShape(layers=30, tokens=1560, heads=12, head_width=128, dtype=torch.bfloat16, device=CPU)
    assert wan.frame_bytes == 287_539_200
    assert (wan.rewind_chunks(3), SHAPE.rewind_chunks(3)) == (2, REWIND_CHUNKS)
