"""What a film needs to know of the paper theatre; no torch."""

from __future__ import annotations

from ..storyboard.errors import InputError
from ..storyboard.stage import Profile

PROFILE = Profile(
    name="theatre",
    fps=16,
    width=832,
    height=480,
    enlarge=1,
    chunk_latents=3,
    frames_per_latent=4,
    fresh_frames=4,
    cut_stream="restart",
    prompt_style="caption",
    max_references=0,
    memory="script",
    weights="theatre (drawn)",
    licence="Apache-2.0",
)


def theatre_profile(name: str, memory: str | None) -> Profile:
    """The theatre's profile.

    Raises:
        InputError: a memory is named; the theatre has none to choose.
    """
    if memory:
        raise InputError(f"--memory {memory} does not apply: the theatre remembers everything from the script")
    return PROFILE
