"""LakeWriter and Lake in one process: counts that never fall, locks, failures that heal."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from hepcat.batch.drops import Drop
from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.stores.lake import Lake, LakeWriter
from hepcat.stores.lake.catalog import entries
from hepcat.stores.store import StoreUnavailable
from tests.lake.count import assert_exactly, payloads
from tests.lake.make import NOON, build, numbered, traffic
from tests.support import ROOT

SMALL = LakeSettings(
    journal_rows=200, sync_interval=0.01, compact_files=3, delete_after=0, row_group_rows=1024
)


def test_found_before_and_after_sealing_with_every_value(tmp_path):
    batch = traffic(300)
    with LakeWriter(tmp_path) as writer, Lake(tmp_path) as lake:
        seen = []
        for sealed in (False, True):
            if sealed:
                assert writer.seal()
            else:
                writer.append(batch)
            with lake.snapshot() as snapshot:
                assert (snapshot.files, snapshot.journal_rows) == ((1, 0) if sealed else (0, 300))
                seen.append(
                    snapshot.connection.sql("SELECT * FROM sip ORDER BY ts, payload").to_arrow_table()
                )
        assert seen[0].num_rows == 300
        assert seen[0].cast(seen[1].schema).equals(seen[1])
        assert writer.stats()["sealed_rows"] == 300


def test_an_empty_lake_has_typed_views(tmp_path):
    with Lake(tmp_path) as lake, lake.snapshot() as snapshot:
        for table in ("sip", "rtcp", "log", "other"):
            rows = snapshot.connection.sql(f"SELECT * FROM {table}").to_arrow_table()
            assert rows.num_rows == 0
            assert str(rows.schema.field("ts").type) == "timestamp[us, tz=UTC]"


def test_no_lake_is_told(tmp_path):
    with pytest.raises(HepcatError, match="no lake at"):
        Lake(tmp_path / "none")


def test_count_never_falls_and_never_doubles_while_sealing_and_merging(tmp_path):
    stop, errors = threading.Event(), []
    with LakeWriter(tmp_path, SMALL) as writer:

        def read():
            before = 0
            try:
                with Lake(tmp_path) as lake:
                    while not stop.is_set():
                        low = writer.rows
                        found = payloads(lake)
                        assert max(found.values(), default=1) == 1
                        assert low <= len(found)
                        assert before <= len(found) <= writer.rows + 40
                        before = len(found)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for k in range(150):
            writer.append(numbered(40 * k, 40))
            time.sleep(0.005)
        stop.set()
        for thread in threads:
            thread.join()
        assert not errors, errors[0]
        end = time.monotonic() + 60
        # Replaced files are deleted a while after the merge, by a later turn of the keeper.
        while writer.stats()["merges"] < 3 or len(list(tmp_path.glob("sip/*/*.parquet"))) >= 20:
            assert time.monotonic() < end, "merging does not come to an end"
            time.sleep(0.1)
        assert_exactly(tmp_path, 6000)


def test_late_and_hostile_times_are_found(tmp_path):
    day = 86_400_000_000
    times = [NOON - k * day for k in range(60)] + [0, -5, 2**61, -(2**61)]
    records = [{"payload": b"X %d" % i, "ts": ts} for i, ts in enumerate(times)]
    settings = LakeSettings(date_folders=4)
    with LakeWriter(tmp_path, settings) as writer:
        writer.append(build(records))
    assert_exactly(tmp_path, len(times))
    assert len(list((tmp_path / "sip").iterdir())) <= 5
    with Lake(tmp_path) as lake, lake.snapshot(NOON - 40 * day, NOON - 40 * day) as snapshot:
        query = f"SELECT count(*) FROM sip WHERE epoch_us(ts) = {NOON - 40 * day}"
        assert snapshot.connection.execute(query).fetchall() == [(1,)]


def test_a_snapshot_of_a_time_leaves_other_files_out(tmp_path):
    with LakeWriter(tmp_path, SMALL) as writer:
        for k in range(3):
            writer.append(numbered(10 * k, 10, ts=NOON + k * 10**9))
            writer.seal()
        with Lake(tmp_path) as lake, lake.snapshot(NOON + 10**9, NOON + 10**9 + 30) as snapshot:
            assert snapshot.files == 1
            assert snapshot.connection.execute("SELECT count(*) FROM sip").fetchall() == [(10,)]


def test_two_servers_do_not_share_a_lake(tmp_path):
    with LakeWriter(tmp_path), pytest.raises(HepcatError, match=f"process {os.getpid()}"):
        LakeWriter(tmp_path)
    LakeWriter(tmp_path).close()


def test_records_arriving_with_other_extra_headers(tmp_path):
    with LakeWriter(tmp_path) as writer, Lake(tmp_path) as lake:
        writer.append(numbered(0, 5))
        writer.append(build([{"payload": b"X 5", "X-A": b"v"}], extra=("X-A",)))
        writer.append(numbered(6, 5))
        assert_exactly(tmp_path, 11)
        with lake.snapshot() as snapshot:
            assert snapshot.connection.execute(
                "SELECT extra['X-A'] FROM sip WHERE extra IS NOT NULL"
            ).fetchall() == [("v",)]
    assert_exactly(tmp_path, 11)


def test_a_batch_larger_than_a_journal(tmp_path):
    with LakeWriter(tmp_path, SMALL) as writer:
        writer.append(numbered(0, 700))
        writer.append(numbered(700, 1))
        assert_exactly(tmp_path, 701)
    assert_exactly(tmp_path, 701)


def test_an_old_journal_is_sealed_and_an_idle_one_makes_no_files(tmp_path):
    settings = LakeSettings(journal_age=0.05, sync_interval=0.01)
    with LakeWriter(tmp_path, settings) as writer:
        writer.append(numbered(0, 3))
        end = time.monotonic() + 60
        while writer.stats()["seals"] < 1 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.2)
        assert writer.stats()["seals"] == 1
        assert not entries(tmp_path)


@pytest.mark.parametrize(
    ("code", "drop"),
    [(errno.ENOSPC, Drop.STORE_FULL), (errno.EROFS, Drop.STORE_FAILED), (errno.EIO, Drop.STORE_FAILED)],
)
def test_failing_writes_are_told_and_storing_resumes(tmp_path, monkeypatch, code, drop):
    events = []
    with LakeWriter(tmp_path, on_event=lambda name, facts: events.append(name)) as writer:
        writer.append(numbered(0, 10))
        real = os.write

        def fail(fd, data):
            if len(data) > 1000:
                raise OSError(code, os.strerror(code))
            return real(fd, data)

        monkeypatch.setattr(os, "write", fail)
        for _ in range(3):
            with pytest.raises(StoreUnavailable) as caught:
                writer.append(numbered(10, 10))
            assert caught.value.drop == drop
        monkeypatch.undo()
        writer.append(numbered(10, 10))
        assert_exactly(tmp_path, 20)
    assert events.count("storing_failed") == events.count("storing_resumed") == 1
    assert_exactly(tmp_path, 20)


def test_a_vanished_folder_is_told_and_storing_resumes(tmp_path):
    root = tmp_path / "lake"
    events = []
    settings = LakeSettings(sync_interval=0.01)
    with LakeWriter(root, settings, on_event=lambda name, facts: events.append(name)) as writer:
        writer.append(numbered(0, 10))
        shutil.rmtree(root)
        end = time.monotonic() + 60
        while "journal_vanished" not in events and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(StoreUnavailable) as caught:
            writer.append(numbered(10, 10))
        assert caught.value.drop == Drop.STORE_FAILED
        root.mkdir()
        writer.append(numbered(0, 7))
        assert_exactly(root, 7)
    assert_exactly(root, 7)


def test_sealing_that_fails_keeps_the_journal_and_is_tried_again(tmp_path, monkeypatch):
    from hepcat.stores.lake import seal

    calls = []
    real = seal.write_parquet

    def fail(*arguments):
        calls.append(1)
        if len(calls) < 3:
            raise OSError(errno.ENOSPC, "full")
        return real(*arguments)

    monkeypatch.setattr(seal, "write_parquet", fail)
    with LakeWriter(tmp_path) as writer:
        writer.append(numbered(0, 10))
        assert not writer.seal(timeout=0.3)
        assert_exactly(tmp_path, 10)
        writer.append(numbered(10, 10))
        assert writer.seal(timeout=60)
        assert writer.stats()["seal_failures"] == 2
    assert_exactly(tmp_path, 20)


def test_a_full_disk_for_real(tmp_path):
    """A tmpfs of 3 MB in a mount namespace of its own, filled and freed again."""
    script = (
        f"mount -t tmpfs -o size=3m tmpfs {tmp_path} && exec {sys.executable} -m tests.lake.full {tmp_path}"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    if "ermi" in done.stderr or "not found" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed" in done.stdout
