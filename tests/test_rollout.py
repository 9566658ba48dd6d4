from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filmwright.generator.bundle import load_bundle
from filmwright.generator.memory import parse_memory
from filmwright.generator.pages import REWIND_CHUNKS
from filmwright.generator.rollout import ModelRollout
from filmwright.generator.sampling import euler, few_step
from filmwright.generator.schedule import Sampling
from filmwright.generator.video_generator import open_folder
from filmwright.storyboard.errors import FilmwrightError, InputError
from filmwright.storyboard.stage import Chunk

PROMPT = "medium shot , forest , day , camera still : red plain fox walks right ."
OTHER = "wide shot , castle , night , camera still ."


@pytest.fixture(scope="module")
def rollout_of(tiny_bundle: Path):  # type: ignore[no-untyped-def]
    bundle = load_bundle(tiny_bundle, torch.device("cpu"))
    return lambda seed=0, memory="window(2)": ModelRollout(bundle, parse_memory(memory), seed)


def roll(rollout: ModelRollout, chunks: int, shot: str = "a", prompt: str = PROMPT) -> list[Chunk]:
    rollout.begin_shot(prompt, shot=shot, take=1)
    return [rollout.step() for _ in range(chunks)]


def same(a: list[Chunk], b: list[Chunk]) -> bool:
    return all(
        np.array_equal(x.latents, y.latents) and np.array_equal(x.frames, y.frames) for x, y in zip(a, b, strict=True)
    )


def test_a_chunk_has_the_shape_of_the_profile(rollout_of) -> None:  # type: ignore[no-untyped-def]
    chunk = roll(rollout_of(), 1)[0]
    assert chunk.latents.shape == (16, 3, 2, 4)
    assert chunk.frames.shape == (12, 16, 32, 3)
    assert chunk.frames.dtype == np.uint8


def test_the_same_seed_gives_the_same_film_and_another_seed_another(rollout_of) -> None:  # type: ignore[no-untyped-def]
    assert same(roll(rollout_of(), 3), roll(rollout_of(), 3))
    assert not same(roll(rollout_of(), 3), roll(rollout_of(seed=1), 3))


def test_feeding_the_latents_back_is_bit_equal_and_so_is_the_next_chunk(rollout_of) -> None:  # type: ignore[no-untyped-def]
    first = rollout_of()
    made = roll(first, 4)
    second = rollout_of()
    second.begin_shot(PROMPT, shot="a", take=1)
    assert same(made, [second.feed(chunk.latents) for chunk in made])
    for mine, theirs in (
        (first.store.near.keys, second.store.near.keys),
        (first.store.near.values, second.store.near.values),
    ):
        assert torch.equal(mine, theirs)
    assert same([first.step()], [second.step()])


def test_a_rewound_chunk_was_never_made_and_is_drawn_with_other_noise(rollout_of) -> None:  # type: ignore[no-untyped-def]
    rollout, plain = rollout_of(), rollout_of()
    made = roll(rollout, 3)
    rollout.rewind(1)
    again = rollout.step()
    assert again.draw == 1
    assert not np.array_equal(again.latents, made[2].latents)
    plain.begin_shot(PROMPT, shot="a", take=1)
    for chunk in made[:2]:
        plain.feed(chunk.latents)
    assert same([plain.feed(again.latents)], [again])


def test_a_rewind_beyond_the_kept_pages_replays_the_film(rollout_of) -> None:  # type: ignore[no-untyped-def]
    count = REWIND_CHUNKS + 6
    rollout, fed = rollout_of(), rollout_of()
    made = roll(rollout, count)
    rollout.rewind(count - 1)
    fed.begin_shot(PROMPT, shot="a", take=1)
    fed.feed(made[0].latents)
    assert same([rollout.feed(made[1].latents)], [fed.feed(made[1].latents)])


def test_a_rewind_past_the_beginning_is_refused(rollout_of) -> None:  # type: ignore[no-untyped-def]
    rollout = rollout_of()
    roll(rollout, 2)
    with pytest.raises(FilmwrightError, match="cannot rewind 3 chunks: shot a has 2"):
        rollout.rewind(3)


def test_a_new_prompt_changes_the_picture_from_the_next_chunk_on(rollout_of) -> None:  # type: ignore[no-untyped-def]
    plain, changed = rollout_of(), rollout_of()
    made = roll(plain, 2)
    assert same(made[:1], roll(changed, 1))
    changed.reprompt(OTHER)
    assert not np.array_equal(changed.step().latents, made[1].latents)


def test_history_reaches_over_a_cut(rollout_of) -> None:  # type: ignore[no-untyped-def]
    one, two = rollout_of(), rollout_of()
    roll(one, 1)
    roll(two, 1, prompt=OTHER)
    assert not same(roll(one, 1, shot="b"), roll(two, 1, shot="b"))


def test_a_streamed_decode_equals_the_decode_of_the_same_chunks_later(rollout_of, tiny_bundle: Path) -> None:  # type: ignore[no-untyped-def]
    made = roll(rollout_of(), 3)
    autoencoder = load_bundle(tiny_bundle, torch.device("cpu")).autoencoder
    memory = None
    for chunk in made:
        latents = torch.from_numpy(chunk.latents).transpose(0, 1)[None].to(autoencoder.dtype)
        with torch.no_grad():
            video, memory = autoencoder.decode(latents, memory)
        frames = (video[0].float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(frames, chunk.frames)


def test_the_decoder_starts_anew_at_a_cut_but_not_when_a_shot_extends(rollout_of) -> None:  # type: ignore[no-untyped-def]
    made = roll(rollout_of(), 2)
    frames = {}
    for continuity in ("new", "extend"):
        rollout = rollout_of()
        rollout.begin_shot(PROMPT, shot="a", take=1)
        rollout.feed(made[0].latents)
        rollout.begin_shot(PROMPT, shot="b", take=1, continuity=continuity)
        frames[continuity] = rollout.feed(made[1].latents).frames
    assert np.array_equal(frames["extend"], made[1].frames)
    assert not np.array_equal(frames["new"], made[1].frames)


def test_damaged_latents_are_refused(rollout_of) -> None:  # type: ignore[no-untyped-def]
    rollout = rollout_of()
    made = roll(rollout, 1)[0]
    with pytest.raises(FilmwrightError, match="NaN"):
        rollout.feed(made.latents * np.float32("nan"))
    with pytest.raises(FilmwrightError, match="shape"):
        rollout.feed(made.latents[:, :1])


def test_both_samplers_reach_the_clean_chunk_when_the_flow_is_exact() -> None:
    clean = torch.randn(2, 3)

    def exact(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return (x - clean) / sigma

    for sampling, run in ((Sampling(), few_step), (Sampling(kind="euler", steps=7), euler)):
        assert torch.allclose(run(exact, lambda step: torch.randn(2, 3), sampling.sigmas()), clean, atol=1e-5)


def test_few_step_times_are_warped_towards_noise() -> None:
    assert Sampling(shift=5.0).sigmas() == pytest.approx([1.0, 0.9375, 5 / 6, 0.625])


@pytest.mark.parametrize("text", ["windows", "windo(3)", ""])
def test_unknown_memories_list_the_known_ones(text: str) -> None:
    with pytest.raises(InputError, match="causalcine, filmweaver"):
        parse_memory(text)


def test_a_span_beyond_the_trained_one_warns(tiny_bundle: Path) -> None:
    with pytest.warns(UserWarning, match="spans 21 positions; tiny was trained with 12"):
        open_folder(str(tiny_bundle), "window(6)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_folder(str(tiny_bundle), "window(3)")


@pytest.mark.parametrize(
    "part",
    [
        "profile.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "text_encoder/model.safetensors",
    ],
)
def test_missing_and_damaged_weights_are_named(tiny_bundle: Path, tmp_path: Path, part: str) -> None:
    import shutil

    for damage in ("missing", "damaged"):
        folder = tmp_path / f"{damage}"
        shutil.copytree(tiny_bundle, folder)
        target = folder / part
        target.unlink() if damage == "missing" else target.write_bytes(target.read_bytes()[:20])
        with pytest.raises(InputError, match=part.split("/")[0]) as caught:
            load_bundle(folder, torch.device("cpu"))
        assert "\n" not in str(caught.value)


def test_weights_with_nan_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["proj_out.bias"][0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"NaN or infinity in proj_out\.bias"):
        load_bundle(folder, torch.device("cpu"))


def test_guidance_ends_where_little_noise_is_left_but_for_a_shots_first_chunk(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(tiny_bundle, torch.device("cpu"))
    torch.manual_seed(3)
    torch.nn.init.normal_(bundle.transformer.proj_out.weight, std=0.2)
    passes: list[int] = []
    forward = bundle.transformer.forward

    def counted(x: torch.Tensor, *args: Any) -> torch.Tensor:
        passes.append(len(x))
        return forward(x, *args)

    monkeypatch.setattr(bundle.transformer, "forward", counted)

    def rolled(**values: float) -> tuple[Any, list[int]]:
        sampling = replace(bundle.sampling, kind="euler", steps=4, shift=3.0, **values)  # at noise 1, 0.9, 0.75, 0.5
        passes.clear()
        return roll(ModelRollout(replace(bundle, sampling=sampling), parse_memory("window(2)"), 0), 2), list(passes)

    always, above, never = (
        rolled(guidance=3.0),
        rolled(guidance=3.0, guide_above=0.6),
        rolled(guidance=3.0, guide_above=1.0),
    )
    assert always[1] == [2, 2, 2, 2, 1, 2, 2, 2, 2, 1]  # the last one commits
    assert above[1] == [2, 2, 2, 2, 1, 2, 2, 2, 1, 1]
    assert never[1] == [2, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert same(above[0][:1], always[0][:1])
    assert not same(above[0][1:], always[0][1:])
    assert not same(above[0][1:], never[0][1:])


@pytest.mark.parametrize("memory", ["window(2)", "state(1)+window(1)", "shots(1)+window(1)"])
def test_guidance_towards_memory_acts_at_the_first_chunk_of_a_shot_alone(tiny_bundle: Path, memory: str) -> None:
    bundle = load_bundle(tiny_bundle, torch.device("cpu"))
    sampling = replace(bundle.sampling, kind="euler", steps=2, guidance=3.0)
    torch.manual_seed(3)
    torch.nn.init.normal_(bundle.transformer.proj_out.weight, std=0.2)  # weights to which memory makes a difference

    def rollout(guide: bool) -> ModelRollout:
        return ModelRollout(
            replace(bundle, sampling=replace(sampling, recall_above=0.5 if guide else 1.0)), parse_memory(memory), 0
        )

    plain, guided = rollout(False), rollout(True)
    assert same(roll(plain, 2), roll(guided, 2))  # nothing was there to remember
    for one in (plain, guided):
        one.begin_shot(OTHER, shot="b", take=1)
    first = guided.step()
    assert not np.array_equal(plain.step().latents, first.latents)
    plain.rewind(1)
    plain.feed(first.latents, first.state)
    assert np.array_equal(plain.step().latents, guided.step().latents)
