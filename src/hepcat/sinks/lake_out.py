"""Records straight into the lake of this machine: one process that captures and stores.

In: batches. Out: the lake's journal. What can go wrong: see BatchSink and LakeWriter. pyarrow is imported
when the sink starts, and only then.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from hepcat.batch.layout import Batch
from hepcat.batch.schema import NO_NODE
from hepcat.config.agent import AgentSettings, TargetSettings
from hepcat.sinks.batch_sink import BatchSink

log = structlog.get_logger("hepcat.lake")


class LakeKeeper:
    """Appends to a lake; a record without a node id gets the agent's."""

    def __init__(self, folder: Path, node_id: int) -> None:
        self._folder = folder
        self._node_id = node_id
        self._writer: Any = None

    def open(self) -> None:
        """Lock the lake and take over what a crash left. Raises HepcatError."""
        from hepcat.stores.lake import LakeWriter

        self._writer = LakeWriter(self._folder, on_event=_tell)

    def keep(self, batch: Batch) -> None:
        """Append a batch. Raises StoreUnavailable, a HepcatError."""
        node_id = np.where(batch.node_id == NO_NODE, self._node_id, batch.node_id).astype(np.uint32)
        self._writer.append(replace(batch, node_id=node_id))

    def tend(self) -> None:
        """Nothing: the lake has threads of its own."""

    def close(self) -> None:
        """Make everything durable."""
        if self._writer is not None:
            self._writer.close()


def _tell(event: str, facts: dict[str, Any]) -> None:
    log.info(event.replace("_", " "), **facts)


def make_lake_sink(settings: TargetSettings, agent: AgentSettings) -> BatchSink:
    """Return the sink of a target of kind lake."""
    assert settings.path is not None
    node_id = agent.node_id if settings.node_id is None else settings.node_id
    return BatchSink(settings.name, LakeKeeper(settings.path, node_id), settings.memory)
