from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filmwright.agents.critic import Look, MeasuredCritic, Verdict
from filmwright.agents.floor import Floor
from filmwright.agents.prompts import staging_asked
from filmwright.cli import app
from filmwright.generator.measure import measure_frames
from filmwright.storyboard.production import Production
from filmwright.storyboard.stage import Measures
from filmwright.storyboard.takes import circled
from typer.testing import CliRunner

GOOD = Measures(0.8, None, 0.2, 0.004, 0.0, 0.0, 0.01, "test")
PROMPT = "wide shot , forest , day , camera still : fox walks right ."
LOOK = Look(GOOD, PROMPT, 0, True, 0.4, 2, 1, asked=staging_asked(PROMPT))
SEEN = {"puppets": {"fox": 0.1}, "place": ("forest", "day")}


def verdict(**measures: Any) -> Verdict:
    return MeasuredCritic().review(replace(LOOK, measures=replace(GOOD, **measures)))


def test_a_good_chunk_goes_on() -> None:
    assert verdict().action == "continue"


@pytest.mark.parametrize(
    ("measures", "action", "reason"),
    [
        ({"cut": 0.001}, "rewind", "planned cut not seen"),
        ({"prompt": 0.1}, "rewind", "not what was asked"),
        ({"flicker": 0.5}, "rewind", "flicker"),
        ({"exposure_drift": -0.4}, "rewind", "exposure drifts"),
        ({"motion": 0.0}, "reprompt", "stagnation"),
        (SEEN | {"puppets": {}}, "rewind", "shows no fox"),
        (SEEN | {"puppets": {"bear": 0.1}}, "rewind", "shows no fox, shows a bear that nobody asked for"),
        (SEEN | {"puppets": {"fox": 0.1, "bear": 0.1}}, "rewind", "shows a bear that nobody asked for"),
        (SEEN | {"place": ("castle", "day")}, "rewind", "shows castle instead of forest"),
        (
            SEEN | {"place": ("castle", "night"), "puppets": {}},
            "rewind",
            "shows castle instead of forest, shows night instead of day, shows no fox",
        ),
    ],
)
def test_every_fault_has_its_verdict(measures: dict[str, Any], action: str, reason: str) -> None:
    found = verdict(**measures)
    assert found.action == action
    assert reason in found.reason
    assert found.score <= verdict().score


def test_puppets_are_no_fault_where_they_are_right_or_cannot_be_seen() -> None:
    assert verdict(**(SEEN | {"puppets": {"fox": 0.01}})).action == "continue"
    assert (
        verdict(**(SEEN | {"puppets": {"fox": 0.1, "bear": 0.004}})).action == "continue"
    )  # a few pixels may be mistaken
    assert verdict(puppets=None).action == "continue"
    prose = replace(LOOK, measures=replace(GOOD, puppets={}, place=("castle", "day")), asked=None)
    assert MeasuredCritic().review(prose).action == "continue"


def test_a_likeness_is_asked_only_where_nobody_can_read() -> None:
    assert verdict(prompt=0.1, **SEEN).action == "continue"
    prose = replace(LOOK, measures=replace(GOOD, prompt=0.1, **SEEN), asked=None)  # type: ignore[arg-type]
    assert "similarity" in MeasuredCritic().review(prose).reason


def test_a_frozen_walker_is_told_to_run() -> None:
    assert verdict(motion=0.0).prompt == "wide shot , forest , day , camera still : fox runs right ."


def test_when_interventions_are_spent_a_new_take_is_asked_for_and_then_a_person() -> None:
    bad = replace(LOOK, measures=replace(GOOD, flicker=0.5), interventions_left=0)
    assert MeasuredCritic().review(bad).action == "reshoot"
    assert MeasuredCritic().review(replace(bad, takes_left=0)).action == "ask"


def test_a_generator_without_a_clip_is_not_blamed_for_its_prompt() -> None:
    assert verdict(prompt=None).action == "continue"


def test_measures_are_those_of_the_frames() -> None:
    frames = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    frames[2:] = 255
    found = measure_frames(frames, "", (), frames[:1] + 255, None, None, "test")
    assert found.exposure_drift == pytest.approx(2.0)
    assert found.flicker == pytest.approx(1.0)
    assert found.motion == pytest.approx(1 / 3)
    assert found.cut == pytest.approx(1.0)
    assert found.prompt is None


def test_verdicts_are_acted_on_while_the_shot_rolls(
    tmp_path: Path, story: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = iter(["rewind", "continue", "reprompt", "continue", "reshoot"])

    def review(self: Floor) -> Verdict:
        action = next(script, "continue")
        result = Verdict(
            action=action,
            reason="as the test says",
            score=0.5,
            chunks=1,
            prompt="wide shot , castle , night , camera still .",
        )  # type: ignore[arg-type]
        self.take.verdicts.append({"chunk": len(self.take.latents) - 1, **result.model_dump(exclude_none=True)})
        return result

    monkeypatch.setattr(Floor, "review", review)
    outcome = CliRunner().invoke(app, ["film", story, "--generator", str(tiny_bundle), "-o", "film", "--seconds", "12"])
    assert outcome.exit_code == 0, outcome.output
    production = Production.open(tmp_path / "film")
    first = circled(production, next(production.read_script().shots()).id)
    assert first is not None
    assert first.take == 2
    log = [event["event"] for event in production.read_log()]
    assert log.count("reprompt") == 2  # a rewind may bring a better prompt too
