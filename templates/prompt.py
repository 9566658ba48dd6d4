"""The words that language models are told: Jinja2 files with a version in their first line. They are data; a film records which
versions made it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER = "filmwright.templates"
VERSION = re.compile(r"\{#-? version (\d+) -?#\}")


@dataclass(frozen=True)
class Prompt:
    """A prompt of `templates/prompts/`."""

    name: str
    version: int
    source: str

    @property
    def mark(self) -> str:
        """Name and version, as films record them."""
        return f"{self.name}@{self.version}"

    def render(self, **values: Any) -> str:
        """The prompt with its values; one that is missing is an error."""
        return _environment().from_string(self.source).render(**values).strip()


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@lru_cache(maxsize=32)
def load_prompt(name: str) -> Prompt:
    """A prompt by its file's name without ending."""
    source = (resources.files(FOLDER) / "prompts" / f"{name}.j2").read_text(encoding="utf-8")
    found = VERSION.match(source)
    assert found is not None, f"prompts/{name}.j2 says no version"
    return Prompt(name, int(found[1]), source)
