"""A language model that says what it was told to say: for tests, demonstrations, and work without a network.

A script is YAML: a list of answers, each with the name of what it answers, perhaps words that must stand in what is asked (scenes are
planned side by side), and the answer (or `text`, as it is)::

    - {for: Outline, answer: {title: …}}
    - {for: Shots, when: 'Beat "setup"', answer: {shots: […]}}
    - {for: Outline, text: "not JSON"}

The first answer left that fits is given and crossed out; the last one that fits stays.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ...storyboard.errors import InputError, reason_of
from ...storyboard.yaml_files import line_of, place_name, read_yaml_file
from .language import Completion, Message, ModelError, Usage, WrongAccess

CHARACTERS_OF_TOKEN = 4
MAX_SCRIPTED_BYTES = 8_000_000


class Said(BaseModel):
    """One answer of a script."""

    model_config = ConfigDict(extra="forbid")

    for_: str = Field(alias="for")
    when: str = ""
    answer: Any = None
    text: str | None = None
    fails: Literal["refused", "cut off", "unreachable"] | None = None


class ScriptedModel:
    """See `language.LanguageModel`; `heard` keeps what it was asked."""

    def __init__(self, name: str, answers: Sequence[Said]) -> None:
        self.name = name
        self._left = list(answers)
        self._lock = threading.Lock()
        self.heard: list[Sequence[Message]] = []

    @classmethod
    def read(cls, path: Path) -> ScriptedModel:
        """Reads a script.

        Raises:
            WrongAccess: it is missing or malformed.
        """
        try:
            loaded = read_yaml_file(path, MAX_SCRIPTED_BYTES)
            return cls(f"scripted:{path}", TypeAdapter(list[Said]).validate_python(loaded))
        except InputError as error:
            raise WrongAccess(f"scripted model {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            place = f"{path}:{line_of(loaded, first['loc'])}: {place_name(first['loc'])}"
            raise WrongAccess(f"scripted model {place}: {reason_of(first)}") from None

    def complete(self, messages: Sequence[Message], schema: dict[str, Any], images: Sequence[bytes] = ()) -> Completion:
        """See `LanguageModel.complete`."""
        told = "\n".join(message.text for message in messages)
        with self._lock:
            self.heard.append(messages)
            wanted = [said for said in self._left if said.for_ == schema["title"] and said.when in told]
            if not wanted:
                raise ModelError(f"{self.name} has no answer for this {schema['title']}")
            said = wanted[0]
            if len(wanted) > 1:
                self._left.remove(said)
        if said.fails:
            raise ModelError(f"{self.name}: {said.fails}")
        text = said.text if said.text is not None else json.dumps(said.answer, ensure_ascii=False)
        sent = sum(len(message.text) for message in messages)
        return Completion(text, Usage(1, sent // CHARACTERS_OF_TOKEN, len(text) // CHARACTERS_OF_TOKEN))
