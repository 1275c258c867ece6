"""The folder is the catalog: names, and how a reader sees one consistent moment of it.

In: the lake's folder. Out: `Listing`: the Parquet files and journals that together hold every stored
record once. What can go wrong: `HepcatError` when the folder changes faster than it can be listed.

    <data>/journal/<a>.arrows     a journal, a = its first sequence number (19 digits)
    <data>/journal/<a>.seal/      parts being written from that journal; nobody reads them
    <data>/journal/<a>.import/    parts of an import that is not committed; nobody reads them
    <data>/journal/<a>.done/      published by renaming one of the two: its parts count from that
                                  moment on, and the journal <a>.arrows does not any more
    <data>/journal/.sequence      the next sequence number that is free
    <data>/<table>/date=YYYY-MM-DD/<a>-<b>.parquet
    <data>/imports/<sha256>.json  a capture that was imported (pipeline/ledger.py)

Parts are named <table>.<YYYY-MM-DD>.<a>-<b>.parquet and are moved from .done to their date folder
under the name that matters; an import's record, imported.<sha256>.json, goes the same way. Publishing
is thus one rename, however many tables and days it touches, and every change of what counts changes
the names in journal/: a listing is consistent when those names are the same before and after it.
"""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from hepcat.batch.schema import TABLES
from hepcat.errors import HepcatError

JOURNAL: Final = "journal"
IMPORTS: Final = "imports"
_TRIES: Final = 1_000
_PATIENCE: Final = 0.5
_FILE: Final = re.compile(r"([0-9]{19})-([0-9]{19})\.parquet")
_PART: Final = re.compile(r"([a-z]+)\.([0-9]{4}-[0-9]{2}-[0-9]{2})\.([0-9]{19}-[0-9]{19}\.parquet)")
_RECORD: Final = re.compile(r"imported\.([0-9a-f]{64})\.json")
_ENTRY: Final = re.compile(r"([0-9]{19})\.(arrows|seal|import|done)")


class ParquetFile(NamedTuple):
    """A sealed file: records a..b (both included) of one table and one date folder."""

    table: str
    date: str
    first: int
    last: int
    path: str

    @property
    def name(self) -> str:
        """The file's name within its date folder."""
        return f"{self.first:019d}-{self.last:019d}.parquet"


class Entry(NamedTuple):
    """A name in journal/: its first sequence number and its kind."""

    first: int
    kind: str

    @property
    def name(self) -> str:
        """The name within journal/."""
        return f"{self.first:019d}.{self.kind}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What counts at one moment."""

    files: tuple[ParquetFile, ...]
    journals: tuple[int, ...]
    replaced: tuple[ParquetFile, ...] = field(default=())  # covered by others, waiting to be deleted


def file_name(first: int, last: int) -> str:
    """Return the name of a Parquet file of records first..last."""
    return f"{first:019d}-{last:019d}.parquet"


def part_name(table: str, date: str, first: int, last: int) -> str:
    """Return the name of a part within a .seal, .import or .done folder."""
    return f"{table}.{date}.{file_name(first, last)}"


def record_name(sha256: str) -> str:
    """Return the name of an import's record within an .import or .done folder."""
    return f"imported.{sha256}.json"


def part_target(root: Path, name: str) -> Path | None:
    """Return where a part or a record belongs, None for a name that is neither's."""
    if record := _RECORD.fullmatch(name):
        return root / IMPORTS / f"{record[1]}.json"
    match = _PART.fullmatch(name)
    if match is None or match[1] not in TABLES:
        return None
    return root / match[1] / f"date={match[2]}" / match[3]


def entries(root: Path) -> frozenset[Entry]:
    """Return the names in journal/ that mean something; none where the folder does not exist."""
    try:
        names = os.listdir(root / JOURNAL)
    except FileNotFoundError:
        return frozenset()
    found = (_ENTRY.fullmatch(name) for name in names)
    return frozenset(Entry(int(m[1]), m[2]) for m in found if m)


def date_folders(root: Path, table: str) -> list[str]:
    """Return the dates (YYYY-MM-DD) that a table has folders for, oldest first."""
    try:
        names = os.listdir(root / table)
    except FileNotFoundError:
        return []
    return sorted(name[5:] for name in names if name.startswith("date=") and len(name) == 15)


def folder_files(root: Path, table: str, date: str) -> list[ParquetFile]:
    """Return every Parquet file of one date folder, covered ones included, in order."""
    folder = root / table / f"date={date}"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = (_FILE.fullmatch(name) for name in names)
    files = [ParquetFile(table, date, int(m[1]), int(m[2]), f"{folder}/{m[0]}") for m in found if m]
    return sorted(files, key=lambda f: (f.first, -f.last))


def split_covered(files: list[ParquetFile]) -> tuple[list[ParquetFile], list[ParquetFile]]:
    """Split files of one folder, in order, into those that count and those within another's range."""
    count: list[ParquetFile] = []
    covered: list[ParquetFile] = []
    last = -1
    for f in files:
        if f.last <= last:
            covered.append(f)
        else:
            count.append(f)
            last = f.last
    return count, covered


def entry_parts(root: Path, entry: Entry) -> list[ParquetFile]:
    """Return the parts in a .import or .done folder. Raises FileNotFoundError where it is gone."""
    folder = root / JOURNAL / entry.name
    parts = []
    for name in os.listdir(folder):
        match = _PART.fullmatch(name)
        if match and match[1] in TABLES:
            first, last = int(match[3][:19]), int(match[3][20:39])
            parts.append(ParquetFile(match[1], match[2], first, last, f"{folder}/{name}"))
    return parts


def _list_once(root: Path) -> Listing | None:
    """List everything; None where something changed meanwhile."""
    before = entries(root)
    done = {e.first for e in before if e.kind == "done"}
    folders: dict[tuple[str, str], dict[tuple[int, int], ParquetFile]] = {}
    # Parts move from .done to the date folders, so .done is looked at first: none can be missed.
    try:
        for entry in before:
            if entry.kind == "done":
                for part in entry_parts(root, entry):
                    folders.setdefault((part.table, part.date), {})[part.first, part.last] = part
    except FileNotFoundError:
        return None
    for table in TABLES:
        for date in date_folders(root, table):
            for f in folder_files(root, table, date):
                folders.setdefault((table, date), {})[f.first, f.last] = f
    if entries(root) != before:
        return None
    files: list[ParquetFile] = []
    replaced: list[ParquetFile] = []
    for found in folders.values():
        count, covered = split_covered(sorted(found.values(), key=lambda f: (f.first, -f.last)))
        files += count
        replaced += covered
    journals = sorted(e.first for e in before if e.kind == "arrows" and e.first not in done)
    ranges = [(f.first, f.last) for f in files]
    hidden = {a for a in journals if any(first <= a <= last for first, last in ranges)}
    return Listing(tuple(files), tuple(a for a in journals if a not in hidden), tuple(replaced))


def _is_moving(root: Path, entry: Entry) -> bool:
    """Tell whether this is a .done that something happened to within the last moment."""
    if entry.kind != "done":
        return False
    try:
        found = os.stat(root / JOURNAL / entry.name)
    except FileNotFoundError:
        return False
    return time.time() - max(found.st_mtime, found.st_ctime) < _PATIENCE


def listing(root: Path) -> Listing:
    """Return one consistent listing of the lake, or raise HepcatError.

    Parts in .done are about to move, so a listing that names them would soon be out of date: their
    writer is given a moment. Where it died, they stay there and are read there.
    """
    patience = time.monotonic() + _PATIENCE
    for _ in range(_TRIES):
        if time.monotonic() < patience and any(_is_moving(root, e) for e in entries(root)):
            time.sleep(0.002)
            continue
        found = _list_once(root)
        if found is not None:
            return found
    raise HepcatError(f"the lake {root} changes faster than it can be listed", "Try again.")


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
