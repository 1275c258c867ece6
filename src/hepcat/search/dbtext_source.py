"""A folder of dbtext tables as a source of the lake's searches: all of it is read into memory.

In: the settings of a text:// store. Out: a `Memory` with its records. What can go wrong: HepcatError: no such
folder or table, a line that is no row.
"""

from itertools import islice

import pyarrow as pa

from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.search.classic_records import COLUMNS, records_of
from hepcat.search.memory import Memory
from hepcat.search.remote_records import concat
from hepcat.stores.dbtext.folder import folder_of
from hepcat.stores.dbtext.reader import DbtextReader
from hepcat.stores.sql.names import sip_names

_SISTERS = {"rtcp": "rtcp_capture", "log": "logs_capture", "other": "report_capture"}
_ROWS = 10_000


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


def _records(reader: DbtextReader, name: str, table: str) -> pa.Table:
    rows = reader.rows(name)
    parts = []
    while some := [[row.get(column) for column in COLUMNS] for row in islice(rows, _ROWS)]:
        parts.append(records_of(some, table))
    return concat(parts, table)
