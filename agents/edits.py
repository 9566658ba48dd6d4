"""What a person does to a production without shooting: choosing a take, renaming, naming shots."""

from __future__ import annotations

from collections.abc import Sequence

from ..storyboard.errors import InputError
from ..storyboard.production import Production
from ..storyboard.rename import rename_entity
from ..storyboard.takes import circle, damage_of, takes_of


def circle_take(production: Production, shot_id: str, take: int) -> None:
    """Chooses a take for the cut.

    Raises:
        InputError: there is no such shot or take; lists those there are.
    """
    script = production.read_script()
    known = [shot.id for shot in script.shots()]
    if shot_id not in known:
        raise InputError(f"shot {shot_id!r} is unknown: this film has {', '.join(known)}")
    there = [number for number in takes_of(production, shot_id) if damage_of(production, shot_id, number) is None]
    if take not in there:
        has = f"it has {', '.join(map(str, there))}" if there else "it has none yet"
        raise InputError(f"shot {shot_id} has no whole take {take}: {has}")
    with production.lock():
        circle(production, shot_id, take, by_person=True)
        production.log("circle", shot=shot_id, take=take)


def rename(production: Production, old: str, new: str) -> list[str]:
    """Renames an entity everywhere the script names it; returns the places.

    Raises:
        InputError: nobody is called so, or somebody else is called that already.
    """
    with production.lock():
        renamed = rename_entity(production.read_script(), old, new)
        if renamed.places:
            production.write_script(renamed.script)
            production.log("rename", old=old, new=new, places=renamed.places)
    return renamed.places


def parse_shots(text: str | None) -> list[int] | None:
    """Positions like `3,5-7`; None means all that are stale.

    Raises:
        InputError: not a list of positions and ranges.
    """
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise InputError(f"--shots {part.strip()!r} is no position: write positions and ranges like 3,5-7")
        low, high = int(first), int(last or first)
        if high < low or high > 100_000:
            raise InputError(f"--shots {part.strip()!r} is no range: write positions and ranges like 3,5-7")
        found += range(low, high + 1)
    return list(dict.fromkeys(found))


def check_positions(shots: Sequence[int] | None, total: int) -> None:
    """Refuses positions that a film of `total` shots does not have.

    Raises:
        InputError: names the first one.
    """
    for number in shots or ():
        if not 1 <= number <= total:
            raise InputError(f"--shots {number}: this film has shots 1 to {total}")
