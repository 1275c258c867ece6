"""What an older classic table lacks, as ALTER TABLE.

In: a table's name and what it lacks. Out: statements. What can go wrong: nothing; no database here.

In MariaDB all goes into one statement, since each would write a compressed table anew.
"""

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from hepcat.stores.classic import schema
from hepcat.stores.sql import ddl
from hepcat.stores.sql.actual import Actual


def statements(dialect: sa.Dialect, table: str, actual: Actual, widen: bool) -> list[str]:
    """Return what adds missing columns, indexes and defaults; widen: makes `msg` large."""
    quote = dialect.identifier_preparer.quote
    parts = [f"ADD COLUMN {_definition(dialect, table, column)}" for column in actual.missing]
    for name, default in actual.unfilled.items():
        if default is not None and dialect.name != "sqlite":
            value = f"'{default}'" if isinstance(default, str) else str(default)
            parts.append(f"ALTER COLUMN {quote(name)} SET DEFAULT {value}")
    if widen and actual.msg_width is not None:
        parts += _widen(dialect)
    indexes = []
    for column in actual.unindexed:
        name = quote(ddl.index_name(table, column, dialect))
        if ddl.is_mysql(dialect):
            length = ddl.prefix_of(table, column)
            parts.append(f"ADD KEY {name} ({quote(column)}{f'({length})' if length else ''})")
        else:
            indexes.append(f"CREATE INDEX {name} ON {quote(table)} ({quote(column)})")
    if ddl.is_mysql(dialect) or ddl.is_postgres(dialect):
        altered = [f"ALTER TABLE {quote(table)} {', '.join(parts)}"] if parts else []
    else:
        altered = [f"ALTER TABLE {quote(table)} {part}" for part in parts]
    return altered + indexes


def _definition(dialect: sa.Dialect, table: str, column: schema.Column) -> str:
    made = ddl.column_of(column, dialect)
    if column.kind == "octets":  # rows that are there have none
        made = sa.Column(made.name, made.type, nullable=True)
    elif column.kind == "timestamp" and dialect.name == "sqlite":  # takes no default that is no constant here
        made = sa.Column(
            made.name, made.type, nullable=False, server_default=sa.text("'1970-01-01 00:00:00'")
        )
    # A column has to belong to a table to be compiled.
    sa.Table(table, sa.MetaData(), made)
    return str(CreateColumn(made).compile(dialect=dialect)).strip()


def _widen(dialect: sa.Dialect) -> list[str]:
    """SQLite does not hold columns to their width: there is nothing to widen."""
    if ddl.is_mysql(dialect):
        return ["MODIFY COLUMN `msg` MEDIUMBLOB NOT NULL"]
    if ddl.is_postgres(dialect):
        # Kamailio's module writes hexadecimal digits into a column of text.
        octets = (
            r"CASE WHEN msg ~ '^\\x([0-9a-f][0-9a-f])*$' THEN decode(substr(msg, 3), 'hex') "
            "ELSE convert_to(msg, 'UTF8') END"
        )
        return ["ALTER COLUMN msg DROP DEFAULT", f"ALTER COLUMN msg TYPE BYTEA USING {octets}"]
    if dialect.name == "mssql":
        return ["ALTER COLUMN msg VARBINARY(MAX) NOT NULL"]
    return []
