"""What is stored in an SQL database from now on, each record once: by the numbers of its rows.

In: an opened store. Out: Arrow tables, as they arrive. What can go wrong: HepcatError of the store.
"""

from typing import Final

import pyarrow as pa

from hepcat.search.sql_remote import SqlRemote
from hepcat.stores.lake.arrow import arrow_schema

#: How far behind the last number a row may still appear, at least.
_LATE: Final = 2_000
#: Transactions of as many rows as hepcat's that may be under way at once, with those of other writers; twice,
#: for MariaDB takes up to twice as many numbers for the rows of a statement as there are.
_AT_ONCE: Final = 4
#: Rows that are read at a time.
_ROWS: Final = 1_000


class SqlTail:
    """The end of a database's tables. What is there when it is made counts as seen.

    Numbers are given before a transaction ends: a row may appear behind one with a higher number. So the last
    numbers, of as many transactions as may be under way, are looked at again each time.
    """

    def __init__(self, remote: SqlRemote, table: str) -> None:
        """Note what there is now."""
        self.remote, self.table = remote, table
        settings = remote.settings
        self._late = max(_LATE, _AT_ONCE * settings.rows * settings.connections)
        self._seen: dict[str, set[int]] = {}
        self._last: dict[str, int] = {}
        for actual in remote.known(table):
            last = max(remote.numbers(actual, None), default=0)
            self._last[actual.name] = last
            self._seen[actual.name] = set(remote.numbers(actual, last - self._late))

    def poll(self) -> pa.Table:
        """Return what was stored since the last call, in order of arrival; may be empty."""
        parts = [arrow_schema(self.table).empty_table()]
        for actual in self.remote.known(self.table):
            seen, last = self._seen.get(actual.name, set()), self._last.get(actual.name, 0)
            there = self.remote.numbers(actual, last - self._late)
            new = sorted(set(there) - seen)
            for start in range(0, len(new), _ROWS):
                parts.append(self.remote.numbered(actual, new[start : start + _ROWS], self.table))
            last = max(last, *there) if there else last
            self._last[actual.name] = last
            self._seen[actual.name] = {number for number in there if number > last - self._late}
        return pa.concat_tables(parts)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> "SqlTail":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
