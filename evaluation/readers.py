"""What frames show, beyond a frame alone: cuts, the camera's movement and what puppets do; and the truth of a scene in the frame
reader's words.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..animatic.stage import STILL, Daylight, Scene
from ..generator.actions import EVERY, MOMENTS
from ..generator.reader import CELL, LOOKS, READ_HEIGHT, READ_WIDTH, WHOLE, FrameReader
from ..storyboard.caption import Role, Staging
from ..storyboard.vocabulary import KINDS, PROPS
from .light import third_of

CUT_CHANGE, CUT_RATIO, CUT_RADIUS = 0.03, 1.3, 8
SHIFT_FRAMES, SHIFT_CAP, LARGEST_SHIFT = 6, 0.1, 14
"""The camera's movement is looked for between frames so far apart, in differences up to that, in pixels of 128."""


def told_of(staging: Staging, light: Daylight = STILL) -> dict[str, str]:
    """What is true of a whole frame, by the words of `WHOLE`, and its light."""
    return {**{name: getattr(staging, name) for name in WHOLE}, "light": third_of(light)}


def acting(staging: Staging) -> list[Role]:
    """Roles whose action can be seen, each alone in its kind."""
    roles = staging.roles[:1] if staging.view in ("close", "over") else staging.roles
    kinds = [role.kind for role in staging.roles]
    return [role for role in roles if kinds.count(role.kind) == 1]


def labels_of(scene: Scene, seconds: float) -> dict[str, Tensor]:
    """The truth of a scene at a moment: indices of the frame, and for each cell [h, w] the kind and the prop (0: none of them)
    and the looks; -1 where nothing fills the cell."""
    staging, true = scene.staging, told_of(scene.staging, scene.daylight.after(seconds))
    found = {name: torch.tensor(words.index(true[name])) for name, words in WHOLE.items()}
    visible, cells = scene.visible(torch.tensor([seconds])), (READ_HEIGHT // CELL, READ_WIDTH // CELL)
    puppets, props = (F.adaptive_avg_pool2d(part[:, 0], cells) for part in (visible.puppets, visible.props))
    for name, shown in (("kind", puppets), ("prop", props)):
        found[name] = torch.where(shown.sum(dim=0) < 0.2, 0, -1)
    for name in LOOKS:
        found[name] = torch.full(cells, -1)
    for role, puppet, prop in zip(staging.roles, puppets, props, strict=False):
        mine = puppet > 0.6
        found["kind"][mine] = 1 + KINDS.index(role.kind)
        if role.prop is not None:
            found["prop"][prop > 0.5] = 1 + PROPS.index(role.prop)
        for name, words in LOOKS.items():
            if role.appearance is not None:
                found[name][mine] = words.index(getattr(role.appearance, name))
    return found


def find_cuts(frames_FCHW: Tensor) -> list[int]:
    """Frame numbers where the picture changes at once: by `CUT_CHANGE`, and `CUT_RATIO` times as much as at any other frame of
    the second around."""
    change = (frames_FCHW[1:] - frames_FCHW[:-1]).abs().mean(dim=(1, 2, 3))
    cuts = []
    for index, value in enumerate(change.tolist()):
        others = torch.cat([change[max(0, index - CUT_RADIUS) : index], change[index + 1 : index + 1 + CUT_RADIUS]])
        if value >= CUT_CHANGE and value > CUT_RATIO * max(others.tolist(), default=0.0):
            cuts.append(index + 1)
    return cuts


def find_actions(reader: FrameReader, frames_FCHW: Tensor, kinds: list[str]) -> list[str]:
    """What puppets of these kinds do in a shot's first second and a half, each alone in its kind."""
    sized = F.interpolate(frames_FCHW[: EVERY * MOMENTS : EVERY], (READ_HEIGHT, READ_WIDTH), mode="area")
    with torch.no_grad():
        said = reader.possible("action", reader.action(*reader.followed(sized, kinds))).argmax(dim=1)
    return [reader.words["action"][index] for index in said.tolist()]


def find_movement(reader: FrameReader, frames_FCHW: Tensor) -> str:
    """The camera's movement over a shot's first second and a half: the sideways shift that explains best how what is no
    puppet changed between frames. Differences are capped: something in the way is no evidence for a shift."""
    sized = F.interpolate(frames_FCHW[:24], (READ_HEIGHT, READ_WIDTH), mode="area")
    with torch.no_grad():
        puppets = reader.seen(sized)["kind"].softmax(dim=1)[:, 1:].sum(dim=1, keepdim=True)
    free = (F.interpolate(puppets, (READ_HEIGHT, READ_WIDTH), mode="nearest") < 0.5)[:, 0]
    first = list(range(0, len(sized) - SHIFT_FRAMES, 2))
    then = [i + SHIFT_FRAMES for i in first]
    a, b = sized[first], sized[then]
    kept = free[first] & free[then]
    still = (a - b).abs().amax(dim=1).clamp(max=SHIFT_CAP)

    def gain(shift: int) -> float:
        """How much less change is left when the picture has slid `shift` to the left, per pixel that both show."""
        left, right = (slice(max(0, s), READ_WIDTH + min(0, s)) for s in (shift, -shift))
        moved = (a[..., left] - b[..., right]).abs().amax(dim=1).clamp(max=SHIFT_CAP)
        here = kept[..., left] & kept[..., right]
        return float(((still[..., right] - moved) * here).sum() / here.sum().clamp(min=1))

    best = max((s for s in range(-LARGEST_SHIFT, LARGEST_SHIFT + 1) if s), key=gain)
    if gain(best) <= 0.0:
        return "still"
    return "right" if best > 0 else "left"
