"""The columns: their names, types, units and where each value comes from. One file, read by all.

In: nothing. Out: the order of the slices in a batch (`FIELDS`), the columns of the tables
(`SIP_COLUMNS`, `COMMON_COLUMNS`), the codes of `malformed`, and which table a HEP type goes to.
The codes are written to disk (journal): append, never renumber.
"""

from dataclasses import dataclass
from typing import Final, Literal

#: Slices (offset, length) that a batch keeps for every record, in this order. A slice lies within
#: the record's own octets; length 0 means that the record has no such value (null).
FIELDS: Final[tuple[str, ...]] = (
    "payload",  # 0: the octets as captured
    "correlation_id",  # 1: HEP chunk 0x0011
    "node_name",  # 2: HEP chunk 0x0013, or the name that goes with the authentication key
    "method",  # 3: first SIP field
    "reason_phrase",
    "ruri",
    "ruri_user",
    "ruri_domain",
    "from_user",
    "from_domain",
    "from_tag",  # 10
    "to_user",
    "to_domain",
    "to_tag",
    "call_id",
    "call_id_aleg",  # 15
    "cseq",
    "via_1",
    "via_1_branch",
    "pid_user",
    "contact_user",  # 20
    "contact_ip",
    "auth_user",
    "user_agent",
    "content_type",
    "diversion",  # 25
    "reason",
    "rtp_stat",
    "session_id",
    "body",  # 29: not a column; the SDP is read from it
    "tags",  # 30: HEP chunk 0x0026
)
FIELD_INDEX: Final[dict[str, int]] = {name: i for i, name in enumerate(FIELDS)}
#: Slices every batch has; extra headers (configuration `extra_headers`) follow after these.
FIELD_COUNT: Final = len(FIELDS)

#: "No value" in the numeric columns.
NO_VLAN: Final = 0xFFFF
NO_NODE: Final = 0xFFFFFFFF
NO_EXPIRES: Final = 0xFFFFFFFF
NO_STATUS: Final = 0
NO_PORT: Final = 0

#: The longest record (payload, correlation id, node name and tags together): slices are 16 bits wide,
#: and neither a UDP datagram nor a HEP message can be longer.
MAX_RECORD: Final = 65_535

#: flags column, bits.
FLAG_REQUEST: Final = 1
FLAG_RESPONSE: Final = 2
FLAG_FOLDED: Final = 4  # some slice holds CR or LF of a folded line (RFC 3261 section 7.3.1)
FLAG_KEEPALIVE: Final = 8  # CRLF keep-alive (RFC 5626 section 4.4.1): not SIP, counted, not stored
FLAG_STUN: Final = 16  # STUN (RFC 8489 section 5) on the SIP port: counted, not stored
FLAG_NOT_SIP: Final = 32  # no start line: not SIP at all

#: What `malformed` says, by code; 0 is a well-formed message. The first fault in this order wins.
MALFORMED: Final[tuple[str | None, ...]] = (
    None,
    "start_line",  # neither Request-Line nor Status-Line (RFC 3261 sections 7.1, 7.2)
    "header_line",  # a header line without a colon or with a bad name
    "no_header_end",  # no empty line after the headers
    "too_many_headers",  # over the bound on header lines
    "call_id_missing",
    "cseq_missing",
    "cseq",  # CSeq is not "number method", or its method is not the request's
    "from_missing",
    "to_missing",
    "via_missing",
    "content_length",  # not a number, or several that differ
    "body_short",  # fewer octets than Content-Length says
    "uri",  # Request-URI, From or To cannot be read as a URI
    "truncated",  # the capture itself was cut (snap length)
    "oversize",  # longer than MAX_RECORD; cut there
)

#: HEP protocol types (chunk 0x000b) that tables are made of.
HEP_SIP: Final = 0x01
HEP_RTP: Final = 0x04
HEP_RTCP: Final = 0x05
HEP_LOG: Final = 0x64

#: The tables of a store.
TABLES: Final[tuple[str, ...]] = ("sip", "rtcp", "log", "other")
#: HEP type -> index in TABLES; types not named here go to "other".
TABLE_OF_HEP_TYPE: Final[dict[int, int]] = {HEP_SIP: 0, HEP_RTCP: 1, HEP_LOG: 2}
OTHER_TABLE: Final = 3

#: IP family as in HEP chunk 0x0001.
FAMILY_IPV4: Final = 2
FAMILY_IPV6: Final = 10

#: IP protocol number -> `transport`; any other number is written in digits.
TRANSPORTS: Final[dict[int, str]] = {6: "tcp", 17: "udp", 132: "sctp"}

ColumnType = Literal["timestamp", "string", "binary", "uint8", "uint16", "uint32", "map"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: `field` is the slice it is gathered from, None for a numeric column."""

    name: str
    type: ColumnType
    doc: str
    field: int | None = None


def _slice(name: str, doc: str, type_: ColumnType = "string") -> Column:
    return Column(name, type_, doc, FIELD_INDEX[name])


#: What every table has, in order; `payload` comes last in each table.
_HEAD: Final[tuple[Column, ...]] = (
    Column("ts", "timestamp", "time of capture, microseconds, UTC; HEP chunks 0x0009 and 0x000a"),
    Column("transport", "string", "udp, tcp or sctp, else the IP protocol number; HEP chunk 0x0002"),
    Column("src_ip", "string", "source address as text (RFC 5952); HEP chunk 0x0003 or 0x0005"),
    Column("src_port", "uint16", "source port; HEP chunk 0x0007"),
    Column("dst_ip", "string", "destination address as text; HEP chunk 0x0004 or 0x0006"),
    Column("dst_port", "uint16", "destination port; HEP chunk 0x0008"),
    Column("vlan", "uint16", "VLAN id (IEEE 802.1Q); HEP chunk 0x0012"),
    Column("node_id", "uint32", "capture agent id; HEP chunk 0x000c"),
    _slice("node_name", "capture agent name; HEP chunk 0x0013, else the name of its key"),
    _slice("correlation_id", "correlation id; HEP chunk 0x0011"),
    _slice("tags", "what the capture plan tagged the message with; HEP chunk 0x0026"),
)
_PAYLOAD: Final = _slice("payload", "the octets as captured; HEP chunk 0x000f or 0x0010", "binary")

#: Table sip, in order. Sections are those of RFC 3261 unless another RFC is named.
SIP_COLUMNS: Final[tuple[Column, ...]] = (
    *_HEAD,
    _slice("method", "method of the request; in a response the CSeq's (7.1, 20.16)"),
    Column("status", "uint16", "status code; null in a request (7.2)"),
    _slice("reason_phrase", "reason phrase of the status line (7.2)"),
    _slice("ruri", "Request-URI (7.1)"),
    _slice("ruri_user", "user part of the Request-URI (19.1.1)"),
    _slice("ruri_domain", "host part of the Request-URI (19.1.1)"),
    _slice("from_user", "user part of the From URI (20.20)"),
    _slice("from_domain", "host part of the From URI (20.20)"),
    _slice("from_tag", "tag of From (19.3)"),
    _slice("to_user", "user part of the To URI (20.39)"),
    _slice("to_domain", "host part of the To URI (20.39)"),
    _slice("to_tag", "tag of To (19.3)"),
    _slice("call_id", "Call-ID (20.8)"),
    _slice("call_id_aleg", "Call-ID of the other leg: X-CID, or the header the configuration names"),
    _slice("cseq", "CSeq, number and method (20.16)"),
    _slice("via_1", "topmost Via value (20.42)"),
    _slice("via_1_branch", "branch of the topmost Via (8.1.1.7)"),
    _slice(
        "pid_user", "user of P-Asserted-Identity, else P-Preferred-Identity (RFC 3325), else Remote-Party-ID"
    ),
    _slice("contact_user", "user of the first Contact URI; * as it stands (20.10)"),
    _slice("contact_ip", "host of the first Contact URI (20.10)"),
    Column("contact_port", "uint16", "port of the first Contact URI (20.10)"),
    _slice("auth_user", "user name of Proxy-Authorization, else Authorization, before any @ (20.28, 20.7)"),
    _slice("user_agent", "User-Agent, else Server (20.41, 20.35)"),
    _slice("content_type", "Content-Type (20.15)"),
    Column("expires", "uint32", "Expires in seconds (20.19)"),
    _slice("diversion", "Diversion, first (RFC 5806)"),
    _slice("reason", "Reason (RFC 3326)"),
    _slice("rtp_stat", "X-RTP-Stat, P-RTP-Stat and their like: the sender's media statistics"),
    _slice("session_id", "Session-ID (RFC 7989)"),
    Column("malformed", "string", "what is wrong with the message; null where nothing is (MALFORMED)"),
    Column("extra", "map", "further headers the configuration asks for: name -> value"),
    _PAYLOAD,
)

#: Tables rtcp, log and other, in order.
COMMON_COLUMNS: Final[tuple[Column, ...]] = (
    *_HEAD,
    Column("hep_type", "uint8", "HEP protocol type; HEP chunk 0x000b"),
    _PAYLOAD,
)


def columns_of(table: str) -> tuple[Column, ...]:
    """Return the columns of a table, in order. Raises KeyError for an unknown table."""
    if table not in TABLES:
        raise KeyError(table)
    return SIP_COLUMNS if table == "sip" else COMMON_COLUMNS
