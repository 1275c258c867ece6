"""SDP of a SIP message, read tolerantly (RFC 8866): what a person wants to know about the media.

In: the message or its body as octets, and its Content-Type. Out: `Sdp`, or None where the body holds no
SDP. What can go wrong: nothing; lines that cannot be read are passed over, and every loop has a bound,
so a hostile body costs no more than its length. Text comes out as it was sent: whoever shows it escapes it.
"""

import re
from dataclasses import dataclass
from typing import Final

#: Payload types with a fixed meaning (RFC 3551 section 6, tables 4 and 5).
STATIC_PAYLOAD_TYPES: Final[dict[int, str]] = {
    0: "PCMU",
    3: "GSM",
    4: "G723",
    5: "DVI4",
    6: "DVI4",
    7: "LPC",
    8: "PCMA",
    9: "G722",
    10: "L16",
    11: "L16",
    12: "QCELP",
    13: "CN",
    14: "MPA",
    15: "G728",
    16: "DVI4",
    17: "DVI4",
    18: "G729",
    25: "CelB",
    26: "JPEG",
    28: "nv",
    31: "H261",
    32: "MPV",
    33: "MP2T",
    34: "H263",
}
DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")  # RFC 8866 section 6.7

#: Bounds on what is read. A record is at most 65,535 octets, so these are about sense, not memory.
MAX_LINES: Final = 2000
MAX_MEDIA: Final = 32
MAX_FORMATS: Final = 64
MAX_PARTS: Final = 32

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_BOUNDARY: Final = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_RTPMAP: Final = re.compile(r"rtpmap:\s*(\d{1,3})\s+([^/\s]+)")
_UNSPECIFIED: Final = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Media:
    """One m= section. `address` is its own c= or else the session's; None where neither is given."""

    kind: str  # audio, video, image, application, message, text, ...
    port: int  # 0: the stream is refused or ended (RFC 3264 section 6)
    protocol: str  # RTP/AVP, RTP/SAVP, UDP/TLS/RTP/SAVPF, udptl, ...
    codecs: tuple[str, ...]  # encoding names in the order of preference
    address: str | None
    direction: str  # one of DIRECTIONS; sendrecv where nothing is said
    rtcp_port: int | None  # a=rtcp (RFC 3605)
    rtcp_mux: bool  # RFC 5761

    @property
    def hold(self) -> bool:
        """Whether the sender asks the other side to be silent (RFC 3264 sections 8.4 and 5.1)."""
        return self.port != 0 and (self.direction in ("sendonly", "inactive") or self.address in _UNSPECIFIED)

    @property
    def place(self) -> str:
        """`address:port`, an IPv6 address in brackets."""
        if self.address is None:
            return f":{self.port}"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def summary(self) -> str:
        """Like `PCMU PCMA telephone-event 10.0.0.1:4000 sendrecv`."""
        if self.port == 0:
            return f"{' '.join(self.codecs)} refused".strip()
        parts = [*self.codecs, self.place, self.direction]
        if self.hold:
            parts.append("(hold)")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Sdp:
    """A session description: origin and the media streams in order."""

    origin: str | None  # session id and version of o=, as `id version`
    media: tuple[Media, ...]

    @property
    def hold(self) -> bool:
        """Whether every stream that is not refused is on hold."""
        live = [m for m in self.media if m.port]
        return bool(live) and all(m.hold for m in live)

    @property
    def summary(self) -> str:
        """All streams in one line. A lone audio stream goes without its kind."""
        if len(self.media) == 1 and self.media[0].kind == "audio":
            return self.media[0].summary
        return "; ".join(f"{m.kind} {m.summary}" for m in self.media)


def sdp_of_message(message: bytes, content_type: str | None) -> Sdp | None:
    """Return the SDP of a SIP message, None where it has none. Content-Type may be missing or wrong."""
    end = _HEADER_END.search(message)
    if end is None:
        return None
    return sdp_of_body(message[end.end() :], content_type)


def sdp_of_body(body: bytes, content_type: str | None) -> Sdp | None:
    """Return the SDP of a body: the body itself, or the application/sdp part of a multipart one."""
    octets = sdp_octets(body, content_type)
    return parse_sdp(octets) if octets is not None else None


def sdp_octets(body: bytes, content_type: str | None) -> bytes | None:
    """Return the octets of a body that are meant as SDP, None where none are."""
    kind = (content_type or "").strip().lower()
    if kind.startswith("multipart/"):
        return _sdp_part(body, content_type or "")
    # A body that begins with v= is SDP even where Content-Type was lost; other types are left alone.
    if kind.startswith("application/sdp") or (not kind and body.lstrip()[:2] == b"v="):
        return body
    return None


def _sdp_part(body: bytes, content_type: str) -> bytes | None:
    """Return the first application/sdp part of a multipart body (RFC 2046 section 5.1)."""
    match = _BOUNDARY.search(content_type)
    if match is not None:
        delimiter = b"--" + (match[1] or match[2]).encode("utf-8", "replace")
    else:  # Content-Type without its boundary: the body's own first line tells
        delimiter = body.lstrip().split(b"\n", 1)[0].strip()
        if not delimiter.startswith(b"--") or len(delimiter) < 3:
            return None
    for part in body.split(delimiter, MAX_PARTS)[1:]:
        if part.startswith(b"--"):
            return None
        end = _HEADER_END.search(part)
        if end is None:
            continue
        for line in part[: end.start()].splitlines():
            name, _, value = line.partition(b":")
            if name.strip().lower() in (b"content-type", b"c") and value.strip().lower().startswith(
                b"application/sdp"
            ):
                return part[end.end() :]
    return None


class _Section:
    """What is gathered between one m= line and the next."""

    __slots__ = (
        "address",
        "direction",
        "formats",
        "kind",
        "names",
        "port",
        "protocol",
        "rtcp_mux",
        "rtcp_port",
    )

    def __init__(self, kind: str, port: int, protocol: str, formats: list[str]) -> None:
        self.kind, self.port, self.protocol, self.formats = kind, port, protocol, formats
        self.names: dict[int, str] = {}
        self.address: str | None = None
        self.direction: str | None = None
        self.rtcp_port: int | None = None
        self.rtcp_mux = False


def parse_sdp(body: bytes) -> Sdp | None:
    """Return the description in `body`; None where not one m= or c= line can be read."""
    origin: str | None = None
    session = _Section("", 0, "", [])
    sections: list[_Section] = []
    current = session
    for line in _LINE_END.split(body.decode("utf-8", "replace"), MAX_LINES)[:MAX_LINES]:
        letter, value = line[:2], line[2:].strip()
        if letter == "m=":
            section = _parse_media_line(value)
            if section is None:
                continue
            if len(sections) == MAX_MEDIA:
                break
            sections.append(section)
            current = section
        elif letter == "c=":
            current.address = _connection(value) or current.address
        elif letter == "a=":
            _attribute(current, value)
        elif letter == "o=" and origin is None:
            fields = value.split()
            origin = f"{fields[1]} {fields[2]}" if len(fields) >= 3 else None
    if not sections and session.address is None:
        return None
    return Sdp(origin, tuple(_media(section, session) for section in sections))


def _number(text: str, largest: int) -> int | None:
    """Return a plain decimal number, None for anything else (int() takes signs, '_' and huge texts)."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if value <= largest else None


def _parse_media_line(value: str) -> _Section | None:
    """`audio 4000 RTP/AVP 0 8`, the port perhaps as `4000/2` (RFC 8866 section 5.14)."""
    fields = value.split(None, 3 + MAX_FORMATS)
    if len(fields) < 3:
        return None
    port = _number(fields[1].partition("/")[0], 0xFFFF)
    if port is None:
        return None
    return _Section(fields[0].lower(), port, fields[2], fields[3 : 3 + MAX_FORMATS])


def _connection(value: str) -> str | None:
    """`IN IP4 10.0.0.1`, perhaps with `/ttl` (RFC 8866 section 5.7)."""
    fields = value.split(None, 3)
    return fields[2].partition("/")[0] if len(fields) >= 3 else None


def _attribute(section: _Section, value: str) -> None:
    """Take what matters of one a= line."""
    if value in DIRECTIONS:
        section.direction = value
    elif value == "rtcp-mux":
        section.rtcp_mux = True
    elif value.startswith("rtpmap:"):
        match = _RTPMAP.match(value)
        if match is not None:
            section.names.setdefault(int(match[1]), match[2])
    elif value.startswith("rtcp:"):
        section.rtcp_port = _number(value[5:].split(None, 1)[0] if value[5:].strip() else "", 0xFFFF)


def _media(section: _Section, session: _Section) -> Media:
    """Put a section together with what the session says for all of them."""
    codecs: list[str] = []
    for text in section.formats:
        number = _number(text, 127) if "RTP" in section.protocol.upper() else None
        if number is None:
            name = text
        else:
            name = section.names.get(number) or STATIC_PAYLOAD_TYPES.get(number) or text
        if name not in codecs:  # telephone-event at 8 and 16 kHz is one thing to a reader
            codecs.append(name)
    return Media(
        kind=section.kind,
        port=section.port,
        protocol=section.protocol,
        codecs=tuple(codecs),
        address=section.address or session.address,
        direction=section.direction or session.direction or "sendrecv",
        rtcp_port=section.rtcp_port,
        rtcp_mux=section.rtcp_mux,
    )
