"""Finds script templates, joins them with what they extend, and fills in their parameters.

A template is looked for in the working folder's `filmwright-templates/`, then in the user's, then among those that come along;
`--template` also takes a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from platformdirs import user_config_path
from pydantic import ValidationError
from ruamel.yaml.comments import CommentedMap

from ..storyboard.errors import InputError, reason_of
from ..storyboard.yaml_files import line_of, place_name, read_yaml_file
from .filters import Budget
from .script_template import MAX_VALUE, Parameter, ScriptTemplate, Value
from .wording import render_wording

PACKAGE = "filmwright.templates"
PROJECT = "filmwright-templates"
MAX_DEPTH = 8


@dataclass(frozen=True)
class Found:
    """Where a template is: `origin` is project, user or built-in."""

    name: str
    origin: str
    path: Path


def user_folder() -> Path:
    """The user's own templates; FILMWRIGHT_TEMPLATES names another folder."""
    named = os.environ.get("FILMWRIGHT_TEMPLATES")
    return Path(named) if named else user_config_path("filmwright") / "templates"


def find_templates() -> dict[str, Found]:
    """All templates by name; those of the project go before the user's, and these before the built-in ones."""
    places = (("built-in", Path(str(resources.files(PACKAGE)))), ("user", user_folder()), ("project", Path(PROJECT)))
    return {
        path.stem: Found(path.stem, origin, path) for origin, folder in places for path in sorted(folder.glob("*.yaml"))
    }


def template_names() -> list[str]:
    """Names of all templates."""
    return sorted(find_templates())


def load_template(name: str, given: Mapping[str, str] | None = None) -> ScriptTemplate:
    """A template, whole: joined with what it extends, its parameters filled in.

    Args:
        name: a template's name, or a file.
        given: values of its parameters, as they were typed.

    Raises:
        InputError: unknown or malformed; a cycle; a parameter that it does not have, or a value that does not fit.
    """
    path = _path(name)
    data, lines = _joined(path, ())
    try:
        template = ScriptTemplate.model_validate(data)
    except ValidationError as error:
        raise InputError(_explained(error, path, lines)) from None
    if template.name != path.stem:
        raise InputError(f"{path}: name is {template.name!r}, but the file's is {path.stem!r}: give both the same")
    values = _values(template, given or {})
    return _filled(template, values, path)


def _path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    found = find_templates().get(name)
    if found is None:
        raise InputError(f"template {name!r} is unknown: choose one of {', '.join(template_names())}, or a file")
    return found.path


def _read(path: Path) -> CommentedMap:
    loaded = read_yaml_file(path)
    if not isinstance(loaded, CommentedMap):
        raise InputError(f"{path}: a template is a mapping with name, title, acts and grammar")
    return loaded


def _joined(path: Path, above: tuple[str, ...]) -> tuple[dict[str, Any], CommentedMap]:
    """A template's data with that of what it extends below it, and its own file's lines."""
    own = _read(path)
    base = own.get("extends")
    if base is None:
        return dict(own), own
    chain = (*above, path.stem)
    if base in chain or len(chain) > MAX_DEPTH:
        raise InputError(f"{path}: templates extend each other in a circle: {' -> '.join((*chain, str(base)))}")
    found = find_templates().get(str(base))
    if found is None:
        raise InputError(f"{path}: extends {base!r}, which is no template; there are {', '.join(template_names())}")
    below, _ = _joined(found.path, chain)
    merged = {**below, **own}
    for key in ("grammar", "parameters"):
        if isinstance(below.get(key), dict) and isinstance(own.get(key), dict):
            merged[key] = {**below[key], **own[key]}
    return merged, own


def _explained(error: ValidationError, path: Path, lines: CommentedMap) -> str:
    """The first problem as `file:line: place: reason`."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")  # a misspelt key before the one it is not
    place = [part for part in first["loc"] if part not in ("bool", "int", "float", "str")]
    reason = reason_of(first)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{path}:{line_of(lines, place)}: {place_name(place) + ': ' if place else ''}{reason}{more}"


def _values(template: ScriptTemplate, given: Mapping[str, str]) -> dict[str, Value]:
    """Values of all parameters."""
    for name in given:
        if name not in template.parameters:
            has = ", ".join(template.parameters) or "none"
            raise InputError(f"--set {name}: template {template.name} has no such parameter; it has {has}")
    return {
        name: _typed(name, given[name], parameter) if name in given else parameter.default
        for name, parameter in template.parameters.items()
    }


def _typed(name: str, text: str, parameter: Parameter) -> Value:
    kind = type(parameter.default)
    value: Value
    if len(text) > MAX_VALUE:
        raise InputError(f"--set {name} is {len(text):,} characters long: at most {MAX_VALUE:,}")
    try:
        value = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise InputError(f"--set {name}={text!r} is no {kind.__name__}: {parameter.help}") from None
    if parameter.choices and value not in parameter.choices:
        raise InputError(f"--set {name}={text!r}: choose one of {', '.join(map(str, parameter.choices))}")
    return value


def _filled(template: ScriptTemplate, values: Mapping[str, Value], path: Path) -> ScriptTemplate:
    """The template with its texts written out."""

    budget = Budget()

    def written(place: str, text: str) -> str:
        try:
            return render_wording(text, values, budget)
        except InputError as error:
            raise InputError(f"{path}: {place}: {error}") from None

    acts = [
        act.model_copy(
            update={
                "beats": [
                    beat.model_copy(update={"summary": written(f"beat {beat.name}", beat.summary)})
                    for beat in act.beats
                ]
            }
        )
        for act in template.acts
    ]
    texts = {name: written(name, getattr(template, name)) for name in ("style", "guidance")}
    return template.model_copy(update={"acts": acts, **texts})
