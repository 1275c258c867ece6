"""The columns between the kernels that read frames: packets of a file or a ring, then datagrams.

In: how many rows to make room for. Out: numpy columns that one kernel writes and the next reads.
They refer to a window of octets by offset; when the window goes, what they say of it is void.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.schema import NO_VLAN

Array = npt.NDArray[Any]


#: `Packets.link` of a frame that begins behind its EtherType: this bit, and the EtherType below it (what
#: a packet socket without link headers gives; no registered link type has the bit).
LINK_ETHERTYPE: Final = 1 << 16
LINKTYPE_RAW: Final = 101
#: The frame is a TZSP message (UDP port 37008) as it came out of its datagram.
LINKTYPE_TZSP: Final = 128

#: `Datagrams.area`: where a row's octets lie.
AREA_WINDOW: Final = 0
AREA_ARENA: Final = 1

#: `Datagrams.kind`.
KIND_DATAGRAM: Final = 0  # a whole message: a UDP payload, or one cut from a stream or an association
KIND_SEGMENT: Final = 1  # a TCP segment with or without data
KIND_CHUNK: Final = 2  # an SCTP DATA chunk
KIND_FRAGMENT: Final = 3  # an IPv4 or IPv6 fragment: what follows the IP header

#: What `decode_frames` is asked to hand out; everything else is counted as FRAME_PROTOCOL or
#: FRAME_FRAGMENT. Bit n stands for kind n.
WANT_DATAGRAMS: Final = 1 << KIND_DATAGRAM
WANT_SEGMENTS: Final = 1 << KIND_SEGMENT
WANT_CHUNKS: Final = 1 << KIND_CHUNK
WANT_FRAGMENTS: Final = 1 << KIND_FRAGMENT
WANT_ALL: Final = WANT_DATAGRAMS | WANT_SEGMENTS | WANT_CHUNKS | WANT_FRAGMENTS

#: Tunnels that are opened, as bits.
TUNNEL_IPIP: Final = 1  # IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, 2473, 4213)
TUNNEL_GRE: Final = 2  # RFC 2784, 2890; transparent Ethernet bridging; PPTP's version 1 (RFC 2637)
TUNNEL_ERSPAN: Final = 4  # types I, II and III, within GRE
TUNNEL_VXLAN: Final = 8  # RFC 7348, UDP 4789 and 8472
TUNNEL_GENEVE: Final = 16  # RFC 8926, UDP 6081
TUNNEL_GTPU: Final = 32  # 3GPP TS 29.281, UDP 2152
TUNNEL_TZSP: Final = 64  # UDP 37008
TUNNEL_HPERM: Final = 128  # UDP 7932: a packet behind a short header, as some routers mirror
TUNNELS_ALL: Final = 255

#: Rows that one frame gives at most (SCTP packs several chunks into one packet).
MAX_ROWS_A_FRAME: Final = 64


@dataclass(slots=True)
class Packets:
    """`n` frames as captured. All columns int64.

    offset: of the frame's first octet in the window. captured, original: its length there and on the
    wire. ts: microseconds since the epoch, UTC. link: link type (LINKTYPE_ value, or LINK_ETHERTYPE).
    vlan: the VLAN id of a tag that the kernel or a defragmenter took off, NO_VLAN where there was none.
    """

    n: int
    offset: Array
    captured: Array
    original: Array
    ts: Array
    link: Array
    vlan: Array

    @classmethod
    def empty(cls, rows: int) -> "Packets":
        """Make room for `rows` packets, n = 0."""
        offset, captured, original, ts, link = (np.zeros(rows, dtype=np.int64) for _ in range(5))
        return cls(0, offset, captured, original, ts, link, np.full(rows, NO_VLAN, dtype=np.int64))


#: Columns of Datagrams beside the addresses: name and dtype.
DATAGRAM_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    ("packet", "int64"),
    ("ts", "int64"),
    ("offset", "int64"),
    ("length", "int64"),
    ("area", "uint8"),
    ("kind", "uint8"),
    ("depth", "uint8"),
    ("truncated", "uint8"),
    ("family", "uint8"),
    ("ip_proto", "uint8"),
    ("src_port", "uint16"),
    ("dst_port", "uint16"),
    ("vlan", "uint16"),
    ("seq", "uint32"),
    ("bits", "uint16"),
    ("aux", "uint32"),
)


@dataclass(slots=True)
class Datagrams:
    """`n` transport payloads found in packets.

    packet: int64, row in the source's Packets (of the packet that completed it). ts: int64, that
    packet's time. offset, length: int64, of the payload, in the window or the arena (area). kind: KIND_*.
    depth: uint8, tunnels around it. truncated: uint8, 1 where the snap length cut it. family, ip_proto:
    uint8. src_ip, dst_ip: (rows, 16) uint8, IPv4 as ::ffff:a.b.c.d. src_port, dst_port, vlan: uint16.

    By kind: KIND_SEGMENT: seq is TCP's sequence number, bits TCP's flags (RFC 9293 section 3.1).
    KIND_CHUNK: seq is the TSN, bits the chunk flags (RFC 9260 section 3.3.1: 1 ends, 2 begins a message),
    aux the payload protocol identifier. KIND_FRAGMENT: seq is the identification, bits the offset in
    units of 8 octets, plus 0x2000 where more fragments follow; ip_proto what follows the IP header; ports 0.
    KIND_DATAGRAM of SCTP: aux is the payload protocol identifier.
    """

    n: int
    packet: Array
    ts: Array
    offset: Array
    length: Array
    area: Array
    kind: Array
    depth: Array
    truncated: Array
    family: Array
    ip_proto: Array
    src_port: Array
    dst_port: Array
    vlan: Array
    seq: Array
    bits: Array
    aux: Array
    src_ip: Array
    dst_ip: Array

    @classmethod
    def empty(cls, rows: int) -> "Datagrams":
        """Make room for `rows` datagrams, n = 0."""
        columns = {name: np.zeros(rows, dtype=dtype) for name, dtype in DATAGRAM_COLUMNS}
        columns["vlan"].fill(NO_VLAN)
        return cls(
            n=0,
            src_ip=np.zeros((rows, 16), dtype=np.uint8),
            dst_ip=np.zeros((rows, 16), dtype=np.uint8),
            **columns,
        )

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return len(self.packet)

    def grow(self, rows: int) -> None:
        """Make room for `rows` more behind row n; what stands there stays."""
        if self.n + rows <= self.capacity:
            return
        wider = Datagrams.empty(max(self.n + rows, 2 * self.capacity))
        for name in (*(name for name, _ in DATAGRAM_COLUMNS), "src_ip", "dst_ip"):
            getattr(wider, name)[: self.n] = getattr(self, name)[: self.n]
            setattr(self, name, getattr(wider, name))


class Arena:
    """Octets that were put together from several packets: valid until the next `reset`.

    data: uint8; data[:used] is in use. A kernel's wrapper calls `reserve` with the most it may write,
    takes `data` afterwards, writes from `used` on and moves `used`. Pages that nothing wrote to take no
    memory, so a generous bound costs nothing.
    """

    __slots__ = ("data", "used")

    def __init__(self, octets: int = 1 << 16) -> None:
        self.data: Array = np.empty(octets, dtype=np.uint8)
        self.used = 0

    def reset(self) -> None:
        """Forget what is in it."""
        self.used = 0

    def reserve(self, octets: int) -> None:
        """Make sure that `octets` more fit; what is there keeps its offsets."""
        if len(self.data) - self.used < octets:
            wider = np.empty(max(self.used + octets, 2 * len(self.data)), dtype=np.uint8)
            wider[: self.used] = self.data[: self.used]
            self.data = wider


@dataclass(slots=True)
class Flows:
    """One row a direction of a TCP stream, by flow id; ids are used again after FLOW_END.

    family, src_ip, dst_ip, src_port, dst_port, vlan: as in Datagrams. peer: int32, the other direction's
    flow id, -1 while it has not been seen. protocol: uint8, PROTOCOL_*, set by the framer.
    """

    family: Array
    src_ip: Array
    dst_ip: Array
    src_port: Array
    dst_port: Array
    vlan: Array
    peer: Array
    protocol: Array

    @classmethod
    def empty(cls, rows: int) -> "Flows":
        """Make room for `rows` flows."""
        return cls(
            family=np.zeros(rows, dtype=np.uint8),
            src_ip=np.zeros((rows, 16), dtype=np.uint8),
            dst_ip=np.zeros((rows, 16), dtype=np.uint8),
            src_port=np.zeros(rows, dtype=np.uint16),
            dst_port=np.zeros(rows, dtype=np.uint16),
            vlan=np.full(rows, NO_VLAN, dtype=np.uint16),
            peer=np.full(rows, -1, dtype=np.int32),
            protocol=np.zeros(rows, dtype=np.uint8),
        )


#: `Flows.protocol`: what a direction of a stream carries.
PROTOCOL_UNKNOWN: Final = 0
PROTOCOL_SIP: Final = 1
PROTOCOL_WEBSOCKET: Final = 2
PROTOCOL_TLS: Final = 3
PROTOCOL_DIAMETER: Final = 4
PROTOCOL_OTHER: Final = 5  # nothing that is read

#: `Stretches.marks`, bits.
FLOW_START: Final = 1  # the flow id begins here: forget what was known of it
FLOW_GAP: Final = 2  # octets are missing before this stretch (or the stream was joined in the middle)
FLOW_END: Final = 4  # nothing more comes on this flow id after this stretch (its length may be 0)


@dataclass(slots=True)
class Stretches:
    """`n` runs of consecutive octets of TCP streams, in order within each flow.

    flow: int32. packet, ts: int64, of the segment that made it available. area, offset, length: where
    the octets lie, as in Datagrams. marks: uint8, FLOW_*.
    """

    n: int
    flow: Array
    packet: Array
    ts: Array
    area: Array
    offset: Array
    length: Array
    marks: Array

    @classmethod
    def empty(cls, rows: int) -> "Stretches":
        """Make room for `rows` stretches, n = 0."""
        return cls(
            n=0,
            flow=np.zeros(rows, dtype=np.int32),
            packet=np.zeros(rows, dtype=np.int64),
            ts=np.zeros(rows, dtype=np.int64),
            area=np.zeros(rows, dtype=np.uint8),
            offset=np.zeros(rows, dtype=np.int64),
            length=np.zeros(rows, dtype=np.int64),
            marks=np.zeros(rows, dtype=np.uint8),
        )

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return len(self.flow)

    def grow(self, rows: int) -> None:
        """Make room for `rows` more behind row n; what stands there stays."""
        if self.n + rows <= self.capacity:
            return
        wider = Stretches.empty(max(self.n + rows, 2 * self.capacity))
        for name in ("flow", "packet", "ts", "area", "offset", "length", "marks"):
            getattr(wider, name)[: self.n] = getattr(self, name)[: self.n]
            setattr(self, name, getattr(wider, name))
