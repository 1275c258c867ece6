"""Rows of calls from messages at hand: the statement that makes them is planned once, not for each search.

In: the messages of some calls, as Arrow; the columns of calls that are shown and their order. Out: the rows.
What can go wrong: duckdb.Error as for any statement; HepcatError from who runs it.

Of a page of calls DuckDB makes the rows in 5 ms, and needs 15 to plan how: a call is told by some thirty
aggregates. So the statement is prepared on a table of its own, which is filled and emptied for each search.
"""

import threading
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa

from hepcat.search.calls import calls_sql
from hepcat.search.columns import call_order

#: Messages at most: with more of them planning is little of the work.
FEW_MESSAGES: Final = 20_000
#: Statements that are kept at most.
_AT_MOST: Final = 32


@dataclass(frozen=True, slots=True)
class Shown:
    """Columns of calls, and the column that they are in order of."""

    names: tuple[str, ...]
    column: str
    descending: bool

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns of calls that have to be made."""
        return tuple(dict.fromkeys((*self.names, self.column, "start", "call_id")))

    def sql(self, relation: str) -> str:
        """Return the statement on a relation of messages."""
        chosen = ", ".join(f'"{name}"' for name in self.names)
        order = call_order(self.column, self.descending)
        return f"SELECT {chosen} FROM ({calls_sql(relation, self.needed)}) ORDER BY {order}"


class Planned:
    """Statements that wait for messages. Threads may share one."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._database: duckdb.DuckDBPyConnection | None = None
        self._idle: dict[Shown, list[duckdb.DuckDBPyConnection]] = {}

    def rows(self, messages: pa.Table, shown: Shown) -> pa.Table:
        """Return the rows of the calls of these messages, which always have the same columns."""
        with self._mutex:
            idle = self._idle.pop(shown, [])
            self._idle[shown] = idle  # those that nobody asks for stand in front
            connection = idle.pop() if idle else None
        connection = connection or self._plan(messages, shown)
        connection.register("_new", messages)
        connection.execute("INSERT INTO messages SELECT * FROM _new")
        rows: Any = connection.sql("EXECUTE calls")
        found: pa.Table = rows.to_arrow_table()
        connection.unregister("_new")
        connection.execute("TRUNCATE messages")
        with self._mutex:
            self._idle.setdefault(shown, []).append(connection)
            while sum(map(len, self._idle.values())) > _AT_MOST:
                first = next(iter(self._idle))
                if self._idle[first]:
                    self._idle[first].pop()
                else:
                    del self._idle[first]
        return found

    def _plan(self, messages: pa.Table, shown: Shown) -> duckdb.DuckDBPyConnection:
        with self._mutex:
            if self._database is None:
                self._database = duckdb.connect(":memory:", config={"threads": "1"})
                self._database.execute("SET GLOBAL TimeZone = 'UTC'")
            connection = self._database.cursor()
        connection.register("_new", messages)
        connection.execute("CREATE TEMP TABLE messages AS SELECT * FROM _new LIMIT 0")
        connection.execute(f"PREPARE calls AS {shown.sql('messages')}")
        return connection
