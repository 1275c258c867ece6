"""SQLite and ODBC: rows as values bound to one INSERT, in one transaction.

In: rows of a batch as Python values (classic/plan.py). Out: all of them in the table. What can go wrong: the
driver's errors. A statement a row is what these engines have; SQLite takes some 50,000 of them a second.
"""

from typing import Any

from hepcat.batch.layout import Array, Batch
from hepcat.stores.classic.plan import PLAIN, RowMaker
from hepcat.stores.sql.bulk import Loaded
from hepcat.stores.sql.reflect import ActualTable


class RowsLoader:
    """Loads rows over one connection (bulk.py). arrays: the driver binds many rows at once (ODBC)."""

    flavour = PLAIN

    def __init__(self, connection: Any, arrays: bool = False, text_dates: bool = False) -> None:
        self._connection = connection
        self._arrays = arrays
        self._text_dates = text_dates

    def load(self, table: ActualTable, maker: RowMaker, batch: Batch, rows: Array) -> Loaded:
        """Put all rows into the table."""
        made = maker.tuples(batch, rows)
        values = self._with_text_dates(table, made.values) if self._text_dates else made.values
        cursor = self._connection.cursor()
        try:
            if self._arrays:
                cursor.fast_executemany = True
            cursor.executemany(self._statement(table), values)
        finally:
            cursor.close()
        return Loaded(len(values), made.cut, made.replaced)

    def try_nothing(self, table: ActualTable) -> None:
        """Nothing: without rows these engines look at nothing."""

    def _statement(self, table: ActualTable) -> str:
        marks = ", ".join("?" * len(table.columns))
        return f"INSERT INTO {table.quoted} ({table.column_list}) VALUES ({marks})"

    def _with_text_dates(self, table: ActualTable, values: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """SQLite has no type of time: YYYY-MM-DD HH:MM:SS, which its functions and people read."""
        dates = [i for i, cell in enumerate(table.cells) if cell.column.kind == "timestamp"]
        if dates != [0]:
            return values
        return [(str(row[0]), *row[1:]) for row in values]
