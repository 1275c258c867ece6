"""Drop reasons: every record that enters hepcat is stored, forwarded, or counted under one of these.

In: nothing. Out: `Drop`, an index into the int64 array of counts that kernels and pipeline add to,
and a doc line for each, which /metrics, the logs and docs/server.md show.
"""

from enum import IntEnum
from typing import Final


class Drop(IntEnum):
    """Why a datagram, frame or record was not stored. Values index the counts array."""

    KERNEL = 0
    QUEUE_FULL = 1
    CAPTURE_OFF = 2
    FILTER = 3
    PLAN = 4
    NOT_SIP = 5
    KEEPALIVE = 6
    STUN = 7
    DUPLICATE = 8
    HEP_SHORT = 9
    HEP_MAGIC = 10
    HEP_LENGTH = 11
    HEP_CHUNK = 12
    HEP_FAMILY = 13
    HEP_MISSING = 14
    HEP_PAYLOAD = 15
    HEP_INFLATE = 16
    HEP_INFLATE_BOUND = 17
    AUTH = 18
    STREAM_GARBAGE = 19
    STREAM_HALF = 20
    STORE_FULL = 21
    STORE_FAILED = 22
    FRAME_TRUNCATED = 23
    FRAME_LINK = 24
    FRAME_PROTOCOL = 25
    FRAME_FRAGMENT = 26
    FRAME_MALFORMED = 27
    OVERSIZE = 28
    STREAM_LIMIT = 29


#: One line a reason, for people.
DROP_DOCS: Final[dict[Drop, str]] = {
    Drop.KERNEL: "the kernel had no room in the socket's receive buffer",
    Drop.QUEUE_FULL: "a queue inside hepcat was full",
    Drop.CAPTURE_OFF: "capture was switched off",
    Drop.FILTER: "a filter of the configuration did not match",
    Drop.PLAN: "the capture plan dropped it",
    Drop.NOT_SIP: "not SIP, where only SIP was asked for",
    Drop.KEEPALIVE: "CRLF keep-alive on a SIP port (RFC 5626 section 4.4.1)",
    Drop.STUN: "STUN on a SIP port (RFC 8489)",
    Drop.DUPLICATE: "a copy of a record that was already taken",
    Drop.HEP_SHORT: "HEP datagram shorter than its header",
    Drop.HEP_MAGIC: "neither HEP3, EEP1, nor a HEP 1 or 2 header",
    Drop.HEP_LENGTH: "HEP total length disagrees with the datagram",
    Drop.HEP_CHUNK: "HEP chunk length below its header or past the end",
    Drop.HEP_FAMILY: "HEP address family unknown or not that of the addresses",
    Drop.HEP_MISSING: "HEP message without a chunk that it must have",
    Drop.HEP_PAYLOAD: "HEP message without a payload",
    Drop.HEP_INFLATE: "compressed HEP payload that cannot be inflated",
    Drop.HEP_INFLATE_BOUND: "compressed HEP payload that inflates over the bound",
    Drop.AUTH: "HEP authentication key missing or wrong",
    Drop.STREAM_GARBAGE: "octets in a HEP stream that belong to no message (counted in runs)",
    Drop.STREAM_HALF: "a HEP stream ended within a message",
    Drop.STORE_FULL: "the store had no room (disk full) and memory had reached its bound",
    Drop.STORE_FAILED: "the store failed and memory had reached its bound, or a bug kept a batch out of it",
    Drop.FRAME_TRUNCATED: "frame cut by the snap length before its headers ended",
    Drop.FRAME_LINK: "link type or EtherType that is not read",
    Drop.FRAME_PROTOCOL: "IP protocol that is not read",
    Drop.FRAME_FRAGMENT: "IP fragment (not put together)",
    Drop.FRAME_MALFORMED: "header lengths in the frame contradict each other",
    Drop.OVERSIZE: "record longer than 65,535 octets",
    Drop.STREAM_LIMIT: "HEP stream refused: too many were open",
}
