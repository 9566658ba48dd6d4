"""The director: a flat LangGraph that takes a film from the story to the cut.

    plan -> ask_script -> cast -> ask_casting -> next_shot -> begin -> roll -> review -> ... -> circle -> ask_take -> cut -> ask_cut

A critic that asks for a person while a shot rolls leads from review to ask_chunk and back.

State carries ids, numbers and hashes only; whatever is live stands on the `Floor` and can be built again from the
production. A node that asks a person does nothing before its interrupt, since a resumed node runs from its first line.
Loops end by the film's own limits: chunks of a shot, interventions, takes.
"""

from __future__ import annotations

import sqlite3
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from ..storyboard.cut import CutReport
from ..storyboard.production import Production, ReviewPoint, Settings
from ..storyboard.takes import dependency_hash, file_digest
from .casting import add_references, draw_missing
from .crew import hire_painter
from .cutting import cut_film
from .edits import check_positions
from .events import Event, Listener
from .floor import Floor, ShotFailed
from .planning import plan_story
from .questions import Answer, Asker, Question, answer_about, answer_of
from .recovery import rejected_positions
from .session_database import open_session

THREAD = "film"


class State(TypedDict, total=False):
    """Attributes:
    decision: what the last node decided, or a person; `text`: what the person said besides.
    question: what a person is to be asked about the chunk that was just made.
    """

    queue: list[int]
    position: int
    take: int
    failed: list[str]
    decision: str
    text: str
    question: Question
    stopped: bool


@dataclass(frozen=True)
class Order:
    """What to do: positions to shoot (None: whatever is stale), again or not, and whether to cut.

    Attributes:
        debug: lets errors that nobody expects end the run with their traceback.
    """

    shots: Sequence[int] | None = None
    again: bool = False
    cut: bool = True
    references: Mapping[str, Path] | None = None
    debug: bool = False


class Director:
    """Runs the graph over one production."""

    def __init__(self, production: Production, settings: Settings, order: Order, listener: Listener) -> None:
        self.production, self.settings, self.order, self.tell = production, settings, order, listener
        self.floor = Floor(production, settings, listener, debug=order.debug)
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
        self.order = replace(self.order, references=None)
        unused = [
            entity.name for entity in script.entities if entity.references and not self.floor.profile.max_references
        ]
        if unused:
            profile = self.floor.profile
            text = f"the pictures of {', '.join(unused)} are not used: {profile.name} with memory {profile.memory} looks at none"
            self.tell(Event("warning", {"text": text}))
        began = time.perf_counter()
        painter = hire_painter(self.production, self.settings, self.tell)
        drawn = draw_missing(self.production, script, self.floor.generator, self.settings.film_seed, painter)
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
        self.floor.begin(state["position"], anew=self.order.again)
        return {"take": self.floor.take.number}

    def roll(self, state: State) -> State:
        if not self.floor.rolling(state["position"], state["take"]):
            self.floor.begin(state["position"], anew=self.order.again)
        try:
            self.floor.roll()
        except ShotFailed as error:
            shot = self.floor.take.shot.id
            trace = "".join(traceback.format_exception(error))
            self.production.log("failed", shot=shot, take=state["take"], reason=str(error), traceback=trace)
            self.tell(Event("failed", {"shot": shot, "reason": str(error)}))
            self.floor.abandon(broken=True)
            return {"decision": "failed", "failed": [*state.get("failed", []), shot]}
        return {"decision": "rolled"}

    def review(self, state: State) -> State:
        verdict = self.floor.review()
        if verdict.action == "ask" and "takes" in self.settings.review and not self.floor.take.trusted:
            question = self.floor.question_about_chunk(verdict)
            answer = answer_about(self.production, question["about"])
            if answer is None:
                return {"decision": "ask", "question": question}
            return {"decision": self._follow(answer)}  # answered before this process began
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
        return {"decision": self._rolled_on()}

    def _rolled_on(self) -> str:
        return "continue" if self.floor.chunks_left() else "whole"

    def ask_chunk(self, state: State) -> State:
        return self._put_question(state["question"])

    def chunk_answer(self, state: State) -> State:
        """Acts on what was said about a chunk. A take that is not live any more is rolled again up to that chunk first."""
        if not self.floor.rolling(state["position"], state["take"]):
            return {"decision": "resume"}
        answer = answer_of(state)
        assert answer is not None
        return {"decision": self._follow(answer)}

    def _follow(self, answer: Answer) -> str:
        """approve: go on without asking again. modify: the chunk is drawn anew under another prompt. reject: it is drawn anew."""
        if answer["decision"] == "approve":
            self.floor.take.trusted = True
            return self._rolled_on()
        self.floor.rewind(1)
        if answer["decision"] == "modify" and answer.get("text"):
            self.floor.reprompt(answer["text"])
        return "continue"

    def circle(self, state: State) -> State:
        record = self.floor.finish()
        another = not self.order.again and len(self.floor.circling.rivals(record)) < self.settings.takes
        number = self.floor.circling.choose(record, newest=self.order.again)
        queue = list(state.get("queue", []))
        if not another and self.order.shots is None and self.floor.circling.goes_stale_after(state["position"]):
            following = state["position"] + 1
            queue = [following, *(position for position in queue if position != following)]
        return {"take": number, "queue": queue, "decision": "another" if another else "circled"}

    def ask_take(self, state: State) -> State:
        return self._put_question(self.floor.circling.question_about(state["position"], state["take"]))

    def take_answer(self, state: State) -> State:
        """Acts on what was said about a take: it is the person's choice, or the shot gets a new prompt, or is made once more."""
        shot = self.floor.current.shots[state["position"] - 1]
        decision = state.get("decision", "approve")
        if decision == "approve":
            self.floor.circling.approve(shot.id, state["take"])
            return {}
        if decision == "modify":
            script = self.floor.script()
            list(script.shots())[state["position"] - 1].prompt = state.get("text", "")
            self.production.write_script(script)
        else:
            self.floor.circling.reject(shot.id, state["take"])
        return {"queue": [state["position"], *state.get("queue", [])]}

    def cut(self, state: State) -> State:
        began = time.perf_counter()
        self.report = cut_film(self.production, self.settings, self.floor.current, self.tell)
        self.floor.spent["cut"] = time.perf_counter() - began
        return {}

    def ask_cut(self, state: State) -> State:
        return self._ask("cut", "Is this the film?", self.production.film_path)

    def stop(self, state: State) -> State:
        return {"stopped": True}

    # --- the graph ---------------------------------------------------------------------------------------------

    def _ask(self, point: ReviewPoint, text: str, path: Path) -> State:
        about, shown = self._subject(point), path.relative_to(self.production.folder).as_posix()
        return self._put_question({"point": point, "about": about, "text": text, "path": shown})

    def _put_question(self, question: Question) -> State:
        answer: Answer = interrupt(dict(question))
        return {"decision": answer.get("decision", "approve"), "text": answer.get("text", "")}

    def _queue(self) -> list[int]:
        total = len(list(self.floor.script().shots()))
        check_positions(self.order.shots, total)
        chosen = list(self.order.shots) if self.order.shots is not None else list(range(1, total + 1))
        if self.order.again:
            return chosen
        due = {*self.floor.circling.settle(chosen), *rejected_positions(self.production, self.floor.script())}
        return [n for n in chosen if n in due]

    def graph(self) -> Any:
        """The graph, not yet compiled."""
        graph: Any = StateGraph(State)
        for name in (
            "plan", "replan", "ask_script", "cast", "ask_casting", "next_shot", "begin", "roll", "review", "ask_chunk",
            "chunk_answer", "circle", "ask_take", "take_answer", "cut", "ask_cut", "stop",
        ):  # fmt: skip
            graph.add_node(name, getattr(self, name))
        review = set(self.settings.review)

        def go(point: ReviewPoint, asks: str, on: str) -> str:
            return asks if point in review and not self._approved(point) else on

        def after_script(state: State) -> str:
            after = {"approve": "cast", "modify": "ask_script", "reject": "replan", "terminate": "stop"}
            return after[state["decision"]]

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
            lambda s: {"reshoot": "begin", "whole": "circle", "ask": "ask_chunk"}.get(s["decision"], "roll"),
            ["begin", "circle", "roll", "ask_chunk"],
        )
        graph.add_conditional_edges(
            "ask_chunk", lambda s: "stop" if s["decision"] == "terminate" else "chunk_answer", ["chunk_answer", "stop"]
        )
        graph.add_conditional_edges(
            "chunk_answer",
            lambda s: {"resume": "begin", "whole": "circle"}.get(s["decision"], "roll"),
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

    def run(self, ask: Asker) -> State:
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
                given = Command(resume=self._unheeded(pending) or self._put(pending, ask))
            else:
                session.begin_anew()  # everything that is done is on disk; the nodes pass over it
            app = graph.compile(checkpointer=session.saver)
            while True:
                result: dict[str, Any] = app.invoke(given, config, durability="sync")
                stops = result.get("__interrupt__")
                if not stops:
                    return result  # type: ignore[return-value]
                given = Command(resume=self._put(stops[0].value, ask))

    def _pending(self, app: Any, config: Any) -> Question | None:
        """The question that an earlier run left, if it is still to be asked; None also when it cannot be read."""
        try:
            asked = [dict(i.value) for task in app.get_state(config).tasks for i in task.interrupts]
            if not asked or asked[0]["point"] not in self.settings.review:
                return None
            about, text, path = (str(asked[0].get(name, "")) for name in ("about", "text", "path"))
            return {"point": asked[0]["point"], "about": about, "text": text, "path": path}
        except sqlite3.Error:
            raise
        except Exception:  # decoders raise whatever damaged rows make of them
            text = f"{self.production.session_path} is damaged: its question is asked again"
            self.tell(Event("warning", {"text": text}))
            return None

    def _put(self, question: Question, ask: Asker) -> Answer:
        """Asks; the path that the session keeps is the production's, which may have moved since."""
        shown: Question = {**question, "path": str(self.production.folder / question["path"])}
        self.tell(Event("question", dict(shown)))
        answer = ask(shown)
        self.production.log("answer", point=question["point"], of=question["about"], **answer)
        return answer

    def _unheeded(self, question: Question) -> Answer | None:
        """An answer to a pending question that was given, and not acted on before the process ended."""
        log = self.production.read_log()
        about = question.get("about")
        if not log or log[-1].get("event") != "answer" or not about or log[-1].get("of") != about:
            return None
        return answer_of(log[-1])

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
        return bool(said) and said[-1].get("decision") == "approve" and said[-1].get("of") == self._subject(point)
