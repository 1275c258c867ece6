"""Kernel: the cells of a classic table's row: what each column is filled from (`Source` of schema.py).

In: a batch, and a plan (plan.py): the source of each column. Out: one value, found in the record and written
by values.py. What can go wrong: nothing that hostile traffic can do. An IndexError is a bug of ours or a
damaged file (a slice outside its record).

CR and LF of folded lines become single spaces, as in the lake's columns.
Speed: the name of a node that stood in the row before is copied from there.
"""

from typing import Any

import cython
import numpy as np

from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX, FLAG_FOLDED, FLAG_REQUEST, FLAG_RESPONSE, MAX_RECORD
from hepcat.stores.classic.schema import Source
from hepcat.stores.classic.values import view

if not cython.compiled:  # cells.pxd cimports them, and has the numbers as an enum
    from hepcat.batch.gather import _dotted, _ipv6, _unfold  # type: ignore[attr-defined,unused-ignore]
    from hepcat.stores.classic.values import OCTETS, QUOTE, Values

    (
        EMPTY,
        SLICE,
        DATE,
        MICRO_TS,
        METHOD,
        CORRELATION,
        USER_AGENT,
        SOURCE_IP,
        DESTINATION_IP,
        ORIGINATOR_IP,
        ORIGINATOR_PORT,
        NODE,
        SOURCE_PORT,
        DESTINATION_PORT,
        CONTACT_PORT,
        PROTO,
        FAMILY,
        TYPE,
        HEADER,
        SECONDS,
        SEQUENCE,
        LINE,
    ) = map(int, Source)
    IS_REQUEST, IS_RESPONSE, IS_FOLDED = FLAG_REQUEST, FLAG_RESPONSE, FLAG_FOLDED
    FIRST_SIP, BODY, TAGS = (FIELD_INDEX[name] for name in ("method", "body", "tags"))
    #: Octets that a cell without a slice takes at most.
    CELL, COLON = 64, 58

NO_NODE = cython.declare(cython.longlong, 0xFFFFFFFF)
MICROSECONDS = cython.declare(cython.longlong, 1_000_000)


class Cells:
    """The cells of one batch after the other. `sequence` is the number of the row, for Source.SEQUENCE."""

    sequence: int
    node_number: int
    node_cut: int
    node_replaced: int
    node_size: int

    def __init__(self, plan: Any, values: Values) -> None:
        self.values = values
        self.columns = len(plan.source)
        self.growth = plan.growth
        self.source = view(plan.source)
        self.missing = view(plan.missing)
        self.node = view(plan.node)
        self.proto_of = view(plan.proto_of)
        self.type_of = view(plan.type_of)
        self.scratch = view(np.zeros(MAX_RECORD + 1, dtype=np.uint8))

    def bind_batch(self, batch: Batch, field: Array, other: Array, local: Array, sequence: int) -> None:
        """Take the columns of a batch. field, other, local, sequence: as rows.py's `take` has them."""
        self.sequence = sequence
        self.field = view(field)
        self.other = view(other)
        self.buffer = view(batch.buffer)
        self.start = view(batch.start)
        self.ts = view(np.maximum(batch.ts, 0))
        self.local = view(local)
        self.family = view(batch.family)
        self.ip_proto = view(batch.ip_proto)
        self.src_ip = view(batch.src_ip)
        self.dst_ip = view(batch.dst_ip)
        self.src_port = view(batch.src_port)
        self.dst_port = view(batch.dst_port)
        self.hep_type = view(batch.hep_type)
        self.node_id = view(batch.node_id)
        self.status = view(batch.status)
        self.contact_port = view(batch.contact_port)
        self.flags = view(batch.flags)
        self.fields = view(batch.fields)
        self.node_at = -1
        self.found_at = self.found_size = self.found_port = 0

    def bound(self, row: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Return how many octets a row takes at most."""
        size: cython.longlong = len(self.node)
        column: cython.Py_ssize_t
        for column in range(self.columns):
            if self.field[column] >= 0:
                size += self.fields[row, self.field[column], 1]
            if self.other[column] >= 0:
                size += self.fields[row, self.other[column], 1]
        return size * self.growth + (self.columns + 1) * CELL

    def _is_folded(self, row: cython.Py_ssize_t, field: cython.Py_ssize_t) -> cython.bint:
        """Whether the slice may hold line ends that become spaces: SIP fields but the body."""
        return (self.flags[row] & IS_FOLDED) != 0 and field >= FIRST_SIP and field != BODY and field != TAGS

    def _scratched(self, size: cython.longlong, column: cython.Py_ssize_t) -> cython.int:
        """Write what stands in `scratch`."""
        self.values.text = self.scratch
        self.values.write_text(0, size, column)
        self.values.text = self.buffer
        return 0

    def _unfolded(self, at: cython.longlong, size: cython.longlong, column: cython.Py_ssize_t) -> cython.int:
        """Write octets of several lines as one."""
        return self._scratched(_unfold(self.buffer, at, size, self.scratch, 0, True), column)

    def _slice(
        self, row: cython.Py_ssize_t, field: cython.Py_ssize_t, column: cython.Py_ssize_t
    ) -> cython.int:
        """Write a slice of a record; field -1 is no slice, and an empty value."""
        if field < 0:
            return self.values.write_text(0, 0, column)
        at: cython.longlong = self.start[row] + self.fields[row, field, 0]
        size: cython.longlong = self.fields[row, field, 1]
        if size > 0 and self._is_folded(row, field):
            return self._unfolded(at, size, column)
        return self.values.write_text(at, size, column)

    def _line(
        self, row: cython.Py_ssize_t, field: cython.Py_ssize_t, column: cython.Py_ssize_t
    ) -> cython.int:
        """Write a slice and what follows it up to the end of its header (RFC 3261 section 7.3.1)."""
        at: cython.longlong = self.start[row] + self.fields[row, field, 0]
        end: cython.longlong = at + self.fields[row, field, 1]
        last: cython.longlong = self.start[row] + self.fields[row, 0, 0] + self.fields[row, 0, 1]
        after: cython.longlong
        folded: cython.bint = self._is_folded(row, field)
        if end <= at or end > last or last - at >= len(self.scratch):
            return self._slice(row, field, column)
        while end < last:
            if self.buffer[end] in (10, 13):
                after = end + 1
                if self.buffer[end] == 13 and after < last and self.buffer[after] == 10:
                    after += 1
                if after >= last or self.buffer[after] not in (9, 32):
                    break
                end = after
                folded = True
            end += 1
        while self.buffer[end - 1] in (9, 10, 13, 32) and end > at + 1:
            end -= 1
        if not folded:
            return self.values.write_text(at, end - at, column)
        return self._unfolded(at, end - at, column)

    def _status(self, row: cython.Py_ssize_t, column: cython.Py_ssize_t) -> cython.int:
        """Write the method of a request, the status code of a reply."""
        if (self.flags[row] & IS_RESPONSE) == 0 or self.status[row] == 0:
            return self._slice(row, self.field[column], column)
        return self.values.write_number(self.status[row])

    def _node(self, row: cython.Py_ssize_t, column: cython.Py_ssize_t) -> cython.int:
        """Write the capture node's name, and the agent's id behind a colon."""
        number: cython.longlong = self.node_id[row]
        size: cython.longlong = len(self.node)
        i: cython.longlong
        if self.node_at >= 0 and number == self.node_number:
            self.values.cut += self.node_cut
            self.values.replaced += self.node_replaced
            return self.values.again(self.node_at, self.node_size)
        for i in range(size):
            self.scratch[i] = self.node[i]
        if number != NO_NODE:
            at: cython.longlong = self.values.to
            self.values.put(58)
            self.values.write_number(number)
            for i in range(self.values.to - at):
                self.scratch[size + i] = self.values.out[at + i]
            size += self.values.to - at
            self.values.to = at
        cut: cython.longlong = self.values.cut
        replaced: cython.longlong = self.values.replaced
        self.node_number = number
        self.node_at = self.values.to
        self._scratched(size, column)
        self.node_size = self.values.to - self.node_at
        self.node_cut = self.values.cut - cut
        self.node_replaced = self.values.replaced - replaced
        return 0

    def _address(self, row: cython.Py_ssize_t, source: cython.bint) -> cython.int:
        """Write an address (RFC 5952), nothing where the family is unknown."""
        if self.family[row] == 2:
            self.values.to = _dotted(
                self.src_ip if source else self.dst_ip, row, self.values.out, self.values.to
            )
        elif self.family[row] == 10:
            self.values.to = _ipv6(
                self.src_ip if source else self.dst_ip, row, self.values.out, self.values.to
            )
        return 0

    def _is_server(self, row: cython.Py_ssize_t, field: cython.Py_ssize_t) -> cython.bint:
        """Whether the value comes from the header Server: by the last letter of the name before it."""
        first: cython.longlong = self.start[row]
        at: cython.longlong = first + self.fields[row, field, 0] - 1
        while at >= first and self.buffer[at] in (9, 10, 13, 32):
            at -= 1
        if at < first or self.buffer[at] != 58:
            return False
        at -= 1
        while at >= first and self.buffer[at] in (9, 32):
            at -= 1
        return at >= first and (self.buffer[at] | 0x20) == 114  # r, not the t of User-Agent

    def _originator(self, row: cython.Py_ssize_t, field: cython.Py_ssize_t) -> cython.int:
        """Find address and port of a value ADDRESS[:PORT]; several colons without brackets are IPv6."""
        at: cython.longlong = 0
        size: cython.longlong = 0
        i: cython.longlong
        colon: cython.longlong = -1
        colons: cython.longlong = 0
        if field >= 0:
            at = self.start[row] + self.fields[row, field, 0]
            size = self.fields[row, field, 1]
        self.found_at = at
        self.found_size = size
        self.found_port = 0
        for i in range(size):
            if self.buffer[at + i] == 93:  # ] : what came before was no port
                colons = 0
            elif self.buffer[at + i] == 58:
                colons += 1
                colon = i
        if colons != 1:
            return 0
        self.found_size = colon
        for i in range(colon + 1, size):
            if self.buffer[at + i] < 48 or self.buffer[at + i] > 57 or self.found_port > 65_535:
                break
            self.found_port = self.found_port * 10 + self.buffer[at + i] - 48
        if self.found_port > 65_535:
            self.found_port = 0
        return 0

    def _octets(
        self, i: cython.Py_ssize_t, row: cython.Py_ssize_t, column: cython.Py_ssize_t, source: cython.int
    ) -> cython.int:
        """Write a date or an address; where colons separate, its own are escaped."""
        at: cython.longlong = self.values.to
        k: cython.longlong
        if self.values.quoted:
            self.values.put(QUOTE)
        if source == DATE:
            self.values.write_date(self.local[i])
        elif source == SOURCE_IP:
            self._address(row, True)
        elif source == DESTINATION_IP:
            self._address(row, False)
        if self.values.quoted:
            return self.values.put(QUOTE)
        if self.values.also != COLON:
            return 0
        size: cython.longlong = self.values.to - at
        for k in range(size):
            self.scratch[k] = self.values.out[at + k]
        self.values.to = at
        self.values.date_at = -1
        self.values.text = self.scratch
        self.values.write_characters(0, size, OCTETS)
        self.values.text = self.buffer
        return 0

    def write_cell(
        self, i: cython.Py_ssize_t, row: cython.Py_ssize_t, column: cython.Py_ssize_t
    ) -> cython.int:
        """Write one value."""
        source: cython.int = self.source[column]
        field: cython.Py_ssize_t = self.field[column]
        if source in (SLICE, HEADER):
            return self._slice(row, field, column)
        if source == EMPTY:
            return self.values.write_text(0, 0, column)
        if source == LINE:
            return self._line(row, field, column)
        if source in (DATE, SOURCE_IP, DESTINATION_IP):
            return self._octets(i, row, column, source)
        if source == METHOD:
            return self._status(row, column)
        if source == CORRELATION:
            if self.fields[row, field, 1] == 0:
                field = self.other[column]
            return self._slice(row, field, column)
        if source == USER_AGENT:
            if self.fields[row, field, 1] > 0 and self._is_server(row, field):
                field = -1
            return self._slice(row, field, column)
        if source == ORIGINATOR_IP:
            self._originator(row, field)
            return self.values.write_text(self.found_at, self.found_size, column)
        if source == ORIGINATOR_PORT:
            self._originator(row, field)
            return self.values.write_number(self.found_port)
        if source == NODE:
            return self._node(row, column)
        if source == MICRO_TS:
            return self.values.write_number(self.ts[row])
        if source == SOURCE_PORT:
            return self.values.write_number(self.src_port[row])
        if source == DESTINATION_PORT:
            return self.values.write_number(self.dst_port[row])
        if source == CONTACT_PORT:
            return self.values.write_number(self.contact_port[row])
        if source == PROTO:
            return self.values.write_number(self.proto_of[self.ip_proto[row]])
        if source == FAMILY:
            if self.family[row] == 2 or self.family[row] == 10:
                return self.values.write_number(self.family[row])
            return self.values.copy(self.missing)
        if source == TYPE:
            if self.type_of[self.hep_type[row]] != 0:
                return self.values.write_number(self.type_of[self.hep_type[row]])
            if self.flags[row] & IS_REQUEST:
                return self.values.put(49)
            return self.values.put(50 if self.flags[row] & IS_RESPONSE else 48)
        if source == SECONDS:
            return self.values.write_number(self.ts[row] // MICROSECONDS)
        return self.values.write_number(self.sequence)  # SEQUENCE
