"""Makes a film of every example and checks it: frames, cuts, and what the readers see.

python benchmarks/examples.py [generator]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from filmwright.evaluation.readers import find_cuts
from filmwright.generator.bundle import reader_folder
from filmwright.generator.reader import load_reader, read
from filmwright.storyboard.defaults import DEFAULT_GENERATOR
from filmwright.storyboard.production import Production
from filmwright.storyboard.stage import open_generator
from filmwright.storyboard.staging import stage_shot
from filmwright.storyboard.timeline import build_timeline
from filmwright.storyboard.video import read_frames
from filmwright.storyboard.vocabulary import FULL

ROOT = Path(__file__).resolve().parent.parent
LATENT_FRAMES = 4


def main(generator: str = DEFAULT_GENERATOR) -> None:
    profile = open_generator(generator).profile
    reader = load_reader(reader_folder(generator), profile.vocabulary or FULL)
    sums = {name: [0, 0] for name in ("set", "time", "kind", "cut", "hue kept over a cut in one set")}
    for story in sorted((ROOT / "examples").glob("*.txt")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "film"
            command = [
                sys.executable,
                "-m",
                "filmwright",
                "film",
                str(story),
                "--generator",
                generator,
                "-o",
                str(folder),
                "-q",
            ]
            subprocess.run(command, check=True, capture_output=True)
            script = Production.open(folder).read_script()
            timeline = build_timeline(script, profile)
            pixels = np.stack(list(read_frames(folder / "film.mp4")))
        frames = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        small = torch.nn.functional.interpolate(frames, (64, 128), mode="area")
        seen = find_cuts(small)
        cuts = [t.cut_frame for t in timeline.shots[1:]]
        hit = sum(any(abs(c - s) <= LATENT_FRAMES for s in seen) for c in cuts)
        sums["cut"][0] += hit
        sums["cut"][1] += len(cuts)
        before = None
        for shot, timing in zip(script.shots(), timeline.shots, strict=True):
            staging = stage_shot(script, shot).staging
            reading = read(reader, small[timing.cut_frame : timing.cut_frame + timing.frames : 4])
            for name, right in (
                ("set", reading.frame["set"] == staging.set),
                ("time", reading.frame["time"] == staging.time),
            ):
                sums[name][0] += right
                sums[name][1] += 1
            kinds = [role.kind for role in staging.roles]
            for role in staging.roles:
                sums["kind"][0] += reading.shows(role.kind, len(set(kinds)))
                sums["kind"][1] += 1
                if (
                    before is not None
                    and before[0].set == staging.set
                    and any(r.kind == role.kind and r.appearance == role.appearance for r in before[0].roles)
                    and kinds.count(role.kind) == 1
                ):
                    sums["hue kept over a cut in one set"][0] += before[1].look_of(role.kind, "hue") == reading.look_of(
                        role.kind, "hue"
                    )
                    sums["hue kept over a cut in one set"][1] += 1
            before = (staging, reading)
        exact = "exactly" if len(frames) == timeline.frames else "NOT"
        print(
            f"{story.stem}: {len(frames)} frames, {exact} the timeline's {timeline.frames}; {hit} of {len(cuts)} cuts seen within one latent frame"
        )
    for name, (right, asked) in sums.items():
        print(f"{name}: {right} of {asked}" + (f" = {right / asked:.0%}" if asked else ""))


if __name__ == "__main__":
    main(*sys.argv[1:])
