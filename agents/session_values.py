"""What a session's database may bring back: plain values and LangGraph's own types."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

PLAIN = ("null", "msgpack")


class PlainSerializer(JsonPlusSerializer):
    """LangGraph's serializer without objects of a stranger's choice: by default a database may name any function, which is called."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None, allowed_json_modules=None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """A value of the database.

        Raises:
            ValueError: it is neither null nor MessagePack.
        """
        if data[0] not in PLAIN:
            raise ValueError(f"a session holds no values of type {data[0]!r}")
        return super().loads_typed(data)
