"""Anti-aliased paper shapes as signed distances, for any batch and any size.

Legend: `x`, `y` are coordinate tensors of one broadcast shape (`F` frames, `H` rows, `W` columns); y points up.
A signed distance is negative inside. A shape knows the box it lies in, so only that part of a sheet is drawn on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Scalar: TypeAlias = float | Tensor
Colour: TypeAlias = tuple[float, float, float]
Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """A signed distance, and a box outside of which it is positive: nothing needs to be drawn there.

    Attributes:
        box: left, right, bottom, top, in the shape's units, over all frames.
        distance: of points (x, y), about right near the outline.
    """

    box: tuple[float, float, float, float]
    distance: Distance

    def grown(self, by: Scalar) -> Shape:
        """The outline moved outwards; inwards where `by` is negative."""
        left, right, bottom, top = self.box
        most = max(0.0, _high(by))
        return Shape((left - most, right + most, bottom - most, top + most), lambda x, y: self.distance(x, y) - by)

    def above(self, level: float) -> Shape:
        """The part over a horizontal line."""
        left, right, bottom, top = self.box
        return Shape((left, right, max(bottom, level), top), lambda x, y: torch.maximum(self.distance(x, y), level - y))

    def joined(self, other: Shape) -> Shape:
        """Both together."""
        (a, b, c, d), (e, f, g, h) = self.box, other.box
        return Shape(
            (min(a, e), max(b, f), min(c, g), max(d, h)),
            lambda x, y: torch.minimum(self.distance(x, y), other.distance(x, y)),
        )


def _low(value: Scalar) -> float:
    return float(value.min()) if isinstance(value, Tensor) else value


def _high(value: Scalar) -> float:
    return float(value.max()) if isinstance(value, Tensor) else value


def _around(cx: Scalar, cy: Scalar, rx: Scalar, ry: Scalar) -> tuple[float, float, float, float]:
    wide, high = _high(rx), _high(ry)
    return _low(cx) - wide, _high(cx) + wide, _low(cy) - high, _high(cy) + high


def circle(cx: Scalar, cy: Scalar, radius: Scalar) -> Shape:
    return Shape(_around(cx, cy, radius, radius), lambda x, y: torch.hypot(x - cx, y - cy) - radius)


def ellipse(cx: Scalar, cy: Scalar, rx: float, ry: float) -> Shape:
    """Approximate distance (exact on the outline's sign), good enough to anti-alias."""
    thin = min(rx, ry)
    # the distance grows slower along the longer axis: an outline reaches as much farther there
    reach = (max(rx, ry) / thin - 1.0) * 0.05
    left, right, bottom, top = _around(cx, cy, rx, ry)
    bounds = (left - reach, right + reach, bottom - reach, top + reach)
    return Shape(bounds, lambda x, y: (torch.hypot((x - cx) / rx, (y - cy) / ry) - 1.0) * thin)


def box(cx: Scalar, cy: Scalar, half_width: Scalar, half_height: Scalar) -> Shape:
    return Shape(
        _around(cx, cy, half_width, half_height),
        lambda x, y: torch.maximum((x - cx).abs() - half_width, (y - cy).abs() - half_height),
    )


def capsule(ax: Scalar, ay: Scalar, bx: Scalar, by: Scalar, radius: float) -> Shape:
    """A segment from a to b with round ends."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy + 1e-9

    def distance(x: Tensor, y: Tensor) -> Tensor:
        along = (((x - ax) * dx + (y - ay) * dy) / length).clamp(0.0, 1.0)
        return torch.hypot(x - ax - along * dx, y - ay - along * dy) - radius

    left, right = min(_low(ax), _low(bx)), max(_high(ax), _high(bx))
    bottom, top = min(_low(ay), _low(by)), max(_high(ay), _high(by))
    return Shape((left - radius, right + radius, bottom - radius, top + radius), distance)


def triangle(cx: Scalar, base: Scalar, half_width: float, height: float) -> Shape:
    """An upright isosceles triangle standing on `base`."""
    slope = (half_width**2 + height**2) ** 0.5

    def distance(x: Tensor, y: Tensor) -> Tensor:
        side = ((x - cx).abs() * height + (y - base - height) * half_width) / slope
        return torch.maximum(side, base - y)

    # a grown outline leaves the box through the sharp tips: as far as the slopes carry it
    tip, foot = 0.1 * (slope / half_width - 1.0), 0.1 * (slope + half_width) / height
    left, right = _low(cx) - half_width - foot, _high(cx) + half_width + foot
    return Shape((left, right, _low(base), _high(base) + height + tip), distance)


class Axis:
    """Rows or columns of a sheet: each spans `low` to `high`, and both rise, or both fall, along the axis."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self._count = len(low)
        self._falls = self._count > 1 and bool(low[0] > low[-1])
        self._low, self._high = ((t.flip(0) if self._falls else t).tolist() for t in (low, high))

    def inside(self, first: float, last: float) -> slice:
        """The stretch that can touch [first, last]."""
        begin, end = bisect_left(self._high, first), bisect_right(self._low, last)
        if end <= begin:
            return slice(0, 0)
        return slice(self._count - end, self._count - begin) if self._falls else slice(begin, end)


def coverage(distance: Tensor, pixel: float) -> Tensor:
    """Distance to opacity, one pixel of anti-aliasing; `pixel` is a pixel's size in the shape's units."""
    return (0.5 - distance / pixel).clamp(0.0, 1.0)


def paint(picture: Tensor, alpha: Tensor, colour: Colour | Tensor) -> Tensor:
    """Lays a colour over `picture` [..., 3, H, W] in place where `alpha` [..., H, W] says."""
    if not isinstance(colour, Tensor):
        colour = torch.tensor(colour, dtype=picture.dtype, device=picture.device)[:, None, None]
    return picture.lerp_(colour.expand_as(picture), alpha.unsqueeze(-3).expand_as(picture))
