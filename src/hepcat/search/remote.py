"""The contract of a store whose SQL runs elsewhere: SQL databases, ClickHouse.

In: sqlglot statements over the store's own columns, made through its `dialect`. Out: Arrow tables. What can
go wrong: HepcatError (the database is away, the right is missing, the time is over), in words for people.

`RemoteSearcher` (remote_searcher.py) is the one searcher over all of them: the database filters, orders,
counts and limits; what it found comes as records in hepcat's own columns, read again from the stored octets
(the SIP index of wire/sip.py), so that calls, ladders and exports are made by the same code as for the lake.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa
from sqlglot import exp

from hepcat.search.remote_dialect import RemoteDialect


class Remote(Protocol):
    """One opened store. Threads may share one."""

    @property
    def name(self) -> str:
        """The store's name in `stores` and `--store`."""

    @property
    def dialect(self) -> RemoteDialect:
        """What the query language is in its SQL."""

    def tables(self, table: str) -> Sequence[exp.Expression]:
        """Return the relations that hold a table of the schema (sip, rtcp, ...), none where there is none.

        Several where the store spreads it (`table_name = "a|b"`): the searcher asks for their union.
        """

    def run(self, statement: exp.Expression) -> pa.Table:
        """Run one SELECT; columns by the names selected. Whole numbers come as int64, text as string.

        What is selected as octets (a dialect's `call_key`) comes as string too, '?' for what is not UTF-8.
        """

    def records(
        self,
        condition: exp.Expression,
        order: Sequence[exp.Expression],
        limit: int | None,
        table: str = "sip",
    ) -> pa.Table:
        """Return records in the columns of batch/schema.py (the lake's Arrow schema of the table)."""

    def stream(
        self, condition: exp.Expression, order: Sequence[exp.Expression], table: str, rows: int
    ) -> Iterator[pa.Table]:
        """Yield such records in tables of about `rows` each, in order through all of them.

        Memory holds a few of these tables, however many there are.
        """

    def missing(self) -> Sequence[str]:
        """Say which parts of the store did not answer since this was last asked: shards, in words."""

    def close(self) -> None:
        """Close."""
