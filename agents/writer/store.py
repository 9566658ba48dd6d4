"""The passes of a plan, kept in the production as they were answered: a failure costs one pass, and a person may look, or mend.

A pass is used again as long as what it was asked is the same; one that somebody edits keeps its place, and the passes after it are
asked for anew.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from ...storyboard.errors import InputError
from ...storyboard.files import write_text
from ...storyboard.production import MAX_SCRIPT_BYTES
from ...storyboard.yaml_files import read_yaml_file

Value = TypeVar("Value", bound=BaseModel)


class PassStore:
    """`plan/NAME.yaml`: model, prompt, what it depends on, and the answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, asked: str, answer: type[Value]) -> Value | None:
        """The answer of a pass, if it was asked exactly this."""
        path = self._folder / f"{name}.yaml"
        try:
            kept: Any = read_yaml_file(path, MAX_SCRIPT_BYTES)
            if kept["asked"] != asked:
                return None
            return answer.model_validate(kept["answer"])
        except (InputError, ValidationError, LookupError, TypeError, AttributeError):
            return None  # never asked, or damaged: asked for anew

    def put(self, name: str, asked: str, value: BaseModel, **about: Any) -> None:
        """Keeps an answer."""
        yaml, out = YAML(), io.StringIO()
        yaml.allow_unicode, yaml.width = True, 110
        yaml.dump({**about, "asked": asked, "answer": value.model_dump(mode="json")}, out)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._folder / f"{name}.yaml", out.getvalue())
