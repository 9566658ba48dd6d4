"""Streams that run at once on one autoencoder, one tokenizer, one CLIP: none may see another's state."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from filmwright.generator import clip as clip_module
from filmwright.generator import text as text_module
from filmwright.generator.bundle import load_bundle
from filmwright.generator.clip import Clip
from filmwright.generator.text import TextEmbedder, build_text_encoder, build_tokenizer, tokenize
from filmwright.generator.wan_autoencoder import WanAutoencoder
from filmwright.storyboard.video import write_video
from filmwright.training.clip import build_clip
from filmwright.training.clips import ClipFolder
from filmwright.training.films import FilmStream
from filmwright.training.trainer import prefetch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

CPU = torch.device("cpu")
WORKERS = 8
CLIPS = 24


def tiny_wan() -> WanAutoencoder:
    torch.manual_seed(1)
    return WanAutoencoder(AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)).eval()


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Threads that change turns often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[int], Tensor], count: int = WORKERS) -> list[Tensor]:
    """`work` of 0, 1, … on as many threads."""
    with torch.no_grad(), ThreadPoolExecutor(count) as pool:
        return list(pool.map(torch.no_grad()(work), range(count)))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Clips of noise, each of its own."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(CLIPS):
        frames = np.random.default_rng(number).integers(0, 256, (26, 32, 64, 3), dtype=np.uint8)
        write_video(folder / f"{number:02}.mp4", [frames], fps=16, width=64, height=32)
        notes = {"shots": [{"start_seconds": 0, "caption": f"clip {number}"}]}
        (folder / f"{number:02}.json").write_text(json.dumps(notes), encoding="utf-8")
    return folder


def test_clips_have_the_same_latents_by_eight_workers_as_by_one(
    wan_bundle: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(wan_bundle, CPU)
    films = []
    for processors in (2, WORKERS + 1):
        monkeypatch.setattr(os, "cpu_count", lambda count=processors: count)
        stream = FilmStream(ClipFolder(clips, bundle, chunks=2, length=3).film, seed=0, count=CLIPS)
        with closing(prefetch(lambda step, stream=stream: stream.batch(step, 1), 0)) as batches:  # type: ignore[misc]
            films.append([batch.films for batch in islice(batches, CLIPS)])
    for one, eight in zip(*films, strict=True):
        assert one.prompts == eight.prompts
        assert torch.equal(one.latents, eight.latents) and torch.equal(one.keyframes, eight.keyframes)


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_a_stream_is_encoded_as_diffusers_encodes_it(frames: int) -> None:
    wan, video = tiny_wan(), torch.rand(2, frames, 3, 16, 32)
    with torch.no_grad():
        raw = wan.inner.encode((video * 2 - 1).transpose(1, 2)).latent_dist.mode().transpose(1, 2)
        mean, std = wan._statistics(raw)
        assert torch.equal(wan.encode(video), (raw - mean) / std)


def test_frames_that_fill_no_latent_frame_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 \+ 4k frames, not 8"):
        tiny_wan().encode(torch.rand(1, 8, 3, 16, 32))


def test_threads_that_encode_in_step_do_not_mix() -> None:
    wan, videos = tiny_wan(), torch.rand(2, 1, 9, 3, 16, 32)
    with torch.no_grad():
        alone = [wan.encode(video) for video in videos]
    step = Barrier(2, timeout=20)

    def in_step(*_: object) -> None:
        step.wait()

    wan.inner.encoder.register_forward_pre_hook(in_step)
    for expected, found in zip(alone, at_once(lambda i: wan.encode(videos[i]), 2), strict=True):
        assert torch.equal(expected, found)


def test_a_decoded_stream_goes_on_while_others_are_encoded_and_decoded() -> None:
    wan, latents, video = tiny_wan(), torch.randn(2, 1, 4, 16, 2, 4), torch.rand(1, 9, 3, 16, 32)
    with torch.no_grad():
        alone = [wan.decode(one)[0] for one in latents]
        seen = wan.encode(video)
        memories: list[list[object] | None] = [None, None]
        parts: list[list[Tensor]] = [[], []]
        for frame in range(4):  # both streams and an encoder, turn by turn
            for stream in range(2):
                part, memories[stream] = wan.decode(latents[stream, :, frame : frame + 1], memories[stream])
                parts[stream].append(part)
                assert torch.equal(wan.encode(video), seen)
    for expected, found in zip(alone, parts, strict=True):
        assert torch.equal(torch.cat(found, dim=1), expected)


def test_threads_share_a_tokenizer() -> None:
    tokenizer, together = build_tokenizer(), Barrier(WORKERS, timeout=20)
    prompts = ["a red fox on a hill " * 20] * 64

    def work(number: int) -> Tensor:
        together.wait()
        return torch.stack([tokenize(tokenizer, prompts, 20 + number)[0].sum() for _ in range(20)])

    alone = [tokenize(tokenizer, prompts, 20 + number)[0].sum() for number in range(WORKERS)]
    for expected, found in zip(alone, at_once(work), strict=True):
        assert (found == expected).all()


def test_threads_share_the_prompts_a_clip_has_looked_at() -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    clip = Clip(build_clip(len(tokenizer)).eval(), tokenizer, 8)
    clip._look_at = lambda prompts: torch.tensor([[float(prompt)] for prompt in prompts])  # type: ignore[method-assign]
    many = clip_module.KEPT_PROMPTS + 1

    def work(number: int) -> Tensor:  # each drops what it kept, again and again
        asked = [str(number * many + i) for i in range(many)]
        return torch.stack([clip.texts(asked[start:])[-1] for start in range(20)])

    for number, found in enumerate(at_once(work)):
        assert (found == (number + 1) * many - 1).all()


def test_threads_share_the_prompts_a_text_encoder_has_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(text_module, "KEPT_PROMPTS", 2)
    tokenizer = build_tokenizer()
    embedder = TextEmbedder(tokenizer, build_text_encoder(len(tokenizer)).eval(), 8, CPU, None)
    prompts = ["fox", "bear", "bird", "meadow"]
    expected = {prompt: embedder(prompt) for prompt in prompts}

    def work(number: int) -> Tensor:
        return torch.cat([embedder(prompts[(number + i) % 4]) for i in range(40)])

    for number, found in enumerate(at_once(work)):
        assert torch.equal(found, torch.cat([expected[prompts[(number + i) % 4]] for i in range(40)]))


def test_a_large_text_encoder_moves_for_one_prompt_at_a_time(tmp_path: Path) -> None:
    class Moving(torch.nn.Module):
        """Counts who uses it while it is on the device."""

        users, most = 0, 0

        def to(self, place: object) -> Moving:
            self.users += 1 if place == CPU else -1
            self.most = max(self.most, self.users)
            return self

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> BaseModelOutput:
            time.sleep(0.01)
            return BaseModelOutput(input_ids[..., None].float())

    encoder = Moving()
    embedder = TextEmbedder(build_tokenizer(), encoder, 8, CPU, tmp_path)
    at_once(lambda number: embedder(f"fox {number}"))
    assert encoder.most == 1 and len(list(tmp_path.iterdir())) == WORKERS
