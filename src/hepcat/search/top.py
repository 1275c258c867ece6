"""Top lists: which values are the most frequent among what matches.

In: a searcher, the name of a list (`BY`), a query, a range of time. Out: values with their numbers, and how
many there are besides. What can go wrong: QueryError; HepcatError for a name that is none, and where a store
would have to read too many messages to count them.

Messages are counted by their own value, calls by that of their row (calls.py). Those without a value count
nowhere. Of as many, the value that sorts first comes first. Stores elsewhere count by what their column has:
the classic table cuts values to the column's width.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa
from sqlglot import exp

from hepcat.errors import HepcatError
from hepcat.search.ast import EVERYTHING, Exists, Match, Node, required
from hepcat.search.calls import calls_sql
from hepcat.search.errors import UnknownName
from hepcat.search.remote_dialect import both, bounds, named_as
from hepcat.search.remote_records import concat
from hepcat.search.searcher import AROUND, INDEXED, Searcher
from hepcat.search.source import fresh
from hepcat.search.within import Times

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher

Of = Literal["messages", "calls"]

#: Messages that are read of a store elsewhere, where its database cannot count them.
MOST_READ: Final = 100_000
_ADDRESSES: Final = {"src_ip": "source_ip", "dst_ip": "destination_ip"}
#: Rows of a list at most.
MOST_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class By:
    """A list. `messages`: SQL over table sip; `calls`: over the columns that it names of calls.

    columns: what `messages` is made of, in a store that can count by it.
    """

    name: str
    doc: str
    messages: str | None
    calls: str | None
    needs: tuple[str, ...] = ()
    column: str | None = None


def _same(name: str, doc: str, column: str | None = None, calls: bool = True) -> By:
    """A list by one column, which calls have under the same name."""
    column = column or name
    return By(name, doc, column, column if calls else None, (column,), column)


def _address(name: str, doc: str, column: str) -> By:
    """A list by an address; calls have it with its port: the last colon and what follows is left out."""
    of_calls = rf"regexp_replace(regexp_replace({name}, ':[0-9]+$', ''), '^\[(.*)\]$', '\1')"
    return By(name, doc, column, of_calls, (name,), column)


_NODE: Final = "coalesce(nullif(node_name, ''), node_id::VARCHAR)"

BY: Final[tuple[By, ...]] = (
    _same("method", "method of the CSeq; of a call its own"),
    _same("status", "status code of responses; of a call what decided it"),
    By("reason_phrase", "reason phrase", "reason_phrase", "phrase", ("phrase",), "reason_phrase"),
    By("state", "state of calls", None, "state", ("state",)),
    _same("user_agent", "User-Agent, or Server in a response; of a call that of its first request"),
    _address("source", "address it came from; of a call that of its first request", "src_ip"),
    _address("destination", "address it went to; of a call that of its first request", "dst_ip"),
    By(
        "node", "capture agent: its name, else its id",
        _NODE, _NODE,
        ("node_name", "node_id"),
    ),
    _same("transport", "transport"),
    _same("from_user", "user of From"),
    _same("from_domain", "domain of From"),
    _same("to_user", "user of To"),
    _same("to_domain", "domain of To"),
    _same("ruri_user", "user of the Request-URI"),
    _same("ruri_domain", "domain of the Request-URI"),
    _same("content_type", "type of the body", calls=False),
    _same("malformed", "what is wrong with malformed messages", calls=False),
    _same("reason", "Reason header (RFC 3326)"),
)  # fmt: skip
_BY: Final = {by.name: by for by in BY}


@dataclass(frozen=True, slots=True)
class Top:
    """rows: (value, count), the most frequent first. total: all with a value; other: those not in rows."""

    by: str
    rows: tuple[tuple[str | int, int], ...]
    total: int
    other: int


def top(
    searcher: "Searcher | RemoteSearcher",
    by: str,
    query: str | Node = "",
    since: int | None = None,
    until: int | None = None,
    limit: int = 10,
    of: Of = "messages",
) -> Top:
    """Return a list."""
    known = _BY.get(by)
    if known is None:
        raise UnknownName(f"there is no list by {by!r}", f"There are: {', '.join(_BY)}.")
    if (known.messages if of == "messages" else known.calls) is None:
        raise UnknownName(f"there is no list of {of} by {by}", f"Ask for {by} of {_other(of)}.")
    limit = max(1, min(limit, MOST_ROWS))
    node = searcher.parse(query) if isinstance(query, str) else query
    times = Times(since, until).within(node)
    if isinstance(searcher, Searcher):
        return _of_lake(searcher, known, node, times, limit, of)
    return _of_remote(searcher, known, node, times, limit, of)


def _other(of: Of) -> Of:
    return "calls" if of == "messages" else "messages"


@fresh
def _of_lake(searcher: Searcher, by: By, node: Node, times: Times, limit: int, of: Of) -> Top:
    span = times if of == "messages" else None
    with searcher._snapshot(span or times.widened(AROUND), holding=_holding(node, of)) as con:
        if of == "messages":
            values = f"SELECT {by.messages} AS value FROM sip WHERE {searcher._where(node, times)}"
        else:
            calls = calls_sql(searcher._matching_calls(node, times), by.needs)
            values = f"SELECT {by.calls} AS value FROM ({calls})"
        found = searcher._run(
            con,
            "SELECT value, n, sum(n) OVER ()::BIGINT AS total FROM (SELECT value, count(*) AS n FROM "
            f"({values}) WHERE value IS NOT NULL GROUP BY value) ORDER BY n DESC, value LIMIT {int(limit)}",
        )
    return _top(by, found, found["total"][0].as_py() if len(found) else 0)


def _holding(node: Node, of: Of) -> dict[str, list[str]]:
    """Return what each record has that counts; of a call also others count than those that match."""
    return required(node, INDEXED if of == "messages" else frozenset({"call_id"}))


def _top(by: By, found: pa.Table, total: int) -> Top:
    rows = tuple(zip(found["value"].to_pylist(), found["n"].to_pylist(), strict=True))
    return Top(by.name, rows, total, total - sum(n for _, n in rows))


# -- stores elsewhere


def _of_remote(searcher: "RemoteSearcher", by: By, node: Node, times: Times, limit: int, of: Of) -> Top:
    """Let the database count where it has the column; else read what there is, if it is little."""
    value = _column_of(searcher, by) if of == "messages" else None
    if value is not None:
        condition = searcher.matches.settled(node, times)
        if condition is not None:
            return _counted(searcher, by, value, condition, times, limit)
    if of == "calls":
        ids = searcher._call_ids(node, times)
        if len(ids) > MOST_READ // 10:
            raise _too_many(searcher, by, of)
        whole = searcher.matches.of_calls(ids, times.widened(AROUND))
        return _of_lake(searcher.matches.local(whole), by, EVERYTHING, Times(), limit, of)
    parts: list[pa.Table] = []
    rows = 0
    for page in searcher.matches.matching(node, times):
        parts.append(page)
        rows += len(page)
        if rows > MOST_READ:
            raise _too_many(searcher, by, of)
    return _of_lake(searcher.matches.local(concat(parts, "sip")), by, EVERYTHING, Times(), limit, of)


def _too_many(searcher: "RemoteSearcher", by: By, of: Of) -> HepcatError:
    return HepcatError(
        f"store {searcher.remote.name} cannot count {of} by {by.name} itself, and too many match to be read",
        "Narrow the time or the query.",
    )


def _column_of(searcher: "RemoteSearcher", by: By) -> tuple[exp.Expression, exp.Expression] | None:
    """Return the store's own value, and "there is one"; None: it has no such column."""
    from hepcat.search.dialects_classic import TEXTS, ClassicDialect

    dialect = searcher.dialect
    if by.name == "status":
        value = dialect.status()
        return value, exp.NEQ(this=value.copy(), expression=exp.Literal.number(0))
    if isinstance(dialect, ClassicDialect):
        name = {**TEXTS, **_ADDRESSES}.get(by.column or "")
        # Octets: a collation may take different values for equal.
        return None if name is None else (dialect.octets(dialect.col(name)), dialect.filled(name))
    if by.column is None:
        return None
    return dialect.column(by.column), bounds(Match(by.column, Exists()), dialect).sure


def _counted(
    searcher: "RemoteSearcher",
    by: By,
    column: tuple[exp.Expression, exp.Expression],
    condition: exp.Expression,
    times: Times,
    limit: int,
) -> Top:
    value, filled = column
    count = exp.Count(this=exp.Star())
    where = both(condition, searcher.dialect.times(times), filled)
    order = [exp.Ordered(this=count.copy(), desc=True), exp.Ordered(this=value.copy())]
    found = searcher.matches.run(named_as(value=value, n=count), where, [value], order, limit)
    total = searcher.matches.run(named_as(n=count), where)["n"].to_pylist()
    return _top(by, found, sum(total))
