"""Keys and passwords never show: in errors, on the screen, in logs and files, whatever a server says."""

from __future__ import annotations

import base64
import json
import traceback
from pathlib import Path
from typing import Any

import pytest
from filmwright.agents.doctor import examine
from filmwright.agents.models.language import Message, WrongAccess, plain_schema
from filmwright.agents.models.registry import open_model
from filmwright.cli import app
from filmwright.storyboard.errors import FilmwrightError, InputError
from filmwright.storyboard.production import Production, Settings
from filmwright.storyboard.redaction import HIDDEN, Secrets, hide_keys, shown_url
from pydantic import BaseModel
from typer.testing import CliRunner

from ..model_server import Served, author, serving

KEYS = {"openai": "sk-proj-A1b2C3d4E5f6G7h8I9j0KLMNopqr", "gemini": "AIzaSyA1b2C3d4E5f6G7h8I9j0KLMNopqrstu"}
VARIABLES = {"openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}
ADDRESSES = {"openai": "OPENAI_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL"}
PROVIDERS = ("openai", "gemini")
ECHOES = ("header", "headers", "key", "ends", "dots", "half", "end", "base64")
STATUSES = (400, 401, 404, 422, 500)
MESSAGES = [Message("user", "The word is lantern, the number 7.")]


class Probe(BaseModel):
    word: str
    number: int


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once; no key of the person who runs the tests."""
    import tenacity.nap

    monkeypatch.setattr("openai._base_client.BaseClient._calculate_retry_timeout", lambda *a, **k: 0.0)
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda seconds: None)
    for name in (*VARIABLES.values(), *ADDRESSES.values(), "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def failure(provider: str, *faults: str, **environment: str) -> FilmwrightError:
    """The error of a call to a server with faults."""
    served = Served(author, gemini=provider == "gemini", faults=list(faults))
    where = {VARIABLES[provider]: KEYS[provider], **environment}
    model = open_model(f"{provider}:m", environment=where, transport=served.transport())
    with pytest.raises(FilmwrightError) as caught:
        model.complete(MESSAGES, plain_schema(Probe))
    return caught.value


def shows(text: str, secret: str) -> bool:
    """Whether five characters in a row of a secret, or its last four, stand in a text; what all keys begin with counts not."""
    bare = secret.removeprefix("sk-proj-").removeprefix("AIzaSy")
    coded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return any(bare[i : i + 5] in text for i in range(len(bare) - 4)) or secret[-4:] in text or coded in text


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("what", ECHOES)
def test_no_error_of_a_server_shows_the_key(provider: str, what: str) -> None:
    for status in STATUSES:
        error = failure(provider, *[f"echo {status} {what}"] * 6)
        told = "".join(traceback.format_exception(error))
        assert not shows(told, KEYS[provider]), (status, str(error))
        assert "\n" not in str(error)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_error_still_says_what_the_server_said(provider: str) -> None:
    assert f"Incorrect API key provided: {HIDDEN}." in str(failure(provider, "echo 401 key"))
    assert f"Incorrect API key provided: {HIDDEN}." in str(failure(provider, "echo 401 ends"))
    assert "no route for http" in str(failure(provider, *["echo 400 address"]))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_error_shows_what_the_address_holds(provider: str) -> None:
    address = "http://worker:hunter2secret@127.0.0.1:9/v1?key=Zq81Xv55Wm&trace=on"
    for faults in (["echo 401 address"], ["404"], ["echo 500 address"] * 6, ["echo 403 key"]):
        error = failure(provider, *faults, **{ADDRESSES[provider]: address})
        told = "".join(traceback.format_exception(error))
        assert "hunter2" not in told and "Zq81" not in told
        assert not shows(told, KEYS[provider])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_server_that_is_not_there_shows_no_password(provider: str) -> None:
    where = {
        VARIABLES[provider]: KEYS[provider],
        ADDRESSES[provider]: "http://worker:hunter2secret@127.0.0.1:9/v1?key=Zq81Xv55",
    }
    with pytest.raises(FilmwrightError, match=r"127\.0\.0\.1:9") as caught:
        open_model(f"{provider}:m", environment=where).complete(MESSAGES, plain_schema(Probe))
    told = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in told and "Zq81" not in told


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("value", ["worker:hunter2secret@host/v1", "http://worker:hunter2secret@host:port/v1", "ftp://worker:hunter2secret@host",
                                   "http://worker:hunter2secret@[host/v1", "http://worker:hunter2secret@host/v1/chat/completions"])  # fmt: skip
def test_a_wrong_address_is_named_without_its_password(provider: str, value: str) -> None:
    with pytest.raises(WrongAccess, match=ADDRESSES[provider]) as caught:
        open_model(f"{provider}:m", environment={VARIABLES[provider]: KEYS[provider], ADDRESSES[provider]: value})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("bad", ["\x01", "\x7f", "…", "\u200b", "é"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(provider: str, bad: str) -> None:
    key = KEYS[provider] + bad
    with pytest.raises(WrongAccess, match=VARIABLES[provider]) as caught:
        open_model(f"{provider}:m", environment={VARIABLES[provider]: key})
    assert not shows(str(caught.value), KEYS[provider])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_redirect_is_followed_and_no_key_goes_elsewhere(provider: str) -> None:
    elsewhere, served = Served(author), Served(author, gemini=provider == "gemini", faults=["redirect"] * 6)
    with serving(elsewhere) as other, serving(served) as address:
        served.elsewhere = (
            f"{other.replace('http://', 'http://worker:hunter2secret@')}/v1/chat/completions?key=Zq81Xv55"
        )
        where = {
            VARIABLES[provider]: KEYS[provider],
            ADDRESSES[provider]: address + ("/v1" if provider == "openai" else ""),
        }
        with pytest.raises(WrongAccess, match=f"redirect .*{ADDRESSES[provider]}") as caught:
            open_model(f"{provider}:m", environment=where).complete(MESSAGES, plain_schema(Probe))
    assert elsewhere.requests == [] and len(served.requests) == 1
    assert "hunter2" not in str(caught.value) and "Zq81" not in str(caught.value)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_in_an_answer_reaches_no_script(provider: str) -> None:
    served = Served(lambda name, said: {"word": f"key {KEYS[provider]}", "number": 7}, gemini=provider == "gemini")
    model = open_model(f"{provider}:m", environment={VARIABLES[provider]: KEYS[provider]}, transport=served.transport())
    answer = model.complete(MESSAGES, plain_schema(Probe)).text
    assert json.loads(answer)["word"] == f"key {HIDDEN}"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_pictures_show_no_key_either(provider: str) -> None:
    served = Served(author, gemini=provider == "gemini", faults=["echo 403 ends"])
    model: Any = open_model(
        f"{provider}:m", environment={VARIABLES[provider]: KEYS[provider]}, transport=served.transport()
    )
    with pytest.raises(FilmwrightError) as caught:
        model.picture("a fox")
    assert not shows(str(caught.value), KEYS[provider])


@pytest.mark.parametrize("login", ["", "worker:hunter2secret@"])
def test_the_command_and_the_doctor_show_no_key(login: str, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(author, faults=["echo 401 header"] * 20)
    with serving(served) as address:
        monkeypatch.setenv("OPENAI_API_KEY", KEYS["openai"])
        monkeypatch.setenv("OPENAI_BASE_URL", f"{address.replace('http://', f'http://{login}')}/v1")
        planned = CliRunner().invoke(
            app, ["plan", "A fox ran.", "-o", "fox", "--planner", "openai:m", "--generator", "theatre"]
        )
        found = [f.says for f in examine(Settings(planner="openai:m", generator="theatre"), Path())]
    assert planned.exit_code in (1, 2) and "refused the key" in planned.output
    written = "".join(path.read_text(encoding="utf-8") for path in Path().rglob("*") if path.is_file())
    for text in (planned.output, *found, written):
        assert not shows(text, KEYS["openai"]) and not shows(text, "worker:hunter2secret")


@pytest.mark.parametrize(
    "name", [f"openai:{KEYS['openai']}", KEYS["openai"], f"gemini:{KEYS['gemini']}", KEYS["gemini"]]
)
def test_a_key_in_the_place_of_a_model_is_never_repeated(name: str) -> None:
    for option in ("--planner", "--critic", "--casting"):
        ran = CliRunner().invoke(app, ["plan", "A fox ran.", "-o", "fox", option, name, "--generator", "theatre"])
        assert ran.exit_code == 2 and not shows(ran.output, name), ran.output
        assert not Path("fox").exists()


def test_log_script_and_settings_hold_no_key_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, key in (("OPENAI_API_KEY", KEYS["openai"]), ("GOOGLE_API_KEY", KEYS["gemini"])):
        monkeypatch.setenv(variable, key)
        production = Production.create(tmp_path / variable, "A fox ran.", Settings(parameters={"x": key}))
        production.log("failed", reason=f"the server said {key}", deep={"list": [key]})
        for path in (production.log_path, production.settings_path):
            assert not shows(path.read_text(encoding="utf-8"), key)
        assert production.read_log()[0]["reason"] == f"the server said {HIDDEN}"


def test_a_word_that_serves_as_a_key_of_a_local_server_stays_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        Secrets.of_environment({"OPENAI_API_KEY": "ollama"}).exact("no connection to ollama")
        == "no connection to ollama"
    )


@pytest.mark.parametrize(
    "text",
    [
        "The Bearer of Bad News", "a basic understanding", "sk-8 boards", "risk-taking", "wait... what", "http://localhost:11434/v1",
        "mail ada@example.com", "10 * 3 ** 2", "a key: the golden one", "the token ring", "xxxx", "model gpt-5 not found",
    ],
)  # fmt: skip
def test_what_is_no_key_stays(text: str) -> None:
    assert Secrets.of([KEYS["openai"]]).hide(text) == text and hide_keys(text) == text


def test_addresses_are_shown_without_what_is_secret() -> None:
    assert (
        shown_url("https://u:p@host:8080/v1?key=abc&b=2#f") == f"https://{HIDDEN}@host:8080/v1?key={HIDDEN}&b={HIDDEN}"
    )
    assert shown_url("http://localhost:11434/v1") == "http://localhost:11434/v1"


def test_every_error_line_hides_what_is_a_key_by_its_form() -> None:
    for secret in (KEYS["openai"], KEYS["gemini"], "hf_" + "a1" * 12):
        assert secret not in str(InputError(f"unknown value {secret!r}"))
    assert "hunter2" not in str(FilmwrightError("no weights at https://me:hunter2@host/x"))
