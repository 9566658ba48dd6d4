"""Sets: painted backdrops in two layers, laid out by a seed and lit by the time of day.

Stage units: the wide frame is 2 high, y points up, the ground line puppets stand on is y = -0.62. A layer is painted
once per shot on a canvas of coordinates `x`, `y` [H, W]; the camera then moves over it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .shapes import Axis, Colour, Shape, box, capsule, circle, coverage, ellipse, paint, triangle

GROUND = -0.62

SKY: dict[str, tuple[Colour, Colour]] = {  # top, horizon
    "day": ((0.36, 0.66, 0.95), (0.84, 0.94, 1.00)),
    "evening": ((0.50, 0.26, 0.50), (1.00, 0.66, 0.34)),
    "night": ((0.03, 0.04, 0.16), (0.14, 0.17, 0.38)),
}
LATER = {"day": "evening", "evening": "night", "night": "day"}
LIGHT: dict[str, Colour] = {"day": (1.0, 1.0, 1.0), "evening": (1.0, 0.76, 0.58), "night": (0.42, 0.48, 0.78)}
PUPPET_LIGHT: dict[str, Colour] = {"day": (1.0, 1.0, 1.0), "evening": (1.0, 0.90, 0.80), "night": (0.74, 0.77, 0.92)}


WEATHER_LIGHT: dict[str, Colour] = {"clear": (1.0, 1.0, 1.0), "rain": (0.70, 0.76, 0.84), "snow": (0.92, 0.95, 1.0)}
CLOUD: Colour = (0.72, 0.75, 0.80)
SNOW: Colour = (0.94, 0.96, 1.0)


@dataclass(frozen=True)
class Air:
    """What lights a set.

    Attributes:
        later: how far the light has gone from that of `time` towards the next time's, 0 … 1.
    """

    time: str
    weather: str = "clear"
    later: float = 0.0

    def light(self, of: dict[str, Colour]) -> Colour:
        """The colour of a table of lights."""
        return _times(_between(of[self.time], of[LATER[self.time]], self.later), WEATHER_LIGHT[self.weather])

    def sky(self) -> tuple[Colour, Colour]:
        """Top and horizon."""
        now, then = SKY[self.time], SKY[LATER[self.time]]
        top, horizon = (_between(a, b, self.later) for a, b in zip(now, then, strict=True))
        if self.weather == "clear":
            return top, horizon
        cloud = _times(CLOUD, self.light(LIGHT))
        return _between(top, cloud, 0.6), _between(horizon, cloud, 0.6)


def _between(a: Colour, b: Colour, part: float) -> Colour:
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part, a[2] + (b[2] - a[2]) * part


def _times(a: Colour, b: Colour) -> Colour:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


class Canvas:
    """One painted layer: colours [3, H, W] and opacity [H, W]."""

    def __init__(self, x: Tensor, y: Tensor, pixel: float, light: Colour, opaque: bool) -> None:
        self.x, self.y, self.pixel = x, y, pixel
        self._rows, self._columns = Axis(y[:, 0], y[:, 0]), Axis(x[0], x[0])
        self.light = torch.tensor(light)[:, None, None]
        self.rgb = torch.zeros(3, *x.shape)
        self.alpha = torch.ones_like(x) if opaque else torch.zeros_like(x)

    def shape(self, shape: Shape | Tensor, colour: Colour, opacity: float = 1.0, lit: bool = True) -> None:
        """Paints a shape, or what lies where a distance [H, W] is negative."""
        rows, columns = slice(None), slice(None)
        if isinstance(shape, Shape):
            left, right, bottom, top = shape.box
            rim = 2 * self.pixel
            rows, columns = self._rows.inside(bottom - rim, top + rim), self._columns.inside(left - rim, right + rim)
            distance = shape.distance(self.x[rows, columns], self.y[rows, columns])
        else:
            distance = shape
        alpha = coverage(distance, self.pixel) * opacity
        tone = torch.tensor(colour)[:, None, None]
        paint(self.rgb[:, rows, columns], alpha, tone * self.light if lit else tone)
        torch.maximum(self.alpha[rows, columns], alpha, out=self.alpha[rows, columns])

    def wash(self, top: Colour, bottom: Colour, y_top: float, y_bottom: float, lit: bool = False) -> None:
        """A vertical gradient over everything."""
        mix = ((y_top - self.y) / (y_top - y_bottom)).clamp(0, 1)
        a, b = torch.tensor(top)[:, None, None], torch.tensor(bottom)[:, None, None]
        self.rgb = torch.lerp(a.expand_as(self.rgb), b.expand_as(self.rgb), mix.expand_as(self.rgb))
        if lit:
            self.rgb = self.rgb * self.light


Painter = Callable[[Canvas, Canvas, Air, random.Random], None]


def _sky(far: Canvas, air: Air, rng: random.Random, clouds: bool = True) -> None:
    top, horizon = air.sky()
    far.wash(top, horizon, 1.0, -0.3)
    rng = random.Random(rng.random())  # what is in the sky does not move what stands on the ground
    place, time = rng.uniform(-1.3, 1.3), air.time
    if air.weather != "clear":
        return
    if time == "day":
        far.shape(circle(place, 0.70, 0.16), (1.0, 0.95, 0.60), lit=False)
    elif time == "evening":
        far.shape(circle(place, 0.02, 0.24), (1.0, 0.84, 0.42), lit=False)
    else:
        far.shape(circle(place, 0.66, 0.15), (0.94, 0.94, 0.84), lit=False)
        far.shape(circle(place + 0.08, 0.70, 0.13), (0.06, 0.07, 0.20), lit=False)
        for _ in range(14):
            far.shape(circle(rng.uniform(-2.4, 2.4), rng.uniform(0.1, 0.98), 0.014), (0.9, 0.9, 0.8), lit=False)
    if clouds and time != "night":
        tone = (1.0, 1.0, 1.0) if time == "day" else (1.0, 0.74, 0.62)
        for _ in range(2):
            cx, cy = rng.uniform(-2.0, 2.0), rng.uniform(0.45, 0.85)
            for dx, r in ((-0.16, 0.09), (0.0, 0.13), (0.17, 0.10)):
                far.shape(ellipse(cx + dx, cy, r * 1.5, r), tone, 0.9, lit=False)


def _spread(rng: random.Random, count: int, jitter: float, reach: float = 2.6) -> list[float]:
    step = 2 * reach / count
    return [-reach + step * (i + 0.5) + rng.uniform(-jitter, jitter) * step for i in range(count)]


def _forest(far: Canvas, near: Canvas, air: Air, rng: random.Random) -> None:
    _sky(far, air, rng, clouds=False)
    far.shape(far.y - 0.02 - 0.06 * torch.sin(far.x * 2.3 + rng.uniform(0, 6)), (0.26, 0.46, 0.34))
    for cx in _spread(rng, 9, 0.3):
        far.shape(triangle(cx, -0.25, 0.24, rng.uniform(0.7, 1.0)), (0.16, 0.40, 0.26))
    near.shape(near.y - GROUND - 0.22, (0.24, 0.40, 0.16))
    near.shape(near.y - GROUND - 0.06, (0.30, 0.48, 0.18))
    for cx in _spread(rng, 5, 0.3):
        base = GROUND + 0.16
        near.shape(box(cx, base + 0.15, 0.055, 0.2), (0.36, 0.22, 0.12))
        for k in range(3):
            near.shape(
                triangle(cx, base + 0.22 + 0.28 * k, 0.36 - 0.08 * k, 0.46),
                (0.07, 0.30 + 0.05 * k, 0.14),
            )


def _meadow(far: Canvas, near: Canvas, air: Air, rng: random.Random) -> None:
    _sky(far, air, rng)
    far.shape(far.y + 0.05 - 0.16 * torch.sin(far.x * 1.1 + rng.uniform(0, 6)), (0.56, 0.78, 0.42))
    near.shape(near.y + 0.32 - 0.07 * torch.sin(near.x * 1.7 + rng.uniform(0, 6)), (0.50, 0.80, 0.26))
    near.shape(near.y - GROUND + 0.02, (0.42, 0.72, 0.20))
    for _ in range(16):
        cx, cy = rng.uniform(-2.5, 2.5), rng.uniform(-0.95, -0.42)
        tone = rng.choice([(1.0, 1.0, 0.95), (1.0, 0.86, 0.25), (0.95, 0.45, 0.55)])
        near.shape(capsule(cx, cy - 0.07, cx, cy, 0.010), (0.2, 0.5, 0.15))
        near.shape(circle(cx, cy, 0.038), tone)


def _seashore(far: Canvas, near: Canvas, air: Air, rng: random.Random) -> None:
    _sky(far, air, rng)
    far.shape(far.y - 0.02, (0.12, 0.42, 0.66))
    for k in range(4):
        level = -0.06 - 0.09 * k
        wave = far.y - level - 0.018 * torch.sin(far.x * 9 + rng.uniform(0, 6))
        far.shape(torch.maximum(wave, level - 0.022 - far.y), (0.70, 0.88, 0.94), 0.7)
    sail = rng.uniform(-1.5, 1.5)
    far.shape(triangle(sail, 0.05, 0.13, 0.34), (0.98, 0.96, 0.90))
    far.shape(box(sail, 0.02, 0.17, 0.035), (0.45, 0.22, 0.14))
    near.shape(near.y + 0.40 - 0.05 * torch.sin(near.x * 1.9 + rng.uniform(0, 6)), (0.96, 0.86, 0.60))
    near.shape(near.y - GROUND + 0.04, (0.90, 0.78, 0.50))
    for cx in _spread(rng, 6, 0.4):
        near.shape(ellipse(cx, rng.uniform(-0.9, -0.72), 0.09, 0.05), (0.72, 0.60, 0.48))


def _village(far: Canvas, near: Canvas, air: Air, rng: random.Random) -> None:
    _sky(far, air, rng)
    far.shape(far.y + 0.10 - 0.12 * torch.sin(far.x * 0.9 + rng.uniform(0, 6)), (0.50, 0.64, 0.44))
    near.shape(near.y - GROUND - 0.20, (0.76, 0.66, 0.50))
    near.shape(near.y - GROUND + 0.03, (0.68, 0.57, 0.42))
    window = (1.0, 0.86, 0.42) if air.time != "day" else (0.35, 0.50, 0.62)
    for cx in _spread(rng, 5, 0.15):
        base, half, tall = GROUND + 0.18, rng.uniform(0.30, 0.38), rng.uniform(0.24, 0.34)
        wall = rng.choice([(0.96, 0.90, 0.78), (0.92, 0.80, 0.66), (0.86, 0.86, 0.88)])
        near.shape(box(cx, base + tall, half, tall), wall)
        near.shape(triangle(cx, base + 2 * tall, half + 0.1, 0.38), (0.70, 0.24, 0.16))
        near.shape(box(cx - 0.12, base + 0.16, 0.07, 0.16), (0.42, 0.24, 0.12))
        near.shape(box(cx + 0.14, base + tall * 1.15, 0.07, 0.08), window, lit=air.time == "day")


def _castle(far: Canvas, near: Canvas, air: Air, rng: random.Random) -> None:
    top, horizon = air.sky()
    far.wash((0.42, 0.42, 0.50), (0.54, 0.53, 0.58), 1.0, -0.6, lit=True)
    for row in range(7):
        y0 = 1.0 - 0.24 * row
        far.shape(box(0.0, y0, 9.0, 0.010), (0.34, 0.34, 0.42))
        for cx in _spread(rng, 8, 0.0):
            shift = 0.16 if row % 2 else -0.16
            far.shape(box(cx + shift, y0 - 0.12, 0.010, 0.12), (0.34, 0.34, 0.42))
    mid = tuple((a + b) / 2 for a, b in zip(top, horizon, strict=True))
    for cx in _spread(rng, 4, 0.1):
        arch = box(cx, 0.28, 0.17, 0.26).joined(circle(cx, 0.54, 0.17))
        far.shape(arch.grown(0.05), (0.30, 0.30, 0.36))
        far.shape(arch, (mid[0], mid[1], mid[2]), lit=False)
    near.shape(near.y - GROUND - 0.10, (0.50, 0.44, 0.48))
    near.shape(torch.maximum(near.y - GROUND + 0.04, -1.2 - near.y), (0.62, 0.12, 0.20))
    near.shape(near.y + 0.92, (0.50, 0.44, 0.48))
    for cx in _spread(rng, 4, 0.1):
        near.shape(box(cx, 0.2, 0.10, 0.72), (0.66, 0.64, 0.70))
        near.shape(box(cx, GROUND + 0.16, 0.15, 0.06), (0.56, 0.54, 0.60))


def _kitchen(far: Canvas, near: Canvas, air: Air, rng: random.Random) -> None:
    top, horizon = air.sky()
    far.wash((0.98, 0.84, 0.56), (0.94, 0.76, 0.48), 1.0, -0.6, lit=True)
    window = rng.uniform(-0.9, 0.9)
    far.shape(box(window, 0.42, 0.36, 0.30), (0.98, 0.96, 0.92))
    far.shape(box(window, 0.42, 0.31, 0.25), horizon if air.time != "night" else top, lit=False)
    far.shape(box(window, 0.42, 0.02, 0.27), (0.98, 0.96, 0.92))
    near.shape(near.y - GROUND - 0.10, (0.62, 0.36, 0.22))
    for k in range(6):
        near.shape(box(-2.5 + k, -0.85, 0.012, 0.33), (0.48, 0.27, 0.16))
    side = rng.choice([-1, 1])
    shelf = window - side * 1.05
    near.shape(box(shelf, 0.42, 0.42, 0.03), (0.50, 0.28, 0.16))
    for k, tone in enumerate([(0.86, 0.30, 0.22), (0.96, 0.92, 0.86), (0.30, 0.52, 0.60)]):
        near.shape(box(shelf - 0.26 + 0.26 * k, 0.54, 0.08, 0.09), tone)
    table = rng.uniform(-0.4, 0.4)
    near.shape(box(table, -0.22, 0.62, 0.05), (0.72, 0.44, 0.26))
    for dx in (-0.5, 0.5):
        near.shape(box(table + dx, -0.40, 0.05, 0.18), (0.62, 0.36, 0.20))
    near.shape(ellipse(table + 0.2, -0.12, 0.14, 0.07), (0.92, 0.92, 0.94))


PAINTERS: dict[str, Painter] = {
    "forest": _forest,
    "meadow": _meadow,
    "seashore": _seashore,
    "village": _village,
    "castle": _castle,
    "kitchen": _kitchen,
}


def paint_set(
    name: str, air: Air, layout_seed: int, x: Tensor, y: Tensor, pixel: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Paints a set on coordinates `x`, `y` [H, W] (stage units; `pixel` is a pixel's size in them).

    Returns:
        The far layer [3, H, W], the near layer [3, H, W] and the near layer's opacity [H, W].
    """
    light = air.light(LIGHT)
    far = Canvas(x, y, pixel, light, opaque=True)
    near = Canvas(x, y, pixel, light, opaque=False)
    PAINTERS[name](far, near, air, random.Random(f"{name}/{layout_seed}"))
    if air.weather == "snow":  # it lies on the ground, and thinly on what stands there
        lying = (0.9 - (y - GROUND).clamp(min=0.0) * 0.9).clamp(min=0.25) * near.alpha
        paint(near.rgb, lying, _times(SNOW, light))
    return far.rgb, near.rgb, near.alpha


def fall(weather: str, frames: Tensor, seconds: Tensor, x: Tensor, y: Tensor) -> None:
    """Rain or snow over frames [F, 3, H, W], in place; `x` [W] and `y` [H] in units of the frame's height over two."""
    if weather == "clear":
        return
    wide, tall, slant, speed = (0.05, 0.34, 0.18, 2.6) if weather == "rain" else (0.16, 0.16, 0.05, 0.45)
    tone = torch.tensor((0.78, 0.84, 0.92) if weather == "rain" else (0.98, 0.98, 1.0))[:, None, None]
    across = (x[None, :] - slant * y[:, None]) / wide
    column = across.floor()
    middle = (across - column - 0.5).abs() + 2.0 * (torch.frac(torch.sin(column * 78.233) * 1543.21).abs() < 0.4)
    begins = torch.frac(torch.sin(column * 12.9898) * 43758.5453).abs()  # a column falls at its own time
    for frame, moment in zip(frames, seconds.tolist(), strict=True):
        along = torch.frac((y[:, None] + 4.0 + speed * moment) / tall * 0.5 + begins * 7.0)
        if weather == "rain":
            alpha = ((along < 0.32) & (middle < 0.16)).float() * 0.55
        else:
            alpha = (1.0 - torch.hypot(middle, (along - 0.5) * 2 * tall / wide) / 0.24).clamp(0.0, 0.9)
        frame.lerp_(tone.expand_as(frame), alpha.expand_as(frame))


def drift(seconds: float) -> float:
    """How far a moving camera has gone, in stage units: it eases towards 0.7."""
    return 0.7 * (1.0 - math.exp(-seconds / 2.0))
