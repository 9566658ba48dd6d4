"""Shared by all tests: a tiny random bundle (32x16 pixels), stories, and an isolated user folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

STORY = """The Fox and the Crow

A crow sat in a tree in the forest with a piece of cheese. A fox came along the path. "What a fine bird you are," said the fox.
The crow opened its beak and sang. The cheese fell, and the fox ran away with the cheese. "Never trust a flatterer," said the crow.
"""


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of the person who runs the tests, and a working folder of its own."""
    monkeypatch.setenv("FILMWRIGHT_CONFIG", str(tmp_path / "no-config.toml"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def story() -> str:
    return STORY


def write_tiny_bundle(folder: Path, seed: int = 0) -> Path:
    """A whole bundle with random weights: one block, 32x16 pixels."""
    from filmwright.generator.autoencoder import MemoryBlock, TinyVideoAutoencoder
    from filmwright.generator.text import build_tokenizer
    from filmwright.generator.transformer import CausalWanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    autoencoder = TinyVideoAutoencoder(encoder_widths=(8, 8, 8), decoder_widths=(8, 8, 8), decoder_blocks=(1, 1, 1))
    for module in autoencoder.modules():
        if isinstance(module, MemoryBlock):  # trained blocks look back; a fresh one does not yet
            torch.nn.init.normal_(module.conv[4].weight, std=0.1)
    autoencoder.save_pretrained(folder / "vae")
    model = CausalWanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, num_layers=1, ffn_dim=24, text_dim=16, freq_dim=16, trained_span=12,
        cut_stream="restart",
    )  # fmt: skip
    torch.nn.init.normal_(model.proj_out.weight, std=0.2)
    model.save_pretrained(folder / "transformer")
    UMT5EncoderModel(
        UMT5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0)
    ).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    profile = {"name": "tiny", "licence": "test", "width": 32, "height": 16, "enlarge": 2, "sampling": {"shift": 3.0}}
    (folder / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_film(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """A whole film of the tiny bundle, as `forked.film` orders it; copy it before changing anything."""
    from filmwright.cli import app
    from typer.testing import CliRunner

    from .forked import film

    folder = tmp_path_factory.mktemp("film") / "film"
    made = CliRunner().invoke(app, [str(argument) for argument in film(tiny_bundle, str(folder))])
    assert made.exit_code == 0, made.output
    return folder


@pytest.fixture
def wan_folder(tmp_path: Path) -> Path:
    """A whole Wan 2.1 diffusers folder with random weights, as the hub has it."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from filmwright.generator.text import build_tokenizer
    from transformers import UMT5Config, UMT5EncoderModel

    folder = tmp_path / "wan"
    torch.manual_seed(0)
    WanTransformer3DModel(
        num_layers=2, num_attention_heads=2, attention_head_dim=24, ffn_dim=64, text_dim=16, freq_dim=16, rope_max_seq_len=32
    ).save_pretrained(folder / "transformer")  # fmt: skip
    torch.manual_seed(1)
    AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).save_pretrained(folder / "vae")
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    config = UMT5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0
    )
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}), encoding="utf-8")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"flow_shift": 3.0}), encoding="utf-8")
    return folder


@pytest.fixture
def wan_bundle(wan_folder: Path) -> Path:
    """The same for films of 64x32 pixels."""
    profile = {
        "name": "tiny-wan", "licence": "test", "width": 64, "height": 32, "enlarge": 2, "prompt_style": "prose", "text_tokens": 64,
        "memory": "routed(2)+window(1)", "base": "../wan",
        "sampling": {"kind": "euler", "steps": 2, "shift": 3.0, "guidance": 2.0},
    }  # fmt: skip
    bundle = wan_folder.parent / "bundle"
    bundle.mkdir()
    (wan_folder / "transformer").rename(bundle / "transformer")
    (bundle / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    return bundle


@pytest.fixture
def small_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size that trains within seconds (`small_runs.SMALL`)."""
    from filmwright.training.sizes import SIZES

    from .small_runs import SMALL

    monkeypatch.setitem(SIZES, "small", SMALL)
