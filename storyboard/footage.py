"""Pictures and clips that people bring for a shot to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from PIL import Image, ImageOps

from .clip_formats import MAX_FRAME_PIXELS, open_container
from .errors import FilmwrightError, InputError
from .images import load_reference
from .stage import Frames

STILLS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
LONGEST_STILL_SECONDS = 600.0
"""The longest that one frame of a clip may stand."""
MOST_FRAMES_A_SECOND = 2000
"""Of a clip: what is more is a fault of its timestamps."""


def read_footage(path: Path, *, width: int, height: int, fps: int, frames: int) -> Frames:
    """At most `frames` frames [F, height, width, 3] of a clip at `fps`, cropped to the size; a picture stands still for all.

    Raises:
        InputError: the file is missing or holds no pictures.
    """
    if path.suffix.lower() in STILLS:
        still = np.array(ImageOps.fit(load_reference(path), (width, height)))
        return np.repeat(still[None], frames, axis=0)
    if not path.is_file():
        raise InputError(f"footage {path} does not exist")
    return decode_clip(path, str(path), width=width, height=height, fps=fps, frames=frames)


def check_footage(path: Path, seconds: float) -> None:
    """Looks at a picture or a clip without decoding it all: at its first frame, and at the timestamps of its first `seconds`.

    Raises:
        InputError: `read_footage` would refuse it.
    """
    read_footage(path, width=64, height=64, fps=16, frames=1)
    if path.suffix.lower() in STILLS:
        return
    with _readable(path, str(path)) as container:
        clock, end = _Clock(str(path)), None
        for number, packet in enumerate(container.demux(container.streams.video[0])):
            if packet.pts is None or packet.time_base is None:
                continue
            clock.follow(float(packet.pts * packet.time_base))
            end = clock.latest if end is None else end
            if clock.latest > end + seconds:
                return
            if number > MOST_FRAMES_A_SECOND * (seconds + 1):
                raise _too_many(str(path), clock.latest)


def decode_clip(source: Path | IO[bytes], name: str, *, width: int, height: int, fps: int, frames: int) -> Frames:
    """The same of a clip that is open: a path or a binary stream; `name` is for the error.

    The clip begins with its first frame, whatever its timestamp. Each frame stands until the next one is due.
    """
    made: list[Frames] = []
    passed_over = 0
    with _readable(source, name) as container:
        for seconds, frame in _timed_frames(container, name):
            due = min(int(seconds * fps + 0.5), frames)
            if due < len(made):
                passed_over += 1
                if passed_over > MOST_FRAMES_A_SECOND / fps:
                    raise _too_many(name, seconds)
                continue
            passed_over = 0
            made += [made[-1]] * (due - len(made)) if made else []
            if len(made) < frames:
                picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
                made.append(np.array(ImageOps.fit(picture, (width, height))))
            if len(made) >= frames:
                break
    if not made:
        raise InputError(f"footage {name} holds no pictures")
    return np.stack(made)


@contextmanager
def _readable(source: Path | IO[bytes], name: str) -> Iterator[InputContainer]:
    """Opens a clip that has a video stream, and names it in every error."""
    try:
        with open_container(source) as container:
            if not container.streams.video:
                raise InputError(f"footage {name} holds no pictures")
            yield container
    except InputError:
        raise
    except FilmwrightError as error:
        raise InputError(f"footage: {error}") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"footage {name} is no readable clip ({type(error).__name__}): give a picture, or a video in MP4, MOV, MKV, WebM, "
            f"AVI, MPEG, Ogg or FLV with frames of at most {MAX_FRAME_PIXELS // 1_000_000} megapixels"
        ) from error


def _timed_frames(container: InputContainer, name: str) -> Iterator[tuple[float, VideoFrame]]:
    """Frames and their seconds after the first one. A frame without a timestamp follows the one before at the clip's rate."""
    stream = container.streams.video[0]
    interval = 1 / float(stream.average_rate or 25)
    clock = _Clock(name)
    first: float | None = None
    for frame in container.decode(stream):
        seconds = frame.time if frame.time is not None else (0.0 if first is None else clock.latest + interval)
        clock.follow(seconds)
        first = seconds if first is None else first
        yield seconds - first, frame


class _Clock:
    """The latest timestamp of a clip in seconds. Timestamps may come out of order, but not from far away."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun = False
        self.latest = 0.0

    def follow(self, seconds: float) -> None:
        """Takes the next timestamp.

        Raises:
            InputError: it is too far from those before.
        """
        distance = abs(seconds - self.latest)
        if self._begun and not distance <= LONGEST_STILL_SECONDS:
            raise InputError(
                f"footage {self._name} has a timestamp at {seconds:.3f} s, {distance:.3f} s from the one before; at most "
                f"{LONGEST_STILL_SECONDS:g} s are allowed: mend it, or give another clip"
            )
        self.latest = max(seconds, self.latest) if self._begun else seconds
        self._begun = True


def _too_many(name: str, seconds: float) -> InputError:
    return InputError(
        f"footage {name} has more than {MOST_FRAMES_A_SECOND} frames a second near its timestamp at {seconds:.3f} s: "
        "mend its timestamps, or give another clip"
    )
