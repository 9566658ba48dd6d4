"""The prompt of a shot for the generator at hand: planned once, shot with any model."""

from __future__ import annotations

import re

from ..storyboard.caption import Role, Staging, caption, is_caption, parse_caption, without_appearance
from ..storyboard.script import Entity, Script, Shot
from ..storyboard.stage import Profile
from ..storyboard.staging import appearance_of, fit, puppet_kind, stage_shot
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
    return _prose(script, shot, profile)


SIZES = {
    "ECU": "Extreme close-up", "CU": "Close-up", "MCU": "Medium close-up", "MS": "Medium shot", "MLS": "Medium wide shot",
    "LS": "Wide shot", "ELS": "Extreme wide shot",
}  # fmt: skip
ANGLES = {
    "eye": "", "low": "from below", "high": "from above", "overhead": "from straight overhead",
    "over-shoulder": "over the shoulder of the one who listens",
}  # fmt: skip
MOVEMENTS = {
    "static": "still camera", "pan-left": "slow pan to the left", "pan-right": "slow pan to the right", "push-in": "slow push in",
    "pull-out": "slow pull out", "track": "tracking shot",
}  # fmt: skip
WORDS_OF_TOKEN = 0.7


def _prose(script: Script, shot: Shot, profile: Profile) -> tuple[str, tuple[str, ...]]:
    """A prompt that stands alone: no names, which a model cannot know, subject and setting in full every time."""
    scene = script.scene_of(shot.id)
    place = script.entity(scene.location)
    action, told = shot.action, set()
    for entity in sorted((script.entity(i) for i in dict.fromkeys(shot.entities)), key=lambda e: -len(e.name)):
        action, named = _described(action, entity)
        told |= {entity.id} if named else set()
    beside = [_looks(script.entity(i)) for i in dict.fromkeys(shot.entities) if i not in told]
    camera = ", ".join(part for part in (SIZES[shot.size], ANGLES[shot.angle], MOVEMENTS[shot.movement]) if part)
    parts = [
        camera, action, f"In view: {'; '.join(beside)}" if beside else "",
        f"{place.description or place.name}, {scene.time}", script.style,
    ]  # fmt: skip
    words = ". ".join(part.strip().rstrip(".") for part in parts if part.strip()).split()
    room = int(profile.prompt_tokens * WORDS_OF_TOKEN)
    notes = (f"prompt shortened to {room} words: {profile.weights} reads no more",) if len(words) > room else ()
    return " ".join(words[:room]) + ".", notes


def _looks(entity: Entity) -> str:
    return (entity.description or entity.name).strip().rstrip(".")


def _described(action: str, entity: Entity) -> tuple[str, bool]:
    """An action with an entity's looks in place of its name, in full where it is first named; and whether it is."""
    looks = _looks(entity)
    bare = re.sub(r"^(an?|the)\s+", "", looks, flags=re.IGNORECASE)
    short = re.split(r"\s+with\s+|[,;(]", bare)[0]
    found = 0

    def instead(match: re.Match[str]) -> str:
        nonlocal found
        found += 1
        return looks if found == 1 else f"the {short}"

    pattern = rf"\b(?:(?:an?|the)\s+)?{re.escape(entity.name)}\b"
    return re.sub(pattern, instead, action, flags=re.IGNORECASE), found > 0


def staging_asked(prompt: str) -> Staging | None:
    """What a caption asks for; None for prose."""
    return parse_caption(prompt) if is_caption(prompt) else None


def portrait_prompt(entity: Entity, profile: Profile, *, close: bool) -> str:
    """The prompt of a reference picture of an entity."""
    if profile.prompt_style == "prose":
        return f"{'Close-up of the face' if close else 'Full figure'} of {_looks(entity)}, facing the camera, plain background."
    role = Role(puppet_kind(entity), "stands", "right", appearance_of(entity))
    staging = Staging("close" if close else "medium", "meadow", "day", "still", (role,))
    return caption(fit(staging, profile.vocabulary or FULL).staging)
