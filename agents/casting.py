"""Casting: every character gets a reference image, the user's own or one the generator draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from ..storyboard.errors import InputError
from ..storyboard.files import replacing
from ..storyboard.production import Production
from ..storyboard.script import Entity, Reference, Script
from ..storyboard.stage import Generator
from ..storyboard.takes import dependency_hash
from ..storyboard.video import save_png

MAX_PIXELS = 60_000_000
MIN_SIDE = 16


def load_reference(path: Path) -> Image.Image:
    """Reads an image of any kind as upright RGB: the first frame of an animation, transparency on white.

    Raises:
        InputError: it is missing, no image, too small or too large.
    """
    if not path.is_file():
        raise InputError(f"reference {path} does not exist")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"reference {path} has {image.width}x{image.height} pixels: at most {MAX_PIXELS // 1_000_000} megapixels, make it smaller"
                )
            if min(image.size) < MIN_SIDE:
                raise InputError(
                    f"reference {path} is {image.width}x{image.height}: at least {MIN_SIDE} pixels a side are needed"
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                clear = upright.convert("RGBA")
                white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
                return Image.alpha_composite(white, clear).convert("RGB")
            return upright.convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InputError(
            f"reference {path} is no readable image ({type(error).__name__}): give a PNG or JPEG file"
        ) from error


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
    drawn = production.reference_folder(entity.id) / "drawn.png"
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
        if (folder / "drawn.png").is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == mark:
            continue
        save_png(folder / "drawn.png", generator.draw(entity, seed), generator.profile.enlarge)
        stamp.write_text(mark, encoding="utf-8")
        drawn.append(entity.id)
    return drawn
