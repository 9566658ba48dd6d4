"""Refusal of whatever in a production leads out of it: links, devices, pipes, sockets.

A production may come from a stranger. filmwright appends to its files, replaces and removes them, so a name inside it must
never stand for something outside.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .errors import InputError

SKIPPED = ".git"
"""The folder of a production's version control. filmwright neither reads nor writes it, and it can be large."""
WRITTEN_IN_PLACE = (
    "log.jsonl",
    ".lock",
    *(f"session.sqlite{end}" for end in ("", "-wal", "-shm", "-journal")),
)
"""Files that are changed rather than replaced: a second name of one, anywhere, would change with it."""


def refuse_links(folder: Path) -> None:
    """Refuses a production that holds a link, a device, a pipe or a socket; the folder itself may be a link.

    One walk, which opens no file. Call it before anything in the folder is read or written.

    Raises:
        InputError: names what was found, where it leads and the fix.
    """
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    path = current / entry.name
                    if current == folder and entry.name == SKIPPED:
                        continue
                    if entry.is_symlink() or _is_junction(entry):
                        raise InputError(_describe_link(path, folder))
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                    elif not entry.is_file(follow_symlinks=False):
                        raise InputError(f"{path} is {_kind(path)}, not a file: remove it")
        except OSError as error:
            raise InputError(f"cannot read {current}: {error.strerror or error}") from None
    for name in WRITTEN_IN_PLACE:
        if _names_of(folder / name) > 1:
            raise InputError(
                f"{folder / name} is also called by another name (a hard link), which would change with it: "
                "replace it by a copy"
            )


def refuse_link(path: Path, folder: Path) -> None:
    """The same for one path: it and the folders above it, up to the production's.

    Raises:
        InputError: one of them is a link.
    """
    for part in [path, *path.parents]:
        if part == folder:
            return
        if part.is_symlink() or _is_junction(part):
            raise InputError(_describe_link(part, folder))


def _is_junction(entry: os.DirEntry[str] | Path) -> bool:
    """True for the mount points of Windows, which `is_symlink` does not count."""
    if os.name != "nt":
        return False
    try:
        found = os.lstat(entry)
    except OSError:
        return False
    return getattr(found, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", 0xA0000003)


def _describe_link(path: Path, folder: Path) -> str:
    """What a link is, where it leads and the fix."""
    try:
        target = str(path.readlink())
    except OSError:
        return f"{path} is a link that cannot be read: replace it by a copy"
    leads = f"{path} is a link to {target!r}"
    try:
        resolved = path.resolve(strict=True)
    except FileNotFoundError:
        return f"{leads}, which does not exist: remove it"
    except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
        return f"{leads}, which leads back to itself or nowhere: remove it"
    if resolved.is_relative_to(folder.resolve()):
        return (
            f"{leads}: a production holds no links, as one name is replaced and the other is not; replace it by a copy"
        )
    return f"{leads}, outside the production: replace it by a copy"


def _kind(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return "unreadable"
    if stat.S_ISFIFO(mode):
        return "a pipe (FIFO)"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "of an unknown kind"


def _names_of(path: Path) -> int:
    """How many names a file has on its disk; 0 if it is not there, or no file."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return found.st_nlink if stat.S_ISREG(found.st_mode) else 0
