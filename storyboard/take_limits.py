"""What a take's record may hold. Records come with productions of strangers: numbers and texts are bounded, paths stay inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal, Required

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from .script import MAX_SHOT_SECONDS

MAX_TAKE = 9999
"""The highest number of a take."""
MAX_CHUNKS = round(MAX_SHOT_SECONDS) * 60
"""Chunks of a take at most: one for every frame of the longest shot at 60 frames a second."""
MAX_TAKE_FRAMES = 4 * MAX_CHUNKS
"""Video frames of a take at most."""
MAX_START = 10_000_000
"""Latent frames of a film at most: some four weeks of it."""
MAX_PROMPT = 20_000
MAX_PATH = 4096
MAX_REFERENCES = 4096
MAX_VERDICTS = 10 * MAX_CHUNKS
_SHEET = re.compile(r"reviews/[A-Za-z0-9][A-Za-z0-9_-]{0,60}\.jpg")


def _inside(path: str) -> str:
    """A path that stays in its folder, on Windows, too."""
    windows = PureWindowsPath(path)
    absolute = PurePosixPath(path).is_absolute() or windows.drive or windows.root
    if not path or "\0" in path or absolute or ".." in (*path.split("/"), *windows.parts):
        raise ValueError("the path leaves the production")
    return path


def _sheet(path: str) -> str:
    if not _SHEET.fullmatch(path):
        raise ValueError("no sheet of this take: its name is reviews/NAME.jpg")
    return path


TakeNumber = Annotated[int, Field(ge=1, le=MAX_TAKE)]
ChunkCount = Annotated[int, Field(ge=1, le=MAX_CHUNKS)]
ChunkIndex = Annotated[int, Field(ge=0, lt=MAX_CHUNKS)]
FrameCount = Annotated[int, Field(ge=1, le=MAX_TAKE_FRAMES)]
Side = Annotated[int, Field(ge=1, le=16_384)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Word = Annotated[str, StringConstraints(max_length=400)]
Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT)]
InnerPath = Annotated[str, StringConstraints(max_length=MAX_PATH), AfterValidator(_inside)]
Prompts = Annotated[list[tuple[ChunkIndex, Prompt]], Field(max_length=MAX_CHUNKS)]
Digests = Annotated[list[Word], Field(max_length=MAX_REFERENCES)]
Paths = Annotated[list[InnerPath], Field(max_length=MAX_REFERENCES)]


@with_config(ConfigDict(extra="forbid"))
class KeptVerdict(TypedDict, total=False):
    """A critic's verdict of one draw of a chunk, as a take keeps it.

    Attributes:
        draw: how often the chunk had been rewound before.
        chunks: how many chunks were to be drawn anew.
        marks: 0 … 1 by criterion, of a critic that looks.
        by: which model, and which version of its prompt.
        measures: what was measured of the chunk.
        sheet: the picture that the critic saw, from the take's folder.
    """

    chunk: Required[ChunkIndex]
    draw: Annotated[int, Field(ge=0, le=MAX_VERDICTS)]
    action: Required[Literal["continue", "reprompt", "rewind", "reshoot", "ask"]]
    reason: Required[Prompt]
    score: Required[Score]
    chunks: Annotated[int, Field(ge=0, le=MAX_CHUNKS)]
    prompt: Prompt
    marks: dict[Word, Score]
    by: Word
    measures: dict[str, object]
    sheet: Annotated[str, AfterValidator(_sheet)]


_KEPT = TypeAdapter(KeptVerdict)


def kept_verdict(values: Mapping[str, object]) -> KeptVerdict:
    """A verdict as takes keep it.

    Raises:
        ValidationError: it is none.
    """
    return _KEPT.validate_python(dict(values))
