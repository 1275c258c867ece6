"""Which SQL may run on the lake: queries, and nothing that could write.

In: SQL that a person typed. Out: its statements, all of them queries. What can go wrong:
duckdb.PermissionException for any other statement, also behind EXPLAIN (which runs what it explains
when it says ANALYZE), and duckdb's own errors where the SQL cannot be parsed.
"""

import re
from typing import Any, Final

import duckdb

_EXPLAIN: Final = re.compile(r"\s*explain(\s+analyze)?(\s*\([^()]*\))?", re.IGNORECASE)


def queries(connection: duckdb.DuckDBPyConnection, text: str) -> list[Any]:
    """Return the statements of a text, each a SELECT or the EXPLAIN of one."""
    statements = connection.extract_statements(text)
    for one in statements:
        _check(connection, one)
    return statements


def _check(connection: duckdb.DuckDBPyConnection, statement: Any) -> None:
    if statement.type == duckdb.StatementType.SELECT:
        return
    if statement.type == duckdb.StatementType.EXPLAIN:
        match = _EXPLAIN.match(statement.query)
        inner = connection.extract_statements(statement.query[match.end() :]) if match else []
        if [s.type for s in inner] == [duckdb.StatementType.SELECT]:
            return
    raise duckdb.PermissionException(f"The lake is read-only: {statement.type.name} is not a query.")
