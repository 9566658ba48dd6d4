"""Commands that measure: what readers see of held-out films, and how right the readers are."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..storyboard.defaults import DEFAULT_GENERATOR
from .options import DebugOpt, JsonOpt, MemoryOpt, reported

evaluate_app = typer.Typer(no_args_is_help=True, help="Measures generators and readers.")
GeneratorArg = Annotated[str, typer.Argument(metavar="NAME|DIR", help="A generator's name, or a folder of weights.")]
SeedOpt = Annotated[int, typer.Option("--seed", help="Seed of the rollouts.")]
SplitOpt = Annotated[
    str, typer.Option("--split", help="test, or validation: choose settings on those, and read the test films once.")
]
ReaderOpt = Annotated[
    str | None,
    typer.Option(
        "--reader", metavar="NAME|DIR", help="Whose reader judges: another than the generator's own, as a check."
    ),
]
Counter = Callable[[int], None]


def _counter(what: str, total: int) -> Counter:
    """Says how many are done and how long the rest takes."""
    began = time.monotonic()

    def done(count: int) -> None:
        left = int((time.monotonic() - began) / count * (total - count))
        end = "\n" if count == total else ""
        print(f"\r{what} {count}/{total}, {left // 60}:{left % 60:02d} left ", end=end, file=sys.stderr, flush=True)

    return done


def _held_out(name: str) -> Any:
    """A split that nothing is trained on."""
    from ..storyboard.errors import InputError

    if name not in ("test", "validation"):
        raise InputError(f"--split {name!r} is unknown: choose test or validation")
    return name


def _show(
    found: dict[str, Any], table: Callable[[dict[str, Any]], str], as_json: bool, reader: str | None = None
) -> None:
    from .display import open_display

    if reader is not None:
        found = found | {"scored_by": f"{found['scored_by']}; the reader of {reader}"}
    open_display(as_json=as_json, quiet=True, verbose=False).result(table(found), **found)


def _opened(generator: str, memory: str | None, reader: str | None) -> tuple[Any, Any]:
    """A generator, and the reader that judges it."""
    from ..generator.bundle import reader_folder
    from ..generator.reader import load_reader
    from ..storyboard.stage import open_generator
    from ..storyboard.vocabulary import FULL

    opened = open_generator(generator, memory)
    return opened, load_reader(reader_folder(reader or generator), opened.profile.vocabulary or FULL)


@evaluate_app.command("films")
def evaluate_films(
    generator: GeneratorArg = DEFAULT_GENERATOR,
    films: Annotated[int, typer.Option("--films", min=1, max=10_000, help="Held-out films to make.")] = 50,
    memory: MemoryOpt = None, reader: ReaderOpt = None, seed: SeedOpt = 0, split: SplitOpt = "test", json: JsonOpt = False,
    debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Reads what a generator makes of held-out films: set, time, camera, kind, looks, cuts."""
    with reported(debug):
        from ..evaluation.films import evaluate
        from .tables import evaluation_table

        made, judge = _opened(generator, memory, reader)
        found = evaluate(made, judge, films=films, seed=seed, on_film=_counter("film", films), split=_held_out(split))
        _show(found, evaluation_table, json, reader)


@evaluate_app.command("references")
def evaluate_pins(
    generator: GeneratorArg = DEFAULT_GENERATOR,
    films: Annotated[int, typer.Option("--films", min=1, max=10_000, help="Held-out shots to make, each twice.")] = 50,
    memory: MemoryOpt = None, reader: ReaderOpt = None, seed: SeedOpt = 0, split: SplitOpt = "test", json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Reads whether a pinned reference gives a puppet its looks, in shots whose text only names it."""
    with reported(debug):
        from ..evaluation.references import evaluate_references
        from .tables import references_table

        made, judge = _opened(generator, memory, reader)
        found = evaluate_references(
            made, judge, films=films, seed=seed, on_film=_counter("shot", films), split=_held_out(split)
        )
        _show(found, references_table, json, reader)


@evaluate_app.command("recall")
def evaluate_gaps(
    generator: GeneratorArg = DEFAULT_GENERATOR,
    films: Annotated[int, typer.Option("--films", min=1, max=10_000, help="Held-out films for each gap.")] = 40,
    memory: MemoryOpt = None,
    oracle: Annotated[bool, typer.Option("--oracle", help="Leave out of history what lies before the window and does not show the puppet: what a memory that always chooses right would reach.")] = False,
    reader: ReaderOpt = None, seed: SeedOpt = 0, split: SplitOpt = "test", json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Reads whether a puppet's looks come back after a gap: true history is fed, the recalling shot generated."""
    with reported(debug):
        from ..evaluation.recall import GAPS, evaluate_recall
        from .tables import recall_table

        made, judge = _opened(generator, memory, reader)
        found = evaluate_recall(
            made, judge, films=films, seed=seed, on_film=_counter("film", films * len(GAPS)), oracle=oracle, split=_held_out(split)
        )  # fmt: skip
        _show(found, recall_table, json, reader)


@evaluate_app.command("drift")
def evaluate_long_films(
    generator: GeneratorArg = DEFAULT_GENERATOR,
    films: Annotated[int, typer.Option("--films", min=1, max=10_000, help="Held-out films to make, each a little longer than --chunks.")] = 8,
    chunks: Annotated[int, typer.Option("--chunks", min=40, max=100_000, help="Look around this chunk, against around chunk 20.")] = 200,
    memory: MemoryOpt = None, reader: ReaderOpt = None, seed: SeedOpt = 0, split: SplitOpt = "test", json: JsonOpt = False,
    debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Reads whether long films drift: set, time, view, kind and hue late against early."""
    with reported(debug):
        from ..evaluation.drift import evaluate_drift
        from .tables import drift_table

        made, judge = _opened(generator, memory, reader)
        found = evaluate_drift(
            made, judge, films=films, seed=seed, last=chunks, on_film=_counter("film", films), split=_held_out(split)
        )
        _show(found, drift_table, json, reader)


@evaluate_app.command("wear")
def evaluate_long_shots(
    generator: GeneratorArg = DEFAULT_GENERATOR,
    films: Annotated[int, typer.Option("--films", min=1, max=10_000, help="Held-out shots to make.")] = 40,
    chunks: Annotated[int, typer.Option("--chunks", min=2, max=1000, help="Of every shot.")] = 8,
    memory: MemoryOpt = None, reader: ReaderOpt = None, seed: SeedOpt = 0, split: SplitOpt = "test", json: JsonOpt = False,
    debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Reads whether long shots wear off: set, view, kind and looks, chunk by chunk."""
    with reported(debug):
        from ..evaluation.wear import evaluate_wear
        from .tables import wear_table

        made, judge = _opened(generator, memory, reader)
        found = evaluate_wear(
            made, judge, films=films, seed=seed, chunks=chunks, on_film=_counter("shot", films), split=_held_out(split)
        )
        _show(found, wear_table, json, reader)


@evaluate_app.command("flow")
def evaluate_loss(
    generators: Annotated[list[str] | None, typer.Argument(metavar="[NAME|DIR]...", help=f"Bundled models of ours, or folders of some (default: {DEFAULT_GENERATOR}); those after the first are compared with it.")] = None,
    films: Annotated[int, typer.Option("--films", min=1, max=10_000, help="Held-out films of six chunks.")] = 16,
    memory: MemoryOpt = None, seed: SeedOpt = 0, split: SplitOpt = "validation", json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Measures the flow loss on held-out films by noise level, and compares weights."""
    with reported(debug):
        import torch

        from ..evaluation.flow import evaluate_flow
        from ..generator.bundle import load_bundle
        from ..generator.profiles import weights_folder
        from .tables import flow_table

        bundles = [load_bundle(weights_folder(name), torch.device("cpu")) for name in generators or [DEFAULT_GENERATOR]]
        found = evaluate_flow(
            bundles, memory, films=films, seed=seed, on_film=_counter("film", films), split=_held_out(split)
        )
        _show(found, flow_table, json)


@evaluate_app.command("readers")
def evaluate_truth(
    generator: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A bundled model of ours, or a folder of one.")] = "nano",
    shots: Annotated[int, typer.Option("--shots", min=1, max=100_000, help="Shots of the small world to read.")] = 500,
    whole_world: Annotated[bool, typer.Option("--whole-world", help="In every word there is, not only in those that the model knows.")] = False,
    split: SplitOpt = "test", json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Reads shots of which everything is known: how right every other score can be."""
    with reported(debug):
        import torch

        from ..evaluation.truth import evaluate_readers
        from ..generator.bundle import load_bundle, reader_folder
        from ..generator.profiles import weights_folder
        from ..generator.reader import load_reader
        from ..storyboard.vocabulary import FULL
        from .tables import truth_table

        bundle = load_bundle(weights_folder(generator), torch.device("cpu"))
        if whole_world:
            bundle.vocabulary = None
        reader = load_reader(reader_folder(generator), bundle.vocabulary or FULL)
        found = evaluate_readers(reader, bundle, shots=shots, on_shot=_counter("shot", shots), split=_held_out(split))
        _show(found, truth_table, json)


@evaluate_app.command("claims")
def evaluate_claims(
    generator: Annotated[str, typer.Argument(metavar="NAME|DIR", help="Weights of ours that every arm goes on from.")] = "nano",
    films: Annotated[int, typer.Option("--films", min=2, max=10_000, help="Held-out films for each number.")] = 40,
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, help="Training of each stage of an arm that needs its own weights.")] = 20.0,
    only: Annotated[str | None, typer.Option("--only", help="Claims, with commas between: routing, multi-shot, few-steps, adversarial, caches, state, mixture.")] = None,
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Keeps what is trained and measured; the same command goes on.")] = Path("runs/claims"),
    page: Annotated[Path | None, typer.Option("--page", metavar="FILE", help="Where to write the page (default: DIR/claims.md); claims that are not measured now stay there as they stand.")] = None,
    seed: SeedOpt = 0, json: JsonOpt = False, debug: DebugOpt = False,
) -> None:  # fmt: skip
    """Measures what the three papers claim, at our size: six claims and one of ours, a few arms each. A night on two cores."""
    with reported(debug):
        from ..evaluation.claims import measure_claims
        from ..evaluation.claims_page import write_page
        from ..evaluation.lab import Lab
        from ..generator.profiles import weights_folder
        from .tables import claims_table

        began = time.monotonic()

        def tell(text: str) -> None:
            print(f"{(time.monotonic() - began) / 60:6.1f} min  {text}", file=sys.stderr, flush=True)

        lab = Lab(weights_folder(generator), folder, films=films, minutes=minutes, seed=seed, tell=tell)
        found = measure_claims(lab, tuple(part.strip() for part in only.split(",")) if only else ())
        target = page or folder / "claims.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_page(found, target)
        _show({**found, "page": str(target)}, claims_table, json)
