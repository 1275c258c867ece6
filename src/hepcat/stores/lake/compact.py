"""Merging small files of one table and date into large ones.

In: the lake's folder. Out: a file whose name's range covers those it replaces; they are deleted
later (LakeSettings.delete_after), and do not count from the moment of its rename on. What can go
wrong: OSError; the inputs stay, nothing is lost, and it is tried again at a later pass. A damaged file
is told once and left alone.

Two ways. Files with full row groups are put end to end (footer.py), which costs hardly any CPU.
Files of a quiet hour have small row groups, so they are decoded, sorted (call by call, as sealing does)
and written again, at most one row group's worth at a time, which bounds the memory.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hepcat.batch.schema import TABLES
from hepcat.config.lake import LakeSettings
from hepcat.stores.lake.catalog import (
    JOURNAL,
    ParquetFile,
    date_folders,
    entries,
    file_name,
    folder_files,
    fsync_folder,
    split_covered,
)
from hepcat.stores.lake.claim import try_lock, unclaimed
from hepcat.stores.lake.fault import fault
from hepcat.stores.lake.footer import join_files
from hepcat.stores.lake.parquet import write_parquet

#: Octets (as encoded, before zstd) that are decoded at once at most.
_DECODE_AT_MOST: Final = 96 * 2**20
_TEMPORARY: Final = ".merging"
#: A day is over, and its files are merged however few they are, this long after its last file.
_QUIET: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Info:
    """What of a file decides with which others it is merged."""

    file: ParquetFile
    rows: int
    groups: int
    encoded: int
    schema: str = ""


def plan(infos: list[Info], alive: list[int], settings: LakeSettings, final: bool) -> list[Info]:
    """Return the files of one folder to merge next, none where it is good as it is.

    infos: those that count, in order. alive: first sequence numbers of journals and imports that may
    yet bring records to this folder; a merged range must not contain one. final: merge any two.
    """
    segments = _split(infos, alive)
    tiers = sorted({_tier(i.rows, settings) for i in infos})
    for tier in tiers:
        for segment in segments:
            for run in _runs(segment, tier, settings):
                if len(run) >= settings.compact_files:
                    chosen = _fitting(run, settings)
                    if len(chosen) > 1:
                        return chosen
    if final:
        for segment in segments:
            for at in range(len(segment) - 1):
                chosen = _fitting(segment[at:], settings)
                if len(chosen) > 1:
                    return chosen
    return []


def _split(infos: list[Info], alive: list[int]) -> list[list[Info]]:
    """Cut the files where a living writer's range lies between two of them, or columns differ."""
    segments: list[list[Info]] = []
    for info in infos:
        before = segments[-1][-1] if segments else info
        between = any(before.file.last < a < info.file.first for a in alive)
        if not segments or between or before.schema != info.schema:
            segments.append([])
        segments[-1].append(info)
    return segments


def _tier(rows: int, settings: LakeSettings) -> int:
    """Return the size class: files of one class differ by a factor below `compact_files`."""
    return int(math.log(max(rows, 1), settings.compact_files))


def _runs(segment: list[Info], tier: int, settings: LakeSettings) -> list[list[Info]]:
    runs: list[list[Info]] = [[]]
    for info in segment:
        if _tier(info.rows, settings) <= tier:
            runs[-1].append(info)
        elif runs[-1]:
            runs.append([])
    return runs


def _is_small(infos: list[Info], settings: LakeSettings) -> bool:
    """Tell whether row groups are so small that decoding and writing again is worth it."""
    rows, groups = sum(i.rows for i in infos), sum(i.groups for i in infos)
    return rows < groups * settings.row_group_rows // 4


def _is_decoded(infos: list[Info], settings: LakeSettings) -> bool:
    """Tell whether to decode and write again: worth it, and within the bound on memory."""
    rows, encoded = sum(i.rows for i in infos), sum(i.encoded for i in infos)
    return _is_small(infos, settings) and rows <= settings.row_group_rows and encoded <= _DECODE_AT_MOST


def _fitting(run: list[Info], settings: LakeSettings) -> list[Info]:
    """Return the first files of a run that fit into one."""
    small = _is_small(run, settings)
    rows = encoded = 0
    chosen: list[Info] = []
    for info in run:
        rows, encoded = rows + info.rows, encoded + info.encoded
        if rows > (settings.row_group_rows if small else settings.compact_rows):
            break
        if small and encoded > _DECODE_AT_MOST:
            break
        chosen.append(info)
    return chosen


class _Unreadable(Exception):
    """A file whose footer is right, and its pages are not."""

    def __init__(self, file: ParquetFile, error: Exception) -> None:
        super().__init__(str(error))
        self.file = file


def _read(file: ParquetFile) -> pa.Table:
    """Return a file's records. Raises _Unreadable where it is damaged, OSError of the disk."""
    try:
        return pq.read_table(file.path, partitioning=None)
    except pa.ArrowException as error:
        raise _Unreadable(file, error) from error
    except OSError as error:
        if error.errno is None:  # zstd's errors are pyarrow's OSError
            raise _Unreadable(file, error) from error
        raise


class Compactor:
    """Merges, one step a call. Not thread-safe; flock keeps other processes out meanwhile."""

    def __init__(
        self, root: Path, settings: LakeSettings, event: Callable[[str, dict[str, Any]], None]
    ) -> None:
        """Remember what to work on."""
        self._root, self._settings, self._event = root, settings, event
        self._infos: dict[ParquetFile, Info] = {}
        self._damaged: set[ParquetFile] = set()
        self.counters: dict[str, int | float] = {"merges": 0, "merged_rows": 0, "merge_seconds": 0.0}

    def reconfigure(self, settings: LakeSettings) -> None:
        """Take over changed settings, from the next step on."""
        self._settings = settings

    def step(self) -> bool:
        """Delete what was replaced long enough ago and do one merge; False where none was needed."""
        lock = try_lock(self._root / JOURNAL / ".compact", os.O_CREAT | os.O_RDWR)
        if lock is None:
            return False
        try:
            # In this order: whoever claimed a number below `free` and has not finished is among the
            # entries, and whoever has finished has its files in the folders we list afterwards.
            free = unclaimed(self._root)
            alive = sorted(e.first for e in entries(self._root))
            seen: set[ParquetFile] = set()
            failure: OSError | None = None
            for table in TABLES:
                for date in date_folders(self._root, table):
                    files = folder_files(self._root, table, date)
                    seen.update(files)
                    try:
                        if self._folder([f for f in files if f.last < free], table, date, alive):
                            return True
                    except OSError as error:  # the other folders may be well
                        failure = error
            self._infos = {f: i for f, i in self._infos.items() if f in seen}
            self._damaged &= seen
            if failure is not None:
                raise failure
            return False
        finally:
            os.close(lock)

    def _folder(self, files: list[ParquetFile], table: str, date: str, alive: list[int]) -> bool:
        count, covered = split_covered(files)
        infos = [info for f in count if (info := self._info(f)) is not None]
        if covered:
            self._delete(covered, count)
        if len(infos) < 2:
            return False
        # A merged range must not contain a damaged file either: that would count as replaced.
        alive = alive + [f.first for f in count if f in self._damaged]
        chosen = plan(infos, alive, self._settings, self._is_over(date, count))
        if not chosen:
            return False
        try:
            self._merge(chosen, table, date)
        except _Unreadable as error:
            self._set_apart(error.file, error)
        except (pa.ArrowException, ValueError, IndexError) as error:  # whichever of them it is
            for info in chosen:
                self._set_apart(info.file, error)
        return True

    def _set_apart(self, f: ParquetFile, error: Exception) -> None:
        """Leave a file out of merging from now on, and say so."""
        self._damaged.add(f)
        self._event("file_damaged", {"path": f.path, "error": str(error)})

    def _info(self, f: ParquetFile) -> Info | None:
        """Return what a file's footer says, None where it is damaged."""
        if f in self._damaged:
            return None
        info = self._infos.get(f)
        if info is None:
            try:
                metadata = pq.read_metadata(f.path)
            except pa.ArrowException as error:
                self._set_apart(f, error)
                return None
            groups = metadata.num_row_groups
            encoded = sum(metadata.row_group(i).total_byte_size for i in range(groups))
            schema = str(metadata.schema).partition("\n")[2]  # the first line is where it lies in memory
            info = self._infos[f] = Info(f, metadata.num_rows, groups, encoded, schema)
        return info

    @staticmethod
    def _is_over(date: str, count: list[ParquetFile]) -> bool:
        if date >= time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400)):
            return False
        return time.time() - os.stat(count[-1].path).st_mtime > _QUIET

    def _delete(self, covered: list[ParquetFile], count: list[ParquetFile]) -> None:
        """Delete replaced files once no query that listed them can be expected to run any more."""
        now = time.time()
        for f in covered:
            cover = next(c for c in count if c.first <= f.first and f.last <= c.last)
            if cover in self._damaged:
                continue  # what it was made of is all there is
            if now - os.stat(cover.path).st_mtime >= self._settings.delete_after:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f.path)
                fault("replaced")

    def _merge(self, chosen: list[Info], table: str, date: str) -> None:
        began = time.monotonic()
        folder = self._root / table / f"date={date}"
        name = file_name(chosen[0].file.first, chosen[-1].file.last)
        temporary = folder / (_TEMPORARY + name)
        rows = sum(i.rows for i in chosen)
        try:
            if _is_decoded(chosen, self._settings):
                self._rewrite(chosen, table, temporary)
            else:
                self._join(chosen, temporary)
            if pq.read_metadata(temporary).num_rows != rows:
                raise ValueError(f"merging {name} in {folder} lost records")  # a bug of ours
            fault("merge")
            os.rename(temporary, folder / name)
            fsync_folder(folder)
            fault("merged")
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        seconds = time.monotonic() - began
        self.counters["merges"] += 1
        self.counters["merged_rows"] += rows
        self.counters["merge_seconds"] += seconds
        self._event(
            "merged", {"table": table, "date": date, "files": len(chosen), "rows": rows, "seconds": seconds}
        )

    @staticmethod
    def _join(chosen: list[Info], temporary: Path) -> None:
        fd = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        try:
            join_files([i.file.path for i in chosen], fd)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _rewrite(self, chosen: list[Info], table: str, temporary: Path) -> None:
        parts = [_read(i.file) for i in chosen]
        whole = pa.concat_tables(parts, promote_options="default")
        del parts
        order = pc.sort_indices(whole, sort_keys=[("ts", "ascending")])  # stable: by sequence
        whole = whole.take(order)
        if table == "sip":
            calls = whole["call_id"].combine_chunks().dictionary_encode(null_encoding="encode")
            # Its codes number the calls as they appear; stable, so that a call's messages stay by time.
            whole = whole.take(np.argsort(calls.indices.to_numpy(), kind="stable"))
        write_parquet(str(temporary), table, whole, self._settings)


def remove_leftovers(root: Path) -> None:
    """Remove temporary files of merges that a crash interrupted; nothing where a merge is running."""
    lock = try_lock(root / JOURNAL / ".compact", os.O_CREAT | os.O_RDWR)
    if lock is None:
        return
    try:
        for table in TABLES:
            for path in (root / table).glob(f"date=*/{_TEMPORARY}*"):
                path.unlink(missing_ok=True)
    finally:
        os.close(lock)
