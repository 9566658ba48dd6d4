"""Damage that headers do not show: the film says so, and the next run mends it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from filmwright.cli import app
from filmwright.storyboard.production import Production
from filmwright.storyboard.takes import takes_of
from filmwright.storyboard.video import count_frames
from PIL import Image
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner, Result


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.exit_code}: {result.output}\n{result.exception!r}"
    return result


@pytest.fixture(scope="module")
def made_once(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repairs") / "film"
    story = "A fox slept in the forest. A bear came to the river. The fox ran to the sea."
    run("film", story, "--generator", tiny_bundle, "-o", folder, "--critic", "none", "--seconds", "6")
    return folder


@pytest.fixture
def made(made_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_once, tmp_path / "film")
    return tmp_path / "film"


def first_take(folder: Path) -> Path:
    return folder / "takes" / next(Production.open(folder).read_script().shots()).id / "01"


def blank(video: Path) -> None:
    """Overwrites the pictures of an mp4 and leaves its header whole."""
    data = bytearray(video.read_bytes())
    at = data.index(b"mdat") + 4
    end = at - 8 + int.from_bytes(data[at - 8 : at - 4], "big")
    data[at:end] = bytes(end - at)
    video.write_bytes(data)


def other_codec(video: Path) -> None:
    """The same number of frames of the same size, as another codec."""
    frames = count_frames(video)
    with av.open(str(video)) as source:
        width, height = source.streams.video[0].width, source.streams.video[0].height
    with av.open(str(video), "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=16, width=width, height=height, pix_fmt="yuv420p")
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
            for packet in stream.encode(picture):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


@pytest.mark.parametrize("spoil", [blank, other_codec])
def test_a_video_that_cannot_be_joined_is_set_aside_and_its_take_made_anew(made: Path, spoil: object) -> None:
    before = count_frames(made / "film.mp4")
    video = first_take(made) / "frames.mp4"
    spoil(video)  # type: ignore[operator]
    assert "made anew" in run("cut", made, code=1).output or not video.exists()
    run("film", made)
    assert count_frames(made / "film.mp4") == before


def test_a_chunk_that_holds_no_numbers_is_made_anew_before_it_becomes_history(made: Path) -> None:
    chunk = first_take(made) / "chunk-0000.safetensors"
    tensors = load_file(chunk)
    tensors["latents"] = np.full_like(tensors["latents"], np.nan)
    save_file(tensors, chunk, metadata={"depends": "x", "draw": "0", "start": "0"})
    with pytest.warns(UserWarning, match="made as if that shot had not been shot"):
        run("shoot", made, "--shots", "2", "--again")
    assert "is damaged" in run("film", made).output
    shot = first_take(made).parent.name
    assert np.isfinite(
        load_file(
            made / "takes" / shot / f"{max(takes_of(Production.open(made), shot)):02d}" / "chunk-0000.safetensors"
        )["latents"]
    ).all()


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such name")
def test_a_reference_with_an_odd_name_is_a_reference(tiny_bundle: Path, tmp_path: Path) -> None:
    options = ("--generator", tiny_bundle, "--critic", "none", "--seconds", "4", "--memory", "shots(3)+window(1)")
    run("plan", "A fox ran to the sea.", "-o", "film", *options)
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "film" / "fox: side.png")
    production = Production.open(tmp_path / "film")
    script = production.read_script()
    fox = script.entity("fox").model_dump() | {"references": [{"path": "fox: side.png"}]}
    script.entities = [type(e).model_validate(fox) if e.id == "fox" else e for e in script.entities]
    production.write_script(script)
    run("film", "film")


def test_a_drawn_reference_that_is_damaged_is_drawn_anew(made: Path) -> None:
    drawn = next(made.glob("references/*/drawn.png"))
    drawn.write_bytes(b"no picture")
    run("film", made)
    Image.open(drawn).verify()


def test_a_file_where_a_rolling_take_would_be_is_removed(made: Path) -> None:
    stray = first_take(made).with_name("07.rolling")
    stray.write_text("a file", encoding="utf-8")
    run("film", made)
    assert not stray.exists()


def test_a_folder_in_the_place_of_a_file_is_told_as_one(made: Path) -> None:
    (made / "log.jsonl").unlink()
    (made / "log.jsonl").mkdir()
    said = run("shoot", made, "--shots", "1", "--again", code=1).output
    assert "hard link" not in said and "in the way" in said


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_script_that_stands_alone_is_checked_whatever_stands_beside_it(made: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(made / "script.yaml", home / "script.yaml")
    (home / "python").symlink_to("/usr/bin/env")
    run("check", home / "script.yaml")
