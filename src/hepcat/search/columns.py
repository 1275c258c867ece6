"""Columns and orders of results as SQL.

In: names that a user gave. Out: select lists and ORDER BY. What can go wrong: HepcatError for a name that
is none, with those that come close.
"""

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from hepcat.batch.schema import columns_of
from hepcat.errors import HepcatError
from hepcat.search import fields as registry
from hepcat.search.calls import CALL_COLUMN, CALL_COLUMNS, DEFAULT_FIELDS
from hepcat.search.dialects import Dialect
from hepcat.search.errors import UnknownName


def newest_first(table: str) -> str:
    """Return ORDER BY of messages, the newest first."""
    return "ts DESC, status DESC NULLS LAST, call_id" if table == "sip" else "ts DESC"


def message_order(sort: str | None, table: str) -> str | None:
    """Return ORDER BY of a column's name, None for newest first."""
    if sort is None or sort in ("-ts", "-start"):
        return None
    name, descending = sort.lstrip("-"), sort.startswith("-")
    column = _column_named("ts" if name == "start" else name, table)
    tail = (
        f", {newest_first(table)}"
        if column != "ts"
        else ", status NULLS FIRST, call_id"
        if table == "sip"
        else ""
    )
    return f'"{column}" {"DESC" if descending else "ASC"} NULLS LAST{tail}'


def _column_named(name: str, table: str) -> str:
    names = [column.name for column in columns_of(table)]
    if name in names:
        return name
    field = registry.find(name, table)
    if field is not None and len(field.columns) == 1 and field.columns[0][0] in names:
        return field.columns[0][0]
    raise unknown_field(name, names, f"messages of table {table}")


def message_columns(fields: Sequence[str] | None, table: str, dialect: Dialect) -> str:
    """Return the select list: columns by name or alias, and extra.X or header.X."""
    if fields is None:
        return ", ".join(f'"{column.name}"' for column in columns_of(table))
    _some(fields)
    parts: list[str] = []
    for name in fields:
        prefix, _, key = name.partition(".")
        if key and prefix in registry.KEYED and table == "sip":
            value = dialect.extra(key) if prefix == "extra" else dialect.header(key)
            parts.append(exp.alias_(value, name, quoted=True).sql(dialect.name))
        else:
            parts.append(f'"{_column_named(name, table)}"')
    return ", ".join(parts)


def _some(fields: Sequence[str]) -> None:
    if not fields:
        raise HepcatError(
            "no column is named", "Name columns with commas between them, or leave --fields out."
        )


#: Headings that take less room than the column's name; what is read in a table may be typed.
HEADING: Final[dict[str, str]] = {
    "post_dial_delay": "pdd",
    "ring_time": "ring",
    "talk_time": "talk",
    "messages": "msgs",
}
_OF_HEADING: Final = {heading: column for column, heading in HEADING.items()}


def call_fields(fields: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns of calls to show. Raises HepcatError for a name that is none."""
    if fields is None:
        return DEFAULT_FIELDS
    _some(fields)
    fields = [_OF_HEADING.get(name, name) for name in fields]
    for name in fields:
        if name not in CALL_COLUMN:
            raise unknown_field(name, [column.name for column in CALL_COLUMNS], "calls")
    return tuple(dict.fromkeys(fields))


def call_sort(sort: str | None) -> tuple[str, bool]:
    """Return (column, descending) of `-start` or `start`; the default is newest first."""
    if sort is None:
        return "start", True
    name = sort.lstrip("-")
    name = "start" if name == "ts" else _OF_HEADING.get(name, name)
    if name not in CALL_COLUMN:
        raise unknown_field(name, [column.name for column in CALL_COLUMNS], "calls")
    return name, sort.startswith("-")


def unknown_field(name: str, known: Sequence[str], what: str) -> UnknownName:
    """Make the error for a column that there is not."""
    import difflib

    close = difflib.get_close_matches(name, known, n=3)
    guess = f"; did you mean {' or '.join(close)}?" if close else ""
    return UnknownName(f"{what} have no column {name!r}{guess}", f"There are: {', '.join(known)}.")


def call_order(column: str, descending: bool) -> str:
    """Return ORDER BY of a column of calls; ties are broken by start, then Call-ID."""
    tail = "" if column == "start" else ", start DESC"
    return f'"{column}" {"DESC" if descending else "ASC"} NULLS LAST{tail}, call_id'


def view_of(table: str) -> str:
    """Return the view of a table; KeyError for one that is none."""
    columns_of(table)
    return table
