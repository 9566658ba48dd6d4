from __future__ import annotations

import numpy as np
import pytest
import torch
from filmwright.animatic import shapes
from filmwright.animatic.stage import Daylight, Scene
from filmwright.animatic.theatre import sized
from filmwright.evaluation.readers import find_cuts
from filmwright.storyboard import vocabulary as v
from filmwright.storyboard.caption import Appearance, Role, Staging, caption
from filmwright.storyboard.errors import FilmwrightError, InputError
from hypothesis import given, settings
from hypothesis import strategies as st

FOX = Role("fox", "walks", "right", Appearance("red", "plain", "hat"))


def draw(staging: Staging, size: tuple[int, int] = (64, 32), seed: int = 0) -> torch.Tensor:
    return Scene(staging, width=size[0], height=size[1], layout_seed=seed).draw(torch.arange(6) / 16).frames


@pytest.mark.parametrize("set_name", v.SETS)
@pytest.mark.parametrize("time", v.TIMES)
def test_every_set_is_drawn_alike_for_a_seed_and_otherwise_for_another(set_name: str, time: str) -> None:
    staging = Staging("wide", set_name, time)
    assert torch.equal(draw(staging), draw(staging))
    assert not torch.equal(draw(staging), draw(staging, seed=1))


@pytest.mark.parametrize("kind", v.KINDS)
@pytest.mark.parametrize("action", v.ACTIONS)
def test_every_puppet_acts_inside_the_frame(kind: str, action: str) -> None:
    prop = "apple" if action in v.TAKES_PROP else None
    role = Role(kind, action, "left", Appearance("blue", "striped", "scarf"), prop)
    drawing = Scene(Staging("wide", "meadow", "day", "still", (role,)), width=64, height=32).draw(
        torch.arange(8) / 4 + 0.5
    )
    assert (drawing.puppets.flatten(1).mean(dim=1) > 0.02).all()
    assert drawing.frames.min() >= 0
    assert drawing.frames.max() <= 1


def test_looks_change_the_picture() -> None:
    pictures = [
        draw(Staging("medium", "meadow", "day", "still", (Role("fox", "stands", "right", look),)))
        for look in (
            Appearance("red", "plain", "bare"),
            Appearance("blue", "plain", "bare"),
            Appearance("red", "dotted", "bare"),
            Appearance("red", "plain", "hat"),
        )
    ]
    assert all(not torch.equal(pictures[0], other) for other in pictures[1:])


def test_a_gift_goes_from_hand_to_hand() -> None:
    giver = Role("bear", "gives", "right", Appearance("blue", "plain", "bare"), "apple")
    taker = Role("bird", "stands", "left", Appearance("blue", "plain", "bare"))
    scene = Scene(Staging("wide", "castle", "day", "still", (giver, taker)), width=256, height=128)
    frames = scene.draw(torch.tensor([0.0, 3.0])).frames
    red = (frames[:, 0] > 0.7) & (frames[:, 1] < 0.3) & (torch.arange(128)[:, None] < 100)  # the carpet lies lower
    middles = [float(torch.nonzero(mask)[:, 1].float().mean()) for mask in red]
    assert middles[0] + 15 < middles[1]


def test_over_a_shoulder_the_near_puppet_is_large_and_turned_away() -> None:
    fox, bear = (
        Role(kind, "talks", "right", Appearance(hue, "plain", "bare"))
        for kind, hue in (("fox", "red"), ("bear", "blue"))
    )
    scene = Scene(Staging("over", "meadow", "day", "still", (fox, bear)), width=128, height=64)
    far, near = scene.visible(torch.tensor([1.0])).puppets[:, 0]
    assert near.mean() > far.mean() > 0.03
    columns = torch.arange(128)
    assert (near.sum(dim=0) * columns).sum() / near.sum() > 90  # on the right, as the fox looks right
    assert (far.sum(dim=0) * columns).sum() / far.sum() < 64


@pytest.mark.parametrize("weather", ["rain", "snow"])
def test_weather_falls_outdoors_and_has_no_way_in(weather: str) -> None:
    dry, wet = (draw(Staging("wide", "village", "day", weather=w)) for w in ("clear", weather))
    assert not torch.equal(dry, wet)
    assert not torch.equal(wet[0], wet[3])
    with pytest.raises(InputError, match="has a roof"):
        Staging("wide", "kitchen", "day", weather=weather)


def test_daylight_goes_on_while_nobody_looks() -> None:
    staging = Staging("wide", "meadow", "day")
    light = Daylight(0.0, 0.1)

    def picture(daylight: Daylight, second: float) -> torch.Tensor:
        scene = Scene(staging, width=64, height=32, daylight=daylight)
        return scene.draw(torch.tensor([second])).frames

    assert torch.equal(picture(light, 0.0), picture(Daylight(), 0.0))
    assert torch.allclose(picture(light, 2.0), picture(light.after(2.0), 0.0), atol=1e-5)
    assert picture(light, 0.0)[:, 2].mean() > picture(light, 3.0)[:, 2].mean()  # towards the evening there is less blue


def test_a_moving_camera_moves_the_set() -> None:
    still, pan = (draw(Staging("wide", "forest", "day", movement)) for movement in ("still", "right"))
    assert torch.equal(still[0], still[-1])
    assert not torch.equal(pan[0], pan[-1])


def test_the_theatre_remembers_looks_that_a_caption_leaves_out() -> None:
    def second_shot(first: Role) -> np.ndarray:  # type: ignore[type-arg]
        rollout = sized(64, 32).start(0)
        rollout.begin_shot(caption(Staging("medium", "meadow", "day", "still", (first,))), shot="a", take=1)
        rollout.step()
        untold = Role("fox", "stands", "right")
        rollout.begin_shot(caption(Staging("medium", "castle", "day", "still", (untold,))), shot="b", take=1)
        return rollout.step().frames

    told = Role("fox", "stands", "right", Appearance("cyan", "dotted", "scarf"))
    assert not np.array_equal(second_shot(told), second_shot(FOX))


def test_a_retake_in_the_theatre_forgets_what_was_dropped() -> None:
    told = Role("fox", "stands", "right", Appearance("cyan", "dotted", "scarf"))
    untold = caption(Staging("medium", "castle", "day", "still", (Role("fox", "walks", "right"),)))
    rollout, plain = sized(64, 32).start(0), sized(64, 32).start(0)
    for each in (rollout, plain):
        each.begin_shot(caption(Staging("medium", "meadow", "day", "still", (FOX,))), shot="a", take=1)
        each.step()
    rollout.begin_shot(caption(Staging("medium", "meadow", "day", "still", (told,))), shot="b", take=1)
    for _ in range(2):
        rollout.step()
    rollout.begin_shot(untold, shot="b", take=2, continuity="extend", retake=True)
    plain.begin_shot(untold, shot="b", take=2, continuity="extend")
    assert np.array_equal(rollout.step().frames, plain.step().frames)


def test_the_theatre_keeps_the_protocol_of_a_rollout() -> None:
    rollout = sized(64, 32).start(0)
    rollout.begin_shot(caption(Staging("wide", "forest", "day", "still", (FOX,))), shot="a", take=1)
    made = [rollout.step() for _ in range(3)]
    rollout.rewind(2)
    assert np.array_equal(rollout.feed(made[1].latents).frames, made[1].frames)
    with pytest.raises(FilmwrightError, match="cannot rewind 9"):
        rollout.rewind(9)
    with pytest.raises(FilmwrightError, match="another generator's"):
        rollout.feed(np.zeros((16, 3, 2, 4), dtype=np.float32))
    with pytest.raises(InputError, match="not a caption"):
        rollout.begin_shot("a fox", shot="b", take=1)


def test_cuts_are_found_where_they_are() -> None:
    a, b = (draw(Staging("wide", name, "day"), (128, 64)) for name in ("forest", "kitchen"))
    assert find_cuts(torch.cat([a, a, b, b, a])) == [12, 24]  # a shot is a chunk of twelve frames at least
    assert find_cuts(torch.cat([a, a])) == []


@given(
    st.sampled_from(["circle", "ellipse", "box", "capsule", "triangle", "joined", "above"]),
    st.lists(st.floats(0.05, 0.6), min_size=4, max_size=4),
    st.floats(0.0, 0.03),
)
@settings(max_examples=150, deadline=None)
def test_nothing_of_a_shape_lies_outside_its_box(kind: str, n: list[float], outline: float) -> None:
    a, b, c, d = n
    built = {
        "circle": lambda: shapes.circle(a, -b, c), "ellipse": lambda: shapes.ellipse(a, b, c, d), "box": lambda: shapes.box(-a, b, c, d),
        "capsule": lambda: shapes.capsule(a, b, -c, d, 0.1), "triangle": lambda: shapes.triangle(a, -b, c, d),
        "joined": lambda: shapes.circle(a, b, c).joined(shapes.box(-a, -b, c, d)).grown(0.05),
        "above": lambda: shapes.ellipse(a, b, c, d).above(b),
    }[kind]()  # fmt: skip
    pixel = 0.01
    axis = torch.arange(-2, 2, pixel)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    drawn = shapes.coverage(built.distance(x, y) - outline, pixel) > 0
    left, right, bottom, top = built.box
    margin = outline + 2 * pixel
    outside = (x < left - margin) | (x > right + margin) | (y < bottom - margin) | (y > top + margin)
    assert not (drawn & outside).any()
