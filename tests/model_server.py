"""A server that speaks both providers' protocols, streaming, over HTTP or as a transport; what it says is written by a small author.

Faults are taken one per request, in their order; afterwards it answers well.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
from PIL import Image

Author = Callable[[str, str], Any]
"""(name of the schema, everything that was said) to the answer."""


class Served:
    """What the server did and is to do."""

    def __init__(self, author: Author, *, gemini: bool = False, faults: list[str] | None = None) -> None:
        self.author, self.gemini, self.faults = author, gemini, faults or []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.elsewhere = "http://elsewhere.invalid/v1"
        self._lock = threading.Lock()

    def respond(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str], address: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        given = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            self.requests.append(body)
            self.headers.append(given)
            fault = self.faults.pop(0) if self.faults else ""
        if fault == "redirect":
            return 307, {"location": self.elsewhere}, b""
        if fault.startswith("echo"):
            return self._echo(fault, given, address)
        if self.gemini:
            return self._gemini(path, body, fault)
        return self._openai(path, body, fault)

    def _echo(self, fault: str, headers: dict[str, str], address: str) -> tuple[int, dict[str, str], bytes]:
        """An error that says more of the access than it should: `echo STATUS WHAT`."""
        _, status, what = fault.split(" ", 2)
        name = "x-goog-api-key" if self.gemini else "authorization"
        key = headers.get(name, "").removeprefix("Bearer ")
        said = {
            "header": f"cannot parse header {name}: {headers.get(name)}",
            "headers": f"rejected: {headers}",
            "key": f"Incorrect API key provided: {key}. You can find your API key at your provider's page",
            "ends": f"Incorrect API key provided: {key[:5]}{'*' * 20}{key[-4:]}.",
            "dots": f"key {key[:12]}...{key[-4:]} is disabled",
            "half": f"the key starts with {key[: len(key) // 2]}",
            "end": f"no account for the key that ends in {key[-4:]}",
            "base64": f"unknown credentials {base64.b64encode(key.encode()).decode()}",
            "address": f"no route for {address}",
        }[what]
        return _json(int(status), {"error": {"code": int(status), "message": said, "status": "REFUSED", "type": "x"}})

    def transport(self) -> httpx2.MockTransport:
        """The same without a network."""

        def handle(request: httpx2.Request) -> httpx2.Response:
            status, headers, data = self.respond(
                request.url.path, json.loads(request.content), request.headers, str(request.url)
            )
            return httpx2.Response(status, headers=headers, content=data)

        return httpx2.MockTransport(handle)

    def _openai(self, path: str, body: dict[str, Any], fault: str) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/v1/images/generations"):
            return _json(200, {"created": 1, "data": [{"b64_json": _picture()}]})
        if not path.endswith("/v1/chat/completions"):
            return _json(404, {"detail": "Not Found"})
        error = {
            "401": (401, {"error": {"message": "Incorrect API key provided: sk-x.", "type": "invalid_request_error", "code": "invalid_api_key"}}),
            "404": (404, {"error": {"message": "The model `nope` does not exist", "type": "invalid_request_error", "code": "model_not_found"}}),
            "429": (429, {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}),
            "quota": (429, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}}),
            "500": (500, {"error": {"message": "The server had an error", "type": "server_error", "code": None}}),
            "blind": (400, {"error": {"message": "image_url is not supported by this model", "type": "invalid_request_error", "code": None}}),
            "filter": (400, {"error": {"message": "The response was filtered", "type": None, "code": "content_filter"}}),
            "long": (400, {"error": {"message": "maximum context length is 8192 tokens", "type": None, "code": "context_length_exceeded"}}),
        }.get(fault)  # fmt: skip
        if error:
            return _json(error[0], error[1], {"Retry-After": "0"} if error[0] == 429 else {})
        if fault == "slow":
            threading.Event().wait(1.5)
        turns = [m["content"] if isinstance(m["content"], str) else m["content"][0]["text"] for m in body["messages"]]
        text = self._text(body["response_format"]["json_schema"]["name"], "\n".join(turns), fault)
        pieces = [text[i : i + 40] for i in range(0, len(text), 40)] or [""]

        def chunk(delta: dict[str, Any], finish: str | None = None, usage: Any = None) -> str:
            choices = [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
            data = {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": body["model"],
                "choices": choices,
                "usage": usage,
            }
            return f"data: {json.dumps(data)}\n\n"

        if fault == "refusal":
            return _events([chunk({"role": "assistant", "refusal": "I cannot help with that."}), chunk({}, "stop")])
        sent = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": piece}) for piece in pieces)]
        if fault == "cut off":
            return _events(sent[: len(sent) // 2])
        if fault == "garbled":
            return _events([*sent[:2], 'data: {"id": "c", "obj'])
        usage = {"prompt_tokens": len("".join(turns)) // 4, "completion_tokens": len(text) // 4, "total_tokens": 0}
        finish = {"length": "length", "filtered": "content_filter"}.get(fault, "stop")
        return _events([*sent, chunk({}, finish), chunk({}, usage=usage), "data: [DONE]\n\n"])

    def _gemini(self, path: str, body: dict[str, Any], fault: str) -> tuple[int, dict[str, str], bytes]:
        if path.endswith(":generateContent"):
            part = {"inlineData": {"mimeType": "image/png", "data": _picture()}}
            return _json(200, {"candidates": [{"content": {"parts": [part], "role": "model"}, "finishReason": "STOP"}]})
        if ":streamGenerateContent" not in path:
            return _json(404, {"error": {"code": 404, "message": f"{path} is not found", "status": "NOT_FOUND"}})
        error = {
            "401": (400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"),
            "404": (404, "models/nope is not found for API version v1beta", "NOT_FOUND"),
            "429": (429, "Resource has been exhausted", "RESOURCE_EXHAUSTED"),
            "500": (500, "An internal error has occurred", "INTERNAL"),
            "blind": (400, "Unable to process input image", "INVALID_ARGUMENT"),
        }.get(fault)  # fmt: skip
        if error:
            return _json(error[0], {"error": {"code": error[0], "message": error[1], "status": error[2]}})
        if fault == "slow":
            threading.Event().wait(1.5)
        contents = [*([body["systemInstruction"]] if "systemInstruction" in body else []), *body["contents"]]
        said = "\n".join(part.get("text", "") for content in contents for part in content["parts"])
        text = self._text(body["generationConfig"]["responseJsonSchema"]["title"], said, fault)

        def event(text: str, finish: str | None = None) -> str:
            candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
            usage = {"promptTokenCount": len(said) // 4, "candidatesTokenCount": 30, "totalTokenCount": 0}
            return f"data: {json.dumps({'candidates': [candidate | ({'finishReason': finish} if finish else {})], 'usageMetadata': usage})}\r\n\r\n"

        if fault == "refusal":
            return _events([f"data: {json.dumps({'promptFeedback': {'blockReason': 'PROHIBITED_CONTENT'}})}\r\n\r\n"])
        pieces = [text[i : i + 60] for i in range(0, len(text), 60)] or [""]
        if fault in ("cut off", "garbled"):
            tail = ['data: {"candid'] if fault == "garbled" else []
            return _events([*(event(piece) for piece in pieces[: max(1, len(pieces) // 2)]), *tail])
        finish = {"length": "MAX_TOKENS", "filtered": "SAFETY"}.get(fault, "STOP")
        return _events([*(event(piece) for piece in pieces), event("", finish)])

    def _text(self, name: str, said: str, fault: str) -> str:
        if fault == "not JSON":
            return "Certainly! Here is what you asked for."
        if fault == "wrong schema":
            return json.dumps({"something": "else"})
        answer = json.dumps(self.author(name, said), ensure_ascii=False)
        return f"```json\n{answer}\n```" if fault == "fenced" else answer


def _picture() -> str:
    """A green picture in base64."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 10)).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    return status, {"content-type": "application/json", **(headers or {})}, json.dumps(body).encode()


def _events(lines: list[str]) -> tuple[int, dict[str, str], bytes]:
    return 200, {"content-type": "text/event-stream"}, "".join(lines).encode()


@contextmanager
def serving(served: Served) -> Iterator[str]:
    """The address of a server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            address = f"http://{self.headers['host']}{self.path}"
            status, headers, data = served.respond(self.path, body, self.headers, address)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked has given up
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def author(name: str, said: str) -> Any:
    """A model that plans any story as a fox and a bear who meet, well-formed for whatever template and length it is told."""
    match name:
        case "Outline":
            beats = re.findall(r"^- ([a-z0-9-]+) \(\d+ %\)", said, re.MULTILINE)
            return {"title": "Two Friends", "logline": "A fox and a bear meet.", "language": "en",
                    "beats": [{"beat": beat, "text": f"In {beat}, the fox and the bear come closer."} for beat in beats]}  # fmt: skip
        case "Cast":
            return {"entities": [
                {"id": "fox", "kind": "character", "name": "Finn", "description": "a red striped fox with a hat", "voice": "quick"},
                {"id": "bear", "kind": "character", "name": "Bruno", "description": "a blue plain bear", "voice": ""},
                {"id": "forest", "kind": "location", "name": "the forest", "description": "tall firs", "voice": ""},
                {"id": "kitchen", "kind": "location", "name": "the kitchen", "description": "a yellow room", "voice": ""},
                {"id": "apple", "kind": "prop", "name": "apple", "description": "a red apple", "voice": ""},
            ]}  # fmt: skip
        case "Scenes":
            beats = re.findall(r"^- ([a-z0-9-]+) \(about ([\d.]+) s\)", said, re.MULTILINE)
            return {"scenes": [
                {"beat": beat, "interior": bool(i % 2), "location": ("forest", "kitchen")[i % 2], "time": ("day", "rainy evening")[i % 2 == 0],
                 "summary": f"They meet in {beat}.", "seconds": float(seconds)}
                for i, (beat, seconds) in enumerate(beats)
            ]}  # fmt: skip
        case "Shots":
            found = re.search(r"about [\d.]+ seconds a shot, (\d+) shots", said)
            total = re.search(r"Seconds add up\s+to ([\d.]+)", said)
            assert found and total
            count = int(found[1])
            return {"shots": [
                {"seconds": max(0.75, float(total[1]) / count), "action": f"Finn gives Bruno the apple, {i + 1}.",
                 "entities": ["fox", "bear", "apple"], "lines": [{"speaker": "bear", "text": "Thank you."}] if i == 0 else [],
                 "changes": [{"entity": "bear", "now": "a green bear with a scarf"}] if i == 1 else []}
                for i in range(count)
            ]}  # fmt: skip
        case "Looks":
            ids = re.findall(r"^- (\d+[A-Z]+) \(", said, re.MULTILINE)
            return {"shots": [
                {"id": id_, "size": ("LS", "MS", "CU")[i % 3], "angle": "eye", "movement": "static", "lens": "35 mm", "transition_in": "cut",
                 "continuity": "new", "notes": "Finn left, Bruno right"}
                for i, id_ in enumerate(ids)
            ]}  # fmt: skip
        case "Digest":
            return {
                "events": "A fox met a bear and they shared an apple.",
                "characters": ["Finn, a red fox"],
                "places": ["the forest"],
            }
        case "View":
            fine = {"score": 0.9, "reason": "as asked"}
            return {**dict.fromkeys(("identity", "action", "setting", "framing", "continuity", "artefacts"), fine),
                    "decision": "continue", "reason": "it is what was asked", "chunks": 0, "prompt": None}  # fmt: skip
        case "Revision":
            return {"summary": "shorter", "changes": [{"what": "remove", "shot": "2A", "content": None}]}
        case "Probe":
            return {"word": "lantern", "number": 7}
        case "Colour":
            return {"colour": "red"}
    raise AssertionError(name)
