from __future__ import annotations

import pytest
from filmwright.generator.text import TEXT_TOKENS
from filmwright.storyboard import vocabulary as v
from filmwright.storyboard.caption import Appearance, Role, Staging, caption, parse_caption
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.script import Entity, Script
from filmwright.storyboard.staging import Staged, appearance_of, fit, puppet_kind, stage_shot
from hypothesis import given
from hypothesis import strategies as st

from .test_script import script_data

looks = st.none() | st.builds(
    Appearance, st.sampled_from(v.HUES), st.sampled_from(v.PATTERNS), st.sampled_from(v.ACCESSORIES)
)
names = st.none() | st.sampled_from(v.NAMES)
who = (st.sampled_from(v.KINDS), st.sampled_from(v.FACINGS), looks, names)
roles = st.builds(
    lambda action, kind, facing, look, name: Role(kind, action, facing, look, None, name),
    st.sampled_from([a for a in v.ACTIONS if a not in v.NEEDS_PROP]), *who,
) | st.builds(
    lambda action, prop, kind, facing, look, name: Role(kind, action, facing, look, prop, name),
    st.sampled_from(v.TAKES_PROP), st.sampled_from(v.PROPS), *who,
)  # fmt: skip


@st.composite
def draw_staging(draw: st.DrawFn) -> Staging:
    view, place = draw(st.sampled_from(v.VIEWS)), draw(st.sampled_from(v.SETS))
    cast = draw(st.lists(roles, min_size=2 if view == "over" else 0, max_size=2))
    weather = "clear" if place in v.INDOORS else draw(st.sampled_from(v.WEATHERS))
    return Staging(
        view, place, draw(st.sampled_from(v.TIMES)), draw(st.sampled_from(v.MOVEMENTS)), tuple(cast), weather
    )


stagings = draw_staging()
OLD = v.Vocabulary.of(
    {*v.GRAMMAR_WORDS, *v.SETS, *v.TIMES, *v.HUES, *v.PATTERNS, *v.ACCESSORIES, *v.MOVEMENTS, *v.FACINGS}
    | {"person", "rabbit", "bear", "bird", "fox", "turtle", "stands", "walks", "runs", "jumps", "talks", "sleeps"}
    | {"wide", "medium", "close"}
)
"""What the first bundled weights knew."""


@given(stagings, st.booleans())
def test_a_caption_reads_back_as_its_staging(staging: Staging, cut: bool) -> None:
    assert parse_caption(caption(staging, cut=cut)) == staging


@given(stagings)
def test_every_word_of_a_caption_is_in_the_vocabulary(staging: Staging) -> None:
    assert set(caption(staging, cut=True).split()) <= set(v.FULL.words())


@given(stagings)
def test_a_caption_is_short_enough_for_our_sizes(staging: Staging) -> None:
    assert len(caption(staging, cut=True).split()) < TEXT_TOKENS


@given(stagings)
def test_any_staging_fits_weights_that_know_fewer_words(staging: Staging) -> None:
    fitted = fit(staging, OLD)
    assert set(caption(fitted.staging, cut=True).split()) <= set(OLD.words())
    assert fit(fitted.staging, OLD).notes == ()
    assert fit(staging, v.FULL) == Staged(staging, ())


def test_what_weights_do_not_know_is_said() -> None:
    horse = Role("horse", "gives", "right", Appearance("red", "plain", "hat"), "crown")
    fitted = fit(Staging("medium", "forest", "day", "still", (horse,), "snow"), OLD)
    assert (
        caption(fitted.staging) == "medium shot , forest , day , camera still : red plain fox with hat stands right ."
    )
    assert "horse is unknown to these weights: drawn as fox" in fitted.notes
    assert "crown is unknown to these weights: left out" in fitted.notes


def test_a_scene_in_the_rain_with_two_bears_who_share_bread() -> None:
    script = Script.model_validate({
        "title": "Bears",
        "entities": [
            {"id": "hill", "kind": "location", "name": "the hill"},
            {"id": "bo", "kind": "character", "name": "Bo", "description": "a red plain bear with a hat"},
            {"id": "bi", "kind": "character", "name": "Bi", "description": "a blue dotted bear with a scarf"},
            {"id": "bread", "kind": "prop", "name": "bread"},
        ],
        "scenes": [{"id": "s", "location": "hill", "time": "rainy evening", "shots": [
            {"id": "a", "seconds": 2, "angle": "over-shoulder", "action": "Bo gives Bi the bread.", "entities": ["bo", "bi", "bread"]},
            {"id": "b", "seconds": 2, "action": "They hold on to it.", "entities": ["bi", "bo"]},
        ]}],
    })  # fmt: skip
    first, second = script.shots()
    assert caption(stage_shot(script, first).staging) == (
        "over shot , meadow , rain evening , camera still : "
        "red plain bear ada with hat gives apple right ; blue dotted bear ben with scarf stands left ."
    )
    assert stage_shot(script, second).staging.weather == "rain"


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
