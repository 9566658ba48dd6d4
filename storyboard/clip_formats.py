"""Opening of videos that may come from a stranger: known containers only, one file only, pictures of bounded size.

FFmpeg recognises playlists and lists of files by their content, whatever the file is called, and follows them to any path. Here
a container has to be one of `FORMATS`, and whatever a demuxer asks for beside its own file is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import av
from av.container import InputContainer

from .errors import FilmwrightError

FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "ogg", "flv")
"""Demuxers by FFmpeg's names, all of which read their own file and no other."""
OWN_FORMATS = ("mp4",)
"""Of the videos that filmwright writes."""
MAX_FRAME_PIXELS = 40_000_000
"""A frame of 8192x4320 has 35 million."""


@contextmanager
def open_container(source: Path | IO[bytes], formats: tuple[str, ...] = FORMATS) -> Iterator[InputContainer]:
    """Opens a video for reading.

    Args:
        source: a file, or a binary stream that can seek.
        formats: the containers that are read, by FFmpeg's names.

    Raises:
        FilmwrightError: it is no regular file, or the system refuses to open it.
        av.error.FFmpegError: it is no such container, or a frame has more than `MAX_FRAME_PIXELS`.
    """
    if isinstance(source, Path):
        with _open_file(source) as stream, open_container(stream, formats) as container:
            yield container
        return
    limits = {"max_pixels": str(MAX_FRAME_PIXELS)}
    options = {"format_whitelist": ",".join(formats), "protocol_whitelist": "file", **limits}
    opened = av.open(source, "r", options=options, metadata_errors="replace", io_open=_refuse_other_files)
    with opened as container:
        for video in container.streams.video:
            if video.codec_context is not None:  # None: no decoder is known
                video.codec_context.options = limits
        yield container


def _open_file(path: Path) -> IO[bytes]:
    if not path.is_file():  # a pipe would be waited for
        raise FilmwrightError(f"video {path} does not exist, or is no file")
    try:
        return path.open("rb")
    except OSError as error:
        raise FilmwrightError(f"cannot read video {path}: {error.strerror}") from error


def _refuse_other_files(url: str, *_: object) -> None:
    raise PermissionError(f"a video may not name another file ({url})")
