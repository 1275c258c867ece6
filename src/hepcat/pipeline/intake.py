"""From HEP messages to indexed batches in the queue: the kernels, called once a batch.

In: messages in a source's buffer. Out: batches in the queue, or their records counted under a drop
reason. Nothing here waits, and nothing a peer sends raises. One intake a source's thread.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.gather import take_rows
from hepcat.batch.layout import NUMERIC, Array, Batch
from hepcat.batch.schema import FIELD_COUNT, FIELD_INDEX, FLAG_KEEPALIVE, FLAG_STUN, MAX_RECORD
from hepcat.pipeline.queue import BatchTaker
from hepcat.pipeline.switch import CaptureSwitch
from hepcat.sources.source import Tally
from hepcat.wire.hep import AuthKeys, decode_hep
from hepcat.wire.sip import index_sip

#: Agents counted by their node id, each worker; the ids of a hostile sender go into one count.
MAX_AGENTS: Final = 256
#: Rows of a batch at most. The columns of that many rows stay within a core's cache.
MAX_ROWS: Final = 4096
_NODE_NAME: Final = FIELD_INDEX["node_name"]
#: Octets of an agent's name that are shown.
_LONGEST_NAME: Final = 256
_NOT_STORED: Final = FLAG_KEEPALIVE | FLAG_STUN


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """What decoding needs of the settings; replaced as a whole on reload."""

    keys: AuthKeys | None = None
    extra_headers: tuple[str, ...] = ()
    aleg_headers: tuple[str, ...] = ("X-CID",)
    inflate_bound: int = MAX_RECORD


@dataclass(slots=True)
class AgentSeen:
    """A capture agent: how much came of it, when the last of it (seconds since the epoch), its name then."""

    messages: int = 0
    last: float = 0.0
    name: str = ""


class LiveOptions:
    """Holds the options in force: one attribute, so that a reload is one assignment."""

    __slots__ = ("current",)

    def __init__(self, current: IntakeOptions) -> None:
        self.current = current


class HepIntake:
    """Decodes, indexes, sorts out and queues what one source's thread read."""

    def __init__(
        self,
        queue: BatchTaker,
        tally: Tally,
        options: LiveOptions,
        switch: CaptureSwitch | None = None,
    ) -> None:
        self.tally = tally
        self._switch = switch or CaptureSwitch()
        #: by node id (chunk 0x000c), of at most MAX_AGENTS agents; None is the others
        self.agents: dict[int | None, AgentSeen] = {}
        self._queue = queue
        self._options = options
        self._batch: Batch | None = None

    def add(self, data: Any, offsets: Array, lengths: Array, count: int, received_us: int) -> None:
        """Decode and index `count` messages; see `hepcat.sources.source.Intake`."""
        options, tally = self._options.current, self.tally
        if not self._switch.is_on(tally.source):
            tally.drops[Drop.CAPTURE_OFF] += count
            tally.pending -= count
            return
        at = 0
        while at < count:
            batch = self._open_batch(count - at, lengths[at:count], options)
            first = batch.n
            done = decode_hep(
                data,
                offsets[at:],
                lengths[at:],
                count - at,
                received_us,
                batch,
                tally.drops,
                options.keys,
                options.inflate_bound,
            )
            index_sip(batch, first, options.aleg_headers)
            tally.pending -= done - (batch.n - first)
            at += done
            if at < count:
                self.flush()

    def flush(self) -> None:
        """Queue the open batch, or count its records as lost."""
        batch, self._batch = self._batch, None
        if batch is None or batch.n == 0:
            return
        tally, rows = self.tally, batch.n
        self._count_agents(batch)
        batch = self._sort_out(batch)
        if batch.n:
            refusal = self._queue.put(_compact(batch), tally)
            if refusal is None:
                tally.handed += batch.n
            else:
                tally.drops[refusal] += batch.n
        tally.pending -= rows

    def _open_batch(self, count: int, lengths: Array, options: IntakeOptions) -> Batch:
        """Return the open batch, or one with room for these messages (a record may be of any length)."""
        if self._batch is not None and (
            self._batch.n < self._batch.capacity and self._batch.extra == options.extra_headers
        ):
            return self._batch
        self.flush()
        octets = max(int(lengths.sum(dtype=np.int64)), 2 * MAX_RECORD)
        self._batch = _new_batch(min(max(count, 64), MAX_ROWS), octets, options.extra_headers)
        return self._batch

    def _sort_out(self, batch: Batch) -> Batch:
        """Take away what is neither SIP nor worth storing, counted."""
        flags = batch.flags[: batch.n]
        unwanted = flags & _NOT_STORED
        if not unwanted.any():
            return batch
        keepalives = int(np.count_nonzero(flags & FLAG_KEEPALIVE))
        self.tally.drops[Drop.KEEPALIVE] += keepalives
        self.tally.drops[Drop.STUN] += int(np.count_nonzero(unwanted)) - keepalives
        return take_rows(batch, unwanted == 0)

    def _count_agents(self, batch: Batch) -> None:
        nodes = batch.node_id[: batch.n]
        first = int(nodes[0])
        if (nodes == first).all():
            self._count_agent(batch, first, 0, batch.n)
            return
        for node, row, count in zip(
            *(a.tolist() for a in np.unique(nodes, return_index=True, return_counts=True)), strict=True
        ):
            self._count_agent(batch, node, row, count)

    def _count_agent(self, batch: Batch, node: int, row: int, count: int) -> None:
        """Count an agent's records; `row` is one of them, and says what the agent is called."""
        known: int | None = node if node in self.agents or len(self.agents) < MAX_AGENTS else None
        seen = self.agents.get(known)
        if seen is None:
            seen = self.agents[known] = AgentSeen()
        seen.messages += count
        seen.last = time.time()
        if known is not None:
            seen.name = _name_in(batch, row)


def _new_batch(rows: int, octets: int, extra: tuple[str, ...]) -> Batch:
    """Return a batch like Batch.empty, its columns not filled: decode_hep writes every one."""
    start = np.empty(rows + 1, dtype=np.int64)
    start[0] = 0
    return Batch(
        n=0,
        buffer=np.empty(octets, dtype=np.uint8),
        start=start,
        src_ip=np.empty((rows, 16), dtype=np.uint8),
        dst_ip=np.empty((rows, 16), dtype=np.uint8),
        fields=np.empty((rows, FIELD_COUNT + len(extra), 2), dtype=np.uint16),
        extra=extra,
        **{name: np.empty(rows, dtype=dtype) for name, dtype, _ in NUMERIC},
    )


def _name_in(batch: Batch, row: int) -> str:
    """Return the agent's name that a record has (chunk 0x0013), bounded."""
    offset, length = (int(value) for value in batch.fields[row, _NODE_NAME])
    begin = int(batch.start[row]) + offset
    return bytes(batch.buffer[begin : begin + min(length, _LONGEST_NAME)]).decode("utf-8", "replace")


def _compact(batch: Batch) -> Batch:
    """Trim; where most of the buffer is unused (few messages), copy the rest of it out."""
    trimmed = batch.trim()
    if trimmed.octets * 2 < len(batch.buffer):
        trimmed.buffer = trimmed.buffer.copy()
    return trimmed
