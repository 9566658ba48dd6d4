"""A generator's profile, read without its weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filmwright.generator.memory import PRESETS
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.stage import open_generator, read_profile

HEAVY = ("torch", "diffusers", "transformers", "langgraph", "moviepy", "openai", "google.genai", "scipy")


@pytest.mark.parametrize("name", ["nano", "mini", "theatre"])
def test_the_profile_is_that_of_the_opened_generator(name: str) -> None:
    assert read_profile(name) == open_generator(name).profile


@pytest.mark.filterwarnings("ignore:memory")
@pytest.mark.parametrize("memory", [*PRESETS, "window(1)+chunk(2)", None])
def test_so_it_is_under_every_memory(tiny_bundle: Path, memory: str | None) -> None:
    assert read_profile(str(tiny_bundle), memory) == open_generator(str(tiny_bundle), memory).profile


def test_so_it_is_for_wans_own_folder_and_for_weights_with_a_base(wan_folder: Path) -> None:
    assert read_profile(str(wan_folder)) == open_generator(str(wan_folder)).profile


def test_so_it_is_for_weights_with_a_base(wan_bundle: Path) -> None:
    assert read_profile(str(wan_bundle)) == open_generator(str(wan_bundle)).profile


@pytest.mark.parametrize("missing", ["vae", "tokenizer", "transformer", "text_encoder", "profile.json"])
def test_a_part_that_is_missing_is_named_by_both(tiny_bundle: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_bundle, folder)
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for read in (read_profile, open_generator):
        with pytest.raises(InputError, match=missing):
            read(str(folder), None)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_weights_that_are_cut_short_are_told_without_opening_them(tiny_bundle: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / "short"
    shutil.copytree(tiny_bundle, folder)
    file = next((folder / part).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=part):
        read_profile(str(folder))


def test_weights_that_change_get_another_name(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changing"
    shutil.copytree(tiny_bundle, folder)
    before = read_profile(str(folder)).weights
    assert read_profile(str(folder)).weights == before
    file = next((folder / "transformer").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert read_profile(str(folder)).weights != before


def test_an_unknown_name_or_memory_is_refused_by_both(tiny_bundle: Path) -> None:
    for read in (read_profile, open_generator):
        with pytest.raises(InputError, match="unknown"):
            read("nothing", None)
        with pytest.raises(InputError, match="does not apply"):
            read("theatre", "window(1)")
        with pytest.raises(InputError):
            read(str(tiny_bundle), "windows(1)")


COMMANDS = (
    "status film", "check film", "shoot film --dry-run", "circle film 1A 1", "rename film fox Renard", "export fountain film",
    "templates list", "models list", "cut --help",
)  # fmt: skip
RUN = """
import json, sys
from filmwright.cli import app
app(json.loads(sys.argv[1]), standalone_mode=False)
print(json.dumps([name for name in sys.argv[2].split(",") if name in sys.modules]))
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_shoots_nothing_loads_no_model_library(
    tmp_path: Path, story: str, tiny_bundle: Path, command: str
) -> None:
    from filmwright.cli import app
    from typer.testing import CliRunner

    options = ["--generator", str(tiny_bundle), "--seconds", "4", "--critic", "none"]
    assert CliRunner().invoke(app, ["film", story, "-o", "film", *options]).exit_code == 0
    arguments = [sys.executable, "-c", RUN, json.dumps(command.split()), ",".join(HEAVY)]
    said = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert json.loads(said.splitlines()[-1]) == []
