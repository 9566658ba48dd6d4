"""Casting: every character gets a reference image, the user's own or one the generator draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..storyboard.errors import InputError
from ..storyboard.files import replacing
from ..storyboard.images import load_reference
from ..storyboard.production import Production
from ..storyboard.script import Entity, Reference, Script
from ..storyboard.stage import Generator
from ..storyboard.takes import dependency_hash
from ..storyboard.video import save_png

DRAWN = "drawn.png"
"""The reference the generator drew; the user's own are named user-N.png."""


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


def draw_missing(production: Production, script: Script, generator: Generator, seed: int) -> list[str]:
    """Draws a reference for every character that has none of this description yet; returns their ids."""
    drawn = []
    for entity in script.entities:
        if entity.kind != "character" or entity.references:
            continue
        folder = production.reference_folder(entity.id)
        mark = dependency_hash(entity.name, entity.description, generator.profile.weights, seed)
        stamp = folder / ".drawn"
        if (folder / DRAWN).is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == mark:
            continue
        save_png(folder / DRAWN, generator.draw(entity, seed), generator.profile.enlarge)
        stamp.write_text(mark, encoding="utf-8")
        drawn.append(entity.id)
    return drawn
