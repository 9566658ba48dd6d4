"""Props: small paper things that puppets carry, eat and give.

Stage units, centred on the hand that holds them: about 0.3 high.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .puppets import INK, Sheet
from .shapes import box, capsule, circle, ellipse, triangle

RIM = 0.022


def _apple(sheet: Sheet) -> None:
    sheet.piece(circle(0.0, 0.0, 0.095), (0.90, 0.16, 0.14), RIM)
    sheet.piece(capsule(0.0, 0.09, 0.02, 0.14, 0.012), (0.36, 0.22, 0.12), 0.0)
    sheet.piece(ellipse(0.05, 0.12, 0.045, 0.022), (0.30, 0.66, 0.22), 0.0)


def _flower(sheet: Sheet) -> None:
    sheet.piece(capsule(0.0, -0.14, 0.0, 0.06, 0.014), (0.22, 0.56, 0.20), 0.012)
    for x, y in ((-0.06, 0.06), (0.06, 0.06), (-0.037, 0.125), (0.037, 0.125)):
        sheet.piece(circle(x, y, 0.042), (0.98, 0.56, 0.80), RIM * 0.6)
    sheet.piece(circle(0.0, 0.085, 0.034), (1.0, 0.88, 0.30), 0.0)


def _lantern(sheet: Sheet) -> None:
    sheet.piece(circle(0.0, -0.01, 0.15), (1.0, 0.86, 0.40), 0.0)
    sheet.piece(box(0.0, -0.02, 0.075, 0.10), (1.0, 0.94, 0.62), RIM)
    sheet.piece(box(0.0, 0.10, 0.09, 0.02), INK, 0.0)
    sheet.piece(box(0.0, -0.13, 0.09, 0.02), INK, 0.0)


def _crown(sheet: Sheet) -> None:
    gold = (1.0, 0.80, 0.16)
    for x in (-0.085, 0.0, 0.085):
        sheet.piece(triangle(x, -0.04, 0.055, 0.15), gold, RIM)
    sheet.piece(box(0.0, -0.05, 0.13, 0.04), gold, RIM)
    sheet.mark(circle(0.0, -0.05, 0.026), (0.86, 0.12, 0.20))


def _book(sheet: Sheet) -> None:
    sheet.piece(box(0.0, 0.0, 0.115, 0.09), (0.18, 0.34, 0.74), RIM)
    sheet.piece(box(0.085, 0.0, 0.022, 0.08), (0.97, 0.95, 0.88), 0.0)
    sheet.mark(box(-0.03, 0.02, 0.045, 0.014), (1.0, 0.86, 0.30))


def _sword(sheet: Sheet) -> None:
    sheet.piece(capsule(0.0, 0.0, 0.07, 0.17, 0.022), (0.86, 0.90, 0.96), RIM)
    sheet.piece(capsule(-0.055, 0.012, 0.055, -0.032, 0.016), (0.80, 0.60, 0.20), RIM * 0.7)
    sheet.piece(capsule(0.0, -0.01, -0.035, -0.095, 0.016), (0.42, 0.24, 0.14), RIM * 0.7)


_PROPS: dict[str, Callable[[Sheet], None]] = {
    "apple": _apple,
    "flower": _flower,
    "lantern": _lantern,
    "crown": _crown,
    "book": _book,
    "sword": _sword,
}


def draw_prop(prop: str, x: Tensor, y: Tensor, pixel: float) -> tuple[Tensor, Tensor]:
    """Cuts a prop out.

    Args:
        x, y: coordinates of the window's columns [F, 1, T] and rows [F, S, 1]; `pixel`: a pixel's size in them.

    Returns:
        Colours [F, 3, S, T] and opacity [F, S, T], both in 0 … 1.
    """
    sheet = Sheet(x, torch.zeros_like(y), y, pixel)
    _PROPS[prop](sheet)
    return sheet.rgb, sheet.alpha
