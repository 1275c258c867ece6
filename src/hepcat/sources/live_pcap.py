"""Frames from an interface through libpcap (package cypcap), where there are no packet sockets.

In: an interface's name, a filter. Out: windows: packets copied one behind the other. What can go wrong:
HepcatError from the constructor (no right, no such interface); an interface that goes away is logged once,
and opened again when it is back.

libpcap hands over one packet after the other, so that a few Python statements run for each: this is the way
for systems without AF_PACKET, and it is an order of magnitude slower. libpcap puts the VLAN tags back itself.
"""

import contextlib
import select
import time
import warnings
from typing import Any, Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.errors import HepcatError
from hepcat.sources.filters import Filter, compile_filter, names_link_octets
from hepcat.sources.frame_source import Window
from hepcat.wire.columns import Packets

log = structlog.get_logger("hepcat.capture")

#: Rows and octets of a window.
_ROWS: Final = 2048
_WINDOW: Final = 1 << 20
#: Octets of libpcap's own buffer.
_BUFFER: Final = 12 * 2**20
#: Seconds between two attempts to open an interface again.
_RETRY: Final = 0.5
#: libpcap's own numbers (DLT_) of link types that files, and so the frame kernel, know by others.
_LINK_OF_DLT: Final[dict[int, int]] = {12: 101, 14: 101}


class LivePcapSource:
    """An interface as a FrameSource, through libpcap. drops, packets: counts since the start."""

    def __init__(
        self,
        dev: str,
        filter: Filter | None = None,
        snap_len: int = 65535,
        timeout_ms: int = 20,
        promisc: bool = True,
    ) -> None:
        """Open and begin to capture. Raises HepcatError."""
        self.name = dev
        self.ended = False
        self.packets = 0
        self.drops = np.zeros(len(Drop), dtype=np.int64)
        self._filter = filter
        self._snap_len = snap_len
        self._timeout = timeout_ms / 1000
        self._promisc = promisc
        self._octets = np.empty(max(_WINDOW, snap_len), dtype=np.uint8)
        self._columns = Packets.empty(_ROWS)
        self._kept: tuple[Any, bytes] | None = None
        self._counted = 0
        self._lost = 0
        self._retry_at = 0.0
        self._pcap: Any = None
        self._open()

    def next_window(self, timeout: float) -> Window | None:
        """Return what has come, None when nothing came within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.ended:
            packets = self._read()
            if packets.n:
                self.packets += packets.n
                return Window(self._octets, packets, int(packets.ts[packets.n - 1]))
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._wait(min(left, self._timeout))
        return None

    def release(self, window: Window) -> None:
        """Give a window back: the next one is written over it."""

    def kernel_drops(self) -> int:
        """Return how many packets the kernel or the interface dropped since the last call."""
        self._count()
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        """Close; libpcap puts promiscuous mode back."""
        if not self.ended:
            self._count()
            self.ended = True
            self._close()

    def _open(self) -> None:
        import cypcap  # type: ignore[import-untyped,unused-ignore]

        pcap = cypcap.create(self.name)
        try:
            pcap.set_snaplen(self._snap_len)
            pcap.set_promisc(self._promisc)
            pcap.set_timeout(self._timeout)
            pcap.set_buffer_size(_BUFFER)
            with warnings.catch_warnings():  # "any" knows no promiscuous mode
                warnings.simplefilter("ignore")
                pcap.activate()
            pcap.setnonblock(True)
            dlt = int(pcap.datalink())
            self._link = _LINK_OF_DLT.get(dlt, dlt)
            if self._filter is not None:
                pcap.setfilter(self._program(cypcap, self._filter))
        except cypcap.Error as error:
            pcap.close()
            words = str(getattr(error, "msg", "") or error)
            raise HepcatError(
                f"cannot capture on {self.name}: {words}",
                "Start as root, or give the right to capture; `hepcat doctor` looks why.",
            ) from None
        except BaseException:
            pcap.close()
            raise
        self._pcap = pcap
        self._counted = 0

    def _program(self, cypcap: Any, own: Filter) -> Any:
        """On Ethernet our own program, which sees behind tags; else what libpcap makes of the expression
        (behind a cooked header it rewrites programs itself, and only its own).
        """
        if self._link != 1 or names_link_octets(own.text):
            return own.text
        made = compile_filter(own.expression, 1, own.pass_fragments, self._snap_len, where=own.where)
        return cypcap.BpfProgram(list(made.instructions))

    def _close(self) -> None:
        if self._pcap is not None:
            self._pcap.close()
            self._pcap = None

    def _read(self) -> Packets:
        """Copy the packets that wait, as far as there is room."""
        columns = self._columns
        columns.n = 0
        if self._pcap is None:
            return columns
        at, room = 0, len(self._octets)
        view = self._octets.data
        while columns.n < _ROWS:
            header, octets = self._kept or self._next()
            self._kept = None
            if header is None:
                break
            if len(octets) > room - at:
                self._kept = header, octets
                break
            view[at : at + len(octets)] = octets
            self._put(columns, header, at, len(octets))
            at += len(octets)
        return columns

    def _put(self, columns: Packets, header: Any, at: int, captured: int) -> None:
        n = columns.n
        columns.offset[n] = at
        columns.captured[n] = captured
        columns.original[n] = max(captured, header.len)
        columns.ts[n] = round(header.ts * 1e6)  # seconds
        columns.link[n] = self._link
        columns.n = n + 1

    def _next(self) -> tuple[Any, bytes]:
        try:
            found: tuple[Any, bytes] = next(self._pcap, (None, b""))
        except Exception as error:  # cypcap.Error: the interface went away
            log.warning("interface vanished; waiting for it to come back", dev=self.name, error=str(error))
            self._count()
            self._close()
            self._retry_at = time.monotonic() + _RETRY
            return None, b""
        return found

    def _wait(self, seconds: float) -> None:
        if self._pcap is None:
            if time.monotonic() >= self._retry_at:
                self._retry_at = time.monotonic() + _RETRY
                with contextlib.suppress(HepcatError):
                    self._open()
                    log.info("interface is back", dev=self.name)
            if self._pcap is None:
                time.sleep(seconds)
            return
        try:
            select.select([self._pcap.get_selectable_fd()], [], [], seconds)
        except (OSError, AttributeError, ValueError):
            time.sleep(seconds)

    def _count(self) -> None:
        """libpcap counts from the opening on."""
        if self._pcap is None:
            return
        with contextlib.suppress(Exception):
            stats = self._pcap.stats()
            lost = int(stats.drop) + int(getattr(stats, "ifdrop", 0))
            self._lost += lost - self._counted
            self._counted = lost
