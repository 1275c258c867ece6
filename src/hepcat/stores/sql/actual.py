"""A table as it is in the database, compared with the classic one.

In: a connection and a name. Out: `Actual`: which columns and indexes it lacks, what stands in the way of
writing. What can go wrong: SQLAlchemy's errors. Nothing is changed.
"""

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from hepcat.stores.classic import schema
from hepcat.stores.sql import odbc
from hepcat.stores.sql.names import classic_of


@dataclass(slots=True)
class Actual:
    """What a table lacks. msg_width: characters or octets that `msg` takes, None: any message."""

    missing: list[schema.Column] = field(default_factory=list)
    #: columns with an index in the classic table that have none here
    unindexed: list[str] = field(default_factory=list)
    #: columns that nobody fills, without a default: name -> the value that can be its default
    unfilled: dict[str, str | int | None] = field(default_factory=dict)
    #: column -> width, of text columns that are narrower than in the classic table
    narrow: dict[str, int] = field(default_factory=dict)
    msg_width: int | None = None
    engine: str = ""


def is_there(connection: sa.Connection, table: str) -> bool:
    """Whether there is a table (or a view) of that name."""
    try:
        return sa.inspect(connection).has_table(table)
    except NotImplementedError:  # an engine behind ODBC that SQLAlchemy does not know
        return bool(odbc.columns_of(_raw(connection), table))


def table_names(connection: sa.Connection) -> set[str]:
    """Return the tables that are there."""
    try:
        return set(sa.inspect(connection).get_table_names())
    except NotImplementedError:
        return {str(row[2]) for row in _raw(connection).cursor().tables(tableType="TABLE").fetchall()}


def look(connection: sa.Connection, table: str) -> Actual:
    """Read a table that is there."""
    classic = classic_of(table)
    inspector = sa.inspect(connection)
    try:
        columns: list[Any] = list(inspector.get_columns(table))
    except NotImplementedError:
        known = {name.lower() for name in odbc.columns_of(_raw(connection), table)}
        return Actual(missing=[column for column in classic.columns if column.name not in known])
    by_name = {str(column["name"]).lower(): column for column in columns}
    actual = Actual(missing=[column for column in classic.columns if column.name not in by_name])
    for column in classic.columns:
        width = None
        if column.name in by_name and connection.dialect.name != "sqlite":  # keeps what it is given
            width = width_of(by_name[column.name]["type"])
        if column.name == "msg":
            actual.msg_width = width
        elif column.kind == "text" and width is not None and width < (column.width or 0):
            actual.narrow[column.name] = width
    for name, found in by_name.items():
        if name != "id" and classic.column(name) is None and needs_value(found):
            actual.unfilled[name] = default_for(found["type"])
    actual.unindexed = _unindexed(inspector, table, classic, by_name)
    options: dict[str, Any] = {}
    if connection.dialect.name in ("mysql", "mariadb"):
        options = dict(inspector.get_table_options(table))
    actual.engine = str(options.get("mysql_engine") or options.get("mariadb_engine") or "")
    return actual


def width_of(found: sa.types.TypeEngine[Any]) -> int | None:
    """Return how much a text column takes; None: any message."""
    if isinstance(found, mysql.TINYTEXT | mysql.TINYBLOB):
        return 255
    if isinstance(found, sa.Text | sa.LargeBinary):
        return None  # TEXT and BLOB of MariaDB: 65,535 octets, the longest message
    length = getattr(found, "length", None)
    return None if length is None or length >= schema.MSG_WIDTH else int(length)


def needs_value(column: Any) -> bool:
    """Whether an INSERT that does not name the column is refused."""
    counts = column.get("autoincrement") is True or column.get("identity") or column.get("computed")
    return not column["nullable"] and column.get("default") is None and not counts


def default_for(found: sa.types.TypeEngine[Any]) -> str | int | None:
    """Return a default in the manner of the classic tables; None: there is none for the type."""
    if isinstance(found, sa.Integer | sa.Numeric):
        return 0
    return "" if isinstance(found, sa.String) and not isinstance(found, sa.Text) else None


def _unindexed(
    inspector: sa.Inspector, table: str, classic: schema.Table, there: dict[str, Any]
) -> list[str]:
    try:
        first = {str((index["column_names"] or [""])[0]).lower() for index in inspector.get_indexes(table)}
        key = inspector.get_pk_constraint(table)["constrained_columns"]
    except NotImplementedError:
        return []
    first.add(str(key[0]).lower() if key else "")
    # A column that is missing will get its index together with itself.
    return [column for column in classic.indexes if column not in first]


def _raw(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection
