"""Casting: every character gets a reference image, the user's own or one the generator draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ..storyboard.errors import InputError
from ..storyboard.files import replacing, write_text
from ..storyboard.images import is_picture, load_reference
from ..storyboard.production import Production
from ..storyboard.script import Entity, Reference, Script
from ..storyboard.stage import Frames, Generator
from ..storyboard.takes import dependency_hash
from ..storyboard.video import save_png
from .prompts import portrait_prompt

DRAWN, CLOSE = "drawn.png", "drawn-close.png"
"""The reference that was drawn, and the same near, for people; the user's own are named user-N.png."""


class Painter(Protocol):
    """Something other than the generator that draws references: a provider's image model."""

    name: str

    def paint(self, prompt: str) -> Image.Image:
        """A picture of a prompt."""


def find_entity(script: Script, name: str) -> Entity:
    """The entity that a --reference names, by id or name, ignoring case.

    Raises:
        InputError: there is none; lists those there are.
    """
    wanted = name.strip().casefold()
    for entity in script.entities:
        if wanted in (entity.id.casefold(), entity.name.casefold()):
            return entity
    known = ", ".join(entity.name for entity in script.entities)
    raise InputError(f"--reference {name!r} names nobody in this film: it has {known}")


def add_references(production: Production, script: Script, given: Mapping[str, Path]) -> Script:
    """Copies the user's images into the production and pins them in the script.

    Raises:
        InputError: an unknown name or a bad image; nothing is written then.
    """
    if not given:
        return script
    loaded = [(find_entity(script, name), load_reference(path)) for name, path in given.items()]
    for entity, image in loaded:
        folder = production.reference_folder(entity.id)
        number = len(list(folder.glob("user-*.png"))) + 1 if folder.is_dir() else 1
        target = folder / f"user-{number}.png"
        image.thumbnail((1024, 1024))
        with replacing(target) as temporary:
            image.save(temporary, format="PNG")
        entity.references.append(Reference(path=target.relative_to(production.folder).as_posix()))
    production.write_script(script)
    return script


def references_of(production: Production, entity: Entity) -> list[Path]:
    """The images of an entity: the user's own first, then the drawn one."""
    own = [production.inside(reference.path) for reference in entity.references]
    for path in own:
        if not path.is_file():
            raise InputError(
                f"entity {entity.id}: reference {path} is missing; restore it or remove it from script.yaml"
            )
    drawn = production.reference_folder(entity.id).resolve() / DRAWN
    return own + ([drawn] if drawn.is_file() else [])


def look_for_references(production: Production, script: Script) -> None:
    """Looks for every image that the script names, also where the memory at hand uses none: the storyboard shows them all.

    Raises:
        InputError: one is missing.
    """
    for entity in script.entities:
        references_of(production, entity)


def reference_sheet(production: Production, entity: Entity) -> list[Path]:
    """What shows people how an entity looks: its references, and the near picture of a drawn one."""
    near = production.reference_folder(entity.id) / CLOSE
    return references_of(production, entity) + ([near] if near.is_file() and not entity.references else [])


CANDIDATES = 3
"""Pictures drawn of every character; the one most like its description, by the generator's own CLIP, is kept."""


@dataclass(frozen=True)
class CastPicture:
    """How a reference was chosen: candidates, and the likeness of the chosen one to its description (None: not measured)."""

    entity: str
    candidates: int
    likeness: float | None


def draw_missing(
    production: Production, script: Script, generator: Generator, seed: int, painter: Painter | None = None
) -> list[CastPicture]:
    """Draws a reference sheet, front and close, for every character that has none of this description yet.

    Args:
        painter: draws the front instead of the generator.
    """
    drawn = []
    for entity in script.entities:
        if entity.kind != "character" or entity.references:
            continue
        folder, by = production.reference_folder(entity.id), painter.name if painter else generator.profile.weights
        mark = dependency_hash(entity.name, entity.description, by, seed, CANDIDATES)
        stamp = folder / ".drawn"
        if is_picture(folder / DRAWN) and stamp.is_file() and stamp.read_bytes() == mark.encode("utf-8"):
            continue
        if painter is not None:
            picture = painter.paint(
                f"{entity.name}: {entity.description}. Full figure, facing the camera, plain background."
            )
            with replacing(folder / DRAWN) as temporary:
                picture.save(temporary, format="PNG")
            (folder / CLOSE).unlink(missing_ok=True)  # the generator's own, of somebody else
            chosen = CastPicture(entity.id, 1, None)
        else:
            front, chosen = _best(entity, generator, seed, close=False)
            close, _ = _best(entity, generator, seed, close=True)
            save_png(folder / DRAWN, front, generator.profile.enlarge)
            save_png(folder / CLOSE, close, generator.profile.enlarge)
        write_text(stamp, mark)
        drawn.append(chosen)
    return drawn


def _best(entity: Entity, generator: Generator, seed: int, *, close: bool) -> tuple[Frames, CastPicture]:
    """The candidate most like the description; of close ones, and where nothing can be measured, the first."""
    prompt = portrait_prompt(entity, generator.profile, close=close)
    best = generator.draw(prompt, seed)
    likeness = generator.measure(np.stack([best]), prompt).prompt
    if close or likeness is None:
        return best, CastPicture(entity.id, 1, likeness)
    for number in range(1, CANDIDATES):
        picture = generator.draw(prompt, seed + number)
        like = generator.measure(np.stack([picture]), prompt).prompt
        if like is not None and like > likeness:
            best, likeness = picture, like
    return best, CastPicture(entity.id, CANDIDATES, round(likeness, 4))
