"""What a run hands out: the weights of its stages collected into a bundle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ..generator.autoencoder import TinyVideoAutoencoder
from ..generator.bundle import Bundle
from ..generator.clip import load_clip
from ..generator.loading import load_part
from ..generator.text import TEXT_TOKENS
from ..generator.transformer import CausalWanTransformer3DModel
from ..storyboard.errors import FilmwrightError
from .autoencoder import load_autoencoder
from .clip import grown_clip, measure_prompt_floor
from .growth import words_of
from .run_folder import RunFolder
from .world import FPS


def sources(run: RunFolder) -> tuple[list[Path], dict[str, Any] | None]:
    """Where the transformers are whose mean is to be bundled, and how it is sampled; None when it is the start's."""
    wanted = (run.alone,) if run.alone else run.recipe.result
    made = [name for name in wanted or [stage.name for stage in run.recipe.stages] if run.exported(name)]
    if not wanted:
        made = made[-1:]  # the newest
    if made:
        return [run.folder / name for name in made], run.recipe.stage(made[-1]).sampling()
    start = run.started("transformer")
    if start is None:
        raise FilmwrightError(f"{run.folder} holds no transformer yet: run a stage that trains one")
    return [start], None


def write_bundle(run: RunFolder, bundle: Bundle | None, device: torch.device) -> Path:
    """Collects the result into `FOLDER/model`, in bf16; `bundle` is what lends the other parts to weights made of others'."""
    made, sampling = sources(run)
    target, fresh = run.folder / "model", run.folder / "model.new"
    shutil.rmtree(fresh, ignore_errors=True)
    _write_weights(CausalWanTransformer3DModel, fresh / "transformer", [one / "transformer" for one in made])
    profile = _own_profile(run, fresh, made, device) if bundle is None else _others_profile(run, bundle)
    if sampling is None:
        assert run.start is not None
        profile["sampling"] = json.loads((run.start / "profile.json").read_text(encoding="utf-8"))["sampling"]
    else:
        profile["sampling"] = sampling
    (fresh / "profile.json").write_text(json.dumps(profile, indent=1) + "\n", encoding="utf-8")
    card = run.own if run.size is not None else run.start  # that of a smaller picture is no card of a larger one
    if card is not None and not run.anew and (card / "README.md").is_file():
        shutil.copy(card / "README.md", fresh / "README.md")
    shutil.rmtree(target, ignore_errors=True)
    fresh.replace(target)
    return target


def _write_weights(model: Any, target: Path, sources: list[Path]) -> None:
    """The mean of the sources' weights."""
    made = load_part(model, sources[-1])
    if len(sources) > 1:
        each = [load_part(model, source).state_dict() for source in sources]
        made.load_state_dict({n: torch.stack([one[n].float() for one in each]).mean(dim=0) for n in each[0]})
    made.to(torch.bfloat16).save_pretrained(target)
    config = target / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    values.pop("_name_or_path", None)  # where the weights lay on the machine that made them
    config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _own_profile(run: RunFolder, fresh: Path, made: list[Path], device: torch.device) -> dict[str, Any]:
    """The other parts of a model of ours, and its profile."""
    from transformers import UMT5EncoderModel

    from ..generator.reader import FrameReader

    assert run.size is not None
    vae = run.part("vae")
    assert vae is not None
    _write_weights(TinyVideoAutoencoder, fresh / "vae", [vae])
    reads = [where for where in map(run.read_by, made) if where is not None]
    _write_weights(UMT5EncoderModel, fresh / "text_encoder", [where / "text_encoder" for where in reads])
    tokenizer = run.tokenizer(reads[-1])
    tokenizer.backend_tokenizer.no_padding()  # it keeps how it was last used
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(fresh / "tokenizer")
    clip, reader = run.part("clip"), run.part("reader")
    if reader is not None:
        _write_weights(FrameReader, fresh / "reader", [reader])
    floor = None
    if clip is not None:
        seeing = grown_clip(clip, words_of(run.tokenizer(clip.parent)), tokenizer)
        seeing.to(torch.bfloat16).save_pretrained(fresh / "clip")
        eyes = load_clip(fresh / "clip", tokenizer, TEXT_TOKENS, device)
        sees = load_autoencoder(fresh / "vae", device)
        floor = measure_prompt_floor(eyes, run.size, sees, run.known, device)
    return {
        "name": run.size.name, "licence": "Apache-2.0", "fps": FPS, "width": run.size.width, "height": run.size.height,
        "enlarge": run.size.enlarge, "chunk_latents": run.recipe.chunk_latents, "memory": run.recipe.memory,
        "text_tokens": TEXT_TOKENS, "prompt_floor": floor,
    }  # fmt: skip


def _others_profile(run: RunFolder, bundle: Bundle) -> dict[str, Any]:
    """The profile of weights made of others', which lends the other parts from them."""
    assert run.start is not None
    profile = bundle.profile.model_dump()
    profile |= {
        "name": f"{bundle.profile.name}-{run.recipe.name}", "base": os.path.relpath(run.start.resolve(), run.folder.resolve() / "model"),
        "memory": run.recipe.memory or bundle.profile.memory, "chunk_latents": run.recipe.chunk_latents,
    }  # fmt: skip
    return profile
