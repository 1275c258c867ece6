"""Retention: by age (whole day folders) and by size (the oldest files first).

In: the lake's folder and settings. Out: files deleted, and how many files, records and octets. What
can go wrong: OSError. Journals and temporary files are never touched, so nothing that is being
written is deleted.
"""

import contextlib
import datetime as dt
import math
import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hepcat.batch.schema import TABLES
from hepcat.config.lake import LakeSettings
from hepcat.stores.lake.catalog import ParquetFile, date_folders, folder_files, split_covered


@dataclass(slots=True)
class Deleted:
    """What retention took away."""

    files: int = 0
    rows: int = 0
    octets: int = 0

    def add(self, f: ParquetFile, counts: bool) -> int:
        """Delete a file; returns its octets. counts: its records are not in another file as well."""
        with contextlib.suppress(FileNotFoundError):
            octets = os.stat(f.path).st_size
            rows = 0
            if counts:
                with contextlib.suppress(pa.ArrowException):  # damaged: its records are lost already
                    rows = pq.read_metadata(f.path).num_rows
            os.unlink(f.path)
            self.files += 1
            self.rows += rows
            self.octets += octets
            return octets
        return 0


def retain(root: Path, settings: LakeSettings, today: dt.date) -> Deleted:
    """Delete what is older than `retention_days` or over `retention_octets`."""
    deleted = Deleted()
    if settings.retention_days is not None:
        limit = (today - dt.timedelta(days=settings.retention_days)).isoformat()
        for table in TABLES:
            for date in date_folders(root, table):
                if date < limit:
                    _delete_files(folder_files(root, table, date), deleted)
                    _remove_folder(root, table, date)
    if settings.retention_octets is not None:
        _shrink(root, settings.retention_octets, deleted)
    return deleted


def _delete_files(files: list[ParquetFile], deleted: Deleted, wanted: float = math.inf) -> int:
    """Delete files until `wanted` octets that count are gone; returns how many those were.

    Replaced files go first, else they would count again without the one that replaced them.
    """
    gone = 0
    count, covered = split_covered(files)
    for f in covered:
        deleted.add(f, counts=False)
    for f in count:
        if gone >= wanted:
            break
        gone += deleted.add(f, counts=True)
    return gone


def _shrink(root: Path, bound: int, deleted: Deleted) -> None:
    """Delete the oldest files until the rest is within the bound.

    Files that a merge replaced go by themselves within seconds: they are not in the sum, else each merge
    would push good days out.
    """
    folders = sorted((date, table) for table in TABLES for date in date_folders(root, table))
    files = {folder: folder_files(root, folder[1], folder[0]) for folder in folders}
    total = 0
    for found in files.values():
        for f in split_covered(found)[0]:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(f.path).st_size
    for date, table in folders:
        if total <= bound:
            return
        total -= _delete_files(files[date, table], deleted, total - bound)
        _remove_folder(root, table, date)


def _remove_folder(root: Path, table: str, date: str) -> None:
    with contextlib.suppress(OSError):  # not empty: someone writes there
        os.rmdir(root / table / f"date={date}")
