"""The prompt of a shot for the generator at hand: planned once, shot with any model."""

from __future__ import annotations

from ..storyboard.caption import caption, is_caption, parse_caption, without_appearance
from ..storyboard.script import Script, Shot
from ..storyboard.stage import Profile
from ..storyboard.staging import fit, stage_shot
from ..storyboard.vocabulary import FULL


def shot_prompt(script: Script, shot: Shot, profile: Profile) -> tuple[str, tuple[str, ...]]:
    """The prompt and notes about what had to be mapped.

    Where the memory pins references, a caption leaves the looks of a puppet to the picture that a person gave of it.
    """
    own = shot.prompt
    if profile.prompt_style == "caption":
        known = profile.vocabulary or FULL
        if own is not None and is_caption(own):
            fitted = fit(parse_caption(own), known)
            return caption(fitted.staging), fitted.notes
        staged = stage_shot(script, shot.model_copy(update={"action": own, "lines": []}) if own else shot)
        mapped = (f"prompt {own[:60]!r} is outside the model's vocabulary: read as an action",) if own else ()
        fitted = fit(staged.staging, known)
        staging, notes = fitted.staging, mapped + staged.notes + fitted.notes
        if profile.max_references:
            kinds = [role.kind for role in staging.roles]
            seen = zip(script.cast_of(shot), kinds, strict=False)
            pictured = [bool(entity.references) and kinds.count(kind) == 1 for entity, kind in seen]
            staging = without_appearance(staging, tuple(not given for given in pictured))
        return caption(staging), notes
    if own is not None:
        return own, ()
    scene = script.scene_of(shot.id)
    place = script.entity(scene.location)
    cast = "; ".join(f"{e.name}: {e.description}" for e in script.cast_of(shot))
    parts = [
        f"{shot.size} shot",
        f"{place.description or place.name}, {scene.time}",
        cast,
        shot.action,
        script.style,
    ]
    return ". ".join(part for part in parts if part), ()
