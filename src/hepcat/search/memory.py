"""Records in memory as a source of snapshots: what a store elsewhere found is searched as the lake is.

In: Arrow tables with the columns of batch/schema.py. Out: snapshots, each with its own DuckDB connection.
What can go wrong: KeyError for a table that is none.
"""

import contextlib
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa
from sqlglot import exp

from hepcat.batch.schema import TABLES
from hepcat.config.lake import LakeSettings
from hepcat.search.ast import Match, Test
from hepcat.search.compile import compile_query, sql_of
from hepcat.search.dialects import Dialect
from hepcat.stores.lake.arrow import arrow_schema


@functools.cache
def database() -> duckdb.DuckDBPyConnection:
    """Return the one database without tables that all of these share: another one takes long to make.

    Each user takes a cursor of it: what is registered there is seen there only.
    """
    connection = duckdb.connect(":memory:", config={"memory_limit": LakeSettings().query_memory})
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


class Memory:
    """Tables in memory; also the one snapshot of them that there is."""

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        """Hold these; tables that are not named are empty."""
        self._tables = {name: tables.get(name, arrow_schema(name).empty_table()) for name in TABLES}
        self.connection: duckdb.DuckDBPyConnection

    @contextlib.contextmanager
    def snapshot(
        self,
        since_us: int | None = None,
        until_us: int | None = None,
        holding: Mapping[str, Collection[str]] | None = None,
        tables: Collection[str] | None = None,
    ) -> Iterator["Opened"]:
        """Give a connection with a view a table, in UTC as the lake's."""
        with contextlib.closing(database().cursor()) as connection:
            for name in tables or self._tables:
                connection.register(name, self._tables[name])
            yield Opened(connection)


class Opened:
    """A snapshot."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection


class Local(Dialect):
    """The lake's dialect over records that were indexed again: no other store keeps column `extra`.

    A header that the lake would have there is read from the message's own line, as header.X is.
    """

    def extra(self, key: str) -> exp.Expression:
        """Return the header's value from its line; null where there is none."""
        return self.header_line(key)

    def header(self, key: str) -> exp.Expression:
        """Return the same."""
        return self.header_line(key)


def passing(column: str, test: Test, values: Sequence[str], dialect: Dialect) -> list[str]:
    """Return those of a few values that pass a test, letters in any case."""
    condition = compile_query(Match(column, test, fold=True), dialect)
    with contextlib.closing(database().cursor()) as connection:
        connection.register("few", pa.table({column: pa.array(values, pa.string())}))
        found = connection.sql(f'SELECT "{column}" FROM few WHERE {sql_of(condition, dialect)}')
        return [str(value) for (value,) in found.fetchall()]
