"""Small tables of messages, and what a query means on them, said a second time in plain Python."""

import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from hepcat.batch.schema import columns_of
from hepcat.search.ast import (
    And,
    Contains,
    Equals,
    Exists,
    Like,
    Match,
    Node,
    Not,
    Or,
    Range,
    Regex,
    Wild,
    Within,
)

Row = dict[str, Any]
#: 2026-11-22T12:00:00Z
NOON = 1_795_348_800_000_000

_TYPES = {
    "timestamp": pa.timestamp("us", tz="UTC"),
    "string": pa.string(),
    "binary": pa.binary(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "map": pa.map_(pa.string(), pa.string()),
}


def arrow_table(rows: Sequence[Row], table: str = "sip") -> pa.Table:
    """Make a table with the schema's columns; what a row does not name is null."""
    schema = pa.schema([(c.name, _TYPES[c.type]) for c in columns_of(table)])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


class Source:
    """A source of snapshots over tables in memory, instead of a lake."""

    def __init__(self, rows: Sequence[Row], others: dict[str, Sequence[Row]] | None = None) -> None:
        self.tables = {
            name: arrow_table((others or {}).get(name, []), name) for name in ("rtcp", "log", "other")
        }
        self.tables["sip"] = arrow_table(rows)
        self.asked: list[tuple[int | None, int | None]] = []
        self.holding: dict[str, Collection[str]] = {}

    @contextlib.contextmanager
    def snapshot(
        self,
        since_us: int | None = None,
        until_us: int | None = None,
        holding: Mapping[str, Collection[str]] | None = None,
        tables: Collection[str] | None = None,
    ) -> Iterator["Source"]:
        self.asked.append((since_us, until_us))
        self.holding = dict(holding or {})
        with duckdb.connect() as self.connection:
            self.connection.execute("SET TimeZone = 'UTC'")
            for name, table in self.tables.items():
                self.connection.register(name, table)
            yield self


def evaluate(node: Node, row: Row) -> bool:
    """Say whether a row matches, independently of SQL."""
    match node:
        case And(terms):
            return all(evaluate(term, row) for term in terms)
        case Or(terms):
            return any(evaluate(term, row) for term in terms)
        case Not(term):
            return not evaluate(term, row)
        case Match():
            return _passes(node, _value(node, row))
    raise TypeError(node)


def _value(node: Match, row: Row) -> Any:
    if node.column == "payload":
        octets = row.get("payload")
        return None if octets is None else octets.decode("utf-8", "replace").replace("\ufffd", "?")
    if node.key is not None:
        extra = {name.lower(): value for name, value in (row.get("extra") or {}).items()}
        if node.key.lower() in extra or node.column == "extra":
            return extra.get(node.key.lower())
        for line in (row.get("payload") or b"").decode("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() == node.key.lower() and value.strip():
                return value.strip()
        return None
    return row.get(node.column)


def _passes(node: Match, value: Any) -> bool:
    if value is None:
        return False
    flags = re.IGNORECASE if node.fold else 0
    match node.test:
        case Exists():
            return True
        case Equals(wanted):
            return bool(value.lower() == str(wanted).lower() if node.fold else value == wanted)
        case Range(low, high):
            return (low is None or low <= value) and (high is None or value <= high)
        case Like(pattern):
            text = "".join(
                {Wild.ANY: ".*", Wild.ONE: "."}[p] if isinstance(p, Wild) else re.escape(p) for p in pattern
            )
            return re.fullmatch(text, value, flags | re.DOTALL) is not None
        case Contains(pattern):
            text = "".join(
                {Wild.ANY: r"\S*", Wild.ONE: r"\S"}[p] if isinstance(p, Wild) else re.escape(p)
                for p in pattern
            )
            return re.search(text, value, flags) is not None
        case Regex(pattern):
            return re.search(pattern, value, flags) is not None
        case Within(network):
            try:
                address = ipaddress.ip_address(value)
            except ValueError:
                return False
            return address.version == network.version and address in network
    raise TypeError(node.test)
