"""Prompts that are derived from a script, and the words language models are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from filmwright.agents.prompts import portrait_prompt, shot_prompt
from filmwright.animatic.profile import PROFILE
from filmwright.storyboard.caption import is_caption
from filmwright.storyboard.script import Script
from filmwright.templates.prompt import load_prompt
from jinja2 import UndefinedError

PROSE = replace(PROFILE, prompt_style="prose")
PROMPTS = sorted(path.stem for path in (Path(__file__).parent.parent / "templates" / "prompts").glob("*.j2"))


def script(action: str, **shot: object) -> Script:
    return Script.model_validate({
        "title": "Two", "style": "watercolour",
        "entities": [
            {"id": "ada", "kind": "character", "name": "Ada", "description": "a tall woman with grey hair, in a blue coat"},
            {"id": "bo", "kind": "character", "name": "Bo", "description": "an old brown dog"},
            {"id": "pier", "kind": "location", "name": "the pier", "description": "a wooden pier in fog"},
        ],
        "scenes": [{"id": "s", "location": "pier", "time": "night", "shots": [
            {"id": "a", "seconds": 2, "action": action, "entities": ["ada", "bo"], **shot}
        ]}],
    })  # fmt: skip


def prose(action: str, **shot: object) -> str:
    made = script(action, **shot)
    return shot_prompt(made, next(made.shots()), PROSE)[0]


def test_prose_says_looks_in_place_of_names_and_the_setting_every_time() -> None:
    assert prose("Ada calls Bo. Ada waits.", size="CU", movement="pan-left") == (
        "Close-up, slow pan to the left. a tall woman with grey hair, in a blue coat calls an old brown dog. the tall woman waits. "
        "a wooden pier in fog, night. watercolour."
    )


def test_who_is_seen_but_not_named_is_in_view() -> None:
    assert "In view: an old brown dog." in prose("Ada waits.")
    assert "Ada" not in prose("ada waits.") and "Ada" not in prose("Ada's hat falls.")


def test_a_prompt_ends_where_the_model_stops_reading() -> None:
    made = script("Ada waits. " * 300)
    prompt, notes = shot_prompt(made, next(made.shots()), replace(PROSE, prompt_tokens=100))
    assert len(prompt.split()) == 70 and "70 words" in notes[0]


def test_a_person_s_own_prompt_counts() -> None:
    assert prose("Ada waits.", prompt="a red door") == "a red door"


def test_a_portrait_is_asked_for_in_the_generator_s_own_way() -> None:
    ada = script("x").entity("ada")
    assert portrait_prompt(ada, PROSE, close=True).startswith("Close-up of the face of a tall woman")
    assert is_caption(portrait_prompt(ada, PROFILE, close=False))


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompt_has_a_version_and_names_what_it_needs(name: str) -> None:
    prompt = load_prompt(name)
    assert prompt.mark == f"{name}@{prompt.version}" and prompt.version >= 1
    with pytest.raises(UndefinedError):
        prompt.render()
