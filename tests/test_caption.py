from __future__ import annotations

import pytest
from filmwright.storyboard import vocabulary as v
from filmwright.storyboard.caption import Appearance, Role, Staging, caption, parse_caption
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.script import Entity
from filmwright.storyboard.staging import appearance_of, puppet_kind, stage_shot
from hypothesis import given
from hypothesis import strategies as st

from .test_script import script_data

looks = st.none() | st.builds(
    Appearance, st.sampled_from(v.HUES), st.sampled_from(v.PATTERNS), st.sampled_from(v.ACCESSORIES)
)
roles = st.builds(Role, st.sampled_from(v.KINDS), st.sampled_from(v.ACTIONS), st.sampled_from(v.FACINGS), looks)
stagings = st.builds(
    Staging, st.sampled_from(v.VIEWS), st.sampled_from(v.SETS), st.sampled_from(v.TIMES), st.sampled_from(v.MOVEMENTS),
    st.lists(roles, max_size=2).map(tuple),
)  # fmt: skip


@given(stagings, st.booleans())
def test_a_caption_reads_back_as_its_staging(staging: Staging, cut: bool) -> None:
    assert parse_caption(caption(staging, cut=cut)) == staging


@given(stagings)
def test_every_word_of_a_caption_is_in_the_vocabulary(staging: Staging) -> None:
    assert set(caption(staging, cut=True).split()) <= set(v.WORDS)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse_caption(text)
    except InputError as error:
        assert str(error)


def test_words_outside_the_vocabulary_are_named() -> None:
    with pytest.raises(InputError, match="'desert' is not in the vocabulary"):
        parse_caption("wide shot , desert , day , camera still .")


def test_a_description_decides_how_a_puppet_looks() -> None:
    entity = Entity(id="a", kind="character", name="Ada", description="a blue striped hare with a scarf")
    assert appearance_of(entity) == Appearance("blue", "striped", "scarf")
    assert puppet_kind(entity) == "rabbit"


def test_what_cannot_be_drawn_is_mapped_with_a_note() -> None:
    from filmwright.storyboard.script import Script

    data = script_data()
    data["entities"][1]["name"] = "spaceship"
    script = Script.model_validate(data)
    staged = stage_shot(script, next(script.shots()))
    assert staged.staging.set == "meadow"
    assert staged.notes == ("location 'spaceship' drawn as meadow",)


def test_wardrobe_changes_last_from_their_shot_on() -> None:
    entity = Entity(id="a", kind="character", name="Ada", description="a blue plain fox", changes={"2A": "now in red"})
    assert appearance_of(entity, "1A", ("1A",)).hue == "blue"
    assert appearance_of(entity, "3A", ("1A", "2A", "3A")).hue == "red"
