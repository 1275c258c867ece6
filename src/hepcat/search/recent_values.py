"""Values that a field of the query language had lately: for completion while somebody types.

In: a searcher, a field's name, the beginning of a value (letters in any case), a range of time. Out: distinct
values, of the newest messages the most frequent first, then older ones. What can go wrong: HepcatError for a
field that is none.

Cheap, not whole: so many of the newest messages are looked at. A field of several columns (user, domain, ip)
has the values of all of them; of a person those with a domain where an @ is typed. Times and words of the
message have no values here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import duckdb
from sqlglot import exp

from hepcat.search import fields as registry
from hepcat.search.ast import EVERYTHING
from hepcat.search.errors import UnknownName
from hepcat.search.fields import Field, Kind
from hepcat.search.remote_records import concat
from hepcat.search.searcher import Searcher
from hepcat.search.source import fresh
from hepcat.search.within import Times

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher

#: Ranges of time, the newest first, that are looked at: about 700,000 messages.
_WINDOWS: Final = 2
#: Records that are read of a store elsewhere.
_RECORDS: Final = 2_000
#: Nobody completes longer values.
_LONGEST: Final = 200
MOST: Final = 200


def values(
    searcher: "Searcher | RemoteSearcher",
    field: str,
    prefix: str = "",
    since: int | None = None,
    until: int | None = None,
    limit: int = 20,
) -> list[str]:
    """Return up to so many values."""
    limit = max(1, min(limit, MOST))
    expressions = _expressions(searcher, field, prefix)
    if not expressions or len(prefix) > _LONGEST:
        return []
    times = Times(since, until)
    if isinstance(searcher, Searcher):
        return _recent(searcher, expressions, prefix, times, limit)
    parts, rows = [], 0
    for page in searcher.matches.newest(EVERYTHING, times, "sip", _RECORDS):
        parts.append(page)
        rows += len(page)
        if rows >= _RECORDS:
            break
    return _recent(searcher.matches.local(concat(parts, "sip")), expressions, prefix, Times(), limit)


def _expressions(searcher: "Searcher | RemoteSearcher", name: str, prefix: str) -> list[str]:
    """Return the SQL of what the field's values are, over table sip."""
    kind, _, key = name.partition(".")
    if key and kind.lower() in registry.KEYED:
        dialect = searcher.dialect if isinstance(searcher, Searcher) else searcher.dialect.local
        return [(dialect.extra(key) if kind.lower() == "extra" else dialect.header(key)).sql("duckdb")]
    found = registry.find(name)
    if found is None:
        close = registry.suggest(name)
        hint = f"Did you mean {' or '.join(close)}?" if close else "docs/search.md lists the fields."
        raise UnknownName(f"there is no field {name!r}", hint)
    if found.kind in (Kind.TIME, Kind.PAYLOAD):
        return []
    if found.kind is Kind.PERSON and "@" in prefix:
        return _with_domain(found, alone=prefix.startswith("@"))
    return [f'"{column}"::VARCHAR' for column, _ in found.columns]


def _with_domain(field: Field, alone: bool) -> list[str]:
    """Return user@domain of a person, or @domain."""
    return [
        f"""{"''" if alone else f'"{user}"'} || '@' || "{domain}\""""
        for user, domain in field.columns
        if domain is not None
    ]


@fresh
def _recent(
    searcher: Searcher, expressions: Sequence[str], prefix: str, times: Times, limit: int
) -> list[str]:
    whole = any("payload" in expression for expression in expressions)
    found: dict[str, None] = {}
    with searcher._moment(times) as snapshot:
        con = snapshot.connection
        # A header is read from whole messages, which are a hundred times as much.
        windows = searcher._windows(snapshot, times)[: 1 if whole else _WINDOWS]
        for window in windows:
            # Those of newer messages may come again.
            rows = _frequent(searcher, con, expressions, prefix, window, limit + len(found))
            found |= dict.fromkeys(rows)
            if len(found) >= limit:
                break
    return list(found)[:limit]


def _frequent(
    searcher: Searcher,
    con: duckdb.DuckDBPyConnection,
    expressions: Sequence[str],
    prefix: str,
    times: Times,
    limit: int,
) -> list[str]:
    """Return the most frequent values in a time."""
    begins = ""
    if prefix:
        literal = exp.Literal.string(prefix).sql("duckdb")
        begins = f"starts_with(lower(value), lower({literal})) AND "
    each = " UNION ALL ".join(
        f"SELECT {value} AS value FROM sip WHERE {times.sql()}" for value in expressions
    )
    statement = (
        f"SELECT value FROM ({each}) WHERE {begins}value <> '' AND length(value) <= {_LONGEST} "
        f"GROUP BY value ORDER BY count(*) DESC, value LIMIT {int(limit)}"
    )
    rows: list[str] = searcher._run(con, statement)["value"].to_pylist()
    return rows
