"""Planner, casting, director, critic: the crew. No torch here; generators are known through `storyboard.stage`."""

import os

# Before LangGraph is imported anywhere: only types named in the graph's state are unpacked, and nothing is reported.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
os.environ.setdefault("LANGSMITH_TRACING", "false")
os.environ.setdefault("LANGCHAIN_TRACING_V2", "false")
