"""The fields of the query language: one table of names, kinds, columns and doc lines.

In: the schema. Out: `fields_of(table)`, name -> Field, and `find`, which also knows aliases and what
a misspelt name may have meant. Every column of the table can be asked by its own name; the rest are
fields of our own that stand for several columns.
"""

import difflib
import enum
import functools
from dataclasses import dataclass
from typing import Final

from hepcat.batch.schema import Column, columns_of


class Kind(enum.Enum):
    """What values a field takes."""

    TEXT = "text"  # exact letters
    NOCASE = "text, any case"
    NUMBER = "number"
    TIME = "time"
    ADDRESS = "address"  # IP address, with port, or network
    HOST = "host"  # name or address, any case
    PERSON = "user or user@domain"
    AGENT = "agent name or id"  # node_name or node_id
    PAYLOAD = "words"


@dataclass(frozen=True, slots=True)
class Field:
    """A name of the language. `columns` are tested in turn; any of them suffices.

    For PERSON each entry is (user column, domain column or None); for ADDRESS (address, port).
    """

    name: str
    kind: Kind
    columns: tuple[tuple[str, str | None], ...]
    doc: str
    aliases: tuple[str, ...] = ()


#: Columns whose letters match in any case: method names as people type them, host names (RFC 3986
#: section 3.2.2), media types, agent names and free text. User parts, tags, branches and Call-IDs
#: are compared exactly (RFC 3261 sections 19.1.4 and 8.1.1.4).
NOCASE: Final = frozenset(
    {
        "transport", "node_name", "method", "reason_phrase", "ruri_domain", "from_domain", "to_domain",
        "contact_ip", "cseq", "user_agent", "content_type", "diversion", "reason", "malformed",
    }
)  # fmt: skip
ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "ts": ("time",),
    "transport": ("proto",),
    "src_ip": ("src", "source"),
    "dst_ip": ("dst", "destination"),
    "src_port": ("sport",),
    "dst_port": ("dport",),
    "correlation_id": ("corr", "correlation"),
    "status": ("code",),
    "reason_phrase": ("phrase",),
    "call_id": ("callid", "cid"),
    "call_id_aleg": ("aleg", "xcid"),
    "via_1": ("via",),
    "via_1_branch": ("branch",),
    "pid_user": ("pid", "pai"),
    "auth_user": ("auth",),
    "user_agent": ("ua", "agent"),
    "session_id": ("session",),
    "payload": ("text", "msg", "message"),
}
_PAIRS: Final[dict[str, str]] = {"src_ip": "src_port", "dst_ip": "dst_port"}

#: Fields that every table has, besides its columns.
_COMMON: Final[tuple[Field, ...]] = (
    Field(
        "ip",
        Kind.ADDRESS,
        (("src_ip", "src_port"), ("dst_ip", "dst_port")),
        "source or destination address: address, address:port or network (10.0.0.0/8)",
        ("host", "addr"),
    ),
    Field("port", Kind.NUMBER, (("src_port", None), ("dst_port", None)), "source or destination port"),
    Field("node", Kind.AGENT, (("node_id", None), ("node_name", None)), "capture agent: its id or its name"),
)
_SIP: Final[tuple[Field, ...]] = (
    Field("from", Kind.PERSON, (("from_user", "from_domain"),), "From: user, user@domain or @domain"),
    Field("to", Kind.PERSON, (("to_user", "to_domain"),), "To: user, user@domain or @domain"),
    Field(
        "contact", Kind.PERSON, (("contact_user", "contact_ip"),), "first Contact: user, user@host or @host"
    ),
    Field(
        "user",
        Kind.PERSON,
        (
            ("from_user", "from_domain"),
            ("to_user", "to_domain"),
            ("ruri_user", "ruri_domain"),
            ("contact_user", "contact_ip"),
            ("pid_user", None),
            ("auth_user", None),
        ),
        "any of the users: From, To, Request-URI, Contact, asserted identity, authentication; "
        "with @domain the first four",
        ("number",),
    ),
    Field(
        "domain",
        Kind.HOST,
        (("from_domain", None), ("to_domain", None), ("ruri_domain", None)),
        "domain of From, To or the Request-URI",
    ),
    Field("tag", Kind.TEXT, (("from_tag", None), ("to_tag", None)), "tag of From or To"),
)

#: Prefixes of fields that name a header: `extra.X-Foo` is the map column alone (fast); `header.X-Foo`
#: is the map column where the header is there, and else the message's own line.
KEYED: Final[dict[str, str]] = {
    "extra": "a header that the configuration's extra_headers asked for: `extra.X-Foo:bar`",
    "header": "any header: `header.X-Foo:bar`; from column extra, else read from the message (slower)",
}


def _of_column(column: Column) -> Field | None:
    """Make the field that a column is asked by under its own name; the map column has none."""
    name = column.name
    if column.type == "map":
        return None
    if column.type in ("uint8", "uint16", "uint32"):
        kind = Kind.NUMBER
    elif column.type == "timestamp":
        kind = Kind.TIME
    elif column.type == "binary":
        kind = Kind.PAYLOAD
    elif name in _PAIRS:
        kind = Kind.ADDRESS
    elif name == "contact_ip":
        kind = Kind.HOST
    else:
        kind = Kind.NOCASE if name in NOCASE else Kind.TEXT
    return Field(name, kind, ((name, _PAIRS.get(name)),), column.doc, ALIASES.get(name, ()))


@functools.cache
def fields_of(table: str = "sip") -> dict[str, Field]:
    """Return the fields of a table by name, in the order of the documentation."""
    own = (*_COMMON, *_SIP) if table == "sip" else _COMMON
    listed = [*own, *(f for c in columns_of(table) if (f := _of_column(c)) is not None)]
    return {field.name: field for field in listed}


@functools.cache
def names_of(table: str = "sip") -> dict[str, Field]:
    """Return every spelling a field of the table answers to, in small letters with underscores."""
    spelled: dict[str, Field] = {}
    for field in fields_of(table).values():
        for name in (field.name, *field.aliases):
            spelled[name] = field
    return spelled


def find(name: str, table: str = "sip") -> Field | None:
    """Return the field of that name or alias; letters in any case, - and _ alike."""
    return names_of(table).get(name.lower().replace("-", "_"))


def suggest(name: str, table: str = "sip") -> list[str]:
    """Return up to three fields the name may have meant, the likeliest first."""
    spelled = [*names_of(table), *(["extra.", "header."] if table == "sip" else [])]
    return difflib.get_close_matches(name.lower().replace("-", "_"), spelled, n=3, cutoff=0.6)
