"""The newest records in memory, against the same asked of the files."""

import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hepcat.config.lake import LakeSettings
from hepcat.stores.lake import Lake, LakeWriter, recent
from hepcat.stores.lake.compact import Compactor
from hepcat.stores.lake.reader import Snapshot
from hepcat.stores.lake.recent import KEPT, LOOKED_FOR
from tests.lake.make import NOON, Record, build

#: Values that are awkward: empty, one the beginning of another, not ASCII, quotes, not UTF-8, long.
VALUES = (b"", b"a", b"ab", "é\u202e".encode(), b"' OR 1=1 --", b"\xff\xfe", b"n" * 300)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which files are read into memory."""
    names: list[str] = []
    real = recent._read

    def noting(path: str) -> recent.Kept | None:
        names.append(path)
        return real(path)

    monkeypatch.setattr(recent, "_read", noting)
    return names


def records(dice: random.Random, n: int) -> list[Record]:
    made: list[Record] = []
    for _ in range(n):
        record: Record = {"payload": b"x", "ts": NOON + dice.randrange(10**9), "src_port": dice.randrange(3)}
        for name in (*LOOKED_FOR, "method", "reason_phrase", "from_domain"):
            if dice.random() < 0.7:
                record[name] = dice.choice((*VALUES, b"%d" % dice.randrange(9)))
        if dice.random() < 0.6:
            record |= {"status": dice.choice((100, 200, 486)), "expires": dice.choice((0, 1, 2**32 - 2))}
        record["src_ip"] = dice.choice(("10.0.0.1", "2001:db8::1"))
        made.append(record)
    return made


def settle(lake: Lake) -> None:
    """Wait until all is read that is to be kept."""
    with lake.snapshot():
        pass
    assert lake._recent is not None
    if reading := lake._recent._reading:
        reading.join()


def rows_of(snapshot: Snapshot, relation: str, wanted: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the records of a relation that have one of the values, in any order."""
    table = pa.table(
        {
            "name": [name for name, values in wanted.items() for _ in values],
            "value": pa.array([value for values in wanted.values() for value in values], pa.string()),
        }
    )
    snapshot.connection.register("_wanted", table)
    has = " OR ".join(f"{name} IN (SELECT value FROM _wanted WHERE name = '{name}')" for name in wanted)
    names = ", ".join(sorted(KEPT))
    found = snapshot.connection.sql(f"SELECT {names} FROM {relation} WHERE {has or 'false'}")
    return sorted(map(repr, found.fetchall()))


def compare(lake: Lake, dice: random.Random) -> None:
    """Some values of some columns: what is narrowed holds the same records."""
    with lake.snapshot() as snapshot:
        for _ in range(8):
            columns = dice.sample(LOOKED_FOR, dice.randint(0, 3))
            values = [v.decode(errors="replace") for v in VALUES] + [str(i) for i in range(12)]
            wanted = {name: dice.sample(values, dice.randint(0, 4)) for name in columns}
            narrowed = snapshot.narrowed(wanted)
            assert narrowed is not None
            assert rows_of(snapshot, narrowed, wanted) == rows_of(snapshot, "sip", wanted)


@pytest.mark.parametrize("seed", range(6))
def test_random_records(seed: int, tmp_path: Path) -> None:
    """Of files in memory, files that are not, merged ones and journals."""
    dice = random.Random(seed)
    settings = LakeSettings(journal_rows=dice.choice((5, 40)), row_group_rows=1024, compact_files=3)
    with LakeWriter(tmp_path, settings) as writer, Lake(tmp_path, remember=True) as lake:
        for _ in range(12):
            writer.append(build(records(dice, dice.randint(1, 30))))
            if dice.random() < 0.5:
                settle(lake)
            if dice.random() < 0.3:
                Compactor(tmp_path, settings, lambda *_: None).step()
            compare(lake, dice)


def test_without_memory_and_without_records(tmp_path: Path) -> None:
    with LakeWriter(tmp_path):
        pass
    with Lake(tmp_path) as plain, plain.snapshot() as snapshot:
        assert snapshot.narrowed({"call_id": ["a"]}) is None
    with Lake(tmp_path, remember=True) as lake:
        settle(lake)
        compare(lake, random.Random(1))


def test_no_record_has_half_a_surrogate_pair(tmp_path: Path) -> None:
    with LakeWriter(tmp_path) as writer:
        writer.append(build([{"payload": b"x", "ts": NOON, "call_id": b"a"}]))
        writer.seal()
    with Lake(tmp_path, remember=True) as lake:
        settle(lake)
        with lake.snapshot() as snapshot:
            narrowed = snapshot.narrowed({"call_id": ["\udcff", "a"]})
            assert narrowed is not None
            assert len(rows_of(snapshot, narrowed, {"call_id": ["a"]})) == 1


def sealed(folder: Path, *records: int) -> None:
    """Seal a file of so many records each; nothing merges them."""
    with LakeWriter(folder, LakeSettings(compact=False)) as writer:
        for number, many in enumerate(records):
            calls = [
                {"payload": b"x", "ts": NOON + number, "call_id": b"%d-%d" % (number, i)} for i in range(many)
            ]
            writer.append(build(calls))
            writer.seal()


def test_each_file_is_read_once_and_merged_ones_not_at_all(tmp_path: Path, read: list[str]) -> None:
    sealed(tmp_path, *[10] * 9)
    with Lake(tmp_path, remember=True) as lake:
        for _ in range(3):
            settle(lake)
        assert len(read) == len(set(read)) == 9
        while Compactor(tmp_path, LakeSettings(compact_files=3), lambda *_: None).step():
            pass
        settle(lake)
        with lake.snapshot() as snapshot:
            assert snapshot.files < 9
            narrowed = snapshot.narrowed({"call_id": ["3-1", "8-9", "nobody"]})
            assert narrowed is not None
            assert "parquet" not in narrowed
            assert len(rows_of(snapshot, narrowed, {"call_id": ["3-1", "8-9"]})) == 2
        assert len(read) == 9


def test_the_newest_are_kept_as_far_as_there_is_room(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(tmp_path, 300)
    with Lake(tmp_path, remember=True) as lake:
        settle(lake)
        assert lake._recent is not None
        (one,) = lake._recent._octets.values()
    sealed(tmp_path, *[300] * 6, 5000, 300)  # the large one is more than there is room for
    read.clear()
    monkeypatch.setattr(recent, "_AT_MOST", 4 * one + one // 2)
    with Lake(tmp_path, remember=True) as lake:
        for _ in range(3):
            settle(lake)
        assert lake._recent is not None
        kept = sorted(f.last for f in lake._recent._kept)
        with lake.snapshot() as snapshot:
            files = sorted(snapshot._footers)
    assert len(files) == 9
    assert kept == [f.last for f in files if f != files[-2]][-4:]
    assert len(read) == len(set(read)) <= 5


def test_files_that_cannot_be_read_are_left_to_who_asks(tmp_path: Path, read: list[str]) -> None:
    assert recent._read(str(tmp_path / "none.parquet")) is None
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but no more")
    assert recent._read(str(tmp_path / "broken.parquet")) is None
    pq.write_table(pa.table({"ts": [1]}), tmp_path / "other.parquet")
    assert recent._read(str(tmp_path / "other.parquet")) is None


def test_a_file_without_a_column_is_asked_itself(tmp_path: Path, read: list[str]) -> None:
    """One of an earlier version, say."""
    sealed(tmp_path, 10, 10)
    path = next((tmp_path / "sip").rglob("*.parquet"))
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["pid_user"]), path)
    with Lake(tmp_path, remember=True) as lake:
        for _ in range(3):
            settle(lake)
        with lake.snapshot() as snapshot:
            narrowed = snapshot.narrowed({"pid_user": ["a"], "call_id": ["0-1", "1-1"]})
            assert narrowed is not None
            assert str(path) in narrowed
            assert len(rows_of(snapshot, narrowed, {"call_id": ["0-1", "1-1"]})) == 2
    assert len(read) == 2  # not again and again


def test_searches_do_not_wait_for_reading_and_closing_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(tmp_path, 10, 10, 10)
    begun, go_on = threading.Event(), threading.Event()
    real = recent._read

    def slow(path: str) -> recent.Kept | None:
        begun.set()
        assert go_on.wait(60)
        return real(path)

    monkeypatch.setattr(recent, "_read", slow)
    lake = Lake(tmp_path, remember=True)
    with lake.snapshot() as snapshot:
        assert begun.wait(60)
        narrowed = snapshot.narrowed({"call_id": ["1-1"]})
        assert narrowed is not None
        assert narrowed.count(".parquet") == 3
        assert len(rows_of(snapshot, narrowed, {"call_id": ["1-1"]})) == 1
    assert lake._recent is not None
    thread = lake._recent._reading
    assert thread is not None
    closing = threading.Thread(target=lake.close)
    closing.start()
    go_on.set()
    closing.join()
    assert not thread.is_alive()
    assert lake._recent._kept == {}
