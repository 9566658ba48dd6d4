"""`docs/claims.md`: the claims' tables and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..storyboard.files import replacing, write_text

WIDTH, LINE, LEFT, RIGHT = 900, 22, 420, 60
INK, SOFT, BAR, SPAN = (30, 30, 34), (140, 140, 150), (70, 120, 190), (20, 50, 110)


def write_page(found: dict[str, Any], page: Path) -> None:
    """Writes the page, and beside it a plot of every claim."""
    lines = [
        "# What the papers claim, at our size", "",
        f"Measured by `filmwright evaluate claims` on {found['weights']}: {found['films']} held-out films for each number, {found['minutes']:g} minutes of "
        f"training for each arm that needs its own weights, seed {found['seed']}, {found['threads']} CPU threads. Scored by the {found['scored_by']}. "
        "Intervals are 95 % bootstrap intervals over films.", "",
    ]  # fmt: skip
    for key, claim in found["claims"].items():
        picture = page.parent / f"claims-{key}.png"
        with replacing(picture) as temporary:
            plot(claim["rows"]).save(temporary, format="PNG")
        lines += [
            f"## {claim['says']}",
            "",
            claim["measured"],
            "",
            f"![{key}]({picture.name})",
            "",
            "| arm | | value | 95 % | n |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['arm']} | {row['measure']} | {_number(row)} | {_interval(row)} | {row['asked']} |"
            for row in claim["rows"]
        ]
        lines.append("")
    write_text(page, "\n".join(lines))


def _number(row: dict[str, Any]) -> str:
    return f"{row['value']:.0%}" if _is_part(row) else f"{row['value']:.3g}"


def _interval(row: dict[str, Any]) -> str:
    return f"{row['low']:.0%} – {row['high']:.0%}" if _is_part(row) and row["low"] != row["high"] else ""


def _is_part(row: dict[str, Any]) -> bool:
    return "per second" not in row["measure"] and "motion" not in row["measure"]


def plot(rows: list[dict[str, Any]]) -> Image.Image:
    """Bars with intervals, grouped by what was measured."""
    shown = [row for row in rows if _is_part(row)]
    measures = list(dict.fromkeys(row["measure"] for row in shown))
    height = 20 + sum(LINE * (1 + sum(row["measure"] == name for row in shown)) + 8 for name in measures)
    image = Image.new("RGB", (WIDTH, max(height, 40)), (255, 255, 255))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    y, room = 10, WIDTH - LEFT - RIGHT
    for name in measures:
        draw.text((10, y), name, INK, font)
        y += LINE
        for row in (row for row in shown if row["measure"] == name):
            value, low, high = (0.0 if v != v else v for v in (row["value"], row["low"], row["high"]))
            draw.text((30, y + 2), row["arm"], SOFT, font)
            draw.rectangle((LEFT, y + 4, LEFT + room * value, y + LINE - 5), BAR)
            draw.line((LEFT + room * low, y + LINE // 2, LEFT + room * high, y + LINE // 2), SPAN, 2)
            draw.text((LEFT + room + 8, y + 2), f"{value:.0%}", INK, font)
            y += LINE
        y += 8
    return image
