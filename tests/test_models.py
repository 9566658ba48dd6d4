"""Language models: what they say, and what goes wrong, through both SDKs' own transports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from filmwright.agents.models.language import (
    AnswerCutOff,
    BadAnswer,
    Message,
    ModelError,
    ModelRefused,
    RateLimited,
    Unreachable,
    Usage,
    WrongAccess,
    ask,
    plain_schema,
)
from filmwright.agents.models.painter import PaidPainter
from filmwright.agents.models.purse import BudgetReached, Metered, Price, Purse
from filmwright.agents.models.registry import open_model
from filmwright.agents.models.scripted import ScriptedModel
from filmwright.agents.writer.passes import Cast, Looks, Outline, Scenes, Shots
from filmwright.storyboard.errors import InputError
from pydantic import BaseModel, ConfigDict, Field

from .model_server import Served, author, serving

KEYS = {"openai": {"OPENAI_API_KEY": "sk-" + "x" * 30}, "gemini": {"GEMINI_API_KEY": "AIza" + "x" * 30}}
PROVIDERS = ("openai", "gemini")
MESSAGES = [Message("system", "Answer."), Message("user", "The word is lantern, the number 7.")]


class Probe(BaseModel):
    model_config = ConfigDict(extra="forbid")

    word: str
    number: int = Field(ge=1, le=9)


def model(provider: str, *faults: str, seconds: float = 20.0, served: Served | None = None) -> Any:
    served = served or Served(author, gemini=provider == "gemini", faults=list(faults))
    return open_model(
        f"{provider}:m", environment=KEYS[provider], timeout_seconds=seconds, transport=served.transport()
    )


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    import tenacity.nap

    monkeypatch.setattr("openai._base_client.BaseClient._calculate_retry_timeout", lambda *a, **k: 0.0)
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda seconds: None)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_comes_back_as_its_type_with_its_tokens(provider: str) -> None:
    said = ask(model(provider), MESSAGES, Probe)
    assert said.value == Probe(word="lantern", number=7)
    assert said.usage.calls == 1 and said.usage.sent > 3 and said.usage.received > 3 and not said.repaired


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", ["not JSON", "wrong schema"])
def test_an_invalid_answer_is_repaired_once_with_its_own_error(provider: str, fault: str) -> None:
    served = Served(author, gemini=provider == "gemini", faults=[fault])
    said = ask(model(provider, served=served), MESSAGES, Probe)
    assert said.value.number == 7 and said.repaired and said.usage.calls == 2
    told = json.dumps(served.requests[1])
    assert "not valid" in told and ("not JSON" in told if fault == "not JSON" else "Field required" in told)
    with pytest.raises(BadAnswer, match="no valid Probe in two tries"):
        ask(model(provider, fault, fault), MESSAGES, Probe)


def test_what_a_type_cannot_say_is_repaired_too() -> None:
    problems = iter([["the number is not even"], []])
    said = ask(model("openai"), MESSAGES, Probe, check=lambda probe: next(problems))
    assert said.repaired


def test_a_fence_around_json_is_no_fault() -> None:
    assert not ask(model("openai", "fenced"), MESSAGES, Probe).repaired


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("refusal", ModelRefused, "declined"),
        ("filtered", ModelRefused, "filter|safety"),
        ("length", AnswerCutOff, "longest answer"),
        ("cut off", AnswerCutOff, "broke off"),
        ("garbled", AnswerCutOff, "broke off"),
        ("401", WrongAccess, "refused the key"),
        ("404", WrongAccess, "has no model 'm'"),
    ],
)
def test_every_way_to_fail_has_its_own_error(provider: str, fault: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        model(provider, fault).complete(MESSAGES, plain_schema(Probe))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("fault", "error"), [("429", RateLimited), ("500", Unreachable)])
def test_transient_failures_are_retried_and_in_the_end_told(provider: str, fault: str, error: type[Exception]) -> None:
    served = Served(author, gemini=provider == "gemini", faults=[fault] * 2)
    assert ask(model(provider, served=served), MESSAGES, Probe).value.number == 7
    assert len(served.requests) == 3
    with pytest.raises(error, match="5 times"):
        model(provider, *[fault] * 9).complete(MESSAGES, plain_schema(Probe))


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [("quota", RateLimited, "no quota left"), ("filter", ModelRefused, "declined the request"), ("long", ModelError, "longer than the model can read")],
)  # fmt: skip
def test_openai_says_more(fault: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        model("openai", *[fault] * 5).complete(MESSAGES, plain_schema(Probe))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_pictures_go_with_the_last_message(provider: str) -> None:
    served = Served(author, gemini=provider == "gemini")
    model(provider, served=served).complete(MESSAGES, plain_schema(Probe), [b"\xff\xd8picture"])
    assert "9hwaWN0dXJl" in json.dumps(served.requests[0])  # base64 of the picture
    with pytest.raises(WrongAccess, match="takes no pictures"):
        model(provider, "blind").complete(MESSAGES, plain_schema(Probe), [b"\xff\xd8picture"])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_server_that_is_slow_or_not_there_is_told(provider: str) -> None:
    served = Served(author, gemini=provider == "gemini", faults=["slow"] * 9)
    variable = {"openai": "OPENAI_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL"}[provider]
    with serving(served) as url:
        address = f"{url}/v1" if provider == "openai" else url
        slow = open_model(f"{provider}:m", environment={**KEYS[provider], variable: address}, timeout_seconds=0.2)
        with pytest.raises(Unreachable, match="no answer in time"):
            slow.complete(MESSAGES, plain_schema(Probe))
    gone = open_model(f"{provider}:m", environment={**KEYS[provider], variable: address}, timeout_seconds=2)
    with pytest.raises(Unreachable, match="no connection to"):
        gone.complete(MESSAGES, plain_schema(Probe))


def test_a_local_server_needs_no_key_and_an_address_with_v1() -> None:
    with serving(Served(author)) as url:
        local = open_model("openai:m", environment={"OPENAI_BASE_URL": f"{url}/v1/"}, timeout_seconds=5)
        assert ask(local, MESSAGES, Probe).value.word == "lantern"
        short = open_model("openai:m", environment={"OPENAI_BASE_URL": url}, timeout_seconds=5)
        with pytest.raises(WrongAccess, match="ends in /v1"):
            short.complete(MESSAGES, plain_schema(Probe))


@pytest.mark.parametrize(
    ("name", "environment", "says"),
    [
        ("openai:m", {}, "OPENAI_API_KEY is not set"),
        ("openai:m", {"OPENAI_API_KEY": "sk-short"}, "copied in part"),
        ("openai:m", {"OPENAI_API_KEY": "AIza" + "x" * 30}, "another provider's"),
        ("openai:m", {"OPENAI_API_KEY": '"sk-xxxxxxxxxxxxxxxxxxxxxxxx"'}, "blanks or quotes"),
        ("openai:m", {"OPENAI_BASE_URL": "localhost:11434"}, "is no address"),
        ("openai:m", {"OPENAI_BASE_URL": "http://h/v1/chat/completions"}, "leave /chat/completions out"),
        ("gemini:m", {}, "GEMINI_API_KEY is not set"),
        ("gemini:m", {"GEMINI_API_KEY": "sk-" + "x" * 30}, "another provider's"),
        ("openai:", {}, "says no model"),
        ("mistral:m", {}, "unknown"),
        ("scripted:nowhere.yaml", {}, "nowhere.yaml"),
    ],
)
def test_what_cannot_be_right_is_refused_before_any_call(name: str, environment: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_model(name, environment=environment)


@pytest.mark.parametrize("answer", [Outline, Cast, Scenes, Shots, Looks])
def test_schemas_use_only_what_all_providers_know(answer: type[BaseModel]) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict) and node.get("type") == "object":
            assert node["required"] == list(node["properties"]) and node["additionalProperties"] is False
            for value in node["properties"].values():
                assert not {"$ref", "default", "minLength", "pattern", "minimum", "const"} & set(value)
                walk(value)
        elif isinstance(node, dict):
            for value in node.values():
                walk(value)

    schema = plain_schema(answer)
    assert schema["title"] == answer.__name__
    walk(schema)


def test_a_purse_reserves_pays_and_refuses_what_it_could_not_pay() -> None:
    purse = Purse(Price(1000.0, 1000.0), ceiling=30.0)  # a million tokens for a thousand dollars
    calls: list[dict[str, Any]] = []
    paid = Metered(model("openai"), purse, calls.append)
    for _ in range(2):
        paid.complete(MESSAGES, plain_schema(Probe))
    assert calls[0]["dollars"] > 0 and purse.spent == pytest.approx(sum(c["dollars"] for c in calls), abs=1e-5)
    assert purse.usage == Usage(2, purse.usage.sent, purse.usage.received)
    poor = Metered(model("openai"), Purse(Price(1000.0, 1000.0), ceiling=30.0, spent=29.0), calls.append)
    with pytest.raises(BudgetReached, match="raise --budget"):
        poor.complete(MESSAGES, plain_schema(Probe))
    assert len(calls) == 2


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_picture_is_painted_paid_and_refused_when_it_is_too_dear(provider: str) -> None:
    calls: list[dict[str, Any]] = []
    served = Served(author, gemini=provider == "gemini")
    purse = Purse(Price(1.0, 1.0, 0.04), ceiling=0.05)
    painter = PaidPainter(model(provider, served=served), purse, calls.append)
    assert painter.paint("a fox").getpixel((5, 5)) == (10, 200, 10)
    assert "a fox" in json.dumps(served.requests[0])
    assert purse.spent == 0.04 and calls[0]["for"] == "picture"
    with pytest.raises(BudgetReached):
        painter.paint("another fox")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("fault", "costs"), [
    ("refusal", True), ("filtered", True), ("length", True), ("cut off", True), ("garbled", True), ("401", False), ("404", False),
])  # fmt: skip
def test_an_answer_of_no_use_is_paid_and_a_call_that_was_not_taken_is_not(
    provider: str, fault: str, costs: bool
) -> None:
    purse, calls = Purse(Price(1.0, 1.0), ceiling=0.02), []
    failing = Metered(model(provider, *[fault] * 20), purse, calls.append)
    for _ in range(20):  # what was put aside for an answer comes back, else the purse would be empty after five
        with pytest.raises((ModelError, WrongAccess)):
            failing.complete(MESSAGES, plain_schema(Probe))
    assert (purse.spent > 0) == costs == (calls[0]["sent_tokens"] > 0)
    assert purse.spent == pytest.approx(sum(call["dollars"] for call in calls), abs=1e-4)


def test_calls_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("filmwright.agents.models.purse.time.sleep", slept.append)
    paced = Metered(model("openai"), Purse(None, None), lambda call: None, per_minute=60)
    for _ in range(3):
        paced.complete(MESSAGES, plain_schema(Probe))
    assert slept[0] == 0.0 and slept[1] > 0.5 and slept[2] > 1.5


def test_a_scripted_model_says_what_it_was_told_to(tmp_path: Path) -> None:
    script = tmp_path / "says.yaml"
    script.write_text(
        "- {for: Probe, text: nonsense}\n- {for: Probe, answer: {word: lantern, number: 7}}\n", encoding="utf-8"
    )
    scripted = ScriptedModel.read(script)
    assert ask(scripted, MESSAGES, Probe).repaired
    assert len(scripted.heard) == 2
    with pytest.raises(ModelError, match="no answer for this Outline"):
        ask(scripted, MESSAGES, Outline)
