"""Sink: messages as a capture file, pcap or pcapng, that every other tool of the field reads.

In: messages in order of time (plain columns, or an Arrow table of table sip). Out: octets to a binary
file. What can go wrong: the file's own OSError. A UDP payload over what UDP can carry is cut; `cut`
counts those. The link is Ethernet, the one link that every reader knows and that has room for a VLAN.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from hepcat.batch.schema import NO_VLAN
from hepcat.wire.packet_encode import LINKTYPE_ETHERNET, PacketEncoder

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["pcap", "pcapng"]
FORMATS: Final[tuple[Format, ...]] = ("pcap", "pcapng")
#: ts (microseconds), transport, src_ip, src_port, dst_ip, dst_port, vlan, payload
Message = tuple[int, str, str | None, int, str | None, int, int, bytes]
#: The columns of table sip that a message is made of, in that order.
COLUMNS: Final = ("ts", "transport", "src_ip", "src_port", "dst_ip", "dst_port", "vlan", "payload")

_SNAP: Final = 262_144
_CHUNK: Final = 1 << 20


class PcapWriter:
    """Writes one capture file: its header at once, then messages. Does not close the file.

    `messages` and `packets` count what was written, `cut` the messages that UDP cannot carry whole.
    """

    def __init__(self, file: IO[bytes], format: Format = "pcap") -> None:
        if format not in FORMATS:
            raise ValueError(f"unknown format {format!r}: one of {', '.join(FORMATS)}")
        self._file = file
        self._record = _pcap_record if format == "pcap" else _pcapng_record
        self._encoder = PacketEncoder()
        self.messages = 0
        self.packets = 0
        file.write(_pcap_header() if format == "pcap" else _pcapng_header())

    @property
    def cut(self) -> int:
        """Messages whose payload was cut to what UDP can carry."""
        return self._encoder.cut

    def write(self, messages: Iterable[Message]) -> None:
        """Write messages, in order of time where TCP's numbering is to make sense."""
        pending: list[bytes] = []
        size = 0
        encode, record = self._encoder.encode_message, self._record
        for message in messages:
            for frame in encode(*message[1:]):
                octets = record(message[0], frame)
                pending.append(octets)
                size += len(octets)
                self.packets += 1
            self.messages += 1
            if size >= _CHUNK:
                self._file.write(b"".join(pending))
                pending.clear()
                size = 0
        self._file.write(b"".join(pending))


def write_pcap(table: "pa.Table", fileobj: IO[bytes], format: Format = "pcap") -> PcapWriter:
    """Write an Arrow table of messages (the columns COLUMNS, others are ignored) as a capture file.

    Rows are written in order of time. Returns the writer, for its counts. Raises KeyError where a
    column is missing, ValueError for an unknown format.
    """
    writer = PcapWriter(fileobj, format)
    writer.write(messages_of_table(table))
    return writer


def messages_of_table(table: "pa.Table") -> Iterator[Message]:
    """Yield the rows of an Arrow table as messages, in order of time."""
    import pyarrow as pa

    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise KeyError(f"no column {', '.join(missing)}")
    table = table.select(list(COLUMNS))
    table = table.set_column(0, "ts", table.column("ts").cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    for batch in table.sort_by("ts").to_batches(max_chunksize=8192):
        columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
        yield from (
            (
                ts,
                transport or "udp",
                src,
                sport or 0,
                dst,
                dport or 0,
                NO_VLAN if vlan is None else vlan,
                data or b"",
            )
            for ts, transport, src, sport, dst, dport, vlan, data in zip(*columns, strict=True)
        )


def _pcap_header() -> bytes:
    """The file header of pcap: microseconds, version 2.4 (draft-ietf-opsawg-pcap, section 4)."""
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP, LINKTYPE_ETHERNET)


def _pcap_record(ts: int, frame: bytes) -> bytes:
    seconds, micros = divmod(ts, 1_000_000)
    length = len(frame)
    return struct.pack("<IIII", seconds & 0xFFFFFFFF, micros, length, length) + frame


def _pcapng_header() -> bytes:
    """Section header and one interface, in microseconds (draft-ietf-opsawg-pcapng, sections 4.1, 4.2)."""
    section = _block(
        0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(4, b"hepcat") + bytes(4)
    )
    options = _option(2, b"hepcat export") + _option(9, b"\x06") + bytes(4)
    return section + _block(1, struct.pack("<HHI", LINKTYPE_ETHERNET, 0, _SNAP) + options)


def _pcapng_record(ts: int, frame: bytes) -> bytes:
    """Enhanced Packet Block (section 4.3)."""
    length = len(frame)
    ts = max(ts, 0)
    return _block(6, struct.pack("<IIIII", 0, ts >> 32, ts & 0xFFFFFFFF, length, length) + frame)


def _block(kind: int, body: bytes) -> bytes:
    pad = -len(body) % 4
    length = 12 + len(body) + pad
    return struct.pack("<II", kind, length) + body + bytes(pad) + struct.pack("<I", length)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
