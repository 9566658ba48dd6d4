"""Anti-aliased paper shapes as signed distances, for any batch and any size.

Legend: `x`, `y` are coordinate tensors of one broadcast shape (`F` frames, `H` rows, `W` columns); y points up.
A signed distance is negative inside. Everything is a pure function of tensors.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

Scalar: TypeAlias = float | Tensor
Colour: TypeAlias = tuple[float, float, float]


def circle(x: Tensor, y: Tensor, cx: Scalar, cy: Scalar, radius: Scalar) -> Tensor:
    return torch.hypot(x - cx, y - cy) - radius


def ellipse(x: Tensor, y: Tensor, cx: Scalar, cy: Scalar, rx: float, ry: float) -> Tensor:
    """Approximate distance (exact on the outline's sign), good enough to anti-alias."""
    unit = torch.hypot((x - cx) / rx, (y - cy) / ry)
    return (unit - 1.0) * min(rx, ry)


def box(x: Tensor, y: Tensor, cx: Scalar, cy: Scalar, half_width: Scalar, half_height: Scalar) -> Tensor:
    return torch.maximum((x - cx).abs() - half_width, (y - cy).abs() - half_height)


def capsule(x: Tensor, y: Tensor, ax: Scalar, ay: Scalar, bx: Scalar, by: Scalar, radius: float) -> Tensor:
    """A segment from a to b with round ends."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy + 1e-9
    along = (((x - ax) * dx + (y - ay) * dy) / length).clamp(0.0, 1.0)
    return torch.hypot(x - ax - along * dx, y - ay - along * dy) - radius


def triangle(x: Tensor, y: Tensor, cx: Scalar, base: Scalar, half_width: float, height: float) -> Tensor:
    """An upright isosceles triangle standing on `base`."""
    slope = (half_width**2 + height**2) ** 0.5
    side = ((x - cx).abs() * height + (y - base - height) * half_width) / slope
    return torch.maximum(side, base - y)


def coverage(distance: Tensor, pixel: float) -> Tensor:
    """Distance to opacity, one pixel of anti-aliasing; `pixel` is a pixel's size in the shape's units."""
    return (0.5 - distance / pixel).clamp(0.0, 1.0)


def paint(picture: Tensor, alpha: Tensor, colour: Colour | Tensor) -> Tensor:
    """Lays a colour over `picture` [..., 3, H, W] in place where `alpha` [..., H, W] says."""
    if not isinstance(colour, Tensor):
        colour = torch.tensor(colour, dtype=picture.dtype, device=picture.device)[:, None, None]
    return picture.lerp_(colour.expand_as(picture), alpha.unsqueeze(-3).expand_as(picture))
