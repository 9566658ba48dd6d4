"""OpenAI, and every server that speaks its chat completions: Ollama, vLLM, LM Studio, llama.cpp.

Answers are streamed, so that the time-out counts from one piece to the next: a slow local model is not a dead one.
"""

from __future__ import annotations

import base64
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

HOME = "https://api.openai.com/v1"


class OpenAIModel:
    """See `language.LanguageModel`."""

    def __init__(
        self, model: str, environment: Mapping[str, str], *, timeout_seconds: float, transport: Any = None
    ) -> None:
        """`transport`: what carries the calls, for tests.

        Raises:
            WrongAccess: key or address cannot be right.
        """
        import httpx2
        from openai import DefaultHttpxClient, OpenAI

        self.name, self._model = f"openai:{model}", model
        url = environment.get("OPENAI_BASE_URL")
        self._url = checked_url("OPENAI_BASE_URL", url) if url else HOME
        key = environment.get("OPENAI_API_KEY")
        if self._url == HOME or key:
            key = checked_key("OPENAI_API_KEY", key, "sk-", "AIza")
        self._secrets, self._shown = Secrets.of([key], [url]), shown_url(self._url)
        self._client = OpenAI(
            api_key=key or "no-key-needed", base_url=self._url, max_retries=RETRIES,
            timeout=httpx2.Timeout(timeout_seconds, connect=10.0),
            http_client=DefaultHttpxClient(transport=transport, follow_redirects=False),
        )  # fmt: skip

    def complete(self, messages: Sequence[Message], schema: dict[str, Any], images: Sequence[bytes] = ()) -> Completion:
        """See `LanguageModel.complete`."""
        with without_secrets(self._secrets):
            answer = self._complete(messages, schema, images)
        return Completion(self._secrets.exact(answer.text), answer.usage)

    def _complete(self, messages: Sequence[Message], schema: dict[str, Any], images: Sequence[bytes]) -> Completion:
        import httpx2
        import openai

        turns: list[Any] = [{"role": m.role, "content": m.text} for m in messages]
        if images:
            pictures = [
                {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(i).decode()}"}}
                for i in images
            ]
            turns[-1]["content"] = [{"type": "text", "text": messages[-1].text}, *pictures]
        wanted: Any = {
            "type": "json_schema", "json_schema": {"name": schema["title"], "schema": schema, "strict": True},
        }  # fmt: skip
        try:
            with self._client.chat.completions.create(
                model=self._model, messages=turns, response_format=wanted, stream=True, stream_options={"include_usage": True}
            ) as stream:  # fmt: skip
                return self._collect(stream, messages, images)
        except openai.APIStatusError as error:
            raise self._explained(error, bool(images)) from None
        except openai.APITimeoutError:
            raise too_slow(self.name) from None
        except openai.APIConnectionError as error:
            raise Unreachable(
                f"no connection to {self._shown} ({self._cause(error)}): is the server running?"
            ) from None
        except (openai.APIError, httpx2.HTTPError, json.JSONDecodeError) as error:
            raise broke_off(self.name, self._cause(error)).after(guess_usage(messages, images)) from None

    def picture(self, prompt: str) -> bytes:
        """A picture of a prompt, as a file.

        Raises:
            ModelError, WrongAccess: as `LanguageModel.complete`.
        """
        with without_secrets(self._secrets):
            return self._picture(prompt)

    def _picture(self, prompt: str) -> bytes:
        import openai

        try:
            made = self._client.images.generate(model=self._model, prompt=prompt, size="1024x1024", n=1)
        except openai.APIStatusError as error:
            raise self._explained(error, False) from None
        except openai.APIConnectionError as error:
            raise Unreachable(f"no picture from {self._shown} ({self._cause(error)})") from None
        if not made.data or not made.data[0].b64_json:
            raise ModelRefused(f"{self.name} sent no picture")
        return base64.b64decode(made.data[0].b64_json)

    def _collect(self, stream: Any, messages: Sequence[Message], images: Sequence[bytes]) -> Completion:
        text, refusal, finished, usage = "", "", None, None
        for piece in stream:
            if piece.usage is not None:
                usage = Usage(1, piece.usage.prompt_tokens, piece.usage.completion_tokens)
            for choice in piece.choices or ():
                text += choice.delta.content or ""
                refusal += choice.delta.refusal or ""
                finished = choice.finish_reason or finished
        usage = usage or guess_usage(messages, images, text + refusal)  # not every server counts
        if refusal:
            raise ModelRefused(f"{self.name} declined: {self._secrets.hide(refusal)[:300]}").after(usage)
        if finished == "content_filter":
            raise ModelRefused(
                f"{self.name}: the provider's content filter stopped the answer; change the story, or the model"
            ).after(usage)
        if finished == "length":
            raise ran_out(self.name, text).after(usage)
        if finished is None:
            raise broke_off(self.name, f"after {len(text)} characters").after(usage)
        return Completion(text, usage)

    def _explained(self, error: Any, with_images: bool) -> ModelError | WrongAccess:
        """A refusal of the server in the words of whoever has to mend it."""
        said = self._secrets.hide(str(getattr(error, "message", error)).replace("\n", " "))[:300]
        body = error.body if isinstance(error.body, dict) else {}
        code, told = str(body.get("code") or ""), said.lower()
        match error.status_code:
            case code_ if 300 <= code_ < 400:
                return redirected("OPENAI_BASE_URL", code_, error.response.headers.get("location", ""))
            case 401 | 403:
                return WrongAccess(f"{self._shown} refused the key in OPENAI_API_KEY ({error.status_code}): {said}")
            case 404 if "model" in told:
                return WrongAccess(f"{self._shown} has no model {self._model!r}: {said}")
            case 404:
                hint = "" if self._url.endswith("/v1") else "; the address of most servers ends in /v1"
                return WrongAccess(f"{self._shown} has no chat completions (404){hint}")
            case 429 if code == "insufficient_quota":
                return RateLimited(f"the account of OPENAI_API_KEY has no quota left: {said}")
            case 429:
                return RateLimited(
                    f"{self.name}: rate limit reached {RETRIES + 1} times; set FILMWRIGHT_REQUESTS_PER_MINUTE, or wait"
                )
            case 400 if code == "content_filter" or "content management policy" in told or "safety" in told:
                return ModelRefused(f"{self.name}: the provider declined the request: {said}")
            case 400 if with_images and ("image" in told or "vision" in told or "multimodal" in told):
                return WrongAccess(f"{self.name} takes no pictures: name a model with vision as critic")
            case 400 if code == "context_length_exceeded" or "context length" in told or "maximum context" in told:
                return ModelError(f"{self.name}: the request is longer than the model can read: {said}")
            case 400 if "response_format" in told or "json_schema" in told:
                return WrongAccess(f"{self.name} gives no answers by JSON schema: {said}")
            case code_ if code_ >= 500:
                return Unreachable(f"{self._shown} failed {RETRIES + 1} times ({code_}): {said}")
            case _:
                return ModelError(f"{self.name}: {error.status_code}: {said}")

    def _cause(self, error: BaseException) -> str:
        cause = error.__cause__ or error
        return self._secrets.hide(str(cause).strip().split("\n")[0])[:160] or type(cause).__name__
