"""Weights in the layouts people have: each converts, loads, and computes what the original computes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from filmwright.cli import app
from filmwright.generator.autoencoder import MemoryBlock
from filmwright.generator.bundle import load_bundle
from filmwright.generator.checkpoints import load_transformer, to_diffusers
from filmwright.generator.containers import read_tensors
from filmwright.generator.library import convert, guess_layout
from filmwright.generator.memory import PRESETS, parse_memory
from filmwright.generator.rollout import ModelRollout
from filmwright.generator.schedule import Sampling
from filmwright.generator.wan_autoencoder import Taehv, WanAutoencoder
from filmwright.storyboard.errors import InputError
from safetensors.torch import save_file
from typer.testing import CliRunner

CPU = torch.device("cpu")
WIDTH, HEADS = 48, 2
INPUTS = (torch.randn(1, 16, 3, 4, 4), torch.tensor([400.0]), torch.randn(1, 7, 16))


def tiny_wan(seed: int = 0) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    return WanTransformer3DModel(
        num_layers=2, num_attention_heads=HEADS, attention_head_dim=WIDTH // HEADS, ffn_dim=64, text_dim=16, freq_dim=16,
        cross_attn_norm=True, rope_max_seq_len=32,
    ).eval()  # fmt: skip


def original_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """diffusers' names as the original repository has them, written out by hand."""
    one = {
        "condition_embedder.time_embedder.linear_1": "time_embedding.0", "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.text_embedder.linear_1": "text_embedding.0", "condition_embedder.text_embedder.linear_2": "text_embedding.2",
        "condition_embedder.time_proj": "time_projection.1", "proj_out": "head.head", "patch_embedding": "patch_embedding",
    }  # fmt: skip
    block = {
        "attn1.to_q": "self_attn.q", "attn1.to_k": "self_attn.k", "attn1.to_v": "self_attn.v", "attn1.to_out.0": "self_attn.o",
        "attn1.norm_q": "self_attn.norm_q", "attn1.norm_k": "self_attn.norm_k", "attn2.to_q": "cross_attn.q",
        "attn2.to_k": "cross_attn.k", "attn2.to_v": "cross_attn.v", "attn2.to_out.0": "cross_attn.o",
        "attn2.norm_q": "cross_attn.norm_q", "attn2.norm_k": "cross_attn.norm_k", "norm2": "norm3", "ffn.net.0.proj": "ffn.0",
        "ffn.net.2": "ffn.2",
    }  # fmt: skip
    out = {}
    for key, value in state.items():
        stem, _, leaf = key.rpartition(".")
        if key == "scale_shift_table":
            out["head.modulation"] = value
        elif leaf == "scale_shift_table":
            out[f"{stem}.modulation"] = value
        elif stem.startswith("blocks."):
            _, number, rest = stem.split(".", 2)
            out[f"blocks.{number}.{block[rest]}.{leaf}"] = value
        else:
            out[f"{one[stem]}.{leaf}"] = value
    return out


def fused(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    out = {}
    for key, value in state.items():
        if ".self_attn.q." in key:
            names = [key.replace(".q.", f".{n}.") for n in "qkv"]
            out[key.replace(".q.", ".qkv.")] = torch.cat([state[n] for n in names])
        elif ".self_attn.k." not in key and ".self_attn.v." not in key:
            out[key] = value
    return out


def write_layout(folder: Path, layout: str, model: WanTransformer3DModel) -> Path:
    state = original_names(model.state_dict())
    wrong = {key: torch.zeros_like(value) for key, value in state.items()}
    if layout == "wan":
        save_file(state, folder / "wan.safetensors")
        return folder / "wan.safetensors"
    if layout == "krea":
        save_file({f"model.{k}": v for k, v in fused(state).items()}, folder / "krea.safetensors")
        return folder / "krea.safetensors"
    wrapped = {f"model.{k}": v for k, v in state.items()}
    fsdp = {
        f"model._fsdp_wrapped_module.{k.replace('blocks.0.', 'blocks.0._fsdp_wrapped_module.')}": v
        for k, v in state.items()
    }
    saved = {
        "self-forcing": {"generator": wrong, "generator_ema": fsdp, "critic": {"x": torch.zeros(1)}},
        "causal-forcing": {"generator": wrapped},
        "shotstream": {"generator": wrapped},
        "longlive": {"model": wrapped},
    }[layout]
    torch.save(saved, folder / f"{layout}.pt")
    return folder / f"{layout}.pt"


@pytest.mark.parametrize("layout", ["wan", "self-forcing", "causal-forcing", "longlive", "shotstream", "krea"])
def test_each_layout_loads_with_equal_outputs(tmp_path: Path, layout: str) -> None:
    theirs = tiny_wan()
    path = write_layout(tmp_path, layout, theirs)
    assert guess_layout(path) == layout
    ours = load_transformer(path, layout=layout, head_width=WIDTH // HEADS)
    folder = convert(path, tmp_path / "converted", head_width=WIDTH // HEADS, bf16=False)
    again = type(ours).from_pretrained(folder / "transformer")
    with torch.no_grad():
        expected = theirs(*INPUTS, return_dict=False)[0]
        for model in (ours, again):
            assert (model(*INPUTS) - expected).abs().max() <= 1e-5


def test_a_diffusers_folder_in_shards_loads_as_it_is(tmp_path: Path) -> None:
    theirs = tiny_wan()
    theirs.save_pretrained(tmp_path / "transformer", max_shard_size="40KB")
    assert len(list((tmp_path / "transformer").glob("*.safetensors"))) > 1
    ours = load_transformer(tmp_path / "transformer", head_width=WIDTH // HEADS)
    with torch.no_grad():
        assert (ours(*INPUTS) - theirs(*INPUTS, return_dict=False)[0]).abs().max() <= 1e-5
    shard = sorted((tmp_path / "transformer").glob("*.safetensors"))[0]
    shard.unlink()
    with pytest.raises(InputError, match=f"lacks {shard.name}"):
        load_transformer(tmp_path / "transformer")


def test_an_adapter_is_merged(tmp_path: Path) -> None:
    theirs = tiny_wan()
    base = write_layout(tmp_path, "longlive", theirs)
    a, b = torch.randn(4, WIDTH), torch.randn(WIDTH, 4)
    name = "base_model.model.model.blocks.1.self_attn.q"
    lora = {f"{name}.lora_A.default.weight": a, f"{name}.lora_B.default.weight": b}
    torch.save({"generator_lora": lora}, tmp_path / "lora.pt")
    ours = load_transformer(base, layout="longlive", lora=tmp_path / "lora.pt", head_width=WIDTH // HEADS)
    merged = theirs.state_dict()["blocks.1.attn1.to_q.weight"] + b @ a
    assert torch.allclose(ours.state_dict()["blocks.1.attn1.to_q.weight"], merged, atol=1e-5)
    with pytest.raises(InputError, match="give it with --lora"):
        to_diffusers(read_tensors(tmp_path / "lora.pt", "generator_lora"))


def damaged(folder: Path, what: str) -> Path:
    state = original_names(tiny_wan().state_dict())
    path = folder / "weights.pt"
    if what == "another model":
        state = {"conv.weight": torch.zeros(3)}
    elif what == "missing":
        del state["blocks.1.ffn.0.weight"]
    elif what == "unexpected":
        state["blocks.1.extra.weight"] = torch.zeros(3)
    elif what == "shape":
        state["blocks.1.ffn.2.bias"] = torch.zeros(3)
    elif what == "nan":
        state["head.head.bias"][0] = float("nan")
    elif what == "dtype":
        state["head.head.bias"] = torch.zeros(64, dtype=torch.int64)
    elif what == "image":
        state["img_emb.proj.0.weight"] = torch.zeros(3)
    torch.save(state, path)
    if what == "half":
        path.write_bytes(path.read_bytes()[:5000])
    return path


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("another model", "these are not Wan weights"),
        ("missing", "missing blocks.1.ffn.net.0.proj.weight"),
        ("unexpected", "unexpected blocks.1.extra.weight"),
        ("shape", "blocks.1.ffn.net.2.bias is (3,), not (48,)"),
        ("nan", "NaN or infinity in proj_out.bias"),
        ("dtype", "proj_out.bias in torch.int64"),
        ("image", "image-to-video weights"),
        ("half", "damaged, half downloaded or no checkpoint"),
    ],
)
def test_bad_weights_are_refused_by_name(tmp_path: Path, what: str, said: str) -> None:
    path = damaged(tmp_path, what)
    result = CliRunner().invoke(app, ["models", "convert", str(path), str(tmp_path / "out"), "--head-width", "24"])
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "owned",))  # type: ignore[return-value]

    torch.save({"generator": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="hold more than tensors, which is not run"):
        read_tensors(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


def test_a_wan_folder_is_checked_and_opens_as_it_is(wan_folder: Path) -> None:
    bundle = load_bundle(wan_folder, CPU)
    assert bundle.sampling.shift == 3.0
    assert bundle.profile.prompt_style == "prose"
    result = CliRunner().invoke(app, ["models", "check", str(wan_folder), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["layers"], found["heads"], found["autoencoder"]) == (2, 2, "WanAutoencoder")
    assert found["chunk_frames"] == 9  # the first latent of a fresh Wan stream is one frame


def test_converted_weights_stand_on_a_wan_folder(tmp_path: Path, wan_folder: Path) -> None:
    path = write_layout(tmp_path, "self-forcing", tiny_wan(seed=3))
    out = convert(path, tmp_path / "sf", base=wan_folder, head_width=WIDTH // HEADS)
    found = json.loads(CliRunner().invoke(app, ["models", "check", str(out), "--json"]).stdout)
    assert (found["memory"], found["trained_span"]) == ("window(6)", 21)
    with pytest.raises(InputError, match="is not empty"):
        convert(path, out)


def test_a_film_is_made_with_wan_weights(tmp_path: Path, story: str, wan_bundle: Path) -> None:
    """A stream that goes on over cuts, prose prompts, guided sampling: the whole way with the published layout."""
    arguments = [
        "film",
        story,
        "--seconds",
        "12",
        "--generator",
        str(wan_bundle),
        "-o",
        str(tmp_path / "film"),
        "--json",
        "--critic",
        "none",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    last = json.loads(result.stdout.strip().splitlines()[-1])
    assert last["frames"] % 12 == 9  # whole chunks, less the three frames a fresh stream lacks
    assert last["missing"] == []


def test_wan_decodes_as_a_stream_bit_for_bit() -> None:
    torch.manual_seed(0)
    wan = WanAutoencoder(AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval())
    latents = torch.randn(1, 7, 16, 4, 4)
    mean, std = wan._statistics(latents)
    with torch.no_grad():
        whole = wan.inner.decode((latents * std + mean).transpose(1, 2)).sample.transpose(1, 2)
        first, memory = wan.decode(latents[:, :3])
        kept = list(memory)
        second, memory = wan.decode(latents[:, 3:6], memory)
        other, _ = wan.decode(latents[:, 3:6], kept)  # gone back to, and decoded again
        third, _ = wan.decode(latents[:, 6:], memory)
    assert first.shape[1] == 9
    assert torch.equal(torch.cat([first, second, third], dim=1), (whole + 1) / 2)
    assert torch.equal(second, other)


def test_taehv_loads_and_streams(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Taehv(encoder_width=8, decoder_widths=(8, 8, 8, 8))
    for module in model.modules():
        if isinstance(module, MemoryBlock):
            torch.nn.init.normal_(module.conv[4].weight, std=0.1)
    torch.save(model.state_dict(), tmp_path / "taew2_1.pth")
    folder = convert(tmp_path / "taew2_1.pth", tmp_path / "vae")
    loaded = Taehv.from_pretrained(folder).eval()
    latents = torch.randn(1, 6, 16, 4, 4)
    with torch.no_grad():
        whole, _ = loaded.decode(latents)
        first, memory = loaded.decode(latents[:, :2])
        second, _ = loaded.decode(latents[:, 2:], memory)
    assert whole.shape == (1, 21, 3, 32, 32)
    assert torch.equal(torch.cat([first, second], dim=1), whole)
    names = set(Taehv().state_dict())
    assert {"encoder.2.conv.weight", "encoder.17.bias", "decoder.7.conv.weight", "decoder.22.weight"} <= names


@pytest.mark.slow
def test_every_preset_rolls_fifty_chunks_over_five_cuts_on_a_tiny_wan(wan_folder: Path) -> None:
    bundle = load_bundle(wan_folder, CPU)
    bundle.profile.width, bundle.profile.height = 32, 32
    bundle.transformer.add_history_patches()
    few = replace(bundle, sampling=Sampling(timesteps=(1000, 500)))
    for preset in PRESETS:
        rollout = ModelRollout(few, parse_memory(preset), 0)
        for shot in range(6):
            rollout.begin_shot(
                f"shot {shot}", shot=f"s{shot}", take=1, continuity=("new", "continuous", "extend")[shot % 3]
            )  # type: ignore[arg-type]
            for _ in range(9):
                chunk = rollout.step()
        length = parse_memory(preset).chunk or 3
        assert chunk.start == 53 * length
        assert len(chunk.frames) == 4 * length
