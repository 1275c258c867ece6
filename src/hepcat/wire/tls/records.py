"""Records cut from one direction of a stream.

In: consecutive octets, and word of gaps. Out: records as (content type, version, body), and how many runs
of octets were passed over because no record begins there. What can go wrong: any octets give records or
such runs; at most one record's octets are kept.

After octets that are no record the reader looks for the next header of application data; behind a gap
it first tries the very next octet, since senders like to begin a segment with a record.
"""

import re
from typing import Final

# ContentType, RFC 8446 section 5.1.
CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
HEARTBEAT: Final = 24  # RFC 6520

HEADER: Final = 5
#: 2^14 octets and what a cipher may add (RFC 5246 section 6.2.3).
LONGEST: Final = (1 << 14) + 2048

Record = tuple[int, int, bytes]

_DATA_HEADER: Final = re.compile(rb"\x17\x03[\x01-\x03][\x00-\x47].", re.DOTALL)


class RecordReader:
    """One direction's octets on their way to records. broken: runs passed over since it was last read."""

    __slots__ = ("_need", "_seeking", "broken", "buffer")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.broken = 0
        self._need = HEADER
        self._seeking = False

    def gap(self) -> None:
        """Octets are missing before the next: what was half read cannot become whole."""
        if self.buffer:
            self.broken += 1
        self.buffer.clear()
        self._need = HEADER
        self._seeking = False

    def feed(self, octets: bytes) -> list[Record]:
        """Return the records that are whole now."""
        if self.buffer:
            self.buffer += octets
            if len(self.buffer) < self._need:
                return []
            octets = bytes(self.buffer)
            self.buffer.clear()
        found: list[Record] = []
        at = 0
        while True:
            if self._seeking:
                at = self._seek(octets, at)
            left = len(octets) - at
            if left < HEADER:
                self._need = HEADER
                break
            kind, version = octets[at], octets[at + 1] << 8 | octets[at + 2]
            size = octets[at + 3] << 8 | octets[at + 4]
            if not (CHANGE_CIPHER_SPEC <= kind <= HEARTBEAT and version >> 2 == 0xC0 and size <= LONGEST):
                self.broken += 1
                self._seeking = True
                at += 1  # whatever is found next, this goes on
                continue
            if left < HEADER + size:
                self._need = HEADER + size
                break
            found.append((kind, version, octets[at + HEADER : at + HEADER + size]))
            at += HEADER + size
        if at < len(octets):
            self.buffer += octets[at:]
        return found

    def _seek(self, octets: bytes, at: int) -> int:
        """Return where application data may begin, else where the last octets that are worth keeping do."""
        for match in _DATA_HEADER.finditer(octets, at):
            begin = match.start()
            end = begin + HEADER + (octets[begin + 3] << 8 | octets[begin + 4])
            # A header within ciphertext shows by what follows it: there must be a header again.
            if end + 2 <= len(octets) and not (
                CHANGE_CIPHER_SPEC <= octets[end] <= HEARTBEAT and octets[end + 1] == 3
            ):
                continue
            self._seeking = False
            return begin
        return max(at, len(octets) - HEADER + 1)
