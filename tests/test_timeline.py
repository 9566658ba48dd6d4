from __future__ import annotations

from dataclasses import replace

from filmwright.animatic.theatre import PROFILE
from filmwright.storyboard.script import Script
from filmwright.storyboard.stage import Profile
from filmwright.storyboard.timeline import build_timeline
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
