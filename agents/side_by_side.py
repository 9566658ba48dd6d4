"""Pieces of work that do not wait for each other, a few at a time, through LangGraph's `Send`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import or_
from typing import Annotated, Any, TypedDict, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _State(TypedDict):
    done: Annotated[dict[int, Any], or_]


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], at_most: int = 4) -> list[Result]:
    """`work` of every item, in their order; what it raises ends the rest."""
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import Send

    def one(state: dict[str, int]) -> dict[str, dict[int, Any]]:
        return {"done": {state["index"]: work(items[state["index"]])}}

    graph: Any = StateGraph(_State)
    graph.add_node("work", one)
    graph.add_conditional_edges(START, lambda state: [Send("work", {"index": i}) for i in range(len(items))], ["work"])
    graph.add_edge("work", END)
    done = graph.compile().invoke({"done": {}}, {"max_concurrency": at_most})["done"] if items else {}
    return [done[index] for index in range(len(items))]
