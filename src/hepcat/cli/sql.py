"""hepcat sql: SQL on read-only views of the lake, at a prompt or with -c.

In: SQL from -c, the prompt or standard input. Out: a table; DuckDB's own message where the SQL is
wrong. The lake cannot be changed and no other file can be read: external access is shut off.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hepcat.cli.common import LAKE, ConfigOption, DataOption, reading

if TYPE_CHECKING:
    from hepcat.stores.lake import Lake

_PROMPT: Final = "hepcat> "
_MORE: Final = "   ...> "
_HELP: Final = (
    "Tables: sip, rtcp, log, other. DESCRIBE sip; shows columns. End statements with ;, leave with Ctrl-D."
)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sql(
        data: DataOption = None,
        config: ConfigOption = None,
        command: Annotated[
            str | None, typer.Option("--command", "-c", metavar="SQL", help="Run this SQL and leave.")
        ] = None,
        rows: Annotated[int, typer.Option("--rows", min=1, help="Rows that are shown at most.")] = 1000,
    ) -> None:
        """Query the lake with SQL: read-only views sip, rtcp, log and other."""
        from hepcat.stores.lake import Lake

        place = reading(data, config, LAKE)
        with Lake(place.path, place.lake, locked=True) as lake:
            if command is not None:
                raise typer.Exit(0 if run(lake, command, rows) else 1)
            if not sys.stdin.isatty():
                raise typer.Exit(0 if run(lake, sys.stdin.read(), rows) else 1)
            typer.echo(_HELP)
            for statement in _statements():
                run(lake, statement, rows)


def run(lake: "Lake", statement: str, rows: int) -> bool:
    """Run SQL on the lake as it is now and print the result of the last statement; False where it failed."""
    import duckdb

    from hepcat.search.render.escape import safe_block

    try:
        table = lake.run(lambda snapshot: _result(snapshot.connection, statement, rows + 1))
    except duckdb.Error as error:
        print("\n".join(safe_block(str(error).encode())), file=sys.stderr)
        return False
    if table is not None:
        _print(table, rows)
    return True


def _result(
    connection: object, statement: str, limit: int
) -> "tuple[list[str], list[tuple[object, ...]]] | None":
    """Return names and at most `limit` rows of the last statement that has a result."""
    import duckdb

    from hepcat.stores.lake.readonly import queries

    assert isinstance(connection, duckdb.DuckDBPyConnection)
    result = None
    for one in queries(connection, statement):
        # As a relation the result streams: of a wide one only the rows that are shown are made.
        relation: Any = connection.sql(one)
        result = [str(name) for name in relation.columns], _first_rows(relation, limit)
    return result


def _first_rows(relation: Any, limit: int) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    with contextlib.closing(relation.to_arrow_reader(limit)) as reader:
        for batch in reader:
            found += zip(*(_values(column) for column in batch.columns), strict=True)
            if len(found) >= limit:
                break
    return found[:limit]


def _values(column: object) -> list[object]:
    return column.to_pylist()  # type: ignore[attr-defined,no-any-return]


def _print(result: "tuple[list[str], list[tuple[object, ...]]]", limit: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from hepcat.search.render.escape import safe_text

    names, rows = result
    table = Table(*(escape(safe_text(name)) for name in names), show_edge=False)
    for row in rows[:limit]:
        table.add_row(*(escape(_text(value)) for value in row))
    # In a pipe nothing is cut to the width of a terminal that is not there.
    console = Console(width=None if sys.stdout.isatty() else 100_000, highlight=False)
    console.print(table)
    if len(rows) > limit:
        console.print(f"the first {limit} rows; --rows shows more")


def _text(value: object) -> str:
    """Return a value as lines that are safe in a terminal: it may hold what any sender chose."""
    from hepcat.search.render.escape import safe_block

    if value is None:
        return ""
    if isinstance(value, bytes):
        octets = value
    else:
        text = str(value.isoformat(sep=" ")) if hasattr(value, "isoformat") else str(value)
        octets = text.encode("utf-8", "surrogateescape")
    return "\n".join(safe_block(octets))


def _statements() -> Iterator[str]:
    """Yield the statements typed at the prompt, with a history of earlier sessions."""
    with _history():
        typed = ""
        while True:
            try:
                line = input(_MORE if typed else _PROMPT)
            except KeyboardInterrupt:
                print()
                typed = ""
                continue
            except EOFError:
                print()
                return
            typed = f"{typed}\n{line}".strip()
            if typed.lower() in ("exit", "quit", ".exit", ".quit", "\\q"):
                return
            if typed.endswith(";"):
                yield typed
                typed = ""


@contextlib.contextmanager
def _history() -> Iterator[None]:
    try:
        import readline
    except ImportError:  # Python built without it: no history, still a prompt
        yield
        return
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "hepcat"
    path = state / "sql_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(1000)
        with contextlib.suppress(OSError):
            state.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
