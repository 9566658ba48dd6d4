"""Takes from strangers: what is no take counts as damaged, is named in a line, and is made anew."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ormsgpack
import pytest
from filmwright.agents.director import Order
from filmwright.agents.edits import circle_take
from filmwright.agents.events import Event
from filmwright.agents.pages import write_storyboard
from filmwright.agents.session import cut, shoot
from filmwright.agents.session_values import PlainSerializer
from filmwright.agents.status import dry_run, status
from filmwright.cli import app
from filmwright.storyboard.chunk_files import MAX_CHUNK_BYTES
from filmwright.storyboard.errors import FilmwrightError, InputError
from filmwright.storyboard.images import embedded_picture, load_reference
from filmwright.storyboard.production import Production
from filmwright.storyboard.stage import open_generator
from filmwright.storyboard.takes import (
    MAX_RECORD_BYTES,
    damage_of,
    read_choice,
    read_chunk,
    read_take,
    take_is_whole,
    takes_of,
)
from filmwright.storyboard.timeline import build_timeline
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_POS_ARGS, JsonPlusSerializer
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

from .mutations import SECRET, make_production

CASES = Path(__file__).parent.parent / "data" / "hostile"


@pytest.fixture(scope="session")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A production of three shots, made once."""
    return make_production(tmp_path_factory.mktemp("shot") / "film")


@pytest.fixture
def production(shot: Path, tmp_path: Path) -> Production:
    """A copy of it."""
    return Production(Path(shutil.copytree(shot, tmp_path / "film")))


def edit(production: Production, change: Callable[[dict[str, Any]], object], take: str = "1A/01") -> None:
    path = production.folder / "takes" / take / "take.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def put(*place: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    """Puts a value at a place of a record."""

    def change(record: dict[str, Any]) -> None:
        node: Any = record
        for part in place[:-1]:
            node = node[part]
        node[place[-1]] = value

    return change


def seen(production: Production, shot_id: str = "1A") -> dict[str, Any]:
    """A shot as `status` has it."""
    found = status(production, production.read_settings())
    return next(shot for shot in found["shots"] if shot["shot"] == shot_id)


WRONG = {
    "another shot": put("shot", value="1B"),
    "a path for a shot": put("shot", value="../../outside"),
    "another take": put("take", value=2),
    "no chunks": put("chunks", value=0),
    "a thousand million chunks": put("chunks", value=10**9),
    "chunks below zero": put("chunks", value=-1),
    "more chunks than files": put("chunks", value=3000),
    "no frames": put("frames", value=0),
    "frames that the video does not have": put("frames", value=23),
    "a million million frames": put("frames", value=10**12),
    "no prompt at the beginning": put("prompts", 0, 0, value=1),
    "a prompt at an absurd chunk": put("prompts", 0, 0, value=10**9),
    "no prompts": put("prompts", value=[]),
    "a reference outside": put("references", value=[[0, ["../../outside/secret.txt"]]]),
    "a reference from the root": put("references", value=[[0, ["/etc/passwd"]]]),
    "a reference on another drive": put("references", value=[[0, ["C:\\secret.png"]]]),
    "too many references": put("references", value=[[0, ["x.png"] * 5000]]),
    "an absurd size": put("asked", "size", value=[10**9, 1]),
    "a size of one number": put("asked", "size", value=[832]),
    "a score that is no number": put("score", value=float("nan")),
    "a score above one": put("score", value=2.0),
    "a verdict without an action": lambda record: record["verdicts"][-1].pop("action"),
    "a verdict without a reason": lambda record: record["verdicts"][-1].pop("reason"),
    "a verdict without a score": lambda record: record["verdicts"][-1].pop("score"),
    "a verdict of an unknown action": put("verdicts", 0, "action", value="\u00c2"),
    "a sheet outside": put("verdicts", -1, "sheet", value="../../../../outside/secret.txt"),
    "a sheet from the root": put("verdicts", -1, "sheet", value="/etc/passwd"),
    "marks that are no numbers": put("verdicts", -1, "marks", value={"identity": "good"}),
    "endless seconds": put("spent_seconds", value=float("inf")),
    "a key that nobody knows": put("x", value=1),
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_record_that_says_what_no_record_may_is_damaged(
    production: Production, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(production, change)
    found = seen(production)
    assert found["state"] == "damaged"
    assert any(note.startswith("take 1 is damaged (") for note in found["notes"])
    assert CliRunner().invoke(app, ["status", str(production.folder)]).exit_code == 0


@pytest.mark.parametrize("name", ["take-chunks-0.json", "take-chunks-1e9.json"])
def test_a_take_of_absurd_length_is_named_and_not_used(production: Production, name: str) -> None:
    shutil.copyfile(CASES / name, production.folder / "takes" / "1A" / "02" / "take.json")
    assert any(note.startswith("take 2 is damaged (take.json: chunks: ") for note in seen(production)["notes"])
    assert dry_run(production, production.read_settings(), None, False)["shoot"][0]["shot"] == "1B"
    with pytest.raises(InputError, match="no whole take 2"):
        circle_take(production, "1A", 2)


@pytest.mark.parametrize("name", ["fuzz-take.json-31a022", "fuzz-take.json-8313b7"])
def test_a_record_that_a_fuzzer_made_is_damaged(production: Production, name: str) -> None:
    shutil.copyfile(CASES / name, production.folder / "takes" / "1B" / "01" / "take.json")
    assert seen(production, "1B")["state"] == "damaged"
    assert CliRunner().invoke(app, ["status", str(production.folder)]).exit_code == 0


def test_a_record_of_endless_length_is_not_read(production: Production) -> None:
    path = production.folder / "takes" / "1A" / "01" / "take.json"
    with path.open("wb") as file:
        file.truncate(MAX_RECORD_BYTES + 1)
    assert "larger than" in str(damage_of(production, "1A", 1))


def test_a_damaged_take_is_made_anew_and_one_line_says_so(production: Production) -> None:
    edit(production, put("chunks", value=10**9), "2A/01")
    told: list[Event] = []
    shoot(production, production.read_settings(), Order(shots=[3], cut=False), None, told.append)
    [warning] = [
        event.values["text"] for event in told if event.kind == "warning" and "damaged" in event.values["text"]
    ]
    assert warning.startswith("shot 2A: take 1 is damaged (take.json: chunks: ")
    assert warning.endswith("and is made anew")
    assert seen(production, "2A")["state"] == "shot"
    assert take_is_whole(production, record) if (record := read_take(production, "2A", 1)) else False


@pytest.mark.parametrize("name", ["0", "00", "007", "1", "\u0663", "\u00b2", "99999999999999999999", "-1", "1.5"])
def test_only_folders_with_the_names_of_takes_are_takes(production: Production, name: str) -> None:
    folder = production.folder / "takes" / "1A"
    shutil.copytree(folder / "01", folder / name)
    assert takes_of(production, "1A") == [1, 2]
    assert seen(production)["state"] == "shot"


def test_a_file_in_the_place_of_a_take_is_no_take(production: Production) -> None:
    folder = production.folder / "takes" / "1A"
    shutil.rmtree(folder / "01")
    (folder / "01").write_text("x", encoding="utf-8")
    assert takes_of(production, "1A") == [2]
    assert seen(production)["state"] == "damaged"


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "\u0663", "\u00b2", "9" * 5000, "10000", "1.5", "[1]", '{"take": 1, "by": "nobody"}', '{"take": 1e9}', '"1"', "\x00", "x" * 10**6],
)  # fmt: skip
def test_an_odd_choice_is_none(production: Production, text: str) -> None:
    (production.folder / "takes" / "1A" / "circled").write_text(text, encoding="utf-8")
    assert read_choice(production, "1A") is None
    assert seen(production)["state"] == "not shot"
    assert CliRunner().invoke(app, ["shoot", str(production.folder), "--dry-run"]).exit_code == 0


def test_a_folder_in_the_place_of_a_choice_is_none(production: Production) -> None:
    path = production.folder / "takes" / "1A" / "circled"
    path.unlink()
    path.mkdir()
    assert read_choice(production, "1A") is None


def numbers(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


CHUNKS: dict[str, tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]] = {
    "double precision": ({"latents": numbers(1, 3, 1, 1).astype(np.float64)}, {}),
    "whole numbers": ({"latents": numbers(1, 3, 1, 1).astype(np.int32)}, {}),
    "three sides": ({"latents": numbers(1, 3, 1)}, {}),
    "no latents": ({"state": numbers(1, 3, 1, 1)}, {}),
    "latents of nothing": ({"latents": numbers(1, 0, 1, 1)}, {}),
    "another state": ({"latents": numbers(1, 3, 1, 1), "state": numbers(2, 1, 1, 1)}, {}),
    "recalled from the future": (
        {"latents": numbers(1, 3, 1, 1), "recalled": np.array([[7]], dtype=np.int32)},
        {"start": "2"},
    ),
    "recalled from before the film": ({"latents": numbers(1, 3, 1, 1), "recalled": np.array([[-1]], dtype=np.int32)}, {}),
    "recalled in another type": ({"latents": numbers(1, 3, 1, 1), "recalled": numbers(1, 1)}, {}),
    "an odd digit": ({"latents": numbers(1, 3, 1, 1)}, {"start": "\u00b2"}),
    "a beginning far away": ({"latents": numbers(1, 3, 1, 1)}, {"start": "9" * 5000}),
    "a beginning below zero": ({"latents": numbers(1, 3, 1, 1)}, {"start": "-1"}),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "metadata"), CHUNKS.values(), ids=CHUNKS.keys())
def test_a_chunk_file_of_another_kind_is_damaged(
    production: Production, tensors: dict[str, np.ndarray[Any, Any]], metadata: dict[str, str]
) -> None:
    folder = production.folder / "takes" / "1A" / "01"
    save_file(tensors, folder / "chunk-0001.safetensors", metadata=metadata)
    assert read_chunk(folder, 1) is None
    record = read_take(production, "1A", 1)
    assert record is not None
    in_header = "recalled" not in tensors or tensors["recalled"].dtype != np.int32
    assert take_is_whole(production, record) is not in_header


def test_a_chunk_file_whose_header_claims_more_than_there_is_is_damaged(production: Production) -> None:
    folder = production.folder / "takes" / "1A" / "01"
    header = json.dumps(
        {"latents": {"dtype": "F32", "shape": [2**20, 2**20, 1, 1], "data_offsets": [0, 2**42]}}
    ).encode()
    (folder / "chunk-0000.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\x00" * 16)
    assert read_chunk(folder, 0) is None
    with (folder / "chunk-0000.safetensors").open("r+b") as file:
        file.truncate(MAX_CHUNK_BYTES + 1)
    assert "chunk-0000.safetensors is larger than" in str(damage_of(production, "1A", 1))


def test_chunks_of_different_sizes_are_no_take(production: Production) -> None:
    folder = production.folder / "takes" / "1A" / "01"
    save_file({"latents": numbers(1, 3, 2, 1)}, folder / "chunk-0001.safetensors")
    assert damage_of(production, "1A", 1) == "its chunks have different sizes"


def test_a_video_that_is_cut_off_is_damaged(production: Production) -> None:
    path = production.folder / "takes" / "1A" / "01" / "frames.mp4"
    path.write_bytes(path.read_bytes()[:-10])
    assert damage_of(production, "1A", 1) == "frames.mp4 is missing or no whole video"
    assert seen(production)["state"] == "damaged"


def test_frames_that_the_weights_do_not_make_are_damage(production: Production) -> None:
    """A take of 12 frames that says it is of two chunks of the theatre, which are 24."""
    one, two = (production.folder / "takes" / take for take in ("2A/01", "1A/01"))
    shutil.copyfile(one / "frames.mp4", two / "frames.mp4")
    edit(production, put("frames", value=12))
    assert seen(production)["notes"] == [
        "take 1 is damaged (its chunks cannot be read, or are not those of its frames)"
    ]


# --- pictures ------------------------------------------------------------------------------------------------------


def page(production: Production) -> str:
    script = production.read_script()
    timeline = build_timeline(script, open_generator("theatre").profile)
    return write_storyboard(production, script, timeline).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["keyframes/middle.png", "reviews/01.jpg"])
def test_only_a_decoded_picture_gets_into_the_storyboard(production: Production, name: str) -> None:
    path = production.folder / "takes" / "1A" / "01" / name
    with_picture = page(production).count("data:image/")
    path.write_text(SECRET, encoding="utf-8")
    shown = page(production)
    assert shown.count("data:image/") == with_picture - 1
    assert SECRET not in shown
    assert base64.b64encode(SECRET.encode()).decode() not in shown


def test_what_stands_behind_a_picture_does_not_get_into_the_storyboard(production: Production) -> None:
    path = production.folder / "takes" / "1A" / "01" / "keyframes" / "middle.png"
    path.write_bytes(path.read_bytes() + SECRET.encode())
    embedded = embedded_picture(path, 100_000)
    assert embedded is not None
    made = base64.b64decode(embedded)
    assert SECRET.encode() not in made
    with Image.open(io.BytesIO(made)) as image:
        assert image.format == "WEBP"
        assert image.width <= 640


def test_a_reference_that_is_no_picture_is_named_by_check(production: Production) -> None:
    (production.folder / "references" / "fox" / "user-1.png").write_text(SECRET, encoding="utf-8")
    done = CliRunner().invoke(app, ["check", str(production.folder)])
    assert done.exit_code == 2
    assert "user-1.png is no readable image" in done.output


def test_formats_that_start_a_program_are_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(InputError, match="no readable image"):
        load_reference(path)


# --- the rest of a production ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*not an entry of the log")
@pytest.mark.parametrize(
    "name", [path.name for path in sorted(CASES.iterdir()) if path.name.startswith("fuzz-") and "take" not in path.name]
)
def test_a_file_that_a_fuzzer_made_is_refused_in_a_line_or_passed_over(production: Production, name: str) -> None:
    target = name.removeprefix("fuzz-").rpartition("-")[0]
    shutil.copyfile(CASES / name, production.folder / target)
    for command in (["status"], ["check"], ["shoot", "--dry-run"]):
        done = CliRunner().invoke(app, [command[0], str(production.folder), *command[1:]])
        assert isinstance(done.exception, SystemExit | None), name
        assert done.exit_code == (2 if target != "log.jsonl" else 0), done.output
        if done.exit_code:
            assert target in done.output
            assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"[1]", b"3", b"9" * 5000, b"[" * 100_000, b"\xff\xfe", b"null", b'{"event": 3}', b'{"shot": "1A"}', b'{"event": "call", "dollars": "x"}',
        b'{"event": "call", "dollars": -1}', b'{"event": "call", "dollars": NaN}', b'{"event": "call", "sent_tokens": 1e9}', b'{"event": "answer", "of": 3}',
        b'{"event": "' + b"x" * 5_000_000 + b'"}',
    ],
)  # fmt: skip
def test_a_line_of_the_log_that_is_no_entry_is_passed_over(production: Production, line: bytes) -> None:
    entries = len(production.read_log())
    data = production.log_path.read_bytes()
    production.log_path.write_bytes(line + b"\n" + data)
    with pytest.warns(UserWarning, match=r"log\.jsonl:1: not an entry of the log"):
        assert len(production.read_log()) == entries


def test_a_line_that_a_killed_run_began_is_passed_over_without_a_word(
    production: Production, recwarn: pytest.WarningsRecorder
) -> None:
    entries = len(production.read_log())
    with production.log_path.open("a", encoding="utf-8") as log:
        log.write('{"time": 1795838743.137, "event": "verd')
    assert len(production.read_log()) == entries
    assert not recwarn.list


def test_a_story_that_is_no_text_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    folder.mkdir()
    (folder / "story.txt").write_bytes(b"A fox.\n\xff\xfe\n")
    done = CliRunner().invoke(app, ["shoot", str(folder), "--dry-run"])
    assert done.exit_code == 2
    assert "story.txt:2: not UTF-8 text" in done.output


def test_a_mark_of_a_drawn_reference_that_is_no_text_has_it_drawn_anew(production: Production) -> None:
    stamp = production.folder / "references" / "bear" / ".drawn"
    mark = stamp.read_bytes()
    stamp.write_bytes(b"\xff\xfe\x00")
    shoot(production, production.read_settings(), Order(shots=[3], cut=False), None, lambda event: None)
    assert stamp.read_bytes() == mark


def test_a_cut_leaves_out_a_damaged_take(production: Production) -> None:
    edit(production, put("chunks", value=10**9))
    report = cut(production, production.read_settings(), lambda event: None)
    assert report.missing == ("1A",)


def test_a_video_that_cannot_be_decoded_is_set_aside_and_the_take_made_anew(production: Production) -> None:
    """Its header is whole, so that nobody sees it before the cut."""
    path = production.folder / "takes" / "2A" / "01" / "frames.mp4"
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    data[start : start + length - 8] = bytes(length - 8)
    path.write_bytes(data)
    assert seen(production, "2A")["state"] == "shot"
    with pytest.raises(FilmwrightError, match="shot 2A: the video of take 1 cannot be decoded"):
        cut(production, production.read_settings(), lambda event: None)
    assert seen(production, "2A")["state"] == "damaged"
    shoot(production, production.read_settings(), Order(shots=[3], cut=False), None, lambda event: None)
    assert seen(production, "2A")["state"] == "shot"


def test_a_session_calls_nothing_that_a_stranger_names(tmp_path: Path) -> None:
    marked = tmp_path / "called"
    call = ormsgpack.packb(("os", "mkdir", [str(marked)]))
    value = ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR_POS_ARGS, call))
    PlainSerializer().loads_typed(("msgpack", value))
    assert not marked.exists()
    JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(("msgpack", value))
    assert marked.exists()  # what LangGraph does by itself
    with pytest.raises(ValueError, match="no values of type 'json'"):
        PlainSerializer().loads_typed(("json", b"{}"))


def test_the_theatre_takes_no_latents_that_are_not_its_own() -> None:
    rollout = open_generator("theatre").start(0)
    rollout.begin_shot("wide shot , castle , night , camera still .", shot="1A", take=1)
    with pytest.raises(FilmwrightError, match="not the numbers of latent frames"):
        rollout.feed(np.array([0, 1, 1e30], dtype=np.float32).reshape(1, 3, 1, 1))
