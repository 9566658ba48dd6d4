"""Language models by name: `openai:MODEL`, `gemini:MODEL`, `scripted:FILE`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...storyboard.errors import InputError
from ...storyboard.redaction import hide_keys
from .language import LanguageModel

PROVIDERS = ("openai", "gemini", "scripted")
PICTURE_PROVIDERS = ("openai", "gemini")
EXAMPLES = "openai:MODEL, gemini:MODEL"
TIMEOUT_SECONDS = 120.0


def is_model(name: str) -> bool:
    """Whether a name means a language model."""
    return name.partition(":")[0] in PROVIDERS


def open_model(
    name: str,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    environment: Mapping[str, str] | None = None,
    transport: Any = None,
) -> LanguageModel:
    """A language model. No call is made.

    Args:
        environment: where keys and addresses are; the process's own by default.
        transport: what carries the calls, for tests.

    Raises:
        InputError: no such provider, no model named, or key or address cannot be right.
    """
    provider, _, model = name.partition(":")
    if hide_keys(name) != name:
        raise InputError("the name of a language model looks like an API key: write PROVIDER:MODEL, and export the key")
    if provider not in PROVIDERS:
        raise InputError(f"language model {name!r} is unknown: write {EXAMPLES}")
    if not model:
        raise InputError(f"{provider}: says no model: write {provider}:MODEL")
    if provider == "scripted":
        from .scripted import ScriptedModel

        return ScriptedModel.read(Path(model))
    where = os.environ if environment is None else environment
    if provider == "openai":
        from .openai import OpenAIModel

        return OpenAIModel(model, where, timeout_seconds=timeout_seconds, transport=transport)
    from .gemini import GeminiModel

    return GeminiModel(model, where, timeout_seconds=timeout_seconds, transport=transport)
