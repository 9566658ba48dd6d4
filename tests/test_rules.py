from __future__ import annotations

from pathlib import Path

import pytest
from filmwright.agents.planner import check_planner, check_story, open_rules
from filmwright.agents.rules.reading import read_story, split_sentences
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.script import Script
from filmwright.templates.loader import load_template, template_names
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.txt"))


def plan(story: str, template: str = "three-act", seconds: float = 20.0, seed: int = 0) -> Script:
    return open_rules().plan(story, template=load_template(template), seconds=seconds, seed=seed)


def names(script: Script, kind: str = "character") -> set[str]:
    return {e.name for e in script.entities if e.kind == kind}


def test_pronouns_and_repeated_names_make_no_new_characters() -> None:
    script = plan(
        "Ada lived by the sea. She sailed every day. One day Ada met a bear. It smiled at her. Ada and the bear ate. He thanked Ada."
    )
    assert names(script) == {"Ada", "bear"}


def test_a_named_animal_is_one_character() -> None:
    script = plan("Anansi the spider had a pot. Anansi climbed a tree. The spider fell, and Anansi cried.")
    assert names(script) == {"Anansi"}
    assert "spider" in script.entities[0].description


def test_a_list_of_companions_stays_a_list() -> None:
    script = plan(
        "Momo walked on. Momo, the dog and the pheasant came to the sea. The dog barked. The pheasant flew. Momo laughed."
    )
    assert names(script) == {"Momo", "dog", "pheasant"}


def test_lines_go_to_who_speaks_them(story: str) -> None:
    lines = [(line.speaker, line.text) for shot in plan(story).shots() for line in shot.lines]
    assert ("fox", "What a fine bird you are") in lines
    assert ("crow", "Never trust a flatterer") in lines


def test_a_quotation_is_not_split_into_sentences() -> None:
    assert len(split_sentences('"Stop. Wait!" said the fox. The crow flew.')) == 2


def test_places_and_times_follow_the_story() -> None:
    reading = read_story("A fox slept in the forest. At night it walked to the sea. In the morning the fox swam.")
    assert [(s.place, s.time) for s in reading.sentences] == [("forest", "day"), ("sea", "night"), ("sea", "day")]


@pytest.mark.parametrize("template", template_names())
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_plans_with_every_template(example: Path, template: str) -> None:
    script = plan(example.read_text(encoding="utf-8"), template)
    assert abs(script.seconds() - 20.0) <= 2.0
    assert 2 <= len(names(script)) <= 6
    assert len(names(script, "location")) >= 2


@settings(max_examples=40, deadline=None)
@given(st.floats(4.0, 240.0), st.sampled_from(template_names()), st.integers(0, 5))
def test_the_length_is_met_within_a_tenth(seconds: float, template: str, seed: int) -> None:
    text = EXAMPLES[0].read_text(encoding="utf-8")
    assert abs(plan(text, template, seconds, seed).seconds() - seconds) <= 0.1 * seconds


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=400))
def test_any_text_is_planned_or_refused_in_one_line(text: str) -> None:
    try:
        plan(check_story(text, "the story"))
    except InputError as error:
        assert "\n" not in str(error)


def test_the_same_seed_gives_the_same_script(story: str) -> None:
    assert plan(story, seed=3) == plan(story, seed=3)
    assert plan(story, seed=3) != plan(story, seed=4)


def test_other_languages_keep_their_text() -> None:
    script = plan("昔々、山に老人が住んでいた。ある日、老人は川へ行った。")
    assert any("老人は川へ行った" in shot.action for shot in script.shots())


def test_the_planner_says_that_it_does_not_understand(story: str) -> None:
    assert "not understanding" in plan(story).planner


@pytest.mark.parametrize(
    ("text", "reason"), [("", "empty"), ("  \n", "empty"), ("a\x00b", "binary"), ("x" * 1_000_001, "at most 1 MB")]
)
def test_unusable_stories_are_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check_story(text, "the story")


def test_unknown_templates_and_planners_list_the_known_ones() -> None:
    with pytest.raises(InputError, match="kishotenketsu"):
        load_template("opera")
    with pytest.raises(InputError, match="rules"):
        check_planner("oracle")


def test_a_conversation_of_two_is_seen_over_a_shoulder() -> None:
    story = 'A fox met a bear. "Good day," said the fox to the bear. "Good day," said the bear to the fox. The fox and the bear laughed.'
    script = open_rules().plan(story, template=load_template("fable"), seconds=30, seed=0)
    over = [shot for shot in script.shots() if shot.angle == "over-shoulder"]
    assert over and all(len(script.cast_of(shot)) == 2 and shot.lines is not None for shot in over)
