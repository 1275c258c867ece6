"""Sealing: the records of a journal, or of an import's block, become Parquet files.

In: a batch and the sequence number of its first record. Out: parts in a folder of their own, then
published by one rename and moved to their date folders. What can go wrong: OSError; every step can
be done again from where it stopped, by any writer, also by two at once.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.layout import Batch
from hepcat.batch.order import by_call
from hepcat.batch.schema import TABLES
from hepcat.config.lake import LakeSettings
from hepcat.stores.lake.arrow import day_name, folder_days, table_codes, to_arrow
from hepcat.stores.lake.catalog import JOURNAL, Entry, fsync_folder, part_name, part_target
from hepcat.stores.lake.fault import fault
from hepcat.stores.lake.parquet import write_parquet

Array = npt.NDArray[Any]

_RETRIES: Final = 5


def write_parts(batch: Batch, first: int, folder: Path, today: int, settings: LakeSettings) -> int:
    """Write a part for each table and day of the batch; returns the octets written.

    first: sequence number of record 0. today: day since the epoch, see arrow.folder_days.
    Row groups are in the order of time; within one, messages of a call stand together, by time.
    """
    last = first + batch.n - 1
    codes = table_codes(batch)
    octets = 0
    for code in np.unique(codes):
        table = TABLES[int(code)]
        rows = _by_time(batch.ts, np.flatnonzero(codes == code))
        days = folder_days(batch.ts[rows], today, settings.date_folders)
        different = np.unique(days)
        for day in different:
            chosen = rows if len(different) == 1 else rows[days == day]
            if table == "sip":
                chosen = _by_call(batch, chosen, settings.row_group_rows)
            path = folder / part_name(table, day_name(int(day)), first, last)
            octets += write_parquet(str(path), table, to_arrow(batch, table, chosen, views=True), settings)
            fault("part")
    return octets


def _by_time(ts: Array, rows: Array) -> Array:
    """Return the rows sorted by time, those of one time by sequence."""
    times = ts[rows]
    if (times[1:] >= times[:-1]).all():
        return rows
    return rows[np.argsort(times, kind="stable")]


def _by_call(batch: Batch, rows: Array, group: int) -> Array:
    """Order the rows of each row group by call, a call's by time; `rows` come by time.

    Row groups stay apart in time, so a search still skips those that it does not need. Measured on
    131,072 records of 1,000 calls at once: 119 octets a record for 147, and no more CPU time.
    """
    parts = [by_call(batch, rows[at : at + group]) for at in range(0, len(rows), group)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def publish(root: Path, entry: Entry) -> None:
    """Make the parts of a .seal or .import folder count, by one rename. Durable on return."""
    folder = root / JOURNAL
    fsync_folder(folder / entry.name)
    fault("publish")
    os.rename(folder / entry.name, folder / Entry(entry.first, "done").name)
    fsync_folder(folder)
    fault("published")


def finish(root: Path, first: int) -> None:
    """Move published parts to their date folders, then remove the journal they came from."""
    folder = root / JOURNAL
    done = folder / Entry(first, "done").name
    with contextlib.suppress(FileNotFoundError):
        targets = {target.parent for name in os.listdir(done) if (target := _move(root, done, name))}
        for target in targets:
            with contextlib.suppress(FileNotFoundError):  # retention may have taken the folder
                fsync_folder(target)
    fault("moved")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder / Entry(first, "arrows").name)
    fsync_folder(folder)
    fault("unlinked")
    # Only now: while the journal exists, .done must say that it does not count.
    shutil.rmtree(done, ignore_errors=True)


def _move(root: Path, done: Path, name: str) -> Path | None:
    """Move one part; returns its new path, None where it is no part or another process moved it."""
    target = part_target(root, name)
    if target is None:
        return None
    for _ in range(_RETRIES):
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            fsync_folder(target.parent.parent)
            fsync_folder(root)
        try:
            os.rename(done / name, target)
        except FileNotFoundError:
            if not (done / name).exists():
                return None
            continue  # the date folder went away under us
        fault("move")
        return target
    raise FileNotFoundError(f"{target.parent} does not stay")


def discard(root: Path, entry: Entry) -> None:
    """Remove the unpublished parts of a writer that died."""
    shutil.rmtree(root / JOURNAL / entry.name, ignore_errors=True)
