"""ImportWriter: all or nothing, beside a server, also when it is killed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hepcat.config.lake import LakeSettings
from hepcat.errors import HepcatError
from hepcat.stores.lake import ImportWriter, LakeWriter
from hepcat.stores.lake.catalog import entries
from tests.lake.count import assert_exactly
from tests.lake.make import NOON, build, numbered
from tests.support import ROOT

SMALL = LakeSettings(journal_rows=64)


def test_nothing_counts_before_commit_and_everything_after(tmp_path):
    with ImportWriter(tmp_path, SMALL) as writer:
        for k in range(10):
            writer.append(numbered(37 * k, 37))
        assert_exactly(tmp_path, 0)
        writer.commit()
    assert_exactly(tmp_path, 370)
    assert not entries(tmp_path)
    assert writer.rows == 370


def test_abort_and_close_leave_nothing(tmp_path):
    for end in ("abort", "close"):
        writer = ImportWriter(tmp_path, SMALL)
        writer.append(numbered(0, 200))
        getattr(writer, end)()
        writer.close()
        assert_exactly(tmp_path, 0)
        assert not entries(tmp_path)


def test_several_days_tables_and_extra_headers(tmp_path):
    with ImportWriter(tmp_path, SMALL) as writer:
        for k in range(5):
            writer.append(numbered(10 * k, 10, ts=NOON - k * 86_400_000_000, hep_type=100 if k % 2 else 1))
        writer.append(build([{"payload": b"X 50", "X-A": b"v"}], extra=("X-A",)))
        writer.commit()
    assert_exactly(tmp_path, 51)


def test_beside_a_server_and_a_second_import(tmp_path):
    with (
        LakeWriter(tmp_path, SMALL) as server,
        ImportWriter(tmp_path, SMALL) as one,
        ImportWriter(tmp_path, SMALL) as two,
    ):
        server.append(numbered(0, 100))
        one.append(numbered(100, 100))
        two.append(numbered(200, 100))
        assert_exactly(tmp_path, 100)
        two.commit()
        one.commit()
        server.append(numbered(300, 100))
        assert_exactly(tmp_path, 400)
    assert_exactly(tmp_path, 400)


@pytest.mark.parametrize(
    ("fault", "kept"),
    [("publish:1", 0), ("published:1", 300), ("move:1", 300)],
)
def test_killed_imports_are_whole_or_gone(tmp_path, fault, kept):
    code = (
        "import sys; from hepcat.stores.lake import ImportWriter; from tests.lake.make import numbered;"
        "from tests.lake.test_import import SMALL\n"
        "with ImportWriter(sys.argv[1], SMALL) as w:\n    w.append(numbered(0, 300)); w.commit()"
    )
    environment = {**os.environ, "HEPCAT_FAULT": fault}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert_exactly(tmp_path, kept)
    with LakeWriter(tmp_path, SMALL):
        assert_exactly(tmp_path, kept)
        assert not entries(tmp_path)
    assert_exactly(tmp_path, kept)


def test_an_import_takes_over_what_a_dead_server_left(tmp_path):
    code = (
        "import os, sys; from hepcat.stores.lake import LakeWriter; from tests.lake.make import numbered\n"
        "w = LakeWriter(sys.argv[1]); w.append(numbered(0, 50)); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, timeout=120)
    assert_exactly(tmp_path, 50)
    with ImportWriter(tmp_path, SMALL) as writer:
        writer.append(numbered(50, 50))
        writer.commit()
    assert_exactly(tmp_path, 100)
    assert not entries(tmp_path)


def test_a_failing_disk_ends_the_import_with_nothing_kept(tmp_path, monkeypatch):
    from hepcat.stores.lake import seal

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(seal, "write_parquet", fail)
    with ImportWriter(tmp_path, SMALL) as writer:
        writer.append(numbered(0, 50))
        with pytest.raises(HepcatError, match="No space left"):
            writer.commit()
        monkeypatch.undo()
    assert_exactly(tmp_path, 0)
    assert not entries(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HepcatError, match="cannot write to the lake"):
        ImportWriter(tmp_path / "file" / "lake")


def test_a_damaged_file_of_others_does_not_fail_an_import(tmp_path):
    """Merging after it is a service; the records count already."""
    with LakeWriter(tmp_path, LakeSettings(compact=False)) as server:
        server.append(numbered(0, 10))
    (file,) = tmp_path.glob("sip/*/*.parquet")
    file.write_bytes(b"")
    with ImportWriter(tmp_path, LakeSettings(compact_files=2)) as writer:
        for k in range(3):
            writer.append(numbered(10 * k, 10))
        writer.commit()
    file.unlink()
    assert_exactly(tmp_path, 30)


def test_nobody_takes_a_journal_between_its_making_and_its_lock(tmp_path, monkeypatch):
    """An import that starts just then waits for the server's claim to end."""
    from hepcat.stores.lake import journal
    from hepcat.stores.lake.recover import recover

    took, threads = [], []
    real = journal.fcntl.flock

    def slow(fd, how):
        if how == journal.fcntl.LOCK_EX | journal.fcntl.LOCK_NB and not threads:
            path = os.readlink(f"/proc/self/fd/{fd}")
            if path.endswith(".arrows"):
                thread = threading.Thread(target=lambda: took.extend(recover(tmp_path, lambda *_: None)))
                threads.append(thread)
                thread.start()
                time.sleep(0.3)
        real(fd, how)

    with LakeWriter(tmp_path) as server:
        monkeypatch.setattr(journal.fcntl, "flock", slow)
        server.append(numbered(0, 10))
        threads[0].join()
        assert took == []
        server.append(numbered(10, 10))
    assert_exactly(tmp_path, 20)
