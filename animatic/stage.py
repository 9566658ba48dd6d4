"""The stage: draws a `Staging` as frames, for the animatic, the theatre generator and the small world alike.

Legend: `F` frames, `H` rows, `W` columns, `S`, `T` rows and columns of a puppet's window.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..storyboard.caption import Appearance, Role, Staging
from ..storyboard.seeds import NEWEST, FilmSeed, stable_seed
from .props import draw_prop
from .puppets import HAND, HEAD_HEIGHT, JUMP_TOP, WINDOW_BOTTOM, WINDOW_HALF_WIDTH, WINDOW_TOP, draw_puppet, motion
from .sets import GROUND, PUPPET_LIGHT, Air, drift, fall, paint_set

ZOOM = {"wide": 1.0, "medium": 1.45, "close": 2.3, "over": 1.6}
SHOULDER_SCALE, SHOULDER_X, SHOULDER_SINK = 1.8, 1.0, 0.2
"""Of a puppet over whose shoulder one looks: how much larger, how far to the side, how far its head lies below the middle."""
PROP_REACH = 0.2
GIVING_SECONDS = 1.5
CACHE_PIXELS = 500_000
"""Pixels drawn at once: larger tensors leave the cache and cost twice the time."""
PLAIN = Appearance("red", "plain", "bare")


@dataclass(frozen=True)
class Daylight:
    """How the light goes on towards the next time of day: no caption tells, and it goes on while a set is off the screen.

    Attributes:
        later: at the beginning, 0 (the light of the time that is told) … `LATEST`.
        per_second: how much it changes.
    """

    later: float = 0.0
    per_second: float = 0.0

    def after(self, seconds: float) -> Daylight:
        """The same, so many seconds on."""
        return Daylight(min(LATEST, self.later + self.per_second * seconds), self.per_second)


LATEST = 0.4
STILL = Daylight()


@dataclass(frozen=True)
class Stand:
    """Where a role stands, in stage units, how large, and whether it is seen from behind."""

    role: Role
    x: float
    ground: float = GROUND
    scale: float = 1.0
    back: bool = False


@dataclass(frozen=True)
class Drawing:
    """Frames [F, 3, H, W] in 0 … 1 and where puppets cover them [F, H, W] in 0 … 1."""

    frames: Tensor
    puppets: Tensor


@dataclass(frozen=True)
class Visible:
    """How much of every pixel shows each role, and the prop that each holds [roles, F, H, W], in 0 … 1."""

    puppets: Tensor
    props: Tensor


def _stands(staging: Staging, centre_y: float) -> list[Stand]:
    """The roles on their places, the nearest last."""
    roles = staging.roles
    if staging.view == "close" or len(roles) == 1:
        return [Stand(role, 0.0) for role in roles[:1]]
    if staging.view != "over":
        return [Stand(role, x) for role, x in zip(roles, (-0.62, 0.62), strict=False)]
    far, near = roles
    side = 1.0 if far.facing == "right" else -1.0
    turned = replace(near, facing="left" if side > 0 else "right", action="stands", prop=None)
    feet = centre_y - SHOULDER_SCALE * HEAD_HEIGHT[near.kind] - SHOULDER_SINK
    return [Stand(far, -0.4 * side), Stand(turned, SHOULDER_X * side, feet, SHOULDER_SCALE, back=True)]


def _path(role: Role, home: float, seconds: Tensor) -> Tensor:
    """Where a role stands at each time [F]: walkers enter from behind and ease to a halt ahead."""
    speed = {"walks": 0.35, "carries": 0.35, "runs": 0.95}.get(role.action)
    if speed is None:
        return torch.full_like(seconds, home)
    way = 1.1
    sign = 1.0 if role.facing == "right" else -1.0
    return home + sign * way * (0.5 - torch.exp(-speed * seconds / way))


@dataclass(frozen=True)
class _Painted:
    """A set under one light: layers [3, H, W'], the near layer's opacity [H, W'], and the light on puppets [3, 1, 1]."""

    far: Tensor
    near: Tensor
    near_alpha: Tensor
    light: Tensor

    def seen(self, slide: Callable[[Tensor, float], Tensor], offset_pixels: float) -> Tensor:
        far, near, alpha = self.far, self.near, self.near_alpha
        return torch.lerp(slide(far, offset_pixels * 0.5), slide(near, offset_pixels), slide(alpha, offset_pixels))


@dataclass(frozen=True)
class _Window:
    """Part of the frame: its left column and top row at each frame, and its points `u` [F, 1, T], `v` [F, S, 1]."""

    left: list[int]
    top: list[int]
    u: Tensor
    v: Tensor


@dataclass(frozen=True)
class _Cutout:
    """Colours [F, 3, S, T] and opacity [F, S, T] of a thing in its window."""

    window: _Window
    rgb: Tensor
    alpha: Tensor


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
        daylight: Daylight = STILL,
    ) -> None:
        """`appearances` says how a kind looks whose role does not say it."""
        self.staging, self.width, self.height, self.daylight = staging, width, height, daylight
        self._appearances = dict(appearances or {})
        self._zoom = ZOOM[staging.view]
        self._pixel = 2.0 / (height * self._zoom)
        self._centre_y = 0.0
        if staging.view != "wide":
            self._centre_y = max(GROUND + 0.48, -1.0 + 1.0 / self._zoom)
        if staging.view == "close" and staging.roles:
            first = staging.roles[0]
            lying = {"sleeps": 0.6, "sits": 0.76}.get(first.action, 1.0)
            self._centre_y = GROUND + lying * HEAD_HEIGHT[first.kind] - 0.06
        self._cast = _stands(staging, self._centre_y)
        pan_pixels = 0 if staging.movement == "still" else math.ceil(drift(1e9) / self._pixel) + 1
        left = pan_pixels if staging.movement == "left" else 0
        columns = torch.arange(width + pan_pixels, dtype=torch.float32) - left
        self._canvas_left = left
        x = (columns + 0.5 - width / 2) * self._pixel
        y = self._centre_y - (torch.arange(height, dtype=torch.float32) + 0.5 - height / 2) * self._pixel
        self._x, self._y = x[left : left + width], y
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        painted = []
        for later in (0.0, LATEST) if daylight != STILL else (0.0,):
            air = Air(staging.time, staging.weather, later)
            far, near, near_alpha = paint_set(staging.set, air, layout_seed, grid_x, grid_y, self._pixel)
            painted.append(_Painted(far, near, near_alpha, torch.tensor(air.light(PUPPET_LIGHT))[:, None, None]))
        self._first, self._last = painted[0], painted[-1]
        self._stills: dict[int, Tensor] = {}

    def dressed(self, role: int, look: Appearance) -> Scene:
        """The same scene with another look of a role; nothing is painted anew."""
        again = copy.copy(self)
        roles = list(self.staging.roles)
        roles[role] = replace(roles[role], appearance=look)
        again.staging = replace(self.staging, roles=tuple(roles))
        again._cast = _stands(again.staging, self._centre_y)
        return again

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

    def backdrop(self, camera_x: Tensor, seconds: Tensor) -> Tensor:
        """The empty set [F, 3, H, W]; the far layer moves half as fast."""
        first = self._painted_as(self._first, camera_x)
        if self.daylight == STILL:
            return first
        return torch.lerp(first, self._painted_as(self._last, camera_x), self._later(seconds)[:, None, None, None])

    def _later(self, seconds: Tensor) -> Tensor:
        """How far between the first and the last light [F]."""
        return torch.tensor([self.daylight.after(s).later / LATEST for s in seconds.tolist()])

    def _painted_as(self, painted: _Painted, camera_x: Tensor) -> Tensor:
        if not camera_x.any():
            if id(painted) not in self._stills:
                self._stills[id(painted)] = painted.seen(self._slide, 0.0)
            return self._stills[id(painted)].repeat(len(camera_x), 1, 1, 1)
        return torch.stack([painted.seen(self._slide, x / self._pixel) for x in camera_x.tolist()])

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
        frames = self.backdrop(camera_x, seconds)
        covered = torch.zeros(len(seconds), self.height, self.width)
        light = torch.lerp(self._first.light, self._last.light, self._later(seconds)[:, None, None, None])
        for stand in self._cast:
            self._lay(frames, covered, self._puppet(stand, camera_x, seconds), light)
            if stand.role.prop is not None:
                self._lay(frames, covered, self._prop(stand, camera_x, seconds), light)
        fall(
            self.staging.weather,
            frames,
            seconds,
            self._x / self._pixel * 2 / self.height,
            self._y / self._pixel * 2 / self.height,
        )
        return Drawing(frames.clamp_(0.0, 1.0), covered)

    def visible(self, seconds: Tensor) -> Visible:
        """How much of every pixel shows each role, and what each holds: later ones stand before earlier ones."""
        camera_x = self._camera_x(seconds)
        nothing = torch.zeros(len(seconds), self.height, self.width)
        shown: dict[tuple[int, str], Tensor] = {}
        for index, stand in enumerate(self._cast):
            cutouts = {"puppet": self._puppet(stand, camera_x, seconds)}
            if stand.role.prop is not None:
                cutouts["prop"] = self._prop(stand, camera_x, seconds)
            for what, cutout in cutouts.items():
                covered, canvas = nothing.clone(), nothing[:, None].repeat(1, 3, 1, 1)
                self._lay(canvas, covered, cutout, torch.ones(len(seconds), 3, 1, 1))
                shown = {key: before * (1.0 - covered) for key, before in shown.items()} | {(index, what): covered}
        puppets, props = (
            [shown.get((index, what), nothing) for index in range(len(self._cast))] for what in ("puppet", "prop")
        )
        if not puppets:
            return Visible(nothing[None][:0], nothing[None][:0])
        return Visible(torch.stack(puppets), torch.stack(props))

    def _window(self, x: Tensor, y: Tensor, half_width: float, bottom: float, top: float, pixel: float) -> _Window:
        """The pixels around a thing that stands at `x`, `y` [F] (stage units, before the camera); `pixel` in its own units."""
        columns, rows = math.ceil(2 * half_width / pixel) + 2, math.ceil((top - bottom) / pixel) + 2
        centre = x / self._pixel + self.width / 2  # [F], in pixels
        feet = (self._centre_y - y) / self._pixel + self.height / 2
        left, upper = torch.floor(centre - columns / 2), torch.floor(feet - top / pixel) - 1
        first, last = max(0, int(-upper.max())), min(rows, self.height - int(upper.min()))
        u = (left[:, None] + torch.arange(columns) + 0.5 - centre[:, None]) * pixel
        v = (feet[:, None] - (upper[:, None] + torch.arange(first, max(first, last)) + 0.5)) * pixel
        return _Window(left.long().tolist(), (upper.long() + first).tolist(), u[:, None, :], v[:, :, None])

    def _puppet(self, stand: Stand, camera_x: Tensor, seconds: Tensor) -> _Cutout:
        role = stand.role
        pixel = self._pixel / stand.scale
        ceiling = JUMP_TOP if role.action in ("jumps", "dances") else WINDOW_TOP
        x = _path(role, stand.x, seconds) - camera_x
        window = self._window(x, torch.full_like(x, stand.ground), WINDOW_HALF_WIDTH, WINDOW_BOTTOM, ceiling, pixel)
        look = role.appearance or self._appearances.get(role.kind, PLAIN)
        across = -window.u if role.facing == "left" else window.u
        rgb, alpha = draw_puppet(role.kind, look, motion(role.action, seconds), across, window.v, pixel, stand.back)
        return _Cutout(window, rgb, alpha)

    def _prop(self, stand: Stand, camera_x: Tensor, seconds: Tensor) -> _Cutout:
        """What a role holds. What is given goes over to the other in an arc."""
        role = stand.role
        assert role.prop is not None
        sign = 1.0 if role.facing == "right" else -1.0
        reach, height = HAND[role.kind]
        x = _path(role, stand.x, seconds) + sign * reach * stand.scale
        y = stand.ground + (height + motion(role.action, seconds).lift) * stand.scale
        if role.action == "gives":
            part = (seconds / GIVING_SECONDS).clamp(max=1.0)
            part = part * part * (3 - 2 * part)
            others = [other for other in self._cast if other is not stand]
            hand = HAND[others[0].role.kind] if others else (0.0, height)
            target = others[0].x - sign * hand[0] * others[0].scale if others else stand.x + sign * (reach + 0.25)
            x = torch.lerp(x, torch.full_like(x, target), part)
            y = torch.lerp(y, torch.full_like(y, GROUND + hand[1]), part) + 0.25 * torch.sin(math.pi * part)
        window = self._window(x - camera_x, y, PROP_REACH, -PROP_REACH, PROP_REACH, self._pixel)
        return _Cutout(window, *draw_prop(role.prop, window.u, window.v, self._pixel))

    def _lay(self, frames: Tensor, covered: Tensor, cutout: _Cutout, light: Tensor) -> None:
        window = cutout.window
        rgb, (rows, columns) = cutout.rgb * light, cutout.alpha.shape[1:]
        for frame, (left, top) in enumerate(zip(window.left, window.top, strict=True)):
            across = slice(max(0, left), min(self.width, left + columns))
            down = slice(max(0, top), min(self.height, top + rows))
            if across.start >= across.stop or down.start >= down.stop:
                continue
            inside = (slice(down.start - top, down.stop - top), slice(across.start - left, across.stop - left))
            alpha = cutout.alpha[frame][inside]
            frames[frame, :, down, across].lerp_(rgb[frame][:, *inside], alpha)
            torch.maximum(covered[frame, down, across], alpha, out=covered[frame, down, across])


def layout_seed(film_seed: int, set_name: str) -> int:
    """A location looks the same whenever the film returns to it."""
    version = film_seed.version if isinstance(film_seed, FilmSeed) else NEWEST
    return stable_seed(film_seed, "layout", set_name, version=version)
