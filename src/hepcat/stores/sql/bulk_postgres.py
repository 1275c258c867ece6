"""PostgreSQL: rows in bulk through COPY ... FROM STDIN.

In: rows of a batch in COPY's text format (classic/rows.py). Out: all of them in the table. What can go wrong:
psycopg's errors: COPY takes all rows or none, and the caller finds the row that was refused.
"""

from typing import Any

import numpy as np
from psycopg import Connection

from hepcat.batch.layout import Array, Batch
from hepcat.stores.classic.plan import COPY, RowMaker
from hepcat.stores.sql.bulk import Loaded
from hepcat.stores.sql.reflect import ActualTable


class PostgresLoader:
    """Loads rows over one connection (bulk.py)."""

    flavour = COPY

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_encoding")
            encoding = str((cursor.fetchone() or ("UTF8",))[0])
            if encoding != "UTF8":
                # What such a database cannot convert it would refuse. Our octets are taken as they are, as
                # the original's are, and a character shows as two or three there.
                cursor.execute("SELECT set_config('client_encoding', %s, false)", (encoding,))
            cursor.execute("SET TIME ZONE 'UTC'")  # dates of timestamptz columns come as UTC
            cursor.execute("SET tcp_keepalives_idle = 30")
            cursor.execute("SET idle_in_transaction_session_timeout = '60s'")  # should we vanish
        connection.commit()

    def load(self, table: ActualTable, maker: RowMaker, batch: Batch, rows: Array) -> Loaded:
        """Put all rows into the table."""
        made = maker.octets(batch, rows)
        self._copy(table, made.data)
        return Loaded(made.count, made.cut, made.replaced)

    def try_nothing(self, table: ActualTable) -> None:
        """Copy no row: the rights and the columns are looked at all the same."""
        self._copy(table, np.empty(0, dtype=np.uint8))

    def _copy(self, table: ActualTable, octets: Array) -> None:
        statement = f"COPY {table.quoted} ({table.column_list}) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(octets.data)
