"""Clips made by a stranger: nothing but the clip is read, and no clip takes memory or time without bound."""

from __future__ import annotations

import gzip
import io
import os
import resource
import shutil
import struct
import sys
import tarfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from filmwright.cli import app
from filmwright.storyboard.clip_formats import open_container
from filmwright.storyboard.errors import FilmwrightError, InputError
from filmwright.storyboard.footage import check_footage, decode_clip, read_footage
from filmwright.storyboard.production import Production
from filmwright.storyboard.stage import Frames
from filmwright.storyboard.video import Part, count_frames, join, read_frames, write_video
from filmwright.training.clips import find_clips
from typer.testing import CliRunner

DATA = Path(__file__).parent.parent / "data" / "hostile"
STORY = "The Fox\n\nA fox came along the path. The fox ran away."
SIZES: dict[str, int] = {"width": 32, "height": 16, "fps": 16}


def write_clip(
    path: Path,
    times: Sequence[int],
    *,
    container: str = "matroska",
    size: tuple[int, int] = (64, 32),
    codec: str = "mpeg4",
) -> Path:
    """A clip whose frames have these timestamps, in milliseconds as they are muxed; frame number n has the level 10 · n."""
    with av.open(str(path), "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = 1
        stream.codec_context.max_b_frames = 0
        packets = []
        for number in range(len(times)):
            level = np.full((size[1], size[0], 3), min(250, 10 * number), dtype=np.uint8)
            picture = av.VideoFrame.from_ndarray(level, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            packets += stream.encode(picture)
        packets += stream.encode(None)
        for number, (packet, time) in enumerate(zip(packets, times, strict=True)):
            packet.time_base = Fraction(1, 1000)
            packet.pts, packet.dts = time, min(times[number:])
            out.mux(packet)
    return path


def read(path: Path, frames: int = 20) -> Frames:
    return read_footage(path, **SIZES, frames=frames)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of the paper theatre."""
    folder = tmp_path_factory.mktemp("original") / "film"
    arguments = ["film", STORY, "--generator", "theatre", "--seconds", "4", "-o", str(folder), "--quiet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def production(original: Path, tmp_path: Path) -> Production:
    return Production.open(Path(shutil.copytree(original, tmp_path / "film")))


@pytest.fixture
def bounded() -> Iterator[None]:
    """Two gigabytes more than now are all that this process may ask for."""
    if not sys.platform.startswith("linux"):
        yield
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + 2_000_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def open_shot_with(production: Production, name: str) -> None:
    script = production.read_script()
    next(script.shots()).opens_with = name
    production.write_script(script)


# --- other files ------------------------------------------------------------------------------------------------


def playlists(folder: Path) -> dict[str, str]:
    secret = write_clip(folder / "secret.ts", range(0, 800, 40), container="mpegts", codec="mpeg2video")
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat": "ffconcat version 1.0\nfile secret.ts\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="1" mimeType="video/mp2t"><BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>',
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }  # fmt: skip


@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ffconcat", "mpd", "sdp"])
@pytest.mark.parametrize("kind", ["hls", "concat", "dash", "sdp"])
def test_playlists_are_refused_whatever_they_are_called(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    path.write_text(playlists(tmp_path)[kind], encoding="utf-8")
    with pytest.raises(InputError, match="is no readable clip"):
        read(path)
    with path.open("rb") as stream, pytest.raises(InputError, match="is no readable clip"):
        decode_clip(stream, path.name, **SIZES, frames=20)


def test_ffmpeg_itself_would_follow_them(tmp_path: Path) -> None:
    """Without this the test above proves nothing."""
    for kind, suffix in (("hls", "m3u8"), ("concat", "mp4")):
        path = tmp_path / f"clip.{suffix}"
        path.write_text(playlists(tmp_path)[kind], encoding="utf-8")
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 20


def test_a_demuxer_that_asks_for_another_file_is_refused_it(tmp_path: Path) -> None:
    path = tmp_path / "clip.m3u8"
    path.write_text(playlists(tmp_path)["hls"], encoding="utf-8")
    with pytest.raises(PermissionError, match="may not name another file"), open_container(path, ("hls", "mpegts")):
        pass


def test_pictures_by_number_are_no_clip(tmp_path: Path) -> None:
    """FFmpeg takes `%d` in a name for a row of files."""
    from PIL import Image

    Image.new("RGB", (64, 32)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "%d.png.mp4")
    Image.new("RGB", (64, 32)).save(tmp_path / "%d.clip", format="PNG")
    with pytest.raises(InputError, match="is no readable clip"):
        read(tmp_path / "%d.clip")


def test_a_take_that_is_a_playlist_is_not_joined(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.mp4", tmp_path / "bad.mp4"
    write_video(good, [np.zeros((12, 32, 64, 3), dtype=np.uint8)], fps=16, width=64, height=32)
    bad.write_text("ffconcat version 1.0\nfile good.mp4\n", encoding="utf-8")
    for parts in ([Part(bad, 12)], [Part(good, 12), Part(bad, 12)]):
        with pytest.raises(FilmwrightError, match=r"bad\.mp4 is no readable video"):
            join(tmp_path / "film.mp4", parts, fps=16)
    with pytest.raises(FilmwrightError, match="is no readable video"):
        count_frames(bad)
    assert not (tmp_path / "film.mp4").exists()


def test_a_take_in_another_container_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(FilmwrightError, match="is no readable video"):
        list(read_frames(write_clip(tmp_path / "frames.mp4", [0, 40])))


def external_data(path: Path, target: Path) -> None:
    """Makes the data reference of an mp4 point to another file by an alias record."""
    whole = path.read_bytes()
    own = struct.pack(">I4sI", 12, b"url ", 1)
    place = whole.index(own)
    name = str(target).encode()
    record = bytearray(150)
    struct.pack_into(">H", record, 4, 150)
    struct.pack_into(">hh", record, 130, -1, -1)
    tail = b""
    for kind, text in ((2, name), (18, name)):
        tail += struct.pack(">hh", kind, len(text)) + text + b"\0" * (len(text) % 2)
    alias = bytes(record) + tail + struct.pack(">hh", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    grown = len(entry) - len(own)
    changed = bytearray(whole[:place] + entry + whole[place + len(own) :])
    start = 0
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = changed.index(box, start)
        (size,) = struct.unpack_from(">I", changed, start - 4)
        struct.pack_into(">I", changed, start - 4, size + grown)
    path.write_bytes(changed)


def test_data_references_of_mp4_are_not_followed(tmp_path: Path) -> None:
    write_clip(tmp_path / "secret.mp4", range(0, 800, 40), container="mp4")
    shutil.copyfile(tmp_path / "secret.mp4", tmp_path / "clip.mp4")
    external_data(tmp_path / "clip.mp4", tmp_path / "secret.mp4")
    asked: list[str] = []

    def refuse(url: str, *_: object) -> None:
        asked.append(url)
        raise PermissionError(url)

    follow = {"enable_drefs": "1", "use_absolute_path": "1"}
    with (
        (tmp_path / "clip.mp4").open("rb") as stream,
        pytest.raises(PermissionError, match=r"secret\.mp4"),  # the reference is one that FFmpeg can follow
        av.open(stream, options=follow, io_open=refuse),
    ):
        pass
    asked.clear()
    with (tmp_path / "clip.mp4").open("rb") as stream, av.open(stream, io_open=refuse):
        pass
    assert not asked


# --- timestamps -------------------------------------------------------------------------------------------------


def test_a_distant_timestamp_is_named(bounded: None, production: Production) -> None:
    shutil.copyfile(DATA / "gap.mkv", production.folder / "gap.mkv")
    with pytest.raises(InputError, match=r"a timestamp at 25000000\.000 s"):
        read(production.folder / "gap.mkv")
    with pytest.raises(InputError, match=r"a timestamp at 25000000\.000 s"):
        check_footage(production.folder / "gap.mkv", 4.0)
    open_shot_with(production, "gap.mkv")
    log = production.log_path.read_bytes()
    for command in (["check", "film"], ["shoot", "film"], ["film", "film"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2, result.output
        assert "gap.mkv has a timestamp at 25000000.000 s" in result.output
    assert production.log_path.read_bytes() == log


@pytest.mark.parametrize("times", [[0, 40, 700_000], [0, 2**40], [700_000_000, 0], [0, 40, 80, 10**12]])
def test_timestamps_far_apart_are_refused(bounded: None, tmp_path: Path, times: list[int]) -> None:
    path = write_clip(tmp_path / "clip.mkv", times)
    with pytest.raises(InputError, match="a timestamp at"):
        read(path, 100_000)
    with pytest.raises(InputError, match="a timestamp at"):
        check_footage(path, 100.0)


def test_a_frame_stands_until_the_next_and_no_longer_than_is_asked_for(bounded: None, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", [0, 500_000])
    assert read(path).shape == (20, 16, 32, 3)
    assert read(path, 8001).shape == (8001, 16, 32, 3)


def test_a_clip_begins_with_its_first_frame(tmp_path: Path) -> None:
    """Broadcasts begin hours after 0."""
    late = write_clip(tmp_path / "late.mkv", range(9_000_000, 9_000_400, 40))
    early = write_clip(tmp_path / "early.mkv", range(0, 400, 40))
    assert np.array_equal(read(late), read(early))


def test_timestamps_that_go_back_are_passed_over(tmp_path: Path) -> None:
    frames = read(write_clip(tmp_path / "clip.mkv", [0, 125, 62, 0, 250]))
    assert frames.shape[0] == 5
    assert all(a <= b for a, b in pairwise(frames.mean(axis=(1, 2, 3))))


def test_endless_frames_of_one_moment_are_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", [0] * 400)
    with pytest.raises(InputError, match="more than 2000 frames a second"):
        read(path)


def test_many_packets_of_one_moment_are_refused_by_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filmwright.storyboard.footage.MOST_FRAMES_A_SECOND", 50)
    with pytest.raises(InputError, match="more than 50 frames a second"):
        check_footage(write_clip(tmp_path / "clip.mkv", [0] * 400), 1.0)


# --- pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["matroska", "mp4", "avi", "mpegts"])
def test_huge_pictures_are_refused(bounded: None, tmp_path: Path, container: str) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", format=container) as out:
        stream: Any = out.add_stream("libx264", rate=16, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 9000, 4600, "yuv420p"
        out.mux(stream.encode(av.VideoFrame(9000, 4600, "yuv420p")))
        out.mux(stream.encode(None))
    with pytest.raises(InputError, match="at most 40 megapixels"):
        read(path)


@pytest.mark.parametrize("size", [(16, 1024), (1024, 16), (2, 2)])
def test_odd_shapes_are_cropped(tmp_path: Path, size: tuple[int, int]) -> None:
    assert read(write_clip(tmp_path / "clip.mkv", [0, 40], size=size)).shape[1:] == (16, 32, 3)


def test_sound_alone_holds_no_pictures(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 2048), dtype=np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        for packet in [*stream.encode(sound), *stream.encode(None)]:
            out.mux(packet)
    with pytest.raises(InputError, match="holds no pictures"):
        read(tmp_path / "clip.mp4")


def test_pictures_that_no_decoder_knows_are_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", [0, 40], container="avi")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZZ"))
    for look in (lambda: read(path), lambda: check_footage(path, 1.0)):
        with pytest.raises(InputError, match=r"no readable clip|no pictures"):
            look()


@pytest.mark.parametrize("container", ["matroska", "mp4", "avi", "mpegts"])
def test_truncated_and_damaged_clips_are_named(tmp_path: Path, container: str) -> None:
    whole = write_clip(tmp_path / "whole", range(0, 400, 40), container=container).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "clip.mp4"
    for length in [0, 1, 50, *range(100, len(whole), max(100, len(whole) // 8))]:
        path.write_bytes(whole[:length])
        _read_or_refuse(path)
    for _ in range(20):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 12):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        _read_or_refuse(path)


def _read_or_refuse(path: Path) -> None:
    for look in (lambda: len(read(path)), lambda: check_footage(path, 1.0)):
        try:
            look()
        except InputError as error:
            assert "clip.mp4" in str(error)


def test_titles_that_are_no_text_do_not_hide_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "TITLE"
        stream: Any = out.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        out.mux(stream.encode(av.VideoFrame(64, 32, "yuv420p")))
        out.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"TITLE", b"\xff\xfe\xfd\xfc\xfb"))
    assert read(path).shape[0] == count_frames(path) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    os.mkfifo(tmp_path / "clip.png")
    for name in ("clip.mp4", "clip.png"):
        with pytest.raises(InputError, match="does not exist"):
            read(tmp_path / name)
    with pytest.raises(FilmwrightError, match="is no file"):
        count_frames(tmp_path / "clip.mp4")


# --- clips for training -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["a.mp4", "a.json", "a.tar"])
def test_pipes_among_clips_are_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    if name == "a.json":
        write_clip(tmp_path / "a.mp4", [0, 40])
    with pytest.raises(InputError, match=r"clip .*a\.(mp4|tar)"):
        find_clips(tmp_path)


@pytest.mark.parametrize(
    "notes",
    [
        b'{"shots": [{"start_seconds": 0, "caption": "x"}, {"start_seconds": Infinity, "caption": "y"}]}',
        b'{"shots": [{"start_seconds": 0, "caption": "x"}, {"start_seconds": 1e300, "caption": "y"}]}',
        b'{"shots": [{"start_seconds": NaN, "caption": "x"}]}',
        b'{"shots": ' + b"[" * 100_000,
        b'"\xff"',
        b" " * 8_000_001,
    ],
    ids=["infinity", "huge", "nan", "deep", "no UTF-8", "long"],
)
def test_notes_that_do_not_hold_are_named(tmp_path: Path, notes: bytes) -> None:
    write_clip(tmp_path / "a.mp4", [0, 40])
    (tmp_path / "a.json").write_bytes(notes)
    with pytest.raises(InputError, match=r"a\.json"):
        find_clips(tmp_path)


@pytest.mark.parametrize("kind", ["gzip", "cut off", "noise"])
def test_shards_that_are_no_plain_tar_are_named(tmp_path: Path, kind: str) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as shard:
        for name in ("a.mp4", "a.json"):
            member = tarfile.TarInfo(name)
            member.size = 4000
            shard.addfile(member, io.BytesIO(b"\0" * 4000))
    data = held.getvalue()
    bad = {"gzip": gzip.compress(data), "cut off": data[:3000], "noise": b"noise" * 400}[kind]
    (tmp_path / "0.tar").write_bytes(bad)
    with pytest.raises(InputError, match=r"0\.tar"):
        find_clips(tmp_path)
