"""SDP in words: each line of a session description said so that nobody has to know RFC 8866 by heart.

In: a SIP message as octets, or its SDP. Out: sections (the session, then each media stream), each with a
sentence that sums it up and its lines, every line as it was sent with what it means; a line of an unknown
kind has no words. What can go wrong: nothing; every loop has a bound, what is beyond it is counted in
`left`. Texts come out as they were sent: whoever shows them makes them safe.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hepcat.search.sdp import DIRECTIONS, MAX_MEDIA, STATIC_PAYLOAD_TYPES, Media, parse_sdp, sdp_octets

#: Lines of one description that are put into words, and how much of each is shown.
MOST_LINES: Final = 300
LONGEST: Final = 500

_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_CONTENT_TYPE: Final = re.compile(rb"^(?:content-type|c)[ \t]*:[ \t]*([^\r\n]{0,500})", re.IGNORECASE | re.M)
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
#: Seconds from 1900 (NTP, which t= counts in) to 1970.
_NTP: Final = 2_208_988_800


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it was sent, and what it means; no words where we do not know."""

    text: str
    words: str


@dataclass(frozen=True, slots=True)
class Section:
    """The session itself or one media stream."""

    title: str
    summary: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """A description: its sections, and how many lines at the end are not among them."""

    sections: tuple[Section, ...]
    left: int


def words_of_message(message: bytes) -> Words | None:
    """Return the words for the SDP of a SIP message; None where it has none."""
    end = _HEADER_END.search(message)
    if end is None:
        return None
    kind = _CONTENT_TYPE.search(message, 0, end.start())
    body = sdp_octets(message[end.end() :], kind[1].decode("utf-8", "replace") if kind else None)
    return words_of_sdp(body) if body else None


def words_of_sdp(body: bytes) -> Words:
    """Return the words for a session description."""
    text = body.decode("utf-8", "backslashreplace")
    lines = [line for line in _LINE_END.split(text) if line.strip()]
    left = max(len(lines) - MOST_LINES, 0)
    parsed = parse_sdp(body)
    media = iter(parsed.media if parsed else ())
    sections = []
    for index, own in enumerate(_sections(lines[:MOST_LINES])):
        stream = next(media, None) if index and _is_stream(own[0]) else None
        names = _formats(own[0]) if index else {}
        sections.append(
            Section(
                title=f"Stream {index}: {stream.kind if stream else own[0][2:].split(' ')[0]}"[:80]
                if index
                else "Session",
                summary=_stream_words(stream) if stream else _session_words(parsed is not None, own, index),
                lines=tuple(Line(line[:LONGEST], _words(line[:LONGEST], names)[:LONGEST]) for line in own),
            )
        )
    return Words(tuple(sections), left)


def _sections(lines: list[str]) -> list[list[str]]:
    """Split at the m= lines; the first section is the session's, perhaps empty."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m=") and len(sections) <= MAX_MEDIA:
            sections.append([])
        sections[-1].append(line)
    return sections


def _is_stream(line: str) -> bool:
    """Whether parse_sdp takes this m= line for a stream (its list has no gaps for those it does not)."""
    parsed = parse_sdp(line.encode("utf-8", "replace"))
    return parsed is not None and bool(parsed.media)


def _session_words(readable: bool, own: list[str], index: int) -> str:
    if index:
        return "This media line cannot be read."
    if not readable:
        return "No media and no address can be read in it."
    name = next((line[2:].strip() for line in own if line.startswith("s=")), "")
    return f"Called “{name[:80]}”." if name not in ("", "-") else ""


def _stream_words(media: Media) -> str:
    """Return the stream in a sentence."""
    if media.port == 0:
        return f"Refused or ended: port 0 ({', '.join(media.codecs[:6]) or media.kind})."
    where = media.place if media.address else f"port {media.port} (no address given)"
    codecs = ", ".join(media.codecs[:12]) or "no format"
    said = (
        f"{_DIRECTION_WORDS[media.direction]} at {where} over {media.protocol}. Offers, best first: {codecs}."
    )
    if media.address in ("0.0.0.0", "::"):
        return f"On hold in the old way (address {media.address}). {said}"
    return f"On hold. {said}" if media.hold else said


_DIRECTION_WORDS: Final = {
    "sendrecv": "Sends and receives",
    "sendonly": "Only sends: the other side is to listen; replies would come",
    "recvonly": "Only receives",
    "inactive": "Neither sends nor receives for now",
}
assert set(_DIRECTION_WORDS) == set(DIRECTIONS)


def _formats(line: str) -> dict[str, str]:
    """Return what the payload types of an m= line are, where RFC 3551 gives them a fixed meaning."""
    fields = line[2:].split()
    if len(fields) < 3 or "RTP" not in fields[2].upper():
        return {}
    return {number: STATIC_PAYLOAD_TYPES.get(int(number), "") for number in fields[3:] if _small(number)}


def _small(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3


# -- a line


def _words(line: str, names: dict[str, str]) -> str:
    """Return the meaning of a line; empty where it is not known. `names`: of payload types, added to."""
    letter, equals, value = line.partition("=")
    explain = _LINES.get(letter.strip())
    if not equals or explain is None:
        return ""
    value = value.strip()
    return _attribute(value, names) if letter == "a" else explain(value)


def _version(value: str) -> str:
    return f"SDP version {value}"


def _origin(value: str) -> str:
    fields = value.split()
    if len(fields) < 6:
        return "origin, not as RFC 8866 section 5.2 wants it"
    who = "" if fields[0] == "-" else f" by {fields[0]}"
    return f"session {fields[1]}, version {fields[2]} of it, made{who} at {fields[5]}"


def _connection(value: str) -> str:
    fields = value.split()
    if len(fields) < 3:
        return "address for media, not as RFC 8866 section 5.7 wants it"
    address = fields[2].partition("/")[0]
    if address in ("0.0.0.0", "::"):
        return "no address for media: hold in the old way (RFC 3264 section 8.4)"
    return f"media is to be sent to {address}"


def _bandwidth(value: str) -> str:
    kind, _, amount = value.partition(":")
    unit = "bit/s" if kind in ("TIAS", "RS", "RR") else "kbit/s"
    meaning = {
        "AS": "bandwidth at most",
        "CT": "bandwidth of the whole session at most",
        "TIAS": "bandwidth at most, without headers (RFC 3890)",
        "RS": "for RTCP of senders (RFC 3556)",
        "RR": "for RTCP of receivers (RFC 3556)",
    }.get(kind)
    return f"{meaning}: {amount} {unit}" if meaning else f"bandwidth by the rule {kind}: {amount}"


def _timing(value: str) -> str:
    fields = value.split()
    if fields[:2] == ["0", "0"]:
        return "no fixed start or end"
    if len(fields) < 2 or not all(f.isascii() and f.isdigit() and len(f) <= 12 for f in fields[:2]):
        return "start and end, not readable"
    start, end = (int(f) - _NTP if int(f) else None for f in fields[:2])
    return f"from {start if start is not None else 'any time'} to {end or 'no end'}, seconds since 1970"


def _media(value: str) -> str:
    fields = value.split()
    if len(fields) < 3:
        return "media line that cannot be read"
    port = "refused or ended (port 0)" if fields[1] == "0" else f"to port {fields[1]}"
    count = len(fields) - 3
    return f"{fields[0]} {port} over {_protocol(fields[2])}, {count} format{'' if count == 1 else 's'}"


def _protocol(name: str) -> str:
    said = {
        "RTP/AVP": "plain RTP",
        "RTP/AVPF": "RTP with feedback (RFC 4585)",
        "RTP/SAVP": "SRTP",
        "RTP/SAVPF": "SRTP with feedback",
        "UDP/TLS/RTP/SAVP": "SRTP with keys by DTLS",
        "UDP/TLS/RTP/SAVPF": "SRTP with keys by DTLS, with feedback (WebRTC)",
        "UDPTL": "UDPTL: fax by T.38",
        "TCP/MSRP": "MSRP: messages",
        "TCP/TLS/MSRP": "MSRP over TLS: messages",
        "TCP/BFCP": "BFCP: floor control",
    }.get(name.upper())
    return f"{said} ({name})" if said else name


def _key(value: str) -> str:
    return "an encryption key in clear text (obsolete, RFC 8866 section 5.12)"


def _with(label: str) -> Callable[[str], str]:
    return lambda value: f"{label}: {value}" if value not in ("", "-") else f"{label}: none"


#: What each letter stands for (RFC 8866 section 5).
_LINES: Final[dict[str, Callable[[str], str]]] = {
    "v": _version,
    "o": _origin,
    "s": _with("session name"),
    "i": _with("title"),
    "u": _with("address of a description"),
    "e": _with("e-mail address"),
    "p": _with("telephone number"),
    "c": _connection,
    "b": _bandwidth,
    "t": _timing,
    "r": _with("repeated"),
    "z": _with("changes of the time zone"),
    "k": _key,
    "m": _media,
    "a": str,  # _attribute knows more
}


# -- attributes


def _attribute(value: str, names: dict[str, str]) -> str:
    """Return the meaning of an a= line (RFC 8866 section 6 and the standards named below)."""
    name, _, rest = value.partition(":")
    name, rest = name.strip(), rest.strip()
    if name == "rtpmap":
        return _rtpmap(rest, names)
    if name == "fmtp":
        number, _, parameters = rest.partition(" ")
        return f"{_format_name(number, names)}: {_fmtp(names.get(number, ''), parameters)}"
    if name == "rtcp-fb":
        number, _, what = rest.partition(" ")
        whose = "every format" if number == "*" else _format_name(number, names)
        return f"{whose}: feedback {what} (RFC 4585)"
    plain = _FLAGS.get(name)
    if plain is not None:
        return plain
    explain = _VALUES.get(name)
    if explain is not None:
        return explain(rest)
    if name.startswith("T38"):
        return f"fax by T.38, {_T38.get(name, name[3:])}: {rest}" if rest else f"fax by T.38, {name[3:]}"
    return ""


def _format_name(number: str, names: dict[str, str]) -> str:
    name = names.get(number)
    return f"{number} ({name})" if name else f"format {number}"


def _rtpmap(rest: str, names: dict[str, str]) -> str:
    number, _, mapped = rest.partition(" ")
    parts = mapped.strip().split("/")
    if not parts[0]:
        return ""
    names[number] = parts[0]
    rate = f" at {parts[1]} Hz" if len(parts) > 1 else ""
    channels = f", {parts[2]} channels" if len(parts) > 2 and parts[2] != "1" else ""
    meaning = {
        "telephone-event": "DTMF digits and other tones as events (RFC 4733)",
        "cn": "comfort noise (RFC 3389)",
        "red": "redundant copies (RFC 2198)",
        "rtx": "packets sent again (RFC 4588)",
        "ulpfec": "error correction (RFC 5109)",
    }.get(parts[0].lower())
    return f"payload type {number} is {parts[0]}{rate}{channels}" + (f": {meaning}" if meaning else "")


def _fmtp(codec: str, parameters: str) -> str:
    if codec.lower() == "telephone-event":
        return f"events {parameters}" + (": the keys 0-9, *, #, A-D" if parameters.startswith("0-15") else "")
    if codec.upper() == "G729" and "annexb=" in parameters:
        return f"{parameters} (silence suppression {'off' if 'annexb=no' in parameters else 'on'})"
    return parameters or "no parameters"


def _crypto(rest: str) -> str:
    fields = rest.split()
    if len(fields) < 2:
        return "keys for SRTP, not readable"
    return f"keys for SRTP in the message itself (RFC 4568), number {fields[0]}: {fields[1]}"


def _candidate(rest: str) -> str:
    fields = rest.split()
    if len(fields) < 8:
        return "a candidate of ICE, not readable"
    kind = {
        "host": "an address of its own",
        "srflx": "its address as a server sees it",
        "prflx": "its address as the other side sees it",
        "relay": "an address of a relay (TURN)",
    }.get(fields[7], fields[7])
    component = {"1": "RTP", "2": "RTCP"}.get(fields[1], f"component {fields[1]}")
    return f"ICE may use {fields[4]}:{fields[5]}/{fields[2].lower()} for {component}: {kind}"


def _setup(rest: str) -> str:
    said = {
        "active": "will open the connection",
        "passive": "waits for the connection",
        "actpass": "may open the connection or wait for it",
        "holdconn": "does not want the connection for now",
    }.get(rest)
    return f"{said} (RFC 4145)" if said else ""


def _fingerprint(rest: str) -> str:
    return f"the certificate that DTLS will show, {rest.split(' ')[0]} (RFC 8122)"


def _group(rest: str) -> str:
    kind, _, members = rest.partition(" ")
    if kind == "BUNDLE":
        return f"these streams share one port (RFC 9143): {members}"
    if kind == "LS":
        return f"these streams are played in step (lip synchronisation): {members}"
    return f"streams that belong together ({kind}): {members}"


def _rtcp(rest: str) -> str:
    fields = rest.split()
    where = f" at {fields[3]}" if len(fields) > 3 else ""
    return f"RTCP to port {fields[0]}{where} (RFC 3605)" if fields else ""


def _ssrc(rest: str) -> str:
    number, _, what = rest.partition(" ")
    return f"RTP source {number}" + (f": {what}" if what else "") + " (RFC 5576)"


_FLAGS: Final = {
    "sendrecv": "sends and receives",
    "sendonly": "only sends: a hold, where it did both before (RFC 3264 section 8.4)",
    "recvonly": "only receives",
    "inactive": "neither sends nor receives: a hold (RFC 3264 section 8.4)",
    "rtcp-mux": "RTCP goes over the port of RTP (RFC 5761)",
    "rtcp-rsize": "short RTCP packets are fine (RFC 5506)",
    "rtcp-mux-only": "RTCP only over the port of RTP (RFC 8858)",
    "ice-lite": "ICE in its short form: for a host with a public address (RFC 8445)",
    "end-of-candidates": "no more candidates of ICE follow",
    "bundle-only": "only together with another stream on one port (RFC 9143)",
    "nortpproxy": "a proxy says that media already passes a relay",
    "extmap-allow-mixed": "RTP header extensions of both lengths may be mixed (RFC 8285)",
    "T38FaxFillBitRemoval": "fax by T.38, fill bits are removed",
    "T38FaxTranscodingMMR": "fax by T.38, recoded to MMR",
    "T38FaxTranscodingJBIG": "fax by T.38, recoded to JBIG",
}
_VALUES: Final[dict[str, Callable[[str], str]]] = {
    "ptime": lambda v: f"{v} ms of audio in a packet",
    "maxptime": lambda v: f"at most {v} ms of audio in a packet",
    "minptime": lambda v: f"at least {v} ms of audio in a packet",
    "rtcp": _rtcp,
    "crypto": _crypto,
    "candidate": _candidate,
    "remote-candidates": lambda v: f"the candidates of the other side that ICE chose: {v}",
    "ice-ufrag": lambda v: "user name of ICE's checks",
    "ice-pwd": lambda v: "password of ICE's checks",
    "ice-options": lambda v: f"what ICE may do: {v}",
    "fingerprint": _fingerprint,
    "setup": _setup,
    "connection": lambda v: f"{'a new' if v == 'new' else 'the existing'} connection is used (RFC 4145)",
    "mid": lambda v: f"this stream is called {v} (RFC 5888)",
    "group": _group,
    "ssrc": _ssrc,
    "ssrc-group": lambda v: f"RTP sources that belong together: {v}",
    "extmap": lambda v: f"RTP header extension {v} (RFC 8285)",
    "msid": lambda v: f"part of the media stream {v} (WebRTC, RFC 8830)",
    "msid-semantic": lambda v: f"how media streams are named: {v}",
    "label": lambda v: f"label {v}, for use elsewhere (RFC 4574)",
    "content": lambda v: f"it shows: {v} (RFC 4796)",
    "silenceSupp": lambda v: f"silence suppression: {v} (RFC 3108)",
    "path": lambda v: f"MSRP goes to {v} (RFC 4975)",
    "accept-types": lambda v: f"message types that are taken: {v} (RFC 4975)",
    "framerate": lambda v: f"at most {v} pictures a second",
    "framesize": lambda v: f"size of the picture: {v}",
    "imageattr": lambda v: f"sizes of pictures: {v} (RFC 6236)",
    "curr": lambda v: f"precondition, as it is: {v} (RFC 3312)",
    "des": lambda v: f"precondition, as it should be: {v} (RFC 3312)",
    "conf": lambda v: f"precondition, to be confirmed: {v} (RFC 3312)",
    "sqn": lambda v: f"number {v} of the capabilities that follow (RFC 3407)",
    "cdsc": lambda v: f"could also do: {v} (RFC 3407)",
    "tool": lambda v: f"made by {v}",
    "type": lambda v: f"kind of session: {v}",
    "charset": lambda v: f"character set {v}",
    "lang": lambda v: f"language {v}",
    "sdplang": lambda v: f"language of this description: {v}",
    "quality": lambda v: f"quality of the picture: {v} of 10",
    "direction": lambda v: f"direction of the connection: {v}",
    "X-nat": lambda v: f"kind of NAT that the sender found: {v}",
    "rtcp-xr": lambda v: f"extended reports of quality: {v} (RFC 3611)",
    "sctp-port": lambda v: f"SCTP port {v} of the data channel (RFC 8841)",
    "sctpmap": lambda v: f"SCTP of the data channel: {v}",
    "max-message-size": lambda v: f"data channel messages of at most {v} octets",
}
_T38_NAMES: Final = {
    "FaxVersion": "version",
    "MaxBitRate": "bit/s at most",
    "FaxRateManagement": "rate managed by",
    "FaxMaxBuffer": "buffer, octets at most",
    "FaxMaxDatagram": "datagram, octets at most",
    "FaxUdpEC": "error correction",
}
_T38: Final = {f"T38{name}": words for name, words in _T38_NAMES.items()}
