"""Where a setting comes from: option > FILMWRIGHT_* > production.yaml > config.toml > template (its length) > default."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_config_path
from pydantic import ValidationError

from ..storyboard.errors import InputError
from ..storyboard.production import ReviewPoint, Settings
from ..templates.loader import load_template

REVIEW_POINTS: tuple[ReviewPoint, ...] = ("script", "casting", "takes", "cut")


def config_path() -> Path:
    """The user's configuration file; FILMWRIGHT_CONFIG names another."""
    named = os.environ.get("FILMWRIGHT_CONFIG")
    return Path(named) if named else user_config_path("filmwright") / "config.toml"


def parse_review(text: str) -> list[ReviewPoint]:
    """`none`, `all`, or points separated by commas.

    Raises:
        InputError: an unknown point.
    """
    if text == "none":
        return []
    if text == "all":
        return list(REVIEW_POINTS)
    found: list[ReviewPoint] = []
    for part in (p.strip() for p in text.split(",")):
        point = next((p for p in REVIEW_POINTS if p == part), None)
        if point is None:
            raise InputError(f"--review {part!r} is unknown: choose none, all, or some of {','.join(REVIEW_POINTS)}")
        found.append(point)
    return found


def parse_price(text: str) -> tuple[float, ...]:
    """`SENT,RECEIVED[,PICTURE]` in dollars: per million tokens, and for a picture.

    Raises:
        InputError: not two or three numbers from 0.
    """
    try:
        price = tuple(float(part) for part in text.split(","))
    except ValueError:
        price = ()
    if len(price) not in (2, 3) or min(price) < 0:
        raise InputError(f"--price {text!r} is not SENT,RECEIVED or SENT,RECEIVED,PICTURE, such as --price 0.25,2")
    return price


def parse_parameters(given: list[str] | None) -> dict[str, str]:
    """`NAME=VALUE`, repeated.

    Raises:
        InputError: one is not of that form.
    """
    found = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {item!r} is not NAME=VALUE, such as --set product=soap")
        found[name.strip()] = value.strip()
    return found


READ_AS: dict[str, Any] = {"review": parse_review, "price": parse_price}
"""How settings are written in the environment and in config.toml, where that is no plain value."""


def _from_environment() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in Settings.model_fields.keys() - {"parameters", "seed_version"}:
        value = os.environ.get(f"FILMWRIGHT_{name.upper()}")
        if value:
            values[name] = READ_AS[name](value) if name in READ_AS else value
    return values


def _from_config() -> dict[str, Any]:
    path = config_path()
    if not path.is_file():
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    return {k: READ_AS[k](v) if k in READ_AS and isinstance(v, str) else v for k, v in values.items()}


def _check_text(source: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(
                f"setting {name} from {source} = {value!r} is not UTF-8, which production.yaml needs: use another name"
            ) from None


def resolve(options: Mapping[str, Any], recorded: Settings | None) -> Settings:
    """The settings of a run.

    Args:
        options: what the command line gave; None means not given.
        recorded: what production.yaml says, if there is one.

    Raises:
        InputError: a value is out of range or a key unknown; says where it came from.
    """
    default = Settings().model_dump()
    layers: list[tuple[str, Mapping[str, Any]]] = [
        (str(config_path()), _from_config()),
        ("production.yaml", recorded.model_dump(exclude_unset=True) if recorded else {}),
        ("the environment", _from_environment()),
        ("the command line", {k: v for k, v in options.items() if v is not None}),
    ]
    merged = dict(default)
    for source, values in layers:
        try:
            Settings.model_validate({**default, **values})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(p) for p in first["loc"])
            what = "is no setting" if first["type"] == "extra_forbidden" else f"= {first['input']!r}: {first['msg']}"
            raise InputError(f"setting {name} from {source} {what}") from None
        _check_text(source, values)
        merged.update(values)
    if not any("seconds" in values for _, values in layers):
        merged["seconds"] = load_template(merged["template"], merged["parameters"]).seconds or merged["seconds"]
    return Settings.model_validate(merged)
