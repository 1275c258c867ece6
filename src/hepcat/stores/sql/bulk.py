"""The contract of a loader: rows of a batch into one table, within the transaction that is open.

In: a table as it is (reflect.py), what makes its rows (classic/plan.py), row numbers. Out: how many rows
went in. What can go wrong: the driver's errors; what is refused is the caller's to find (writer.py).
Instances: bulk_mysql.py, bulk_postgres.py, bulk_rows.py (SQLite and ODBC).
"""

from dataclasses import dataclass
from typing import Protocol

from hepcat.batch.layout import Array, Batch
from hepcat.stores.classic.plan import Flavour, RowMaker
from hepcat.stores.sql.reflect import ActualTable


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of rows. Fewer than were given: the engine left some out without an error, `why`."""

    rows: int
    cut: int = 0
    replaced: int = 0
    why: str = ""

    def __add__(self, other: "Loaded") -> "Loaded":
        return Loaded(
            self.rows + other.rows,
            self.cut + other.cut,
            self.replaced + other.replaced,
            self.why or other.why,
        )


class Loader(Protocol):
    """One connection's way of loading."""

    @property
    def flavour(self) -> Flavour:
        """How the rows are written."""

    def load(self, table: ActualTable, maker: RowMaker, batch: Batch, rows: Array) -> Loaded:
        """Put rows into the table."""

    def try_nothing(self, table: ActualTable) -> None:
        """Load no row, so that a right or a column that is missing shows at once, where that is possible."""
