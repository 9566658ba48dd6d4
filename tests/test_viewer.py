"""The critic that looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from filmwright.agents.critic import Look, MeasuredCritic, Scenery
from filmwright.agents.models.language import BadAnswer
from filmwright.agents.models.scripted import Said, ScriptedModel
from filmwright.agents.viewer import TILE_WIDTH, Viewer, contact_sheet
from filmwright.storyboard.stage import Measures
from PIL import Image

from .model_server import author

PROMPT = "medium shot , forest , day , camera still : red plain fox stands right ."
FRAMES = np.random.default_rng(0).integers(0, 255, (12, 16, 32, 3), dtype=np.uint8)
GOOD = Measures(0.9, None, None, 0.01, 0.0, 0.0, 0.0, "test")


def view(**more: Any) -> dict[str, Any]:
    return {**author("View", ""), **more}


def look(measures: Measures = GOOD, interventions: int = 2, takes: int = 1) -> Look:
    scene = Scenery(FRAMES, FRAMES[0], "A fox waits.", "the forest", "day", "MS", "", {"fox": Image.new("RGB", (9, 9))})
    return Look(measures, PROMPT, 1, False, 0.5, interventions, takes, scene)


def critic(*answers: Any) -> tuple[Viewer, ScriptedModel]:
    model = ScriptedModel("scripted:x", [Said(**{"for": "View", "answer": answer}) for answer in answers])
    return Viewer(model, MeasuredCritic(), simple=True), model


def test_it_is_shown_the_intent_and_gives_marks() -> None:
    viewer, model = critic(view())
    verdict = viewer.review(look())
    assert verdict.action == "continue" and verdict.marks is not None and verdict.marks["setting"] == 0.9
    assert verdict.by == "scripted:x critic@1"
    said = model.heard[0][0].text
    assert "A fox waits." in said and "fox must look like" in said and PROMPT in said


def test_what_the_measured_critic_stops_is_not_shown() -> None:
    viewer, model = critic(view())
    assert viewer.review(look(Measures(0.1, None, None, 0.01, 0.0, 0.0, 0.0, "test"))).action == "rewind"
    assert model.heard == []


def test_it_rewinds_with_a_better_prompt() -> None:
    better = PROMPT.replace("red", "blue")
    poor = {"score": 0.1, "reason": "the fox is red"}
    verdict = critic(view(decision="rewind", chunks=2, prompt=better, identity=poor))[0].review(look())
    assert (verdict.action, verdict.chunks, verdict.prompt) == ("rewind", 2, better)
    assert "identity: the fox is red" in verdict.reason


def test_an_impossible_wish_is_repaired_or_refused() -> None:
    wrong = view(decision="rewind", chunks=5)
    viewer, model = critic(wrong, view())
    assert viewer.review(look()).action == "continue" and "cannot be drawn anew" in model.heard[1][-1].text
    with pytest.raises(BadAnswer, match="keep the form"):
        critic(view(decision="reprompt", prompt="a lovely fox"))[0].review(look())
    with pytest.raises(BadAnswer, match="needs the new prompt"):
        critic(view(decision="reprompt"))[0].review(look())


@pytest.mark.parametrize(
    ("interventions", "takes", "action"), [(1, 1, "reprompt"), (0, 1, "reshoot"), (0, 0, "continue")]
)
def test_it_does_what_may_still_be_done(interventions: int, takes: int, action: str) -> None:
    wish = view(decision="reprompt", prompt=PROMPT)
    assert critic(wish)[0].review(look(interventions=interventions, takes=takes)).action == action


def test_a_contact_sheet_is_rows_of_three_with_the_frame_before_framed() -> None:
    sheet = contact_sheet(FRAMES, FRAMES[0])
    assert sheet.size == (3 * TILE_WIDTH, 3 * TILE_WIDTH // 2)
    assert sheet.getpixel((1, 1)) == (255, 0, 0)
    assert contact_sheet(FRAMES[:1]).size == (TILE_WIDTH, TILE_WIDTH // 2)
