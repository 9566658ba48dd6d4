"""The beginning of a script template, for its author to fill in."""

from __future__ import annotations

import json
import re

from ..storyboard.device_names import is_device_name
from ..storyboard.errors import InputError
from .loader import template_names

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")
GRAMMAR = """\
grammar:                      # how shots are framed: sizes and movements are cycled through, weight is relative length
  establish: {sizes: [ELS, LS], movements: [pan-right, static], weight: 1.3}
  act: {sizes: [MLS, MS, LS], movements: [static], weight: 1.0}
  react: {sizes: [MCU, CU], movements: [static], weight: 0.8}
  detail: {sizes: [CU, ECU], movements: [static], weight: 0.7}
"""


def new_template(name: str, title: str, description: str, beats: str, extends: str | None) -> str:
    """The text of a template with those beats (names with commas between), or of one that extends another.

    Raises:
        InputError: a name that cannot be one, no beats, or nothing to extend.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"template name {name!r}: use small letters, digits and hyphens")
    if is_device_name(name):
        raise InputError(f"template name {name!r} is one that Windows keeps for a device: choose another")
    if extends is not None and extends not in template_names():
        raise InputError(f"--extends {extends!r} is no template: there are {', '.join(template_names())}")
    head = [
        f"name: {name}",
        f"title: {json.dumps(title, ensure_ascii=False)}",
        f"description: {json.dumps(description, ensure_ascii=False)}",
    ]
    if extends is not None:
        head += [f"extends: {extends}", "# whatever you write here replaces what it says", "style: paper theatre", ""]
        return "\n".join(head)
    names = [re.sub(r"[^a-z0-9]+", "-", beat.strip().lower()).strip("-") for beat in beats.split(",") if beat.strip()]
    if not names or not all(names):
        raise InputError(f"--beats {beats!r}: give names with commas between, such as --beats 'wish, trial, end'")
    shares = [round(1 / len(names), 3)] * len(names)
    shares[-1] = round(1 - sum(shares[:-1]), 3)
    head += [
        "style: paper theatre",
        "parameters:",
        "  mood: {help: How it feels., default: cheerful}",
        "guidance: >-                  # what a language model is told; parameters stand in double braces",
        "  The film is {{ mood }}.",
        "shot_seconds: 2.6             # how long a shot of weight 1 wants to be",
        "acts:",
        "  - name: all",
        "    beats:",
    ]
    for beat, share in zip(names, shares, strict=True):
        head.append(
            f'      - {{name: {beat}, summary: "What happens in {beat}.", share: {share}, pattern: [establish, act, react]}}'
        )
    return "\n".join(head) + "\n" + GRAMMAR
