"""A production: the folder on disk that holds one film. Layout in DESIGN §4."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from .defaults import DEFAULT_GENERATOR
from .errors import FilmwrightError, InputError, reason_of
from .files import disk_errors, write_text
from .logbook import read_entries
from .script import Script

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
    seconds: float = Field(default=20.0, gt=0, le=36_000)
    review: list[ReviewPoint] = []
    parameters: dict[str, str] = {}
    budget: float | None = Field(default=None, gt=0, le=100_000)
    price: tuple[float, float] | tuple[float, float, float] | None = None
    requests_per_minute: float = Field(default=0.0, ge=0, le=100_000)
    model_timeout: float = Field(default=120.0, gt=0, le=3600)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.allow_unicode = True
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _merge(old: Any, new: Any) -> Any:
    """`new` in the shape and with the comments of `old`."""
    if isinstance(old, CommentedMap) and isinstance(new, dict):
        for key in [k for k in old if k not in new]:
            del old[key]
        for key, value in new.items():
            old[key] = _merge(old[key], value) if key in old else value
        return old
    if isinstance(old, list) and isinstance(new, list):
        merged = [_merge(a, b) for a, b in zip(old, new, strict=False)] + new[len(old) :]
        old[:] = merged
        return old
    return new


def read_yaml(path: Path) -> Any:
    """Loads a YAML file of ours.

    Raises:
        InputError: it is missing, too large, not UTF-8 or not YAML; says where.
    """
    try:
        if path.stat().st_size > MAX_SCRIPT_BYTES:
            raise InputError(f"{path} is larger than {MAX_SCRIPT_BYTES // 1_000_000} MB")
        return _yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML ({type(error).__name__}: {str(error)[:120]})") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def explain(error: ValidationError, path: Path, data: Any = None) -> str:
    """The first problem of a validation as one line: file, line, place, value, reason.

    Args:
        data: the file as it was loaded, which knows its lines.
    """
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    reason = reason_of(first)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    line = f":{line_of(data, first['loc'])}" if data is not None else ""
    return f"{path}{line}: {place + ': ' if place else ''}{reason}{more}"


def line_of(data: Any, place: Sequence[int | str]) -> int:
    """The line of a place in a loaded YAML file, from 1: of the nearest place above it that is there."""
    line, node = 1, data
    for part in place:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line


class Production:
    """Paths, reading and writing of one production. Nothing is cached: the files are the truth."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        """
        production = Production(folder)
        leftovers = list(folder.glob(".story-*")) if folder.is_dir() else []  # of a run killed while it wrote the story
        if folder.exists() and (not folder.is_dir() or len(list(folder.iterdir())) > len(leftovers)):
            what = (
                "another film" if production.script_path.exists() or production.story_path.exists() else "other files"
            )
            raise InputError(
                f"{folder} holds {what}: go on with 'filmwright film {folder}', or choose another folder with -o"
            )
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in leftovers:
                path.unlink()
        write_text(production.story_path, story)
        write_text(folder / ".gitignore", GITIGNORE)
        production.write_settings(settings)
        return production

    @staticmethod
    def open(folder: Path) -> Production:
        """Opens an existing production.

        Raises:
            InputError: the folder is none.
        """
        production = Production(folder)
        if not folder.is_dir():
            raise InputError(f"{folder} does not exist: 'filmwright plan STORY -o {folder}' makes it")
        if not (production.script_path.is_file() or production.story_path.is_file()):
            raise InputError(f"{folder} is no production (neither script.yaml nor story.txt in it)")
        return production

    def read_script(self) -> Script:
        """The validated script.

        Raises:
            InputError: names the file, the place, the value and the reason.
        """
        data = read_yaml(self.script_path)
        try:
            return Script.model_validate(data)
        except ValidationError as error:
            raise InputError(explain(error, self.script_path, data)) from None

    def shot_lines(self) -> dict[str, int]:
        """The line of script.yaml, from 1, on which each shot begins, by its id."""
        data = read_yaml(self.script_path)
        return {
            str(shot["id"]): scene["shots"].lc.item(index)[0] + 1
            for scene in data["scenes"]
            for index, shot in enumerate(scene["shots"])
        }

    def read_story(self) -> str:
        """The story.

        Raises:
            InputError: the file is missing, too large or not UTF-8.
        """
        path: Path = self.story_path
        try:
            with path.open("rb") as file:
                data = file.read(MAX_SCRIPT_BYTES + 1)
            if len(data) > MAX_SCRIPT_BYTES:
                raise InputError(f"{path} is larger than {MAX_SCRIPT_BYTES // 1_000_000} MB")
            return data.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise InputError(f"{path}:{line}: not UTF-8 text; save it as UTF-8") from None
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None

    def write_script(self, script: Script) -> None:
        """Writes the script; comments of an existing file survive."""
        data = script.model_dump(exclude_defaults=True)
        self._write_yaml(self.script_path, data)

    def read_settings(self) -> Settings:
        if not self.settings_path.exists():
            return Settings()
        data = read_yaml(self.settings_path)
        try:
            return Settings.model_validate(data or {})
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
        write_text(path, out.getvalue())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second process from shooting this production.

        Raises:
            FilmwrightError: another process holds it.
        """
        lock = FileLock(str(self.folder / ".lock"), timeout=0)
        with disk_errors(self.folder / ".lock"):
            try:
                lock.acquire()
            except Timeout:
                raise FilmwrightError(
                    f"{self.folder} is being shot by another process: wait for it, or stop it"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def log(self, event: str, **values: Any) -> None:
        """Appends one event to log.jsonl, on disk before it returns."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values}, ensure_ascii=False)
        with disk_errors(self.log_path), self.log_path.open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        if not self.log_path.exists():
            return []
        return read_entries(self.log_path)

    def reference_folder(self, entity_id: str) -> Path:
        return self.folder / "references" / entity_id

    def inside(self, relative: str) -> Path:
        """A path of the production.

        Raises:
            InputError: it leaves the production, also through a link.
        """
        path = (self.folder / relative).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise InputError(f"path {relative!r} leaves the production {self.folder}")
        return path

    def clear_rolling(self) -> None:
        """Removes what stopped takes left, except the chunks that can still be used."""
        for folder in (self.folder / "takes").glob("*/*.rolling"):
            for name in ("frames.mp4", "keyframes"):
                target = folder / name
                shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
