"""Sink: frames as they were captured, as pcap files, rotated by size or time, gzipped where asked.

In: windows. Out: pcap files (Ethernet). Frames that came without a link header get an Ethernet one with
empty addresses; VLAN tags that the kernel took out are put back. Frames with another link header (cooked,
PPP: from files) keep it and go to files of their own, NAME-linkTYPE: a pcap file has one link type. What
can go wrong: HepcatError where the first file cannot be made; later the disk's errors are logged once and
counted in `lost`.
"""

import contextlib
import gzip
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from hepcat.batch.schema import NO_VLAN
from hepcat.errors import HepcatError
from hepcat.wire.columns import LINK_ETHERTYPE, LINKTYPE_RAW, Array, Packets
from hepcat.wire.scatter import scatter_payloads

_SNAP: Final = 262_144
_ETHERNET: Final = 1
#: Link types without a header: LINKTYPE_RAW, _IPV4, _IPV6, and DLT_RAW's numbers on some systems.
_RAW: Final = (LINKTYPE_RAW, 228, 229, 12, 14)
#: Octets of an Ethernet header's addresses; the VLAN tag goes behind them (IEEE 802.1Q section 9.3).
_ADDRESSES: Final = 12
_RECORD: Final = 16
#: Names of files that are remembered.
_NAMES: Final = 1000

log = structlog.get_logger("hepcat.write")


class FrameWriter:
    """Writes windows to one file after the other; several workers may share one."""

    def __init__(
        self, path: Path, rotate_octets: int = 0, rotate_seconds: float = 0, compress: bool = False
    ) -> None:
        """path: may hold %Y, %m, %d, %H, %M, %S (UTC). 0: never rotate. Raises HepcatError."""
        self._pattern = path
        self._rotate_octets = rotate_octets
        self._rotate_seconds = rotate_seconds
        self._gzip = compress or path.suffix == ".gz"
        self._mutex = threading.Lock()
        self._parts: dict[int, _Part] = {}
        self._number = 0
        self._told = False
        self._closed = False
        #: packets written, and packets that the disk did not take
        self.packets = 0
        self.lost = 0
        #: files begun, the last of them
        self.files: list[Path] = []
        try:
            self._open(_ETHERNET)  # whatever comes, it can be written there
        except OSError as error:
            raise HepcatError(
                f"cannot write to {error.filename}: {error.strerror}",
                "Name a file, in a folder that is there and that this user may write to.",
            ) from None

    def write(self, data: Array, packets: Packets) -> None:
        """Append these packets."""
        if not packets.n:
            return
        link = packets.link[: packets.n]
        kinds = np.where(np.isin(link, _RAW) | ((link & LINK_ETHERTYPE) != 0), _ETHERNET, link)
        with self._mutex:
            if self._closed:
                self.lost += packets.n
            elif (kinds == kinds[0]).all():
                self._append(int(kinds[0]), data, packets)
            else:
                for kind in np.unique(kinds).tolist():
                    self._append(kind, data, _take(packets, np.flatnonzero(kinds == kind)))

    def close(self) -> None:
        """Finish the files."""
        with self._mutex:
            self._closed = True
            for part in self._parts.values():
                try:
                    part.file.close()
                except OSError as error:
                    log.error("cannot write captured frames", error=error.strerror)
            self._parts.clear()

    def _append(self, kind: int, data: Array, packets: Packets) -> None:
        try:
            while packets.n:
                part = self._parts.get(kind)
                if part is None or self._is_due(part):
                    part = self._open(kind)
                fit = self._fitting(part, packets)
                octets = encode_records(data, _take(packets, np.arange(fit)) if fit < packets.n else packets)
                self._write(kind, part, octets)
                self.packets += fit
                packets = _take(packets, np.arange(fit, packets.n))
            self._told = False
        except OSError as error:
            self.lost += packets.n
            if not self._told:
                log.error("cannot write captured frames; capture goes on", error=error.strerror)
            self._told = True

    def _write(self, kind: int, part: "_Part", octets: Array) -> None:
        """Write records whole, or raise OSError with nothing of them in a file that goes on."""
        view = octets.data
        try:
            while len(view):
                view = view[part.file.write(view) :]
        except OSError:
            try:
                if self._gzip:
                    raise
                part.file.truncate(part.written)
                part.file.seek(part.written)
            except OSError:  # the file ends here; what comes next goes to another
                del self._parts[kind]
                with contextlib.suppress(OSError):
                    part.file.close()
            raise
        part.written += len(octets)

    def _fitting(self, part: "_Part", packets: Packets) -> int:
        """How many packets go into this file: a window may be larger than a file is to be."""
        if not self._rotate_octets:
            return packets.n
        ends = np.cumsum(packets.captured[: packets.n].astype(np.int64) + _RECORD)
        return min(packets.n, int(np.searchsorted(ends, self._rotate_octets - part.written)) + 1)

    def _is_due(self, part: "_Part") -> bool:
        by_size = self._rotate_octets and part.written >= self._rotate_octets
        by_time = self._rotate_seconds and time.monotonic() - part.begun >= self._rotate_seconds
        return bool(by_size or by_time)

    def _open(self, kind: int) -> "_Part":
        before = self._parts.pop(kind, None)
        if before is not None:
            before.file.close()
        path = self._next_path("" if kind == _ETHERNET else f"-link{kind}")
        file = _create(path, self._gzip)
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP, kind))
        self.files.append(path)
        del self.files[:-_NAMES]
        self._parts[kind] = _Part(file, 24, time.monotonic())
        return self._parts[kind]

    def _next_path(self, mark: str) -> Path:
        """The name for now; where a later file would write over another, a number is put in."""
        text = time.strftime(str(self._pattern), time.gmtime())
        suffix = "".join(Path(text).suffixes[-2:]) if text.endswith(".gz") else Path(text).suffix
        stem = text.removesuffix(suffix) + mark
        if self._gzip and not text.endswith(".gz"):
            suffix = f"{suffix}.gz"
        path = Path(f"{stem}{suffix}")
        rotates = bool(self.files) and bool(self._rotate_octets or self._rotate_seconds)
        while path in self.files or (rotates and path.exists()):
            self._number += 1
            path = Path(f"{stem}-{self._number:05d}{suffix}")
        return path


def _create(path: Path, compress: bool) -> Any:
    if compress:
        return gzip.open(path, "wb", compresslevel=1)
    return path.open("wb", buffering=0)  # a window at a time: so that what was written whole is known


@dataclass(slots=True)
class _Part:
    """An open file: octets written to it, and since when."""

    file: Any
    written: int
    begun: float


def _take(packets: Packets, rows: Array) -> Packets:
    columns = (
        getattr(packets, name)[rows] for name in ("offset", "captured", "original", "ts", "link", "vlan")
    )
    return Packets(len(rows), *columns)


def encode_records(data: Array, packets: Packets) -> Array:
    """Return pcap records (microseconds) of packets that lie in `data`, one behind the other: Ethernet, but
    frames with another link header as they are.
    """
    n = packets.n
    link, vlan = packets.link[:n], packets.vlan[:n]
    captured, offset = packets.captured[:n], packets.offset[:n]
    bare = np.isin(link, _RAW) | ((link & LINK_ETHERTYPE) != 0)
    put_back = (vlan != NO_VLAN) & (bare | (link == _ETHERNET))
    tagged = put_back & ~bare
    extra = np.where(bare, _ADDRESSES + 2, 0) + np.where(put_back, 4, 0)
    to = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(_RECORD + extra + captured, out=to[1:])
    out = np.zeros(int(to[n]), dtype=np.uint8)
    headers = np.empty((n, 4), dtype=np.uint32)
    ts = packets.ts[:n]
    headers[:, 0], headers[:, 1] = ts // 1_000_000, ts % 1_000_000
    headers[:, 2], headers[:, 3] = captured + extra, np.maximum(packets.original[:n], captured) + extra
    _scatter(headers.view(np.uint8).reshape(-1), np.arange(n) * _RECORD, np.full(n, _RECORD), out, to[:n])
    body = to[:n] + _RECORD
    plain = np.flatnonzero(~tagged)
    _scatter(data, offset[plain], captured[plain], out, (body + extra)[plain])
    rows = np.flatnonzero(bare)
    if len(rows):
        _put16(out, body[rows] + extra[rows] - 2, _ethertypes(data, packets, rows))
    rows = np.flatnonzero(tagged)
    if len(rows):
        head = np.minimum(captured[rows], _ADDRESSES)
        _scatter(data, offset[rows], head, out, body[rows])
        _scatter(data, offset[rows] + head, captured[rows] - head, out, body[rows] + head + 4)
    rows = np.flatnonzero(put_back)
    if len(rows):
        _put16(out, body[rows] + _ADDRESSES, np.full(len(rows), 0x8100))
        _put16(out, body[rows] + _ADDRESSES + 2, vlan[rows])
    return out


def _ethertypes(data: Array, packets: Packets, rows: Array) -> Array:
    """The EtherType of frames without link header: told by the source, else by the IP version nibble."""
    link = packets.link[rows]
    first = data[np.minimum(packets.offset[rows], len(data) - 1)]
    by_version = np.where(first >> 4 == 6, 0x86DD, 0x0800)
    return np.where((link & LINK_ETHERTYPE) != 0, link & 0xFFFF, by_version)


def _put16(out: Array, at: Array, values: Array) -> None:
    out[at], out[at + 1] = values >> 8, values & 0xFF


def _scatter(data: Array, offset: Array, length: Array, out: Array, to: Array) -> None:
    parts = [np.ascontiguousarray(part, dtype=np.int64) for part in (offset, length, to)]
    scatter_payloads(data, parts[0], parts[1], out, parts[2])
