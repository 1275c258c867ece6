"""Batch: the one type that moves from source to sink.

In: arrays that kernels fill. Out: numpy columns and (offset, length) slices into one buffer.
A batch is written by one owner (a source and its kernels) and is read-only once handed on.
No pyarrow here: the agent uses batches too.
"""

import ipaddress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.schema import FAMILY_IPV6, FIELD_COUNT, FIELD_INDEX, NO_EXPIRES, NO_NODE, NO_VLAN

Array = npt.NDArray[Any]

#: Numeric columns: name, dtype, value of a row that nothing was written to.
NUMERIC: Final[tuple[tuple[str, str, int], ...]] = (
    ("ts", "int64", 0),
    ("family", "uint8", 0),
    ("ip_proto", "uint8", 0),
    ("src_port", "uint16", 0),
    ("dst_port", "uint16", 0),
    ("vlan", "uint16", NO_VLAN),
    ("hep_type", "uint8", 0),
    ("node_id", "uint32", NO_NODE),
    ("status", "uint16", 0),
    ("contact_port", "uint16", 0),
    ("expires", "uint32", NO_EXPIRES),
    ("malformed", "uint8", 0),
    ("flags", "uint8", 0),
)


@dataclass(slots=True)
class Batch:
    """`n` records. Row i's octets are `buffer[start[i]:start[i + 1]]`.

    ts: int64, microseconds since the epoch, UTC. family: 2 or 10 (HEP chunk 1).
    ip_proto: IP protocol number. src_ip, dst_ip: (n, 16) uint8, IPv4 as ::ffff:a.b.c.d.
    fields: (n, FIELD_COUNT + len(extra), 2) uint16, offset from start[i] and length; 0 = null.
    extra: names of the extra headers, in the order of their slices after FIELD_COUNT.
    """

    n: int
    buffer: Array
    start: Array
    ts: Array
    family: Array
    ip_proto: Array
    src_ip: Array
    dst_ip: Array
    src_port: Array
    dst_port: Array
    vlan: Array
    hep_type: Array
    node_id: Array
    status: Array
    contact_port: Array
    expires: Array
    malformed: Array
    flags: Array
    fields: Array
    extra: tuple[str, ...] = field(default=())

    @classmethod
    def empty(cls, rows: int, octets: int, extra: tuple[str, ...] = ()) -> "Batch":
        """Make a writable batch with room for `rows` records and `octets` octets, n = 0.

        The columns hold their "no value"; kernels write from row n on and then set n.
        """
        columns = {name: np.full(rows, fill, dtype=dtype) for name, dtype, fill in NUMERIC}
        return cls(
            n=0,
            buffer=np.empty(octets, dtype=np.uint8),
            start=np.zeros(rows + 1, dtype=np.int64),
            src_ip=np.zeros((rows, 16), dtype=np.uint8),
            dst_ip=np.zeros((rows, 16), dtype=np.uint8),
            fields=np.zeros((rows, FIELD_COUNT + len(extra), 2), dtype=np.uint16),
            extra=extra,
            **columns,
        )

    @property
    def capacity(self) -> int:
        """How many records there is room for."""
        return len(self.ts)

    @property
    def octets(self) -> int:
        """Octets of all records together."""
        return int(self.start[self.n])

    def trim(self) -> "Batch":
        """Return the batch without unused room: views of the first n rows, nothing copied."""
        n = self.n
        return Batch(
            n=n,
            buffer=self.buffer[: self.octets],
            start=self.start[: n + 1],
            src_ip=self.src_ip[:n],
            dst_ip=self.dst_ip[:n],
            fields=self.fields[:n],
            extra=self.extra,
            **{name: getattr(self, name)[:n] for name, _, _ in NUMERIC},
        )

    def text(self, row: int, name: str) -> bytes | None:
        """Return one slice of one record as octets, None where it has no such value.

        For tests and single records; never called once a packet.
        """
        index = FIELD_INDEX[name] if name in FIELD_INDEX else FIELD_COUNT + self.extra.index(name)
        offset, length = (int(v) for v in self.fields[row, index])
        if length == 0:
            return None
        base = int(self.start[row])
        return self.buffer[base + offset : base + offset + length].tobytes()

    def address(self, row: int, which: str = "src_ip") -> str:
        """Return src_ip or dst_ip of one record as text (RFC 5952)."""
        octets = getattr(self, which)[row].tobytes()
        if int(self.family[row]) == FAMILY_IPV6:
            return str(ipaddress.IPv6Address(octets))
        return str(ipaddress.IPv4Address(octets[12:]))
