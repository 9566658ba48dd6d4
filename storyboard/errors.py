"""The errors a person can mend. Everything else is a bug and keeps its traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plain_text import one_line
from .redaction import hide_keys

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SHOWN_INPUT = 80
MAX_SAID = 2000
"""Characters of an error line."""


class FilmwrightError(Exception):
    """Work that failed for a reason outside the code: one line that names the value and the fix."""

    exit_code = 1

    def __str__(self) -> str:
        said = one_line(hide_keys(super().__str__()[: 4 * MAX_SAID]))
        return said if len(said) <= MAX_SAID else f"{said[:MAX_SAID]} …"


class InputError(FilmwrightError):
    """Something the user gave is wrong; nothing has been done yet."""

    exit_code = 2


class WaitsForPerson(FilmwrightError):
    """A review is pending and nobody is there to answer; everything so far is saved."""

    exit_code = 3


def reason_of(error: ErrorDetails) -> str:
    """Why pydantic refused a value, with the value."""
    reason = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return "unknown key; remove it or mend its spelling"
    if error["type"] in ("value_error", "missing"):
        return reason
    return f"{reason} (got {repr(error['input'])[:SHOWN_INPUT]})"
