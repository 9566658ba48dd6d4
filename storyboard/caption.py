"""What our model sizes are told: a `Staging` (a shot in the closed vocabulary) and its caption, both ways.

Grammar, where [..] is optional::

    [cut .] VIEW shot , SET , TIME , camera MOVEMENT : ROLE ; ROLE .
    ROLE = [HUE PATTERN] KIND [with ACCESSORY] ACTION FACING

The same function writes the captions that the models are trained on and those that a film is shot with
(DESIGN §7), so that any script is in distribution. The appearance of a role may be left out: the model, or the
theatre, then has to remember it from earlier in the film.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import InputError
from .vocabulary import (
    ACCESSORIES,
    ACTIONS,
    FACINGS,
    HUES,
    KINDS,
    MAX_ROLES,
    MOVEMENTS,
    PATTERNS,
    SETS,
    TIMES,
    VIEWS,
)

CUT_MARK = "cut . "
"""Stands before the caption of a shot's first chunk."""


@dataclass(frozen=True)
class Appearance:
    """How a puppet looks beside its kind. 8 hues x 3 patterns x 3 accessories = 72 per kind."""

    hue: str
    pattern: str
    accessory: str


@dataclass(frozen=True)
class Role:
    """A puppet on the stage: the first role of a staging stands left, the second right."""

    kind: str
    action: str
    facing: str
    appearance: Appearance | None = None


@dataclass(frozen=True)
class Staging:
    """One shot in the closed vocabulary."""

    view: str
    set: str
    time: str
    movement: str = "still"
    roles: tuple[Role, ...] = ()

    def __post_init__(self) -> None:
        checks: list[tuple[str, str, tuple[str, ...]]] = [
            ("view", self.view, VIEWS),
            ("set", self.set, SETS),
            ("time", self.time, TIMES),
            ("movement", self.movement, MOVEMENTS),
        ]
        for role in self.roles:
            checks += [
                ("kind", role.kind, KINDS),
                ("action", role.action, ACTIONS),
                ("facing", role.facing, FACINGS),
            ]
            if role.appearance:
                checks += [
                    ("hue", role.appearance.hue, HUES),
                    ("pattern", role.appearance.pattern, PATTERNS),
                    ("accessory", role.appearance.accessory, ACCESSORIES),
                ]
        for name, value, known in checks:
            if value not in known:
                raise InputError(f"{name} {value!r} is not in the vocabulary: choose one of {', '.join(known)}")
        if len(self.roles) > MAX_ROLES:
            raise InputError(f"{len(self.roles)} roles in one shot: at most {MAX_ROLES} puppets fit the stage")


def caption(staging: Staging, *, cut: bool = False) -> str:
    """The prompt for our sizes. `cut` marks the first chunk of a shot."""
    roles = []
    for role in staging.roles:
        look = role.appearance
        words = [look.hue, look.pattern] if look else []
        words.append(role.kind)
        if look and look.accessory != "bare":
            words += ["with", look.accessory]
        roles.append(" ".join([*words, role.action, role.facing]))
    head = f"{staging.view} shot , {staging.set} , {staging.time} , camera {staging.movement}"
    text = f"{head} : {' ; '.join(roles)} ." if roles else f"{head} ."
    return CUT_MARK + text if cut else text


def parse_caption(text: str) -> Staging:
    """Reads a caption back (with or without its cut mark).

    Raises:
        InputError: the text is not a caption; the message names the first word that does not fit.
    """
    body = text.removeprefix(CUT_MARK).strip().removesuffix(".").strip()
    head, _, tail = body.partition(":")
    try:
        view_shot, set_, time, camera = (part.strip() for part in head.split(","))
        view, shot = view_shot.split()
        camera_word, movement = camera.split()
    except ValueError:
        raise InputError(
            f"not a caption: {text[:80]!r} (expected 'VIEW shot , SET , TIME , camera MOVE : …')"
        ) from None
    if (shot, camera_word) != ("shot", "camera"):
        raise InputError(f"not a caption: {text[:80]!r} (expected the words 'shot' and 'camera')")
    roles = tuple(_parse_role(part.split()) for part in tail.split(";") if part.strip())
    return Staging(view=view, set=set_, time=time, movement=movement, roles=roles)


def is_caption(text: str) -> bool:
    """Whether `parse_caption` can read it."""
    try:
        parse_caption(text)
    except InputError:
        return False
    return True


def _parse_role(words: list[str]) -> Role:
    try:
        *subject, action, facing = words
        accessory = "bare"
        if "with" in subject:
            at = subject.index("with")
            accessory = subject[at + 1]
            subject = subject[:at]
        kind = subject[-1]
        look = Appearance(subject[-3], subject[-2], accessory) if len(subject) == 3 else None
    except (ValueError, IndexError):
        raise InputError(
            f"not a role: {' '.join(words)!r} (expected '[HUE PATTERN] KIND [with ACCESSORY] ACTION FACING')"
        ) from None
    return Role(kind=kind, action=action, facing=facing, appearance=look)


def without_appearance(staging: Staging, keep: tuple[bool, ...]) -> Staging:
    """The same staging with the appearance of each role left out where `keep` is false."""
    roles = tuple(
        role if kept else replace(role, appearance=None) for role, kept in zip(staging.roles, keep, strict=True)
    )
    return replace(staging, roles=roles)
