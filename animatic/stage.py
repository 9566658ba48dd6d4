"""The stage: draws a `Staging` as frames, for the animatic, the theatre generator and the small world alike.

Legend: `F` frames, `H` rows, `W` columns, `S`, `T` rows and columns of a puppet's window.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..storyboard.caption import Appearance, Role, Staging
from .puppets import HEAD_HEIGHT, JUMP_TOP, WINDOW_BOTTOM, WINDOW_HALF_WIDTH, WINDOW_TOP, draw_puppet, motion
from .sets import GROUND, PUPPET_LIGHT, drift, paint_set

ZOOM = {"wide": 1.0, "medium": 1.45, "close": 2.3}
PUPPET_HEIGHT = 1.0
"""Stage units; the wide frame is 2 high."""
CACHE_PIXELS = 500_000
"""Pixels drawn at once: larger tensors leave the cache and cost twice the time."""
PLAIN = Appearance("red", "plain", "bare")


@dataclass(frozen=True)
class Drawing:
    """Frames [F, 3, H, W] in 0 … 1 and where puppets cover them [F, H, W] in 0 … 1."""

    frames: Tensor
    puppets: Tensor


def stable_seed(*parts: object) -> int:
    """A 63-bit seed from any values, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _home(index: int, count: int) -> float:
    return 0.0 if count == 1 else (-0.62, 0.62)[index]


def _path(role: Role, home: float, seconds: Tensor) -> Tensor:
    """Where a role stands at each time [F]: walkers enter from behind and ease to a halt ahead."""
    speed = {"walks": 0.35, "runs": 0.95}.get(role.action)
    if speed is None:
        return torch.full_like(seconds, home)
    way = 1.1
    sign = 1.0 if role.facing == "right" else -1.0
    return home + sign * way * (0.5 - torch.exp(-speed * seconds / way))


class Scene:
    """A staging ready to be drawn at any times: the set is painted once, puppets frame by frame."""

    def __init__(
        self,
        staging: Staging,
        *,
        width: int,
        height: int,
        layout_seed: int = 0,
        appearances: Mapping[str, Appearance] | None = None,
    ) -> None:
        """`appearances` says how a kind looks whose role does not say it."""
        self.staging, self.width, self.height = staging, width, height
        self._appearances = dict(appearances or {})
        count = len(staging.roles)
        roles = staging.roles[:1] if staging.view == "close" else staging.roles
        self._cast = [(role, _home(i, 1 if staging.view == "close" else count)) for i, role in enumerate(roles)]
        self._zoom = ZOOM[staging.view]
        self._pixel = 2.0 / (height * self._zoom)
        self._centre_y = 0.0
        if staging.view != "wide":
            self._centre_y = max(GROUND + 0.48 * PUPPET_HEIGHT, -1.0 + 1.0 / self._zoom)
        if staging.view == "close" and self._cast:
            first = self._cast[0][0]
            lying = 0.6 if first.action == "sleeps" else 1.0
            self._centre_y = GROUND + lying * HEAD_HEIGHT[first.kind] * PUPPET_HEIGHT - 0.06
        pan_pixels = 0 if staging.movement == "still" else math.ceil(drift(1e9) / self._pixel) + 1
        left = pan_pixels if staging.movement == "left" else 0
        columns = torch.arange(width + pan_pixels, dtype=torch.float32) - left
        self._canvas_left = left
        x = (columns + 0.5 - width / 2) * self._pixel
        y = self._centre_y - (torch.arange(height, dtype=torch.float32) + 0.5 - height / 2) * self._pixel
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        self._far, self._near, self._near_alpha = paint_set(
            staging.set, staging.time, layout_seed, grid_x, grid_y, self._pixel
        )
        self._light = torch.tensor(PUPPET_LIGHT[staging.time])[:, None, None]
        self._still: Tensor | None = None

    def _camera_x(self, seconds: Tensor) -> Tensor:
        if self.staging.movement == "still":
            return torch.zeros_like(seconds)
        sign = -1.0 if self.staging.movement == "left" else 1.0
        return torch.tensor([sign * drift(float(s)) for s in seconds])

    def _slide(self, layer: Tensor, offset_pixels: float) -> Tensor:
        """The frame-wide part of a canvas layer [..., H, W'] at a sub-pixel offset."""
        start = offset_pixels + self._canvas_left
        whole = min(max(math.floor(start), 0), layer.shape[-1] - self.width)
        part = start - whole
        view = layer[..., whole : whole + self.width]
        if part <= 0.0 or whole + 1 + self.width > layer.shape[-1]:
            return view
        return torch.lerp(view, layer[..., whole + 1 : whole + 1 + self.width], part)

    def backdrop(self, camera_x: Tensor) -> Tensor:
        """The empty set [F, 3, H, W]; the far layer moves half as fast."""
        if not camera_x.any():
            if self._still is None:
                self._still = torch.lerp(
                    self._slide(self._far, 0.0), self._slide(self._near, 0.0), self._slide(self._near_alpha, 0.0)
                )
            return self._still.repeat(len(camera_x), 1, 1, 1)
        frames = []
        for x in camera_x.tolist():
            offset = x / self._pixel
            far = self._slide(self._far, offset * 0.5)
            frames.append(torch.lerp(far, self._slide(self._near, offset), self._slide(self._near_alpha, offset)))
        return torch.stack(frames)

    def draw(self, seconds: Tensor) -> Drawing:
        """Draws the frames at `seconds` [F] since the shot began."""
        parts = list(self.parts(seconds))
        return Drawing(torch.cat([p.frames for p in parts]), torch.cat([p.puppets for p in parts]))

    def parts(self, seconds: Tensor) -> Iterator[Drawing]:
        """The same, few frames at a time where they are large."""
        for part in seconds.split(max(1, CACHE_PIXELS // (self.width * self.height))):
            yield self._draw(part)

    def _draw(self, seconds: Tensor) -> Drawing:
        camera_x = self._camera_x(seconds)
        frames = self.backdrop(camera_x)
        covered = torch.zeros(len(seconds), self.height, self.width)
        for role, home in self._cast:
            look = role.appearance or self._appearances.get(role.kind, PLAIN)
            self._place(frames, covered, role, look, _path(role, home, seconds) - camera_x, seconds)
        return Drawing(frames.clamp_(0.0, 1.0), covered)

    def visible(self, seconds: Tensor) -> Tensor:
        """How much of every pixel shows each role [roles, F, H, W]: later ones stand before earlier ones."""
        camera_x = self._camera_x(seconds)
        shown: list[Tensor] = []
        for role, home in self._cast:
            covered = torch.zeros(len(seconds), self.height, self.width)
            canvas = torch.zeros(len(seconds), 3, self.height, self.width)
            look = role.appearance or self._appearances.get(role.kind, PLAIN)
            self._place(canvas, covered, role, look, _path(role, home, seconds) - camera_x, seconds)
            shown = [before * (1.0 - covered) for before in shown] + [covered]
        return torch.stack(shown) if shown else torch.zeros(0, len(seconds), self.height, self.width)

    def _place(self, frames: Tensor, covered: Tensor, role: Role, look: Appearance, x: Tensor, seconds: Tensor) -> None:
        pixel = self._pixel / PUPPET_HEIGHT
        columns = math.ceil(2 * WINDOW_HALF_WIDTH / pixel) + 2
        ceiling = JUMP_TOP if role.action == "jumps" else WINDOW_TOP
        rows = math.ceil((ceiling - WINDOW_BOTTOM) / pixel) + 2
        centre = x / self._pixel + self.width / 2  # [F], in pixels
        feet = (self._centre_y - GROUND) / self._pixel + self.height / 2
        left = torch.floor(centre - columns / 2)
        top = math.floor(feet - ceiling / pixel) - 1
        first, last = max(0, -top), min(rows, self.height - top)
        if last <= first:
            return
        u = (left[:, None] + torch.arange(columns) + 0.5 - centre[:, None]) * pixel
        v = (feet - (top + torch.arange(first, last) + 0.5)) * pixel
        across = -u[:, None, :] if role.facing == "left" else u[:, None, :]
        rgb, alpha = draw_puppet(role.kind, look, motion(role.action, seconds), across, v[None, :, None], pixel)
        rgb = rgb * self._light
        row = slice(top + first, top + last)
        for frame, at in enumerate(left.long().tolist()):
            a, b = max(0, at), min(self.width, at + columns)
            if b <= a:
                continue
            inside = slice(a - at, b - at)
            frames[frame, :, row, a:b].lerp_(rgb[frame, :, :, inside], alpha[frame, :, inside])
            torch.maximum(covered[frame, row, a:b], alpha[frame, :, inside], out=covered[frame, row, a:b])


def layout_seed(film_seed: int, set_name: str) -> int:
    """A location looks the same whenever the film returns to it."""
    return stable_seed(film_seed, "layout", set_name)
