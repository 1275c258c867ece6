"""Records of a batch in, HEP 1, 2 or 3 datagrams out. No I/O, no clock, no log.

In: a Batch, and which of its rows. Out: one buffer of datagrams with their bounds, ready for
sendmmsg or, since HEP3 carries its length, for a stream as it stands. What can go wrong: a record that
the version cannot express gives an empty datagram (two equal offsets), never a wrong one:
- HEP3: a total length over 65,535 octets; HEP 1 and 2: a datagram over 65,535 octets;
- HEP 1 and 2 have no protocol type, every receiver takes them for SIP: a record of another type;
- a family other than 2 and 10; a time before 1970 or beyond 32 bits of seconds (HEP 2 and 3).

HEP3's chunks come in the order in which common agents send them: 1, 2, 7, 8, 9, a, b, c (where there is
an id), 3 and 4 or 5 and 6, e (key), 11 (correlation id), 26 (tags), 13 (node name), 12 (VLAN), f or 10
(payload).
HEP2 gets the length octet 28 or 52 less the 12 of its time part, and by default little-endian
seconds, microseconds and id: both is what real senders do and real receivers expect. Its id has 16
bits: 0 stands in for a longer one and for none.
"""

import functools
import struct
import zlib
from typing import Any

import cython
import numpy as np
import numpy.typing as npt

from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX, HEP_SIP, NO_NODE, NO_VLAN
from hepcat.wire.hep import view

if not cython.compiled:  # compiled, hep_encode.pxd imports it
    from hepcat.wire.hep import copy_octets

LONGEST = cython.declare(cython.Py_ssize_t, 65_535)
ABSENT_VLAN = cython.declare(cython.int, NO_VLAN)
ABSENT_NODE = cython.declare(cython.longlong, NO_NODE)
SIP = cython.declare(cython.int, HEP_SIP)
TAGS = cython.declare(cython.Py_ssize_t, FIELD_INDEX["tags"])

#: Room for the beginning of a HEP3 message (see `_heads`), and where its chunk c stands, if there is one.
HEAD = cython.declare(cython.Py_ssize_t, 128)
AT_NODE = cython.declare(cython.Py_ssize_t, 6 + 7 + 7 + 8 + 8 + 10 + 10 + 7)
#: Octets of a HEP3 message without key, slices, VLAN and addresses: header and chunks 1, 2, 7 to c, f.
_FIXED3 = cython.declare(cython.Py_ssize_t, 6 + 7 + 7 + 8 + 8 + 10 + 10 + 7 + 10 + 6)
#: The most that a message has beside its slices and its key.
_MOST = 6 + 7 + 7 + 8 + 8 + 10 + 10 + 7 + 10 + 22 + 22 + 6 + 6 + 6 + 6 + 8 + 6
#: The slices that go into a message: payload, correlation id, node name, tags.
_SLICES = (0, 1, 2, FIELD_INDEX["tags"])


class Encoder:
    """One pass over some rows of a batch."""

    def __init__(self, batch: Batch, rows: Any, out: Any, offsets: Any) -> None:
        self.rows = view(rows)
        self.buffer = view(batch.buffer)
        self.start = view(batch.start)
        self.ts = view(batch.ts)
        self.family = view(batch.family)
        self.ip_proto = view(batch.ip_proto)
        self.src_ip = view(batch.src_ip).cast("B")
        self.dst_ip = view(batch.dst_ip).cast("B")
        self.src_port = view(batch.src_port)
        self.dst_port = view(batch.dst_port)
        self.vlan = view(batch.vlan)
        self.hep_type = view(batch.hep_type)
        self.node_id = view(batch.node_id)
        self.fields = view(batch.fields).cast("B").cast("H")
        self.slots = batch.fields.shape[1] * 2
        self.out = view(out)
        self.offsets = view(offsets)
        self.pos = 0

    def options(
        self, magic: bytes, key: bytes, little: bool, capture_id: int, packed: bytes, packed_at: Any
    ) -> None:
        """Set what does not come from the batch; capture_id -1 leaves each row's own."""
        self.heads = view(_heads(magic))
        self.key = view(key)
        self.little = little
        self.capture_id = capture_id
        self.compress = packed_at is not None
        self.packed = view(packed)
        if packed_at is not None:
            self.packed_at = view(packed_at)

    def defaults(self, default_id: int, name: bytes) -> None:
        """Set what stands in for a row's missing node id and node name; ABSENT_NODE, empty: nothing."""
        self.default_id = default_id
        self.name = view(name)

    def _node(self, row: cython.Py_ssize_t) -> cython.longlong:
        """The node id to send for a row, ABSENT_NODE for none."""
        if self.capture_id >= 0:
            return self.capture_id
        node: cython.longlong = self.node_id[row]
        return self.default_id if node == ABSENT_NODE else node

    def _put8(self, value: cython.int) -> cython.int:
        self.out[self.pos] = value & 0xFF
        self.pos += 1
        return 0

    def _put16(self, value: cython.int) -> cython.int:
        self.out[self.pos] = (value >> 8) & 0xFF
        self.out[self.pos + 1] = value & 0xFF
        self.pos += 2
        return 0

    def _set16(self, at: cython.Py_ssize_t, value: cython.int) -> cython.int:
        self.out[at] = (value >> 8) & 0xFF
        self.out[at + 1] = value & 0xFF
        return 0

    def _set32(self, at: cython.Py_ssize_t, value: cython.longlong) -> cython.int:
        self._set16(at, (value >> 16) & 0xFFFF)
        return self._set16(at + 2, value & 0xFFFF)

    def _put32(self, value: cython.longlong) -> cython.int:
        self._put16((value >> 16) & 0xFFFF)
        return self._put16(value & 0xFFFF)

    def _put16_in_order(self, value: cython.int) -> cython.int:
        """HEP2's byte order."""
        if self.little:
            value = ((value & 0xFF) << 8) | (value >> 8)
        return self._put16(value)

    def _put32_in_order(self, value: cython.longlong) -> cython.int:
        if not self.little:
            return self._put32(value)
        self._put16_in_order(value & 0xFFFF)
        return self._put16_in_order((value >> 16) & 0xFFFF)

    def _head(self, kind: cython.int, size: cython.Py_ssize_t) -> cython.int:
        """A chunk's header: vendor 0, type, length with the header's own 6 octets."""
        self._put16(0)
        self._put16(kind)
        return self._put16(size + 6)

    def _copy(self, src: Any, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.int:
        copy_octets(self.out, self.pos, src, at, n)
        self.pos += n
        return 0

    def _slice(self, kind: cython.int, row: cython.Py_ssize_t, index: cython.Py_ssize_t) -> cython.int:
        """A chunk out of one of the row's slices; kind 0 copies it without a header."""
        slot: cython.Py_ssize_t = row * self.slots + 2 * index
        size: cython.Py_ssize_t = self.fields[slot + 1]
        if kind:
            self._head(kind, size)
        return self._copy(self.buffer, self.start[row] + self.fields[slot], size)

    def _size3(self, i: cython.Py_ssize_t, row: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Total length of a HEP3 message."""
        slot: cython.Py_ssize_t = row * self.slots
        total: cython.Py_ssize_t = _FIXED3 + (20 if self.family[row] == 2 else 44)
        if self._node(row) == ABSENT_NODE:
            total -= 10
        if len(self.key):
            total += 6 + len(self.key)
        if self.fields[slot + 3]:
            total += 6 + self.fields[slot + 3]
        if self.fields[slot + 5]:
            total += 6 + self.fields[slot + 5]
        elif len(self.name):
            total += 6 + len(self.name)
        if self.fields[slot + 2 * TAGS + 1]:
            total += 6 + self.fields[slot + 2 * TAGS + 1]
        if self.vlan[row] != ABSENT_VLAN:
            total += 8
        if self.compress and self.packed_at[i + 1] > self.packed_at[i]:
            return total + self.packed_at[i + 1] - self.packed_at[i]
        return total + self.fields[slot + 1]

    def _encode3(self, i: cython.Py_ssize_t, row: cython.Py_ssize_t, total: cython.Py_ssize_t) -> cython.int:
        slot: cython.Py_ssize_t = row * self.slots
        node: cython.longlong = self._node(row)
        begin: cython.Py_ssize_t = self.pos
        octets: cython.Py_ssize_t = 4 if self.family[row] == 2 else 16  # of an address
        which: cython.int = (0 if octets == 4 else 2) + (0 if node == ABSENT_NODE else 1)
        self._copy(self.heads, which * HEAD, AT_NODE + (0 if node == ABSENT_NODE else 10) + 2 * (6 + octets))
        self._set16(begin + 4, total)
        self.out[begin + 12] = self.family[row]  # 1: IP family
        self.out[begin + 19] = self.ip_proto[row]  # 2: IP protocol
        self._set16(begin + 26, self.src_port[row])  # 7: source port
        self._set16(begin + 34, self.dst_port[row])  # 8: destination port
        self._set32(begin + 42, self.ts[row] // 1_000_000)  # 9: seconds
        self._set32(begin + 52, self.ts[row] % 1_000_000)  # a: microseconds
        self.out[begin + 62] = self.hep_type[row]  # b: protocol type
        if node != ABSENT_NODE:
            self._set32(begin + AT_NODE + 6, node)  # c: capture agent id
        # 3 and 4, or 5 and 6: source and destination stand at the end
        copy_octets(self.out, self.pos - octets - 6 - octets, self.src_ip, row * 16 + 16 - octets, octets)
        copy_octets(self.out, self.pos - octets, self.dst_ip, row * 16 + 16 - octets, octets)
        if len(self.key):
            self._head(0x000E, len(self.key))  # authentication key
            self._copy(self.key, 0, len(self.key))
        if self.fields[slot + 3]:
            self._slice(0x0011, row, 1)  # internal correlation id
        if self.fields[slot + 2 * TAGS + 1]:
            self._slice(0x0026, row, TAGS)  # tags' values
        if self.fields[slot + 5]:
            self._slice(0x0013, row, 2)  # node name
        elif len(self.name):
            self._head(0x0013, len(self.name))
            self._copy(self.name, 0, len(self.name))
        if self.vlan[row] != ABSENT_VLAN:
            self._head(0x0012, 2)  # VLAN id
            self._put16(self.vlan[row])
        if self.compress and self.packed_at[i + 1] > self.packed_at[i]:
            self._head(0x0010, self.packed_at[i + 1] - self.packed_at[i])  # payload, compressed
            return self._copy(self.packed, self.packed_at[i], self.packed_at[i + 1] - self.packed_at[i])
        return self._slice(0x000F, row, 0)  # captured payload

    def _encode12(self, row: cython.Py_ssize_t, version: cython.int) -> cython.int:
        size: cython.int = 4 if self.family[row] == 2 else 16
        node: cython.longlong = self._node(row)
        self._put8(version)
        self._put8(8 + 2 * size)
        self._put8(self.family[row])
        self._put8(self.ip_proto[row])
        self._put16(self.src_port[row])
        self._put16(self.dst_port[row])
        self._copy(self.src_ip, row * 16 + 16 - size, size)
        self._copy(self.dst_ip, row * 16 + 16 - size, size)
        if version == 2:
            self._put32_in_order(self.ts[row] // 1_000_000)
            self._put32_in_order(self.ts[row] % 1_000_000)
            self._put16_in_order(0 if node > 0xFFFF else node)
            self._put16(0)  # padding
        return self._slice(0, row, 0)

    def run(self, version: cython.int) -> cython.int:
        """Encode every row; a row that cannot be expressed gets an empty datagram."""
        i: cython.Py_ssize_t
        row: cython.Py_ssize_t
        total: cython.Py_ssize_t
        ok: cython.bint
        seconds: cython.longlong
        with cython.nogil:
            for i in range(len(self.rows)):
                row = self.rows[i]
                ok = self.family[row] == 2 or self.family[row] == 10
                if version != 1:
                    seconds = self.ts[row] // 1_000_000
                    ok = ok and self.ts[row] >= 0 and (seconds >> 32) == 0
                if version == 3:
                    total = self._size3(i, row)
                    if ok and total <= LONGEST:
                        self._encode3(i, row, total)
                else:
                    total = 8 + (8 if self.family[row] == 2 else 32) + self.fields[row * self.slots + 1]
                    if version == 2:
                        total += 12
                    if ok and total <= LONGEST and self.hep_type[row] == SIP:
                        self._encode12(row, version)
                self.offsets[i + 1] = self.pos
        return 0


@functools.cache
def _heads(magic: bytes) -> bytes:
    """Return the beginnings of HEP3 messages, their values 0: IPv4 without and with an agent id, IPv6 alike.

    To copy one and fill it in takes half the time of writing it octet by octet.
    """
    always = ((0x01, 1), (0x02, 1), (0x07, 2), (0x08, 2), (0x09, 4), (0x0A, 4), (0x0B, 1))
    heads = b""
    for addresses in (((0x03, 4), (0x04, 4)), ((0x05, 16), (0x06, 16))):
        for node in ((), ((0x0C, 4),)):
            chunks = (*always, *node, *addresses)
            parts = [struct.pack(f"!HHH{size}x", 0, kind, 6 + size) for kind, size in chunks]
            heads += (magic + bytes(2) + b"".join(parts)).ljust(HEAD, b"\0")
    return heads


def _pack(batch: Batch, rows: npt.NDArray[np.int64]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Compress each row's payload; one that does not get shorter stays out (two equal bounds)."""
    octets = view(batch.buffer)
    parts: list[bytes] = []
    for row in rows.tolist():
        at, size = batch.fields[row, 0].tolist()
        at += int(batch.start[row])
        packed = zlib.compress(octets[at : at + size])
        parts.append(packed if len(packed) < size else b"")
    return b"".join(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64)


def encode_hep(
    batch: Batch,
    version: int = 3,
    key: bytes = b"",
    compress: bool = False,
    magic: bytes = b"HEP3",
    capture_id: int | None = None,
    rows: Any = None,
    byteorder: str = "little",
    default_id: int | None = None,
    default_name: bytes = b"",
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Encode rows of a batch as HEP datagrams; return (buffer, offsets).

    Datagram i is buffer[offsets[i]:offsets[i + 1]] (uint8; offsets int64, one more than rows). It is
    empty where the version cannot express the record (see the module's text):
    `numpy.flatnonzero(numpy.diff(offsets) == 0)` are the places that the caller has to count.

    version: 1, 2 or 3. rows: which, as integers or as a mask; None for all batch.n. capture_id stands
    in for every row's node id, default_id and default_name (HEP3) for the node id and name that a row has
    not. HEP3 only: key (chunk 0x000e, none where empty), compress (zlib payload
    where that is shorter), magic (b"HEP3" or b"EEP1"). HEP2 only: byteorder of time and id, "little"
    or "big". Raises ValueError for options outside of these, IndexError for a row that there is not.
    """
    if version not in (1, 2, 3):
        raise ValueError(f"encode_hep: HEP has versions 1, 2 and 3, not {version}")
    if magic not in (b"HEP3", b"EEP1"):
        raise ValueError("encode_hep: the magic is b'HEP3' or b'EEP1'")
    if byteorder not in ("little", "big"):
        raise ValueError("encode_hep: byteorder is 'little' or 'big'")
    if capture_id is not None and not 0 <= capture_id <= (0xFFFF if version == 2 else 0xFFFFFFFF):
        raise ValueError(f"encode_hep: HEP{version} has no room for the capture id {capture_id}")
    if default_id is not None and not 0 <= default_id <= NO_NODE:
        raise ValueError(f"encode_hep: {default_id} is no node id")
    if len(default_name) > 0xFFFF:
        raise ValueError("encode_hep: default_name has no room in a chunk")
    chosen = np.arange(batch.n) if rows is None else np.asarray(rows)
    if chosen.dtype == np.bool_:
        chosen = np.flatnonzero(chosen)
    chosen = np.ascontiguousarray(chosen, dtype=np.int64)
    if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < batch.n:
        raise IndexError("encode_hep: a row outside of the batch")
    offsets = np.zeros(len(chosen) + 1, dtype=np.int64)
    if not len(chosen):
        return np.empty(0, dtype=np.uint8), offsets
    slices = sum(int(batch.fields[chosen, i, 1].sum(dtype=np.int64)) for i in _SLICES)
    out = np.empty(slices + len(chosen) * (_MOST + len(key) + len(default_name)), dtype=np.uint8)
    packed, packed_at = _pack(batch, chosen) if compress and version == 3 else (b"", None)
    encoder = Encoder(batch, chosen, out, offsets)
    encoder.options(
        magic, key, byteorder == "little", -1 if capture_id is None else capture_id, packed, packed_at
    )
    encoder.defaults(NO_NODE if default_id is None else default_id, default_name)
    encoder.run(version)
    return out[: int(encoder.pos)], offsets
