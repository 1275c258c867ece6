"""The table of HEP vectors, used in both directions, and what the HEP tests share.

The datagrams are put together here with struct alone, so that encoder and decoder are each held
against a third hand. A crash that fuzzing finds becomes a line of `BROKEN`.
"""

import gzip
import ipaddress
import itertools
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX, NO_NODE, NO_VLAN
from hepcat.wire.hep import AuthKeys, decode_hep

TAGS = FIELD_INDEX["tags"]
RECEIVED = 1_795_358_810_000_000
INVITE = (
    b"INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n"
    b"From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.org>\r\nCall-ID: 1@192.0.2.1\r\n"
    b"CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)


@dataclass(frozen=True)
class Record:
    """One row of a batch as plain values."""

    ts: int = 1_795_358_809_123_456
    family: int = 2
    ip_proto: int = 17
    src_ip: str = "192.0.2.1"
    dst_ip: str = "198.51.100.2"
    src_port: int = 5060
    dst_port: int = 5062
    vlan: int = NO_VLAN
    hep_type: int = 1
    node_id: int = NO_NODE
    payload: bytes | None = INVITE
    correlation_id: bytes | None = None
    node_name: bytes | None = None
    tags: bytes | None = None


@dataclass(frozen=True)
class Vector:
    """A datagram and its record. `encode` holds encode_hep's options that give exactly these octets."""

    name: str
    octets: bytes
    record: Record
    encode: dict[str, Any] | None = field(default=None)


def chunk(kind: int, body: bytes, vendor: int = 0) -> bytes:
    return struct.pack(">HHH", vendor, kind, 6 + len(body)) + body


def hep3(*chunks: bytes, magic: bytes = b"HEP3") -> bytes:
    body = b"".join(chunks)
    return magic + struct.pack(">H", 6 + len(body)) + body


def u8(kind: int, value: int) -> bytes:
    return chunk(kind, struct.pack(">B", value))


def u16(kind: int, value: int) -> bytes:
    return chunk(kind, struct.pack(">H", value))


def u32(kind: int, value: int) -> bytes:
    return chunk(kind, struct.pack(">I", value))


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


V4 = (chunk(3, ip("192.0.2.1")), chunk(4, ip("198.51.100.2")))
V6 = (chunk(5, ip("2001:db8::1")), chunk(6, ip("2001:db8::2")))
SIX = Record(family=10, src_ip="2001:db8::1", dst_ip="2001:db8::2")
#: The chunks 2, 7, 8, 9, a and b of `Record()`.
MIDDLE = (u8(2, 17), u16(7, 5060), u16(8, 5062), u32(9, 1_795_358_809), u32(10, 123_456), u8(11, 1))
HEAD4 = (u8(1, 2), *MIDDLE)
HEAD6 = (u8(1, 10), *MIDDLE)
BODY = chunk(15, INVITE)


def hep12(
    version: int, length: int, addresses: tuple[str, str], time: bytes = b"", body: bytes = INVITE
) -> bytes:
    a, b = (ip(text) for text in addresses)
    return (
        struct.pack(">BBBBHH", version, length, 2 if len(a) == 4 else 10, 17, 5060, 5062)
        + a
        + b
        + time
        + body
    )


ADDRESSES4 = ("192.0.2.1", "198.51.100.2")
ADDRESSES6 = ("2001:db8::1", "2001:db8::2")
TIME_LITTLE = struct.pack("<IIHH", 1_795_358_809, 123_456, 2001, 0)
TIME_BIG = struct.pack(">IIHH", 1_795_358_809, 123_456, 2001, 0)

VECTORS: tuple[Vector, ...] = (
    Vector("hep3 ipv4", hep3(*HEAD4, *V4, BODY), Record(), {}),
    Vector("hep3 ipv6", hep3(*HEAD6, *V6, BODY), SIX, {}),
    Vector("vendor 256 is not vendor 0", hep3(*HEAD4, *V4, BODY, chunk(15, b"x", 256)), Record()),
    Vector("plain after compressed", hep3(*HEAD4, *V4, chunk(16, b"no zlib"), BODY), Record()),
    Vector(
        "compressed after plain",
        hep3(*HEAD4, *V4, chunk(15, b"x"), chunk(16, zlib.compress(INVITE))),
        Record(),
    ),
    Vector("capture id 0", hep3(*HEAD4, u32(12, 0), *V4, BODY), Record(node_id=0), {"capture_id": 0}),
    Vector("eep1", hep3(*HEAD4, *V4, BODY, magic=b"EEP1"), Record(), {"magic": b"EEP1"}),
    Vector(
        "every chunk with a column",
        hep3(
            *HEAD4,
            u32(12, 2001),
            *V4,
            chunk(14, b"secret"),
            chunk(17, b"corr@x"),
            chunk(0x26, b"a=b;c=d"),
            chunk(19, b"edge-1"),
            u16(18, 42),
            BODY,
        ),
        Record(node_id=2001, vlan=42, correlation_id=b"corr@x", node_name=b"edge-1", tags=b"a=b;c=d"),
        {"key": b"secret"},
    ),
    Vector(
        "id and name of the agent",
        hep3(*HEAD4, u32(12, 9), *V4, chunk(19, b"here"), BODY),
        Record(node_id=9, node_name=b"here"),
        {"default_id": 9, "default_name": b"here"},
    ),
    Vector(
        "capture id of the sender",
        hep3(*HEAD4, u32(12, 7), *V4, BODY),
        Record(node_id=7),
        {"capture_id": 7},
    ),
    Vector(
        "every chunk of the reference",
        hep3(
            *HEAD4,
            u32(12, 1),
            u16(13, 60),
            *V4,
            chunk(14, b"k"),
            chunk(17, b"c"),
            u16(18, 5),
            chunk(19, b"n"),
            chunk(20, b"\2\0\0\0\0\1"),
            chunk(21, b"\2\0\0\0\0\2"),
            u16(22, 0x800),
            u8(23, 2),
            u8(24, 184),
            u16(0x20, 440),
            u16(0x21, 93),
            chunk(0x22, b"52.5,13.4"),
            u32(0x23, 12),
            chunk(0x24, b"register"),
            chunk(0x25, b"{}"),
            chunk(0x26, b"a=b"),
            u16(0x27, 1),
            u16(0x28, 2),
            chunk(0x29, b"g"),
            BODY,
        ),
        Record(node_id=1, vlan=5, correlation_id=b"c", node_name=b"n", tags=b"a=b"),
    ),
    Vector(
        "mac addresses as u64",
        hep3(*HEAD4, *V4, chunk(20, bytes(8)), chunk(21, bytes(8)), BODY),
        Record(),
    ),
    Vector(
        "payload first, ports turned, correlation id empty",
        hep3(BODY, *reversed(HEAD4), *reversed(V4), chunk(17, b"")),
        Record(),
    ),
    Vector(
        "vendor chunks are skipped",
        hep3(chunk(15, b"x", 2), *HEAD4, *V4, BODY, chunk(1, b"", 0xFFFF)),
        Record(),
    ),
    Vector(
        "unknown types are skipped",
        hep3(chunk(0, b""), *HEAD4, *V4, BODY, chunk(0xFFFF, b"z" * 300)),
        Record(),
    ),
    Vector(
        "the last of a repeated chunk",
        hep3(*HEAD4, u16(7, 9), chunk(15, b"x"), *V4, BODY),
        Record(src_port=9),
    ),
    Vector("octets behind the total length", hep3(*HEAD4, *V4, BODY) + b"\r\n\0", Record()),
    Vector(
        "time, protocol, ports and type missing",
        hep3(u8(1, 2), *V4, BODY),
        Record(ts=RECEIVED, ip_proto=0, src_port=0, dst_port=0, hep_type=0),
    ),
    Vector(
        "largest time",
        hep3(u8(1, 2), u32(9, 0xFFFFFFFF), *V4, BODY),
        Record(ts=0xFFFFFFFF * 1_000_000, ip_proto=0, src_port=0, dst_port=0, hep_type=0),
    ),
    Vector(
        "log line over tcp",
        hep3(u8(1, 2), u8(2, 6), *MIDDLE[1:5], u8(11, 100), *V4, chunk(15, b"\0\xff")),
        Record(ip_proto=6, hep_type=100, payload=b"\0\xff"),
        {},
    ),
    Vector("zlib", hep3(*HEAD4, *V4, chunk(16, zlib.compress(INVITE))), Record(), {"compress": True}),
    Vector("gzip", hep3(*HEAD4, *V4, chunk(16, gzip.compress(INVITE))), Record()),
    Vector(
        "octets behind the zlib stream",
        hep3(*HEAD4, *V4, chunk(16, zlib.compress(INVITE) + b"\0\0")),
        Record(),
    ),
    Vector(
        "incompressible stays plain",
        hep3(*HEAD4, *V4, chunk(15, b"x")),
        Record(payload=b"x"),
        {"compress": True},
    ),
    Vector("hep1 ipv4", hep12(1, 16, ADDRESSES4), Record(ts=RECEIVED), {"version": 1}),
    Vector("hep1 ipv6", hep12(1, 40, ADDRESSES6), replace(SIX, ts=RECEIVED), {"version": 1}),
    Vector(
        "hep2 ipv4, as senders do",
        hep12(2, 16, ADDRESSES4, TIME_LITTLE),
        Record(node_id=2001),
        {"version": 2},
    ),
    Vector(
        "hep2 ipv6, as senders do",
        hep12(2, 40, ADDRESSES6, TIME_LITTLE),
        replace(SIX, node_id=2001),
        {"version": 2},
    ),
    Vector(
        "hep2 big-endian",
        hep12(2, 16, ADDRESSES4, TIME_BIG),
        Record(node_id=2001),
        {"version": 2, "byteorder": "big"},
    ),
    Vector("hep2 length with the time", hep12(2, 28, ADDRESSES4, TIME_LITTLE), Record(node_id=2001)),
    Vector("hep2 ipv6 length with the time", hep12(2, 52, ADDRESSES6, TIME_BIG), replace(SIX, node_id=2001)),
    Vector("hep2 ipv6 length 16", hep12(2, 16, ADDRESSES6, TIME_LITTLE), replace(SIX, node_id=2001)),
)

#: Datagrams that give no record, and the reason they are counted under.
BROKEN: tuple[tuple[str, bytes, Drop], ...] = (
    ("nothing", b"", Drop.HEP_SHORT),
    ("one octet", b"H", Drop.HEP_SHORT),
    ("one octet 0", b"\0", Drop.HEP_SHORT),
    ("one octet 1", b"\1", Drop.HEP_SHORT),
    ("two octets", b"\2\x10", Drop.HEP_SHORT),
    ("magic alone", b"HEP3", Drop.HEP_SHORT),
    ("magic and half a length", b"HEP3\0", Drop.HEP_SHORT),
    ("another magic", b"HEP4\0\6", Drop.HEP_MAGIC),
    ("sip without hep", INVITE, Drop.HEP_MAGIC),
    ("dns", b"\x12\x34\1\0\0\1\0\0\0\0\0\0", Drop.HEP_MAGIC),
    ("no chunk", hep3(), Drop.HEP_MISSING),
    ("total below the header", b"HEP3\0\5", Drop.HEP_LENGTH),
    ("total 0", b"HEP3\0\0" + b"x" * 20, Drop.HEP_LENGTH),
    ("total over the datagram", hep3(*HEAD4, *V4, BODY)[:-1], Drop.HEP_LENGTH),
    ("chunk of length 0", hep3(*HEAD4, *V4, b"\0\0\0\1\0\0", BODY), Drop.HEP_CHUNK),
    ("chunk of length 5", hep3(b"\0\0\0\1\0\5", BODY), Drop.HEP_CHUNK),
    (
        "chunk of length 5 of a type that is skipped",
        hep3(*HEAD4, *V4, BODY, b"\0\0\0\x20\0\5" + b"\0\0\0\0\6"),
        Drop.HEP_CHUNK,
    ),
    ("chunk past the end", hep3(*HEAD4, *V4, b"\0\0\0\x0f\0\7"), Drop.HEP_CHUNK),
    ("chunk header cut", hep3(*HEAD4, *V4, BODY, b"\0\0\0\x0f\0"), Drop.HEP_CHUNK),
    ("vendor chunk past the end", hep3(*HEAD4, *V4, BODY, b"\0\1\0\x0f\xff\xff"), Drop.HEP_CHUNK),
    ("family of 2 octets", hep3(u16(1, 2), *V4, BODY), Drop.HEP_CHUNK),
    ("protocol of 0 octets", hep3(*HEAD4, chunk(2, b""), *V4, BODY), Drop.HEP_CHUNK),
    ("ipv4 address of 3 octets", hep3(*HEAD4, *V4, chunk(3, b"abc"), BODY), Drop.HEP_CHUNK),
    ("ipv4 address of 5 octets", hep3(*HEAD4, *V4, chunk(4, b"abcde"), BODY), Drop.HEP_CHUNK),
    ("ipv6 address of 17 octets", hep3(*HEAD6, *V6, chunk(5, bytes(17)), BODY), Drop.HEP_CHUNK),
    ("ipv6 address of 4 octets", hep3(*HEAD4, *V4, chunk(6, b"abcd"), BODY), Drop.HEP_CHUNK),
    ("port of 4 octets", hep3(*HEAD4, *V4, u32(7, 1), BODY), Drop.HEP_CHUNK),
    ("seconds of 8 octets", hep3(*HEAD4, *V4, chunk(9, bytes(8)), BODY), Drop.HEP_CHUNK),
    ("type of 2 octets", hep3(*HEAD4, *V4, u16(11, 1), BODY), Drop.HEP_CHUNK),
    ("agent id of 2 octets", hep3(*HEAD4, *V4, u16(12, 1), BODY), Drop.HEP_CHUNK),
    ("vlan of 1 octet", hep3(*HEAD4, *V4, u8(18, 1), BODY), Drop.HEP_CHUNK),
    ("family missing", hep3(*MIDDLE, *V4, BODY), Drop.HEP_MISSING),
    ("addresses missing", hep3(*HEAD4, BODY), Drop.HEP_MISSING),
    ("source missing", hep3(*HEAD4, V4[1], BODY), Drop.HEP_MISSING),
    ("ipv6 source missing", hep3(*HEAD6, V6[1], BODY), Drop.HEP_MISSING),
    ("destination missing", hep3(*HEAD6, V6[0], BODY), Drop.HEP_MISSING),
    ("ipv4 with ipv6 addresses", hep3(*HEAD4, *V6, BODY), Drop.HEP_FAMILY),
    ("ipv6 with ipv4 addresses", hep3(*HEAD6, *V4, BODY), Drop.HEP_FAMILY),
    ("addresses of both families", hep3(*HEAD4, *V4, *V6, BODY), Drop.HEP_FAMILY),
    ("family 3", hep3(u8(1, 3), *V4, BODY), Drop.HEP_FAMILY),
    ("payload missing", hep3(*HEAD4, *V4), Drop.HEP_PAYLOAD),
    ("payload empty", hep3(*HEAD4, *V4, chunk(15, b"")), Drop.HEP_PAYLOAD),
    ("payload of a vendor only", hep3(*HEAD4, *V4, chunk(15, INVITE, 1)), Drop.HEP_PAYLOAD),
    ("compressed and empty", hep3(*HEAD4, *V4, chunk(16, b"")), Drop.HEP_PAYLOAD),
    ("compressed nothing", hep3(*HEAD4, *V4, chunk(16, zlib.compress(b""))), Drop.HEP_PAYLOAD),
    ("not zlib", hep3(*HEAD4, *V4, chunk(16, INVITE)), Drop.HEP_INFLATE),
    ("zlib cut", hep3(*HEAD4, *V4, chunk(16, zlib.compress(INVITE)[:-1])), Drop.HEP_INFLATE),
    (
        "zlib checksum wrong",
        hep3(*HEAD4, *V4, chunk(16, zlib.compress(INVITE)[:-1] + b"!")),
        Drop.HEP_INFLATE,
    ),
    ("zip bomb", hep3(*HEAD4, *V4, chunk(16, zlib.compress(bytes(5_000_000)))), Drop.HEP_INFLATE_BOUND),
    ("gzip bomb", hep3(*HEAD4, *V4, chunk(16, gzip.compress(bytes(5_000_000)))), Drop.HEP_INFLATE_BOUND),
    (
        "one over the bound",
        hep3(*HEAD4, *V4, chunk(16, zlib.compress(bytes(65_536)))),
        Drop.HEP_INFLATE_BOUND,
    ),
    (
        "inflated, with an id, over a record",
        hep3(*HEAD4, *V4, chunk(17, b"c"), chunk(16, zlib.compress(bytes(65_535)))),
        Drop.OVERSIZE,
    ),
    ("hep1 length 17", hep12(1, 17, ADDRESSES4), Drop.HEP_MAGIC),
    ("hep1 ipv4 length 40", hep12(1, 40, ADDRESSES4), Drop.HEP_LENGTH),
    ("hep1 with hep2's length", hep12(1, 28, ADDRESSES4, TIME_LITTLE), Drop.HEP_LENGTH),
    ("hep2 ipv6 length 28", hep12(2, 28, ADDRESSES6, TIME_LITTLE), Drop.HEP_LENGTH),
    ("hep1 family 3", b"\1\x10\3\x11" + bytes(40), Drop.HEP_FAMILY),
    ("hep1 header cut", hep12(1, 16, ADDRESSES4)[:15], Drop.HEP_SHORT),
    ("hep2 time cut", hep12(2, 16, ADDRESSES4, TIME_LITTLE)[:27], Drop.HEP_SHORT),
    ("hep1 without payload", hep12(1, 16, ADDRESSES4, body=b""), Drop.HEP_PAYLOAD),
    ("hep2 without payload", hep12(2, 16, ADDRESSES4, TIME_BIG, b""), Drop.HEP_PAYLOAD),
    ("hep1 over a record", hep12(1, 16, ADDRESSES4, body=bytes(65_536)), Drop.OVERSIZE),
)


def no_drops() -> np.ndarray:
    return np.zeros(len(Drop), dtype=np.int64)


def pack(datagrams: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay datagrams behind each other: (data, offsets, lengths)."""
    lengths = np.array([len(d) for d in datagrams], dtype=np.int64)
    offsets = np.cumsum([0, *lengths])[: len(datagrams)].astype(np.int64)
    return np.frombuffer(b"".join(datagrams), dtype=np.uint8), offsets, lengths


def decode(
    datagrams: list[bytes], keys: AuthKeys | None = None, bound: int = 65_535, received: int = RECEIVED
) -> tuple[Batch, np.ndarray]:
    """Decode into a batch with room for all; hold the sum: consumed = appended + dropped."""
    data, offsets, lengths = pack(datagrams)
    batch = Batch.empty(max(1, len(datagrams)), 70_000 + 20 * len(data))
    drops = no_drops()
    consumed = decode_hep(data, offsets, lengths, len(datagrams), received, batch, drops, keys, bound)
    assert consumed == len(datagrams)
    assert batch.n + drops.sum() == consumed
    check(batch)
    return batch, drops


def check(batch: Batch) -> None:
    """Hold what must be true of any batch: slices within their record, no gap between records."""
    sizes = np.diff(batch.start[: batch.n + 1])
    assert (sizes >= 0).all()
    fields = batch.fields[: batch.n].astype(np.int64)
    assert (fields[:, :, 0] + fields[:, :, 1] <= sizes[:, None]).all()
    assert (fields[:, :3, 1].sum(axis=1) + fields[:, TAGS, 1] == sizes).all()
    assert not fields[:, 3:TAGS].any()
    assert not fields[fields[:, :, 1] == 0].any(), "a slice without a value is (0, 0)"
    for address in (batch.src_ip, batch.dst_ip):
        ipv4 = address[: batch.n][batch.family[: batch.n] == 2]
        assert (ipv4[:, :12] == [0] * 10 + [0xFF, 0xFF]).all(), "IPv4 is ::ffff:a.b.c.d"


def records(batch: Batch) -> list[Record]:
    """Read every row back as plain values."""
    return [
        Record(
            ts=int(batch.ts[i]), family=int(batch.family[i]), ip_proto=int(batch.ip_proto[i]),
            src_ip=batch.address(i, "src_ip"), dst_ip=batch.address(i, "dst_ip"),
            src_port=int(batch.src_port[i]), dst_port=int(batch.dst_port[i]), vlan=int(batch.vlan[i]),
            hep_type=int(batch.hep_type[i]), node_id=int(batch.node_id[i]), payload=batch.text(i, "payload"),
            correlation_id=batch.text(i, "correlation_id"), node_name=batch.text(i, "node_name"),
            tags=batch.text(i, "tags"),
        )
        for i in range(batch.n)
    ]  # fmt: skip


def batch_of(rows: list[Record]) -> Batch:
    """Build a batch by hand, as a source other than HEP would."""
    texts = [[r.payload or b"", r.correlation_id or b"", r.node_name or b"", r.tags or b""] for r in rows]
    batch = Batch.empty(max(1, len(rows)), sum(len(t) for row in texts for t in row) + 1)
    at = 0
    for i, (row, parts) in enumerate(zip(rows, texts, strict=True)):
        for name in ("ts", "family", "ip_proto", "src_port", "dst_port", "vlan", "hep_type", "node_id"):
            getattr(batch, name)[i] = getattr(row, name)
        for name in ("src_ip", "dst_ip"):
            octets = ip(getattr(row, name))
            mapped = octets if len(octets) == 16 else bytes(10) + b"\xff\xff" + octets
            getattr(batch, name)[i] = np.frombuffer(mapped, dtype=np.uint8)
        for k, part in enumerate(parts):
            batch.buffer[at : at + len(part)] = np.frombuffer(part, dtype=np.uint8)
            if part:
                batch.fields[i, TAGS if k == 3 else k] = (at - int(batch.start[i]), len(part))
            at += len(part)
        batch.start[i + 1] = at
    batch.n = len(rows)
    return batch


def datagrams_of(encoded: tuple[np.ndarray, np.ndarray]) -> list[bytes]:
    """Take encode_hep's answer apart."""
    buffer, offsets = encoded
    return [buffer[a:b].tobytes() for a, b in itertools.pairwise(offsets)]
