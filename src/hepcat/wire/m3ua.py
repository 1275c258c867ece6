"""SS7 over IP: what carries an MTP3 message, and its routing label.

In: an SCTP message of M3UA (RFC 4666), M2UA (RFC 3331) or M2PA (RFC 4165). Out: `Mtp3`: point codes,
service and the user part's octets. What can go wrong: None for anything else, or where lengths disagree.

M3UA carries the routing label in fields of its own; M2UA, M2PA and M3UA's drafts (parameter 2, before
2002) carry it as MTP3 has it: ITU-T Q.704 section 2.2, 14-bit point codes.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from hepcat.batch.layout import Batch
from hepcat.wire.json_text import Array, heads, starting

#: Service indicator of the ISDN user part (ITU-T Q.704 section 14.2.1).
SI_ISUP: Final = 5

# Message class and type (RFC 4666 section 3.1.2, RFC 3331 section 3.1.3, RFC 4165 section 2.1.2).
_M3UA: Final = (1, 1)
_M2UA: Final = (6, 1)
_M2PA: Final = (11, 1)
# Parameters with the message in them.
_M3UA_DATA: Final = 0x0210  # RFC 4666 section 3.3.1
_M3UA_DRAFT_DATA: Final = 0x0002
_M2UA_DATA: Final = 0x0300  # RFC 3331 section 3.3.1.1


@dataclass(frozen=True, slots=True)
class Mtp3:
    """One MTP3 message: originating and destination point code, service, network, link selection."""

    opc: int
    dpc: int
    si: int
    ni: int
    sls: int
    data: bytes


def read_mtp3(message: bytes) -> Mtp3 | None:
    """Read the MTP3 message out of M3UA, M2UA or M2PA; None where there is none."""
    if len(message) < 8 or message[0] != 1 or message[1] != 0:
        return None
    kind = (message[2], message[3])
    end = int.from_bytes(message[4:8], "big")
    if end < 8 or end > len(message):
        return None
    if kind == _M2PA:  # two sequence numbers, then the priority (RFC 4165 sections 2.2 and 2.3)
        return _read_label(message[17:end])
    if kind == _M2UA:
        return _read_label(_parameter(message, end, _M2UA_DATA))
    if kind != _M3UA:
        return None
    data = _parameter(message, end, _M3UA_DATA)
    if not data:
        return _read_label(_parameter(message, end, _M3UA_DRAFT_DATA))
    if len(data) < 12:
        return None
    return Mtp3(
        opc=int.from_bytes(data[0:4], "big"),
        dpc=int.from_bytes(data[4:8], "big"),
        si=data[8],
        ni=data[9],
        sls=data[11],  # data[10] is the message priority
        data=data[12:],
    )


def _parameter(message: bytes, end: int, wanted: int) -> bytes:
    """The value of the first parameter of a kind (RFC 4666 section 3.2); nothing where there is none."""
    at = 8
    while end - at >= 4:
        tag = int.from_bytes(message[at : at + 2], "big")
        length = int.from_bytes(message[at + 2 : at + 4], "big")
        if length < 4 or length > end - at:
            return b""
        if tag == wanted:
            return message[at + 4 : at + length]
        at += length + -length % 4
    return b""


def _read_label(data: bytes) -> Mtp3 | None:
    """Service information octet and routing label (ITU-T Q.704 sections 14.2 and 2.2)."""
    if len(data) < 5:
        return None
    label = int.from_bytes(data[1:5], "little")
    return Mtp3(
        opc=label >> 14 & 0x3FFF,
        dpc=label & 0x3FFF,
        si=data[0] & 0x0F,
        ni=data[0] >> 6,
        sls=label >> 28,
        data=data[5:],
    )


def isup_mask(batch: Batch, out: Array) -> None:
    """Tell which payloads carry ISUP: DATA of M3UA, M2UA or M2PA whose service indicator is 5.

    out: (n,) uint8, set to 1 or 0. Only what has the head of such a message is looked at one by one.
    """
    rows = starting(batch, 1, 8)
    found = heads(batch, rows, 4)
    kinds = [major << 8 | minor for major, minor in (_M3UA, _M2UA, _M2PA)]
    head = (found[:, 1] == 0) & np.isin(found[:, 2] << 8 | found[:, 3], kinds)
    out[: batch.n] = 0
    for row in rows[head].tolist():
        mtp3 = read_mtp3(batch.text(row, "payload") or b"")
        out[row] = mtp3 is not None and mtp3.si == SI_ISUP
