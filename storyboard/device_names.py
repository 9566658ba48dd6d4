"""Names that Windows keeps for devices: no file or folder may be called so there, in any case and before any ending."""

from __future__ import annotations

DEVICES = frozenset(
    (
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"),
    )
)


def is_device_name(name: str) -> bool:
    """True for a name that Windows keeps for a device."""
    return name.partition(".")[0].rstrip(" ").lower() in DEVICES


def no_device_name(name: str) -> str:
    """The name, unless Windows keeps it.

    Raises:
        ValueError: it does.
    """
    if is_device_name(name):
        raise ValueError(f"{name!r} is a name that Windows keeps for a device: choose another, such as {name}-a")
    return name
