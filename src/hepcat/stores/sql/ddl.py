"""The classic tables as SQL: CREATE TABLE for MariaDB and MySQL, PostgreSQL, SQLite, and any other.

In: the table of columns (classic/schema.py), a name, days. Out: SQLAlchemy tables and their statements. What
can go wrong: SQLAlchemy's errors, for engine.explain.

Types, widths, defaults and indexes are the original's. Where a table of ours differs:
- `msg` takes any message of any octets: MEDIUMBLOB, BYTEA, BLOB. Kamailio's module sends it as a blob, so
  that it writes into such a table as well. (Into a text column of PostgreSQL it writes hexadecimal digits.)
- MariaDB's character set is utf8mb4, where the original has utf8 of three octets: the longest column with an
  index is 120 characters, 480 octets, and the prefix of 255 of correlation_id is 1,020; an index of a
  compressed table takes 3,072, and 1,536 where the server's pages are 8 KiB. The collation is the original's,
  general_ci: people's tools compare names without case.
- PostgreSQL and SQLite have all columns of MariaDB's table; the original's script for PostgreSQL lacks some.

Partitions are days, named p20260131. In MariaDB a day is UTC's: `date` is an instant there (timestamp), and
the bounds are seconds since the epoch, so that servers in several time zones agree on them, and a day on
which the clocks change is none of another length. In PostgreSQL `date` is what the clock on the wall says
where the message was captured (timestamp without time zone, as in the original), so a day there is local.

"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ColumnCollectionConstraint, CreateIndex, CreateTable
from sqlalchemy.sql.compiler import DDLCompiler

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.admin import Tell
from hepcat.stores.classic import schema
from hepcat.stores.sql.names import Name, classic_of, sip_names

#: The catch-all: rows of days that have no partition yet.
CATCH_ALL: Final = "pmax"
#: MariaDB: characters of an index on a column wider than this.
_PREFIX: Final = 255
_MYSQL_OPTIONS: Final = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_general_ci",
    "mysql_row_format": "COMPRESSED",
    "mysql_key_block_size": "8",
}
_DAY: Final = dt.timedelta(days=1)


class InlineKey(ColumnCollectionConstraint):
    """MariaDB's KEY within CREATE TABLE: the table and its indexes appear at once, or not at all."""

    __visit_name__ = "inline_key"

    def __init__(self, name: str, column: str, length: int | None) -> None:
        super().__init__(column, name=name)
        self.length = length


@compiles(InlineKey, "mysql", "mariadb")
def _compile_key(element: InlineKey, compiler: DDLCompiler, **_: Any) -> str:
    quote = compiler.preparer.quote
    (column,) = element.columns
    length = f"({element.length})" if element.length else ""
    return f"KEY {quote(str(element.name))} ({quote(column.name)}{length})"


def is_mysql(dialect: sa.Dialect) -> bool:
    """MariaDB or MySQL, by whatever driver."""
    return dialect.name in ("mysql", "mariadb")


def is_postgres(dialect: sa.Dialect) -> bool:
    """PostgreSQL, by whatever driver."""
    return dialect.name == "postgresql"


def takes_if_not_exists(dialect: sa.Dialect) -> bool:
    """Whether CREATE takes IF NOT EXISTS there."""
    return is_mysql(dialect) or is_postgres(dialect) or dialect.name == "sqlite"


def partitioned(dialect: sa.Dialect) -> bool:
    """Whether the tables that we make there have partitions."""
    return is_mysql(dialect) or is_postgres(dialect)


def type_of(column: schema.Column, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
    """Return a column's type in a table of ours."""
    if column.kind == "text":
        return sa.String(column.width)
    if column.kind == "int":
        return sa.Integer()
    if column.kind == "bigint":
        return sa.BigInteger()
    if column.kind == "timestamp":
        return sa.TIMESTAMP(timezone=False)
    if is_mysql(dialect):
        return mysql.MEDIUMBLOB()
    return postgresql.BYTEA() if is_postgres(dialect) else sa.LargeBinary()


def column_of(column: schema.Column, dialect: sa.Dialect) -> sa.Column[Any]:
    """Return a column of a table of ours, with its default."""
    default: Any = None
    if column.kind == "timestamp":
        default = sa.text("CURRENT_TIMESTAMP")
    elif column.kind != "octets" and not column.nullable:  # MySQL has no defaults of blobs
        default = sa.text("''" if column.kind == "text" else "0")
    return sa.Column(column.name, type_of(column, dialect), nullable=column.nullable, server_default=default)


def index_name(table: str, column: str, dialect: sa.Dialect) -> str:
    """Return an index's name as the original's scripts name it."""
    if is_mysql(dialect):
        return column if column != "correlation_id" else "correlationid"
    return f"{table}_{column}_idx"


def prefix_of(table: str, column: str) -> int | None:
    """Return of how many characters MariaDB's index is, None: of all."""
    found = classic_of(table).column(column)
    return _PREFIX if found is not None and (found.width or 0) > _PREFIX else None


def build(name: str, dialect: sa.Dialect, days: Sequence[dt.date] = ()) -> sa.Table:
    """Return a table of ours. days: its first partitions where the engine has them; none: no partitions."""
    classic = classic_of(name)
    split = bool(days) and partitioned(dialect)
    options: dict[str, Any] = dict(_MYSQL_OPTIONS) if is_mysql(dialect) else {}
    if split and is_mysql(dialect):
        options["mysql_partition_by"] = mysql_partitions(days)
    elif split:
        options["postgresql_partition_by"] = "RANGE (date)"
    number: Any = mysql.BIGINT(unsigned=True) if is_mysql(dialect) else sa.BigInteger()
    if dialect.name == "sqlite":
        number = sa.Integer()  # only INTEGER PRIMARY KEY counts itself there
    columns = [column_of(column, dialect) for column in classic.columns]
    key = ("id", "date") if split else ("id",)
    table = sa.Table(
        name,
        sa.MetaData(),
        sa.Column("id", number, nullable=False, autoincrement=True),
        *columns,
        sa.PrimaryKeyConstraint(*key),
        **options,
    )
    for column in classic.indexes:
        index = index_name(name, column, dialect)
        if is_mysql(dialect):
            table.append_constraint(InlineKey(index, column, prefix_of(name, column)))
        else:
            sa.Index(index, table.c[column])
    return table


def mysql_partitions(days: Iterable[dt.date]) -> str:
    """Return what stands behind PARTITION BY: a partition a day, and the catch-all."""
    ranges = ", ".join([*(mysql_partition(day) for day in days), mysql_catch_all()])
    return f"RANGE (UNIX_TIMESTAMP(`date`)) ({ranges})"


def mysql_partition(day: dt.date) -> str:
    """Return one day's partition, of UTC."""
    end = dt.datetime.combine(day + _DAY, dt.time(), dt.UTC)
    return f"PARTITION {partition_name(day)} VALUES LESS THAN ({int(end.timestamp())})"


def mysql_catch_all(name: str = f"`{CATCH_ALL}`") -> str:
    """Return the partition of all that is later; name: quoted."""
    return f"PARTITION {name} VALUES LESS THAN MAXVALUE"


def partition_name(day: dt.date) -> str:
    """Return the name of a day's partition."""
    return f"p{day:%Y%m%d}"


def postgres_partition(table: str, day: dt.date) -> str:
    """Return the name of a day's table."""
    return f"{table}_{partition_name(day)}"


def first_days(settings: DatabaseSettings, dialect: sa.Dialect, now: dt.datetime) -> list[dt.date]:
    """Return the days that a new table begins with. PostgreSQL: from yesterday, for what comes late."""
    today = now.astimezone(None if is_postgres(dialect) else dt.UTC).date()
    first = -1 if is_postgres(dialect) else 0
    return [today + i * _DAY for i in range(first, settings.partitions_ahead + 1)]


def create_statements(
    dialect: sa.Dialect, name: str, settings: DatabaseSettings, now: dt.datetime, pattern: Name | None = None
) -> list[str]:
    """Return the statements that make a table with its indexes and partitions, each harmless when repeated.

    pattern: the name in the settings that `name` is of; a table a day has no partitions.
    """
    split = pattern is None or not pattern.by_day
    days = first_days(settings, dialect, now) if split else []
    table = build(name, dialect, days)
    quote = dialect.identifier_preparer.quote
    once = takes_if_not_exists(dialect)
    made = [str(CreateTable(table, if_not_exists=once).compile(dialect=dialect)).strip()]
    for index in sorted(table.indexes, key=lambda i: str(i.name)):
        made.append(str(CreateIndex(index, if_not_exists=once).compile(dialect=dialect)).strip())
    if days and is_postgres(dialect):
        for day in days:
            part = quote(postgres_partition(name, day))
            made.append(
                f"CREATE TABLE IF NOT EXISTS {part} PARTITION OF {quote(name)} "
                f"FOR VALUES FROM ('{day}') TO ('{day + _DAY}')"
            )
        rest = quote(f"{name}_{CATCH_ALL}")
        made.append(f"CREATE TABLE IF NOT EXISTS {rest} PARTITION OF {quote(name)} DEFAULT")
    return made


def ensure_table(
    engine: sa.Engine,
    name: str,
    settings: DatabaseSettings,
    dry: Tell | None = None,
    pattern: Name | None = None,
    now: dt.datetime | None = None,
) -> bool:
    """Make a table if it is missing; says whether it was. Several may do so at once.

    dry: the statements go there and nothing is made. Raises SQLAlchemy's errors.
    """
    with engine.connect() as connection:
        if sa.inspect(connection).has_table(name):
            return False
    now = now or dt.datetime.now(dt.UTC)
    if pattern is None:
        pattern = _pattern_of(name, settings)
    run(engine, create_statements(engine.dialect, name, settings, now, pattern), dry)
    return True


def _pattern_of(name: str, settings: DatabaseSettings) -> Name | None:
    return next((found for found in sip_names(settings) if found.end_of(name) is not None), None)


#: PostgreSQL: "IF NOT EXISTS" of two at once can fail all the same; who changes tables holds this lock.
LOCK: Final = 0x6865706361740001


def run(engine: sa.Engine, statements: Sequence[str], dry: Tell | None = None) -> None:
    """Run statements in one transaction, as far as the engine has that for DDL; or hand them to `dry`."""
    if dry is not None:
        for statement in statements:
            dry(statement)
        return
    with engine.begin() as connection:
        if is_postgres(engine.dialect):
            execute(connection, f"SELECT pg_advisory_xact_lock({LOCK})")
        for statement in statements:
            execute(connection, statement)


def execute(connection: sa.Connection, statement: str) -> sa.CursorResult[Any]:
    """Run SQL as it stands: percent signs and colons in it are no parameters."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
