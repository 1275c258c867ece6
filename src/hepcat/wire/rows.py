"""Kernel: rows of `Datagrams`. Written one at a time, picked by port, and their payloads copied.

In: where in the data a payload and its addresses lie; the frame decoder, which inherits from
`RowWriter`, knows. Out: a row of every column, nothing of what stood there before; octets that
`copy_payloads` takes; `port_mask`'s mask. What can go wrong: FRAME_TRUNCATED where the capture cut the
whole payload off. A range that does not fit is a bug of ours and raises IndexError.
"""

from typing import Any

import cython

from hepcat.batch.drops import Drop
from hepcat.wire.columns import KIND_SEGMENT, Array, Datagrams

if not cython.compiled:  # rows.pxd cimports them; memcpy and memset have no uncompiled counterpart
    from hepcat.wire.hep import copy_octets  # type: ignore[attr-defined,unused-ignore]

    memcpy: Any = None
    memset: Any = None

__all__ = ["RowWriter", "copy_payloads", "port_mask"]

FRAME_TRUNCATED = cython.declare(cython.int, int(Drop.FRAME_TRUNCATED))
DONE = cython.declare(cython.int, 1000)
SEGMENT = cython.declare(cython.int, KIND_SEGMENT)


class RowWriter:
    """The columns of a `Datagrams`, and what of the frame being read goes into every row of it.

    data: what the packets lie in; `end`, the end of the frame's captured octets. Set by the decoder:
    number, time, frame_vlan, tunnels, ip_family (2 or 10), src_at and dst_at (the addresses).
    """

    data: Any
    end: int

    def set_columns(self, data: Any, out: Datagrams) -> None:
        """Take the columns to write to, from row out.n on."""
        view: Any = memoryview
        self.data = view(data)
        self.row = out.n
        self.room = out.capacity
        self.packet = view(out.packet)
        self.ts = view(out.ts)
        self.offset = view(out.offset)
        self.length = view(out.length)
        self.area = view(out.area)
        self.kind = view(out.kind)
        self.depth = view(out.depth)
        self.truncated = view(out.truncated)
        self.family = view(out.family)
        self.ip_proto = view(out.ip_proto)
        self.src_ip = view(out.src_ip.reshape(-1))
        self.dst_ip = view(out.dst_ip.reshape(-1))
        self.src_port = view(out.src_port)
        self.dst_port = view(out.dst_port)
        self.vlan = view(out.vlan)
        self.seq = view(out.seq)
        self.bits = view(out.bits)
        self.aux = view(out.aux)
        self.end = self.src_at = self.dst_at = self.time = self.number = 0
        self.frame_vlan = self.ip_family = self.tunnels = self.where = 0

    def port_at(self, at: cython.longlong) -> cython.int:
        """Two octets in network order; the caller has checked that they are there."""
        high: cython.int = self.data[at]
        low: cython.int = self.data[at + 1]
        return (high << 8) | low

    def add_row(
        self,
        kind: cython.int,
        protocol: cython.int,
        ports: cython.longlong,
        payload: cython.longlong,
        payload_end: cython.longlong,
    ) -> cython.int:
        """Write a row: the payload as far as it was captured, ports from `ports` (-1: there are none)."""
        n: cython.Py_ssize_t = self.row
        # Without an octet of its payload a row is of no use, but for a segment's sequence number and flags.
        if payload_end > payload and payload >= self.end and (kind != SEGMENT or payload > self.end):
            return FRAME_TRUNCATED
        self.packet[n] = self.number
        self.ts[n] = self.time
        self.offset[n] = payload
        self.length[n] = min(payload_end, self.end) - payload
        self.area[n] = self.where
        self.kind[n] = kind
        self.depth[n] = self.tunnels
        self.truncated[n] = payload_end > self.end
        self.family[n] = self.ip_family
        self.ip_proto[n] = protocol
        self.src_port[n] = self.port_at(ports) if ports >= 0 else 0
        self.dst_port[n] = self.port_at(ports + 2) if ports >= 0 else 0
        self.vlan[n] = self.frame_vlan
        self.seq[n] = 0
        self.bits[n] = 0
        self.aux[n] = 0
        self.write_addresses()
        self.row = n + 1
        return DONE

    def write_addresses(self) -> cython.int:
        """Write both addresses as 16 octets, IPv4 mapped (RFC 4291 section 2.5.5.2).

        Sizes that the compiler knows, and no slices handed over by value: this was half of a row's cost.
        All ranges are checked first, since memcpy and memset check none.
        """
        to: cython.Py_ssize_t = self.row * 16
        size: cython.Py_ssize_t = 16 if self.ip_family == 10 else 4
        src: cython.longlong = self.src_at
        dst: cython.longlong = self.dst_at
        last: cython.longlong = len(self.data) - size
        if src < 0 or dst < 0 or src > last or dst > last:
            with cython.gil:
                raise IndexError("write_addresses: no address there")
        if to < 0 or to > len(self.src_ip) - 16 or to > len(self.dst_ip) - 16:
            with cython.gil:
                raise IndexError("write_addresses: no such row")
        if not cython.compiled:
            prefix = b"" if size == 16 else bytes(10) + b"\xff\xff"
            self.src_ip[to : to + 16] = prefix + bytes(self.data[src : src + size])
            self.dst_ip[to : to + 16] = prefix + bytes(self.data[dst : dst + size])
            return 0
        if size == 16:
            memcpy(cython.address(self.src_ip[to]), cython.address(self.data[src]), 16)
            memcpy(cython.address(self.dst_ip[to]), cython.address(self.data[dst]), 16)
        else:
            memset(cython.address(self.src_ip[to]), 0, 10)
            memset(cython.address(self.src_ip[to + 10]), 0xFF, 2)
            memcpy(cython.address(self.src_ip[to + 12]), cython.address(self.data[src]), 4)
            memset(cython.address(self.dst_ip[to]), 0, 10)
            memset(cython.address(self.dst_ip[to + 10]), 0xFF, 2)
            memcpy(cython.address(self.dst_ip[to + 12]), cython.address(self.data[dst]), 4)
        return 0


def copy_payloads(data: Any, offset: Array, length: Array, out: Array, start: Array) -> None:
    """Copy payloads out of a window, one behind the other.

    data: uint8 buffer. offset, length: int64, n rows within it. start: int64, n + 1: start[0] is where
    in `out` the first one goes; start[1:] is written. Raises IndexError where a range does not fit.
    """
    view: Any = memoryview
    copy_all(view(data), view(offset), view(length), view(out), view(start))


def copy_all(data: Any, offset: Any, length: Any, out: Any, start: Any) -> cython.int:
    """The loop of copy_payloads."""
    at: cython.longlong = start[0]
    i: cython.Py_ssize_t
    for i in range(len(offset)):
        copy_octets(out, at, data, offset[i], length[i])
        at += length[i]
        start[i + 1] = at
    return 0


def port_mask(found: Datagrams, ranges: Array, out: Array) -> None:
    """Tell the rows whose source or destination port lies in a range.

    ranges: uint16, contiguous, (k, 2): lowest and highest port of each, both included. out: uint8, at
    least found.n: out[i] is set to 1 or 0 for every row i < found.n. A fragment has the ports 0. Raises
    IndexError where `out` is too short, ValueError where `ranges` are not pairs.
    """
    if ranges.size % 2:
        raise ValueError(f"{ranges.size} values are no pairs of ports")
    view: Any = memoryview
    mark_ports(view(found.src_port), view(found.dst_port), found.n, view(ranges.reshape(-1)), view(out))


def mark_ports(src: Any, dst: Any, n: cython.Py_ssize_t, ranges: Any, out: Any) -> cython.int:
    """The loop of port_mask."""
    i: cython.Py_ssize_t
    k: cython.Py_ssize_t
    for i in range(n):
        a: cython.int = src[i]
        b: cython.int = dst[i]
        hit: cython.bint = False
        for k in range(0, len(ranges), 2):
            low: cython.int = ranges[k]
            high: cython.int = ranges[k + 1]
            if (low <= a and a <= high) or (low <= b and b <= high):
                hit = True
                break
        out[i] = hit
    return 0
