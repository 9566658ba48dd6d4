"""Loads templates: script templates as checked data, pages through a sandboxed Jinja2 that cannot reach files."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from jinja2 import BaseLoader, StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..storyboard.errors import InputError
from ..storyboard.script import Movement, ShotSize

PACKAGE = "filmwright.templates"
ShotRole = Literal["establish", "act", "react", "detail"]


class Grammar(BaseModel):
    """How one kind of shot is framed: sizes and movements are cycled through."""

    model_config = ConfigDict(extra="forbid")

    sizes: list[ShotSize] = Field(min_length=1)
    movements: list[Movement] = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, le=10)
    """Relative length of such a shot."""


class StoryBeat(BaseModel):
    """A step of the plot.

    Attributes:
        share: this beat's part of the story and of the film, 0 … 1.
        pattern: the shot roles it is told with, in order, repeated as needed.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    summary: str
    share: float = Field(gt=0, le=1)
    pattern: list[ShotRole] = Field(min_length=1)


class ScriptTemplate(BaseModel):
    """A way to tell a story: beats, shot grammar, look."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    description: str
    style: str = ""
    beats: list[StoryBeat] = Field(min_length=1)
    grammar: dict[ShotRole, Grammar]
    shot_seconds: float = Field(default=2.6, ge=0.75, le=30)
    """How long a shot of weight 1 wants to be."""


class _PackageLoader(BaseLoader):
    """Pages from the package only; no include path, no file system."""

    def get_source(self, environment: Any, template: str) -> tuple[str, str | None, Any]:
        file = resources.files(PACKAGE) / template
        if "/" in template or not file.is_file():
            raise TemplateNotFound(template)
        return file.read_text(encoding="utf-8"), None, None


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=_PackageLoader(), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def render_prompt(template: str, **values: Any) -> str:
    """Renders a shipped Jinja2 template; HTML is escaped."""
    return _environment().get_template(template).render(**values)


def template_names() -> list[str]:
    """Names of the shipped script templates."""
    files = resources.files(PACKAGE).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load_template(name: str) -> ScriptTemplate:
    """A script template by name.

    Raises:
        InputError: it is unknown or malformed.
    """
    if name not in template_names():
        raise InputError(f"template {name!r} is unknown: choose one of {', '.join(template_names())}")
    text = (resources.files(PACKAGE) / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        template = ScriptTemplate.model_validate(YAML(typ="safe").load(text))
    except (YAMLError, ValidationError) as error:
        raise InputError(f"template {name}: {error}") from None
    missing = {role for beat in template.beats for role in beat.pattern} - set(template.grammar)
    if missing:
        raise InputError(f"template {name}: the beats use {', '.join(sorted(missing))} without a grammar for it")
    return template
