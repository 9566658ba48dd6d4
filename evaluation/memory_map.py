"""What a film remembered while it was made: which latent frames every chunk saw, and which of them it recalled.

Rows are chunks, columns latent frames. The recorder is the production itself: every chunk file holds the frames that
routing recalled for it, layer by layer, when the chunk was committed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..generator.memory import Memory, parse_memory
from ..storyboard.errors import InputError
from ..storyboard.images import is_picture, load_reference
from ..storyboard.production import Production
from ..storyboard.takes import circled, read_take_chunks, take_folder
from .span_chart import COLOURS, INK, PAPER

MARGIN, THUMBNAIL, LABEL = 60, 72, 16
WIDTH = 1400
MAX_PIXELS = 200_000_000
LINE = (205, 198, 184)
OWN, WINDOW, SINK = (COLOURS[name] for name in ("chunk", "window", "sink"))
FAINT, STRONG = (246, 214, 180), (196, 72, 24)


@dataclass(frozen=True)
class Row:
    """One chunk: its first latent frame, what it always saw, and what each layer recalled."""

    shot: str
    chunk: int
    start: int
    length: int
    sink: tuple[int, ...]
    window: tuple[int, ...]
    recalled: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class MemoryMap:
    """All chunks of the circled takes, and the pictures that stand over their shots."""

    memory: str
    rows: tuple[Row, ...]
    pictures: dict[str, Path]

    @property
    def frames(self) -> int:
        return max(row.start + row.length for row in self.rows)

    def recalled_from(self) -> dict[str, float]:
        """The share of recalls by where the frame was from: this shot, an earlier one."""
        starts = {row.shot: row.start for row in reversed(self.rows)}
        counts = Counter(
            "this shot" if frame >= starts[row.shot] else "earlier shots"
            for row in self.rows
            for layer in row.recalled
            for frame in layer
        )
        total = sum(counts.values())
        return {name: round(counts[name] / total, 4) for name in ("this shot", "earlier shots")} if total else {}


def read_map(production: Production) -> MemoryMap:
    """Collects what the circled takes recorded.

    Raises:
        InputError: nothing is shot yet, or by a generator without a memory of frames.
    """
    rows: list[Row] = []
    pictures: dict[str, Path] = {}
    written = None
    for shot in production.read_script().shots():
        record = circled(production, shot.id)
        chunks = read_take_chunks(production, record) if record else None
        if record is None or not chunks:
            continue
        try:
            memory: Memory = parse_memory(record.memory)
        except InputError as error:
            raise InputError(f"shot {shot.id} was made by {record.generator}, whose memory {record.memory!r} holds no frames") from error  # fmt: skip
        written = record.memory
        length = chunks[0].latents.shape[1]
        for index, chunk in enumerate(chunks):
            plan = memory.plan(chunk.start, length)
            oldest = memory.oldest(chunk.start, length)
            rows.append(
                Row(
                    shot.id,
                    index,
                    chunk.start,
                    length,
                    tuple(f for f in plan.fixed if f < oldest),
                    tuple(f for f in plan.fixed if f >= oldest),
                    tuple(map(tuple, chunk.recalled)),
                )
            )
        picture = take_folder(production, record.shot, record.take) / "keyframes" / "middle.png"
        if is_picture(picture):
            pictures[shot.id] = picture
    if not rows or written is None:
        raise InputError(f"{production.folder} has no takes yet: 'filmwright shoot {production.folder}' makes them")
    return MemoryMap(written, tuple(rows), pictures)


def draw_map(found: MemoryMap, layer: int | None = None) -> Image.Image:
    """The map as a picture; of one layer, or of all: the more layers recall a frame, the stronger its colour.

    Raises:
        InputError: there is no such layer.
    """
    layers = max((len(row.recalled) for row in found.rows), default=0)
    if layer is not None and not 0 <= layer < layers:
        raise InputError(f"--layer {layer} is out of range: this film recorded layers 0 to {layers - 1}" if layers else f"--layer {layer}: memory {found.memory} recalls nothing, there are no layers to choose")  # fmt: skip
    cell = max(2, min(16, (WIDTH - 2 * MARGIN) // found.frames))
    high = max(2, min(16, 3 * cell))
    top = MARGIN + THUMBNAIL + LABEL
    if cell * found.frames * high * len(found.rows) > MAX_PIXELS:
        raise InputError(f"{found.frames} latent frames in {len(found.rows)} chunks are too many for one picture")
    image = Image.new("RGB", (2 * MARGIN + cell * found.frames, top + high * len(found.rows) + MARGIN), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    pen.text((MARGIN, 12), f"memory {found.memory}: rows are chunks, columns latent frames", fill=INK, font=font)
    _legend(pen, font, MARGIN, 32)

    def box(frame: int, row: int, colour: tuple[int, int, int], count: int = 1) -> None:
        x, y = MARGIN + frame * cell, top + row * high
        pen.rectangle((x, y, x + count * cell - 1, y + high - 2), fill=colour)

    for number, row in enumerate(found.rows):
        for frame in row.window:
            box(frame, number, WINDOW)
        for frame in row.sink:
            box(frame, number, SINK)
        chosen = row.recalled if layer is None else row.recalled[layer : layer + 1]
        for frame, count in Counter(f for one in chosen for f in one).items():
            share = count / len(chosen)
            box(frame, number, tuple(round(a + (b - a) * share) for a, b in zip(FAINT, STRONG, strict=True)))  # type: ignore[arg-type]
        box(row.start, number, OWN, row.length)
    _shots(image, pen, font, found, cell, top, high)
    return image


def _legend(pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, x: int, y: int) -> None:
    for colour, text in (
        (OWN, "the chunk"),
        (WINDOW, "window"),
        (SINK, "sink"),
        (FAINT, "recalled by one layer"),
        (STRONG, "by all"),
    ):
        pen.rectangle((x, y + 2, x + 11, y + 12), fill=colour)
        pen.text((x + 16, y), text, fill=INK, font=font)
        x += 32 + int(pen.textlength(text, font=font))


def _shots(
    image: Image.Image, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, found: MemoryMap,
    cell: int, top: int, high: int,
) -> None:  # fmt: skip
    """Lines at the cuts, a picture and a name over every shot."""
    begins = {row.shot: (number, row) for number, row in reversed(list(enumerate(found.rows)))}
    for shot, (number, row) in begins.items():
        x, y = MARGIN + row.start * cell, top + number * high
        pen.line((x, top - LABEL, x, image.height - MARGIN), fill=LINE)
        pen.line((MARGIN, y - 1, image.width - MARGIN, y - 1), fill=LINE)
        pen.text((8, y - 1), shot, fill=INK, font=font)
        frames = sum(r.length for r in found.rows if r.shot == shot)
        pen.text((x + 2, top - LABEL), shot, fill=INK, font=font)
        if shot in found.pictures:
            small = load_reference(found.pictures[shot])
            small.thumbnail((max(8, frames * cell - 4), THUMBNAIL))
            image.paste(small, (x + 2, top - LABEL - small.height - 2))
