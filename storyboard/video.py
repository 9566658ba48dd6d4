"""Video in and out through PyAV: shots encoded as they stream, joined by stream copy.

Every shot is written with the same parameters and every chunk is one closed group of pictures, so chunks can be
dropped again and shots join without decoding.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from PIL import Image

from .clip_formats import OWN_FORMATS, open_container
from .errors import FilmwrightError
from .files import replacing
from .stage import Frames

OPTIONS = {"crf": "18", "preset": "veryfast", "tune": "zerolatency", "forced-idr": "1", "threads": "2"}
UNREADABLE = (av.error.FFmpegError, IndexError, ValueError)
"""What reading a damaged video raises."""


class ShotEncoder:
    """Encodes the frames of one shot, chunk by chunk; compressed packets stay in memory until `save`."""

    def __init__(self, *, fps: int, width: int, height: int) -> None:
        self._fps, self._size = fps, (width, height)
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height = width, height
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, fps)
        context.framerate = Fraction(fps)
        context.gop_size = 10_000
        context.options = OPTIONS
        self._context = context
        self._chunks: list[list[bytes]] = []
        self._sent = 0

    def add(self, frames: Frames) -> None:
        """Encodes one chunk [F, H, W, 3]; smaller frames are enlarged to the shot's size."""
        packets: list[bytes] = []
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = picture.reformat(*self._size, format="yuv420p", interpolation="BICUBIC")
            picture.pts = self._sent
            picture.time_base = Fraction(1, self._fps)
            picture.pict_type = PictureType.I if index == 0 else PictureType.NONE
            self._sent += 1
            packets += [bytes(packet) for packet in self._context.encode(picture)]
        if len(packets) != len(frames):
            raise FilmwrightError(f"the encoder returned {len(packets)} packets for {len(frames)} frames")
        self._chunks.append(packets)

    def drop(self, chunks: int) -> None:
        """Forgets the last chunks."""
        del self._chunks[len(self._chunks) - chunks :]

    def save(self, path: Path) -> int:
        """Writes the shot; returns its number of frames."""
        stream = io.BytesIO(b"".join(data for chunk in self._chunks for data in chunk))
        return _remux(path, [(stream, self._kept())], fps=self._fps, raw=True)

    def _kept(self) -> int:
        return sum(len(chunk) for chunk in self._chunks)


def write_video(path: Path, chunks: Iterable[Frames], *, fps: int, width: int, height: int) -> int:
    """Writes whole chunks [F, H, W, 3] as one shot."""
    encoder = ShotEncoder(fps=fps, width=width, height=height)
    for frames in chunks:
        encoder.add(frames)
    return encoder.save(path)


@dataclass(frozen=True)
class Part:
    """The first `frames` frames of a shot's video."""

    path: Path
    frames: int


def join(path: Path, shots: Sequence[Part], *, fps: int) -> int:
    """Joins shots of equal parameters by stream copy; returns the number of frames.

    A shot is trimmed by leaving its last packets out: no frame of ours needs a later one.

    Raises:
        FilmwrightError: a shot is damaged.
    """
    return _remux(path, [(shot.path, shot.frames) for shot in shots], fps=fps, raw=False)


@contextmanager
def _muxing() -> Iterator[None]:
    """Turns failures to write a video into the system's, which `replacing` tells of."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error


def _remux(path: Path, sources: Sequence[tuple[Any, int]], *, fps: int, raw: bool) -> int:
    """Copies the first packets of every source into an mp4, one frame each, numbered from 0."""
    total = 0
    with (
        replacing(path) as temporary,
        _muxing(),
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as out,
    ):
        stream: Any = None
        for source, most in sources:
            copied = 0
            try:
                with av.open(source, format="h264") if raw else open_container(source, OWN_FORMATS) as container:
                    video = container.streams.video[0]
                    if stream is None:
                        stream = out.add_stream_from_template(video)
                        stream.time_base = Fraction(1, fps)
                    for packet in container.demux(video):
                        if packet.size == 0:
                            continue
                        if copied == most:
                            break
                        copied += 1
                        packet.pts = packet.dts = total
                        packet.time_base = Fraction(1, fps)
                        packet.duration = 1
                        packet.stream = stream
                        with _muxing():
                            out.mux_one(packet)
                        total += 1
            except UNREADABLE as error:
                raise FilmwrightError(
                    f"{source} is no readable video ({error}): delete its take and shoot again"
                ) from error
    return total


def count_frames(path: Path) -> int:
    """Frames in a video, by decoding them all.

    Raises:
        FilmwrightError: the file is damaged.
    """
    return sum(1 for _ in read_frames(path))


def is_shot(path: Path, frames: int, *, width: int, height: int) -> bool:
    """Whether a video is one as `ShotEncoder` writes them, of this size and with so many frames, all of which can be decoded."""
    try:
        with open_container(path, OWN_FORMATS) as container:
            context = container.streams.video[0].codec_context
            found = (context.name, context.pix_fmt, context.width, context.height)
            if found != ("h264", "yuv420p", width, height):
                return False
            return sum(1 for _ in container.decode(video=0)) == frames
    except (*UNREADABLE, FilmwrightError):
        return False


def read_frames(path: Path) -> Iterator[Frames]:
    """Decodes frames [H, W, 3] one by one."""
    try:
        with open_container(path, OWN_FORMATS) as container:
            for frame in container.decode(video=0):
                array: Any = frame.to_ndarray(format="rgb24")
                yield array
    except UNREADABLE as error:
        raise FilmwrightError(f"{path} is no readable video ({error}): delete it and shoot again") from error


def save_png(path: Path, frame: Frames, enlarge: int = 1) -> None:
    """Writes one frame."""
    image = Image.fromarray(frame)
    if enlarge > 1:
        image = image.resize((image.width * enlarge, image.height * enlarge), Image.Resampling.BICUBIC)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")
