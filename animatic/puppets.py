"""Puppets: paper silhouettes with outlines, walk cycles and blinking eyes.

Local units: a puppet is about 1 high, stands at (0, 0), y points up, and is drawn facing right (x is mirrored for
the left). Legend: `F` frames, `S` rows, `T` columns of the window that holds the puppet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..storyboard.caption import Appearance
from .shapes import Axis, Colour, Shape, box, capsule, circle, coverage, ellipse, paint, triangle

PALETTE: dict[str, Colour] = {
    "red": (0.86, 0.14, 0.14),
    "orange": (0.98, 0.52, 0.08),
    "yellow": (0.98, 0.86, 0.14),
    "green": (0.16, 0.66, 0.20),
    "cyan": (0.18, 0.80, 0.84),
    "blue": (0.16, 0.30, 0.90),
    "purple": (0.54, 0.20, 0.76),
    "pink": (0.98, 0.52, 0.76),
}
INK: Colour = (0.10, 0.08, 0.10)
WHITE: Colour = (0.98, 0.98, 0.96)
SKIN: Colour = (0.94, 0.76, 0.60)
OUTLINE = 0.030

WINDOW_HALF_WIDTH = 0.74
WINDOW_BOTTOM, WINDOW_TOP = -0.08, 1.46
JUMP_TOP = 1.74
"""The local window that holds every puppet with its hat; jumps reach higher."""


@dataclass(frozen=True)
class Motion:
    """What a puppet does at each frame, in local units: tensors of shape [F]."""

    lift: Tensor
    swing: Tensor
    mouth: Tensor
    eyes: Tensor
    lean: Tensor
    squash: Tensor
    wave: Tensor


def motion(action: str, seconds: Tensor) -> Motion:
    """The cycle of an action at `seconds` [F] since the shot began."""
    zero = torch.zeros_like(seconds)
    blink = ((seconds * 0.37 + 0.2) % 1.0 > 0.05).float()
    breath = 0.012 * torch.sin(2 * math.pi * 0.5 * seconds)
    stand = Motion(zero, zero, zero, blink, zero, breath, zero)
    turn = 2 * math.pi * seconds
    match action:
        case "walks" | "carries":
            return replace(
                stand,
                lift=0.03 * torch.sin(turn * 2.6).abs(),
                swing=torch.sin(turn * 1.3),
                lean=zero + 0.04,
                squash=zero,
            )
        case "runs":
            return replace(
                stand,
                lift=0.09 * torch.sin(turn * 4.0).abs(),
                swing=1.5 * torch.sin(turn * 2.0),
                lean=zero + 0.22,
                squash=zero,
            )
        case "jumps":
            arc = torch.sin(turn * 0.66).clamp(min=0.0)
            return replace(stand, lift=0.35 * arc, swing=0.6 * arc, squash=0.06 * arc - 0.03)
        case "dances":
            beat = torch.sin(turn * 1.6)
            return replace(
                stand, lift=0.10 * beat.abs(), swing=0.9 * beat, lean=0.30 * torch.sin(turn * 0.8), squash=-0.08 * beat
            )
        case "talks":
            return replace(stand, mouth=torch.sin(turn * 2.2).clamp(min=0.0), lean=0.05 * torch.sin(turn * 0.6))
        case "eats":
            bite = torch.sin(turn * 1.5)
            return replace(stand, mouth=bite.clamp(min=0.0), lean=0.12 + 0.08 * bite)
        case "waves":
            return replace(stand, wave=1.0 + 0.5 * torch.sin(turn * 1.8), lean=zero - 0.06)
        case "gives":
            return replace(stand, lean=zero + 0.10)
        case "sits":
            return replace(stand, squash=breath - 0.24, lean=zero - 0.10)
        case "sleeps":
            return replace(stand, eyes=zero, squash=-0.38 + 0.03 * torch.sin(turn * 0.4))
        case _:
            return stand


Cloth = Callable[[Tensor, Tensor], Tensor]
"""A colour [F, 3, S, T] that depends on where it is."""


class Sheet:
    """The paper that one puppet is cut from: RGBA in its window, for all frames of a shot at once.

    Its points are x = across - shear, y: `across` [F, 1, T] runs along the row, `shear` and `y` [F, S, 1] depend on the
    row, so where a piece can lie follows from rows and columns alone.
    """

    def __init__(self, across: Tensor, shear: Tensor, y: Tensor, pixel: float, back: bool = False) -> None:
        """`back`: the puppet is seen from behind, without a face."""
        self.across, self.shear, self.y, self.pixel, self.back = across, shear, y, pixel, back
        frames, rows, columns = len(across), y.shape[1], across.shape[2]
        self.rgb = torch.zeros(frames, 3, rows, columns, dtype=y.dtype, device=y.device)
        self.alpha = torch.zeros(frames, rows, columns, dtype=y.dtype, device=y.device)
        self._rows = Axis(y[:, :, 0].amin(dim=0), y[:, :, 0].amax(dim=0))
        most, least = shear.amax(dim=1, keepdim=True), shear.amin(dim=1, keepdim=True)
        self._columns = Axis((across - most)[:, 0].amin(dim=0), (across - least)[:, 0].amax(dim=0))

    def _part(self, shape: Shape, margin: float) -> tuple[slice, slice, Tensor, Tensor]:
        """Rows and columns a shape can touch, and their points."""
        left, right, bottom, top = shape.box
        margin += 2 * self.pixel
        rows = self._rows.inside(bottom - margin, top + margin)
        columns = self._columns.inside(left - margin, right + margin)
        x = self.across[:, :, columns] - self.shear[:, rows]
        return rows, columns, x, self.y[:, rows].expand_as(x)

    def piece(self, shape: Shape, colour: Colour | Cloth, outline: float = OUTLINE) -> None:
        """Glues on a piece with a dark rim."""
        rows, columns, x, y = self._part(shape, outline)
        distance = shape.distance(x, y)
        rim = coverage(distance - outline, self.pixel)
        rgb, alpha = self.rgb[:, :, rows, columns], self.alpha[:, rows, columns]
        if outline:
            paint(rgb, rim, INK)
        paint(rgb, coverage(distance, self.pixel), colour(x, y) if callable(colour) else colour)
        torch.maximum(alpha, rim, out=alpha)

    def mark(self, shape: Shape, colour: Colour, opacity: Tensor | float = 1.0) -> None:
        """Draws on what is there."""
        rows, columns, x, y = self._part(shape, 0.0)
        paint(self.rgb[:, :, rows, columns], coverage(shape.distance(x, y), self.pixel) * opacity, colour)


def _cloth(look: Appearance) -> Cloth:
    """The body's colour: the hue, with a lighter pattern on it."""
    hue = torch.tensor(PALETTE[look.hue])[:, None, None]
    light = hue * 0.25 + 0.75

    def colour(x: Tensor, y: Tensor) -> Tensor:
        plain = hue.expand(*x.shape[:-2], 3, *x.shape[-2:])
        match look.pattern:
            case "striped":
                mark = (torch.sin(y * 2 * math.pi * 5.0) > 0.25).to(x.dtype)
            case "dotted":
                u, v = (x * 5.0) % 1.0 - 0.5, (y * 5.0) % 1.0 - 0.5
                mark = (torch.hypot(u, v) < 0.27).to(x.dtype)
            case _:
                return plain
        return torch.lerp(plain, light.expand_as(plain), mark.unsqueeze(-3))

    return colour


def _eye(sheet: Sheet, x: float, y: float, radius: float, open_: Tensor) -> None:
    if sheet.back:
        return
    ball = ellipse(x, y, radius, radius * 1.1)
    sheet.piece(ball, WHITE, 0.012)
    sheet.mark(circle(x + radius * 0.3, y, radius * 0.55), INK)
    sheet.mark(ball, (0.35, 0.28, 0.30), 1.0 - open_)


def _legs(
    sheet: Sheet, swing: Tensor, at: tuple[float, ...], top: float, radius: float, colour: Colour | Cloth
) -> None:
    for index, x in enumerate(at):
        step = swing * (0.13 if index % 2 else -0.13)
        sheet.piece(capsule(x, top, x + step, 0.04, radius), colour)


def _mouth(sheet: Sheet, x: float, y: float, open_: Tensor) -> None:
    if sheet.back:
        return
    sheet.piece(ellipse(x, y, 0.055, 0.045).grown(-0.05 * (1 - open_)), (0.55, 0.08, 0.10), 0.0)


def _person(sheet: Sheet, cloth: Cloth, m: Motion) -> tuple[float, float, float]:
    _legs(sheet, m.swing, (-0.09, 0.09), 0.32, 0.055, (0.25, 0.22, 0.30))
    sheet.piece(capsule(-0.10, 0.58, -0.24 - 0.1 * m.swing, 0.36 + 0.0 * m.swing, 0.05), cloth)
    sheet.piece(triangle(0.0, 0.20, 0.30, 0.72).grown(0.03), cloth)
    sheet.piece(capsule(0.08, 0.58, 0.26 + 0.1 * m.swing, 0.36 + 0.14 * m.mouth, 0.05), cloth)
    sheet.piece(circle(0.0, 0.84, 0.185), SKIN)
    sheet.piece(circle(0.0, 0.86, 0.195).above(0.90), (0.30, 0.18, 0.10), 0.0)
    _eye(sheet, 0.075, 0.835, 0.045, m.eyes)
    _mouth(sheet, 0.09, 0.745, m.mouth)
    return 0.0, 0.99, 0.64


def _rabbit(sheet: Sheet, cloth: Cloth, m: Motion) -> tuple[float, float, float]:
    sheet.piece(circle(-0.26, 0.22, 0.09), WHITE)
    _legs(sheet, m.swing, (-0.12, 0.12), 0.16, 0.075, cloth)
    sheet.piece(ellipse(0.0, 0.30, 0.25, 0.26), cloth)
    sheet.piece(capsule(-0.05, 0.72, -0.13 - 0.03 * m.swing, 1.06 + 0.0 * m.swing, 0.065), cloth)
    sheet.piece(capsule(0.07, 0.72, 0.10 - 0.03 * m.swing, 1.08 + 0.0 * m.swing, 0.065), cloth)
    sheet.piece(circle(0.04, 0.60, 0.195), cloth)
    _eye(sheet, 0.12, 0.645, 0.05, m.eyes)
    sheet.piece(circle(0.225, 0.58, 0.03), (0.95, 0.5, 0.6), 0.0)
    _mouth(sheet, 0.15, 0.515, m.mouth)
    return 0.02, 0.76, 0.43


def _bear(sheet: Sheet, cloth: Cloth, m: Motion) -> tuple[float, float, float]:
    _legs(sheet, m.swing, (-0.20, 0.20), 0.22, 0.12, cloth)
    sheet.piece(ellipse(0.0, 0.42, 0.40, 0.34), cloth)
    sheet.piece(ellipse(0.04, 0.36, 0.20, 0.20), (0.96, 0.90, 0.78), 0.0)
    sheet.piece(circle(-0.16, 1.00, 0.085), cloth)
    sheet.piece(circle(0.22, 1.00, 0.085), cloth)
    sheet.piece(circle(0.03, 0.83, 0.245), cloth)
    sheet.piece(ellipse(0.17, 0.76, 0.13, 0.10), (0.96, 0.90, 0.78), 0.015)
    sheet.piece(circle(0.25, 0.80, 0.04), INK, 0.0)
    _eye(sheet, 0.10, 0.90, 0.05, m.eyes)
    _mouth(sheet, 0.17, 0.705, m.mouth)
    return 0.03, 1.04, 0.60


def _bird(sheet: Sheet, cloth: Cloth, m: Motion) -> tuple[float, float, float]:
    beak = (0.98, 0.70, 0.10)
    _legs(sheet, m.swing, (-0.05, 0.08), 0.26, 0.028, beak)
    sheet.piece(capsule(-0.22, 0.46, -0.50, 0.66, 0.06), cloth)
    sheet.piece(ellipse(-0.02, 0.45, 0.30, 0.23), cloth)
    sheet.piece(circle(0.17, 0.72, 0.17), cloth)
    gape = 0.05 * m.mouth
    sheet.piece(capsule(0.31, 0.72 + gape, 0.50, 0.70 + 1.6 * gape, 0.035), beak)
    sheet.piece(capsule(0.31, 0.70 - gape, 0.46, 0.68 - 1.6 * gape, 0.025), beak)
    flap = 0.22 * m.swing
    sheet.piece(capsule(0.02, 0.50, -0.24, 0.42 + flap, 0.10), lambda x, y: cloth(x, y) * 0.75)
    _eye(sheet, 0.22, 0.76, 0.05, m.eyes)
    return 0.16, 0.87, 0.58


def _fox(sheet: Sheet, cloth: Cloth, m: Motion) -> tuple[float, float, float]:
    sway = 0.05 * m.swing
    sheet.piece(capsule(-0.26, 0.36, -0.50, 0.58 + sway, 0.095), cloth)
    sheet.piece(circle(-0.51, 0.60 + sway, 0.075), WHITE, 0.0)
    _legs(sheet, m.swing, (-0.24, -0.14, 0.12, 0.22), 0.24, 0.045, cloth)
    sheet.piece(capsule(-0.22, 0.36, 0.16, 0.38, 0.145), cloth)
    sheet.piece(triangle(0.13, 0.72, 0.085, 0.26), cloth)
    sheet.piece(triangle(0.30, 0.72, 0.085, 0.26), cloth)
    sheet.piece(circle(0.21, 0.64, 0.165), cloth)
    sheet.piece(capsule(0.30, 0.60, 0.48, 0.56, 0.05), WHITE)
    sheet.piece(circle(0.53, 0.57, 0.035), INK, 0.0)
    _eye(sheet, 0.24, 0.69, 0.045, m.eyes)
    _mouth(sheet, 0.38, 0.53, m.mouth)
    return 0.21, 0.79, 0.47


def _turtle(sheet: Sheet, cloth: Cloth, m: Motion) -> tuple[float, float, float]:
    body = (0.62, 0.72, 0.42)
    _legs(sheet, m.swing, (-0.26, 0.18), 0.16, 0.075, body)
    sheet.piece(capsule(0.26, 0.24, 0.43, 0.42, 0.065), body)
    sheet.piece(circle(0.45, 0.47, 0.115), body)
    dome = ellipse(-0.06, 0.16, 0.40, 0.46).above(0.15)
    sheet.piece(dome, cloth)
    sheet.piece(capsule(-0.44, 0.16, 0.32, 0.16, 0.035), (0.93, 0.88, 0.70))
    _eye(sheet, 0.48, 0.50, 0.04, m.eyes)
    _mouth(sheet, 0.51, 0.42, m.mouth)
    return 0.45, 0.58, 0.33


def _horse(sheet: Sheet, cloth: Cloth, m: Motion) -> tuple[float, float, float]:
    mane = (0.30, 0.18, 0.12)
    sheet.piece(capsule(-0.36, 0.62, -0.52, 0.30 + 0.06 * m.swing, 0.055), mane)
    _legs(sheet, m.swing, (-0.28, -0.18, 0.10, 0.20), 0.42, 0.05, cloth)
    sheet.piece(capsule(-0.24, 0.56, 0.14, 0.56, 0.165), cloth)
    sheet.piece(capsule(0.10, 0.66, 0.24, 1.06, 0.105), mane)
    sheet.piece(capsule(0.16, 0.62, 0.31, 1.00, 0.095), cloth)
    sheet.piece(triangle(0.28, 1.08, 0.05, 0.16), cloth)
    sheet.piece(capsule(0.32, 1.00, 0.50, 0.84, 0.085), cloth)
    sheet.piece(circle(0.545, 0.80, 0.06), (0.93, 0.86, 0.78), 0.015)
    _eye(sheet, 0.34, 1.02, 0.045, m.eyes)
    _mouth(sheet, 0.50, 0.765, m.mouth)
    return 0.28, 1.14, 0.70


def _dragon(sheet: Sheet, cloth: Cloth, m: Motion) -> tuple[float, float, float]:
    spike, belly = (0.98, 0.80, 0.24), (0.98, 0.92, 0.70)
    flap = 0.16 * torch.sin(m.swing * 2.0) + 0.05 * m.lift
    sheet.piece(capsule(-0.20, 0.26, -0.56, 0.12, 0.085), cloth)
    sheet.piece(triangle(-0.60, 0.08, 0.09, 0.16), spike)
    for x, y in ((-0.36, 0.26), (-0.20, 0.56), (-0.02, 0.88)):
        sheet.piece(triangle(x, y - 0.06, 0.075, 0.17), spike)
    _legs(sheet, m.swing, (-0.16, 0.14), 0.22, 0.085, cloth)
    sheet.piece(ellipse(-0.04, 0.36, 0.28, 0.27), cloth)
    sheet.piece(ellipse(0.06, 0.32, 0.14, 0.18), belly, 0.0)
    sheet.piece(capsule(0.02, 0.56, 0.14, 0.84, 0.115), cloth)
    sheet.piece(capsule(0.16, 0.86, 0.42, 0.82, 0.105), cloth)
    sheet.piece(triangle(0.10, 0.92, 0.05, 0.20), spike)
    sheet.piece(capsule(-0.08, 0.50, -0.34, 0.86 + flap, 0.06), lambda x, y: cloth(x, y) * 0.72)
    sheet.piece(capsule(-0.08, 0.48, -0.52, 0.70 + flap, 0.06), lambda x, y: cloth(x, y) * 0.72)
    _eye(sheet, 0.24, 0.90, 0.05, m.eyes)
    _mouth(sheet, 0.42, 0.76, m.mouth)
    return 0.18, 0.97, 0.60


_KINDS: dict[str, Callable[[Sheet, Cloth, Motion], tuple[float, float, float]]] = {
    "person": _person,
    "rabbit": _rabbit,
    "bear": _bear,
    "bird": _bird,
    "fox": _fox,
    "turtle": _turtle,
    "horse": _horse,
    "dragon": _dragon,
}

HEAD_HEIGHT = {
    "person": 0.82, "rabbit": 0.62, "bear": 0.83, "bird": 0.68, "fox": 0.62, "turtle": 0.42, "horse": 0.94, "dragon": 0.82,
}  # fmt: skip
"""Where a close shot looks, in local units."""
HAND = {
    "person": (0.30, 0.38), "rabbit": (0.30, 0.34), "bear": (0.42, 0.50), "bird": (0.50, 0.64), "fox": (0.50, 0.46),
    "turtle": (0.56, 0.34), "horse": (0.56, 0.68), "dragon": (0.38, 0.50),
}  # fmt: skip
"""Where a puppet holds things (paw, beak or mouth), in local units."""


def draw_puppet(
    kind: str, look: Appearance, moves: Motion, x: Tensor, y: Tensor, pixel: float, back: bool = False
) -> tuple[Tensor, Tensor]:
    """Cuts one puppet out.

    Args:
        x, y: local coordinates of the window's columns [F, 1, T] and rows [F, S, 1]; `pixel`: a pixel's size in them.
        back: seen from behind.

    Returns:
        Colours [F, 3, S, T] and opacity [F, S, T], both in 0 … 1.
    """
    column = Motion(*(value[:, None, None] for value in vars(moves).values()))
    upright = (y - column.lift) / (1.0 + column.squash)
    sheet = Sheet(x, column.lean * upright * 0.5, upright, pixel, back)
    cloth = _cloth(look)
    head_x, head_top, neck = _KINDS[kind](sheet, cloth, column)
    if moves.wave.any():
        reach = column.wave * 0.16
        sheet.piece(capsule(head_x - 0.04, neck - 0.16, head_x + 0.12 + reach, neck + 0.22 - 0.5 * reach, 0.055), cloth)
    if look.accessory == "scarf":
        sheet.piece(capsule(head_x - 0.15, neck, head_x + 0.13, neck, 0.05), (0.97, 0.97, 0.90))
        sheet.piece(capsule(head_x - 0.10, neck, head_x - 0.15, neck - 0.16, 0.04), (0.97, 0.97, 0.90))
    elif look.accessory == "hat":
        sheet.piece(box(head_x, head_top + 0.12, 0.12, 0.13), (0.16, 0.14, 0.18))
        sheet.piece(capsule(head_x - 0.19, head_top, head_x + 0.19, head_top, 0.03), (0.16, 0.14, 0.18))
    return sheet.rgb, sheet.alpha
