"""Captures for the tests of the call page, written with the project's own packet encoder."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from hepcat.batch.schema import NO_VLAN
from hepcat.sinks.pcap_writer import PcapWriter
from tests.ladder.make import PCMU, START, message

ALICE, PROXY, BOB, MEDIA = "203.0.113.7:5060", "198.51.100.1:5060", "198.51.100.20:5060", "198.51.100.9:5060"
PRIVATE_SDP: Final = PCMU.replace("10.0.0.1", "192.168.1.20")
ANSWER: Final = PCMU.replace("10.0.0.1", "198.51.100.20").replace("0 8 101", "8 101").replace("4000", "17000")


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write messages as a capture file."""
    with path.open("wb") as file:
        PcapWriter(file).write(
            (
                row["ts"],
                row["transport"],
                row["src_ip"],
                row["src_port"],
                row["dst_ip"],
                row["dst_port"],
                NO_VLAN,
                row["payload"],
            )
            for row in sorted(rows, key=lambda row: int(row["ts"]))
        )
    return path


def described_call() -> list[dict[str, Any]]:
    """A call between two hosts whose descriptions are long."""
    sdp = PCMU.replace("10.0.0.1", "198.51.100.250").replace("4000", "15875").replace(" 0 8 ", " 9 8 0 18 ")
    one: dict[str, Any] = {"call_id": "described-call", "branch": "z9hG4bKd1"}
    return [
        message(0.0, f"{ALICE}>{PROXY}", "INVITE", sdp=sdp, **one),
        message(0.1, f"{PROXY}>{ALICE}", "180 Ringing", to_tag="b", **one),
        message(4.2, f"{PROXY}>{ALICE}", "200 OK", to_tag="b", sdp=sdp.replace("250", "251"), **one),
    ]


def held_call(call_id: str = "held-call") -> list[dict[str, Any]]:
    """A call over a proxy that answers, holds and ends; one INVITE is sent twice."""
    a, b = f"{ALICE}>{PROXY}", f"{PROXY}>{BOB}"
    back_a, back_b = f"{PROXY}>{ALICE}", f"{BOB}>{PROXY}"
    one = {"call_id": call_id, "branch": "z9hG4bKa1"}
    two = {"call_id": call_id, "branch": "z9hG4bKb1"}
    hold: dict[str, Any] = {"call_id": call_id, "branch": "z9hG4bKa2", "cseq": "2 INVITE", "to_tag": "b"}
    bye: dict[str, Any] = {"call_id": call_id, "branch": "z9hG4bKa3", "cseq": "3 BYE", "to_tag": "b"}
    rest: Final = "Max-Forwards: 70\r\n"
    return [
        message(0.0, a, "INVITE", sdp=PRIVATE_SDP, extra=rest + "User-Agent: Desk phone 7\r\n", **one),
        message(0.5, a, "INVITE", sdp=PRIVATE_SDP, extra=rest + "User-Agent: Desk phone 7\r\n", **one),
        message(0.504, back_a, "100 Trying", **one),
        message(0.506, b, "INVITE", sdp=PRIVATE_SDP, extra="Max-Forwards: 69\r\n", **two),
        message(0.71, back_b, "180 Ringing", to_tag="b", **two),
        message(0.712, back_a, "180 Ringing", to_tag="b", **one),
        message(4.2, back_b, "200 OK", to_tag="b", sdp=ANSWER, **two),
        message(4.203, back_a, "200 OK", to_tag="b", sdp=ANSWER, **one),
        message(4.23, a, "ACK", cseq="1 ACK", to_tag="b", call_id=call_id, branch="z9hG4bKa1k"),
        message(4.233, b, "ACK", cseq="1 ACK", to_tag="b", call_id=call_id, branch="z9hG4bKb1k"),
        message(9.0, f"{PROXY}>{PROXY}", "OPTIONS", cseq="7 OPTIONS", call_id=call_id, branch="z9hG4bKl"),
        message(12.0, a, "INVITE", sdp=PRIVATE_SDP + "a=sendonly\r\n", **hold),
        message(12.02, back_a, "200 OK", sdp=ANSWER + "a=recvonly\r\n", **hold),
        message(12.04, a, "ACK", **{**hold, "cseq": "2 ACK", "branch": "z9hG4bKa2k"}),
        message(31.0, a, "BYE", **bye),
        message(31.01, back_a, "200 OK", **bye),
    ]


def two_legs() -> list[dict[str, Any]]:
    """A call over a B2BUA: two Call-IDs that its X-CID header ties; the second leg is refused."""
    one = {"call_id": "leg-one@b2bua", "branch": "z9hG4bKone"}
    two = {"call_id": "leg-two@b2bua", "branch": "z9hG4bKtwo"}
    tie = "X-CID: leg-one@b2bua\r\n"
    return [
        message(60.0, f"{ALICE}>{PROXY}", "INVITE", sdp=PRIVATE_SDP, **one),
        message(60.002, f"{PROXY}>{ALICE}", "100 Trying", **one),
        message(60.01, f"{PROXY}>{BOB}", "INVITE", sdp=ANSWER, extra=tie, **two),
        message(60.2, f"{BOB}>{PROXY}", "486 Busy Here", to_tag="b", extra=tie, **two),
        message(60.21, f"{PROXY}>{BOB}", "ACK", cseq="1 ACK", to_tag="b", extra=tie, **two),
        message(60.22, f"{PROXY}>{ALICE}", "486 Busy Here", to_tag="p", **one),
        message(60.25, f"{ALICE}>{PROXY}", "ACK", cseq="1 ACK", to_tag="p", **one),
    ]


def long_call(number: int, call_id: str) -> list[dict[str, Any]]:
    """A call of so many messages: INVITE, then questions and answers within the dialog, over a proxy."""
    rows = [message(100.0, f"{ALICE}>{PROXY}", "INVITE", sdp=PCMU, call_id=call_id)]
    rows.append(message(100.2, f"{PROXY}>{ALICE}", "200 OK", sdp=ANSWER, to_tag="b", call_id=call_id))
    for n in range(2, number // 4 + 3):
        method = ("INFO", "OPTIONS", "UPDATE", "MESSAGE")[n % 4]
        own: dict[str, Any] = {"call_id": call_id, "to_tag": "b", "cseq": f"{n} {method}"}
        own["sdp"] = PCMU if method == "UPDATE" else ""
        for hop, (a, b) in enumerate(((ALICE, PROXY), (PROXY, BOB))):
            own["branch"] = f"z9hG4bK{n}.{hop}"
            rows.append(message(100 + n / 2 + hop / 500, f"{a}>{b}", method, **own))
        for hop, (a, b) in enumerate(((BOB, PROXY), (PROXY, ALICE))):
            own["branch"] = f"z9hG4bK{n}.{1 - hop}"
            rows.append(message(100.01 + n / 2 + hop / 500, f"{a}>{b}", "200 OK", **own))
    return rows[:number]


#: What a page could fall for, in HTML, in attributes, in SVG, in URLs, in text that turns around.
MARKUP: Final = (
    "<script>window.fallen=1</script><img src=x onerror=window.fallen=1><svg onload=window.fallen=1>"
    "\"'><a href=javascript:window.fallen=1 onmouseover=window.fallen=1>x</a>${window.fallen=1}{{fallen}}"
    "<style>*{display:none}</style>&lt;b&gt;&#60;i&#62;\u202egnp.exe\u200b]]><!--"
)
#: The same without what ends a token of SIP.
TOKEN: Final = "<script>window.fallen=1</script><img/src=x/onerror=window.fallen=1>"


def hostile_call(call_id: str) -> list[dict[str, Any]]:
    """Markup and scripts in every header, in the start line, the body, the reason phrase and the SDP."""
    names = ["Subject", "User-Agent", "Server", "Reason", "Warning", "Contact", "Diversion", "X-Anything"]
    names += ["P-Asserted-Identity"]
    headers = "".join(f"{name}: {MARKUP}\r\n" for name in names)
    sdp = (
        f"v=0\r\no={TOKEN} 1 1 IN IP4 {TOKEN}\r\ns={MARKUP}\r\nc=IN IP4 {TOKEN}\r\nt=0 0\r\n"
        f"m={TOKEN} 4000 RTP/AVP 0 96\r\na=rtpmap:96 {TOKEN}/8000\r\na=fmtp:96 {MARKUP}\r\na={MARKUP}\r\n"
    )

    def octets(first: str, cseq: str, to_tag: str = "") -> bytes:
        tagged = f";tag={to_tag}" if to_tag else ""
        return (
            f"{first}\r\nVia: SIP/2.0/UDP 203.0.113.7;branch=z9hG4bK{TOKEN};received={TOKEN}\r\n"
            f'From: "{MARKUP}" <sip:{TOKEN}@{TOKEN}>;tag={TOKEN}\r\nTo: {MARKUP} <sip:{TOKEN}@x>{tagged}\r\n'
            f"Call-ID: {call_id}\r\nCSeq: {cseq}\r\n{headers}{TOKEN}: {MARKUP}\r\n"
            f"Content-Type: application/sdp;x={TOKEN}\r\nContent-Length: {len(sdp.encode())}\r\n\r\n{sdp}"
        ).encode()

    def row(at: float, src: str, dst: str, payload: bytes) -> dict[str, Any]:
        ends: dict[str, Any] = {}
        for which, end in (("src", src), ("dst", dst)):
            ip, _, port = end.rpartition(":")
            ends |= {f"{which}_ip": ip, f"{which}_port": int(port)}
        return {"ts": START + round(at * 1e6), "transport": "udp", "payload": payload, **ends}

    invite = octets(f"INVITE sip:{TOKEN}@{TOKEN} SIP/2.0", "1 INVITE")
    binary = b"MESSAGE sip:x SIP/2.0\r\nCall-ID: " + call_id.encode() + b"\r\nCSeq: 3 MESSAGE\r\n"
    binary += b"From: <sip:\xff\xfe>\r\n\x00\x1b]0;fallen\x07: \x80\r\n\r\n\x00\x01\xff\x1b[2J"
    odd = octets(f"{TOKEN} sip:x SIP/2.0", f"2 {TOKEN}")
    return [
        row(200.0, ALICE, PROXY, invite),
        row(200.5, ALICE, PROXY, invite),
        row(200.6, PROXY, ALICE, octets(f"SIP/2.0 183 {MARKUP}", "1 INVITE", TOKEN)),
        row(201.0, PROXY, ALICE, octets(f"SIP/2.0 500 {MARKUP}", "1 INVITE", TOKEN)),
        row(201.1, ALICE, PROXY, odd),
        row(201.2, ALICE, PROXY, binary),
    ]


#: Call-IDs of SIP may hold nearly anything (RFC 3261 section 25.1, word).
HOSTILE_IDS: Final = ("<script>window.fallen=1</script>@\"'><img", "javascript:window.fallen=1")
