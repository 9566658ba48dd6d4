"""The errors a person can mend. Everything else is a bug and keeps its traceback."""


class FilmwrightError(Exception):
    """Work that failed for a reason outside the code: one line that names the value and the fix."""

    exit_code = 1


class InputError(FilmwrightError):
    """Something the user gave is wrong; nothing has been done yet."""

    exit_code = 2


class WaitsForPerson(FilmwrightError):
    """A review is pending and nobody is there to answer; everything so far is saved."""

    exit_code = 3
