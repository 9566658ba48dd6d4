"""Pictures and clips that people bring for a shot to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .errors import InputError
from .images import load_reference
from .stage import Frames

STILLS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


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


def decode_clip(source: Any, name: str, *, width: int, height: int, fps: int, frames: int) -> Frames:
    """The same of a clip that is open: a path or a binary stream; `name` is for the error."""
    import av

    made: list[Frames] = []
    try:
        with av.open(str(source) if isinstance(source, Path) else source) as container:
            for frame in container.decode(video=0):
                due = int((frame.time or 0.0) * fps + 0.5)  # the frame stands until the next one is due
                if due < len(made):
                    continue
                picture = np.array(ImageOps.fit(Image.fromarray(frame.to_ndarray(format="rgb24")), (width, height)))
                made += [made[-1]] * (due - len(made)) if made else []
                made.append(picture)
                if len(made) >= frames:
                    break
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise InputError(
            f"footage {name} is no readable clip ({type(error).__name__}): give a picture or a video"
        ) from error
    if not made:
        raise InputError(f"footage {name} holds no pictures")
    return np.stack(made[:frames])
