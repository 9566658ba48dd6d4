"""What our model sizes are told: a `Staging` (a shot in the closed vocabulary) and its caption, both ways.

Grammar, where [..] is optional::

    [cut .] VIEW shot , SET , [WEATHER] TIME , camera MOVEMENT : ROLE ; ROLE .
    ROLE = [HUE PATTERN] KIND [NAME] [with ACCESSORY] ACTION [PROP] FACING

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
    INDOORS,
    KINDS,
    MAX_ROLES,
    MOVEMENTS,
    NAMES,
    NEEDS_PROP,
    PATTERNS,
    PROPS,
    SETS,
    TAKES_PROP,
    TIMES,
    VIEWS,
    WEATHERS,
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
    """A puppet on the stage: the first role of a staging stands left, the second right.

    Attributes:
        prop: what it carries, gives or eats.
        name: tells two of a kind apart.
    """

    kind: str
    action: str
    facing: str
    appearance: Appearance | None = None
    prop: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Staging:
    """One shot in the closed vocabulary."""

    view: str
    set: str
    time: str
    movement: str = "still"
    roles: tuple[Role, ...] = ()
    weather: str = "clear"

    def __post_init__(self) -> None:
        checks: list[tuple[str, str, tuple[str, ...]]] = [
            ("view", self.view, VIEWS),
            ("set", self.set, SETS),
            ("time", self.time, TIMES),
            ("weather", self.weather, WEATHERS),
            ("movement", self.movement, MOVEMENTS),
        ]
        for role in self.roles:
            checks += [
                ("kind", role.kind, KINDS),
                ("action", role.action, ACTIONS),
                ("facing", role.facing, FACINGS),
            ]
            if role.prop is not None:
                checks.append(("prop", role.prop, PROPS))
            if role.name is not None:
                checks.append(("name", role.name, NAMES))
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
        if self.view == "over" and len(self.roles) != MAX_ROLES:
            raise InputError("an over shot looks over one puppet's shoulder at another: give it two roles")
        if self.weather != "clear" and self.set in INDOORS:
            raise InputError(f"no {self.weather} in the {self.set}: it has a roof")
        for role in self.roles:
            if role.action in NEEDS_PROP and role.prop is None:
                raise InputError(f"{role.kind} {role.action} what? Say one of {', '.join(PROPS)}")
            if role.prop is not None and role.action not in TAKES_PROP:
                raise InputError(f"{role.kind} {role.action} {role.prop}: only {', '.join(TAKES_PROP)} take a prop")


def caption(staging: Staging, *, cut: bool = False) -> str:
    """The prompt for our sizes. `cut` marks the first chunk of a shot."""
    roles = []
    for role in staging.roles:
        look = role.appearance
        words = [look.hue, look.pattern] if look else []
        words += [role.kind, *([role.name] if role.name else [])]
        if look and look.accessory != "bare":
            words += ["with", look.accessory]
        roles.append(" ".join([*words, role.action, *([role.prop] if role.prop else []), role.facing]))
    time = staging.time if staging.weather == "clear" else f"{staging.weather} {staging.time}"
    head = f"{staging.view} shot , {staging.set} , {time} , camera {staging.movement}"
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
        weather, time = ("clear", time) if " " not in time else time.split()
    except ValueError:
        raise InputError(
            f"not a caption: {text[:80]!r} (expected 'VIEW shot , SET , TIME , camera MOVE : …')"
        ) from None
    if (shot, camera_word) != ("shot", "camera"):
        raise InputError(f"not a caption: {text[:80]!r} (expected the words 'shot' and 'camera')")
    roles = tuple(_parse_role(part.split()) for part in tail.split(";") if part.strip())
    return Staging(view=view, set=set_, time=time, movement=movement, roles=roles, weather=weather)


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
        prop = None
        if action in PROPS:
            prop = action
            *subject, action = subject
        accessory = "bare"
        if "with" in subject:
            at = subject.index("with")
            accessory = subject[at + 1]
            subject = subject[:at]
        name = None
        if subject[-1] in NAMES:
            *subject, name = subject
        kind = subject[-1]
        look = Appearance(subject[-3], subject[-2], accessory) if len(subject) == 3 else None
    except (ValueError, IndexError):
        raise InputError(
            f"not a role: {' '.join(words)!r} (expected '[HUE PATTERN] KIND [NAME] [with ACCESSORY] ACTION [PROP] FACING')"
        ) from None
    return Role(kind, action, facing, look, prop, name)


def without_appearance(staging: Staging, keep: tuple[bool, ...]) -> Staging:
    """The same staging with the appearance of each role left out where `keep` is false."""
    roles = tuple(
        role if kept else replace(role, appearance=None) for role, kept in zip(staging.roles, keep, strict=True)
    )
    return replace(staging, roles=roles)
