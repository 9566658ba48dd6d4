"""The planner that asks a language model, its passes, and what a note changes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from filmwright.agents.models.language import BadAnswer, Completion, ModelRefused, Usage
from filmwright.agents.models.registry import open_model
from filmwright.agents.models.scripted import Said, ScriptedModel
from filmwright.agents.side_by_side import side_by_side
from filmwright.agents.writer.desk import PassReport
from filmwright.agents.writer.long_story import PART_WORDS, split_story
from filmwright.agents.writer.passes import Cast, Change, PlannedShot, Shots, shots_wrong
from filmwright.agents.writer.planner import ModelPlanner
from filmwright.agents.writer.revise import Revision, ShotChange, applied, revise, script_diff
from filmwright.agents.writer.store import PassStore
from filmwright.cli import app
from filmwright.storyboard.errors import InputError
from filmwright.storyboard.production import Production
from filmwright.storyboard.script import Script
from filmwright.storyboard.staging import appearance_of
from filmwright.storyboard.vocabulary import FULL
from filmwright.templates.loader import load_template, template_names
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from .model_server import Served, author, serving

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))
THREE_ACT = load_template("three-act")


class Talker:
    """A model that the author writes for; of its answers it breaks a share."""

    name = "test:talker"

    def __init__(self, breaks: float = 0.0, seed: int = 0) -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        self._random, self._breaks = random.Random(seed), breaks

    def complete(self, messages: Any, schema: dict[str, Any], images: Any = ()) -> Completion:
        self.asked.append(schema["title"])
        self.said.append("\n".join(m.text for m in messages))
        answer = author(schema["title"], self.said[-1])
        if self._random.random() < self._breaks:
            broken = [lambda: "I would rather not.", lambda: "{}", lambda: json.dumps(answer)[:-9]]
            return Completion(self._random.choice(broken)(), Usage(1, 10, 10))
        return Completion(json.dumps(answer), Usage(1, len(self.said[-1]) // 4, 50))


def plan(model: Any, store: Path, story: str = "A fox met a bear.", seconds: float = 20.0, **more: Any) -> Script:
    return ModelPlanner(model, PassStore(store), **more).plan(story, template=THREE_ACT, seconds=seconds, seed=0)


@pytest.mark.parametrize("path", STORIES, ids=[path.stem for path in STORIES])
def test_every_story_becomes_a_script_of_its_length(path: Path, tmp_path: Path) -> None:
    model = Talker()
    script = plan(model, tmp_path, path.read_text(encoding="utf-8"))
    assert script.seconds() == pytest.approx(20.0, abs=0.05)
    assert {shot.size for shot in script.shots()} == {"LS", "MS", "CU"}
    assert model.asked[:3] == ["Outline", "Cast", "Scenes"] and set(model.asked[3:]) == {"Shots", "Looks"}
    assert path.read_text(encoding="utf-8")[:40] in model.said[0]
    assert "outline@" in script.planner and "test:talker" in script.planner


def test_who_changes_looks_different_from_that_shot_on(tmp_path: Path) -> None:
    script = plan(Talker(), tmp_path)
    bear = next(entity for entity in script.entities if entity.id == "bear")
    order = tuple(shot.id for shot in script.shots())
    first = order.index(min(bear.changes, key=order.index))
    assert appearance_of(bear, order[first - 1], order[:first]).hue == "blue"
    assert appearance_of(bear, order[-1], order).hue == "green"
    shorter = applied(
        script, Revision(summary="", changes=[ShotChange(what="remove", shot=order[first], content=None)])
    )
    moved = next(entity for entity in shorter.entities if entity.id == "bear")
    assert order[first + 1] in moved.changes and order[first] not in moved.changes


def test_a_change_of_somebody_who_is_not_in_the_shot_is_mended(tmp_path: Path) -> None:
    shot = PlannedShot(
        seconds=2, action="The fox runs.", entities=["fox"], lines=[], changes=[Change(entity="bear", now="sooty")]
    )
    cast = Cast.model_validate(author("Cast", ""))
    assert shots_wrong(Shots(shots=[shot]), cast) == [
        "shots.0.changes: 'bear' is not in the shot that shows the change; choose of ['fox']"
    ]


@pytest.mark.parametrize("name", template_names())
@pytest.mark.parametrize("seconds", [6.0, 45.0])
def test_every_template_is_told_to_the_model(name: str, seconds: float, tmp_path: Path) -> None:
    template = load_template(name)
    model = Talker()
    script = ModelPlanner(model, PassStore(tmp_path), FULL).plan(
        "A story.", template=template, seconds=max(seconds, 12.0), seed=0
    )
    assert script.template == name and script.seconds() == pytest.approx(max(seconds, 12.0), abs=0.1)
    assert all(beat.summary in model.said[0] for beat in template.beats)
    assert template.guidance.strip()[:60] in model.said[0] and "dragon" in model.said[0]


def test_a_failed_pass_costs_one_pass(tmp_path: Path) -> None:
    class Fails(Talker):
        def complete(self, messages: Any, schema: dict[str, Any], images: Any = ()) -> Completion:
            if schema["title"] == "Scenes":
                raise ModelRefused("test:talker declined")
            return super().complete(messages, schema, images)

    with pytest.raises(ModelRefused):
        plan(Fails(), tmp_path)
    reports: list[PassReport] = []
    model = Talker()
    plan(model, tmp_path, heard=reports.append)
    assert "Outline" not in model.asked and "Cast" not in model.asked and model.asked[0] == "Scenes"
    assert [r.name for r in reports if r.kept] == ["outline", "entities"]
    again = Talker()
    plan(again, tmp_path)
    assert again.asked == []


def test_an_edited_pass_keeps_its_place_and_what_follows_is_asked_anew(tmp_path: Path) -> None:
    plan(Talker(), tmp_path)
    path = tmp_path / "entities.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("a blue plain bear", "a green dotted bear"), encoding="utf-8"
    )
    model = Talker()
    script = plan(model, tmp_path)
    assert script.entity("bear").description == "a green dotted bear"
    assert "Shots" in model.asked and set(model.asked) <= {"Shots", "Looks"}


def test_what_a_model_may_not_answer_is_repaired_or_refused(tmp_path: Path) -> None:
    class Crowds(Talker):
        def complete(self, messages: Any, schema: dict[str, Any], images: Any = ()) -> Completion:
            said = super().complete(messages, schema, images)
            if schema["title"] != "Shots" or "not valid" in messages[-1].text:
                return said
            data = json.loads(said.text)
            data["shots"][0]["entities"] = ["fox", "nobody"]
            return Completion(json.dumps(data), said.usage)

    reports: list[PassReport] = []
    model = Crowds()
    plan(model, tmp_path / "a", heard=reports.append)
    assert any(r.repaired for r in reports if r.name.startswith("shots"))
    assert any("'nobody' is no character or prop" in said for said in model.said)
    with pytest.raises(BadAnswer, match="no valid Outline"):
        plan(ScriptedModel("scripted:x", [Said(**{"for": "Outline", "text": "no"})]), tmp_path / "b")


def test_a_model_that_breaks_a_third_of_its_answers_still_plans_or_says_why(tmp_path: Path) -> None:
    planned = refused = 0
    for seed in range(12):
        try:
            plan(Talker(0.3, seed), tmp_path / str(seed))
            planned += 1
        except BadAnswer as error:
            assert "two tries" in str(error)
            refused += 1
            plan(Talker(0.0), tmp_path / str(seed))  # the same command again goes on with what is kept
    assert planned + refused == 12 and planned >= 10


def test_a_long_story_is_read_in_parts(tmp_path: Path) -> None:
    chapters = "\n\n".join(f"Chapter {n}\n\n" + "The fox walked on and on. " * 500 for n in range(1, 8))
    model = Talker()
    plan(model, tmp_path, chapters)
    assert model.asked.count("Digest") == len(split_story(chapters)) >= 5
    assert "Finn, a red fox" in model.said[model.asked.index("Outline")]
    with pytest.raises(InputError, match="words: at most"):
        plan(model, tmp_path, "word " * 100_001)


@given(st.lists(st.text("ab .\n", min_size=0, max_size=300), max_size=20), st.integers(1, 60))
@settings(max_examples=60)
def test_splitting_a_story_loses_no_word(paragraphs: list[str], words: int) -> None:
    story = "\n\n".join(paragraphs)
    parts = split_story(story, words)
    assert " ".join(parts).split() == story.split()
    assert all(len(part.split()) <= words for part in parts)
    assert PART_WORDS > 0


def test_work_goes_side_by_side_and_comes_back_in_order() -> None:
    assert side_by_side(lambda x: x * x, [3, 1, 2], at_most=2) == [9, 1, 4]
    assert side_by_side(lambda x: x, []) == []


def shortened() -> dict[str, Any]:
    return {"summary": "The second shot is gone.", "changes": [{"what": "remove", "shot": "1B", "content": None}]}


def test_a_note_changes_what_it_asks_and_nothing_else(tmp_path: Path) -> None:
    script = plan(Talker(), tmp_path)
    after, summary = revise(
        script, "shorter", ScriptedModel("scripted:x", [Said(**{"for": "Revision", "answer": shortened()})])
    )
    before = {shot.id: shot for shot in script.shots()}
    assert [shot.id for shot in after.shots()] == [id_ for id_ in before if id_ != "1B"]
    assert all(before[shot.id] == shot for shot in after.shots()) and summary == "The second shot is gone."
    diff = script_diff(script, after)
    lines = [line for line in diff.splitlines() if line[:3] not in ("+++", "---")]
    assert any(line.startswith("-") and line.endswith("id: 1B") for line in lines)
    added = [line for line in lines if line.startswith("+")]
    assert added == ["+    2A: a green bear with a scarf"], "who changed in the shot that is gone changes in the next"


def test_a_note_may_insert_and_replace_but_not_invent(tmp_path: Path) -> None:
    script = plan(Talker(), tmp_path)
    content = {"seconds": 2.0, "size": "CU", "angle": "eye", "movement": "static", "transition_in": "cut", "continuity": "new",
               "action": "The bear laughs.", "entities": ["bear"], "lines": []}  # fmt: skip
    change = {"what": "insert", "shot": "1A", "content": content}
    after = applied(script, Revision.model_validate({"summary": "", "changes": [change]}))
    assert [shot.id for shot in after.shots()][:2] == ["1A", "1A-1"]
    for wrong in ({**change, "shot": "9Z"}, {**change, "content": None}):
        with pytest.raises(InputError):
            applied(script, Revision.model_validate({"summary": "", "changes": [wrong]}))
    stranger = {**change, "content": {**content, "entities": ["nobody"]}}
    bad = Said(**{"for": "Revision", "answer": {"summary": "", "changes": [stranger]}})
    with pytest.raises(BadAnswer, match="unknown"):
        revise(script, "more", ScriptedModel("scripted:x", [bad]))


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_a_film_is_planned_reviewed_and_made_through_a_provider(
    provider: str, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(author, gemini=provider == "gemini", faults=["", "not JSON"])
    with serving(served) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
        monkeypatch.setenv("GEMINI_API_KEY", "AIza" + "x" * 30)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        command = ["film", "A fox met a bear.", "-o", "film", "--seconds", "6", "--generator", str(tiny_bundle), "--planner", f"{provider}:m",
                   "--critic", f"{provider}:m", "--price", "1,2", "--budget", "5"]  # fmt: skip
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert "(after one repair)" in result.output
        shown = CliRunner().invoke(app, ["status", "film"])
        assert "it is what was asked" in shown.output
        doctor = CliRunner().invoke(
            app, ["doctor", "--planner", f"{provider}:m", "--critic", f"{provider}:m", "--generator", str(tiny_bundle)]
        )
        assert doctor.exit_code == 0, doctor.output
        assert "keeps to the schema" in doctor.output and "pictures: sees them" in doctor.output
        revised = CliRunner().invoke(app, ["plan", "film", "--revise", "shorter"])
        assert revised.exit_code == 0, revised.output
        assert "to be shot anew" not in revised.output and "2A" not in [
            s.id for s in Production(Path("film")).read_script().shots()
        ]
    production = Production.open(Path("film"))
    calls = [e for e in production.read_log() if e["event"] == "call"]
    assert {"Outline", "Cast", "Scenes", "Shots", "Looks", "View", "Revision"} <= {call["for"] for call in calls}
    assert all(call["dollars"] > 0 for call in calls)
    sheets = list((production.folder / "takes").glob("*/*/reviews/*.jpg"))
    assert sheets
    verdicts = [e for e in production.read_log() if e["event"] == "verdict"]
    assert all(v["marks"]["identity"] == 0.9 for v in verdicts if v["reason"].startswith("it is"))
    assert production.film_path.is_file()


def test_a_budget_ends_a_film_in_the_middle_and_nothing_is_lost(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Served(author)) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        base = [
            "film",
            "A fox met a bear.",
            "-o",
            "film",
            "--seconds",
            "6",
            "--generator",
            str(tiny_bundle),
            "--planner",
            "openai:m",
        ]
        unpriced = CliRunner().invoke(app, [*base, "--budget", "1"])
        assert unpriced.exit_code == 2 and "--price SENT,RECEIVED" in unpriced.output
        poor = CliRunner().invoke(app, [*base, "--price", "100,100", "--budget", "0.6"])
        assert poor.exit_code == 1 and "raise --budget" in poor.output, poor.output
        kept = sorted(path.name for path in Path("film/plan").glob("*.yaml"))
        assert kept
        rich = CliRunner().invoke(app, ["film", "film", "--budget", "50"])
        assert rich.exit_code == 0, rich.output
        assert "kept from before" in rich.output


def test_a_scripted_model_plans_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no such parameter"):
        load_template("three-act", {"no": "thing"})
    script = tmp_path / "says.yaml"
    script.write_text("- {for: Outline, fails: refused}\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["plan", "A fox met a bear.", "-o", "film", "--planner", f"scripted:{script}"])
    assert result.exit_code == 1 and "refused" in result.output
    assert Path("film/story.txt").is_file()
    assert open_model(f"scripted:{script}").name.startswith("scripted:")
