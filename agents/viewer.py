"""The critic that looks: a vision-language model on a contact sheet of the shot so far, on top of the measured critic."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field

from ..storyboard.caption import is_caption
from ..storyboard.stage import Frames
from ..templates.prompt import load_prompt
from .critic import Action, Critic, Look, Verdict
from .models.language import LanguageModel, Message, ask

SHEET_FRAMES = 9
TILE_WIDTH = 320
GOOD_ENOUGH = 0.5
CRITERIA = ("identity", "action", "setting", "framing", "continuity", "artefacts")


class Mark(BaseModel):
    """How well a shot does by one criterion."""

    model_config = ConfigDict(extra="forbid")

    score: float = Field(ge=0, le=1)
    reason: str = Field(max_length=200)


class View(BaseModel):
    """What the model sees, and wants."""

    model_config = ConfigDict(extra="forbid")

    identity: Mark
    action: Mark
    setting: Mark
    framing: Mark
    continuity: Mark
    artefacts: Mark
    decision: Action
    reason: str = Field(min_length=1, max_length=400)
    chunks: int = Field(ge=0, le=20, description="For rewind: how many of the last chunks to draw anew, else 0")
    prompt: str | None = Field(max_length=2000, description="For reprompt and rewind: the better prompt, else null")

    def marks(self) -> dict[str, Mark]:
        """By criterion."""
        return {name: getattr(self, name) for name in CRITERIA}


class Viewer:
    """See `critic.Critic`.

    Args:
        first: the critic that only measures; what it stops is not shown to the model.
        simple: whether the film is drawn from captions, whose form a new prompt must keep.
    """

    def __init__(self, model: LanguageModel, first: Critic, simple: bool) -> None:
        self._model, self._first, self._simple = model, first, simple

    def review(self, look: Look) -> Verdict:
        """See `Critic.review`."""
        measured = self._first.review(look)
        if measured.action != "continue" or look.scene is None:
            return measured
        scene, prompt = look.scene, load_prompt("critic")
        text = prompt.render(
            before=scene.before is not None, references=list(scene.references), intent=scene.intent, place=scene.place,
            time=scene.time, size=scene.size, notes=scene.notes, simple=self._simple, chunks=look.chunk + 1, prompt=look.prompt,
        )  # fmt: skip
        sheet = contact_sheet(scene.frames, scene.before)
        images = [_jpeg(sheet), *(_jpeg(image) for image in scene.references.values())]
        said = ask(
            self._model, [Message("user", text)], View, images=images, check=lambda view: self._wrong(view, look)
        )
        view: View = said.value
        marks = {name: mark.score for name, mark in view.marks().items()}
        score = round((measured.score + sum(marks.values()) / len(marks)) / 2, 4)
        verdict = self._affordable(view, look, score)
        return verdict.model_copy(update={"by": f"{self._model.name} {prompt.mark}"})

    def _wrong(self, view: View, look: Look) -> list[str]:
        """What the model may not answer."""
        found = []
        if view.decision == "reprompt" and not view.prompt:
            found.append("prompt: a reprompt needs the new prompt")
        if view.decision == "rewind" and not 1 <= view.chunks <= look.chunk + 1:
            found.append(f"chunks: {view.chunks} cannot be drawn anew; 1 to {look.chunk + 1}")
        if self._simple and view.prompt and not is_caption(view.prompt):
            found.append("prompt: it must keep the form of the present prompt, word for word where nothing changes")
        return found

    def _affordable(self, view: View, look: Look, score: float) -> Verdict:
        """What the model wants, as far as it may still be done."""
        weak = [f"{name}: {mark.reason}" for name, mark in view.marks().items() if mark.score < GOOD_ENOUGH]
        reason = "; ".join([view.reason, *weak])[:600]
        marks = {name: mark.score for name, mark in view.marks().items()}
        if view.decision in ("continue", "ask"):
            return Verdict(action=view.decision, reason=reason, score=score, marks=marks)
        if view.decision == "reshoot" and look.takes_left > 0:
            return Verdict(action="reshoot", reason=reason, score=score, marks=marks)
        if view.decision in ("reprompt", "rewind") and look.interventions_left > 0:
            return Verdict(
                action=view.decision, reason=reason, score=score, chunks=view.chunks, prompt=view.prompt, marks=marks
            )
        if look.takes_left > 0:
            return Verdict(action="reshoot", reason=f"{reason}; interventions are spent", score=score, marks=marks)
        return Verdict(
            action="continue", reason=f"{reason}; interventions and takes are spent", score=score, marks=marks
        )


def contact_sheet(frames: Frames, before: Frames | None = None) -> Image.Image:
    """Frames [F, H, W, 3] of a shot, evenly chosen, in rows of three; `before`, a frame [H, W, 3], stands first in a red frame."""
    count = min(SHEET_FRAMES - (before is not None), len(frames))
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]
    height = round(TILE_WIDTH * frames.shape[1] / frames.shape[2])
    tiles = [Image.fromarray(frame).resize((TILE_WIDTH, height)) for frame in chosen]
    if before is not None:
        first = Image.fromarray(before).resize((TILE_WIDTH, height))
        ImageDraw.Draw(first).rectangle((0, 0, TILE_WIDTH - 1, height - 1), outline=(255, 0, 0), width=4)
        tiles.insert(0, first)
    columns = min(3, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * TILE_WIDTH, rows * height))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * TILE_WIDTH, index // columns * height))
    return sheet


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    small = image.convert("RGB")
    small.thumbnail((1024, 1024))
    small.save(out, format="JPEG", quality=85)
    return out.getvalue()
