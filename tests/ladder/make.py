"""Message tables for the tests of the ladder: from a few words, from octets, and from recorded HEP."""

import re
import struct
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pyarrow as pa

from hepcat.stores.lake.arrow import arrow_schema
from tests.support import SHARED

#: 2026-11-22 13:46:45 UTC
START = 1_795_355_205_000_000
SCHEMA = arrow_schema("sip")

PCMU = (
    "v=0\r\no=user1 53655765 2353687637 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as the table sip; columns that a row does not name are null."""
    rows = list(rows)
    return pa.table(
        {f.name: pa.array([r.get(f.name) for r in rows], type=f.type) for f in SCHEMA}, schema=SCHEMA
    )


def endpoint(text: str) -> tuple[str, int]:
    """`10.0.0.1:5060` or `[::1]:5060`."""
    ip, _, port = text.rpartition(":")
    return ip.strip("[]"), int(port)


def message(
    at: float,
    path: str,
    line: str,
    *,
    cseq: str | None = None,
    branch: str | None = "z9hG4bK1",
    call_id: str | None = "call-1",
    from_tag: str | None = "a",
    to_tag: str | None = None,
    sdp: str = "",
    transport: str = "udp",
    extra: str = "",
    **columns: Any,
) -> dict[str, Any]:
    """Return one row: seconds after START, `src>dst`, `INVITE` or `180 Ringing`, and what matters."""
    src, dst = (endpoint(end) for end in path.split(">"))
    status = re.fullmatch(r"(\d{3})(?: (.*))?", line)
    cseq = cseq if cseq is not None else f"1 {'INVITE' if status else line}"
    first = f"SIP/2.0 {line}" if status else f"{line} sip:bob@example.com SIP/2.0"
    via = f"SIP/2.0/{transport.upper()} {src[0]}:{src[1]};branch={branch}"
    payload = (
        f"{first}\r\nVia: {via}\r\nFrom: <sip:alice@example.com>;tag={from_tag}\r\n"
        f"To: <sip:bob@example.com>{f';tag={to_tag}' if to_tag else ''}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq}\r\n{extra}"
        + ("Content-Type: application/sdp\r\n" if sdp else "")
        + f"Content-Length: {len(sdp)}\r\n\r\n{sdp}"
    )
    row = {
        "ts": START + round(at * 1_000_000),
        "transport": transport,
        "src_ip": src[0],
        "src_port": src[1],
        "dst_ip": dst[0],
        "dst_port": dst[1],
        "method": cseq.split()[-1] if status else line,
        "status": int(status[1]) if status else None,
        "reason_phrase": status[2] if status else None,
        "ruri": None if status else "sip:bob@example.com",
        "from_user": "alice",
        "from_domain": "example.com",
        "from_tag": from_tag,
        "to_user": "bob",
        "to_domain": "example.com",
        "to_tag": to_tag,
        "call_id": call_id,
        "cseq": cseq,
        "via_1": via,
        "via_1_branch": branch,
        "content_type": "application/sdp" if sdp else None,
        "payload": payload.encode(),
    }
    return {**row, **columns}


_HEADERS = {"f": "from", "t": "to", "i": "call-id", "v": "via", "c": "content-type", "l": "content-length"}
_START = re.compile(r"(?:SIP/2\.0 (\d{3}) ?(.*)|([A-Z]+) (\S+) SIP/2\.0)$")


def parse(payload: bytes) -> dict[str, Any]:
    """Read well-formed SIP into columns, in the plainest way: an index that owes nothing to the kernel."""
    head = payload.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    first, *lines = re.sub(r"\n[ \t]+", " ", head).split("\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers.setdefault(_HEADERS.get(name, name), value.strip())
    start = _START.match(first)
    assert start is not None, first
    via = headers.get("via", "").split(",")[0].strip()

    def find(pattern: str, header: str) -> str | None:
        match = re.search(pattern, headers.get(header, ""))
        return match[1] if match else None

    return {
        "method": start[3] or headers["cseq"].split()[-1],
        "status": int(start[1]) if start[1] else None,
        "reason_phrase": start[2],
        "ruri": start[4],
        "from_user": find(r"sips?:([^@>;]+)@", "from"),
        "from_domain": find(r"sips?:(?:[^@>;]+@)?([^:>;]+)", "from"),
        "from_tag": find(r";\s*tag=([^;\s]+)", "from"),
        "to_user": find(r"sips?:([^@>;]+)@", "to"),
        "to_domain": find(r"sips?:(?:[^@>;]+@)?([^:>;]+)", "to"),
        "to_tag": find(r";\s*tag=([^;\s]+)", "to"),
        "call_id": headers.get("call-id"),
        "cseq": headers.get("cseq"),
        "via_1": via,
        "via_1_branch": (re.search(r"branch=([^;\s]+)", via) or [None, None])[1],
        "content_type": headers.get("content-type"),
        "payload": payload,
    }


def recorded_hep(path: Path = SHARED / "vectors" / "siptrace-hep3.bin") -> pa.Table:
    """Return the SIP messages of a recording of HEP 3, sorted by time."""
    data, at, rows = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("!I", data, at)
        rows.append(_hep3(data[at + 4 : at + 4 + length]))
        at += 4 + length
    return table(sorted((r for r in rows if r), key=lambda r: r["ts"]))


def _hep3(datagram: bytes) -> dict[str, Any]:
    chunks, at = {}, 6
    while at < len(datagram):
        vendor, kind, length = struct.unpack_from("!HHH", datagram, at)
        chunks[vendor, kind] = datagram[at + 6 : at + length]
        at += length
    number = {kind: int.from_bytes(chunks.get((0, kind), b"")) for kind in (7, 8, 9, 10, 11, 12)}
    if number[11] != 1:
        return {}
    return {
        "ts": number[9] * 1_000_000 + number[10],
        "transport": "udp",
        "src_ip": str(ip_address(chunks[0, 3])),
        "src_port": number[7],
        "dst_ip": str(ip_address(chunks[0, 4])),
        "dst_port": number[8],
        "node_id": number[12],
        **parse(chunks[0, 15]),
    }


def recorded_pcap(name: str) -> pa.Table:
    """Return the SIP messages over UDP and IPv4 of a classic little-endian Ethernet pcap."""
    data, at, rows = (SHARED / "captures" / name).read_bytes(), 24, []
    while at < len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if frame[12:14] != b"\x08\x00" or frame[23] != 17:
            continue
        udp = 14 + (frame[14] & 15) * 4
        src_port, dst_port, size = struct.unpack_from("!HHH", frame, udp)
        payload = frame[udp + 8 : udp + size]
        if not _START.match(payload.split(b"\r\n", 1)[0].decode("latin-1")):
            continue
        rows.append(
            {
                "ts": seconds * 1_000_000 + micros,
                "transport": "udp",
                "src_ip": str(ip_address(frame[26:30])),
                "src_port": src_port,
                "dst_ip": str(ip_address(frame[30:34])),
                "dst_port": dst_port,
                **parse(payload),
            }
        )
    return table(rows)
