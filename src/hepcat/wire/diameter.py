"""Diameter (RFC 6733) to JSON. No I/O, no clock, no log.

In: a batch and rows of it whose payload is one Diameter message. Out: a `Patch` with one JSON object each,
and one with the Session-Ids as correlation ids. What can go wrong: a row that is no Diameter stays as it
is; an AVP whose length is wrong ends its list, and "truncated": true says so.

    {"diameter_info": {"class", "type", "command", "app-ID",       captagent's four
                       "command_code", "command_name", "application", "flags", "hop_by_hop", "end_to_end"},
     "avps": [{"code", "vendor", "name", "flags", "value"}]}

The value of a grouped AVP is a list of the same, to MAX_DEPTH; text and numbers are told as such, times in
seconds of Unix, addresses as text, the rest as text where it is printable, else in hexadecimal digits.
User-Password (RFC 7155) is not told.
"""

import ipaddress
import struct
from typing import Any, Final

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch
from hepcat.wire.diameter_names import APPLICATIONS, AVPS, COMMANDS, VENDOR_3GPP
from hepcat.wire.json_text import (
    MAX_CORRELATION,
    Array,
    heads,
    patch_rows,
    payloads,
    starting,
    to_json,
    to_text,
    to_text_or_hex,
)

#: Grouped AVPs within one another, and AVPs of one message, that are read.
MAX_DEPTH: Final = 8
MAX_AVPS: Final = 2000

_SESSION_ID: Final = 263
_USER_PASSWORD: Final = 2
#: Seconds from 1900 (NTP) to 1970; RFC 6733 section 4.3.1, Time.
_NTP_TO_UNIX: Final = 2_208_988_800
_NUMBERS: Final[dict[str, struct.Struct]] = {
    "u": struct.Struct("!I"),
    "i": struct.Struct("!i"),
    "q": struct.Struct("!Q"),
    "l": struct.Struct("!q"),
}
#: Command flags (RFC 6733 section 3), AVP flags (section 4.1), from the highest bit.
_COMMAND_FLAGS: Final = ((0x80, "R"), (0x40, "P"), (0x20, "E"), (0x10, "T"))
_AVP_FLAGS: Final = ((0x80, "V"), (0x40, "M"), (0x20, "P"))


def diameter_mask(batch: Batch, out: Array) -> None:
    """Tell which payloads are Diameter: version 1, a length that fits, no reserved flag.

    out: (n,) uint8, set to 1 or 0. Nothing is asked of the port.
    """
    rows = starting(batch, 1, 20)
    found, length = heads(batch, rows, 5), payloads(batch, rows)[1]
    told = found[:, 1] << 16 | found[:, 2] << 8 | found[:, 3]
    mask = (told >= 20) & (told <= length) & (told % 4 == 0)
    # Reserved flags are 0, and an error is never in a request (RFC 6733 section 3).
    flags = found[:, 4]
    mask &= (flags & 0x0F == 0) & (flags & 0xA0 != 0xA0)
    out[: batch.n] = 0
    out[rows[mask]] = 1


def diameter_to_json(batch: Batch, rows: Array) -> Patch:
    """Write the Diameter messages of `rows` as JSON. rows: int64. Returns a patch of batch.n rows."""
    return patch_rows(batch, rows, _payload)


def diameter_correlation(batch: Batch, rows: Array) -> Patch:
    """Return the Session-Ids (RFC 6733 section 8.8) of the messages in `rows`; a patch of batch.n rows."""
    return patch_rows(batch, rows, _session_id)


def read_diameter(message: bytes) -> dict[str, Any] | None:
    """Read one message; None where it is no Diameter."""
    end = _end(message)
    if end is None:
        return None
    code = int.from_bytes(message[5:8], "big")
    application, hop_by_hop, end_to_end = struct.unpack_from("!III", message, 8)
    kind, short, name = COMMANDS.get(code, ("Unknown", "Unknown", f"command {code}"))
    of, application_name = APPLICATIONS.get(application, ("Unknown", f"application {application}"))
    info = {
        "class": kind if kind != "Unknown" else of,
        "type": "Request" if message[4] & 0x80 else "Answer",
        "command": short,
        "app-ID": application,
        "command_code": code,
        "command_name": name,
        "application": application_name,
        "flags": _flags(message[4], _COMMAND_FLAGS),
        "hop_by_hop": hop_by_hop,
        "end_to_end": end_to_end,
    }
    reader = _Avps()
    avps = reader.read(message[20:end], 0)
    out: dict[str, Any] = {"diameter_info": info, "avps": avps}
    if reader.truncated or end > len(message):
        out["truncated"] = True
    return out


def _end(message: bytes) -> int | None:
    """Where the message ends; None where it is no Diameter. A capture may have cut it."""
    if len(message) < 20 or message[0] != 1:
        return None
    length = int.from_bytes(message[1:4], "big")
    return length if length >= 20 else None


def _payload(message: bytes) -> bytes | None:
    value = read_diameter(message)
    return None if value is None else to_json(value, ("avps",))


def _session_id(message: bytes) -> bytes | None:
    """The Session-Id; it comes first, but a broken sender may put it later."""
    end = _end(message)
    if end is None:
        return None
    for code, vendor, _, value in _split(message[20:end], _Avps()):
        if code == _SESSION_ID and vendor == 0:
            return value if 0 < len(value) <= MAX_CORRELATION else None
    return None


def _flags(octet: int, table: tuple[tuple[int, str], ...]) -> str:
    return "".join(letter for bit, letter in table if octet & bit)


def _split(data: bytes, reader: "_Avps") -> list[tuple[int, int, int, bytes]]:
    """Cut a list of AVPs (RFC 6733 section 4.1) into code, vendor, flags and value."""
    out = []
    at = 0
    while at < len(data):
        if len(data) - at < 8 or reader.left == 0:
            reader.truncated = True
            break
        code = int.from_bytes(data[at : at + 4], "big")
        flags = data[at + 4]
        length = int.from_bytes(data[at + 5 : at + 8], "big")
        header = 12 if flags & 0x80 else 8
        if length < header or length > len(data) - at:
            reader.truncated = True
            break
        vendor = int.from_bytes(data[at + 8 : at + 12], "big") if flags & 0x80 else 0
        out.append((code, vendor, flags, data[at + header : at + length]))
        reader.left -= 1
        at += length + -length % 4
    return out


class _Avps:
    """The AVPs of one message: how many may still be read, and whether something was left out."""

    def __init__(self) -> None:
        self.left = MAX_AVPS
        self.truncated = False

    def read(self, data: bytes, depth: int) -> list[dict[str, Any]]:
        """Read a list of AVPs."""
        return [self.tell(*avp, depth) for avp in _split(data, self)]

    def tell(self, code: int, vendor: int, flags: int, value: bytes, depth: int) -> dict[str, Any]:
        """One AVP."""
        name, kind = AVPS.get((vendor, code), (f"AVP {code}", "?"))
        out: dict[str, Any] = {"code": code}
        if vendor:
            out["vendor"] = vendor
        out.update(name=name, flags=_flags(flags, _AVP_FLAGS))
        if code == _USER_PASSWORD and vendor == 0:
            return out
        if kind == "G" and depth < MAX_DEPTH:
            out["value"] = self.read(value, depth + 1)
        else:
            out["value"] = _value(kind, value, code, vendor)
        return out


def _value(kind: str, value: bytes, code: int, vendor: int) -> Any:
    """What an AVP says, by its type (RFC 6733 sections 4.2 and 4.3)."""
    number = _NUMBERS.get(kind)
    if number is not None and len(value) == number.size:
        return number.unpack(value)[0]
    if kind == "T" and len(value) == 4:
        seconds = int.from_bytes(value, "big")
        # From 2036 on the count begins again (RFC 5905 section 6).
        return seconds - _NTP_TO_UNIX + (0 if seconds >= 0x80000000 else 1 << 32)
    if kind == "A" and (value[:2], len(value)) in ((b"\0\1", 6), (b"\0\2", 18)):
        return str(ipaddress.ip_address(value[2:]))
    if kind == "U":
        return to_text(value)
    if kind == "O" and (vendor, code) == (VENDOR_3GPP, 701):  # MSISDN: digits, the lower half first
        return "".join("0123456789*#abc"[d] for o in value for d in (o & 15, o >> 4) if d < 15)
    if kind == "O" and (vendor, code) in ((0, 4), (0, 8)) and len(value) == 4:
        return str(ipaddress.IPv4Address(value))
    return to_text_or_hex(value)
