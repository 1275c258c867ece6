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
    FRAGMENT_TIMEOUT = 30
    FRAGMENT_BOUND = 31
    FRAGMENT_OVERLAP = 32
    FRAGMENT_LENGTH = 33
    FRAGMENT_DUPLICATE = 34
    TUNNEL_DEPTH = 35
    TUNNEL_MALFORMED = 36
    TCP_CONTROL = 37
    TCP_DUPLICATE = 38
    TCP_BOUND = 39
    TCP_OTHER = 40
    STREAM_GAP = 41
    STREAM_SKIPPED = 42
    STREAM_PARTIAL = 43
    WEBSOCKET_MALFORMED = 44
    WEBSOCKET_BOUND = 45
    WEBSOCKET_CONTROL = 46
    TLS_NO_KEY = 47
    TLS_MALFORMED = 48
    TLS_BOUND = 49
    TLS_CONTROL = 50
    SCTP_CONTROL = 51
    SCTP_DUPLICATE = 52
    SCTP_PARTIAL = 53
    OUTGOING = 54
    SHED = 55
    RATE_LIMIT = 56
    SAMPLED = 57
    SINK_FULL = 58
    SINK_FAILED = 59
    HEP_INEXPRESSIBLE = 60
    SPOOL_DAMAGED = 61
    NO_TARGET = 62
    NO_TABLE = 63
    BAD_MESSAGE = 64
    ROW_REFUSED = 65


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
    Drop.FRAGMENT_TIMEOUT: "IP fragments whose datagram did not become whole in time",
    Drop.FRAGMENT_BOUND: "IP fragments pushed out because more were held than the memory bound allows",
    Drop.FRAGMENT_OVERLAP: "IP fragments that overlap others and disagree with them (RFC 5722: an attack)",
    Drop.FRAGMENT_LENGTH: "IP fragments past 65,535 octets, past the last one, or of an odd length",
    Drop.FRAGMENT_DUPLICATE: "an IP fragment seen twice with the same octets",
    Drop.TUNNEL_DEPTH: "more tunnels within one another than are opened",
    Drop.TUNNEL_MALFORMED: "a tunnel's header that contradicts itself",
    Drop.TCP_CONTROL: "TCP segments without data (SYN, ACK, FIN, RST, keep-alive)",
    Drop.TCP_DUPLICATE: "TCP segments whose octets had all been seen (retransmissions)",
    Drop.TCP_BOUND: "TCP segments over the bounds on streams or on octets held",
    Drop.TCP_OTHER: "TCP segments of streams that carry no protocol that is read",
    Drop.STREAM_GAP: "holes in TCP streams: segments that never came (counted once a hole)",
    Drop.STREAM_SKIPPED: "octets in TCP streams that belong to no message (counted in runs)",
    Drop.STREAM_PARTIAL: "messages in TCP streams cut off by a hole, a bound, or the stream's end",
    Drop.WEBSOCKET_MALFORMED: "WebSocket frames that break RFC 6455",
    Drop.WEBSOCKET_BOUND: "WebSocket messages over the size bound, inflated ones included",
    Drop.WEBSOCKET_CONTROL: "WebSocket control frames (ping, pong, close) and handshakes",
    Drop.TLS_NO_KEY: "TLS records for which no secret is known",
    Drop.TLS_MALFORMED: "TLS records that cannot be read or do not decrypt",
    Drop.TLS_BOUND: "TLS records over the bounds on sessions or on octets held for a secret to come",
    Drop.TLS_CONTROL: "TLS records without application data (handshake, alert)",
    Drop.SCTP_CONTROL: "SCTP chunks without user data",
    Drop.SCTP_DUPLICATE: "SCTP DATA chunks seen twice",
    Drop.SCTP_PARTIAL: "SCTP DATA chunks whose message did not become whole in time or within the bounds",
    Drop.OUTGOING: "the second sight of a packet that loopback shows on its way out and in",
    Drop.SHED: "left out because the CPU ceiling was reached",
    Drop.RATE_LIMIT: "over the rate limit of the capture plan",
    Drop.SAMPLED: "left out by the capture plan's sampling",
    Drop.SINK_FULL: "a target was away and its memory and spool had reached their bounds",
    Drop.SINK_FAILED: "a target refused the record, or sending it failed",
    Drop.HEP_INEXPRESSIBLE: "the target's HEP version cannot express the record",
    Drop.SPOOL_DAMAGED: "records of a spool file that could not be read back",
    Drop.NO_TARGET: "what reached the end of its capture plan without being sent",
    Drop.NO_TABLE: "the database has no table for records of this HEP type",
    Drop.BAD_MESSAGE: "From, To or Contact cannot be read, and capture_bad_msgs is off",
    Drop.ROW_REFUSED: "the database refused the row, tried alone",
}
