"""One call of very many messages, as HEP 3 datagrams: what the picture of a call is measured with.

In: a Call-ID, the time of its first message, how many messages. Out: datagrams, each with its time: a call
over two proxies whose ends change the session again and again (UPDATE, RFC 3311), and then hang up. What
can go wrong: nothing.
"""

import struct
from collections.abc import Iterator
from typing import Final

#: caller, two proxies, callee
_HOSTS: Final = ((192, 0, 2, 10), (198, 51, 100, 1), (198, 51, 100, 2), (203, 0, 113, 20))
_LINKS: Final = len(_HOSTS) - 1
#: Microseconds between two messages.
_STEP: Final = 20_000
_SDP: Final = (
    "v=0\r\no=- {0} {0} IN IP4 {1}\r\ns=-\r\nc=IN IP4 {1}\r\nt=0 0\r\nm=audio {2} RTP/AVP 8 0 101\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)


def long_call(call_id: str, start: int, count: int) -> list[bytes]:
    """Return so many datagrams, at least 30."""
    first, last = list(_setup()), list(_hang_up())
    between = _updates()
    kinds = [*first, *(next(between) for _ in range(count - len(first) - len(last))), *last]
    return [
        _hep3(start + at * _STEP, *_ends(link, forward), _message(call_id, kind, at))
        for at, (kind, link, forward) in enumerate(kinds)
    ]


#: What a message is: (method of a request or "", status, number and method of the CSeq, with SDP)
_Kind = tuple[str, str, int, str, bool]
_Sent = tuple[_Kind, int, bool]


def _request(method: str, number: int, sdp: bool = False) -> Iterator[_Sent]:
    for link in range(_LINKS):
        yield (method, "", number, method, sdp), link, True


def _response(status: str, number: int, method: str, sdp: bool = False) -> Iterator[_Sent]:
    for link in reversed(range(_LINKS)):
        yield ("", status, number, method, sdp), link, False


def _setup() -> Iterator[_Sent]:
    yield from _request("INVITE", 1, sdp=True)
    yield from _response("100 Trying", 1, "INVITE")
    yield from _response("180 Ringing", 1, "INVITE")
    yield from _response("200 OK", 1, "INVITE", sdp=True)
    for link in range(_LINKS):
        yield ("ACK", "", 1, "ACK", False), link, True


def _updates() -> Iterator[_Sent]:
    number = 2
    while True:
        yield from _request("UPDATE", number, sdp=True)
        yield from _response("200 OK", number, "UPDATE", sdp=True)
        number += 1


def _hang_up() -> Iterator[_Sent]:
    yield from _request("BYE", 9999)
    yield from _response("200 OK", 9999, "BYE")


def _ends(link: int, forward: bool) -> tuple[bytes, bytes]:
    ends = bytes(_HOSTS[link]), bytes(_HOSTS[link + 1])
    return ends if forward else (ends[1], ends[0])


def _message(call_id: str, kind: _Kind, at: int) -> bytes:
    method, status, number, cseq, sdp = kind
    body = _SDP.format(at, "192.0.2.10", 20_000 + 2 * (number % 1000)) if sdp else ""
    lines = [
        f"{method} sip:bob@example.com SIP/2.0" if method else f"SIP/2.0 {status}",
        f"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{call_id[:8]}{cseq}{number}",
        "From: Alice <sip:alice@example.com>;tag=a1",
        "To: Bob <sip:bob@example.com>" + ("" if cseq == "INVITE" and method else ";tag=b2"),
        f"Call-ID: {call_id}",
        f"CSeq: {number} {cseq}",
        "Contact: <sip:alice@192.0.2.10:5060>",
        "Max-Forwards: 68",
        "User-Agent: hepcat bench",
        *(["Content-Type: application/sdp"] if sdp else []),
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _hep3(us: int, source: bytes, destination: bytes, payload: bytes) -> bytes:
    chunks = (
        (1, b"\x02"),  # IPv4
        (2, b"\x11"),  # UDP
        (3, source),
        (4, destination),
        (7, struct.pack("!H", 5060)),
        (8, struct.pack("!H", 5060)),
        (9, struct.pack("!I", us // 1_000_000)),
        (10, struct.pack("!I", us % 1_000_000)),
        (11, b"\x01"),  # SIP
        (12, struct.pack("!I", 2001)),
        (15, payload),
    )
    body = b"".join(struct.pack("!HHH", 0, kind, len(value) + 6) + value for kind, value in chunks)
    return b"HEP3" + struct.pack("!H", len(body) + 6) + body
