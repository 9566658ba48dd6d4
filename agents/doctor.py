"""Whether everything that a film with these settings needs is there: the machine, the weights, and the language models, each asked
one tiny question."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict

from ..storyboard.errors import FilmwrightError
from ..storyboard.production import Settings
from ..storyboard.stage import open_generator
from .models.language import LanguageModel, Message, ask, plain_schema
from .models.registry import is_model, open_model

ROOM_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """What was looked at, and how it is."""

    what: str
    ok: bool
    says: str


class Probe(BaseModel):
    """The tiny question."""

    model_config = ConfigDict(extra="forbid")

    word: str
    number: int


class Colour(BaseModel):
    """The tiny question with a picture."""

    model_config = ConfigDict(extra="forbid")

    colour: Literal["red", "green", "blue", "none"]


def examine(settings: Settings, folder: Path) -> Iterator[Finding]:
    """Looks at one thing after the other; language models are called once or twice each, and only those that are named."""
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0])
    for package in ("torch", "diffusers", "langgraph", "av"):
        try:
            yield Finding(package, True, version(package))
        except PackageNotFoundError:
            yield Finding(package, False, "not installed: pip install -c constraints.txt -e .")
    free = shutil.disk_usage(folder).free / 1e9
    yield Finding(
        "disk",
        free > ROOM_GB,
        f"{free:.1f} GB free" + ("" if free > ROOM_GB else f": make room, at least {ROOM_GB:g} GB"),
    )
    yield _generator(settings)
    for role, name in (("planner", settings.planner), ("critic", settings.critic)):
        if is_model(name):
            yield from _model(role, name, settings)
        else:
            yield Finding(role, True, f"{name} (no language model)")


def _generator(settings: Settings) -> Finding:
    try:
        profile = open_generator(settings.generator, settings.memory).profile
        return Finding(
            "generator", True, f"{profile.weights}, {profile.width}x{profile.height}, memory {profile.memory}"
        )
    except FilmwrightError as error:
        return Finding("generator", False, str(error))


def _model(role: str, name: str, settings: Settings) -> Iterator[Finding]:
    what = f"{role} {name}"
    try:
        model = open_model(name, timeout_seconds=settings.model_timeout)
        asked = [Message("user", "Say hello in one friendly sentence. The word is lantern and the number is 7.")]
        first = model.complete(asked, plain_schema(Probe)).text
        try:
            Probe.model_validate_json(first)
            yield Finding(what, True, "answers, and keeps to the schema")
        except ValueError:
            probe = ask(model, [Message("user", "Give the word lantern and the number 7 as JSON.")], Probe).value
            yield Finding(
                what,
                True,
                f"answers ({probe.word}), but the server does not enforce the schema: answers are repaired, which costs a second call now and then",
            )
        if role == "critic":
            yield _sees(what, model)
    except FilmwrightError as error:
        yield Finding(what, False, str(error))


def _sees(what: str, model: LanguageModel) -> Finding:
    """Whether a critic sees a red picture."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (220, 20, 20)).save(out, format="JPEG")
    said = ask(model, [Message("user", "Which colour fills the picture?")], Colour, images=[out.getvalue()]).value
    if said.colour == "red":
        return Finding(f"{what}: pictures", True, "sees them")
    return Finding(
        f"{what}: pictures", False, f"called a red picture {said.colour!r}: name a model with vision as critic"
    )
