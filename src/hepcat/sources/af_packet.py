"""Frames from an interface: a TPACKET_V3 ring, shared with the kernel and walked where it lies.

In: an interface's name (or "any"), a filter. Out: windows; each is a few blocks of the ring or a part of one,
lent until `release`, which gives the blocks back to the kernel. What can go wrong: HepcatError from the
constructor (no right, no such interface, no memory). Later the interface may go down, come up, vanish and
come back: each is logged once, and capturing goes on.

- A named interface with Ethernet headers is read with them (SOCK_RAW). "any", and interfaces without such
  headers (tun, ipip, sit, gre, ppp), are read behind the link header (SOCK_DGRAM). "any" has ifindex 0, so
  interfaces that are made later are in it.
- The filter is attached while the socket has no protocol and so receives nothing: no other packet slips in.
- Promiscuous mode is asked for by membership, which the kernel counts for each socket and takes back when
  the socket goes, however the process ends.
- Workers share an interface by PACKET_FANOUT_HASH, which is symmetric: both directions of a flow reach one
  worker. PACKET_FANOUT_FLAG_DEFRAG is not set: it would put IPv4 fragments together in the kernel, where
  neither bound nor counter of ours holds and IPv6 is left out. Without it all fragments of a datagram have
  one hash (of its addresses: no port is looked at in any of them), so one worker gets them all.
- Other sniffers are not affected, nor the packets themselves.

packets + kernel drops = packets that matched the filter. packets = rows of windows + drops[OUTGOING] +
drops[FRAME_MALFORMED] (0, unless the kernel's headers lie).
"""

import contextlib
import errno
import mmap
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.errors import HepcatError
from hepcat.sources.filter_program import Instruction
from hepcat.sources.filters import Filter, accept_nothing, compile_filter
from hepcat.sources.frame_source import Window
from hepcat.sources.packet_socket import (
    ANY,
    ETH_P_ALL,
    FANOUT_HASH,
    FANOUT_UNIQUE,
    PACKET_ADD_MEMBERSHIP,
    PACKET_DROP_MEMBERSHIP,
    PACKET_FANOUT,
    PACKET_MR_PROMISC,
    PACKET_RX_RING,
    PACKET_STATISTICS,
    PACKET_VERSION,
    SOL_PACKET,
    TPACKET_V3,
    Geometry,
    attach,
    bind_any,
    is_cooked,
    open_error,
)
from hepcat.wire.columns import Packets
from hepcat.wire.tpacket import BlockWalker

log = structlog.get_logger("hepcat.capture")

#: Rows of a window; a block of the smallest packets has more, and then makes several windows.
_ROWS: Final = 2048
#: Once a block is ready, so many naps of so many seconds are taken, where the ring has room for it: under
#: load more blocks come meanwhile, and share what a window costs. They end when one part in so many of the
#: ring is full.
_NAPS: Final = 4
_NAP: Final = 0.0025
_GATHERED: Final = 6
_ROOMY: Final = 4 * 2**20
#: Seconds between two attempts to find an interface that has vanished.
_RETRY: Final = 0.5
#: Asks for a fan-out group that nobody else has.
NEW_GROUP: Final = -1
#: Sockets kept to join a fan-out group anew: a socket leaves its group only by being closed, and when the
#: interface vanished the right to make another may have been given up.
_SPARES: Final = 4


@dataclass(slots=True)
class RingWindow(Window):
    """A window that knows the blocks that it is the last one of: they go back to the kernel with it."""

    blocks: list[int] = field(default_factory=list)


class RingSource:
    """Frames of one interface; a FrameSource. `drops` and `packets` count what came since the start."""

    def __init__(
        self,
        dev: str,
        filter: Filter | None = None,
        ring_octets: int = 12 * 2**20,
        snap_len: int = 65535,
        timeout_ms: int = 20,
        promisc: bool = True,
        fanout: tuple[int, int] | None = None,
    ) -> None:
        """Open and begin to capture.

        filter: made for any live link; it is compiled anew for this one. None takes everything.
        ring_octets: of the ring, about. timeout_ms: how long a block waits to fill. fanout: (group,
        workers); group NEW_GROUP asks the kernel for a new one, which `group` then names for the others.
        """
        self.name = dev
        self.ended = False
        self.packets = 0
        self.drops = np.zeros(len(Drop), dtype=np.int64)
        self.cooked = is_cooked(dev)
        self.group = fanout[0] if fanout is not None and fanout[1] > 1 else None
        self._promisc = promisc and dev != ANY
        self._filter = _for_socket(filter, self.cooked, snap_len)
        self._geometry = Geometry.of(ring_octets, snap_len)
        self._timeout_ms = timeout_ms
        self._naps = self._geometry.octets >= _ROOMY
        self._spares: list[socket.socket] = []
        self._free: list[Packets] = []
        self._kernel_drops = 0
        self._down = False
        self._gone = False
        self._retry_at = 0.0
        self._finish_at = float("inf")
        self._walker: BlockWalker | None = None
        self._open()
        if self.group is not None:
            with contextlib.suppress(OSError):
                self._spares = [self._make_socket() for _ in range(_SPARES)]

    # ---- the contract

    def next_window(self, timeout: float) -> RingWindow | None:
        """Return the packets that are there, None when none came within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.ended:
            if self._is_ready():
                window = self._lend()
            elif time.monotonic() >= self._finish_at:
                self.close()
                break
            else:
                left = min(deadline, self._finish_at) - time.monotonic()
                self._wait(max(left, 0.0))
                if self._naps and left > _NAPS * _NAP and self._is_ready():
                    self._gather()
                if time.monotonic() >= deadline and not self._is_ready():
                    return None
                continue
            if window is not None:
                return window
        return None

    def release(self, window: Window) -> None:
        """Give a window back."""
        assert isinstance(window, RingWindow)
        if window.data is self._ring and self._walker is not None:
            for block in window.blocks:
                self._walker.release_block(block)
                self._lent -= 1
        window.blocks = []
        self._free.append(window.packets)

    def kernel_drops(self) -> int:
        """Return how many packets the ring had no room for since the last call."""
        if not self.ended:
            self._read_statistics()
        count, self._kernel_drops = self._kernel_drops, 0
        return count

    def close(self) -> None:
        """Close; promiscuous mode goes back to what it was. Windows lent out stay readable."""
        if self.ended:
            return
        self._read_statistics()
        self.ended = True
        self._close_socket()
        for spare in self._spares:
            spare.close()

    # ---- beyond the contract

    def finish(self) -> None:
        """Take no more packets; what the ring holds is still handed out. `ended` is set when that is done."""
        self._filter = accept_nothing()
        if self._walker is not None:
            attach(self._sock, self._filter)
        # The block that is being filled is handed over at the latest when its time is up.
        self._finish_at = time.monotonic() + 2 * self._timeout_ms / 1000 + 0.01

    def fileno(self) -> int:
        """The socket, for poll: readable when a block is ready."""
        return self._sock.fileno()

    def set_filter(self, filter: Filter | None, snap_len: int = 65535) -> None:
        """Put another filter in the place of this one; not a packet is seen without either."""
        self._filter = _for_socket(filter, self.cooked, snap_len)
        if self._walker is not None:
            attach(self._sock, self._filter)

    # ---- socket and ring

    def _open(self) -> None:
        """Make socket and ring, and begin."""
        try:
            self._sock = self._make_socket()
        except OSError as error:
            raise open_error(self.name, error) from None
        try:
            self._start()
        except OSError as error:
            self._sock.close()
            raise open_error(self.name, error, self._geometry) from None
        except BaseException:
            self._sock.close()
            raise

    def _make_socket(self) -> socket.socket:
        """A packet socket that receives nothing yet; a spare one where making one is no longer allowed."""
        kind = socket.SOCK_DGRAM if self.cooked else socket.SOCK_RAW
        try:
            return socket.socket(socket.AF_PACKET, kind, 0)
        except PermissionError:
            if not self._spares:
                raise
            return self._spares.pop()

    def _start(self) -> None:
        sock, shape = self._sock, self._geometry
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        # In a group, the socket must be bound before it may join; until then the group's packets are not
        # its own, and it takes none.
        attach(sock, self._filter if self.group is None else accept_nothing())
        frame = 2048
        request = (shape.block_octets, shape.blocks, frame, shape.octets // frame, self._timeout_ms, 0, 0)
        sock.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack("=7I", *request))
        self._map = mmap.mmap(sock.fileno(), shape.octets, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        for advice in ("MADV_DONTFORK", "MADV_DONTDUMP"):  # no copies of traffic in children or core files
            with contextlib.suppress(OSError, AttributeError):
                self._map.madvise(getattr(mmap, advice))
        self._ring = np.frombuffer(self._map, dtype=np.uint8)
        self._walker = BlockWalker(self._ring, shape.block_octets, self.cooked)
        self._block = 0
        self._lent = 0
        self._bind()
        if self.group is not None:
            self._join()
            attach(sock, self._filter)
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN | select.POLLERR)

    def _bind(self) -> None:
        """Bind to the interface; from here on packets come."""
        if self.name == ANY:
            self._index = 0
            bind_any(self._sock)
            return
        self._index = socket.if_nametoindex(self.name)
        if self._promisc:
            self._membership(PACKET_ADD_MEMBERSHIP)
        self._sock.bind((self.name, ETH_P_ALL))

    def _membership(self, option: int) -> None:
        request = struct.pack("=iHH8s", self._index, PACKET_MR_PROMISC, 0, b"")
        self._sock.setsockopt(SOL_PACKET, option, request)

    def _join(self) -> None:
        """Join the fan-out group, or make it."""
        if self.group == NEW_GROUP:
            value = (FANOUT_HASH | FANOUT_UNIQUE) << 16
        else:
            value = (self.group or 0) | FANOUT_HASH << 16
        self._sock.setsockopt(SOL_PACKET, PACKET_FANOUT, value)
        self.group = self._sock.getsockopt(SOL_PACKET, PACKET_FANOUT) & 0xFFFF

    def _close_socket(self) -> None:
        """Take leave. The mapping keeps the socket open as long as somebody holds a window of it, so what
        the socket did to the interface is undone first.
        """
        if self._promisc and not self._gone:
            with contextlib.suppress(OSError):
                self._membership(PACKET_DROP_MEMBERSHIP)
        with contextlib.suppress(OSError):
            attach(self._sock, accept_nothing())
        self._sock.close()
        self._walker = None
        self._ring = np.empty(0, dtype=np.uint8)
        with contextlib.suppress(BufferError):
            self._map.close()

    # ---- blocks

    def _is_ready(self) -> bool:
        walker = self._walker
        if walker is None:
            return False
        return walker.left > 0 or (self._lent < self._geometry.blocks and walker.is_ready(self._at))

    @property
    def _at(self) -> int:
        return self._block * self._geometry.block_octets

    def _gather(self) -> None:
        """Let a few more blocks become ready."""
        shape, walker = self._geometry, self._walker
        far = (self._block + shape.blocks // _GATHERED) % shape.blocks * shape.block_octets
        for _ in range(_NAPS):
            time.sleep(_NAP)
            if walker is None or walker.is_ready(far):
                return

    def _lend(self) -> RingWindow | None:
        """Read rows of the blocks that are ready; None where they held none (only outgoing copies of
        loopback).

        As many blocks as the rows hold: what Python and numpy cost is the same for few packets as for many.
        """
        walker = self._walker
        assert walker is not None
        packets = self._free.pop() if self._free else Packets.empty(_ROWS)
        skipped = int(self.drops[Drop.OUTGOING])
        done: list[int] = []
        n = 0
        while n < _ROWS and self._is_ready():
            at = self._at
            if walker.left > 0:
                n = walker.walk_on(packets, self.drops, n)
            else:
                n = walker.walk_block(at, packets, self.drops, n)
                self._lent += 1
            if walker.left == 0:
                done.append(at)
                self._block = (self._block + 1) % self._geometry.blocks
        self.packets += n + int(self.drops[Drop.OUTGOING]) - skipped
        window = RingWindow(self._ring, packets, int(packets.ts[n - 1]) if n else 0, done)
        if n:
            if self._down:
                self._down = False
                log.info("interface is up again", dev=self.name)
            return window
        self.release(window)
        return None

    def _wait(self, seconds: float) -> None:
        """Wait for a block, an error of the interface, or the end of the time."""
        if self._gone:
            if time.monotonic() >= self._retry_at:
                self._come_back()
            if self._gone:
                time.sleep(min(seconds, self._timeout_ms / 1000 if self._walker is not None else _RETRY))
                return
        if self._down:  # nothing tells that it is up again but packets, nor that it vanished meanwhile
            if not self._exists():
                self._vanished()
                return
            seconds = min(seconds, _RETRY)
        for _, events in self._poll.poll(seconds * 1000):
            if events & ~select.POLLIN:
                self._take_error()

    # ---- the interface's fate

    def _take_error(self) -> None:
        """Read the socket's error (which clears it): ENETDOWN when the interface went down or vanished."""
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            return
        if not self._exists():
            self._vanished()
        elif code == errno.ENETDOWN:
            if not self._down:
                log.warning("interface is down", dev=self.name)
            self._down = True
        else:
            log.warning("interface reports an error", dev=self.name, error=os.strerror(code))

    def _vanished(self) -> None:
        """Begin to wait for the interface. What the ring holds is still handed out meanwhile."""
        log.warning("interface vanished; waiting for it to come back", dev=self.name)
        self._gone = True
        self._retry_at = time.monotonic() + max(_RETRY, 2 * self._timeout_ms / 1000)

    def _exists(self) -> bool:
        if self.name == ANY:
            return True
        try:
            return socket.if_nametoindex(self.name) == self._index
        except OSError:
            return False

    def _come_back(self) -> None:
        """Bind anew to an interface that has vanished, if it is there again."""
        self._retry_at = time.monotonic() + _RETRY
        if self.group is not None and self._walker is not None:
            # A member of a group cannot be bound again. It leaves, so that the group, which is tied to the
            # interface that was, can go.
            self._read_statistics()
            self._close_socket()
        try:
            socket.if_nametoindex(self.name)
            if is_cooked(self.name) != self.cooked:
                return
        except (OSError, HepcatError):
            return
        try:
            if self.group is None:
                self._bind()
            else:
                self._sock = self._make_socket()
                self._start()
        except OSError as error:
            if self.group is not None:
                self._close_socket()
            # A group that other workers are about to leave refuses the new interface; soon it will be gone.
            if self.group is None or error.errno != errno.EINVAL:
                log.warning("interface is back, but cannot be opened", dev=self.name, error=error.strerror)
            return
        self._gone = self._down = False
        log.info("interface is back", dev=self.name)

    def _read_statistics(self) -> None:
        """Read (which clears) the ring's counts: packets, drops, times it was full."""
        with contextlib.suppress(OSError):
            octets = self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)
            self._kernel_drops += struct.unpack("=3I", octets)[1]


def open_rings(
    dev: str,
    workers: int,
    filter: Filter | None = None,
    ring_octets: int = 12 * 2**20,
    snap_len: int = 65535,
    timeout_ms: int = 20,
    promisc: bool = True,
) -> list[RingSource]:
    """Open one source a worker, in a fan-out group of their own. Raises HepcatError."""
    sources: list[RingSource] = []
    group = NEW_GROUP
    try:
        for _ in range(workers):
            fanout = (group, workers) if workers > 1 else None
            sources.append(RingSource(dev, filter, ring_octets, snap_len, timeout_ms, promisc, fanout))
            group = NEW_GROUP if sources[0].group is None else sources[0].group
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources


def _for_socket(filter: Filter | None, cooked: bool, snap_len: int) -> tuple[Instruction, ...]:
    """Return the instructions for this kind of socket; without a filter one that cuts to the snap length."""
    if filter is None:
        return ((0x06, 0, 0, snap_len),)
    if filter.snap_len != snap_len:
        filter = compile_filter(
            filter.expression, filter.link, filter.pass_fragments, snap_len, where=filter.where
        )
    return filter.for_link("cooked" if cooked else "ethernet").instructions
