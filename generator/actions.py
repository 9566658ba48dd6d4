"""What a puppet does: it is followed over a second and a half, and a small network looks at how it moves.

Legend: `T` moments, `h`, `w` rows and columns of cells, `S` side of the window around a puppet.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EVERY = 2
"""Of the frames, one is looked at."""
MOMENTS = 12
SIDE = 32
CHANNELS = 5
"""Red, green, blue, the puppet, and any prop."""
MOVING, LOUDER = 4, 3.0
"""Channels that are also shown as what differs from their mean over time, and how much louder: mouths and arms are small."""
ROOM = 0.75
"""Half of the window's side, in heights of the puppet."""


def follow(frames_T3HW: Tensor, puppet_Thw: Tensor, props_Thw: Tensor) -> tuple[Tensor, Tensor]:
    """Windows around a puppet and where it is.

    Args:
        frames_T3HW: in 0 … 1; puppet_Thw, props_Thw: how much of every cell they fill.

    Returns:
        Windows [T, 5, S, S], moving with the puppet sideways but not upwards; and its path [T, 3]: across and up in window sides
        from where it is on average, and its area against its mean.
    """
    count, (rows, columns), device = len(frames_T3HW), frames_T3HW.shape[2:], frames_T3HW.device
    grown = F.interpolate(torch.stack([puppet_Thw, props_Thw], dim=1), (rows, columns), mode="nearest")
    area = puppet_Thw.mean(dim=(1, 2))
    mean = area.mean().clamp(min=1e-4)
    y, x = (torch.linspace(-1 + 1 / n, 1 - 1 / n, n, device=device) for n in puppet_Thw.shape[1:])
    weight = area.clamp(min=1e-6) * puppet_Thw[0].numel()
    across = torch.einsum("thw,w->t", puppet_Thw, x) / weight
    down = torch.einsum("thw,h->t", puppet_Thw, y) / weight
    seen = area > 0.2 * mean
    middle_x, middle_y = (v[seen].mean() if seen.any() else v.new_zeros(()) for v in (across, down))
    across, down = torch.where(seen, across, middle_x), torch.where(seen, down, middle_y)
    height = (2.0 * mean * rows * columns).sqrt()  # puppets are about half as wide as high
    half_y, half_x = 2 * ROOM * height / rows, 2 * ROOM * height / columns
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1] = half_x, half_y
    theta[:, 0, 2], theta[:, 1, 2] = across, middle_y
    grid = F.affine_grid(theta, [count, CHANNELS, SIDE, SIDE], align_corners=False)
    windows = F.grid_sample(torch.cat([frames_T3HW, grown], dim=1), grid, align_corners=False)
    path = torch.stack([(across - middle_x) / half_x, (middle_y - down) / half_y, area / mean - 1.0], dim=1)
    return windows, path


class ActionHead(nn.Module):
    """Windows [B, T, 5, S, S] and paths [B, T, 3] to logits [B, n]: what moves in every window, and how that goes on."""

    def __init__(self, actions: int, width: int = 16) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(CHANNELS + MOVING, width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(4 * width * (SIDE // 8) ** 2, 4 * width),
        )  # fmt: skip
        self.move = nn.Sequential(
            nn.Conv1d(4 * width + 3, 6 * width, 3, padding=1), nn.SiLU(), nn.Conv1d(6 * width, 6 * width, 3, padding=1), nn.SiLU(),
        )  # fmt: skip
        self.say = nn.Linear(12 * width, actions)

    def forward(self, windows: Tensor, path: Tensor) -> Tensor:
        batch, moments = windows.shape[:2]
        moving = windows[:, :, :MOVING]
        windows = torch.cat([windows, LOUDER * (moving - moving.mean(dim=1, keepdim=True))], dim=2)
        seen = self.look(windows.flatten(0, 1)).view(batch, moments, -1)
        moved = self.move(torch.cat([seen, path], dim=-1).transpose(1, 2))
        said: Tensor = self.say(torch.cat([moved.mean(dim=-1), moved.amax(dim=-1)], dim=-1))
        return said


def mirrored(windows: Tensor, path: Tensor) -> tuple[Tensor, Tensor]:
    """The same puppet facing the other way."""
    return windows.flip(-1), path * torch.tensor([-1.0, 1.0, 1.0], device=path.device)
