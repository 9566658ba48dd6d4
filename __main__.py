"""The `filmwright` command, also as `python -m filmwright`. Sets the signal handlers before it imports anything heavy."""

from __future__ import annotations

import sys

from .console import stopping


def main() -> None:
    """Runs the command line: exit codes 0, 1, 2, 3 as commands give them, 128 + the signal's number when one ended the run."""
    stopping.install()
    try:
        with stopping.armed():
            code = _run()
    except BaseException:
        number = stopping.received()
        if number is None:
            raise
        stopping.end(number)
    sys.exit(code)


def _run() -> int:
    import warnings

    from .console.streams import open_streams, output_failure
    from .storyboard.plain_text import one_line

    open_streams()
    warnings.formatwarning = lambda message, *_, **__: f"filmwright: {one_line(str(message))}\n"
    code, reason = 0, None
    try:
        from .cli import app

        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except OSError:  # standard output's, while help was printed; else a bug
        reason = output_failure()
        if reason is None:
            raise
    reason = reason if reason is not None else output_failure()
    if reason:  # empty for a reader that has gone: it has what it wanted
        print(f"filmwright: cannot write to standard output: {reason}; everything finished is kept", file=sys.stderr)
    return code if reason is None else code or 1


if __name__ == "__main__":
    main()
