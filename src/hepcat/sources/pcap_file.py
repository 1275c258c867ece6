"""Source: capture files. pcap, pcapng and either of them gzipped, in; indexed batches of SIP, out.

In: a path. Out: `Batch`es of at most `rows` messages, SIP found on any port by its start line. The
file is read a window at a time, so memory does not grow with it (nor with what it inflates to).
What can go wrong: `HepcatError` where there is no such file or it is no capture; `CaptureDamaged`,
after the last batch, where the file is cut off or damaged: what could be read has been handed out.

Windows are read, not mapped: it is faster (finding the SIP in 585 MB takes 0.2 s of CPU, mapped 0.6 s
by its page faults), pipes work too, and a file that somebody shortens meanwhile ends in an error for
people instead of the process in SIGBUS.
"""

import os
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX, HEP_SIP, MALFORMED, MAX_RECORD
from hepcat.errors import HepcatError
from hepcat.wire.columns import Datagrams, Packets
from hepcat.wire.frames import copy_payloads, decode_frames
from hepcat.wire.pcap import DAMAGED, FULL, MAX_BLOCK, REASONS, PcapReader
from hepcat.wire.sip import index_sip, sip_mask

#: Octets of a window: the kernels run over it while it is in the processor's cache.
WINDOW: Final = 1 << 20
#: A window grows when a record is longer than it, up to the longest record there may be.
_LONGEST_WINDOW: Final = MAX_BLOCK + 64
#: Octets of a gzip file inflated at once: where it is damaged, zlib keeps none of what it had of these.
_GZIP_STEP: Final = 1 << 14
#: Packets a window is decoded in.
_PACKETS: Final = 8192
_PAYLOAD: Final = FIELD_INDEX["payload"]
_TRUNCATED: Final = MALFORMED.index("truncated")
_OVERSIZE: Final = MALFORMED.index("oversize")


class CaptureDamaged(HepcatError):
    """The file ends within a record or is damaged; everything before `octet` has been read."""

    def __init__(self, message: str, octet: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.octet = octet


@dataclass(slots=True)
class Progress:
    """What has been read so far of a capture file."""

    size: int = 0  # octets of the file
    read: int = 0  # octets of the file that have been read
    packets: int = 0
    messages: int = 0
    #: what is wrong with the file, once all that could be read has been handed out
    problem: CaptureDamaged | None = None


def open_capture(path: Path) -> IO[bytes]:
    """Open a file that may be a capture. Raises HepcatError for people where it cannot be one."""
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - handed to the caller
    except FileNotFoundError:
        raise HepcatError(f"{path}: no such file", "Check the name; wildcards are the shell's.") from None
    except IsADirectoryError:
        raise HepcatError(f"{path}: a folder, not a capture file", f"Name the files: {path}/*.pcap") from None
    except OSError as error:
        raise HepcatError(f"{path}: cannot be opened: {error.strerror}") from None
    info = os.fstat(file.fileno())
    if stat.S_ISREG(info.st_mode) and info.st_size == 0:
        file.close()
        raise HepcatError(
            f"{path}: empty file", "A capture has at least a header; was it still being written?"
        )
    return file


def read_batches(
    path: str | os.PathLike[str],
    *,
    only_sip: bool = True,
    rows: int = 8192,
    drops: Array | None = None,
    extra: Sequence[str] = (),
    aleg: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[Batch]:
    """Read the SIP messages of a capture file, a batch at a time.

    path: pcap or pcapng, plain or gzipped. only_sip: skip and count what does not look like SIP; else
    every UDP payload is a row, hep_type 0 where it is no SIP. rows: most messages in a batch. drops:
    int64 array of len(Drop) counts, added to: packets = messages + drops. extra, aleg: further headers
    to index, as in `hepcat.wire.sip.index_sip`. progress: kept up to date while reading.

    Raises HepcatError before the first batch where the file is no capture, and CaptureDamaged after
    the last one where it ends early; with `progress` given, the latter is left there, not raised.
    """
    state = progress if progress is not None else Progress()
    with open_capture(Path(path)) as file:
        state.size = os.fstat(file.fileno()).st_size
        windows = _Windows(file, Path(path), state)
        yield from _batches(windows, state, only_sip, rows, _counts(drops), tuple(extra), aleg)
    if state.problem is not None and progress is None:
        raise state.problem


def _counts(drops: Array | None) -> Array:
    return np.zeros(len(Drop), dtype=np.int64) if drops is None else drops


def _batches(
    windows: "_Windows",
    state: Progress,
    only_sip: bool,
    rows: int,
    drops: Array,
    extra: tuple[str, ...],
    aleg: Sequence[str] | None,
) -> Iterator[Batch]:
    """Window by window: packets, datagrams, those that are SIP, into batches."""
    packets, datagrams = Packets.empty(_PACKETS), Datagrams.empty(_PACKETS)
    batch = _new_batch(rows, extra)
    while windows.next_packets(packets):
        state.packets += packets.n
        datagrams.n = 0
        decode_frames(windows.data, packets, datagrams, drops)
        keep, mask = _choose(windows.data, datagrams, only_sip, drops)
        while len(keep):
            taken = _append(batch, windows.data, packets, datagrams, keep, mask, aleg)
            state.messages += taken
            keep = keep[taken:]
            if len(keep):
                yield batch.trim()
                batch = _new_batch(rows, extra)
    if batch.n:
        yield batch.trim()


def _new_batch(rows: int, extra: tuple[str, ...]) -> Batch:
    """A batch with room for `rows` messages of the common length; at least for one of any length."""
    return Batch.empty(rows, max(rows * 1024, MAX_RECORD), extra)


def _choose(data: Array, found: Datagrams, only_sip: bool, drops: Array) -> tuple[Array, Array]:
    """Return the rows to keep, and for every row whether it is SIP; count the others by what they are."""
    n = found.n
    mask = np.zeros(n, dtype=np.uint8)
    sip_mask(data, found.offset[:n], found.length[:n], mask)
    if not only_sip:
        return np.arange(n), mask
    keep = np.flatnonzero(mask)
    if len(keep) < n:
        _count_others(data, found, np.flatnonzero(mask == 0), drops)
    return keep, mask


def _count_others(data: Array, found: Datagrams, rows: Array, drops: Array) -> None:
    """Tell keep-alives (RFC 5626 section 4.4.1) and STUN (RFC 8489 section 5) from what is not SIP."""
    offset, length = found.offset[rows], found.length[rows]
    short = np.flatnonzero((length > 0) & (length <= 4))
    keepalive = np.ones(len(short), dtype=bool)
    for i in range(4):
        there = length[short] > i
        octet = data[np.where(there, offset[short] + i, 0)]
        keepalive &= ~there | (octet == 0x0D) | (octet == 0x0A)
    keepalives = int(keepalive.sum())
    long = offset[length >= 20]
    long = long[data[long] < 4]  # the two top bits of STUN are zero; RTP begins with 0x80
    stun = np.ones(len(long), dtype=bool)
    for i, cookie in enumerate((0x21, 0x12, 0xA4, 0x42), start=4):
        stun &= data[long + i] == cookie
    drops[Drop.KEEPALIVE] += keepalives
    drops[Drop.STUN] += int(stun.sum())
    drops[Drop.NOT_SIP] += len(rows) - keepalives - int(stun.sum())


def _append(
    batch: Batch,
    data: Array,
    packets: Packets,
    found: Datagrams,
    keep: Array,
    mask: Array,
    aleg: Sequence[str] | None,
) -> int:
    """Append as many of the rows `keep` as the batch has room for, and index them; return how many."""
    length = np.minimum(found.length[keep], MAX_RECORD)
    left = len(batch.buffer) - batch.octets
    fit = min(batch.capacity - batch.n, int(np.searchsorted(np.cumsum(length), left, side="right")))
    if fit == 0:
        return 0
    rows, length = keep[:fit], length[:fit]
    first, end = batch.n, batch.n + fit
    copy_payloads(data, found.offset[rows], length, batch.buffer, batch.start[first : end + 1])
    for name in ("family", "ip_proto", "src_ip", "dst_ip", "src_port", "dst_port", "vlan"):
        getattr(batch, name)[first:end] = getattr(found, name)[rows]
    batch.ts[first:end] = packets.ts[found.packet[rows]]
    batch.hep_type[first:end] = mask[rows] * np.uint8(HEP_SIP)
    batch.fields[first:end, _PAYLOAD, 1] = length
    batch.n = end
    if aleg is None:
        index_sip(batch, first)
    else:
        index_sip(batch, first, tuple(aleg))
    # What the capture cut is the reason for what the index may have found missing.
    batch.malformed[first:end][found.truncated[rows] != 0] = _TRUNCATED
    batch.malformed[first:end][found.length[rows] > MAX_RECORD] = _OVERSIZE
    return fit


class _Windows:
    """The octets of a capture file, a window at a time, and the packets in it."""

    def __init__(self, file: IO[bytes], path: Path, state: Progress) -> None:
        self._file = file
        self._path = path
        self._state = state
        # A file that is still being written ends where it ended when it was opened: what was hashed
        # and what was read are then the same octets. Pipes end when they end.
        self._left = state.size if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else sys.maxsize
        self._reader = PcapReader()
        self._base = 0  # where in the (inflated) file the window begins
        self._filled = 0
        self._at = 0
        self._ended = False
        self._buffer = np.empty(WINDOW, dtype=np.uint8)
        self.data = self._buffer[:0]
        head = self._read(_GZIP_STEP)
        self._inflate = _Inflater(self._read, head) if head[:2] == b"\x1f\x8b" else None
        if self._inflate is None:
            self._take(head)
        else:
            self._fill()
        self._check_format()

    def next_packets(self, packets: Packets) -> bool:
        """Read the next packets into the columns; False at the end. `data` is the window they are in."""
        while True:
            if self._reader.status == DAMAGED:
                self._fail(REASONS[self._reader.reason])
                return False
            packets.n = self._reader.parse(
                self.data,
                self._at,
                packets.offset,
                packets.captured,
                packets.original,
                packets.ts,
                packets.link,
            )
            self._at = self._reader.position
            if packets.n:
                return True
            if self._reader.status not in (FULL, DAMAGED) and not self._fill():
                if self._at < self._filled:
                    self._fail("the file ends within a record")
                return False

    def _check_format(self) -> None:
        """Refuse what is no capture before anything is handed out."""
        none = np.zeros(0, dtype=np.int64)
        self._reader.parse(self.data, 0, none, none, none, none, none)
        self._at = self._reader.position
        if self._reader.status == DAMAGED and not self._reader.known:
            kind = _KINDS.get(self.data[:4].tobytes()[:2], "")
            raise HepcatError(
                f"{self._path}: {REASONS[self._reader.reason]}{kind}",
                "hepcat reads pcap and pcapng, plain or gzipped; other programs' formats: editcap -F pcapng.",
            )
        if not self._reader.known:
            problem = (self._inflate.problem if self._inflate is not None else "") or "ends"
            raise HepcatError(
                f"{self._path}: {problem} within the header of the capture, at octet {self._filled}",
                "Nothing can be read of it; was it still being written?",
            )

    def _fail(self, what: str) -> None:
        octet = self._base + self._at
        of = " (inflated)" if self._inflate else ""
        if self._inflate and self._inflate.problem:
            what = self._inflate.problem
        self._state.problem = CaptureDamaged(
            f"{self._path}: {what}, at octet {octet}{of}",
            octet,
            f"The {self._state.packets} packets before it have been read.",
        )

    def _read(self, size: int) -> bytes:
        octets = self._file.read(min(size, self._left))
        self._count(len(octets))
        return octets

    def _count(self, octets: int) -> None:
        self._state.read += octets
        self._left -= octets

    def _fill(self) -> bool:
        """Move what is left to the front and read on behind it; False when nothing more comes."""
        if self._ended:
            return False
        left = self._filled - self._at
        if left and self._at:
            self._buffer[:left] = self._buffer[self._at : self._filled].copy()
        elif left == len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.empty(len(self._buffer), dtype=np.uint8)])
            self._buffer = self._buffer[:_LONGEST_WINDOW]
        self._base += self._at
        self._at, self._filled = 0, left
        room = len(self._buffer) - left
        if self._inflate is not None:
            self._take(self._inflate.read(room))
        else:
            target: Any = self._buffer[left : left + self._left]
            got = self._file.readinto(target)  # type: ignore[attr-defined]
            self._count(got)
            self._grown(got)
        return not self._ended

    def _take(self, octets: bytes) -> None:
        self._buffer[self._filled : self._filled + len(octets)] = np.frombuffer(octets, dtype=np.uint8)
        self._grown(len(octets))

    def _grown(self, got: int) -> None:
        self._ended = got == 0
        self._filled += got
        self.data = self._buffer[: self._filled]


#: What else people may give, by the first two octets.
_KINDS: Final[dict[bytes, str]] = {
    b"\x28\xb5": " (it looks like zstd: unzstd it first)",
    b"\xfd7": " (it looks like xz: unxz it first)",
    b"BZ": " (it looks like bzip2: bunzip2 it first)",
    b"PK": " (it looks like a zip archive: unpack it first)",
    b"\x04\x22": " (it looks like lz4: unlz4 it first)",
    b"sn": " (it looks like snoop)",
}


class _Inflater:
    """Inflate a gzip file (RFC 1952), member after member, never more at once than is asked for."""

    def __init__(self, read: Any, head: bytes) -> None:
        self._source = read
        self._input = head
        self._stream = zlib.decompressobj(wbits=31)
        self.problem = ""

    def read(self, room: int) -> bytes:
        """Return up to `room` octets, none at the end; `problem` then says if it came too early."""
        while not self.problem:
            if self._stream.eof and not self._next_member():
                return b""
            if not self._input:
                self._input = self._source(_GZIP_STEP)
            ended = not self._input
            try:
                octets = self._stream.decompress(self._input, room)
            except zlib.error:
                self.problem = "the gzip stream is damaged"
                return b""
            self._input = self._stream.unconsumed_tail
            if octets:
                return octets
            if ended and not self._stream.eof:
                self.problem = "the gzip stream ends early"
        return b""

    def _next_member(self) -> bool:
        """Begin the next gzip member behind the one that ended; anything else is ignored."""
        rest = self._stream.unused_data or self._input
        if len(rest) < 2:
            rest += self._source(WINDOW)
        if rest[:2] != b"\x1f\x8b":
            return False
        self._input = rest
        self._stream = zlib.decompressobj(wbits=31)
        return True
