"""`docs/claims.md`: the claims' tables, plots and frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..storyboard.files import replacing, write_text
from .arm import Arm, arms_of

WIDTH, LINE, LEFT, RIGHT = 900, 22, 420, 60
INK, SOFT, BAR, SPAN = (30, 30, 34), (140, 140, 150), (70, 120, 190), (20, 50, 110)


def write_page(found: dict[str, Any], page: Path) -> None:
    """Writes the page, and beside it a plot of every claim and frames of its arms."""
    lines = [
        "# What the papers claim, at our size", "",
        f"Measured by `filmwright evaluate claims` on {found['weights']}: {found['films']} held-out films for each number, {found['minutes']:g} minutes of "
        f"training for each stage of an arm that needs its own weights, seed {found['seed']}, {found['threads']} CPU threads. Scored by the "
        f"{found['scored_by']}. Intervals are 95 % bootstrap intervals over films. Frames are of the first film of each arm, whatever came out.", "",
    ]  # fmt: skip
    if found["steps"]:
        lines += [
            "Steps of training: " + ", ".join(f"{name} {count}" for name, count in found["steps"].items()) + ".",
            "",
        ]
    for key, claim in found["claims"].items():
        arms = arms_of(claim)
        for name, picture in ((f"claims-{key}.png", plot(arms)), (f"claims-{key}-frames.png", strips(arms))):
            with replacing(page.parent / name) as temporary:
                picture.save(temporary, format="PNG")
        lines += [
            f"## {claim['says']}", "", claim["measured"], "", f"![{key}](claims-{key}.png)", "", f"![frames](claims-{key}-frames.png)", "",
            "| arm | | value | 95 % | n |", "|---|---|---|---|---|",
        ]  # fmt: skip
        for arm in arms:
            for row in arm.rows:
                value, interval = row.written()
                unit = "" if row.unit == "part" else f", {row.unit}"
                lines.append(f"| {arm.name} | {row.measure}{unit} | {value} | {interval} | {row.asked} |")
        lines.append("")
    write_text(page, "\n".join(lines))


def plot(arms: list[Arm]) -> Image.Image:
    """Bars with intervals, grouped by what was measured."""
    shown = [(arm.name, row) for arm in arms for row in arm.rows if row.unit == "part"]
    measures = list(dict.fromkeys(row.measure for _, row in shown))
    height = 20 + LINE * (len(measures) + len(shown)) + 8 * len(measures)
    image = Image.new("RGB", (WIDTH, height), (255, 255, 255))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    y, room = 10, WIDTH - LEFT - RIGHT
    for measure in measures:
        draw.text((10, y), measure, INK, font)
        y += LINE
        for name, row in ((name, row) for name, row in shown if row.measure == measure):
            draw.text((30, y + 2), name, SOFT, font)
            draw.rectangle((LEFT, y + 4, LEFT + room * row.value, y + LINE - 5), BAR)
            if row.low is not None and row.high is not None:
                draw.line((LEFT + room * row.low, y + LINE // 2, LEFT + room * row.high, y + LINE // 2), SPAN, 2)
            draw.text((LEFT + room + 8, y + 2), f"{row.value:.0%}", INK, font)
            y += LINE
        y += 8
    return image


def strips(arms: list[Arm]) -> Image.Image:
    """Frames of every arm, one below the other."""
    rows = [(arm.name, Image.open(arm.strip).convert("RGB")) for arm in arms]
    width = max(strip.width for _, strip in rows)
    image = Image.new("RGB", (width, sum(strip.height + LINE for _, strip in rows)), (255, 255, 255))
    draw, font, y = ImageDraw.Draw(image), ImageFont.load_default(13), 0
    for name, strip in rows:
        draw.text((4, y + 3), name, INK, font)
        image.paste(strip, (0, y + LINE))
        y += strip.height + LINE
    return image
