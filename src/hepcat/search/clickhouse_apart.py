"""A SELECT over all shards, asked of each shard by itself: where the servers would wait for one that hangs.

In: a statement over the tables that span all shards. Out: the statement for one shard's own tables
(`of_shard`), and one table of what the shards found (`joined`). What can go wrong: nothing; `joined` is what
one statement over these shards would have found, but for a list of the most frequent values that has a limit:
it is made of the _MOST most frequent of each shard.

All of a call is on one shard: what is grouped by Call-ID, or counts different ones, needs only to be added.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from hepcat.batch.schema import TABLES
from hepcat.search.memory import database

#: Groups that a shard returns at least where the statement has a limit and the groups are not its alone.
_MOST: Final = 100_000
#: Aggregate -> what puts its parts together.
_AGGREGATES: Final[dict[type[exp.Expression], str]] = {
    exp.Count: "sum",
    exp.Sum: "sum",
    exp.Min: "min",
    exp.Max: "max",
}
_ROWS: Final = "the_rows"


@dataclass(frozen=True, slots=True)
class Apart:
    """A statement for one shard, and how to put together what the shards found. SQL in DuckDB's words."""

    of_shard: exp.Select
    joining: str

    def joined(self, parts: Sequence[pa.Table]) -> pa.Table:
        """Return one table of what the shards found."""
        with contextlib.closing(database().cursor()) as con:
            con.register("parts", pa.concat_tables(parts))
            return con.sql(self.joining).to_arrow_table()


def local(statement: exp.Expression, stored: Callable[[str], tuple[str, str]]) -> exp.Expression:
    """Return the statement over a shard's own tables. stored: their database and name, by the table's."""
    copy = statement.copy()
    for table in list(copy.find_all(exp.Table)):
        if table.name in TABLES:
            base, name = stored(table.name)
            table.set("db", exp.to_identifier(base, quoted=True))
            table.set("this", exp.to_identifier(name, quoted=True))
    return copy


def apart(statement: exp.Expression, key: exp.Expression, stored: Callable[[str], tuple[str, str]]) -> Apart:
    """Take a statement apart. key: what tells calls from each other."""
    made = local(statement, stored)
    assert isinstance(made, exp.Select)
    names = [column.alias_or_name for column in made.selects]
    values: dict[str, Any] = {column.alias_or_name: column.unalias() for column in made.selects}
    group = made.args.get("group")
    order = _order(made, values)
    limit = made.args.get("limit")
    grouped = group is not None or any(type(value) in _AGGREGATES for value in values.values())
    if grouped and group is None:
        # Of no rows, old servers say that the least is 0.
        values[_ROWS] = exp.Count(this=exp.Star())
    made.set("expressions", [exp.alias_(value.copy(), name, quoted=True) for name, value in values.items()])
    if limit is not None and group is not None and key not in group.expressions:
        made = made.limit(max(_MOST, int(limit.expression.name)))
    columns = ", ".join(_together(name, values[name]) if grouped else _quoted(name) for name in names)
    joining = f"SELECT {columns} FROM parts"
    if grouped and group is None:
        joining += f" WHERE {_ROWS} > 0 OR (SELECT sum({_ROWS}) FROM parts) = 0"
    elif grouped:
        keys = [_quoted(name) for name, value in values.items() if type(value) not in _AGGREGATES]
        joining += f" GROUP BY {', '.join(keys)}"
    if order:
        sides = (
            f"{_plain(name, values[name], grouped)}{' DESC' if descending else ''}"
            for name, descending in order
        )
        joining += f" ORDER BY {', '.join(sides)}"
    return Apart(made, joining if limit is None else f"{joining} LIMIT {int(limit.expression.name)}")


def _order(statement: exp.Select, values: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return the columns to order by, and which way; what is not selected is added to the values."""
    found: list[tuple[str, bool]] = []
    order = statement.args.get("order")
    for i, ordered in enumerate(order.expressions if order is not None else ()):
        value = ordered.this
        name = next((name for name, known in values.items() if known == value), None)
        if name is None:
            name = f"the_order_{i}"
            values[name] = value
        found.append((name, bool(ordered.args.get("desc"))))
    return found


def _quoted(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect="duckdb")


def _plain(name: str, value: exp.Expression, grouped: bool) -> str:
    """Return what makes one column of the parts'."""
    how = _AGGREGATES.get(type(value)) if grouped else None
    if how is None:
        return _quoted(name)
    whole = f"{how}({_quoted(name)})"
    return f"{whole}::BIGINT" if how == "sum" else whole


def _together(name: str, value: exp.Expression) -> str:
    return f"{_plain(name, value, True)} AS {_quoted(name)}"


# -- records


def in_order(parts: Sequence[pa.Table], descending: bool | None, limit: int | None) -> pa.Table:
    """Return records of several shards by time; None: in no order. Those of one shard stay as they are."""
    whole = pa.concat_tables(parts)
    if descending is not None and len(whole):
        at = whole["ts"].cast(pa.int64())
        whole = whole.take(pc.sort_indices(pc.negate(at) if descending else at))
    return whole.slice(0, limit)


def merged(streams: Sequence[Iterator[pa.Table]], descending: bool) -> Iterator[pa.Table]:
    """Yield the records of several streams, each of them by time, by time through all of them."""
    full = [filter(len, stream) for stream in streams]
    heads = {i: head for i, stream in enumerate(full) if (head := next(stream, None)) is not None}
    while heads:
        # What comes later in a stream is not before the end of its head: up to the first of these ends all is
        # there.
        ends = [head["ts"][-1].cast(pa.int64()).as_py() for head in heads.values()]
        cut = max(ends) if descending else min(ends)
        ready: list[pa.Table] = []
        for i, head in list(heads.items()):
            at = head["ts"].cast(pa.int64())
            now = pc.greater_equal(at, cut) if descending else pc.less_equal(at, cut)
            rows = pc.sum(now).as_py() or 0
            ready.append(head.slice(0, rows))
            if rows < len(head):
                heads[i] = head.slice(rows)
                continue
            following = next(full[i], None)
            if following is None:
                del heads[i]
            else:
                heads[i] = following
        yield in_order(ready, descending, None)
