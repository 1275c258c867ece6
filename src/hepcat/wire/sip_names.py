"""The header names that the SIP index looks for, as one hash table of plain arrays for the kernel.

In: the names of the A-leg headers and of the extra headers (configuration). Out: `NameTable`.
Names match in any case and in their compact form (RFC 3261 section 20; IANA, SIP header fields).
A name that is not a token (RFC 3261 section 25.1) can stand in no message, so it matches nothing.
"""

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.schema import FIELD_COUNT, FIELD_INDEX

#: Header numbers that the kernel treats one by one; the others are only copied (COPIED).
NUMBERED: Final[tuple[str, ...]] = (
    "via",
    "from",
    "to",
    "contact",
    "p-asserted-identity",
    "p-preferred-identity",
    "remote-party-id",
    "proxy-authorization",
    "authorization",
    "expires",
    "content-length",
    "diversion",
    "cseq",
    "call-id",
)
#: Field <- headers whose value goes into it as it stands, the first that the message has.
COPIED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("call_id", ("call-id",)),
    ("cseq", ("cseq",)),
    ("user_agent", ("user-agent", "server")),
    ("content_type", ("content-type",)),
    ("reason", ("reason",)),
    (
        "rtp_stat",
        (
            "x-rtp-stat-add",
            "x-rtp-stat-t38",
            "x-rtp-stat",
            "p-rtp-stat",
            "x-siemens-rtp-stats",
            "x-ng-rtp-stats",
            "rtp-rxstat",
        ),
    ),
    ("session_id", ("session-id",)),
)
#: Compact forms in IANA's registry of SIP header fields.
COMPACT: Final[dict[str, str]] = {
    "accept-contact": "a",
    "allow-events": "u",
    "call-id": "i",
    "contact": "m",
    "content-encoding": "e",
    "content-length": "l",
    "content-type": "c",
    "event": "o",
    "from": "f",
    "identity": "y",
    "identity-info": "n",
    "refer-to": "r",
    "referred-by": "b",
    "reject-contact": "j",
    "request-disposition": "d",
    "session-expires": "x",
    "subject": "s",
    "supported": "k",
    "to": "t",
    "via": "v",
}
#: Parameter names that the kernel compares with; they stand at the start of the pool of names.
PARAMS: Final = b"tagbranchusername"
TAG_AT, BRANCH_AT, USERNAME_AT = 0, 3, 9

#: RFC 3261 section 25.1: token.
TOKEN: Final[npt.NDArray[np.uint8]] = np.zeros(256, dtype=np.uint8)
TOKEN[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~")] = 1

#: Slots of the hash table; the kernel computes the same `slot_of` (keep them alike).
SLOTS: Final = 512


def slot_of(name: bytes) -> int:
    """Return the slot of a folded name: from its length, first and last octet."""
    return (len(name) + name[0] * 2 + name[-1] * 6) & (SLOTS - 1)


@dataclass(frozen=True, slots=True)
class NameTable:
    """Arrays that the kernel reads; entry e is the name pool[at[e]:at[e] + size[e]], header id[e].

    first, last: its first and last eight octets as words of the machine's byte order; a shorter name
    is filled up with zeros, and MASKS[size] cuts what the kernel compares with it.
    slots: (512,) int32, first entry of a hash slot, -1 for none; next: the entry after e in its slot.
    copies: (k, 2) int32, (field, header) in order: the first header present fills the field.
    """

    headers: int
    slots: npt.NDArray[np.int32]
    pool: npt.NDArray[np.uint8]
    at: npt.NDArray[np.int32]
    size: npt.NDArray[np.int32]
    id: npt.NDArray[np.int32]
    first: npt.NDArray[np.uint64]
    last: npt.NDArray[np.uint64]
    next: npt.NDArray[np.int32]
    copies: npt.NDArray[np.int32]


def word(octets: bytes) -> int:
    """Return up to eight octets as the word that the kernel reads them as."""
    return int.from_bytes(octets.ljust(8, b"\0"), sys.byteorder)


#: Words that cut a word to its first n octets.
MASKS: Final = np.array([word(b"\xff" * n) for n in range(9)], dtype=np.uint64)


def full_name(name: str) -> str:
    """Return a header's name in small letters and its long form."""
    name = name.strip().lower()
    return next((long for long, compact in COMPACT.items() if compact == name), name)


def fold(name: str) -> bytes:
    """Return a name's octets as the kernel compares them: each with bit 0x20 set."""
    return bytes(octet | 0x20 for octet in name.encode())


@lru_cache(maxsize=64)
def name_table(aleg_headers: tuple[str, ...], extra: tuple[str, ...]) -> NameTable:
    """Return the table for these A-leg and extra headers; extra header i fills FIELD_COUNT + i."""
    number = {name: i for i, name in enumerate(NUMBERED)}
    copies: list[tuple[int, int]] = []

    def copy(field: int, names: tuple[str, ...]) -> None:
        for name in names:
            copies.append((field, number.setdefault(full_name(name), len(number))))

    for field, names in COPIED:
        copy(FIELD_INDEX[field], names)
    copy(FIELD_INDEX["call_id_aleg"], aleg_headers)
    for i, name in enumerate(extra):
        copy(FIELD_COUNT + i, (name,))
    entries = [(spelling, i) for name, i in number.items() for spelling in (name, COMPACT.get(name, ""))]
    return _build(
        [(s, i) for s, i in entries if s and all(TOKEN[o] for o in s.encode())], len(number), copies
    )


def _build(entries: list[tuple[str, int]], headers: int, copies: list[tuple[int, int]]) -> NameTable:
    slots = np.full(SLOTS, -1, dtype=np.int32)
    pool = bytearray(PARAMS)
    at, size, after = [], [], []
    for e, (name, _) in enumerate(entries):
        octets = fold(name)
        at.append(len(pool))
        size.append(len(octets))
        after.append(int(slots[slot_of(octets)]))
        slots[slot_of(octets)] = e
        pool += octets
    names = [fold(name) for name, _ in entries]
    first = np.array([word(name[:8]) for name in names], dtype=np.uint64)
    last = np.array([word(name[-8:]) for name in names], dtype=np.uint64)
    number = [i for _, i in entries]
    pairs: Any = np.array(copies, dtype=np.int32).reshape(-1, 2)
    return NameTable(
        headers=headers,
        slots=slots,
        pool=np.frombuffer(bytes(pool), dtype=np.uint8),
        at=np.array(at, dtype=np.int32),
        size=np.array(size, dtype=np.int32),
        id=np.array(number, dtype=np.int32),
        first=first,
        last=last,
        next=np.array(after, dtype=np.int32),
        copies=pairs,
    )
