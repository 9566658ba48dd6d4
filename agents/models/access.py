"""What the providers share: keys and addresses that can be right, how often to try, and the words for an answer that did not come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from ...storyboard.errors import FilmwrightError
from ...storyboard.redaction import Secrets, shown_url
from .language import AnswerCutOff, Unreachable, WrongAccess

RETRIES = 4
"""With back-off, on 408, 409, 429 and 5xx only, and when no connection comes about; Retry-After is obeyed."""


def checked_key(name: str, value: str | None, example: str, stranger: str) -> str:
    """An API key that can be one.

    Args:
        example: how keys of this provider begin; `stranger`: how those of another do.

    Raises:
        WrongAccess: missing, with blanks or quotes in it, or another provider's.
    """
    if not value:
        raise WrongAccess(f"{name} is not set: export your key, or name a local server")
    if value != value.strip() or any(c.isspace() or c in "\"'" for c in value):
        raise WrongAccess(f"{name} has blanks or quotes in it: copy the key alone")
    if not (value.isascii() and value.isprintable()):
        raise WrongAccess(f"{name} has characters in it that no key has: copy the key alone")
    if value.startswith(stranger):
        raise WrongAccess(
            f"{name} begins with {stranger}, as another provider's keys do; this one's begin with {example}"
        )
    if value.startswith(example) and len(value) < 20:
        raise WrongAccess(f"{name} has only {len(value)} characters: it was copied in part")
    return value


def checked_url(name: str, value: str) -> str:
    """A server's address.

    Raises:
        WrongAccess: not http(s), or the address of one call instead of the server's.
    """
    shown = shown_url(value)
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a bracket or a port that is none
        whole = False
    if not whole or not value.isprintable():
        raise WrongAccess(f"{name}={shown!r} is no address: write it like http://localhost:11434/v1")
    for call in ("/chat/completions", "/completions", "/responses"):
        if parts.path.rstrip("/").endswith(call):
            raise WrongAccess(f"{name}={shown!r} is the address of one call: leave {call} out")
    return value.rstrip("/")


@contextmanager
def without_secrets(secrets: Secrets) -> Iterator[None]:
    """Takes secrets out of the errors that leave the block."""
    try:
        yield
    except FilmwrightError as error:
        error.args = tuple(secrets.hide(part) if isinstance(part, str) else part for part in error.args)
        raise


def redirected(variable: str, status: int, target: str) -> WrongAccess:
    """The server sends the call elsewhere; nobody named that place, so neither key nor story goes there."""
    where = f" to {shown_url(target)}" if target else ""
    return WrongAccess(f"the server answers with a redirect{where} ({status}): if you trust it, name it in {variable}")


def broke_off(name: str, how: str) -> AnswerCutOff:
    """The connection ended in the middle of an answer."""
    return AnswerCutOff(f"{name} broke off its answer ({how}): run the same command again")


def ran_out(name: str, text: str) -> AnswerCutOff:
    """The answer grew longer than the model may say."""
    return AnswerCutOff(
        f"{name} reached its longest answer after {len(text)} characters: use a model that may say more"
    )


def too_slow(name: str) -> Unreachable:
    """No piece of an answer came in time."""
    return Unreachable(f"{name} gave no answer in time: raise FILMWRIGHT_MODEL_TIMEOUT (seconds), or try later")
