"""Pictures by a provider's image model, for casting; only where one is named."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image, UnidentifiedImageError

from .language import ModelError
from .openai import OpenAIModel
from .purse import Purse


class ImageModel:
    """Draws pictures; see `casting.Painter`."""

    def __init__(
        self, name: str, purse: Purse, tell: Callable[[dict[str, Any]], None], *, environment: Mapping[str, str],
        timeout_seconds: float, transport: Any = None,
    ) -> None:  # fmt: skip
        """Raises:
        WrongAccess: key or address cannot be right.
        """
        provider, _, model = name.partition(":")
        self.name, self._model, self._purse, self._tell = name, model, purse, tell
        self._access: Any
        if provider == "openai":
            self._access = OpenAIModel(model, environment, timeout_seconds=timeout_seconds, transport=transport)
        else:
            from .gemini import GeminiModel

            self._access = GeminiModel(model, environment, timeout_seconds=timeout_seconds, transport=transport)

    def paint(self, prompt: str) -> Image.Image:
        """A picture of a prompt.

        Raises:
            ModelError: no picture; says which kind.
            WrongAccess: key, address or model are wrong.
        """
        reserved = self._purse.reserve_picture(self.name)
        made = 0
        try:
            data = self._access.picture(prompt)
            made = 1
        finally:
            dollars = self._purse.settle_pictures(reserved, made)
            self._tell(
                {
                    "model": self.name,
                    "for": "picture",
                    "sent_tokens": 0,
                    "received_tokens": 0,
                    "dollars": round(dollars, 6),
                    "seconds": 0.0,
                }
            )
        try:
            picture = Image.open(io.BytesIO(data))
            picture.load()
        except (UnidentifiedImageError, OSError) as error:
            raise ModelError(f"{self.name} sent no picture that can be read: {error}") from None
        return picture.convert("RGB")
