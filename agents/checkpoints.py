"""The director's checkpoints."""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.sqlite import SqliteSaver


class LatestCheckpoint(SqliteSaver):
    """Keeps the newest checkpoint of a thread and no other: a film goes on from there, and the file does not grow with it.

    No channel of the director's graph is stored as differences, so a checkpoint stands without the ones before it.
    """

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Saves a checkpoint, then removes the older ones and their writes."""
        saved = super().put(config, checkpoint, metadata, new_versions)
        place = saved["configurable"]
        kept = (place["thread_id"], place["checkpoint_ns"], place["checkpoint_id"])
        with self.cursor() as cursor:
            for table in ("checkpoints", "writes"):
                cursor.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id < ?", kept
                )
        return saved
