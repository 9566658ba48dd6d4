"""Commands around weights: list, fetch, convert and check them, train and measure models of ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..storyboard.errors import InputError
from .options import DebugOpt, JsonOpt, reported

models_app = typer.Typer(no_args_is_help=True, help="Generators: list, fetch, convert and check weights.")


@models_app.command("list")
def models_list(
    published: Annotated[bool, typer.Option("--published", help="Weights of others that 'models pull' fetches.")] = False,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Lists the generators and what each can do."""
    with reported(debug):
        from .display import open_display
        from .tables import models_found, published_found

        display = open_display(as_json=json, quiet=True, verbose=False)
        for entry in published_found() if published else models_found():
            display.result(f"{entry['name']:14} {entry['says']}", **entry)


@models_app.command("pull")
def models_pull(
    wanted: Annotated[str, typer.Argument(metavar="NAME", help="A name of 'filmwright models list --published'.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder to fetch into (default: weights/NAME).")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask after size and licence were shown.")] = False,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Fetches published weights: size and licence first, then, when you say so, the files."""
    with reported(debug):
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):  # the one command that goes to the network
            os.environ.pop(name, None)
        from ..generator.published import look_up, pull
        from ..storyboard.plain_text import one_line
        from .display import open_display
        from .review import confirm

        offer = look_up(wanted)
        told = f"{offer.repository}: {offer.size / 1e9:.2f} GB in {len(offer.files)} files, licence {offer.licence}"
        print(one_line(told), file=sys.stderr)
        if not yes and not confirm("fetch it?"):
            raise InputError("nothing was fetched: say --yes to go on without a question")
        folder = pull(offer, out or Path("weights") / wanted)
        open_display(as_json=json, quiet=True, verbose=False).result(
            str(folder), folder=str(folder), bytes=offer.size, licence=offer.licence, revision=offer.revision
        )


@models_app.command("convert")
def models_convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A .pt or .safetensors file, or a folder of shards.")],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    layout: Annotated[str | None, typer.Option("--layout", help="wan, self-forcing, causal-forcing, longlive, shotstream, krea or taehv (default: by the file's name).")] = None,
    lora: Annotated[Path | None, typer.Option("--lora", help="A low-rank adapter to merge (LongLive).")] = None,
    base: Annotated[Path | None, typer.Option("--base", help="A Wan diffusers folder that has text encoder, tokenizer and autoencoder.")] = None,
    section: Annotated[str | None, typer.Option("--section", help="Which entry of a .pt (default: generator_ema, generator or model).")] = None,
    head_width: Annotated[int, typer.Option("--head-width", min=2, help="Width of an attention head.")] = 128,
    fp32: Annotated[bool, typer.Option("--fp32", help="Keep fp32 (default: bf16).")] = False,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Writes a checkpoint of any known layout as a folder of weights."""
    with reported(debug):
        from ..generator.library import convert
        from .display import open_display

        folder = convert(
            source, target, layout=layout, lora=lora, base=base, section=section, head_width=head_width, bf16=not fp32
        )
        open_display(as_json=json, quiet=True, verbose=False).result(str(folder), folder=str(folder))


@models_app.command("check")
def models_check(
    folder: Annotated[str, typer.Argument(metavar="DIR|NAME", help="A folder of weights, or a bundled model.")],
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Opens weights, looks at every part, and rolls one small chunk."""
    with reported(debug):
        from ..generator.library import check as check_weights
        from ..generator.profiles import weights_folder
        from ..generator.video_generator import default_device
        from .display import open_display
        from .tables import weights_table

        found = check_weights(weights_folder(folder), default_device())
        open_display(as_json=json, quiet=True, verbose=False).result(weights_table(found), **found)


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="nano, mini, filmweaver, lora, or a recipe of your own (.yaml).")],
    data: Annotated[Path | None, typer.Argument(metavar="[DATA]", help="A folder of clips to train on, where the recipe wants one.")] = None,
    generator: Annotated[str | None, typer.Option("--generator", metavar="NAME|DIR", help="Weights to go on from, instead of the recipe's.")] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="Time to train, shared out over the stages.")] = 60.0,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Exactly so many steps of every stage, instead of minutes.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder of the run (default: runs/RECIPE).")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Only this stage, for all of the minutes.")] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Train from nothing, not from the bundled weights; with --stage that part alone.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the data and the noise.")] = 0,
    painters: Annotated[int | None, typer.Option("--painters", min=0, max=64, help="Processes that draw films beside the one that trains (default: none on a CPU, else one for each core but two).")] = None,
    json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Trains a model by a recipe; goes on where an earlier run stopped."""
    with reported(debug):
        from ..training.parallel import leave
        from ..training.recipe import read_recipe
        from ..training.run import train as run_training
        from ..training.run_folder import Order
        from .training import open_training_display

        chosen = read_recipe(recipe).on(weights=generator, data=data)
        order = Order(out or Path("runs") / chosen.name, device, minutes, steps, stage, seed, scratch, painters)
        with open_training_display(as_json=json) as display:
            folder = run_training(chosen, order, display)
            display.result(folder)
        leave()
