"""`hepcat db create|upgrade|check` for a dbtext folder (the contract is stores/admin.py).

In: one database's settings. Out: findings; the files of the classic tables and `version`. What can go wrong:
HepcatError (no right, a file that is no table, a hepcat that writes to the folder while it is upgraded).
There is no SQL: a dry run says which file would be written.
"""

import os
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final

from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.admin import Finding, Tell
from hepcat.stores.classic.schema import SIP_CAPTURE, TABLES, Table
from hepcat.stores.classic.tables import names_at
from hepcat.stores.dbtext.folder import (
    VERSION_COLUMNS,
    create_table,
    folder_of,
    lock_folder,
    need_folder,
    read_columns,
    replace_file,
)
from hepcat.stores.dbtext.format import LONGEST_LINE, TextColumn, make_columns, make_header

VERSION: Final = "version"
#: What stands in `version` for the classic tables: nobody asks, the capture module does not.
TABLE_VERSION: Final = 1


def create(settings: DatabaseSettings, dry: Tell | None = None) -> list[Finding]:
    """Make the folder, the tables and `version` where they are missing."""
    folder = folder_of(settings.read())
    findings = []
    try:
        if not folder.is_dir():
            findings.append(Finding("ok", f"folder {folder}", "made"))
            if dry is None:
                folder.mkdir(mode=0o750, parents=True)
            else:
                dry(f"mkdir {folder}")
        for table, name in _tables(settings):
            findings.append(_create(folder, name, make_columns(table), b"", dry))
        rows = [(VERSION, 1), *((name, TABLE_VERSION) for _, name in _tables(settings))]
        lines = b"".join(b"0:%s:%d\n" % (name.encode(), version) for name, version in rows)
        findings.append(_create(folder, VERSION, VERSION_COLUMNS, lines, dry))
    except OSError as error:
        raise _cannot(folder, error) from None
    return findings


def upgrade(settings: DatabaseSettings, dry: Tell | None = None, widen: bool = False) -> list[Finding]:
    """Add the columns that the tables lack. widen: has no meaning, a file has no widths."""
    folder = folder_of(settings.read())
    need_folder(folder)
    findings = []
    try:
        lock = lock_folder(folder)
        try:
            for table, name in _tables(settings):
                if (folder / name).exists():
                    findings.append(_upgrade(folder / name, table, dry))
        finally:
            os.close(lock)
    except OSError as error:
        raise _cannot(folder, error) from None
    return findings or [
        Finding("bad", f"folder {folder}", "has no table", "hepcat db create makes the tables.")
    ]


def check(settings: DatabaseSettings) -> list[Finding]:
    """Look at the folder and its tables."""
    folder = folder_of(settings.read())
    if not folder.is_dir():
        return [Finding("bad", f"folder {folder}", "is not there", "hepcat db create makes it.")]
    findings = []
    try:
        if not os.access(folder, os.W_OK | os.X_OK):
            findings.append(
                Finding("bad", f"folder {folder}", "cannot be written to", "Give it to the user of hepcat.")
            )
        for table, name in _tables(settings):
            findings += _check(folder / name, table)
    except OSError as error:
        raise _cannot(folder, error) from None
    return findings


def _tables(settings: DatabaseSettings) -> list[tuple[Table, str]]:
    """Return the tables and what they are called today."""
    names = names_at(settings.table_name, datetime.now(UTC))
    return [(SIP_CAPTURE, name) for name in names] + [(table, table.name) for table in TABLES[1:]]


def _create(folder: Path, name: str, columns: list[TextColumn], rows: bytes, dry: Tell | None) -> Finding:
    if (folder / name).exists():
        return Finding("ok", f"table {name}", "is there")
    if dry is None:
        create_table(folder, name, columns, rows)
    else:
        dry(f"write {folder / name}: {make_header(columns).decode('latin-1').strip()}")
    return Finding("ok", f"table {name}", "made")


def _lacking(path: Path, table: Table) -> list[TextColumn]:
    there = {column.name.lower() for column in read_columns(path)}
    return [column for column in make_columns(table) if column.name not in there and column.name != "id"]


def _upgrade(path: Path, table: Table, dry: Tell | None) -> Finding:
    """Write a file anew with the columns that it lacks, empty or 0 in each row."""
    lacking = _lacking(path, table)
    subject, names = f"table {path.name}", ", ".join(column.name for column in lacking)
    if not lacking:
        return Finding("ok", subject, "has every column")
    if dry is not None:
        dry(f"write {path} anew with {names}")
        return Finding("ok", subject, f"would get {names}")
    header = make_header(read_columns(path) + lacking)
    more = b"".join(b":" if column.nullable else b":0" for column in lacking) + b"\n"
    with path.open("rb") as file:
        file.readline(LONGEST_LINE)
        lines = (line.rstrip(b"\n") + more for line in file if line != b"\n")
        replace_file(path, chain([header], lines))
    return Finding("ok", subject, f"got {names}")


def _check(path: Path, table: Table) -> list[Finding]:
    subject = f"table {path.name}"
    if not path.exists():
        if table is SIP_CAPTURE:
            return [Finding("bad", subject, "is not there", "hepcat db create makes it.")]
        advice = "Its records are counted and left out; hepcat db create makes it."
        return [Finding("warn", subject, "is not there", advice)]
    findings = []
    try:
        columns = read_columns(path)
    except HepcatError as error:
        return [Finding("bad", subject, str(error), error.hint)]
    if lacking := _lacking(path, table):
        names = ", ".join(column.name for column in lacking)
        findings.append(Finding("warn", subject, f"has no column {names}", "hepcat db upgrade adds them."))
    may_be_empty = {column.name for column in make_columns(table) if column.nullable and column.is_text}
    strict = [c.name for c in columns if c.is_text and not c.nullable and c.name.lower() in may_be_empty]
    if strict:
        findings.append(
            Finding(
                "warn",
                subject,
                f"takes no empty value in {', '.join(strict)}",
                "Kamailio refuses the table once one is empty: write (string,null) in its first line.",
            )
        )
    if not os.access(path, os.W_OK):
        findings.append(Finding("bad", subject, "cannot be written to", "Give it to the user of hepcat."))
    return findings or [Finding("ok", subject, f"has its {len(columns)} columns")]


def _cannot(folder: Path, error: OSError) -> HepcatError:
    return HepcatError(
        f"{error.filename or folder}: {error.strerror}",
        "Look at its owner, its rights and the room on its disk.",
    )
