"""The classic tables: sip_capture and its three sisters. One table of columns for rows, DDL and search.

In: nothing. Out: each column's name, type, width, default, and what of a record it is filled from; which
table a HEP type goes to; which indexes there are; which headers the SIP index has to be asked for.

They are the tables of Kamailio's sipcapture module, filled as it fills them. Where this differs:
- `contact_ip` has no brackets around an IPv6 address, so that it compares with `source_ip`.
- Addresses are written as RFC 5952 says (the module writes IPv6 without `::`).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal, Protocol

from hepcat.batch.schema import FIELD_COUNT, FIELD_INDEX, HEP_LOG, HEP_RTCP, HEP_SIP

#: text: characters, `width` of them at most. octets: the message, any octets. timestamp: seconds, local time.
Kind = Literal["text", "octets", "int", "bigint", "timestamp"]


class Source(IntEnum):
    """What a column is filled from. The kernel cells.py goes by these numbers (cells.pxd has them too)."""

    EMPTY = 0  #: always empty text
    SLICE = 1  #: the slice `field` of the batch
    DATE = 2  #: `ts`, whole seconds, written as local time
    MICRO_TS = 3  #: `ts`
    METHOD = 4  #: method of a request, status code of a reply
    CORRELATION = 5  #: HEP chunk 17, in table sip_capture else the Call-ID
    USER_AGENT = 6  #: User-Agent; the slice also takes Server, which the classic table does not
    SOURCE_IP = 7
    DESTINATION_IP = 8
    ORIGINATOR_IP = 9  #: header X-OIP up to the colon
    ORIGINATOR_PORT = 10  #: header X-OIP behind the colon
    NODE = 11  #: capture_node:agent id; the bare name where there is no id
    SOURCE_PORT = 12
    DESTINATION_PORT = 13
    CONTACT_PORT = 14
    PROTO = 15  #: PROTO_OF of `ip_proto`, else 0
    FAMILY = 16  #: 2, 10; null where it is neither
    TYPE = 17  #: 1 request, 2 reply, 0 neither; in the other tables TYPE_OF the HEP type
    HEADER = 18  #: an extra header, see `header`
    SECONDS = 19  #: `ts` in whole seconds since the epoch: the date of dbtext
    SEQUENCE = 20  #: counts from a number that is given: the id of dbtext, where nothing else counts
    LINE = 21  #: the slice `field` and what follows it in its header: all values of a Via, of a Diversion


@dataclass(frozen=True, slots=True)
class Column:
    """A column. width: in characters, None: no bound. header: setting that names the extra header.

    Every column is `not null` with an empty or zero default, unless `nullable`.
    """

    name: str
    kind: Kind
    source: Source
    width: int | None = None
    field: int | None = None
    header: str = ""
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `columns` are those that are filled. Before them stands `id`, a bigint that counts itself.

    The primary key is (id, date) where the engine partitions by date, else id.
    """

    name: str
    columns: tuple[Column, ...]
    indexes: tuple[str, ...]

    def column(self, name: str) -> Column | None:
        """Return the column of that name, in any case (engines differ in how they spell names)."""
        wanted = name.lower()
        return next((column for column in self.columns if column.name == wanted), None)


def _text(name: str, width: int, field: str = "", source: Source = Source.SLICE) -> Column:
    return Column(name, "text", source, width, FIELD_INDEX[field] if field else None)


def _number(name: str, source: Source) -> Column:
    return Column(name, "int", source)


def _custom(number: int) -> Column:
    return Column(f"custom_field{number}", "text", Source.HEADER, 120, header=f"custom_field{number}")


#: Width of `msg` in the original's definition. A table that hepcat makes takes any message (`MSG_WIDTH`).
ORIGINAL_MSG_WIDTH: Final = 1500
#: Longest `msg`: the longest payload of a record, in octets.
MSG_WIDTH: Final = 65_535

_TIMES: Final = (
    Column("date", "timestamp", Source.DATE),
    Column("micro_ts", "bigint", Source.MICRO_TS),
)
_MSG: Final = Column("msg", "octets", Source.SLICE, ORIGINAL_MSG_WIDTH, FIELD_INDEX["payload"])
_NODE: Final = _text("node", 125, source=Source.NODE)
_FAMILY: Final = Column("family", "int", Source.FAMILY, nullable=True)
_ENDS: Final = (
    _text("source_ip", 60, source=Source.SOURCE_IP),
    _number("source_port", Source.SOURCE_PORT),
    _text("destination_ip", 60, source=Source.DESTINATION_IP),
    _number("destination_port", Source.DESTINATION_PORT),
)

SIP_CAPTURE: Final = Table(
    "sip_capture",
    (
        *_TIMES,
        _text("method", 50, "method", Source.METHOD),
        _text("reply_reason", 100, "reason_phrase"),
        _text("ruri", 200, "ruri"),
        _text("ruri_user", 100, "ruri_user"),
        _text("ruri_domain", 150, "ruri_domain"),
        _text("from_user", 100, "from_user"),
        _text("from_domain", 150, "from_domain"),
        _text("from_tag", 64, "from_tag"),
        _text("to_user", 100, "to_user"),
        _text("to_domain", 150, "to_domain"),
        _text("to_tag", 64, "to_tag"),
        _text("pid_user", 100, "pid_user"),
        _text("contact_user", 120, "contact_user"),
        _text("auth_user", 120, "auth_user"),
        _text("callid", 120, "call_id"),
        _text("callid_aleg", 120, "call_id_aleg"),
        _text("via_1", 256, "via_1", Source.LINE),
        _text("via_1_branch", 80, "via_1_branch"),
        _text("cseq", 25, "cseq"),
        _text("diversion", 256, "diversion", Source.LINE),
        _text("reason", 200, "reason"),
        _text("content_type", 256, "content_type"),
        _text("auth", 256, source=Source.EMPTY),
        _text("user_agent", 256, "user_agent", Source.USER_AGENT),
        *_ENDS,
        _text("contact_ip", 60, "contact_ip"),
        _number("contact_port", Source.CONTACT_PORT),
        Column("originator_ip", "text", Source.ORIGINATOR_IP, 60, header="originator"),
        Column("originator_port", "int", Source.ORIGINATOR_PORT, header="originator"),
        _text("correlation_id", 256, "correlation_id", Source.CORRELATION),
        _custom(1),
        _custom(2),
        _custom(3),
        _number("proto", Source.PROTO),
        _FAMILY,
        _text("rtp_stat", 256, "rtp_stat"),
        _number("type", Source.TYPE),
        _NODE,
        _MSG,
    ),
    ("ruri_user", "from_user", "to_user", "pid_user", "auth_user", "callid_aleg", "date", "callid"),
)

_SISTER_COLUMNS: Final = (
    *_TIMES,
    _text("correlation_id", 256, "correlation_id", Source.CORRELATION),
    *_ENDS,
    _number("proto", Source.PROTO),
    _FAMILY,
    _number("type", Source.TYPE),
    _NODE,
    _MSG,
)
LOGS_CAPTURE: Final = Table("logs_capture", _SISTER_COLUMNS, ("date", "correlation_id"))
REPORT_CAPTURE: Final = Table("report_capture", _SISTER_COLUMNS, ("date", "correlation_id"))
RTCP_CAPTURE: Final = Table("rtcp_capture", _SISTER_COLUMNS, ("date", "correlation_id"))

#: All classic tables; the first is the one that `table_name` names.
TABLES: Final[tuple[Table, ...]] = (SIP_CAPTURE, LOGS_CAPTURE, REPORT_CAPTURE, RTCP_CAPTURE)
TABLE_BY_NAME: Final[dict[str, Table]] = {table.name: table for table in TABLES}

#: HEP type -> table. Records of any other type: Drop.NO_TABLE.
TABLE_OF_HEP_TYPE: Final[dict[int, Table]] = {
    HEP_SIP: SIP_CAPTURE,
    HEP_RTCP: RTCP_CAPTURE,
    32: REPORT_CAPTURE,
    99: REPORT_CAPTURE,
    HEP_LOG: LOGS_CAPTURE,
}

#: IP protocol -> `proto`: UDP 1, TCP 2, TLS 3 (siptrace sends TLS as protocol 22, XNS IDP), SCTP 4.
PROTO_OF: Final[dict[int, int]] = {17: 1, 6: 2, 22: 3, 132: 4}
#: HEP type -> `type` of what is no SIP, as the module numbers them.
TYPE_OF: Final[dict[int, int]] = {32: 2, HEP_RTCP: 3, 99: 4, HEP_LOG: 5}
#: The header of originator_ip and originator_port.
ORIGINATOR_HEADER: Final = "X-OIP"


class HeaderSettings(Protocol):
    """What of DatabaseSettings names headers."""

    @property
    def custom_fields(self) -> tuple[str, str, str]:
        """The headers of custom_field1 to custom_field3."""


def header_of(column: Column, settings: HeaderSettings) -> str:
    """Return the name of the extra header that a column is filled from, "" for the other columns."""
    if column.header == "originator":
        return ORIGINATOR_HEADER
    return settings.custom_fields[int(column.header[-1]) - 1].strip() if column.header else ""


def extra_headers(settings: HeaderSettings) -> tuple[str, ...]:
    """Return the headers that must be among the server's `extra_headers` for the columns to be filled."""
    names = dict.fromkeys(header_of(column, settings) for column in SIP_CAPTURE.columns)
    return tuple(name for name in names if name)


def header_slice(name: str, extra: tuple[str, ...]) -> int:
    """Return which slice of a batch holds an extra header, -1 where it was not asked for."""
    wanted = name.lower()
    return next((FIELD_COUNT + i for i, given in enumerate(extra) if given.lower() == wanted), -1)
