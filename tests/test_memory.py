"""The six segments: what they hold, that a rollout is the fold of its log under all of them, and what is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filmwright.generator.bundle import choose_dtype, load_bundle
from filmwright.generator.memory import PRESETS, parse_memory
from filmwright.generator.pages import REWIND_CHUNKS
from filmwright.generator.rollout import ModelRollout
from filmwright.generator.routing import choose
from filmwright.generator.shot_cache import compressed_history
from filmwright.generator.transformer import CausalWanTransformer3DModel
from filmwright.generator.video_generator import open_folder
from filmwright.storyboard.errors import FilmwrightError, InputError
from PIL import Image

CPU = torch.device("cpu")
PROMPTS = (
    "medium shot , forest , day , camera still : red plain fox walks right .",
    "wide shot , castle , night , camera still .",
    "close shot , forest , day , camera still : blue plain hare stands left .",
)
EVERY = [
    *PRESETS,
    "sink(2)+routed(2)+window(1)",
    "shots(2,noise=200)+compressed(1,2,5,noise=50)",
    "routed(3,tier=host)+window(1)",
]


@pytest.fixture(scope="module")
def rollout_of(tiny_bundle: Path):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    deep = CausalWanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, num_layers=2, ffn_dim=24, text_dim=16, freq_dim=16
    )
    torch.nn.init.normal_(deep.proj_out.weight, std=0.2)
    deep.add_history_patches()

    def build(memory: str, seed: int = 0) -> ModelRollout:
        bundle = replace(load_bundle(tiny_bundle, CPU), transformer=deep.eval())
        return ModelRollout(bundle, parse_memory(memory), seed)

    return build


def play(rollout: ModelRollout, shots: int, chunks: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    made = []
    for shot in range(shots):
        continuity = ("new", "continuous", "extend")[shot % 3]
        rollout.begin_shot(PROMPTS[shot % 3], shot=f"s{shot}", take=1, continuity=continuity)  # type: ignore[arg-type]
        made += [rollout.step().latents for _ in range(chunks)]
    return made


@pytest.mark.parametrize("memory", EVERY)
def test_every_memory_rolls_over_five_cuts(rollout_of, memory: str) -> None:  # type: ignore[no-untyped-def]
    rollout = rollout_of(memory)
    made = play(rollout, 6, 9 if parse_memory(memory).chunk is None else 4)
    assert all(np.isfinite(latents).all() for latents in made)
    assert made[0].shape[1] == (parse_memory(memory).chunk or 3)


@pytest.mark.parametrize("memory", EVERY)
def test_feeding_a_film_back_is_bit_equal_and_so_is_the_next_chunk(rollout_of, memory: str) -> None:  # type: ignore[no-untyped-def]
    first, second = rollout_of(memory), rollout_of(memory)
    for shot in range(3):
        for rollout in (first, second):
            rollout.begin_shot(PROMPTS[shot], shot=f"s{shot}", take=1)
        for _ in range(3):
            made = first.step()
            fed = second.feed(made.latents, made.state)
            assert np.array_equal(made.frames, fed.frames)
            assert made.recalled == fed.recalled
    assert torch.equal(first.store.near.keys, second.store.near.keys)
    assert torch.equal(first.store.near.values, second.store.near.values)
    assert np.array_equal(first.step().latents, second.step().latents)


@pytest.mark.parametrize("memory", EVERY)
@pytest.mark.parametrize("back", [1, 3])
def test_a_rewind_leaves_what_a_film_without_those_chunks_has(rollout_of, memory: str, back: int) -> None:  # type: ignore[no-untyped-def]
    rollout, plain = rollout_of(memory), rollout_of(memory)
    for each in (rollout, plain):
        each.begin_shot(PROMPTS[0], shot="a", take=1)
    made = [rollout.step() for _ in range(4)]
    rollout.rewind(back)
    for chunk in made[: 4 - back]:
        plain.feed(chunk.latents, chunk.state)
    again = rollout.step()
    assert again.draw == 1
    fed = plain.feed(again.latents, again.state)
    assert np.array_equal(again.frames, fed.frames)
    assert again.recalled == fed.recalled
    for each in (rollout, plain):
        each.begin_shot(PROMPTS[1], shot="b", take=1)
    assert np.array_equal(rollout.step().latents, plain.step().latents)


@pytest.mark.parametrize("memory", ["routed(1,pool=100KB)+window(1)", "routed(2,pool=150KB,tier=host)+window(1)"])
def test_a_full_pool_is_the_same_after_a_rewind(rollout_of, memory: str) -> None:  # type: ignore[no-untyped-def]
    rollout, plain = rollout_of(memory), rollout_of(memory)
    assert rollout.store.pool is not None
    for each in (rollout, plain):
        each.begin_shot(PROMPTS[0], shot="a", take=1)
    made = [rollout.step() for _ in range(rollout.store.pool.limit)]
    assert len(rollout.store.pool.slot) == rollout.store.pool.limit
    rollout.rewind(REWIND_CHUNKS)
    for chunk in made[:-REWIND_CHUNKS]:
        plain.feed(chunk.latents, chunk.state)
    for _ in range(3):
        again = rollout.step()
        assert plain.feed(again.latents).recalled == again.recalled
        assert list(rollout.store.pool.slot) == list(plain.store.pool.slot)  # type: ignore[union-attr]
    for each in (rollout, plain):
        each.begin_shot(PROMPTS[1], shot="b", take=1)
    assert np.array_equal(rollout.step().latents, plain.step().latents)


@pytest.mark.parametrize("memory", EVERY)
@pytest.mark.parametrize("continuity", ["new", "continuous", "extend"])
@pytest.mark.parametrize("dropped", [0, 2, REWIND_CHUNKS + 1])
def test_a_retake_leaves_what_a_film_without_the_dropped_shot_has(  # type: ignore[no-untyped-def]
    rollout_of, memory: str, continuity: str, dropped: int
) -> None:
    rollout, plain = rollout_of(memory), rollout_of(memory)
    for each in (rollout, plain):
        each.begin_shot(PROMPTS[0], shot="a", take=1)
        for _ in range(2):
            each.step()
    rollout.begin_shot(PROMPTS[1], shot="b", take=1)
    if dropped == 2:
        rollout.reprompt(PROMPTS[2], recache=True)
    for _ in range(dropped):
        rollout.step()
    rollout.begin_shot(PROMPTS[2], shot="b", take=2, continuity=continuity, retake=True)
    plain.begin_shot(PROMPTS[2], shot="b", take=2, continuity=continuity)
    for shot in ("b", "c"):
        for _ in range(2):
            again, same = rollout.step(), plain.step()
            assert np.array_equal(again.latents, same.latents)
            assert np.array_equal(again.frames, same.frames)
            assert again.recalled == same.recalled
        if shot == "b":
            for each in (rollout, plain):
                each.begin_shot(PROMPTS[1], shot="c", take=1)


def test_a_retake_before_any_shot_is_refused(rollout_of) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FilmwrightError, match="no shot has begun"):
        rollout_of("window(1)").begin_shot(PROMPTS[0], shot="a", take=1, retake=True)


def test_a_rewind_beyond_the_kept_pages_replays(rollout_of) -> None:  # type: ignore[no-untyped-def]
    for memory in EVERY:
        rollout, fed = rollout_of(memory), rollout_of(memory)
        for each in (rollout, fed):
            each.begin_shot(PROMPTS[0], shot="a", take=1)
        made = [rollout.step() for _ in range(REWIND_CHUNKS + 4)]
        rollout.rewind(REWIND_CHUNKS + 3)
        fed.feed(made[0].latents, made[0].state)
        assert np.array_equal(rollout.step().frames.shape, made[1].frames.shape)
        rollout.rewind(1)
        again, same = (each.feed(made[1].latents, made[1].state) for each in (rollout, fed))
        assert again.recalled == same.recalled
        assert torch.equal(rollout.store.near.keys[:, :6], fed.store.near.keys[:, :6])


def test_recaching_writes_the_window_anew_and_a_replay_does_it_again(rollout_of) -> None:  # type: ignore[no-untyped-def]
    plain, recached = rollout_of("sink(1)+window(2)"), rollout_of("sink(1)+window(2)")
    for each in (plain, recached):
        each.begin_shot(PROMPTS[0], shot="a", take=1)
        for _ in range(3):
            each.step()
    before = recached.store.near.keys.clone()
    plain.reprompt(PROMPTS[1])
    recached.reprompt(PROMPTS[1], recache=True)
    changed = [not torch.equal(before[:, f], recached.store.near.keys[:, f]) for f in range(9)]
    assert torch.equal(plain.store.near.keys, before)
    assert not any(changed[:3])  # out of the window
    after, values = recached.store.near.keys.clone(), recached.store.near.values.clone()
    assert not torch.equal(values[:, 3:9], plain.store.near.values[:, 3:9])
    assert not np.array_equal(plain.step().latents, recached.step().latents)
    recached.rewind(1)
    recached._replay()
    assert torch.equal(recached.store.near.keys[:, :9], after[:, :9])
    assert torch.equal(recached.store.near.values[:, :9], values[:, :9])
    recached.rewind(1)  # before the new prompt: the old pages come back
    fresh = rollout_of("sink(1)+window(2)")
    fresh.begin_shot(PROMPTS[0], shot="a", take=1)
    for latents in recached._shots[0].latents:
        fresh.feed(latents.numpy())
    assert torch.equal(recached.store.near.values[:, :6], fresh.store.near.values[:, :6])


def test_routing_takes_the_best_and_the_earlier_of_equals() -> None:
    query = torch.zeros(1, 2, 1, 4)
    query[..., 0] = 1.0
    descriptors = torch.zeros(1, 6, 4)
    descriptors[0, :, 0] = torch.tensor([1.0, 3.0, 2.0, 3.0, 2.0, 0.0])
    assert choose(query, descriptors, 3).tolist() == [[1, 2, 3]]
    assert choose(query, descriptors, 9).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_routing_recalls_only_frames_outside_the_window(rollout_of) -> None:  # type: ignore[no-untyped-def]
    rollout = rollout_of("sink(2)+routed(4)+window(2)")
    rollout.begin_shot(PROMPTS[0], shot="a", take=1)
    for _ in range(8):
        chunk = rollout.step()
        for layer in chunk.recalled:
            assert len(layer) == min(4, max(0, chunk.start - 6 - 2))
            assert all(2 <= frame < chunk.start - 6 for frame in layer)
            assert layer == sorted(layer)


def test_the_hidden_state_is_carried_on_and_never_shown(rollout_of) -> None:  # type: ignore[no-untyped-def]
    rollout = rollout_of("state(2)+window(1)")
    rollout.begin_shot(PROMPTS[0], shot="a", take=1)
    chunk = rollout.step()
    assert chunk.state is not None and chunk.state.shape == (16, 2, 2, 4)
    assert chunk.latents.shape == (16, 3, 2, 4)
    assert len(chunk.frames) == 12
    other = rollout_of("state(2)+window(1)")
    other.begin_shot(PROMPTS[0], shot="a", take=1)
    other.feed(chunk.latents, np.zeros_like(chunk.state))
    assert not np.array_equal(rollout.step().latents, other.step().latents)


def test_compressed_history_stands_right_before_the_chunk() -> None:
    segment = parse_memory("compressed").compressed
    assert segment is not None
    latents = torch.arange(25.0).view(1, 1, 25, 1, 1).expand(1, 16, -1, 4, 4)
    full, quarter, coarse = compressed_history(segment, latents, base=22)
    assert (full.positions, quarter.positions, coarse.positions) == ((21,), (19, 20), tuple(range(3, 19)))
    assert full.latents[0, 0, :, 0, 0].tolist() == [24.0]
    assert coarse.latents[0, 0, :, 0, 0].tolist() == [float(f) for f in range(6, 22)]
    odd = compressed_history(segment, latents[:, :, :6], base=22)[2]
    assert odd.positions == (16, 16, 17, 18)


def test_references_are_pinned_added_and_withdrawn(rollout_of, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name, colour in (("a", (250, 20, 20)), ("b", (20, 20, 250))):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    made = {}
    for name, pins in (("none", []), ("a", [a]), ("b", [b])):
        rollout = rollout_of("shots(1)+window(1)")
        rollout.begin_shot(PROMPTS[0], shot="a", take=1, references=pins)
        made[name] = rollout.step().latents
    assert not np.array_equal(made["none"], made["a"])
    assert not np.array_equal(made["a"], made["b"])
    rollout = rollout_of("shots(1)+window(1)")
    rollout.begin_shot(PROMPTS[0], shot="a", take=1)
    assert np.array_equal(rollout.step().latents, made["none"])
    rollout.rewind(1)
    rollout.pin([b])
    rollout._shots[-1].draws.clear()
    assert np.array_equal(rollout.step().latents, made["b"])
    with pytest.raises(InputError, match="2 references are pinned but the memory holds 1"):
        rollout.pin([a, b])
    with pytest.raises(FilmwrightError, match="pins no references"):
        plain = rollout_of("window(1)")
        plain.begin_shot(PROMPTS[0], shot="a", take=1)
        plain.pin([a])


def test_pins_fill_the_shot_cache_but_for_a_third_that_keyframes_get(rollout_of, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    Image.new("RGB", (64, 64), (250, 20, 20)).save(tmp_path / "a.png")
    Image.new("RGB", (64, 64), (20, 20, 250)).save(tmp_path / "b.png")
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    rollout = rollout_of("shots(3)+window(1)")
    cache = rollout._cache
    red, blue = cache.reference(a), cache.reference(b)

    def filled(*references: Path) -> list[torch.Tensor]:
        return cache.fill(PROMPTS[0], references, None)  # type: ignore[no-any-return]

    def same(found: list[torch.Tensor], *expected: torch.Tensor) -> bool:
        return len(found) == len(expected) and all(map(torch.equal, found, expected))

    assert same(filled(a), red, red, red)
    assert same(filled(a, b), red, blue, red)
    assert same(filled())
    play(rollout, 2, 1)
    (best,) = (keyframe.latent for keyframe in cache._best(PROMPTS[0]))  # of the one shot that has ended
    assert same(filled(a), red, red, best)
    assert same(filled(a, b), red, blue, best)
    assert same(filled(), best)


def test_a_continuous_shot_pins_the_last_picture_and_a_new_one_does_not_have_to(rollout_of) -> None:  # type: ignore[no-untyped-def]
    rollout = rollout_of("shots(2)+compressed")
    play(rollout, 2, 3)
    new, continuous = rollout._shots
    assert new.cached == [(0, [])]
    last = rollout._cache.shots[0][-1]  # type: ignore[union-attr]
    assert torch.equal(continuous.cached[0][1][0], last.latent)
    rollout.begin_shot(PROMPTS[2], shot="s2", take=1, continuity="extend")
    assert rollout._shots[-1].cached[0][1] == continuous.cached[0][1]
    assert rollout._shots[-1].inherited is not None
    rollout.begin_shot(PROMPTS[2], shot="s3", take=1)
    assert rollout._shots[-1].inherited is None


def test_a_pool_too_small_for_the_window_says_what_is_needed(rollout_of) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="give at least"):
        rollout_of("routed(5,pool=1KB)+window(3)")


def test_untrained_segments_warn(tiny_bundle: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generator = open_folder(str(tiny_bundle), "filmweaver")
    assert any("was trained with 12" in str(w.message) for w in caught)
    assert generator.profile.max_references == 3
    assert generator.profile.chunk_latents == 6


def test_a_cpu_computes_large_weights_in_bf16_where_that_is_faster_or_fp32_has_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("filmwright.generator.bundle.free_bytes", lambda device: 16 << 30)
    for native, parameters, expected in (
        (True, 1_000_000, torch.float32),
        (True, 3_800_000, torch.bfloat16),
        (False, 3_800_000, torch.float32),
        (True, 1_400_000_000, torch.bfloat16),
        (False, 1_400_000_000, torch.float32),
        (False, 14_000_000_000, torch.bfloat16),
    ):
        monkeypatch.setattr("filmwright.generator.bundle.bf16_is_native", lambda device_type, native=native: native)
        assert choose_dtype(parameters, CPU) == expected


def test_large_weights_run_in_bf16_and_keep_their_embeddings_on_disk(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for least in ("LARGE_PARAMETERS", "BF16_PARAMETERS"):
        monkeypatch.setattr(f"filmwright.generator.bundle.{least}", 0)
    monkeypatch.setattr("filmwright.generator.bundle.bf16_is_native", lambda device_type: True)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache"))
    bundle = load_bundle(tiny_bundle, CPU)
    assert bundle.dtype == torch.bfloat16
    rollout = ModelRollout(bundle, parse_memory("full"), 0)
    rollout.begin_shot(PROMPTS[0], shot="a", take=1)
    made = [rollout.step() for _ in range(6)]
    assert made[0].latents.dtype == np.float32 and all(np.isfinite(chunk.latents).all() for chunk in made)
    rollout.begin_shot(PROMPTS[0], shot="b", take=1)
    assert np.isfinite(rollout.step().latents).all()
    kept = list((tmp_path / "cache").rglob("*.safetensors"))
    assert len(kept) == 2  # the first chunk's prompt carries the cut mark
    again = load_bundle(tiny_bundle, CPU)
    again.text._encoder = None  # type: ignore[assignment]  # what is on disk needs no encoder
    assert torch.equal(again.text(PROMPTS[0]), bundle.text(PROMPTS[0]))
    kept[0].write_bytes(b"damaged")
    kept[1].write_bytes(b"damaged")
    third = load_bundle(tiny_bundle, CPU)
    assert torch.equal(third.text(PROMPTS[0]), bundle.text(PROMPTS[0]))
