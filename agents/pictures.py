"""Pictures that a shot brings with it: references its memory pins, footage it opens with."""

from __future__ import annotations

from pathlib import Path

from ..storyboard.errors import InputError
from ..storyboard.footage import STILLS, check_footage, read_footage
from ..storyboard.production import Production
from ..storyboard.script import Script, Shot
from ..storyboard.stage import Generator, Latents, Profile
from ..storyboard.timeline import ShotTiming
from .casting import DRAWN, references_of


def pinned_images(production: Production, script: Script, shot: Shot, profile: Profile) -> list[Path]:
    """The images the shot's memory pins: what the user gave for its cast, then drawn ones while there is room.

    Raises:
        InputError: the user gave more for this shot than the memory holds.
    """
    room = profile.max_references
    if room == 0:
        return []
    images = [references_of(production, entity) for entity in script.cast_of(shot)]
    own = [path for found in images for path in found if path.name != DRAWN]
    if len(own) > room:
        raise InputError(
            f"shot {shot.id} pins {len(own)} references ({', '.join(path.name for path in own)}) but memory {profile.memory} holds {room}: pin fewer, or use shots({len(own)})"
        )
    drawn = [path for found in images for path in found if path.name == DRAWN]
    return (own + drawn)[:room]


def footage_path(production: Production, shot: Shot) -> Path:
    """The file a shot opens with.

    Raises:
        InputError: it is missing or outside the production.
    """
    path = production.inside(shot.opens_with or "")
    if not path.is_file():
        raise InputError(f"shot {shot.id}: footage {path} is missing; restore it or remove opens_with from script.yaml")
    return path


def check_openings(production: Production, script: Script) -> None:
    """Looks at every picture and clip that a shot opens with, before anything is made.

    Raises:
        InputError: one is missing, outside the production or cannot be read.
    """
    for shot in script.shots():
        if shot.opens_with:
            check_footage(footage_path(production, shot), shot.seconds)


def opening_chunks(production: Production, shot: Shot, timing: ShotTiming, generator: Generator) -> list[Latents]:
    """The chunks of the footage a shot opens with; a picture stands for one chunk."""
    if not shot.opens_with:
        return []
    path, profile = footage_path(production, shot), generator.profile
    chunks = 1 if path.suffix.lower() in STILLS else timing.chunks
    most = profile.video_frames(chunks * profile.chunk_latents, fresh=True)
    footage = read_footage(path, width=profile.width, height=profile.height, fps=profile.fps, frames=most)
    return generator.encode(footage)
