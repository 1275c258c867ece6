"""A folder of dbtext tables as a source of the lake's searches: all of it is read into memory.

In: the settings of a text:// store. Out: a `Memory` with its records. What can go wrong: HepcatError: no such
folder or table, a line that is no row.
"""

from itertools import islice
from typing import Final

import pyarrow as pa
from sqlglot import exp

from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.search.classic_records import COLUMNS, records_of
from hepcat.search.dialects_classic import not_kept
from hepcat.search.memory import Local, Memory
from hepcat.search.remote_records import concat
from hepcat.stores.dbtext.folder import folder_of
from hepcat.stores.dbtext.reader import DbtextReader
from hepcat.stores.sql.names import sip_names

_SISTERS = {"rtcp": "rtcp_capture", "log": "logs_capture", "other": "report_capture"}
_ROWS = 10_000
_NEVER: Final = frozenset({"vlan", "tags"})


def read_dbtext(settings: DatabaseSettings) -> Memory:
    """Read the tables of a store."""
    reader = DbtextReader(folder_of(settings.read()))
    there = reader.tables()
    patterns = sip_names(settings)
    names = [n for n in there if any(n == p.text or p.end_of(n) is not None for p in patterns)]
    if not names:
        raise HepcatError(
            f"store {settings.name} has no table {settings.table_name} in {reader.folder}",
            f"Make it with `hepcat db create --store {settings.name}`, or correct table_name.",
        )
    tables = {"sip": concat([_records(reader, name, "sip") for name in names], "sip")}
    for table, name in _SISTERS.items():
        if name in there:
            tables[table] = _records(reader, name, table)
    return Memory(tables)


class DbtextDialect(Local):
    """The lake's dialect over what a classic table keeps. `malformed` is found out from the octets again."""

    def __init__(self, store: str) -> None:
        """store: its name, for what is told."""
        self.store = store

    def column(self, name: str) -> exp.Expression:
        """Return a column. Raises HepcatError for one that the store never has anything in."""
        if name in _NEVER:
            raise not_kept(self.store, name)
        return super().column(name)


def _records(reader: DbtextReader, name: str, table: str) -> pa.Table:
    rows = reader.rows(name)
    parts = []
    while some := [[row.get(column) for column in COLUMNS] for row in islice(rows, _ROWS)]:
        parts.append(records_of(some, table))
    return concat(parts, table)
