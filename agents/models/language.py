"""Language models behind one small protocol, and structured answers from them: JSON by schema, validated here, with one repair
turn that shows the model its own error.

Nothing here chooses a provider: a film uses the model that it was told to use, and a key in the environment selects nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ValidationError

from ...storyboard.errors import FilmwrightError, InputError

Value = TypeVar("Value", bound=BaseModel)
REPAIR_PROBLEMS = 8
"""Problems of an answer that its repair turn names."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, or of several."""

    calls: int = 0
    sent: int = 0
    received: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.calls + other.calls, self.sent + other.sent, self.received + other.received)


CHARACTERS_OF_TOKEN = 3
TOKENS_OF_IMAGE = 1600


def guess_usage(messages: Sequence[Message], images: Sequence[bytes] = (), text: str = "") -> Usage:
    """A cautious guess of what a call and its answer so far come to: before the call, and where the provider's own count never
    came."""
    sent = sum(len(m.text) for m in messages) // CHARACTERS_OF_TOKEN + len(images) * TOKENS_OF_IMAGE
    return Usage(1, sent, len(text) // CHARACTERS_OF_TOKEN)


class ModelError(FilmwrightError):
    """A language model could not answer; what it has answered before is kept. Providers charge for many an answer that is of no
    use: `usage` is what this one took."""

    usage = Usage(1)

    def after(self, usage: Usage) -> Self:
        """The same, of a call that took so much."""
        self.usage = usage
        return self


class ModelRefused(ModelError):
    """The model, or its provider's filter, declined."""


class AnswerCutOff(ModelError):
    """The answer was longer than the model may give, or the connection broke in the middle."""


class BadAnswer(ModelError):
    """Still not what was asked for after the repair turn."""


class Unreachable(ModelError):
    """No answer: the server is not there, too slow, or failing."""


class RateLimited(ModelError):
    """The provider's limit stayed reached through all retries."""


class WrongAccess(InputError):
    """The key, the address or the model's name is wrong."""


@dataclass(frozen=True)
class Completion:
    """What a model answered, as text."""

    text: str
    usage: Usage


class LanguageModel(Protocol):
    """A language model of some provider."""

    name: str
    """As it was asked for, such as `openai:gpt-5`."""

    def complete(self, messages: Sequence[Message], schema: dict[str, Any], images: Sequence[bytes] = ()) -> Completion:
        """One answer in JSON by the schema (whose `title` names it); `images` (JPEG) go with the last message.

        Raises:
            ModelError: no usable answer; says which kind.
            WrongAccess: key, address or model are wrong.
        """


@dataclass(frozen=True)
class Answered:
    """A valid answer, what it took, and whether it was valid at once."""

    value: Any
    usage: Usage
    repaired: bool


def ask(
    model: LanguageModel,
    messages: Sequence[Message],
    answer: type[Value],
    *,
    images: Sequence[bytes] = (),
    check: Callable[[Value], list[str]] = lambda value: [],
) -> Answered:
    """A valid answer of a type.

    Args:
        check: problems of an answer that its type cannot express; none when it is good.

    Raises:
        BadAnswer: not valid after one repair turn; the message holds the first problem.
        ModelError, WrongAccess: as `LanguageModel.complete`.
    """
    schema = plain_schema(answer)
    said = model.complete(messages, schema, images)
    value, problems = _read(said.text, answer, check)
    if value is not None:
        return Answered(value, said.usage, False)
    listed = "\n".join(f"- {problem}" for problem in problems[:REPAIR_PROBLEMS])
    turns = [
        *messages,
        Message("assistant", said.text[:20_000]),
        Message("user", f"That answer is not valid:\n{listed}\nAnswer again, whole, as JSON by the same schema, and nothing else."),
    ]  # fmt: skip
    again = model.complete(turns, schema, images)
    value, problems = _read(again.text, answer, check)
    if value is None:
        raise BadAnswer(
            f"{model.name} gave no valid {answer.__name__} in two tries: {problems[0]}; try again, or another model"
        )
    return Answered(value, said.usage + again.usage, True)


def _read(text: str, answer: type[Value], check: Callable[[Value], list[str]]) -> tuple[Value | None, list[str]]:
    """The value and no problems, or None and what is wrong."""
    try:
        data = json.loads(_unfenced(text))
    except json.JSONDecodeError as error:
        return None, [f"not JSON: {error.msg} at character {error.pos}"]
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or depth
        return None, [f"not JSON that can be read: {error}"]
    try:
        value = answer.model_validate(data)
    except ValidationError as error:
        found = []
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"])
            found.append(f"{place + ': ' if place else ''}{problem['msg'].removeprefix('Value error, ')}")
        return None, found
    problems = check(value)
    return (None, problems) if problems else (value, [])


def _unfenced(text: str) -> str:
    """Without the Markdown fence that some servers' models put round JSON."""
    body = text.strip()
    if body.startswith("```"):
        body = body.partition("\n")[2].rpartition("```")[0]
    return body


_KEPT = ("type", "enum", "description", "items", "properties", "anyOf", "title")


def plain_schema(answer: type[BaseModel]) -> dict[str, Any]:
    """A JSON schema in the words that all providers know: no references, defaults, constants or limits (`ask` checks limits),
    every property required and no other allowed.

    Raises:
        TypeError: the type is recursive or has open dictionaries.
    """
    whole = answer.model_json_schema()
    known = whole.get("$defs", {})

    def plain(node: dict[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name in inside:
                raise TypeError(f"{answer.__name__}: {name} holds itself")
            return plain({**known[name], **{k: v for k, v in node.items() if k != "$ref"}}, (*inside, name))
        if "const" in node:
            node = {**node, "enum": [node["const"]], "type": "string"}
        out = {key: value for key, value in node.items() if key in _KEPT and key != "title"}
        if "anyOf" in node:
            out["anyOf"] = [plain(option, inside) for option in node["anyOf"]]
        if "items" in node:
            out["items"] = plain(node["items"], inside)
        if node.get("type") == "object":
            if "properties" not in node:
                raise TypeError(f"{answer.__name__} has an open dictionary")
            out["properties"] = {name: plain(value, inside) for name, value in node["properties"].items()}
            out["required"], out["additionalProperties"] = list(out["properties"]), False
        return out

    return {"title": answer.__name__, **plain(whole, ())}
