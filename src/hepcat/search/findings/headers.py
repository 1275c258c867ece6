"""Headers of a message that are no columns, read from its octets.

In: a message. Out: its header fields by name in small letters, compact names spelled out (RFC 3261 section
7.3.3). What can go wrong: nothing; lines that are no header are passed over, and what is read is bounded.
"""

from collections.abc import Mapping, Sequence
from typing import Final

#: What is read of a message: a head of real traffic has some 20 lines and 1,000 octets.
MAX_HEAD: Final = 32_768
MAX_LINES: Final = 300
MAX_VALUE: Final = 4096
#: RFC 3261 section 20 and the standards that each came with.
COMPACT: Final[Mapping[str, str]] = {
    "m": "contact",
    "c": "content-type",
    "x": "session-expires",  # RFC 4028
    "k": "supported",
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "r": "refer-to",  # RFC 3515
}

Headers = Mapping[str, Sequence[str]]


def read_headers(message: bytes) -> Headers:
    """Return the values of each header in the order of the message, continuation lines joined."""
    head = message[:MAX_HEAD].decode("utf-8", "replace")
    found: dict[str, list[str]] = {}
    values: list[str] | None = None
    for line in head.split("\n", MAX_LINES)[1:MAX_LINES]:
        line = line.rstrip("\r")
        if not line:
            break
        if line[0] in " \t":  # folded: RFC 3261 section 7.3.1
            if values and len(values[-1]) < MAX_VALUE:
                values[-1] = f"{values[-1]} {line.strip()}"[:MAX_VALUE]
            continue
        name, colon, value = line.partition(":")
        if not colon:
            values = None
            continue
        name = name.strip().lower()
        values = found.setdefault(COMPACT.get(name, name), [])
        values.append(value.strip()[:MAX_VALUE])
    return found


def parameters(value: str) -> dict[str, str]:
    """Return `;name=value` parameters of a header value, names in small letters, quotes taken off."""
    found: dict[str, str] = {}
    for part in split_quoted(value, ";")[1:]:
        name, _, text = part.partition("=")
        found.setdefault(name.strip().lower(), unquoted(text))
    return found


def unquoted(text: str) -> str:
    """Return a token or a quoted string without its quotes."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('\\"', '"')
    return text


def split_quoted(text: str, separator: str) -> list[str]:
    """Split where the separator stands outside of quotes and angle brackets."""
    if '"' not in text and "<" not in text:
        return text.split(separator)
    parts: list[str] = []
    start, quoted, angle = 0, False, False
    for at, character in enumerate(text):
        if character == '"' and text[at - 1 : at] != "\\":
            quoted = not quoted
        elif quoted:
            continue
        elif character in "<>":
            angle = character == "<"
        elif character == separator and not angle:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return parts


def number(text: str | None, largest: int = 2**31) -> int | None:
    """Return a plain decimal number, None for anything else."""
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if value <= largest else None
