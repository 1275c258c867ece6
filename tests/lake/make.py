"""Batches for tests, made by a plain helper that shares no code with the kernels."""

import ipaddress
import random
from typing import Any

import numpy as np

from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_COUNT, FIELD_INDEX

Record = dict[str, Any]

#: 2026-11-23 12:00:00 UTC
NOON = 1_795_435_200_000_000


def build(records: list[Record], extra: tuple[str, ...] = ()) -> Batch:
    """Make a batch. A record's `payload` and other slices are bytes; numbers are as in NUMERIC.

    A SIP field that occurs in the payload points into it; anything else is put behind it.
    """
    layout: list[tuple[bytes, dict[str, tuple[int, int]]]] = []
    for record in records:
        octets = bytearray(record.get("payload", b""))
        slices = {"payload": (0, len(octets))}
        for name, value in record.items():
            if name == "payload" or not isinstance(value, bytes):
                continue
            at = octets.find(value)
            if at < 0:
                at = len(octets)
                octets += value
            slices[name] = (at, len(value))
        layout.append((bytes(octets), slices))
    batch = Batch.empty(len(records), sum(len(octets) for octets, _ in layout), extra)
    at = 0
    for i, (record, (octets, slices)) in enumerate(zip(records, layout, strict=True)):
        batch.buffer[at : at + len(octets)] = np.frombuffer(octets, dtype=np.uint8)
        at += len(octets)
        batch.start[i + 1] = at
        for name, (offset, length) in slices.items():
            index = FIELD_INDEX[name] if name in FIELD_INDEX else FIELD_COUNT + extra.index(name)
            batch.fields[i, index] = (offset, length)
        for name, value in record.items():
            if isinstance(value, int):
                getattr(batch, name)[i] = value
        source = ipaddress.ip_address(record.get("src_ip", "127.0.0.1"))
        batch.family[i] = 2 if source.version == 4 else 10
        for which in ("src_ip", "dst_ip"):
            address = ipaddress.ip_address(record.get(which, source))
            packed = address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
            getattr(batch, which)[i] = np.frombuffer(packed, dtype=np.uint8)
        batch.ip_proto[i] = record.get("ip_proto", 17)
        batch.hep_type[i] = record.get("hep_type", 1)
    batch.n = len(records)
    return batch


_DIALOG = (("INVITE", 0, ""), ("INVITE", 100, "Trying"), ("INVITE", 180, "Ringing"), ("INVITE", 200, "OK"))
_DIALOG += (("ACK", 0, ""), ("BYE", 0, ""), ("BYE", 200, "OK"))
_AGENTS = ("Test UA 1.2.3", "Other/4.5 (build 678)", "PhoneWorks 900-2.1", "kamailio (5.6.3 (x86_64/linux))")
_SDP = (
    "v=0\r\no=- {a} {a} IN IP4 10.1.{x}.{y}\r\ns=-\r\nc=IN IP4 10.1.{x}.{y}\r\nt=0 0\r\n"
    "m=audio {p} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def call(rng: random.Random, ts: int) -> list[Record]:
    """Make the seven messages of one call with random users, tags, branches and addresses."""
    a, b = rng.randrange(100_000, 999_999), rng.randrange(100_000, 999_999)
    x, y, p = rng.randrange(8), rng.randrange(250), rng.randrange(10_000, 60_000)
    ids = [f"{rng.getrandbits(64):016x}" for _ in range(5)]
    agent = rng.choice(_AGENTS)
    call_id, from_tag, to_tag = f"{ids[0]}{ids[1][:8]}@10.1.{x}.{y}", ids[2][:10], ids[3][:10]
    records: list[Record] = []
    branch = ""
    for step, (method, status, phrase) in enumerate(_DIALOG):
        cseq = f"{2 if method == 'BYE' else 1} {method}"
        branch = f"z9hG4bK{rng.getrandbits(64):016x}" if step in (0, 4, 5) else branch
        via = f"SIP/2.0/UDP 10.1.{x}.{y}:5060;branch={branch};rport"
        first = f"SIP/2.0 {status} {phrase}" if status else f"{method} sip:+49{b}@10.2.0.1 SIP/2.0"
        sdp = _SDP.format(a=a, x=x, y=y, p=p) if step in (0, 3) else ""
        lines = [
            first,
            f"Via: {via}",
            "Max-Forwards: 70",
            f'From: "User {a}" <sip:+49{a}@a.example.com>;tag={from_tag}',
        ]
        lines.append(f"To: <sip:+49{b}@b.example.com>" + (f";tag={to_tag}" if step > 1 else ""))
        lines += [f"Call-ID: {call_id}", f"CSeq: {cseq}", f"Contact: <sip:+49{a}@10.1.{x}.{y}:5060>"]
        lines += [f"User-Agent: {agent}", "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO"]
        lines += ["Supported: replaces, timer, 100rel", f"Content-Length: {len(sdp)}"]
        payload = ("\r\n".join(lines) + "\r\n\r\n" + sdp).encode()
        ts += rng.randrange(100, 20_000)
        record: Record = {
            "payload": payload, "ts": ts, "status": status, "flags": 2 if status else 1, "node_id": 2001,
            "src_ip": f"10.1.{x}.{y}", "dst_ip": "10.2.0.1", "src_port": 5060, "dst_port": 5060,
            "method": method.encode(), "from_user": f"+49{a}".encode(), "from_domain": b"a.example.com",
            "from_tag": from_tag.encode(), "to_user": f"+49{b}".encode(), "to_domain": b"b.example.com",
            "call_id": call_id.encode(), "cseq": cseq.encode(), "via_1": via.encode(), "contact_port": 5060,
            "via_1_branch": branch.encode(), "contact_user": f"+49{a}".encode(), "user_agent": agent.encode(),
            "contact_ip": f"10.1.{x}.{y}".encode(),
        }  # fmt: skip
        if step > 1:
            record["to_tag"] = to_tag.encode()
        if status:
            record["reason_phrase"] = phrase.encode()
        else:
            record |= {
                "ruri": f"sip:+49{b}@10.2.0.1".encode(),
                "ruri_user": f"+49{b}".encode(),
                "ruri_domain": b"10.2.0.1",
            }
        if sdp:
            record |= {"body": sdp.encode(), "content_type": b"application/sdp"}
        records.append(record)
    return records


def traffic(n: int, seed: int = 1, ts: int = NOON, step: int = 50) -> Batch:
    """Make n messages of interleaved calls, in order of time."""
    rng = random.Random(seed)
    records: list[Record] = []
    while len(records) < n:
        records += call(rng, ts)
        ts += step * len(_DIALOG)
    return build(sorted(records[:n], key=lambda r: r["ts"]))


def numbered(first: int, n: int, ts: int = NOON, hep_type: int = 1) -> Batch:
    """Make n tiny records whose call_id is their number: first, first + 1, ... (to count exactly)."""
    return build(
        [
            {"payload": b"X %d" % i, "call_id": b"%d" % i, "ts": ts + i, "hep_type": hep_type, "flags": 1}
            for i in range(first, first + n)
        ]
    )
