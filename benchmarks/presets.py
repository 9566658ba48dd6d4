"""Which memory a model should have when nobody says: every policy on the same validation films with the same seeds.

python benchmarks/presets.py [generator] [films]
"""

from __future__ import annotations

import sys

from filmwright.evaluation.films import evaluate
from filmwright.generator.bundle import reader_folder
from filmwright.generator.reader import load_reader
from filmwright.storyboard.stage import open_generator
from filmwright.storyboard.vocabulary import FULL

POLICIES = (
    "window(3)", "sink(3)+window(2)", "shots(3)+window(3)", "routed(5)+window(3)", "state(1)+window(1)",
    "state(1)+shots(3)+routed(5)+window(3)",
)  # fmt: skip
ASKED = ("set", "kind", "hue", "pattern", "accessory", "cut", "same hue over a cut in one set")


def main(generator: str = "nano", films: str = "32") -> None:
    known = open_generator(generator).profile.vocabulary or FULL
    reader = load_reader(reader_folder(generator), known)
    print(f"| memory | {' | '.join(ASKED)} | frames/s |")
    print("|---" * (len(ASKED) + 2) + "|")
    for policy in POLICIES:
        found = evaluate(open_generator(generator, policy), reader, films=int(films), seed=0, split="validation")
        made = found["made"]
        rates = [
            f"{made[n]['rate']:.0%} ({made[n]['low']:.0%}–{made[n]['high']:.0%})" if n in made else "–" for n in ASKED
        ]
        print(f"| `{policy}` | {' | '.join(rates)} | {found['frames_per_second']} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
