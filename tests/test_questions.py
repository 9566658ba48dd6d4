"""What a person is asked while a film is shot, and what becomes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filmwright.agents import session
from filmwright.agents.critic import Look, MeasuredCritic, Verdict
from filmwright.agents.director import Order
from filmwright.agents.events import Event
from filmwright.agents.questions import Answer, Question
from filmwright.cli import app
from filmwright.storyboard.errors import WaitsForPerson
from filmwright.storyboard.production import Production
from filmwright.storyboard.takes import TakeRecord, circled, read_choice, read_take, read_take_chunks, takes_of
from typer.testing import CliRunner

from .test_review import talk


@pytest.fixture
def planned(tmp_path: Path, story: str, tiny_bundle: Path) -> Production:
    arguments = ["plan", story, "--generator", str(tiny_bundle), "-o", "film", "--seconds", "4", "--review", "takes"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return Production.open(tmp_path / "film")


@pytest.fixture
def asks_at_chunk_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def review(self: MeasuredCritic, look: Look) -> Verdict:
        if look.chunk == 1:
            return Verdict(action="ask", reason="is that a fox", score=0.4)
        return Verdict(action="continue", reason="as asked", score=0.9)

    monkeypatch.setattr(MeasuredCritic, "review", review)


def shoot(production: Production, ask: Callable[[Question], Answer], shots: list[int] | None = None) -> list[Event]:
    events: list[Event] = []
    session.shoot(production, production.read_settings(), Order(shots or [1], cut=False), ask, events.append)
    return events


def first_take(production: Production) -> TakeRecord:
    record = circled(production, next(production.read_script().shots()).id)
    assert record is not None
    return record


def latents(production: Production, record: TakeRecord) -> list[np.ndarray]:  # type: ignore[type-arg]
    return [chunk.latents for chunk in read_take_chunks(production, record) or []]


class Person:
    """Gives the answers in order, then approves; keeps the questions."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.questions = list(answers), list[Question]()

    def __call__(self, question: Question) -> Answer:
        self.questions.append(question)
        return self.answers.pop(0) if self.answers else {"decision": "approve"}


def nobody(question: Question) -> Answer:
    raise WaitsForPerson("nobody is there")


def test_where_the_critic_asks_the_film_pauses_with_a_picture(planned: Production, asks_at_chunk_1: None) -> None:
    seen = []

    def person(question: Question) -> Answer:
        seen.append((question["text"], Path(question["path"]).is_file()))
        return {"decision": "approve"}

    shoot(planned, person)
    about_chunk, about_take = seen
    assert "chunk 2 of" in about_chunk[0] and "is that a fox" in about_chunk[0] and about_chunk[1]
    assert "score 0." in about_take[0] and "ask: is that a fox" in about_take[0] and about_take[1]


def test_rejecting_the_chunk_draws_it_anew(planned: Production, asks_at_chunk_1: None) -> None:
    shoot(planned, Person())
    once = latents(planned, first_take(planned))
    person = Person({"decision": "reject"})
    session.shoot(planned, planned.read_settings(), Order([1], again=True, cut=False), person, lambda event: None)
    assert [q["about"].rpartition("/")[2] for q in person.questions[:2]] == ["0", "1"]
    twice = latents(planned, first_take(planned))
    assert len(once) == len(twice) and not np.array_equal(once[1], twice[1])


def test_a_new_prompt_holds_from_that_chunk_on(planned: Production, asks_at_chunk_1: None) -> None:
    prompt = "wide shot , castle , night , camera still ."
    shoot(planned, Person({"decision": "modify", "text": prompt}))
    prompts = first_take(planned).prompts
    assert prompts[0][1] != prompt and (1, prompt) in prompts


def test_with_nobody_there_the_film_waits_and_goes_on_to_the_same_latents(
    planned: Production, asks_at_chunk_1: None, tmp_path: Path
) -> None:
    with pytest.raises(WaitsForPerson):
        shoot(planned, nobody)
    assert takes_of(planned, next(planned.read_script().shots()).id) == []
    person = Person({"decision": "reject"})
    shoot(planned, person)
    waited = latents(planned, first_take(planned))
    assert [q["about"].rpartition("/")[2] for q in person.questions[:2]] == ["0", "1"]
    import shutil

    shutil.rmtree(planned.folder / "takes")
    planned.log_path.unlink()
    shoot(planned, Person({"decision": "reject"}))
    assert all(map(np.array_equal, waited, latents(planned, first_take(planned))))


def test_without_a_review_what_the_critic_asks_is_recorded_and_shown(
    planned: Production, asks_at_chunk_1: None, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["film", str(planned.folder), "--review", "none"])
    assert result.exit_code == 0, result.output
    status = CliRunner().invoke(app, ["status", str(planned.folder)]).stdout
    assert "the critic asks for a person: is that a fox" in status
    found = json.loads(CliRunner().invoke(app, ["status", str(planned.folder), "--json"]).stdout)
    assert found["shots"][0]["asks"] == ["is that a fox"]
    assert "ask: is that a fox" in (planned.folder / "storyboard.html").read_text(encoding="utf-8")


def test_a_rejected_take_is_not_circled_again_by_its_score(
    planned: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.9, 0.9, 0.9, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])

    def review(self: MeasuredCritic, look: Look) -> Verdict:
        return Verdict(action="continue", reason="as asked", score=next(scores))

    monkeypatch.setattr(MeasuredCritic, "review", review)
    person = Person({"decision": "reject"})
    events = shoot(planned, person)
    assert "Is take 1 of" in person.questions[0]["text"] and "Is take 2 of" in person.questions[1]["text"]
    assert "other takes: 1 (score 0." in person.questions[1]["text"]
    choice = read_choice(planned, first_take(planned).shot)
    assert choice is not None and (choice.take, choice.by) == (2, "person")
    assert any("score 0.2" in e.values["text"] for e in events if e.kind == "warning")


def test_an_answer_that_was_given_before_a_kill_is_not_asked_for_again(
    planned: Production, asks_at_chunk_1: None
) -> None:
    asked = Person()

    def killed_after_answer(question: Question) -> Answer:
        planned.log("answer", point="takes", of=question["about"], decision="approve")
        raise WaitsForPerson("killed")

    with pytest.raises(WaitsForPerson):
        shoot(planned, killed_after_answer)
    shoot(planned, asked)
    assert [q["about"].count("/") for q in asked.questions] == [1]  # only about the whole take


def test_what_is_typed_at_a_question_is_not_lost(tmp_path: Path, story: str, tiny_bundle: Path) -> None:
    arguments = ["film", story, "--generator", str(tiny_bundle), "-o", "film", "--seconds", "4", "--critic", "none", "--review", "takes"]  # fmt: skip
    text = "wide shot , castle , night , camera still ."
    answers = [
        ("Is take 1 of shot", f"m {text}"),
        ("Is take 2 of shot", "a bear enters the forest"),
        ("is that the new action or prompt", "y"),
        ("Is take 3 of shot", "m"),
        ("empty: back", ""),
        ("erminate?", "t"),
    ]
    code, seen = talk(tmp_path, arguments, answers)
    assert code == 0, seen
    production = Production.open(tmp_path / "film")
    first = next(production.read_script().shots())
    assert first.prompt == "a bear enters the forest"
    take = read_take(production, first.id, 2)
    assert take is not None and take.prompts[0][1] == text
