"""Many datagrams in one system call: recvmmsg(2) and sendmmsg(2) through ctypes.

In: a UDP socket of Python's. Out: datagrams in (or from) one preallocated buffer, with their offsets
and lengths as numpy arrays; no Python statement once a datagram. ctypes gives up the GIL for the call.
What can go wrong: OSError for a real error of the socket. EINTR is retried; what ICMP reports about an
earlier datagram (ECONNREFUSED and its like) is counted and passed over. Where the platform has no
recvmmsg (it is Linux's), the same classes work one datagram at a time, slowly.
"""

import contextlib
import ctypes
import errno
import itertools
import mmap
import os
import select
import socket
import struct
import sys
import time
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]

MSG_TRUNC: Final = 0x20  # recvmsg(2): the datagram was longer than its slot
MSG_DONTWAIT: Final = 0x40
MSG_WAITFORONE: Final = 0x10000  # recvmmsg(2): wait for the first, take what else is there
SO_RCVBUFFORCE: Final = 33  # socket(7): past net.core.rmem_max, with CAP_NET_ADMIN
SO_MEMINFO: Final = 55
SK_MEMINFO_DROPS: Final = 8  # index in SO_MEMINFO's array of u32 (linux/sock_diag.h)
SO_TIMESTAMPNS_NEW: Final = 64  # 64-bit times on every machine, since Linux 5.1; its message has this type
UIO_MAXIOV: Final = 1024  # most messages the kernel takes in one call
UDP_SEGMENT: Final = 103  # udp(7), since Linux 4.18: cut a message into datagrams of so many octets
IP_MTU: Final = 14  # ip(7)
IPV6_MTU: Final = 24  # ipv6(7)

#: What may be about earlier datagrams is about this one when it comes so often in a row.
ERRORS_IN_A_ROW: Final = 4

#: What a UDP socket says about datagrams sent earlier (ICMP), not about this call.
_FROM_ICMP: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EPROTO,
    }
)


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_size_t), ("length", ctypes.c_size_t)]


class _MMsgHdr(ctypes.Structure):
    """struct mmsghdr with its struct msghdr in line; pointers as integers, so that numpy can fill them."""

    _fields_ = [
        ("name", ctypes.c_size_t),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_size_t),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_size_t),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("length", ctypes.c_uint32),
    ]


_IOVEC: Final = np.dtype(_IoVec)
# The struct msghdr ends padded to its alignment, before msg_len follows it.
_MSGHDR_SIZE: Final = (_MMsgHdr.flags.offset + 4 + ctypes.alignment(ctypes.c_size_t) - 1) & ~(
    ctypes.alignment(ctypes.c_size_t) - 1
)
_MMSGHDR: Final = np.dtype(
    {
        "names": ["iov", "iov_count", "control", "control_length", "flags", "length"],
        "formats": [np.uintp, np.uintp, np.uintp, np.uintp, np.int32, np.uint32],
        "offsets": [
            _MMsgHdr.iov.offset,
            _MMsgHdr.iov_count.offset,
            _MMsgHdr.control.offset,
            _MMsgHdr.control_length.offset,
            _MMsgHdr.flags.offset,
            _MSGHDR_SIZE,
        ],
        "itemsize": _MSGHDR_SIZE + ctypes.alignment(ctypes.c_size_t),
    }
)
#: A control message with a time: struct cmsghdr (length, level, type), then seconds and nanoseconds.
_CMSG: Final = np.dtype(
    [("size", np.uintp), ("level", np.int32), ("type", np.int32), ("seconds", np.int64), ("nanos", np.int64)]
)

#: A control message with the octets to cut at. The kernel wants its length without what pads it.
_SEGMENT: Final = np.dtype(
    [("size", np.uintp), ("level", np.int32), ("type", np.int32), ("octets", np.uint16)], align=True
)
_SEGMENT_SIZE: Final = struct.calcsize("@NiiH")
#: What the kernel says to a message that it would have to cut and cannot: the way has become too narrow for
#: its datagrams, or leads through IPsec or a device that leaves checksums to others.
_UNCUT: Final = frozenset({errno.EINVAL, errno.EIO, errno.EMSGSIZE})
#: Two of these fit into what UDP's length field counts.
_LONGEST_PAIRED: Final = 32_000


def _libc_function(name: str) -> Any:
    """Return recvmmsg or sendmmsg of the C library, None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


_recvmmsg: Any = _libc_function("recvmmsg")
_sendmmsg: Any = _libc_function("sendmmsg")

#: Whether whole batches go through one system call here.
AVAILABLE: Final = _recvmmsg is not None and _sendmmsg is not None


def socket_drops(sock: socket.socket) -> int:
    """Return how many datagrams the kernel threw away for want of room, since the socket was made.

    0 where the kernel does not tell (SO_MEMINFO is Linux's, since 4.6).
    """
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 9 * 4)
    except OSError:
        return 0
    return int(struct.unpack_from("=I", info, SK_MEMINFO_DROPS * 4)[0]) if len(info) >= 36 else 0


def set_receive_buffer(sock: socket.socket, octets: int) -> int:
    """Ask for a receive buffer of `octets`; return what the kernel granted (it counts overhead in too).

    SO_RCVBUFFORCE first, which may pass net.core.rmem_max but needs CAP_NET_ADMIN; else SO_RCVBUF.
    """
    octets = min(octets, 2**30)  # the kernel doubles it into an int
    try:
        if not sys.platform.startswith("linux"):
            raise OSError
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, octets)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return granted // 2 if sys.platform.startswith("linux") else granted


def _anonymous(octets: int) -> mmap.mmap:
    """Return untouched pages: memory is taken where datagrams land, and nowhere else."""
    pages = mmap.mmap(-1, octets)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # A huge page would take 2 MiB for the first datagram that lands in it; some kernels have none.
        with contextlib.suppress(OSError):
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return pages


class Receiver:
    """A fixed row of slots that datagrams of one socket are received into.

    data: uint8[slots * slot_octets]. offsets: int64[slots], fixed. lengths: int32[slots], set by
    `receive`: datagram i is data[offsets[i]:offsets[i] + lengths[i]]. One thread at a time.
    """

    def __init__(self, sock: socket.socket, slots: int = 1024, slot_octets: int = 65536) -> None:
        """Lay the slots out. 65,536 octets hold any UDP datagram; a shorter slot may cut one."""
        if slots < 1 or slot_octets < 1:
            raise ValueError("a Receiver needs at least one slot of at least one octet")
        self.sock = sock
        self.slots = slots
        self.slot_octets = slot_octets
        self._pages = _anonymous(slots * slot_octets)
        self.data: Octets = np.frombuffer(self._pages, dtype=np.uint8)
        self.offsets: npt.NDArray[np.int64] = np.arange(slots, dtype=np.int64) * slot_octets
        self.lengths: npt.NDArray[np.int32] = np.zeros(slots, dtype=np.int32)
        #: datagrams cut to slot_octets so far
        self.truncated = 0
        #: times the socket reported an ICMP error about a datagram sent earlier
        self.icmp_errors = 0
        self._iov = np.zeros(slots, dtype=_IOVEC)
        self._iov["base"] = self.data.ctypes.data + self.offsets.astype(np.uintp)
        self._iov["length"] = slot_octets
        self._headers = np.zeros(slots, dtype=_MMSGHDR)
        self._headers["iov"] = self._iov.ctypes.data + np.arange(slots, dtype=np.uintp) * _IOVEC.itemsize
        self._headers["iov_count"] = 1
        self._address = self._headers.ctypes.data
        self._length_view = self._headers["length"]
        self._flags_view = self._headers["flags"]
        self._control: Any = None

    def ask_for_times(self) -> None:
        """Have the kernel tell when each datagram came; `times` then says so. Without it, nothing changes."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1)
            self._control = np.zeros(self.slots, dtype=_CMSG)
            places = np.arange(self.slots, dtype=np.uintp) * _CMSG.itemsize
            self._headers["control"] = self._control.ctypes.data + places

    def times(self, count: int) -> npt.NDArray[np.int64]:
        """Return when the first `count` datagrams came, microseconds since the epoch; the present time of
        those that the kernel told nothing of.
        """
        now = time.time_ns() // 1000
        if self._control is None:
            return np.full(count, now, dtype=np.int64)
        told = self._control[:count]
        came = told["seconds"] * 1_000_000 + told["nanos"] // 1000
        return np.where((told["type"] == SO_TIMESTAMPNS_NEW) & (came > 0), came, now)

    def receive(self, block: bool = False, start_slot: int = 0) -> int:
        """Receive into slots start_slot, start_slot + 1, ...; return how many datagrams came.

        block: wait for the first one, as long as SO_RCVTIMEO allows; only on a socket that Python has not
        made non-blocking (settimeout does). 0 means that nothing was there. At most 1,024 a call (the
        kernel's bound); call again with a later start_slot to fill more. Raises OSError for an error of
        the socket, ValueError for a slot that is not there.
        """
        if not 0 <= start_slot < self.slots:
            raise ValueError(f"slot {start_slot} of {self.slots}")
        if _recvmmsg is None:
            return self._receive_one(block, start_slot)
        flags = MSG_WAITFORONE if block else MSG_DONTWAIT
        count = min(self.slots - start_slot, UIO_MAXIOV)
        headers = ctypes.c_void_p(self._address + start_slot * _MMSGHDR.itemsize)
        if self._control is not None:  # the kernel writes how much it told, and reads how much it may
            self._headers["control_length"][start_slot : start_slot + count] = _CMSG.itemsize
            self._control["type"][start_slot : start_slot + count] = 0
        while True:
            got = int(_recvmmsg(self.sock.fileno(), headers, count, flags, None))
            if got >= 0:
                break
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EWOULDBLOCK):
                return 0
            if code in _FROM_ICMP:
                self.icmp_errors += 1
            elif code != errno.EINTR:
                raise OSError(code, f"recvmmsg: {os.strerror(code)}")
        stop = start_slot + got
        self.lengths[start_slot:stop] = self._length_view[start_slot:stop]
        if self.slot_octets < 65536:
            self.truncated += int(np.count_nonzero(self._flags_view[start_slot:stop] & MSG_TRUNC))
        return got

    def release(self) -> None:
        """Give the slots' memory back to the kernel: what they hold is gone, and may be received anew."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._pages.madvise(mmap.MADV_DONTNEED)

    def _receive_one(self, block: bool, slot: int) -> int:
        """Stand in for recvmmsg: one datagram a call."""
        if not block and not select.select([self.sock], [], [], 0)[0]:
            return 0
        begin = slot * self.slot_octets
        view = self.data.data[begin : begin + self.slot_octets]
        try:
            self.lengths[slot] = self.sock.recv_into(view)
        except (BlockingIOError, TimeoutError):
            return 0
        except OSError as error:
            if error.errno not in _FROM_ICMP:
                raise
            self.icmp_errors += 1
            return 0
        return 1


def longest_paired(sock: socket.socket) -> int:
    """Return how long the first datagram of a pair may be on the way of a connected UDP socket; 0: no pairs.

    A kernel that cannot cut would send both as one datagram, so it is asked.
    """
    if not sys.platform.startswith("linux"):
        return 0
    try:
        sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
        if sock.family == socket.AF_INET6:
            room = sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) - 48
        else:
            room = sock.getsockopt(socket.IPPROTO_IP, IP_MTU) - 28
    except OSError:
        return 0
    return max(0, min(room, _LONGEST_PAIRED))


def _begins(sizes: npt.NDArray[np.int64], longest: int) -> npt.NDArray[np.int64]:
    """Return the datagrams that messages begin with, and behind them how many datagrams there are.

    A message is a datagram, or a pair: a second one behind it that is not longer, if it is not longer itself
    than `longest`. Of a row of datagrams that become shorter every other one is such a second.
    """
    n = len(sizes)
    if not longest or n < 2:
        return np.arange(n + 1)
    fits = (sizes[1:] <= sizes[:-1]) & (sizes[:-1] <= longest) & (sizes[1:] > 0)
    index = np.arange(1, n)
    row = np.maximum.accumulate(np.where(fits, 0, index))  # where the row of each datagram begins
    begins = np.ones(n + 1, dtype=np.bool_)
    begins[1:n] = ~fits | ((index - row) % 2 == 0)
    return np.flatnonzero(begins)


class Sender:
    """Sends datagrams that lie one behind the other in a buffer, to the socket's connected peer.

    In pairs: two datagrams of which the second is not longer go to the kernel as one message. They pass
    through the system together, which costs little more than one alone, and are cut apart again by the
    device, or where they arrive (UDP segmentation offload: what is cut has one size, but the last may be
    shorter). What crosses the wire is the same. A kernel that refuses a pair is given no more of them.
    """

    def __init__(self, sock: socket.socket, batch: int = UIO_MAXIOV, pairs: bool = False) -> None:
        """Prepare for `batch` messages a system call (the kernel takes 1,024 at most)."""
        self.sock = sock
        self.batch = max(1, min(batch, UIO_MAXIOV))
        #: how long the first datagram of a pair may be; 0: no pairs
        self.longest_paired = longest_paired(sock) if pairs and _sendmmsg is not None else 0
        #: datagrams that the peer's host answered nobody listens to, or that cannot reach it
        self.icmp_errors = 0
        #: times the kernel had no room and the call had to wait
        self.waits = 0
        #: datagrams that the kernel stopped behind within a row (an ICMP error about them does that)
        self.stops = 0
        #: datagrams that the last `send` handed to the kernel, also where it raised
        self.done = 0
        #: datagrams of the last message: what an error that comes next is about
        self.last = 1
        self._iov = np.zeros(self.batch, dtype=_IOVEC)
        self._headers = np.zeros(self.batch, dtype=_MMSGHDR)
        self._headers["iov"] = self._iov.ctypes.data + np.arange(self.batch, dtype=np.uintp) * _IOVEC.itemsize
        self._headers["iov_count"] = 1
        self._address = self._headers.ctypes.data
        if self.longest_paired:
            self._segments = np.zeros(self.batch, dtype=_SEGMENT)
            self._segments["size"] = _SEGMENT_SIZE
            self._segments["level"] = socket.IPPROTO_UDP
            self._segments["type"] = UDP_SEGMENT
            places = np.arange(self.batch, dtype=np.uintp) * _SEGMENT.itemsize
            self._headers["control"] = self._segments.ctypes.data + places

    def send(self, buffer: Octets, offsets: npt.NDArray[np.int64], first: int, count: int) -> int:
        """Send datagrams first..first + count - 1; return how many the kernel took (all, or it raises).

        buffer: contiguous uint8. offsets: int64, one longer than there are datagrams, never falling:
        datagram i is buffer[offsets[i]:offsets[i + 1]]. Waits where the kernel has no room. Raises
        OSError for an error of the socket, ValueError for offsets outside the buffer.
        """
        self.done = 0
        if count <= 0:
            return 0
        if first < 0 or first + count + 1 > len(offsets) or not buffer.flags.c_contiguous:
            raise ValueError("datagrams outside of their buffer")
        edges = offsets[first : first + count + 1]
        sizes = np.diff(edges)
        if int(edges[0]) < 0 or int(edges[-1]) > len(buffer) or int(sizes.min()) < 0:
            raise ValueError("datagrams outside of their buffer")
        if _sendmmsg is None:
            return self._send_each(buffer, edges)
        while self.done < count:  # twice where the kernel refuses a pair
            self._send_row(buffer.ctypes.data, edges[self.done :], sizes[self.done :])
        return count

    def _send_row(self, base: int, edges: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> None:
        """Send datagrams as far as no pair is refused; one that is ends all pairs."""
        begins = _begins(sizes, self.longest_paired)
        places, carried = edges[begins], np.diff(begins)
        for at in range(0, len(carried), self.batch):
            part = min(self.batch, len(carried) - at)
            end = at + part
            self._iov["base"][:part] = base + places[at:end].astype(np.uintp)
            self._iov["length"][:part] = np.diff(places[at : end + 1])
            if self.longest_paired:
                self._segments["octets"][:part] = sizes[begins[at:end]]
                self._headers["control_length"][:part] = (carried[at:end] - 1) * _SEGMENT.itemsize
            if not self._send_part(carried[at:end]):
                self.longest_paired = 0
                self._headers["control_length"] = 0
                return

    def _send_part(self, carried: npt.NDArray[np.int64]) -> bool:
        """Send the first headers, in as many calls as it takes. carried: the datagrams of each.

        False where the kernel refuses a pair; it and what comes behind it is not sent then.
        """
        at = in_a_row = 0
        part = len(carried)
        while at < part:
            headers = ctypes.c_void_p(self._address + at * _MMSGHDR.itemsize)
            sent = int(_sendmmsg(self.sock.fileno(), headers, part - at, 0))
            if sent >= 0:
                self.done += int(carried[at : at + sent].sum())
                at += sent
                self.last = int(carried[at - 1])
                self.stops += self.last if at < part else 0
                in_a_row = 0
                continue
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EWOULDBLOCK):
                self.waits += 1
                select.select([], [self.sock], [], 1.0)
            elif code == errno.ENOBUFS:  # the device's queue, which no poll tells about
                self.waits += 1
                time.sleep(0.0005)
            elif code in _FROM_ICMP and in_a_row < ERRORS_IN_A_ROW:
                # about an earlier datagram, and reading it has cleared it; or there is no way to the peer
                self.icmp_errors += self.last
                in_a_row += 1
            elif code in _UNCUT and carried[at] > 1:
                return False
            elif code != errno.EINTR:
                raise OSError(code, f"sendmmsg: {os.strerror(code)}")
        return True

    def _send_each(self, buffer: Octets, edges: npt.NDArray[np.int64]) -> int:
        """Stand in for sendmmsg: one datagram a call."""
        view = buffer.data
        places = edges.tolist()
        for begin, end in itertools.pairwise(places):
            self.sock.send(view[begin:end])
            self.done += 1
        return len(places) - 1
