"""The prompt of a shot for the generator at hand: planned once, shot with any model."""

from __future__ import annotations

from ..storyboard.caption import caption
from ..storyboard.script import Script, Shot
from ..storyboard.stage import Profile
from ..storyboard.staging import stage_shot


def shot_prompt(script: Script, shot: Shot, profile: Profile, action: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The prompt and notes about what had to be mapped; `action` overrides the shot's own (a prompt change)."""
    if shot.prompt is not None and action is None:
        return shot.prompt, ()
    if profile.prompt_style == "caption":
        staged = stage_shot(script, shot, action)
        return caption(staged.staging), staged.notes
    scene = script.scene_of(shot.id)
    place = script.entity(scene.location)
    cast = "; ".join(f"{e.name}: {e.description}" for e in script.cast_of(shot))
    parts = [
        f"{shot.size} shot",
        f"{place.description or place.name}, {scene.time}",
        cast,
        action or shot.action,
        script.style,
    ]
    return ". ".join(part for part in parts if part), ()
