"""The actual tables: which of the classic columns a table has, how wide, and which characters they hold.

In: a connection, a table's name. Out: an `ActualTable`, or None where there is no such table. So a table
made by the original script, by an older one or by hand is used as it is. What can go wrong: the drivers'
errors, and HepcatError for a table that cannot take the rows (none of the columns, a character set that is
not read here).
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from hepcat.errors import HepcatError
from hepcat.stores.classic import schema
from hepcat.stores.classic.plan import Cell, Charset
from hepcat.stores.sql import odbc
from hepcat.stores.sql.ddl import is_mysql
from hepcat.stores.sql.names import classic_of

#: Character sets of MariaDB and MySQL that are no superset of ASCII: their octets would not be text at all.
_FOREIGN: Final = frozenset({"ucs2", "utf16", "utf16le", "utf32"})
#: Sets of more than one octet where a letter's second octet can be a backslash or a quote.
_DOUBLE: Final = frozenset({"big5", "cp932", "gbk", "gb18030", "sjis"})
_UTF8: Final = {"utf8": Charset.UTF8MB3, "utf8mb3": Charset.UTF8MB3, "utf8mb4": Charset.UTF8MB4}
_OCTETS: Final = ("blob", "binary", "bytea", "image", "raw")

_CATALOG: Final = sa.table(
    "columns",
    *(
        sa.column(name)
        for name in (
            "table_schema",
            "table_name",
            "column_name",
            "data_type",
            "character_maximum_length",
            "character_octet_length",
            "character_set_name",
            "ordinal_position",
        )
    ),
    schema="information_schema",
)


@dataclass(frozen=True)
class ActualTable:
    """A table that is there. quoted, columns: for statements. utc: its dates are instants, written as UTC."""

    name: str
    classic: schema.Table
    quoted: str
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    utc: bool

    @property
    def column_list(self) -> str:
        """The columns, quoted, with commas between."""
        return ", ".join(self.columns)


@dataclass(frozen=True)
class _Found:
    """A column of the catalog."""

    name: str
    type: str
    width: int | None
    charset: Charset
    instant: bool = False


def reflect(connection: sa.Connection, name: str) -> ActualTable | None:
    """Look at a table. Ends no transaction."""
    dialect = connection.dialect
    found = _look(connection, name)
    if not found:
        return None
    classic = classic_of(name)
    by_name = {column.name.lower(): column for column in found}
    cells, columns, utc = [], [], False
    quote = dialect.identifier_preparer.quote
    for column in classic.columns:
        actual = by_name.get(column.name)
        if actual is not None:
            cells.append(Cell(column, actual.width, actual.charset))
            columns.append(quote(actual.name))
            utc = utc or (column.kind == "timestamp" and actual.instant)
    if not cells:
        raise HepcatError(
            f"table {name} has none of the columns of {classic.name}",
            "Name another table, or make it with `hepcat db create --store NAME`.",
        )
    return ActualTable(name, classic, quote(name), tuple(columns), tuple(cells), utc)


def _look(connection: sa.Connection, name: str) -> list[_Found]:
    dialect = connection.dialect
    if is_mysql(dialect):
        return _mysql(connection, name)
    if dialect.name == "postgresql" or dialect.name == "sqlite":
        inspector = sa.inspect(connection)
        if not inspector.has_table(name):
            return []
        columns = inspector.get_columns(name)
        if dialect.name == "sqlite":
            return [_sqlite(column, dialect.driver) for column in columns]
        return [_postgres(column) for column in columns]
    raw = odbc.columns_of(connection.connection.dbapi_connection, name)
    return [_odbc(column, kind, width) for column, (kind, width) in raw.items()]


def _mysql(connection: sa.Connection, name: str) -> list[_Found]:
    c = _CATALOG.c
    rows = connection.execute(
        sa.select(
            c.column_name,
            c.data_type,
            c.character_maximum_length,
            c.character_octet_length,
            c.character_set_name,
        )
        .where(c.table_schema == sa.func.database(), c.table_name == name)
        .order_by(c.ordinal_position)
    )
    return [_mysql_column(name, *row) for row in rows]


def _mysql_column(
    table: str, name: str, kind: str, width: int | None, octets: int | None, charset: str | None
) -> _Found:
    if charset in _FOREIGN | _DOUBLE:
        raise HepcatError(
            f"column {name} of table {table} has the character set {charset}, which is not supported",
            f"Convert it: ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4",
        )
    kind = kind.lower()
    held = _UTF8.get(charset or "", Charset.OCTETS if charset is None else Charset.LATIN1)
    if kind == "tinytext":  # the catalog counts octets there
        width = int(octets or 255) // 4
    elif kind in ("text", "mediumtext", "longtext", "blob", "mediumblob", "longblob"):
        width = None  # no message is longer than 65,535 octets
    return _Found(name, kind, None if width is None else int(width), held, kind == "timestamp")


def _postgres(column: Any) -> _Found:
    kind = column["type"]
    if isinstance(kind, sa.types.LargeBinary):
        return _Found(column["name"], "bytea", None, Charset.BYTEA)
    instant = isinstance(kind, sa.types.DateTime) and bool(kind.timezone)
    return _Found(column["name"], str(kind), getattr(kind, "length", None), Charset.NO_NUL, instant)


def _sqlite(column: Any, driver: str) -> _Found:
    """SQLite keeps what it is given, whatever width was declared. Its ODBC driver ends text at a NUL."""
    if isinstance(column["type"], sa.types.LargeBinary):
        return _Found(column["name"], "blob", None, Charset.OCTETS)
    return _Found(column["name"], "text", None, Charset.NO_NUL if driver == "pyodbc" else Charset.UTF8MB4)


def _odbc(name: str, kind: str, width: int | None) -> _Found:
    if any(word in kind for word in _OCTETS):
        return _Found(name, kind, width, Charset.OCTETS)
    return _Found(name, kind, width if "char" in kind else None, Charset.NO_NUL)
