"""A production: the folder on disk that holds one film. Layout in DESIGN §4."""

from __future__ import annotations

import copy
import io
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from .defaults import DEFAULT_GENERATOR
from .errors import SHOWN_INPUT, FilmwrightError, InputError, reason_of
from .files import append_line, disk_errors, is_temporary, write_text
from .links import refuse_link, refuse_links
from .logbook import read_entries
from .plain_text import json_line
from .redaction import Secrets
from .script import Script
from .seeds import NEWEST, FilmSeed, SeedVersion
from .yaml_files import line_of, place_name, read_text_file, read_yaml_file

GITIGNORE = "takes/*/*/*.safetensors\ntakes/*/*/*.mp4\n*.mp4\nsession.sqlite*\n.lock\nlog.jsonl\n"
MAX_SCRIPT_BYTES = 8_000_000
ReviewPoint = Literal["script", "casting", "takes", "cut"]


class Settings(BaseModel):
    """`production.yaml`: what `shoot` goes on with.

    Attributes:
        parameters: values of the script template's parameters.
        takes: of every shot; the best by score is circled.
        casting: who draws references: the generator, or a provider's image model.
        budget: dollars that language models may cost the film in all.
        price: dollars per million tokens sent and received, and perhaps for a picture.
        requests_per_minute: calls of language models at most; 0 for no limit.
        seed_version: how seeds follow from `seed` (`storyboard.seeds`); a production that notes none has version 1.
        model_timeout: seconds without a piece of an answer after which a language model is given up.
    """

    model_config = ConfigDict(extra="forbid")

    planner: str = "rules"
    template: str = "three-act"
    generator: str = DEFAULT_GENERATOR
    memory: str | None = None
    critic: str = "measured"
    casting: str = "generator"
    takes: int = Field(default=1, ge=1, le=20)
    seed: int = Field(default=0, ge=0, lt=2**63)
    seed_version: SeedVersion = NEWEST
    seconds: float = Field(default=20.0, gt=0, le=36_000)
    review: list[ReviewPoint] = []
    parameters: dict[str, str] = {}
    budget: float | None = Field(default=None, gt=0, le=100_000)
    price: tuple[float, float] | tuple[float, float, float] | None = None
    requests_per_minute: float = Field(default=0.0, ge=0, le=100_000)
    model_timeout: float = Field(default=120.0, gt=0, le=3600)

    @property
    def film_seed(self) -> FilmSeed:
        """The seed that draws the film."""
        return FilmSeed(self.seed, self.seed_version)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.allow_unicode = True
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _own(value: CommentedMap | CommentedSeq) -> CommentedMap | CommentedSeq:
    """A copy of what aliases share, without anchors, so that a change of one place is none of the others; else the value itself."""
    if value.yaml_anchor() is None:
        return value
    copied: CommentedMap | CommentedSeq = copy.deepcopy(value)
    left: list[Any] = [copied]
    while left:
        part = left.pop()
        if isinstance(part, CommentedMap | CommentedSeq):
            part.yaml_set_anchor(None)
            left.extend(part.values() if isinstance(part, CommentedMap) else part)
    return copied


def _merge(old: Any, new: Any) -> Any:
    """`new` in the shape and with the comments of `old`; what is equal stays as it is written, aliases too."""
    if old == new:
        return old
    if isinstance(old, CommentedMap | CommentedSeq):
        old = _own(old)
    if isinstance(old, CommentedMap) and isinstance(new, dict):
        for key in [k for k in old if k not in new]:
            del old[key]
        for key, value in new.items():
            old[key] = _merge(old[key], value) if key in old else value
        return old
    if isinstance(old, list) and isinstance(new, list):
        for index in reversed(range(len(new), len(old))):
            del old[index]
        for index, value in enumerate(old):  # one by one: ruamel forgets the comments of a list that is set as a whole
            old[index] = _merge(value, new[index])
        old.extend(new[len(old) :])
        return old
    return new


def read_yaml(path: Path) -> Any:
    """Loads a YAML file of ours.

    Raises:
        InputError: it is missing, too large, not UTF-8, not YAML, or holds more than is read; says where.
    """
    return read_yaml_file(path, MAX_SCRIPT_BYTES)


def explain(error: ValidationError, path: Path, data: Any = None) -> str:
    """The first problem of a validation as one line: file, line, place, value, reason.

    Args:
        data: the YAML file as it was loaded, which knows its lines; None for other files.
    """
    first = error.errors()[0]
    place = place_name(first["loc"])
    reason = reason_of(first)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    line = f":{line_of(data, first['loc'])}" if data is not None else ""
    return f"{path}{line}: {place + ': ' if place else ''}{reason}{more}"


class Production:
    """Paths, reading and writing of one production. Nothing is cached: the files are the truth."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locked = False
        self._logging = threading.Lock()

    script_path = property(lambda self: self.folder / "script.yaml")
    settings_path = property(lambda self: self.folder / "production.yaml")
    film_path = property(lambda self: self.folder / "film.mp4")
    animatic_path = property(lambda self: self.folder / "animatic.mp4")
    page_path = property(lambda self: self.folder / "storyboard.html")
    subtitles_path = property(lambda self: self.folder / "film.srt")
    otio_path = property(lambda self: self.folder / "film.otio")
    story_path = property(lambda self: self.folder / "story.txt")
    session_path = property(lambda self: self.folder / "session.sqlite")
    log_path = property(lambda self: self.folder / "log.jsonl")

    @staticmethod
    def create(folder: Path, story: str, settings: Settings) -> Production:
        """Makes the folder of a new production.

        Raises:
            InputError: the folder holds something already.
            FilmwrightError: another process makes a production of it.
        """
        production = Production(folder)
        production._refuse_content()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with production.lock():
            production._refuse_content()  # another process may have been faster
            write_text(folder / ".gitignore", GITIGNORE)
            production.write_settings(settings)
            write_text(production.story_path, story)  # last: with it the folder is a production
        return production

    def _refuse_content(self) -> None:
        """Accepts a folder that is empty, or holds no more than a `create` that was killed has left."""
        if not self.folder.exists():
            return
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else {""}
        names = {name for name in names if name != ".lock" and not is_temporary(name)}
        with suppress(OSError, UnicodeDecodeError):
            if (self.folder / ".gitignore").read_text(encoding="utf-8") == GITIGNORE:
                names -= {".gitignore", "production.yaml"}
        if names:
            what = "another film" if self.script_path.exists() or self.story_path.exists() else "other files"
            raise InputError(
                f"{self.folder} holds {what}: go on with 'filmwright film {self.folder}', or choose another folder with -o"
            )

    @staticmethod
    def open(folder: Path) -> Production:
        """Opens an existing production, after a look at everything in it: see `refuse_links`.

        Raises:
            InputError: the folder is none, or something in it leads out of it.
        """
        production = Production(folder)
        if not folder.is_dir():
            raise InputError(f"{folder} does not exist: 'filmwright plan STORY -o {folder}' makes it")
        pages = [path for path in (production.script_path, production.story_path) if os.path.lexists(path)]
        if pages:  # any other folder can be a whole disk
            refuse_links(folder)
        if not any(path.is_file() for path in pages):
            raise InputError(f"{folder} is no production (neither script.yaml nor story.txt in it)")
        return production

    def read_script(self) -> Script:
        """The validated script.

        Raises:
            InputError: names the file, the place, the value and the reason.
        """
        return self.read_script_and_lines()[0]

    def read_script_and_lines(self) -> tuple[Script, dict[str, int]]:
        """The validated script, and the line of script.yaml, from 1, on which each shot begins, by its id.

        Raises:
            InputError: as `read_script`.
        """
        data = read_yaml(self.script_path)
        try:
            script = Script.model_validate(data)
        except ValidationError as error:
            raise InputError(explain(error, self.script_path, data)) from None
        places = [("scenes", s, "shots", n) for s, scene in enumerate(script.scenes) for n in range(len(scene.shots))]
        ids = (shot.id for shot in script.shots())
        return script, {shot_id: line_of(data, place) for shot_id, place in zip(ids, places, strict=True)}

    def read_story(self) -> str:
        """The story.

        Raises:
            InputError: the file is missing, too large or not UTF-8.
        """
        return read_text_file(self.story_path, MAX_SCRIPT_BYTES).replace("\r\n", "\n")

    def write_script(self, script: Script) -> None:
        """Writes the script; comments of an existing file survive."""
        data = script.model_dump(exclude_defaults=True)
        self._write_yaml(self.script_path, data)

    def read_settings(self) -> Settings:
        if not self.settings_path.exists():
            return Settings(seed_version=1)
        data = read_yaml(self.settings_path)
        try:
            known: Any = {"seed_version": 1} | data if isinstance(data, dict) else data
            return Settings.model_validate({"seed_version": 1} if data is None else known)
        except ValidationError as error:
            raise InputError(explain(error, self.settings_path, data)) from None

    def write_settings(self, settings: Settings) -> None:
        self._write_yaml(self.settings_path, settings.model_dump(mode="json"))

    def _write_yaml(self, path: Path, data: dict[str, Any]) -> None:
        merged: Any = data
        if path.exists():
            merged = _merge(read_yaml(path), data)
        out = io.StringIO()
        _yaml().dump(merged, out)
        write_text(path, Secrets.of_environment().exact(out.getvalue()))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from writing to this production, and removes what killed writes left in it.

        Every command that writes holds it. Inside a block that holds it already, it does nothing.

        Raises:
            FilmwrightError: another process holds it.
        """
        if self._locked:
            yield
            return
        lock = FileLock(str(self.folder / ".lock"), timeout=0)
        with disk_errors(self.folder / ".lock"):
            try:
                lock.acquire()
            except Timeout:
                raise FilmwrightError(f"{self.folder} is in use by another process: wait for it, or stop it") from None
        self._locked = True
        try:
            self._clear_temporary()
            yield
        finally:
            self._locked = False
            lock.release()

    def _clear_temporary(self) -> None:
        for folder, _, names in os.walk(self.folder):
            parts = Path(folder) == self.folder / "takes"  # films under way: the cut's title and transitions
            for name in names:
                if is_temporary(name) or (parts and name.startswith(".") and name.endswith(".mp4")):
                    with suppress(OSError):
                        (Path(folder) / name).unlink()

    def discard(self) -> None:
        """Removes everything in the folder but the lock: what was made in a folder that had been empty."""
        with disk_errors(self.folder):
            for path in self.folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != ".lock":
                    path.unlink()

    def log(self, event: str, **values: Any) -> None:
        """Appends one event to log.jsonl, on disk before it returns.

        Raises:
            FilmwrightError: it cannot be written; the log stays as it was.
        """
        line = json_line({"time": round(time.time(), 3), "event": event, **values})
        with self._logging:  # calls of language models come from several threads
            append_line(self.log_path, Secrets.of_environment().exact(line))

    def read_log(self) -> list[dict[str, Any]]:
        if not self.log_path.exists():
            return []
        return read_entries(self.log_path)

    def reference_folder(self, entity_id: str) -> Path:
        return self.folder / "references" / entity_id

    def inside(self, relative: str) -> Path:
        """A path of the production.

        Raises:
            InputError: it leaves the production, leads through a link, or is no path.
        """
        folder = self.folder.resolve()
        try:
            path = (folder / relative).resolve()
            path.is_file()  # refuses names that are too long
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a NUL
            raise InputError(f"path {relative[:SHOWN_INPUT]!r} is no path of a file: {error}") from None
        if not path.is_relative_to(folder):
            raise InputError(f"path {relative!r} leaves the production {self.folder}")
        refuse_link(folder / os.path.normpath(relative), folder)
        return path

    def clear_rolling(self) -> None:
        """Removes what stopped takes left, except the chunks that can still be used."""
        for folder in (self.folder / "takes").glob("*/*.rolling"):
            if not folder.is_dir():  # no take of ours
                folder.unlink(missing_ok=True)
                continue
            for name in ("frames.mp4", "keyframes"):
                target = folder / name
                shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
