"""Stretches of TLS octets in, stretches of plaintext out.

In: `Stretches` of flows that carry TLS, in order within each flow; `Secrets`, to which others add. Out:
`Stretches` of the same flow ids whose octets stand in the arena, one a record of application data. A
record whose secret is not there yet waits, bounded in octets and in packet time, and so does all that
follows it on its flow: the order within a flow is kept. What can go wrong is counted in `drops`; the unit
is the record: records read = records opened + records held + drops. A run of octets that is no record, or
a record that was cut off, counts as one record read and one drop.

A stretch's packet is that of the stretch that completed the record; of a record that was held from an
earlier call it is the first packet of this call (0 in `expire`), its ts stays its own.
"""

from collections import OrderedDict, deque
from typing import Any

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.wire.columns import AREA_ARENA, FLOW_END, FLOW_GAP, FLOW_START, Arena, Array, Flows, Stretches
from hepcat.wire.tls.records import APPLICATION_DATA, Record, RecordReader
from hepcat.wire.tls.secrets import Secrets
from hepcat.wire.tls.session import Direction, Outcome, Session

#: What a held record costs beside its octets.
_OVERHEAD = 160


class _Connection(Session):
    """given_up: its records were waited for in vain; from now on nothing of it waits."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__(secrets)
        self.lanes: list[_Lane] = []
        self.given_up = False


class _Lane(Direction):
    """A direction on its flow. held: (record or None for a gap, packet, ts, call), oldest first.

    begun: something was handed out. lost: plaintext is missing before the next. ended: FLOW_END came.
    octets: what it counts for in the decryptor's sum; waiting: what `held` counts for.
    """

    def __init__(self, flow: int, connection: _Connection) -> None:
        super().__init__(connection)
        self.flow = flow
        self.connection = connection
        self.reader = RecordReader()
        self.held: deque[tuple[Record | None, int, int, int]] = deque()
        self.begun = False
        self.lost = False
        self.ended = False
        self.end = (0, 0, 0)
        self.octets = 0
        self.waiting = 0

    def measure(self) -> int:
        """Return the octets that it holds now."""
        transcript = len(self.connection.handshake.transcripts.get(self.role, b""))
        return self.waiting + len(self.reader.buffer) + len(self.messages.buffer) + transcript


class TlsDecryptor:
    """Follows at most `max_sessions` connections and holds at most about `max_octets` octets for them.

    wait_us: how long a record waits for its secret, in packet time. Over a bound the connection that has
    waited longest, else the one silent for longest, is given up (TLS_BOUND). One thread uses one decryptor;
    `secrets` may be shared.

    records, opened: counts since the start. held: records that wait now. octets: held now, all in all.
    """

    def __init__(
        self, secrets: Secrets, max_sessions: int = 2000, max_octets: int = 8 << 20, wait_us: int = 5_000_000
    ) -> None:
        self.secrets = secrets
        self.records = 0
        self.opened = 0
        self.held = 0
        self.octets = 0
        self._max_sessions = max_sessions
        self._max_octets = max_octets
        self._wait_us = wait_us
        self._lanes: dict[int, _Lane] = {}
        self._connections: OrderedDict[_Connection, None] = OrderedDict()  # least recently used first
        self._waiting: dict[_Connection, int] = {}  # since when, oldest first
        self._version = secrets.version
        self._call = 0
        self._packet = 0
        self._rows: list[tuple[int, int, int, bytes, int]] = []
        self._drops: dict[Drop, int] = {}

    @property
    def sessions(self) -> int:
        """How many connections are followed."""
        return len(self._connections)

    def feed(
        self,
        stretches: Stretches,
        rows: Array,
        data: Any,
        arena: Arena,
        flows: Flows,
        out: Stretches,
        drops: Array,
    ) -> int:
        """Read the given rows of `stretches`; append plaintext to `out` and its octets to `arena`.

        rows: int64, ascending. data: uint8, the window that AREA_WINDOW refers to. flows: for `peer`.
        drops: int64, indexed by Drop, added to. Returns the number of rows appended.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) == 0 and self._version == self.secrets.version:
            return 0
        self._begin(int(stretches.packet[rows[0]]) if len(rows) else 0)
        areas = (memoryview(data), arena.data.data)
        for flow, packet, ts, area, offset, length, marks in zip(
            stretches.flow[rows].tolist(),
            stretches.packet[rows].tolist(),
            stretches.ts[rows].tolist(),
            stretches.area[rows].tolist(),
            stretches.offset[rows].tolist(),
            stretches.length[rows].tolist(),
            stretches.marks[rows].tolist(),
            strict=True,
        ):
            octets = bytes(areas[area == AREA_ARENA][offset : offset + length])
            lane = self._lane(flow, marks, flows)
            self._take(lane, octets, marks, packet, ts)
            if self.octets > self._max_octets:
                self._shrink()
        return self._finish(arena, out, drops)

    def expire(self, now_us: int, arena: Arena, flows: Flows, out: Stretches, drops: Array) -> int:
        """Give up what has waited too long, and read what has got its secret; call it once in a while.

        now_us: capture time. The others and the result: as in `feed` (flows is not looked at).
        """
        self._begin(0)
        while self._waiting:
            connection, since = next(iter(self._waiting.items()))
            if abs(now_us - since) < self._wait_us:  # either way: the clock may have been set
                break  # those behind began to wait later
            self._give_up(connection, Drop.TLS_NO_KEY)
        return self._finish(arena, out, drops)

    # One call

    def _begin(self, packet: int) -> None:
        self._call += 1
        self._packet = packet
        if self._version != self.secrets.version:
            self._version = self.secrets.version
            for connection in list(self._waiting):
                self._advance(connection)

    def _finish(self, arena: Arena, out: Stretches, drops: Array) -> int:
        """Write what was collected into the columns."""
        for reason, count in self._drops.items():
            drops[reason] += count
        self._drops.clear()
        rows, self._rows = self._rows, []
        n = len(rows)
        if n == 0:
            return 0
        octets = b"".join(row[3] for row in rows)
        arena.reserve(len(octets))
        arena.data[arena.used : arena.used + len(octets)] = np.frombuffer(octets, dtype=np.uint8)
        out.grow(n)
        lengths = np.array([len(row[3]) for row in rows], dtype=np.int64)
        at = slice(out.n, out.n + n)
        out.flow[at] = [row[0] for row in rows]
        out.packet[at] = [row[1] for row in rows]
        out.ts[at] = [row[2] for row in rows]
        out.area[at] = AREA_ARENA
        out.offset[at] = arena.used + np.cumsum(lengths) - lengths
        out.length[at] = lengths
        out.marks[at] = [row[4] for row in rows]
        out.n += n
        arena.used += len(octets)
        return n

    def _drop(self, reason: Drop, count: int = 1) -> None:
        self._drops[reason] = self._drops.get(reason, 0) + count

    # Connections

    def _lane(self, flow: int, marks: int, flows: Flows) -> _Lane:
        """Return the flow's lane, a new one where it begins or was forgotten."""
        lane = self._lanes.get(flow)
        if lane is not None and (marks & FLOW_START or lane.ended):
            self._release(lane, Drop.TLS_NO_KEY)  # its flow id stands for another stream from here on
            self._remove(lane)
            lane = None
        if lane is not None:
            self._connections.move_to_end(lane.connection)
            return lane
        other = self._lanes.get(int(flows.peer[flow]))
        if other is not None and len(other.connection.lanes) == 1:
            connection = other.connection
        else:
            connection = _Connection(self.secrets)
            if len(self._connections) >= self._max_sessions:
                self._forget(next(iter(self._connections)))
        lane = self._lanes[flow] = _Lane(flow, connection)
        connection.join(lane)
        connection.lanes.append(lane)
        self._connections[connection] = None
        self._connections.move_to_end(connection)
        return lane

    def _remove(self, lane: _Lane) -> None:
        """Take a lane away; the other one goes on with the keys that they share."""
        connection = lane.connection
        self.octets -= lane.octets
        lane.octets = 0
        if self._lanes.get(lane.flow) is lane:
            del self._lanes[lane.flow]
        connection.lanes.remove(lane)
        connection.directions.remove(lane)
        if not connection.lanes:
            self._connections.pop(connection, None)
        self._note(connection)

    def _forget(self, connection: _Connection) -> None:
        """Give a connection up altogether, to keep within a bound."""
        for lane in list(connection.lanes):
            self._release(lane, Drop.TLS_BOUND)
            self._cut(lane, Drop.TLS_BOUND)
            if lane.ended:
                self._end(lane)
            else:
                self._remove(lane)

    def _shrink(self) -> None:
        """Come back below the bound on octets."""
        while self.octets > self._max_octets and self._connections:
            if self._waiting:
                self._give_up(next(iter(self._waiting)), Drop.TLS_BOUND)
            else:
                self._forget(next(iter(self._connections)))

    # Records

    def _take(self, lane: _Lane, octets: bytes, marks: int, packet: int, ts: int) -> None:
        """Read one stretch."""
        if marks & FLOW_GAP:
            lane.reader.gap()
            if lane.held:
                lane.held.append((None, packet, ts, self._call))
            else:
                lane.gap()
            lane.lost = True
        records = lane.reader.feed(octets)
        self.records += len(records)
        broken = self._count_broken(lane)
        for record in records:
            outcome = None if lane.held else lane.connection.take(lane, record)
            if outcome is None:
                self._hold(lane, record, packet, ts)
            else:
                self._settle(lane, outcome, packet, ts)
        if broken:  # nobody knows before which of the records
            lane.uncertain = True
        if marks & FLOW_END:
            self._cut(lane, Drop.TLS_MALFORMED)
            lane.ended = True
            lane.end = (packet, ts, self._call)
        self._advance(lane.connection)

    def _advance(self, connection: _Connection) -> None:
        """Offer the records that wait again: the other direction or the key log may have said something."""
        before = -1
        while before != self.held:
            before = self.held
            for lane in connection.lanes:
                if lane.held:
                    self._pump(lane)
        for lane in list(connection.lanes):
            if lane.ended and not lane.held:
                self._end(lane)
            else:
                self._measure(lane)
        self._note(connection)

    def _pump(self, lane: _Lane) -> None:
        while lane.held:
            record, packet, ts, call = lane.held[0]
            if record is None:
                lane.held.popleft()
                lane.gap()
                lane.lost = True
                continue
            outcome = lane.connection.take(lane, record)
            if outcome is None:
                return
            self._unhold(lane)
            self._settle(lane, outcome, packet if call == self._call else self._packet, ts)

    def _hold(self, lane: _Lane, record: Record, packet: int, ts: int) -> None:
        """Keep a record for its secret, unless none can come."""
        connection = lane.connection
        if not lane.held and (connection.given_up or connection.hopeless(lane)):
            self._miss(lane, record, Drop.TLS_NO_KEY)
            return
        lane.held.append((record, packet, ts, self._call))
        lane.waiting += len(record[2]) + _OVERHEAD
        self.held += 1
        self._waiting.setdefault(connection, ts)

    def _unhold(self, lane: _Lane) -> Record | None:
        record = lane.held.popleft()[0]
        if record is not None:
            lane.waiting -= len(record[2]) + _OVERHEAD
            self.held -= 1
        return record

    def _settle(self, lane: _Lane, outcome: Outcome, packet: int, ts: int) -> None:
        """Hand out plaintext, or count why there is none."""
        if isinstance(outcome, bytes):
            self.opened += 1
            self._hand_out(lane, outcome, 0, packet, ts)
        elif outcome is not None:
            self._drop(outcome)
            if outcome != Drop.TLS_CONTROL:
                lane.lost = True

    def _hand_out(self, lane: _Lane, octets: bytes, marks: int, packet: int, ts: int) -> None:
        if not lane.begun:
            marks |= FLOW_START
        if lane.lost:
            marks |= FLOW_GAP
        lane.begun, lane.lost = True, False
        self._rows.append((lane.flow, packet, ts, octets, marks))

    def _miss(self, lane: _Lane, record: Record, reason: Drop) -> None:
        """Count a record that is given up. What TLS 1.2 shows to be no application data is no loss."""
        if record[0] == APPLICATION_DATA:
            lane.lost = True
        else:
            reason = Drop.TLS_CONTROL
        self._drop(reason)
        lane.connection.skip(lane)

    def _release(self, lane: _Lane, reason: Drop) -> None:
        """Give up all that a lane holds for a secret."""
        while lane.held:
            record = self._unhold(lane)
            if record is None:
                lane.gap()
                lane.lost = True
            else:
                self._miss(lane, record, reason)

    def _give_up(self, connection: _Connection, reason: Drop) -> None:
        connection.given_up = True
        for lane in connection.lanes:
            self._release(lane, reason)
        self._waiting.pop(connection, None)
        self._advance(connection)

    def _cut(self, lane: _Lane, reason: Drop) -> None:
        """Count a record that was only half there."""
        lane.reader.gap()
        self._count_broken(lane, reason)

    def _count_broken(self, lane: _Lane, reason: Drop = Drop.TLS_MALFORMED) -> int:
        broken, lane.reader.broken = lane.reader.broken, 0
        if broken:
            self.records += broken
            self._drop(reason, broken)
            lane.lost = True
            lane.uncertain = True
        return broken

    def _end(self, lane: _Lane) -> None:
        """Pass the end of a flow on."""
        packet, ts, call = lane.end
        self._hand_out(lane, b"", FLOW_END, packet if call == self._call else self._packet, ts)
        self._remove(lane)

    def _measure(self, lane: _Lane) -> None:
        octets = lane.measure()
        self.octets += octets - lane.octets
        lane.octets = octets

    def _note(self, connection: _Connection) -> None:
        """Keep `_waiting` to the connections that wait."""
        if connection in self._waiting and not any(lane.held for lane in connection.lanes):
            del self._waiting[connection]
