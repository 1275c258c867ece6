"""Handshake messages: cut from records, and what they say.

In: plaintext of handshake records, cut anywhere. Out: messages; what a ClientHello and a ServerHello
say. What can go wrong: octets that cannot be read give None; a message over the bound is passed over.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

# HandshakeType, RFC 8446 section 4 and RFC 5246 section 7.4.
HELLO_REQUEST: Final = 0
CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2
NEW_SESSION_TICKET: Final = 4
END_OF_EARLY_DATA: Final = 5
SERVER_HELLO_DONE: Final = 14
CLIENT_KEY_EXCHANGE: Final = 16
FINISHED: Final = 20
KEY_UPDATE: Final = 24

# ExtensionType.
_ENCRYPT_THEN_MAC: Final = 22  # RFC 7366
_EXTENDED_MASTER_SECRET: Final = 23  # RFC 7627
_SESSION_TICKET: Final = 35  # RFC 5077
_EARLY_DATA: Final = 42  # RFC 8446 section 4.2.10
_SUPPORTED_VERSIONS: Final = 43  # RFC 8446 section 4.2.1
_WANTED: Final = frozenset({_ENCRYPT_THEN_MAC, _EXTENDED_MASTER_SECRET, _EARLY_DATA, _SUPPORTED_VERSIONS})

#: The random of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3).
RETRY_RANDOM: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

#: Longest message that is put together: long certificate chains stay below.
LONGEST: Final = 1 << 17


class MessageReader:
    """Cuts one direction's handshake octets into messages (RFC 8446 section 4: type, 24-bit length)."""

    __slots__ = ("_skip", "buffer")

    def __init__(self) -> None:
        self.buffer = b""
        self._skip = 0

    def reset(self) -> None:
        """Forget a half-read message: octets were lost, or keys change here."""
        self.buffer = b""
        self._skip = 0

    def feed(self, octets: bytes) -> list[bytes]:
        """Return the messages that are whole now, each with its header."""
        if self._skip:
            passed = min(self._skip, len(octets))
            self._skip -= passed
            octets = octets[passed:]
        octets = self.buffer + octets
        found, at = [], 0
        while len(octets) - at >= 4:
            end = at + 4 + int.from_bytes(octets[at + 1 : at + 4], "big")
            if end - at > LONGEST:
                self._skip = max(0, end - len(octets))
                at = min(end, len(octets))
            elif end > len(octets):
                break
            else:
                found.append(octets[at:end])
                at = end
        self.buffer = octets[at:]
        return found


@dataclass(slots=True)
class Hello:
    """What a ClientHello or ServerHello says. version: legacy one of a client, the chosen one of a server.

    extensions: those that matter here, of each at most two octets: a hello must not hold much memory.
    ticket: `ticket_name` of a session ticket that the client offers, else empty.
    """

    version: int
    random: bytes
    session_id: bytes
    suite: int = 0
    compression: int = 0
    ticket: bytes = b""
    extensions: dict[int, bytes] = field(default_factory=dict)

    @property
    def encrypt_then_mac(self) -> bool:
        return _ENCRYPT_THEN_MAC in self.extensions

    @property
    def extended_master(self) -> bool:
        return _EXTENDED_MASTER_SECRET in self.extensions

    @property
    def early_data(self) -> bool:
        return _EARLY_DATA in self.extensions


def ticket_name(ticket: bytes) -> bytes:
    """Return a short name for a session ticket, which may be long."""
    return hashlib.sha256(ticket).digest()


def parse_client_hello(message: bytes) -> Hello | None:
    """Read a ClientHello with its header (RFC 8446 section 4.1.2); None where lengths contradict."""
    start = _start(message)
    if start is None:
        return None
    hello, at = start
    for width in (2, 1):  # cipher suites, compression methods
        size = _number(message, at, width)
        if size is None or at + width + size > len(message):
            return None
        at += width + size
    return hello if _read_extensions(hello, message, at) else None


def parse_server_hello(message: bytes) -> Hello | None:
    """Read a ServerHello with its header (RFC 8446 section 4.1.3); None where lengths contradict."""
    start = _start(message)
    if start is None or start[1] + 3 > len(message):
        return None
    hello, at = start
    hello.suite = int.from_bytes(message[at : at + 2], "big")
    hello.compression = message[at + 2]
    if not _read_extensions(hello, message, at + 3):
        return None
    chosen = hello.extensions.get(_SUPPORTED_VERSIONS, b"")
    if len(chosen) == 2:
        hello.version = int.from_bytes(chosen, "big")
    return hello


def _start(message: bytes) -> tuple[Hello, int] | None:
    """Read version, random and session id, which begin both; return them and where they end."""
    size = _number(message, 38, 1)
    if size is None or size > 32 or 39 + size > len(message):
        return None
    version = int.from_bytes(message[4:6], "big")
    return Hello(version, message[6:38], message[39 : 39 + size]), 39 + size


def _read_extensions(hello: Hello, message: bytes, at: int) -> bool:
    if at == len(message):  # before TLS 1.3 there need be none
        return True
    size = _number(message, at, 2)
    if size is None or at + 2 + size != len(message):
        return False
    at += 2
    while at < len(message):
        kind, length = _number(message, at, 2), _number(message, at + 2, 2)
        if kind is None or length is None or at + 4 + length > len(message):
            return False
        if kind in _WANTED:
            hello.extensions[kind] = message[at + 4 : at + 4 + min(length, 2)]
        elif kind == _SESSION_TICKET and length:
            hello.ticket = ticket_name(message[at + 4 : at + 4 + length])
        at += 4 + length
    return True


def _number(octets: bytes, at: int, width: int) -> int | None:
    return int.from_bytes(octets[at : at + width], "big") if at + width <= len(octets) else None
