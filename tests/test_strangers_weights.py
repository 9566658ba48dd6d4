"""Weights from strangers: nothing in them runs, and nothing is allocated that they do not hold."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.modeling_utils import ModelMixin
from filmwright.cli import app
from filmwright.generator.bundle import load_bundle
from filmwright.generator.checkpoints import load_transformer, merge_lora
from filmwright.generator.clip import load_clip
from filmwright.generator.containers import read_tensors
from filmwright.generator.loading import hollow_part, load_part, load_tokenizer
from filmwright.generator.profiles import BUNDLED, BundleProfile, read_bundle_profile
from filmwright.generator.reader import load_reader
from filmwright.generator.text import build_tokenizer
from filmwright.generator.transformer import CausalWanTransformer3DModel
from filmwright.generator.weights_files import part_shapes, read_config, shard_names, tensor_shapes
from filmwright.storyboard.errors import InputError
from filmwright.training.clip import build_clip
from safetensors.torch import save_file
from transformers import PreTrainedModel, UMT5EncoderModel
from typer.testing import CliRunner

CPU = torch.device("cpu")
OWNED = "owned"
CODE = f"""from pathlib import Path
Path({OWNED!r}).touch()
from transformers import PreTrainedTokenizerFast
class Evil(PreTrainedTokenizerFast): pass
"""


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def change(path: Path, **values: Any) -> None:
    given = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(given | values), encoding="utf-8")


def refused(folder: Path, *said: str) -> None:
    """`models check` ends in one line that holds these, and exit 2."""
    result = CliRunner().invoke(app, ["models", "check", str(folder)], input="y\n" * 9)
    assert result.exit_code == 2, result.output
    assert len(result.output.strip().splitlines()) == 1, result.output
    for text in said:
        assert text in result.output, result.output
    assert not Path(OWNED).exists()


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of parts that may get no further than their settings."""
    names: set[str] = set()
    for kind in (ModelMixin, PreTrainedModel):
        own = kind.from_pretrained.__func__  # type: ignore[attr-defined]

        def load(cls: Any, folder: Path, *, own: Callable[..., Any] = own, **options: Any) -> Any:
            assert folder.name not in names, "this would have taken the memory"
            return own(cls, folder, **options)

        monkeypatch.setattr(kind, "from_pretrained", classmethod(load))
    return names


# --- code ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize(
    "named", [{"AutoTokenizer": [None, "evil.Evil"]}, {"AutoTokenizer": ["evil.Evil", None]}, ["evil.Evil", None]]
)
def test_the_code_of_a_tokenizer_is_not_run_whatever_is_answered(bundle: Path, config: str, named: Any) -> None:
    folder = bundle / "tokenizer"
    (folder / "evil.py").write_text(CODE, encoding="utf-8")
    if not (folder / config).exists():
        (folder / config).write_text("{}", encoding="utf-8")
    change(folder / "tokenizer_config.json", tokenizer_class="Evil")
    change(folder / config, auto_map=named, model_type="evil")
    refused(bundle, config, "auto_map", "which is not run")


def test_the_loader_itself_is_told_to_run_no_code(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    told: list[object] = []
    for kind in (transformers.AutoTokenizer, PreTrainedModel):
        own = kind.from_pretrained.__func__  # type: ignore[attr-defined]

        def spy(cls: Any, *given: Any, own: Callable[..., Any] = own, **options: Any) -> Any:
            told.append(options.get("trust_remote_code"))
            return own(cls, *given, **options)

        monkeypatch.setattr(kind, "from_pretrained", classmethod(spy))
    tokenizer = build_tokenizer()
    build_clip(len(tokenizer)).save_pretrained(bundle / "clip")
    tokenizer.save_pretrained(bundle / "clip")
    load_bundle(bundle, CPU)
    assert told == [False] * 4  # text encoder, tokenizer, and those of the CLIP


@pytest.mark.parametrize("part", ["text_encoder", "clip", "transformer", "vae"])
@pytest.mark.parametrize(
    "asked",
    [{"auto_map": {"AutoModel": "evil.Evil"}}, {"quantization_config": {"quant_method": "bitsandbytes"}}, {"attn_implementation": "a/kernel"}],
)  # fmt: skip
def test_settings_that_fetch_or_run_something_are_refused(
    bundle: Path, part: str, asked: dict[str, Any], unbuilt: set[str]
) -> None:
    unbuilt.add(part)
    if part == "clip":
        build_clip(99).save_pretrained(bundle / part)
    change(bundle / part / "config.json", **asked)
    with pytest.raises(InputError, match=f"config.json: {next(iter(asked))} "):
        load_part(
            {"clip": type(build_clip(9)), "text_encoder": UMT5EncoderModel}.get(part, CausalWanTransformer3DModel),
            bundle / part,
        )


def test_an_adapter_beside_a_part_is_not_loaded(bundle: Path) -> None:
    (bundle / "text_encoder" / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}', encoding="utf-8")
    refused(bundle, "adapter_config.json")


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Path.touch, (Path(OWNED),))


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "vae"])
@pytest.mark.parametrize("alone", [True, False])
def test_pickles_beside_safetensors_are_left_alone(bundle: Path, part: str, alone: bool) -> None:
    for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin", "model.pt"):
        with (bundle / part / name).open("wb") as stream:
            pickle.dump({"weight": Evil()}, stream)
    if not alone:
        assert load_bundle(bundle, CPU).profile.name == "tiny" and not Path(OWNED).exists()
        return
    for path in (bundle / part).glob("*.safetensors"):
        path.unlink()
    refused(bundle, part, "holds no safetensors")


@pytest.mark.parametrize("name", ["../evil.bin", "/etc/evil.safetensors", "evil.bin", "..\\evil.safetensors", 7])
def test_an_index_names_files_beside_it_alone(bundle: Path, name: object) -> None:
    index = bundle / "text_encoder" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": name}}), encoding="utf-8")
    with pytest.raises(InputError, match="no safetensors file beside it"):
        shard_names(index)
    with pytest.raises(InputError, match="no safetensors file beside it"):
        read_tensors(bundle / "text_encoder")
    refused(bundle, index.name)


# --- sizes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("transformer", "num_layers", 10**9), ("transformer", "num_attention_heads", 10**7), ("transformer", "attention_head_dim", 10**7),
        ("transformer", "ffn_dim", 10**8), ("transformer", "text_dim", 10**8), ("transformer", "in_channels", 10**7),
        ("transformer", "patch_size", [1, 10**6, 2]), ("transformer", "trained_span", 10**12), ("transformer", "eps", float("inf")),
        ("text_encoder", "num_layers", 10**6), ("text_encoder", "vocab_size", 10**10), ("text_encoder", "d_ff", 10**9),
        ("vae", "latent_channels", 10**9), ("vae", "encoder_widths", [8, 10**9, 8]), ("vae", "decoder_blocks", [1, 10**6, 1]),
    ],
)  # fmt: skip
def test_absurd_settings_are_refused_by_name_before_anything_is_built(
    bundle: Path, part: str, key: str, value: Any, unbuilt: set[str]
) -> None:
    unbuilt.add(part)
    change(bundle / part / "config.json", **{key: value})
    refused(bundle, f"{part}/config.json".replace("/", str(Path("/"))), key)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("transformer", "num_layers", 300), ("transformer", "ffn_dim", 200_000), ("transformer", "attention_head_dim", 4096),
        ("text_encoder", "vocab_size", 4_000_000), ("text_encoder", "d_ff", 200_000), ("vae", "encoder_widths", [8, 200_000, 8]),
    ],
)  # fmt: skip
def test_settings_that_ask_for_more_than_the_weights_hold_are_refused(
    bundle: Path, part: str, key: str, value: Any, unbuilt: set[str]
) -> None:
    unbuilt.add(part)
    change(bundle / part / "config.json", **{key: value})
    refused(bundle, "config.json asks for", "restore the folder")


def test_the_vae_of_wan_is_within_limits_too(wan_folder: Path) -> None:
    for key, value in (
        ("base_dim", 10**8),
        ("num_res_blocks", 10**6),
        ("z_dim", 10**9),
        ("dim_mult", [1, 10**6, 1, 1]),
    ):
        before = (wan_folder / "vae" / "config.json").read_text(encoding="utf-8")
        change(wan_folder / "vae" / "config.json", **{key: value})
        with pytest.raises(InputError, match=f"config.json: {key} .*{10**6 if key != 'base_dim' else 10**8}"):
            hollow_part(ModelMixin, wan_folder / "vae")
        (wan_folder / "vae" / "config.json").write_text(before, encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", 10**6), ("height", 10**6), ("width", 40), ("enlarge", 1000), ("enlarge", 16), ("chunk_latents", 10**6), ("fps", 10**9),
        ("text_tokens", 10**9), ("memory", "window(100000000)"), ("memory", "shots(5000)"), ("memory", "/etc/memory.yaml"),
        ("sampling", {"steps": 10**9}), ("sampling", {"timesteps": [500] * 2000}), ("sampling", {"shift": float("nan")}),
        ("sampling", {"speed": 2}), ("prompt_floor", float("nan")), ("prompt_floor", 10**9),
    ],
)  # fmt: skip
def test_an_absurd_profile_is_refused_by_name(bundle: Path, key: str, value: Any, unbuilt: set[str]) -> None:
    unbuilt.add("transformer")
    extra = {"width": 1024} if value == 16 else {}
    change(bundle / "profile.json", **(extra | {key: value}))
    inner = next(iter(value)) if isinstance(value, dict) else ""
    refused(bundle, "profile.json", key, inner)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[1]", "\x00", '{"name": ' + "9" * 10_000 + "}"])
@pytest.mark.parametrize(
    "file", ["profile.json", "transformer/config.json", "vae/config.json", "text_encoder/config.json"]
)
def test_damaged_settings_are_named(bundle: Path, file: str, text: str) -> None:
    (bundle / file).write_text(text, encoding="utf-8")
    refused(bundle, Path(file).name)


def test_settings_of_the_largest_weights_pass(tmp_path: Path) -> None:
    wan = {
        "num_layers": 40,
        "num_attention_heads": 40,
        "attention_head_dim": 128,
        "ffn_dim": 13824,
        "text_dim": 4096,
        "freq_dim": 256,
    }
    umt5 = {
        "d_model": 4096,
        "d_ff": 10240,
        "d_kv": 64,
        "num_layers": 24,
        "num_decoder_layers": 24,
        "num_heads": 64,
        "vocab_size": 256384,
    }
    vae = {
        "base_dim": 160,
        "decoder_base_dim": 256,
        "z_dim": 48,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "latents_mean": [0.1] * 48,
    }
    for config in (wan, umt5, vae):
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        assert read_config(tmp_path / "config.json") == config
    (tmp_path / "config.json").write_text(json.dumps(wan), encoding="utf-8")
    hollow = hollow_part(CausalWanTransformer3DModel, tmp_path)
    assert sum(p.numel() for p in hollow.parameters()) > 14e9 and next(hollow.parameters()).is_meta
    sampling = {"kind": "euler", "steps": 50, "shift": 8.0, "guidance": 7.5}
    made = BundleProfile(
        name="x", licence="y", width=3840, height=2160, enlarge=2, memory="full", text_tokens=512, sampling=sampling
    )
    (tmp_path / "profile.json").write_text(made.model_dump_json(), encoding="utf-8")
    assert read_bundle_profile(tmp_path) == made


# --- safetensors -----------------------------------------------------------------------------------------------------------


def write_header(path: Path, header: object, body: bytes = b"", length: int | None = None) -> Path:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + body)
    return path


FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        {"x": FOUR | {"shape": [10**12]}}, {"x": FOUR | {"shape": [10**12, 0]}}, {"x": FOUR | {"shape": [2**62, 2**62]}},
        {"x": FOUR | {"shape": [10**9], "data_offsets": [0, 4 * 10**9]}}, {"x": FOUR | {"data_offsets": [4, 0]}}, {"x": FOUR | {"shape": [-1]}},
        {"x": FOUR | {"shape": 3}}, {"x": FOUR | {"shape": [True]}}, {"x": 3}, [1], "{", "[" * 50_000,
    ],
)  # fmt: skip
def test_a_header_that_claims_what_is_not_there_is_refused(tmp_path: Path, header: object) -> None:
    path = write_header(tmp_path / "model.safetensors", header, b"\0" * 4)
    for read in (tensor_shapes, read_tensors):
        with pytest.raises(InputError, match=r"model\.safetensors.*fetch it again|header"):
            read(path)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        part_shapes(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**63])
def test_a_header_longer_than_its_file_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(InputError, match="damaged or half downloaded"):
        tensor_shapes(write_header(tmp_path / "a.safetensors", {"x": FOUR}, b"\0" * 4, length))


def test_an_honest_header_is_read(tmp_path: Path) -> None:
    tensors = {
        "a": torch.zeros(2, 3, dtype=torch.bfloat16),
        "b": torch.tensor(1.0),
        "c": torch.zeros(4, dtype=torch.float8_e4m3fn),
    }
    save_file(tensors, tmp_path / "a.safetensors", {"format": "pt"})
    assert tensor_shapes(tmp_path / "a.safetensors") == {name: tuple(value.shape) for name, value in tensors.items()}


def test_the_header_of_a_part_is_refused_by_the_command(bundle: Path, unbuilt: set[str]) -> None:
    unbuilt.add("vae")
    write_header(bundle / "vae" / "diffusion_pytorch_model.safetensors", {"x": FOUR | {"shape": [10**12]}}, b"\0" * 4)
    refused(bundle, "diffusion_pytorch_model.safetensors", "x claims shape [1000000000000]")


# --- checkpoints -----------------------------------------------------------------------------------------------------------


class Storage:
    """Stands for the storage of a tensor in a pickle."""


class Claims:
    """A tensor in a pickle, of any shape over four bytes."""

    def __init__(self, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.size, self.stride = size, stride


def write_claim(path: Path, size: tuple[int, ...], stride: tuple[int, ...], claimed: int = 1) -> Path:
    """A `.pt` with one tensor that claims to be of that size."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", claimed) if isinstance(value, Storage) else None

        def reducer_override(self, value: object) -> Any:
            if not isinstance(value, Claims):
                return NotImplemented
            rebuild = torch._utils._rebuild_tensor_v2  # type: ignore[attr-defined]
            return rebuild, (Storage(), 0, value.size, value.stride, False, collections.OrderedDict())

    torch.save({"a": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    out = io.BytesIO()
    Pickler(out, protocol=2).dump({"generator": {"a": Claims(size, stride)}})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, out.getvalue() if name.endswith("data.pkl") else content)
    return path


@pytest.mark.parametrize(
    ("size", "stride", "claimed"), [((10**6, 10**6), (0, 0), 1), ((10**12,), (1,), 1), ((10**9,), (0,), 10**12)]
)
def test_a_tensor_larger_than_its_file_is_refused(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], claimed: int
) -> None:
    with pytest.raises(InputError, match=r"weights .*a\.pt.*generator\.a claims shape \(1000000"):
        read_tensors(write_claim(tmp_path / "a.pt", size, stride, claimed))


def test_what_no_checkpoint_has_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(0, 10**9)}, tmp_path / "empty.pt")
    torch.save({"a": torch.zeros(3, 3).to_sparse()}, tmp_path / "sparse.pt")
    for name in ("empty", "sparse"):
        with pytest.raises(InputError, match="a is empty or sparse"):
            read_tensors(tmp_path / f"{name}.pt")
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "stored.pt")
    with (
        zipfile.ZipFile(tmp_path / "stored.pt") as stored,
        zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    with pytest.raises(InputError, match="is compressed"):
        read_tensors(tmp_path / "a.pt")
    around: list[Any] = []
    around.append(around)
    torch.save({"a": torch.zeros(3), "around": around}, tmp_path / "around.pt")
    assert list(read_tensors(tmp_path / "around.pt")) == ["a"]


def wan(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    """Shapes that a Wan might have."""
    made = CausalWanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, num_layers=1, ffn_dim=8, text_dim=8, freq_dim=8
    )
    return {**made.state_dict(), **more}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"blocks.999999999.norm2.weight": torch.zeros(48)}, "numbered 999999999"),
        ({"blocks." + "9" * 5000 + ".x": torch.zeros(1)}, "numbered 999999"),
        ({"blocks.one.x": torch.zeros(1)}, "numbered one"),
        ({f"blocks.{i}.x": torch.zeros(1) for i in range(1, 600)}, "600 blocks"),
        ({"patch_embedding.weight": torch.zeros(48)}, r"patch_embedding.weight of shape \(48,\)"),
        ({"proj_out.weight": None}, "lack proj_out.weight"),
        ({"blocks.0.ffn.net.0.proj.weight": None}, "lack blocks.0.ffn.net.0.proj.weight"),
    ],
)  # fmt: skip
def test_names_and_shapes_that_no_wan_has_are_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    save_file(
        {name: value.contiguous() for name, value in wan(**more).items() if value is not None},
        tmp_path / "a.safetensors",
    )
    with pytest.raises(InputError, match=f"not Wan weights.*{said}"):
        load_transformer(tmp_path / "a.safetensors", head_width=24)


@pytest.mark.parametrize(("a", "b"), [((2, 10**6), (48, 2)), ((2, 48), (48, 3)), ((2, 48), (49, 2)), ((48,), (48,))])
def test_an_adapter_of_another_shape_is_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    name = "blocks.0.attn1.to_q"
    lora = {f"{name}.lora_A.weight": torch.zeros(1).expand(a), f"{name}.lora_B.weight": torch.zeros(1).expand(b)}
    with pytest.raises(InputError, match="does not fit these weights"):
        merge_lora(wan(), lora)


def test_a_taehv_of_flat_or_wide_kernels_is_refused(tmp_path: Path) -> None:
    flat = {"encoder.0.weight": torch.zeros(8), "decoder.1.weight": torch.zeros(8)}
    wide = {f"decoder.{i}.weight": torch.zeros(100_000, 1, 1, 1) for i in (1, 8, 14, 20)} | {
        "encoder.0.weight": torch.zeros(100_000, 3, 1, 1)
    }
    for state, said in ((flat, "is no TAEHV"), (wide, "do not fit the model")):
        torch.save(state, tmp_path / "taehv.pth")
        result = CliRunner().invoke(app, ["models", "convert", str(tmp_path / "taehv.pth"), str(tmp_path / "out")])
        assert result.exit_code == 2 and said in result.output, result.output


# --- other parts -----------------------------------------------------------------------------------------------------------


def test_readers_and_clips_are_within_limits_too(tmp_path: Path, unbuilt: set[str]) -> None:
    unbuilt |= {"reader", "clip"}
    reader = shutil.copytree(BUNDLED / "nano" / "reader", tmp_path / "reader")
    change(reader / "config.json", width=10**8)
    with pytest.raises(InputError, match="width 100000000 is out of range"):
        load_reader(reader)
    clip = shutil.copytree(BUNDLED / "nano" / "clip", tmp_path / "clip")
    given = json.loads((clip / "config.json").read_text(encoding="utf-8"))
    given["vision_config"]["image_size"] = 10**7
    change(clip / "config.json", **given)
    with pytest.raises(InputError, match=r"vision_config\.image_size 10000000 is out of range"):
        load_clip(clip, None, 8, CPU)


@pytest.mark.parametrize("mean", [None, [1, 2], ["a", "b", "c"], "abc"])
def test_a_preprocessor_says_three_numbers(tmp_path: Path, mean: object) -> None:
    clip = shutil.copytree(BUNDLED / "nano" / "clip", tmp_path / "clip")
    (clip / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": mean, "image_std": [1, 1, 1]}), encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"preprocessor_config\.json: image_mean"):
        load_clip(clip, None, 8, CPU)


def test_a_tokenizer_without_code_is_loaded(bundle: Path) -> None:
    assert load_tokenizer(bundle / "tokenizer").get_vocab() == build_tokenizer().get_vocab()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
@pytest.mark.parametrize(
    "file", ["profile.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "vae/more.safetensors"]
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(bundle: Path, file: str) -> None:
    (bundle / file).unlink(missing_ok=True)
    os.mkfifo(bundle / file)
    refused(bundle, "is no" if file != "profile.json" else "no profile.json")
    with pytest.raises(InputError, match="is no file"):
        read_tensors(bundle / file)
