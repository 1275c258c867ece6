"""DNS (RFC 1035) to JSON. No I/O, no clock, no log.

In: a batch and rows of it whose payload is one DNS message over UDP. Out: a `Patch` with one JSON object
each. What can go wrong: a row that is no DNS stays as it is; records that cannot be read end the message,
and "truncated": true says so. Names are followed over at most MAX_JUMPS pointers, each of which has to
lead backwards, so a loop ends the name.

    {"id", "type": "query" | "response", "opcode", "opcode_name", "rcode", "rcode_name", "flags": ["rd", ...],
     "questions": [{"name", "type", "class"}],
     "answers": [{"name", "type", "class", "ttl", "data"}], "authorities": [...], "additionals": [...]}

`data` is text as in a zone file (RFC 1035 section 5.1); of the types that route calls, NAPTR (RFC 3403) and
SRV (RFC 2782), the fields are told one by one as well. Types that are not read come in hexadecimal digits.
"""

import ipaddress
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch
from hepcat.wire.json_text import Array, heads, patch_rows, payloads, to_json, to_text

MAX_JUMPS: Final = 64
MAX_RECORDS: Final = 1000
#: The longest name (RFC 1035 section 2.3.4).
MAX_NAME: Final = 255

#: Types (IANA's registry of resource record types).
TYPES: Final[dict[int, str]] = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    13: "HINFO",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    35: "NAPTR",
    39: "DNAME",
    41: "OPT",
    43: "DS",
    44: "SSHFP",
    46: "RRSIG",
    47: "NSEC",
    48: "DNSKEY",
    50: "NSEC3",
    51: "NSEC3PARAM",
    52: "TLSA",
    64: "SVCB",
    65: "HTTPS",
    99: "SPF",
    249: "TKEY",
    250: "TSIG",
    251: "IXFR",
    252: "AXFR",
    255: "ANY",
    256: "URI",
    257: "CAA",
}
CLASSES: Final[dict[int, str]] = {1: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}
OPCODES: Final[dict[int, str]] = {
    0: "QUERY",
    1: "IQUERY",
    2: "STATUS",
    4: "NOTIFY",
    5: "UPDATE",
    6: "DSO",
}
RCODES: Final[dict[int, str]] = {
    0: "NOERROR",
    1: "FORMERR",
    2: "SERVFAIL",
    3: "NXDOMAIN",
    4: "NOTIMP",
    5: "REFUSED",
    6: "YXDOMAIN",
    7: "YXRRSET",
    8: "NXRRSET",
    9: "NOTAUTH",
    10: "NOTZONE",
    16: "BADVERS",
}
#: Flags (RFC 1035 section 4.1.1, RFC 4035 section 3).
_FLAGS: Final = (
    (0x0400, "aa"),
    (0x0200, "tc"),
    (0x0100, "rd"),
    (0x0080, "ra"),
    (0x0020, "ad"),
    (0x0010, "cd"),
)
_SECTIONS: Final = ("answers", "authorities", "additionals")
_OPT: Final = 41
#: Types whose data is one name.
_NAMES: Final = frozenset((2, 5, 12, 39))


class _Bad(Exception):
    """The message says something that its octets do not hold. Never leaves this file."""


def dns_mask(batch: Batch, out: Array, ports: Sequence[int] = (53,)) -> None:
    """Tell which payloads are DNS: from or to one of `ports`, with a header that can be one.

    out: (n,) uint8, set to 1 or 0. The header's counts have to fit into the octets that follow it, at the
    shortest: 5 for a question, 11 for a record (RFC 1035 section 4.1).
    """
    n = batch.n
    rows = np.flatnonzero(np.isin(batch.src_port[:n], ports) | np.isin(batch.dst_port[:n], ports))
    length = payloads(batch, rows)[1]
    rows, length = rows[length >= 12], length[length >= 12]
    found = heads(batch, rows, 12)
    counts = found[:, 4:12:2] << 8 | found[:, 5:12:2]
    mask = np.isin(found[:, 2] >> 3 & 0x0F, list(OPCODES)) & (found[:, 3] & 0x40 == 0)
    mask &= (counts @ np.array([5, 11, 11, 11]) <= length - 12) & (counts.sum(axis=1) > 0)
    out[:n] = 0
    out[rows[mask]] = 1


def dns_to_json(batch: Batch, rows: Array) -> Patch:
    """Write the DNS messages of `rows` as JSON. rows: int64. Returns a patch of batch.n rows."""
    return patch_rows(batch, rows, _payload)


def _payload(message: bytes) -> bytes | None:
    value = read_dns(message)
    return None if value is None else to_json(value, ("questions", *_SECTIONS))


def read_dns(message: bytes) -> dict[str, Any] | None:
    """Read one message; None where it is shorter than a header or has an opcode that there is not."""
    if len(message) < 12:
        return None
    number, flags, *counts = struct.unpack_from("!6H", message)
    opcode, rcode = flags >> 11 & 15, flags & 15
    if opcode not in OPCODES:
        return None
    out: dict[str, Any] = {
        "id": number,
        "type": "response" if flags & 0x8000 else "query",
        "opcode": opcode,
        "opcode_name": OPCODES[opcode],
        "rcode": rcode,
        "rcode_name": RCODES.get(rcode, str(rcode)),
        "flags": [name for bit, name in _FLAGS if flags & bit],
        "questions": [],
    }
    try:
        at = _read_questions(message, counts[0], out["questions"])
        left = MAX_RECORDS
        for name, count in zip(_SECTIONS, counts[1:], strict=True):
            records: list[dict[str, Any]] = []
            if count:
                out[name] = records
            for _ in range(count):
                if left == 0:
                    raise _Bad
                at = _read_record(message, at, records)
                left -= 1
    except _Bad:
        out["truncated"] = True
    return out


def _read_questions(message: bytes, count: int, out: list[dict[str, Any]]) -> int:
    at = 12
    for _ in range(min(count, MAX_RECORDS)):
        name, at = _read_name(message, at)
        kind, of = _unpack("!HH", message, at, len(message))
        out.append({"name": name, "type": _type(kind), "class": CLASSES.get(of & 0x7FFF, str(of))})
        at += 4
    return at


def _read_record(message: bytes, at: int, out: list[dict[str, Any]]) -> int:
    """One resource record (RFC 1035 section 4.1.3); return where the next one begins."""
    name, at = _read_name(message, at)
    kind, of, ttl, size = _unpack("!HHIH", message, at, len(message))
    begin = at + 10
    end = begin + int(size)
    if end > len(message):
        raise _Bad
    record: dict[str, Any] = {"name": name, "type": _type(kind)}
    if kind == _OPT:  # RFC 6891 section 6.1.3: class and TTL mean something else
        record.update(
            udp_size=of, version=ttl >> 16 & 0xFF, do=bool(ttl & 0x8000), data=message[begin:end].hex()
        )
    else:
        record.update({"class": CLASSES.get(of & 0x7FFF, str(of)), "ttl": ttl})
        try:
            record.update(_read_data(message, kind, begin, end))
        except _Bad:
            record["data"] = message[begin:end].hex()
    out.append(record)
    return end


def _type(kind: int) -> str:
    return TYPES.get(kind, f"TYPE{kind}")  # RFC 3597 section 5


def _unpack(form: str, message: bytes, at: int, end: int) -> tuple[Any, ...]:
    if at + struct.calcsize(form) > end:
        raise _Bad
    return struct.unpack_from(form, message, at)


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    """A name (RFC 1035 sections 3.1 and 4.1.4); return it and where what follows begins."""
    labels: list[str] = []
    after, size, jumps = -1, 0, 0
    while True:
        if at >= len(message):
            raise _Bad
        length = message[at]
        if length == 0:
            return ".".join(labels) or ".", at + 1 if after < 0 else after
        if length >= 0xC0:
            if at + 2 > len(message):
                raise _Bad
            target = (length & 0x3F) << 8 | message[at + 1]
            jumps += 1
            if target >= at or jumps > MAX_JUMPS:
                raise _Bad
            after = at + 2 if after < 0 else after
            at = target
            continue
        size += length + 1
        if length > 63 or size > MAX_NAME or at + 1 + length > len(message):
            raise _Bad
        labels.append(_label(message[at + 1 : at + 1 + length]))
        at += 1 + length


def _label(octets: bytes) -> str:
    r"""A label as in a zone file: a dot or a backslash in it has one before it, controls are \DDD."""
    text = to_text(octets).replace("\\", "\\\\").replace(".", "\\.")
    return "".join(c if c > " " and c != "\x7f" else f"\\{ord(c):03d}" for c in text)


def _strings(message: bytes, at: int, end: int) -> list[str]:
    """Character strings: a length, then so many octets (RFC 1035 section 3.3)."""
    out = []
    while at < end:
        if at + 1 + message[at] > end:
            raise _Bad
        out.append(to_text(message[at + 1 : at + 1 + message[at]]))
        at += 1 + message[at]
    return out


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read_data(message: bytes, kind: int, at: int, end: int) -> dict[str, Any]:
    """The data of a record, as text and for some in parts."""
    data = message[at:end]
    if kind == 1 and len(data) == 4:
        return {"data": str(ipaddress.IPv4Address(data))}
    if kind == 28 and len(data) == 16:
        return {"data": str(ipaddress.IPv6Address(data))}
    if kind in _NAMES:
        return {"data": _read_name(message, at)[0]}
    if kind in (16, 99):
        return {"data": " ".join(_quoted(text) for text in _strings(message, at, end))}
    if kind == 15:
        (preference,) = _unpack("!H", message, at, end)
        return {"data": f"{preference} {_read_name(message, at + 2)[0]}"}
    if kind == 33:
        return _read_srv(message, at, end)
    if kind == 35:
        return _read_naptr(message, at, end)
    if kind == 6:
        return _read_soa(message, at, end)
    return {"data": data.hex()}


def _read_srv(message: bytes, at: int, end: int) -> dict[str, Any]:
    """RFC 2782."""
    priority, weight, port = _unpack("!HHH", message, at, end)
    target = _read_name(message, at + 6)[0]
    parts = {"priority": priority, "weight": weight, "port": port, "target": target}
    return {"data": f"{priority} {weight} {port} {target}", "srv": parts}


def _read_naptr(message: bytes, at: int, end: int) -> dict[str, Any]:
    """RFC 3403 section 4.1."""
    order, preference = _unpack("!HH", message, at, end)
    at += 4
    texts = []
    for _ in range(3):
        (size,) = _unpack("!B", message, at, end)
        if at + 1 + size > end:
            raise _Bad
        texts.append(to_text(message[at + 1 : at + 1 + size]))
        at += 1 + size
    replacement = _read_name(message, at)[0]
    parts = dict(zip(("flags", "service", "regexp"), texts, strict=True))
    text = " ".join([str(order), str(preference), *(_quoted(t) for t in texts), replacement])
    return {
        "data": text,
        "naptr": {"order": order, "preference": preference, **parts, "replacement": replacement},
    }


def _read_soa(message: bytes, at: int, end: int) -> dict[str, Any]:
    """RFC 1035 section 3.3.13."""
    server, at = _read_name(message, at)
    mailbox, at = _read_name(message, at)
    numbers = _unpack("!5I", message, at, end)
    return {"data": " ".join([server, mailbox, *map(str, numbers)])}
