from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from filmwright.animatic.profile import PROFILE
from filmwright.storyboard.script import Script
from filmwright.storyboard.stage import Profile
from filmwright.storyboard.timeline import Held, Timeline, build_timeline
from hypothesis import given
from hypothesis import strategies as st

WAN = replace(PROFILE, name="wan", fresh_frames=1, cut_stream="continue")
lengths = st.lists(st.floats(0.05, 20.0).map(lambda s: round(s, 3)), min_size=1, max_size=60)


def script_of(seconds: list[float]) -> Script:
    shots = [{"id": f"s{i}", "seconds": s} for i, s in enumerate(seconds)]
    return Script.model_validate(
        {
            "title": "T",
            "entities": [{"id": "x", "kind": "location", "name": "x"}],
            "scenes": [{"id": "a", "location": "x", "shots": shots}],
        }
    )


@given(lengths)
def test_shots_add_up_to_the_film(seconds: list[float]) -> None:
    for profile in (PROFILE, WAN):
        timeline = build_timeline(script_of(seconds), profile)
        assert timeline.frames == sum(shot.frames for shot in timeline.shots)
        assert timeline.chunks == sum(shot.chunks for shot in timeline.shots)
        ends = [shot.cut_frame + shot.frames for shot in timeline.shots]
        assert [shot.cut_frame for shot in timeline.shots] == [0, *ends[:-1]]


@given(lengths)
def test_every_cut_point_lies_on_a_chunk_boundary(seconds: list[float]) -> None:
    timeline = build_timeline(script_of(seconds), PROFILE)
    assert all(shot.cut_latent % PROFILE.chunk_latents == 0 and shot.chunks >= 1 for shot in timeline.shots)


def chunk_seconds(profile: Profile) -> float:
    return profile.chunk_latents * profile.frames_per_latent / profile.fps


def test_a_thousand_shots_do_not_drift() -> None:
    timeline = build_timeline(script_of([1.1] * 1000), PROFILE)
    assert abs(timeline.seconds - 1100.0) <= chunk_seconds(PROFILE) / 2
    for index, shot in enumerate(timeline.shots):
        assert abs(shot.cut_frame / timeline.fps - 1.1 * index) <= chunk_seconds(PROFILE) / 2 + 1e-9


def test_a_wan_stream_has_its_cuts_at_frame_four_c_minus_three() -> None:
    timeline = build_timeline(script_of([3.0, 3.0, 3.0]), WAN)
    assert timeline.shots[0].frames == 4 * timeline.shots[0].chunks * 3 - 3
    assert all(shot.cut_frame == 4 * shot.cut_latent - 3 for shot in timeline.shots[1:])


def test_prompt_changes_fall_on_chunks_inside_the_shot() -> None:
    data = script_of([6.0]).model_dump()
    data["scenes"][0]["shots"][0]["prompt_changes"] = [
        {"at_seconds": 0.01, "action": "a"},
        {"at_seconds": 5.99, "action": "b"},
    ]
    changes = build_timeline(Script.model_validate(data), PROFILE).shots[0].prompt_changes
    assert [(chunk, standing.action) for chunk, standing in changes] == [(1, "a"), (7, "b")]


def held(timeline: Timeline, seconds: list[float]) -> dict[str, Held]:
    """Takes of every shot, as long as this timeline asks for."""
    return {
        shot.shot_id: Held(shot.chunks, shot.frames, length, shot.asked_frames)
        for shot, length in zip(timeline.shots, seconds, strict=True)
    }


@given(lengths, st.data())
def test_an_edited_shot_gets_its_seconds_to_the_frame_and_the_others_keep_theirs(
    seconds: list[float], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(seconds) - 1))
    edited = [*seconds[:index], data.draw(st.floats(0.1, 20.0).map(lambda s: round(s, 2))), *seconds[index + 1 :]]
    for profile in (PROFILE, WAN):
        before = build_timeline(script_of(seconds), profile)
        after = build_timeline(script_of(edited), profile, held(before, seconds))
        for old, new in zip(before.shots, after.shots, strict=True):
            if new.position != index + 1 or edited == seconds:
                assert (new.chunks, new.frames) == (old.chunks, old.frames)
        shot = after.shots[index]
        if edited != seconds:
            assert shot.asked_frames == max(1, round(Fraction(str(edited[index])) * 16))
            whole = profile.video_frames(shot.chunks * profile.chunk_latents, fresh=index == 0 or profile is PROFILE)
            assert 0 <= whole - shot.asked_frames < 12 + 3
            assert shot.frames == min(shot.asked_frames, before.shots[index].frames)
        assert after.frames == sum(each.frames for each in after.shots)


@given(lengths, st.data())
def test_deleting_shots_leaves_the_others_as_long_as_they_are(seconds: list[float], data: st.DataObject) -> None:
    script = script_of(seconds)
    before = {shot.shot_id: shot for shot in build_timeline(script, PROFILE).shots}
    kept = data.draw(st.sets(st.sampled_from([shot.id for shot in script.shots()]), min_size=1))
    takes = held(build_timeline(script, PROFILE), seconds)
    script.scenes[0].shots = [shot for shot in script.scenes[0].shots if shot.id in kept]
    for shot in build_timeline(script, PROFILE, takes).shots:
        assert (shot.chunks, shot.frames) == (before[shot.shot_id].chunks, before[shot.shot_id].frames)


@given(lengths)
def test_a_take_that_does_not_say_for_what_length_it_was_made_stays_as_it_is(seconds: list[float]) -> None:
    before = build_timeline(script_of(seconds), PROFILE)
    takes = {shot.shot_id: Held(shot.chunks, shot.frames) for shot in before.shots}
    after = build_timeline(script_of(seconds), PROFILE, takes)
    assert after == before


def test_a_shot_that_the_next_one_extends_ends_with_a_chunk() -> None:
    script = script_of([3.0, 3.0])
    takes = held(build_timeline(script, PROFILE), [3.0, 3.0])
    first, second = script.scenes[0].shots
    first.seconds, second.continuity = 2.0, "extend"
    assert build_timeline(script, PROFILE, takes).shots[0].frames == 36
