"""`docs/claims.md`: the claims' tables, plots and frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..storyboard.files import replacing, write_text
from .arm import Arm, arms_of
from .claims import CLAIMS

HEAD = """# What the papers claim, at our size

Measured by `filmwright evaluate claims` on films of the test split; every claim says on which weights, on how many films and with how much
training for each stage of an arm that needs its own. No stage trains on these films. But they were read for every set of weights that was made, not
once at the end, so what was chosen in between may lean towards them. Scored by the frame reader (a small network trained on rendered truth), in words
of the small world. Intervals are 95 % bootstrap intervals over films. Frames are of the first film of each arm, whatever came out.
"""
WIDTH, LINE, LEFT, RIGHT = 900, 22, 420, 60
INK, SOFT, BAR, SPAN = (30, 30, 34), (140, 140, 150), (70, 120, 190), (20, 50, 110)


def write_page(found: dict[str, Any], page: Path) -> None:
    """Writes the page, and beside it a plot of every claim and frames of its arms. What the page says of claims that were not
    measured now stays as it stands."""
    sections = _sections(page)
    for key, claim in found["claims"].items():
        arms = arms_of(claim)
        for name, picture in ((f"claims-{key}.png", plot(arms)), (f"claims-{key}-frames.png", strips(arms))):
            with replacing(page.parent / name) as temporary:
                picture.save(temporary, format="PNG")
        sections[claim["says"]] = _section(key, claim, arms, found)
    kept = [f"## {claim.says}\n\n{sections[claim.says]}" for claim in CLAIMS if claim.says in sections]
    write_text(page, "\n".join([HEAD, *kept]))


def _sections(page: Path) -> dict[str, str]:
    """The text under each heading of the page as it is."""
    if not page.is_file():
        return {}
    found: dict[str, str] = {}
    for part in page.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        found[title] = text.strip() + "\n"
    return found


def _section(key: str, claim: dict[str, Any], arms: list[Arm], found: dict[str, Any]) -> str:
    trained = ", ".join(f"{name} {count}" for name, count in found["steps"].items())
    how = (
        f"{found['weights']}, {claim['films']} films for each number, {found['minutes']:g} minutes of training for each stage, seed {found['seed']}, "
        f"{found['threads']} CPU threads"
    )
    lines = [
        claim["measured"], "", f"*On {how}{f'; steps of training so far: {trained}' if trained else ''}.*", "",
        f"![{key}](claims-{key}.png)", "", f"![frames](claims-{key}-frames.png)", "",
        "| arm | | value | 95 % | n |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for arm in arms:
        for row in arm.rows:
            value, interval = row.written()
            unit = "" if row.unit == "part" else f", {row.unit}"
            lines.append(f"| {arm.name} | {row.measure}{unit} | {value} | {interval} | {row.asked} |")
    return "\n".join(lines) + "\n"


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
