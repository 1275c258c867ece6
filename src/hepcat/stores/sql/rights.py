"""The rights on hepcat_written: which of them the user lacks, and what its administrator has to type.

In: an open connection, outside a transaction. Out: names of rights, a GRANT. What can go wrong: the driver's
errors but for those about rights.
"""

from typing import Final

import sqlalchemy as sa

from hepcat.stores.sql import ddl
from hepcat.stores.sql.actual import is_there
from hepcat.stores.sql.explain import Kind, fault_of
from hepcat.stores.sql.progress import TABLE_NAME, WRITTEN

_COLUMNS: Final = ", ".join(column.name for column in WRITTEN.columns)
#: Right -> a statement that needs only it, and changes nothing.
_TRIALS: Final = {
    "SELECT": f"SELECT {_COLUMNS} FROM {TABLE_NAME} WHERE 1 = 0",
    "INSERT": f"INSERT INTO {TABLE_NAME} ({_COLUMNS}) "
    "SELECT '', 0, 0 FROM (SELECT 1 AS n) AS one WHERE n = 0",
    "DELETE": f"DELETE FROM {TABLE_NAME} WHERE 1 = 0",
}
#: What it means where one is lacking.
RISK: Final = "after a lost connection a batch may be written twice"


def is_made(connection: sa.Connection) -> bool:
    """Say whether the table is there, also to who may not look at it."""
    try:
        return is_there(connection, TABLE_NAME)
    except sa.exc.DBAPIError as error:
        if fault_of(error).kind is not Kind.DENIED:
            raise
        return True
    finally:
        connection.rollback()


def lacking(connection: sa.Connection) -> list[str]:
    """Return the rights on the table that the user lacks."""
    found = []
    for right, statement in _TRIALS.items():
        try:
            connection.exec_driver_sql(statement)
        except sa.exc.DBAPIError as error:
            if fault_of(error).kind is not Kind.DENIED:
                raise
            found.append(right)
        finally:
            connection.rollback()
    return found


def grant(connection: sa.Connection, rights: list[str], table: str = TABLE_NAME) -> str:
    """Return what gives the user these rights. CREATE: the table is not there yet."""
    quote = connection.dialect.identifier_preparer.quote
    try:
        if ddl.is_mysql(connection.dialect):
            account, database = connection.exec_driver_sql("SELECT CURRENT_USER(), DATABASE()").one()
            user, _, host = str(account).rpartition("@")
            return f"GRANT {', '.join(rights)} ON {quote(str(database))}.{table} TO '{user}'@'{host}';"
        if ddl.is_postgres(connection.dialect):
            user, schema = connection.exec_driver_sql("SELECT current_user, current_schema()").one()
            if "CREATE" in rights:
                return f"GRANT CREATE ON SCHEMA {quote(str(schema))} TO {quote(str(user))};"
            return f"GRANT {', '.join(rights)} ON {quote(str(schema))}.{table} TO {quote(str(user))};"
    finally:
        connection.rollback()
    return f"Grant {', '.join(rights)} on {table} to the user."
