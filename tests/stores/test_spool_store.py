"""The spooled store against a database that fails in every way: each record once, or counted."""

import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hepcat.batch.drops import Drop
from hepcat.errors import HepcatError
from hepcat.stores.counts import StoreCounts, sum_counts
from hepcat.stores.lake.journal import _message_end
from hepcat.stores.spooled import SpooledStore, drain
from hepcat.stores.spooled import spool as spool_module
from hepcat.stores.spooled.identity import Identity
from hepcat.stores.store import StoreUnavailable
from tests.lake.make import build, numbered, traffic
from tests.stores.faulty import assert_once, wrong_password
from tests.stores.rig import Rig, assert_sum, hasten, names
from tests.support import wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def rig(tmp_path, monkeypatch):
    hasten(monkeypatch)
    rig = Rig(tmp_path)
    yield rig
    if rig.store is not None:
        rig.store.close(0)


def away():
    return StoreUnavailable("away", Drop.STORE_FAILED)


def test_what_is_appended_is_written_once_and_in_order(rig):
    store = rig.start()
    for first in range(0, 1000, 20):
        store.append(numbered(first, 20))
    counts = rig.drained()
    assert rig.found() == names(0, 1000)
    assert counts.taken == counts.written == 1000
    assert counts.drops == {}
    assert counts.trouble is None
    assert max(rig.faults.sizes) <= 50
    rig.stop()
    assert sorted(p.name for p in rig.spool.iterdir()) == ["floor", "lock", "writer"]


def test_records_arrive_with_every_column(rig, monkeypatch):
    """What the writer sees is what was appended, octet by octet, over the joints of several readings."""
    from tests.stores.faulty import FaultyWriter

    seen = []
    original = FaultyWriter.write

    def write(self, batch, first, floor):
        for row in range(batch.n):
            fields = [batch.text(row, name) for name in ("payload", "call_id", "from_user", "ruri")]
            numbers = [int(getattr(batch, c)[row]) for c in ("ts", "src_port", "status", "node_id", "flags")]
            seen.append((fields, numbers, batch.address(row), batch.address(row, "dst_ip")))
        return original(self, batch, first, floor)

    monkeypatch.setattr(FaultyWriter, "write", write)
    rig.settings = rig.settings.model_copy(update={"rows": 37})
    batch = traffic(400)
    store = rig.start()
    for begin in range(0, 400, 25):
        store.append(_rows(batch, begin, begin + 25))
    rig.drained()
    assert len(seen) == 400
    for row, (fields, numbers, source, destination) in enumerate(seen):
        assert fields == [batch.text(row, name) for name in ("payload", "call_id", "from_user", "ruri")]
        assert numbers == [
            int(getattr(batch, c)[row]) for c in ("ts", "src_port", "status", "node_id", "flags")
        ]
        assert (source, destination) == (batch.address(row), batch.address(row, "dst_ip"))


def _rows(batch, begin, end):
    from hepcat.batch.gather import take_rows

    return take_rows(batch, np.arange(begin, end, dtype=np.int64))


def test_records_wait_for_others_no_longer_than_linger(rig):
    rig.settings = rig.settings.model_copy(update={"linger": 1.5, "rows": 30})
    store = rig.start()
    store.append(numbered(0, 1))  # opened, so what follows waits for nothing but linger
    rig.drained()
    start = time.monotonic()
    for first in range(1, 11):
        store.append(numbered(first, 1))
    rig.drained()
    assert time.monotonic() - start > 1.4
    assert rig.faults.sizes[-1] == 10
    rig.stop()
    rig.settings = rig.settings.model_copy(update={"linger": 250})
    rig.start().append(numbered(11, 30))  # a full batch does not wait
    rig.drained()
    assert rig.faults.sizes[-1] == 30


def test_an_outage_is_told_once_and_everything_is_written_after_it(rig):
    store = rig.start()
    store.append(numbered(0, 10))
    rig.drained()
    rig.faults.away = away()
    for first in range(10, 100, 10):
        store.append(numbered(first, 10))
    told = rig.wait_for("away")
    assert told["store"] == "test"
    assert told["error"] == "away"
    assert store.counts().trouble == "away"
    opened = rig.faults.opened
    while rig.faults.opened < opened + 5:
        time.sleep(0.002)
    assert len(rig.told("away")) == 1
    assert not rig.told("back")
    rig.faults.away = None
    rig.drained()
    rig.wait_for("back")
    assert rig.found() == names(0, 100)
    assert store.counts().trouble is None
    assert len(rig.told("back")) == 1


def test_a_connection_grown_old_is_no_outage(rig):
    store = rig.start()
    store.append(numbered(0, 10))
    rig.drained()
    rig.faults.plan = ["away"]
    store.append(numbered(10, 10))
    rig.drained()
    assert rig.found() == names(0, 20)
    assert not rig.told("away")


def test_what_a_person_has_to_mend_is_told_with_its_hint(rig):
    rig.faults.away = wrong_password()
    store = rig.start()
    store.append(numbered(0, 10))
    told = rig.wait_for("away")
    assert (told["error"], told["hint"]) == ("wrong password", "Correct url_file.")
    rig.faults.away = None
    rig.drained()
    assert rig.found() == names(0, 10)


def test_a_lost_answer_writes_nothing_twice(rig):
    rig.faults.plan = ["ok", "lost answer", "ok", "away", "lost answer"]
    store = rig.start()
    for first in range(0, 500, 50):
        store.append(numbered(first, 50))
    counts = rig.drained()
    assert rig.found() == names(0, 500)
    assert counts.written == 500
    assert counts.unknown == sum(rig.faults.sizes[i] for i in (1, 3))


def test_a_refused_batch_is_tried_again_as_often_as_asked(rig):
    rig.settings = rig.settings.model_copy(update={"insert_retries": 7})
    rig.faults.plan = ["refused"] * 7
    store = rig.start()
    store.append(numbered(0, 50))
    rig.drained()
    assert rig.faults.sizes == [50]
    assert rig.found() == names(0, 50)


def test_beyond_its_retries_a_batch_is_halved_and_only_the_row_is_lost(rig):
    rig.faults.refuse = {b"X 13", b"X 40"}
    store = rig.start()
    store.append(numbered(0, 50))
    counts = rig.drained()
    assert rig.found() == [n for n in names(0, 50) if n not in rig.faults.refuse]
    assert counts.drops == {Drop.ROW_REFUSED: 2}
    assert rig.wait_for("rows_refused")["rows"] == 2
    assert counts.trouble is None
    rig.stop()
    rig.faults.refuse = set()  # what was given up is not offered again by the next process
    _as_if_killed(rig)
    rig.start()
    rig.drained()
    assert len(rig.found()) == 48


def test_a_file_whose_last_records_were_given_up_before_is_not_kept(rig):
    rig.faults.away = away()
    store = rig.start()
    store.append(numbered(0, 50))
    rig.stop(0)
    identity = Identity(rig.spool)
    identity.give_up(40, 49)
    identity.release()
    rig.faults.away = None
    rig.start()
    assert rig.drained().written == 40
    rig.stop()
    assert not list(rig.spool.glob("*.arrows"))


def _as_if_killed(rig):
    """Make the spool believe that nothing is below its floor, as after a kill."""
    (rig.spool / "floor").unlink(missing_ok=True)
    path = rig.spool / "writer"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "floor": 0}))


def test_no_retry_after_the_timeout(rig, monkeypatch):
    monkeypatch.setattr(drain, "FIRST_WAIT", 0.2)
    monkeypatch.setattr(drain, "LONGEST_WAIT", 0.2)  # 500 of them are more than is waited for
    rig.settings = rig.settings.model_copy(update={"insert_retries": 500, "insert_retry_timeout": 0.2})
    rig.faults.refuse = {b"X 0"}
    store = rig.start()
    store.append(numbered(0, 1))
    counts = rig.drained()
    assert counts.drops == {Drop.ROW_REFUSED: 1}


def test_rows_are_not_given_up_quickly_where_the_database_refuses_all(rig):
    rig.settings = rig.settings.model_copy(update={"insert_retry_timeout": 300})
    rig.faults.refuse = set(names(0, 50))
    store = rig.start()
    store.append(numbered(0, 50))
    end = time.monotonic() + 60
    while not (store.counts().drops and store.counts().trouble):
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.5)
    assert store.counts().drops == {Drop.ROW_REFUSED: drain.SUSPICIOUS}
    rig.faults.refuse = set()
    counts = rig.drained()
    assert counts.written == 50 - drain.SUSPICIOUS
    assert counts.trouble is None


def test_waits_grow_to_a_bound_however_long_an_outage_is():
    assert drain.wait_after(1) == drain.FIRST_WAIT
    assert drain.wait_after(2) == 2 * drain.FIRST_WAIT
    assert drain.wait_after(10_000_000) == drain.LONGEST_WAIT


def test_an_operator_who_cannot_be_told_loses_nothing(rig):
    class Deaf(list):
        def append(self, event):
            raise ValueError("cannot be told")

    rig.events = Deaf()
    rig.faults.plan = ["away", "away", "ok", "bug", "refused"]
    store = rig.start()
    for first in range(0, 200, 20):
        store.append(numbered(first, 20))
    rig.drained()
    assert rig.found() == names(0, 200)


def test_a_bug_sets_the_batch_aside_and_the_next_goes_on(rig):
    rig.faults.bug = {b"X 5"}
    rig.faults.away = away()
    store = rig.start()
    store.append(numbered(0, 120))
    rig.faults.away = None
    counts = rig.drained()
    assert counts.drops == {Drop.STORE_FAILED: 50}
    assert rig.found() == names(50, 70)
    told = rig.wait_for("batch_set_aside")
    assert "ZeroDivisionError" in told["traceback"]
    path = Path(told["path"])
    assert path.parent == rig.spool
    with pa.OSFile(str(path)) as file:
        assert pa.ipc.open_stream(file).read_all().num_rows == 50
    assert counts.trouble is None


def test_a_bug_after_the_commit_writes_nothing_twice(rig):
    rig.faults.plan = ["bug after commit", "bug", "bug", "ok"]
    store = rig.start()
    store.append(numbered(0, 100))
    counts = rig.drained()
    assert rig.found() == names(0, 100)
    assert counts.drops == {}


def test_a_batch_is_not_set_aside_that_the_last_try_has_committed(rig):
    rig.faults.plan = ["bug", "bug", "bug", "bug after commit"]
    store = rig.start()
    store.append(numbered(0, 10))
    counts = rig.drained()
    assert rig.found() == names(0, 10)
    assert counts.drops == {}
    assert not list(rig.spool.glob("refused-*"))


def test_the_bound_refuses_and_takes_again(tmp_path, monkeypatch):
    hasten(monkeypatch)
    rig = Rig(tmp_path, spool=2**20)
    rig.faults.away = away()
    store = rig.start()
    batch = traffic(100)
    first = _until_refused(store, batch)
    with pytest.raises(StoreUnavailable) as refused:
        store.append(batch)
    assert refused.value.drop == Drop.STORE_FULL
    assert "spool" in refused.value.hint
    counts = store.counts()
    assert counts.taken == counts.waiting == first
    assert 0.8 * 2**20 < counts.spool_octets <= 2**20
    assert sum(p.stat().st_size for p in rig.spool.glob("*.arrows")) == counts.spool_octets
    store.reconfigure(rig.settings.model_copy(update={"spool": 2**21}))
    store.append(batch)
    rig.faults.away = None
    rig.drained()
    assert store.counts().written == first + 100
    store.append(batch)
    rig.drained()
    rig.stop()
    assert not list(rig.spool.glob("*.arrows"))


def _until_refused(store, batch):
    """Append until the store is full; return how many records it took."""
    for taken in range(0, 100_000, batch.n):
        try:
            store.append(batch)
        except StoreUnavailable:
            return taken
    raise AssertionError("never refused")


def test_a_batch_larger_than_the_bound_is_taken_when_nothing_waits(tmp_path, monkeypatch):
    hasten(monkeypatch)
    rig = Rig(tmp_path, spool=2**20, rows=10_000)
    store = rig.start()
    batch = traffic(2500)
    assert batch.octets > 2**20
    store.append(batch)
    rig.drained()
    store.append(batch)
    assert rig.drained().written == 5000
    rig.stop()


def test_other_extra_headers_are_another_file(rig):
    rig.faults.away = away()
    store = rig.start()
    for first in range(0, 60, 10):
        extra = ("X-One",) if first % 20 else ("X-One", "X-Two")
        records = [{"payload": b"X %d" % i, "X-One": b"1"} for i in range(first, first + 10)]
        store.append(build(records, extra))
    assert len(list(rig.spool.glob("*.arrows"))) == 6
    rig.faults.away = None
    rig.drained()
    assert rig.found() == names(0, 60)
    rig.stop()


def test_several_connections_write_everything_once(tmp_path, monkeypatch):
    hasten(monkeypatch)
    rig = Rig(tmp_path, connections=4, rows=10)
    # Fewer bugs than a batch is tried with: which thread meets which fault is chance, and one that met them
    # all would be right to set its batch aside.
    faults = ["ok", "lost answer", "away", "refused", "ok"]
    rig.faults.plan = [*faults, "bug"] * (drain.BUG_TRIES - 1) + faults * 10
    store = rig.start()
    for first in range(0, 3000, 30):
        store.append(numbered(first, 30))
    counts = rig.drained(60)
    assert (counts.written, counts.drops) == (3000, {}), rig.events[-5:]
    found = rig.found()
    assert_once(found)
    assert sorted(found) == sorted(names(0, 3000))
    rig.stop()


def test_a_restart_goes_on_where_the_last_process_was(rig):
    rig.faults.away = away()
    store = rig.start()
    store.append(numbered(0, 100))
    assert rig.stop(0).waiting == 100
    store = rig.start()
    assert store.counts().taken == store.counts().waiting == 100
    store.append(numbered(100, 50))
    rig.faults.away = None
    assert rig.drained().written == 150
    assert rig.found() == names(0, 150)
    rig.stop()
    assert rig.start().counts().taken == 0


def test_numbers_go_on_for_ever(rig):
    """Files are deleted, and their numbers are never used again: the database would take them for done."""
    for first in range(0, 100, 10):
        store = rig.start()
        store.append(numbered(first, 10))
        rig.drained()
        rig.stop()
    assert rig.found() == names(0, 100)


def test_a_torn_end_is_cut(rig):
    rig.faults.away = away()
    store = rig.start()
    store.append(numbered(0, 20))
    store.append(numbered(20, 20))
    rig.stop(0)
    (path,) = rig.spool.glob("*.arrows")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)
    rig.faults.away = None
    store = rig.start()
    store.append(numbered(40, 10))
    rig.drained()
    assert rig.found() == names(0, 20) + names(40, 10)
    assert not rig.told("spool_damaged")


def test_damage_keeps_what_is_before_it_and_is_told(rig):
    rig.faults.away = away()
    store = rig.start()
    for first in range(0, 60, 20):
        store.append(numbered(first, 20))
    rig.stop(0)
    (path,) = rig.spool.glob("*.arrows")
    octets = bytearray(path.read_bytes())
    whole, begin = np.frombuffer(path.read_bytes(), dtype=np.uint8), 0
    for _ in range(2):  # the schema and the first batch
        begin = _message_end(whole, begin)
    assert begin < octets.find(b"X 25") < _message_end(whole, begin)
    octets[begin : begin + 64] = bytes(64)
    path.write_bytes(octets)
    rig.faults.away = None
    store = rig.start()
    store.append(numbered(60, 10))
    counts = rig.drained()
    assert rig.found() == names(0, 20) + names(60, 10)
    assert counts.drops == {Drop.SPOOL_DAMAGED: 20}  # those behind the damage that can still be read
    told = rig.wait_for("spool_damaged")
    assert told["records"] == 20
    assert list(rig.spool.glob("damaged-*.arrows"))


def test_a_file_that_vanishes_is_counted(rig):
    rig.faults.away = away()
    store = rig.start()
    store.append(numbered(0, 20))
    next(rig.spool.glob("*.arrows")).unlink()
    end = time.monotonic() + 60
    while list(rig.spool.glob("*.arrows")) == [] and time.monotonic() < end:
        store.append(numbered(20, 1))
        time.sleep(0.05)
    rig.faults.away = None
    counts = rig.drained()
    assert counts.drops[Drop.SPOOL_DAMAGED] >= 20
    rig.wait_for("spool_damaged")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"writer": 1}', '{"writer": "x", "next": 1, "floor": 0}', "\xff"]
)
def test_a_spool_that_lost_its_name_says_so(rig, text):
    rig.faults.away = away()
    rig.start().append(numbered(0, 20))
    rig.stop(0)
    (rig.spool / "writer").write_bytes(text.encode("latin-1"))
    rig.faults.away = None
    rig.start()
    rig.drained()
    assert rig.found() == names(0, 20)
    rig.wait_for("spool_renamed")


def test_files_of_others_are_left_alone(rig):
    rig.spool.mkdir()
    for name in ("notes.arrows", "0.arrows", "0000000000000000001.arrows.bak"):
        (rig.spool / name).write_text("mine")
    (rig.spool / "0000000000000000009.arrows").write_text("no journal, and far too long to be a torn one" * 9)
    (rig.spool / "0000000000000000010.arrows").write_bytes(b"")
    store = rig.start()
    store.append(numbered(0, 5))
    rig.drained()
    rig.stop()
    assert rig.found() == names(0, 5)
    assert {"notes.arrows", "0.arrows", "damaged-0000000000000000009.arrows"} <= {
        p.name for p in rig.spool.iterdir()
    }


def test_one_process_has_the_folder(rig):
    rig.start()
    with pytest.raises(HepcatError, match="another hepcat server"):
        Rig(rig.folder).start()
    rig.stop()
    rig.start()


def test_what_a_disk_takes_only_half_of_does_not_replace_the_spools_name(tmp_path):
    """write(2) takes what there is room for and says no error."""
    identity = Identity(tmp_path)
    identity.give_up(1, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
        with pytest.raises(OSError, match="space"):
            identity.claim(1000)
        with pytest.raises(OSError, match="space"):
            identity.give_up(123_456_789, 123_456_789)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    identity.give_up(7, 8)
    identity.release()
    again = Identity(tmp_path)
    assert (again.writer, again.lost, again.claimed) == (identity.writer, False, 0)
    assert again.given_up == [(1, 1), (7, 8)]
    again.release()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(HepcatError, match="cannot write to the spool"):
        Rig(tmp_path).start()


def test_tables_are_looked_after_and_errors_of_that_are_told(rig, monkeypatch):
    rig.faults.maintain = HepcatError("no right to alter", "Grant it.")
    store = rig.start()
    store.append(numbered(0, 10))
    rig.drained()
    told = rig.wait_for("maintain_failed")
    assert (told["error"], told["hint"]) == ("no right to alter", "Grant it.")
    assert rig.found() == names(0, 10)
    assert rig.faults.maintained == 1
    monkeypatch.setattr(drain, "MAINTAIN_SECONDS", 0.05)
    rig.faults.maintain = None
    end = time.monotonic() + 60
    while rig.faults.maintained < 3:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_close_is_quick_while_the_database_is_away_and_idempotent(rig):
    rig.faults.away = away()
    store = rig.start()
    store.append(numbered(0, 10))
    rig.wait_for("away")
    start = time.monotonic()
    store.close(200)
    store.close()
    assert time.monotonic() - start < 60
    with pytest.raises(StoreUnavailable):
        store.append(numbered(10, 1))


def test_close_writes_what_is_left(rig):
    rig.settings = rig.settings.model_copy(update={"linger": 250, "rows": 1000})
    store = rig.start()
    store.append(numbered(0, 10))
    time.sleep(0.1)
    assert rig.found() == []
    assert rig.stop().written == 10
    assert rig.found() == names(0, 10)


def test_a_thread_that_hangs_keeps_the_folder(rig, monkeypatch):
    """It may still commit: another process that wrote the same meanwhile would write it twice."""
    monkeypatch.setattr("hepcat.stores.spooled.store.JOIN_SECONDS", 0.1)
    begun, release = threading.Event(), threading.Event()

    def hang():
        begun.set()
        release.wait()

    rig.faults.before = hang
    store = rig.start()
    store.append(numbered(0, 10))
    assert begun.wait(60)
    store.close(0)
    with pytest.raises(HepcatError, match="another hepcat server"):
        Rig(rig.folder).start()
    release.set()


def test_the_operator_sees_what_the_writer_miscounts(rig, monkeypatch):
    from tests.stores.faulty import FaultyWriter

    original = FaultyWriter.write

    def write(self, batch, first, floor):
        written = original(self, batch, first, floor)
        written.rows -= 1
        return written

    monkeypatch.setattr(FaultyWriter, "write", write)
    rig.start().append(numbered(0, 10))
    rig.drained()
    assert rig.wait_for("writer_miscounts")["rows"] == 9


def test_files_go_as_they_are_done(tmp_path, monkeypatch):
    hasten(monkeypatch)
    monkeypatch.setattr(spool_module, "FILE_OCTETS", 2**16)
    rig = Rig(tmp_path)
    rig.faults.away = away()
    store = rig.start()
    batch = traffic(50)
    for _ in range(20):
        store.append(batch)
    files = len(list(rig.spool.glob("*.arrows")))
    assert files >= 10
    rig.faults.away = None
    rig.drained()
    wait_for(lambda: len(list(rig.spool.glob("*.arrows"))) <= 1)
    wait_for(lambda: store.counts().spool_octets < 2**16)
    rig.stop()


def test_counts_of_several_are_summed():
    a = StoreCounts(taken=3, written=1, waiting=1, drops={Drop.NO_TABLE: 1}, trouble="shard 1 is away")
    b = StoreCounts(taken=2, written=1, drops={Drop.NO_TABLE: 1}, spool_octets=5, unknown=1)
    total = sum_counts([a, b])
    assert_sum(total)
    assert (total.taken, total.spool_octets, total.unknown) == (5, 5, 1)
    assert total.drops == {Drop.NO_TABLE: 2}
    assert total.trouble == "shard 1 is away"


def test_a_full_disk_for_real(tmp_path):
    """A tmpfs of 3 MB in a mount namespace of its own, filled and freed again."""
    (tmp_path / "small").mkdir()
    script = (
        f"mount -t tmpfs -o size=3m tmpfs {tmp_path / 'small'} && "
        f"exec {sys.executable} -m tests.stores.full_spool {tmp_path / 'small'} {tmp_path / 'database'}"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    if "ermi" in done.stderr or "not found" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed" in done.stdout


def test_memory_is_flat_while_a_million_records_wait(tmp_path):
    """And while they are written. A process of its own, so that its memory is only this."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stores.many_waiting", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


def test_the_store_of_a_table_of_the_configuration(tmp_path):
    from hepcat.config.databases import DatabaseSettings
    from hepcat.stores.make import make_store

    with pytest.raises(HepcatError, match="cannot read"):
        make_store(
            DatabaseSettings(name="a", url_file=tmp_path / "missing"), tmp_path, lambda event, facts: None
        )
    settings = DatabaseSettings(name="a", url=f"sqlite:///{tmp_path}/missing/database")
    pytest.importorskip("hepcat.stores.sql.writer")
    store = make_store(settings, tmp_path, lambda event, facts: None)
    assert isinstance(store, SpooledStore)
    store.append(numbered(0, 3))
    assert (tmp_path / "spool" / "a" / "writer").exists()
    store.close(0)
