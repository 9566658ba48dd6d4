"""Pictures by a provider's image model, for casting; only where one is named."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any, Protocol

from PIL import Image, UnidentifiedImageError

from .language import ModelError
from .purse import Purse


class PictureModel(Protocol):
    """What a provider's model must be able to do."""

    name: str

    def picture(self, prompt: str) -> bytes:
        """A picture of a prompt, as a file."""


class PaidPainter:
    """Draws pictures that are paid from a purse and told of; see `casting.Painter`."""

    def __init__(self, model: PictureModel, purse: Purse, tell: Callable[[dict[str, Any]], None]) -> None:
        self.name, self._model, self._purse, self._tell = model.name, model, purse, tell

    def paint(self, prompt: str) -> Image.Image:
        """A picture of a prompt.

        Raises:
            ModelError: no picture; says which kind.
            WrongAccess: key, address or model are wrong.
        """
        reserved, began, made = self._purse.reserve_picture(self.name), time.perf_counter(), 0
        try:
            data = self._model.picture(prompt)
            made = 1
        finally:
            dollars = self._purse.settle_pictures(reserved, made)
            self._tell({
                "model": self.name, "for": "picture", "sent_tokens": 0, "received_tokens": 0, "dollars": round(dollars, 6),
                "seconds": round(time.perf_counter() - began, 2),
            })  # fmt: skip
        try:
            picture = Image.open(io.BytesIO(data))
            picture.load()
        except (UnidentifiedImageError, OSError) as error:
            raise ModelError(f"{self.name} sent no picture that can be read: {error}") from None
        return picture.convert("RGB")
