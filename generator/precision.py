"""Which precision a device multiplies matrices in faster: bf16 on accelerators and on processors that have instructions for
it, fp32 on the others, where bf16 is emulated and takes five times as long. And in which order it takes pictures."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch

Precision = Literal["auto", "bf16", "fp32"]
NATIVE = ("amx_bf16", "avx512_bf16", "bf16")
"""What processors call their bf16 instructions, in `torch.cpu.get_capabilities`."""


@cache
def bf16_is_native(device_type: str) -> bool:
    """Whether bf16 is faster than fp32 there, as far as the device tells; a CPU that tells nothing counts as one without."""
    if device_type != "cpu":
        return True
    has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(has.get(name)) for name in NATIVE)


def picture_layout(device: torch.device) -> torch.memory_format:
    """Channels last, as convolutions of oneDNN and cuDNN want it: with bf16 a CPU decodes in less than half the time. Metal's have
    had bugs with it."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def arithmetic(device: torch.device, precision: Precision = "auto") -> torch.autocast:
    """The precision of matrix products in training; weights stay fp32. `auto` is the faster one."""
    bf16 = bf16_is_native(device.type) if precision == "auto" else precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)
