"""Gemini through google-genai."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...storyboard.redaction import Secrets, shown_url
from .access import RETRIES, broke_off, checked_key, checked_url, ran_out, redirected, too_slow, without_secrets
from .language import (
    Completion,
    Message,
    ModelError,
    ModelRefused,
    RateLimited,
    Unreachable,
    Usage,
    WrongAccess,
    guess_usage,
)

HOME = "https://generativelanguage.googleapis.com"
TRANSIENT = [408, 409, 429, 500, 502, 503, 504]
DECLINED = {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR"}


class GeminiModel:
    """See `language.LanguageModel`."""

    def __init__(
        self, model: str, environment: Mapping[str, str], *, timeout_seconds: float, transport: Any = None
    ) -> None:
        """`transport`: what carries the calls, for tests.

        Raises:
            WrongAccess: key or address cannot be right.
        """
        from google import genai
        from google.genai.types import HttpOptions, HttpRetryOptions

        self.name, self._model = f"gemini:{model}", model
        key = checked_key("GEMINI_API_KEY", environment.get("GEMINI_API_KEY"), "AIza", "sk-")
        url = environment.get("GOOGLE_GEMINI_BASE_URL")
        self._url = checked_url("GOOGLE_GEMINI_BASE_URL", url) if url else HOME
        self._secrets, self._shown = Secrets.of([key], [url]), shown_url(self._url)
        self._client = genai.Client(
            api_key=key, vertexai=False,
            http_options=HttpOptions(
                base_url=self._url, timeout=round(timeout_seconds * 1000),
                retry_options=HttpRetryOptions(attempts=RETRIES + 1, http_status_codes=TRANSIENT),
                client_args={"follow_redirects": False} | ({} if transport is None else {"transport": transport}),
            ),
        )  # fmt: skip

    def complete(self, messages: Sequence[Message], schema: dict[str, Any], images: Sequence[bytes] = ()) -> Completion:
        """See `LanguageModel.complete`."""
        with without_secrets(self._secrets):
            answer = self._complete(messages, schema, images)
        return Completion(self._secrets.exact(answer.text), answer.usage)

    def _complete(self, messages: Sequence[Message], schema: dict[str, Any], images: Sequence[bytes]) -> Completion:
        import httpx2
        from google.genai import errors, types

        system = "\n\n".join(m.text for m in messages if m.role == "system")
        turns = [
            types.Content(role="model" if m.role == "assistant" else "user", parts=[types.Part(text=m.text)])
            for m in messages
            if m.role != "system"
        ]
        if images and turns[-1].parts is not None:
            turns[-1].parts += [types.Part.from_bytes(data=image, mime_type="image/jpeg") for image in images]
        config = types.GenerateContentConfig(
            system_instruction=system or None, response_mime_type="application/json", response_json_schema=schema
        )
        contents: Any = turns
        try:
            stream = self._client.models.generate_content_stream(model=self._model, contents=contents, config=config)
            return self._collect(stream, messages, images)
        except errors.APIError as error:
            raise self._explained(error, bool(images)) from None
        except httpx2.TimeoutException:
            raise too_slow(self.name) from None
        except httpx2.ConnectError as error:
            raise Unreachable(
                f"no connection to {self._shown} ({self._said(error)}): is it reachable from here?"
            ) from None
        except (httpx2.HTTPError, json.JSONDecodeError, errors.UnknownApiResponseError) as error:
            raise broke_off(self.name, self._said(error)).after(guess_usage(messages, images)) from None

    def picture(self, prompt: str) -> bytes:
        """A picture of a prompt, as a file.

        Raises:
            ModelError, WrongAccess: as `LanguageModel.complete`.
        """
        with without_secrets(self._secrets):
            return self._picture(prompt)

    def _picture(self, prompt: str) -> bytes:
        import httpx2
        from google.genai import errors, types

        try:
            made = self._client.models.generate_content(
                model=self._model, contents=prompt, config=types.GenerateContentConfig(response_modalities=["IMAGE"])
            )
        except errors.APIError as error:
            raise self._explained(error, False) from None
        except httpx2.HTTPError as error:
            raise Unreachable(f"no picture from {self._shown} ({self._said(error)})") from None
        for candidate in made.candidates or ():
            for part in (candidate.content.parts if candidate.content else None) or ():
                if part.inline_data is not None and part.inline_data.data:
                    return bytes(part.inline_data.data)
        raise ModelRefused(f"{self.name} sent no picture: it was filtered, or the model draws none")

    def _collect(self, stream: Any, messages: Sequence[Message], images: Sequence[bytes]) -> Completion:
        text, finished, blocked, usage = "", None, None, None
        for piece in stream:
            if piece.prompt_feedback is not None and piece.prompt_feedback.block_reason is not None:
                blocked = piece.prompt_feedback.block_reason.name.lower()
            if piece.usage_metadata is not None:
                u = piece.usage_metadata
                received = (u.candidates_token_count or 0) + (u.thoughts_token_count or 0)
                usage = Usage(1, u.prompt_token_count or 0, received)
            for candidate in piece.candidates or ():
                parts = (candidate.content.parts if candidate.content else None) or ()
                text += "".join(part.text or "" for part in parts if not part.thought)
                finished = candidate.finish_reason.name if candidate.finish_reason else finished
        usage = usage or guess_usage(messages, images, text)
        if blocked:
            raise ModelRefused(f"{self.name} declined the request: {blocked}").after(usage)
        if finished in DECLINED:
            raise ModelRefused(
                f"{self.name} declined to go on ({finished.lower()}): change the story, or the model"
            ).after(usage)
        if finished == "MAX_TOKENS":
            raise ran_out(self.name, text).after(usage)
        if finished is None:
            raise broke_off(self.name, f"after {len(text)} characters").after(usage)
        return Completion(text, usage)

    def _explained(self, error: Any, with_images: bool) -> ModelError | WrongAccess:
        """A refusal of the server in the words of whoever has to mend it."""
        said = self._secrets.hide(str(error.message or error).replace("\n", " "))[:300]
        told = said.lower()
        match error.code:
            case code if 300 <= code < 400:
                headers = getattr(error.response, "headers", {})
                return redirected("GOOGLE_GEMINI_BASE_URL", code, headers.get("location", ""))
            case 401 | 403:
                return WrongAccess(f"{self._shown} refused the key in GEMINI_API_KEY ({error.code}): {said}")
            case 400 if "api key" in told:
                return WrongAccess(f"{self._shown} refused the key in GEMINI_API_KEY: {said}")
            case 404:
                return WrongAccess(f"{self._shown} has no model {self._model!r}: {said}")
            case 429:
                return RateLimited(f"{self.name}: rate limit or quota reached {RETRIES + 1} times: {said}")
            case 400 if with_images and "image" in told:
                return WrongAccess(f"{self.name} takes no pictures: name a model with vision as critic")
            case code if code >= 500:
                return Unreachable(f"{self._shown} failed {RETRIES + 1} times ({code}): {said}")
            case _:
                return ModelError(f"{self.name}: {error.code}: {said}")

    def _said(self, error: BaseException) -> str:
        return self._secrets.hide(str(error))[:120]
