"""The span of memory policies as a picture: what stands at which position, and how coarsely."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

from ..generator.memory import Memory

COLOURS = {
    "state": (150, 110, 176), "shots": (214, 168, 66), "sink": (122, 158, 196), "routed": (206, 98, 52),
    "compressed": (126, 164, 116), "window": (176, 170, 158), "chunk": (60, 58, 54),
}  # fmt: skip
PAPER, INK = (250, 247, 240), (40, 38, 34)
CELL, HIGH, LEFT = 30, 38, 250


def draw_spans(policies: Mapping[str, Memory], length: int = 3) -> Image.Image:
    """One line for every policy: a box a position, as high as the frame's tokens are fine."""
    longest = max(memory.span(memory.chunk or length) for memory in policies.values())
    image = Image.new("RGB", (LEFT + CELL * longest + 30, 50 + HIGH * len(policies) + 20), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    x = 16
    for name, colour in COLOURS.items():
        pen.rectangle((x, 16, x + 13, 29), fill=colour)
        pen.text((x + 18, 14), name, fill=INK, font=font)
        x += 40 + int(pen.textlength(name, font=font))
    for number, (name, memory) in enumerate(policies.items()):
        y = 50 + number * HIGH
        pen.text((16, y), name, fill=INK, font=ImageFont.load_default(size=14))
        pen.text((16, y + 15), str(memory), fill=(120, 114, 104), font=ImageFont.load_default(size=9))
        used = memory.chunk or length
        starts = memory.starts(used)
        ends = [*list(starts.values())[1:], memory.span(used)]
        for (segment, first), last in zip(starts.items(), ends, strict=True):
            for position in range(first, last):
                top = y + 2
                if segment == "compressed" and memory.compressed:
                    age = last - 1 - position
                    coarse, quarter = memory.compressed.full + memory.compressed.quarter, memory.compressed.full
                    top = y + (20 if age >= coarse else 12 if age >= quarter else 2)
                box = (LEFT + position * CELL, top, LEFT + (position + 1) * CELL - 3, y + 25)
                pen.rectangle(box, fill=COLOURS[segment])
                if top == y + 2:
                    shade = (255, 255, 255) if segment == "chunk" else INK
                    pen.text((box[0] + 4, y + 6), str(position), fill=shade, font=ImageFont.load_default(size=10))
    return image
