"""The columns between the kernels that read frames: packets of a file or a ring, then datagrams.

In: how many rows to make room for. Out: numpy columns that one kernel writes and the next reads.
They refer to a window of octets by offset; when the window goes, what they say of it is void.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepcat.batch.schema import NO_VLAN

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Packets:
    """`n` frames as captured. All columns int64.

    offset: of the frame's first octet in the window. captured, original: its length there and on the
    wire. ts: microseconds since the epoch, UTC. link: link type (LINKTYPE_ value).
    """

    n: int
    offset: Array
    captured: Array
    original: Array
    ts: Array
    link: Array

    @classmethod
    def empty(cls, rows: int) -> "Packets":
        """Make room for `rows` packets, n = 0."""
        return cls(0, *(np.zeros(rows, dtype=np.int64) for _ in range(5)))


@dataclass(slots=True)
class Datagrams:
    """`n` transport payloads found in packets.

    packet: int64, row in Packets. offset, length: int64, of the payload in the window. truncated:
    uint8, 1 where the snap length cut it. family, ip_proto: uint8. src_ip, dst_ip: (rows, 16) uint8,
    IPv4 as ::ffff:a.b.c.d. src_port, dst_port, vlan: uint16.
    """

    n: int
    packet: Array
    offset: Array
    length: Array
    truncated: Array
    family: Array
    ip_proto: Array
    src_ip: Array
    dst_ip: Array
    src_port: Array
    dst_port: Array
    vlan: Array

    @classmethod
    def empty(cls, rows: int) -> "Datagrams":
        """Make room for `rows` datagrams, n = 0."""
        return cls(
            n=0,
            packet=np.zeros(rows, dtype=np.int64),
            offset=np.zeros(rows, dtype=np.int64),
            length=np.zeros(rows, dtype=np.int64),
            truncated=np.zeros(rows, dtype=np.uint8),
            family=np.zeros(rows, dtype=np.uint8),
            ip_proto=np.zeros(rows, dtype=np.uint8),
            src_ip=np.zeros((rows, 16), dtype=np.uint8),
            dst_ip=np.zeros((rows, 16), dtype=np.uint8),
            src_port=np.zeros(rows, dtype=np.uint16),
            dst_port=np.zeros(rows, dtype=np.uint16),
            vlan=np.full(rows, NO_VLAN, dtype=np.uint16),
        )
