"""The director: a flat LangGraph that takes a film from the story to the cut.

    plan -> ask_script -> cast -> ask_casting -> next_shot -> begin -> roll -> review -> ... -> circle -> ask_take -> cut -> ask_cut

State carries ids, numbers and hashes only; whatever is live stands on the `Floor` and can be built again from the
production. A node that asks a person does nothing before its interrupt, since a resumed node runs from its first line.
Loops end by the film's own limits: chunks of a shot, interventions, takes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from ..storyboard.cut import CutReport, assemble, write_stand_in
from ..storyboard.errors import InputError
from ..storyboard.fountain import is_fountain
from ..storyboard.production import Production, ReviewPoint, Settings
from ..storyboard.script import Script
from ..storyboard.stage import Frames, open_generator
from ..storyboard.takes import circled, dependency_hash, file_digest, shot_folder, take_folder
from ..storyboard.timeline import ShotTiming
from ..templates.loader import load_template
from .casting import add_references, draw_missing
from .crew import hire_painter, hire_planner
from .events import Event, Listener
from .floor import Floor, ShotFailed
from .pages import write_storyboard
from .planner import RULES
from .prompts import shot_prompt
from .recovery import rejected_positions
from .screenplay import plan_screenplay
from .session_database import open_session

Decision = Literal["approve", "modify", "reject", "terminate"]
"""approve: go on. modify: go on with the given text. reject: do it again. terminate: stop here, keep everything."""

THREAD = "film"


class Answer(TypedDict, total=False):
    """What a person says at a pause."""

    decision: Decision
    text: str


class State(TypedDict, total=False):
    queue: list[int]
    position: int
    take: int
    failed: list[str]
    decision: str
    stopped: bool


@dataclass(frozen=True)
class Question:
    """A pending review."""

    point: ReviewPoint
    text: str
    path: str


@dataclass(frozen=True)
class Order:
    """What to do: positions to shoot (None: whatever is stale), again or not, and whether to cut."""

    shots: Sequence[int] | None = None
    again: bool = False
    cut: bool = True
    references: Mapping[str, Path] | None = None


def check_positions(shots: Sequence[int] | None, total: int) -> None:
    """Refuses positions that a film of `total` shots does not have.

    Raises:
        InputError: names the first one.
    """
    for number in shots or ():
        if not 1 <= number <= total:
            raise InputError(f"--shots {number}: this film has shots 1 to {total}")


class Director:
    """Runs the graph over one production."""

    def __init__(self, production: Production, settings: Settings, order: Order, listener: Listener) -> None:
        self.production, self.settings, self.order, self.tell = production, settings, order, listener
        self.floor = Floor(production, settings, listener)
        self.report: CutReport | None = None

    # --- nodes -------------------------------------------------------------------------------------------------

    def plan(self, state: State) -> State:
        if not self.production.script_path.exists():
            plan_story(self.production, self.settings, self.tell)
        return {"failed": [], "stopped": False}

    def replan(self, state: State) -> State:
        """Puts a rejected script aside and plans with the next seed."""
        aside = self.production.folder / "plan"
        aside.mkdir(exist_ok=True)
        self.production.script_path.replace(aside / f"rejected-seed-{self.settings.seed}.yaml")
        self.settings.seed += 1
        self.production.write_settings(self.settings)
        return {}

    def ask_script(self, state: State) -> State:
        return self._ask("script", "Is this the script to shoot?", self.production.script_path)

    def cast(self, state: State) -> State:
        script = self.floor.script()
        script = add_references(self.production, script, self.order.references or {})
        self.order = Order(self.order.shots, self.order.again, self.order.cut)
        began = time.perf_counter()
        painter = hire_painter(self.production, self.settings, self.tell)
        drawn = draw_missing(self.production, script, self.floor.generator, self.settings.seed, painter)
        self.floor.spent["casting"] = time.perf_counter() - began
        if drawn:
            pictures = [vars(picture) for picture in drawn]
            self.production.log("casting", pictures=pictures)
            self.tell(Event("casting", {"drawn": [picture.entity for picture in drawn], "pictures": pictures}))
        return {"queue": self._queue()}

    def ask_casting(self, state: State) -> State:
        return self._ask("casting", "Are these the references to shoot with?", self.production.folder / "references")

    def next_shot(self, state: State) -> State:
        queue = list(state.get("queue", []))
        return {"position": queue[0] if queue else 0, "queue": queue[1:]}

    def begin(self, state: State) -> State:
        self.floor.begin(state["position"])
        return {"take": self.floor.take.number}

    def roll(self, state: State) -> State:
        if not self.floor.rolling(state["position"], state["take"]):
            self.floor.begin(state["position"])
        try:
            self.floor.roll()
        except ShotFailed as error:
            shot = self.floor.take.shot.id
            self.production.log("failed", shot=shot, take=state["take"], reason=str(error))
            self.tell(Event("failed", {"shot": shot, "reason": str(error)}))
            self.floor.abandon(broken=True)
            return {"decision": "failed", "failed": [*state.get("failed", []), shot]}
        return {"decision": "rolled"}

    def review(self, state: State) -> State:
        verdict = self.floor.review()
        if verdict.action == "rewind":
            self.floor.rewind(max(1, verdict.chunks))
            if verdict.prompt and verdict.prompt != self.floor.take.prompts[-1][1]:
                self.floor.reprompt(verdict.prompt)
        elif verdict.action == "reprompt" and verdict.prompt and self.floor.chunks_left():
            self.floor.spend_intervention()
            self.floor.reprompt(verdict.prompt)
        elif verdict.action == "reshoot":
            self.floor.abandon()
            return {"decision": "reshoot"}
        return {"decision": "continue" if self.floor.chunks_left() else "whole"}

    def circle(self, state: State) -> State:
        record = self.floor.finish()
        another = not self.order.again and len(self.floor.rivals(record)) < self.settings.takes
        return {
            "take": self.floor.choose(record, newest=self.order.again),
            "decision": "another" if another else "circled",
        }

    def ask_take(self, state: State) -> State:
        shot = list(self.floor.script().shots())[state["position"] - 1]
        folder = take_folder(self.production, shot.id, state["take"])
        return self._ask("takes", f"Is take {state['take']} of shot {shot.id} good?", folder / "frames.mp4")

    def take_answer(self, state: State) -> State:
        """Acts on what was said about a take: a new prompt for the shot, or once more."""
        decision, _, text = state.get("decision", "approve").partition(":")
        if decision not in ("modify", "reject"):
            return {}
        if decision == "modify":
            script = self.floor.script()
            list(script.shots())[state["position"] - 1].prompt = text
            self.production.write_script(script)
        return {"queue": [state["position"], *state.get("queue", [])]}

    def cut(self, state: State) -> State:
        began = time.perf_counter()
        self.report = cut_film(self.production, self.settings, self.floor, self.tell)
        self.floor.spent["cut"] = time.perf_counter() - began
        return {}

    def ask_cut(self, state: State) -> State:
        return self._ask("cut", "Is this the film?", self.production.film_path)

    def stop(self, state: State) -> State:
        return {"stopped": True}

    # --- the graph ---------------------------------------------------------------------------------------------

    def _ask(self, point: ReviewPoint, text: str, path: Path) -> State:
        shown = path.relative_to(self.production.folder).as_posix()  # the folder may move before somebody answers
        answer: Answer = interrupt({"point": point, "text": text, "path": shown})
        decision = answer.get("decision", "approve")
        said = f"{decision}:{answer['text']}" if answer.get("text") else decision
        return {"decision": said}

    def _queue(self) -> list[int]:
        total = len(list(self.floor.script().shots()))
        check_positions(self.order.shots, total)
        chosen = list(self.order.shots) if self.order.shots is not None else list(range(1, total + 1))
        if self.order.again:
            return chosen
        due = set(self.floor.stale()) | rejected_positions(self.production, self.floor.script())
        return [n for n in chosen if n in due]

    def graph(self) -> Any:
        """The graph, not yet compiled."""
        graph: Any = StateGraph(State)
        for name in (
            "plan", "replan", "ask_script", "cast", "ask_casting", "next_shot", "begin", "roll", "review", "circle", "ask_take",
            "take_answer", "cut", "ask_cut", "stop",
        ):  # fmt: skip
            graph.add_node(name, getattr(self, name))
        review = set(self.settings.review)

        def go(point: ReviewPoint, asks: str, on: str) -> str:
            return asks if point in review and not self._approved(point) else on

        def after_script(state: State) -> str:
            decision, _, _ = state["decision"].partition(":")
            return {"approve": "cast", "modify": "ask_script", "reject": "replan", "terminate": "stop"}[decision]

        graph.add_edge(START, "plan")
        graph.add_conditional_edges("plan", lambda s: go("script", "ask_script", "cast"), ["ask_script", "cast"])
        graph.add_conditional_edges("ask_script", after_script, ["cast", "ask_script", "replan", "stop"])
        graph.add_edge("replan", "plan")
        graph.add_conditional_edges(
            "cast", lambda s: go("casting", "ask_casting", "next_shot"), ["ask_casting", "next_shot"]
        )
        graph.add_conditional_edges(
            "ask_casting", lambda s: "stop" if s["decision"] == "terminate" else "next_shot", ["next_shot", "stop"]
        )
        done = "cut" if self.order.cut else END
        graph.add_conditional_edges("next_shot", lambda s: "begin" if s["position"] else done, ["begin", done])
        graph.add_edge("begin", "roll")
        graph.add_conditional_edges(
            "roll", lambda s: "next_shot" if s["decision"] == "failed" else "review", ["next_shot", "review"]
        )
        graph.add_conditional_edges(
            "review",
            lambda s: {"reshoot": "begin", "whole": "circle"}.get(s["decision"], "roll"),
            ["begin", "circle", "roll"],
        )
        graph.add_conditional_edges(
            "circle",
            lambda s: "begin" if s["decision"] == "another" else go("takes", "ask_take", "next_shot"),
            ["begin", "ask_take", "next_shot"],
        )
        graph.add_conditional_edges(
            "ask_take", lambda s: "stop" if s["decision"] == "terminate" else "take_answer", ["take_answer", "stop"]
        )
        graph.add_edge("take_answer", "next_shot")
        graph.add_conditional_edges("cut", lambda s: go("cut", "ask_cut", END), ["ask_cut", END])
        graph.add_edge("ask_cut", END)
        graph.add_edge("stop", END)
        return graph

    def run(self, ask: Any) -> State:
        """Runs to the end.

        Args:
            ask: called with a `Question`; returns an `Answer`, or raises `WaitsForPerson` when nobody can answer.

        Raises:
            WaitsForPerson: a review is pending; the session goes on from here another time.
            FilmwrightError: session.sqlite cannot be used.
        """
        with open_session(self.production.session_path, self.tell) as session:
            config = {"configurable": {"thread_id": THREAD}, "recursion_limit": 1_000_000}
            graph = self.graph()
            pending = self._pending(graph.compile(checkpointer=session.saver), config)
            given: Any = {"failed": []}
            if pending is not None:
                given = Command(resume=self._put(pending, ask))
            else:
                session.begin_anew()  # everything that is done is on disk; the nodes pass over it
            app = graph.compile(checkpointer=session.saver)
            while True:
                result: dict[str, Any] = app.invoke(given, config, durability="sync")
                stops = result.get("__interrupt__")
                if not stops:
                    return result  # type: ignore[return-value]
                given = Command(resume=self._put(stops[0].value, ask))

    def _pending(self, app: Any, config: Any) -> dict[str, str] | None:
        """The question that an earlier run left, if it is still to be asked; None also when it cannot be read."""
        try:
            asked = [dict(i.value) for task in app.get_state(config).tasks for i in task.interrupts]
            if not asked or asked[0]["point"] not in self.settings.review:
                return None
            return {name: str(asked[0][name]) for name in ("point", "text", "path")}
        except sqlite3.Error:
            raise
        except Exception:  # decoders raise whatever damaged rows make of them
            self.tell(
                Event("warning", {"text": f"{self.production.session_path} is damaged: its question is asked again"})
            )
            return None

    def _put(self, value: dict[str, str], ask: Any) -> Answer:
        path = str(self.production.folder / value["path"])
        question = Question(value["point"], value["text"], path)  # type: ignore[arg-type]
        self.tell(Event("question", {**value, "path": path}))
        answer: Answer = ask(question)
        of = value["path"] if question.point == "takes" else self._subject(question.point)
        self.production.log("answer", point=question.point, of=of, **answer)
        return answer

    def _subject(self, point: ReviewPoint) -> str:
        """What an answer is about, so that an approved script is not asked for again until it changes."""
        if point == "script":
            return file_digest(self.production.script_path)
        if point == "casting":
            images = sorted((self.production.folder / "references").glob("*/*.png"))
            return dependency_hash([(image.parent.name, file_digest(image)) for image in images])
        return ""

    def _approved(self, point: ReviewPoint) -> bool:
        if point not in ("script", "casting"):
            return False
        said = [e for e in self.production.read_log() if e["event"] == "answer" and e.get("point") == point]
        return bool(said) and said[-1]["decision"] == "approve" and said[-1].get("of") == self._subject(point)


def plan_story(production: Production, settings: Settings, tell: Listener) -> Script:
    """Plans the production's story and writes its script."""
    began = time.perf_counter()
    planner = hire_planner(production, settings, tell)
    story = production.story_path.read_text(encoding="utf-8")
    template = load_template(settings.template, settings.parameters)
    if settings.planner == RULES and is_fountain(story):
        script = plan_screenplay(story, template=template, seconds=settings.seconds)
    else:
        script = planner.plan(story, template=template, seconds=settings.seconds, seed=settings.seed)
    production.write_script(script)
    shots = list(script.shots())
    production.log("plan", planner=script.planner, template=template.name, shots=len(shots))
    tell(
        Event(
            "plan",
            {"planner": script.planner, "title": script.title, "shots": len(shots), "seconds": round(script.seconds(), 2),
             "spent_seconds": round(time.perf_counter() - began, 3)},
        )
    )  # fmt: skip
    return script


def cut_film(production: Production, settings: Settings, floor: Floor, tell: Listener) -> CutReport:
    """Joins the circled takes; a missing shot is stood in for by its drawing."""
    script, timeline, profile = floor.script(), floor.timeline(), floor.generator.profile
    stand_ins: dict[str, Path] = {}
    for shot, timing in zip(script.shots(), timeline.shots, strict=True):
        record = circled(production, shot.id)
        if record is None or record.frames != timing.frames:
            path = shot_folder(production, shot.id) / "missing.mp4"
            write_stand_in(path, _drawn(script, timing, settings.seed), timing, profile)
            stand_ins[shot.id] = path
    report = assemble(production, script, timeline, profile, stand_ins)
    write_storyboard(production, script, timeline)
    production.log("cut", frames=report.frames, missing=list(report.missing))
    tell(
        Event(
            "cut",
            {"film": str(report.path), "frames": report.frames, "seconds": round(report.seconds, 3), "missing": list(report.missing)},
        )
    )  # fmt: skip
    return report


def _drawn(script: Script, timing: ShotTiming, seed: int) -> Frames:
    """A shot as the theatre draws it, cut to the shot's frames."""
    theatre = open_generator("theatre")
    shot = next(s for s in script.shots() if s.id == timing.shot_id)
    copy = shot.model_copy(update={"prompt": None})
    rollout = theatre.start(seed)
    rollout.begin_shot(shot_prompt(script, copy, theatre.profile)[0], shot=shot.id, take=1)
    frames: list[Frames] = []
    while sum(len(f) for f in frames) < timing.frames:
        frames.append(rollout.step().frames)
    drawn: Frames = np.concatenate(frames)[: timing.frames]
    return drawn
