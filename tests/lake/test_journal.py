"""The journal: what is written is read, and a torn end is never read."""

import errno
import os

import numpy as np
import pytest

from hepcat.stores.lake.arrow import to_arrow
from hepcat.stores.lake.journal import JournalReader, JournalWriter
from tests.lake.make import build, numbered, traffic


def _path(folder, first=0):
    return folder / f"{first:019d}.arrows"


def test_round_trip_and_incremental_reading(tmp_path):
    path = _path(tmp_path, 7)
    writer = JournalWriter(path, 7, ())
    reader = JournalReader(path)
    assert reader.read() is None
    batches = [traffic(20, seed=1), traffic(1, seed=2), traffic(33, seed=3)]
    for count, batch in enumerate(batches):
        writer.append(batch)
        assert to_arrow(reader.read(), "sip").equals(to_arrow(batch, "sip"))
        assert reader.read() is None
        assert writer.rows == reader.rows == sum(b.n for b in batches[: count + 1])
    assert JournalReader(path).read().n == 54
    assert writer.sync()
    assert not writer.sync()


def test_a_batch_that_is_a_view_of_a_larger_one(tmp_path):
    whole = traffic(10)
    whole.n = 6
    path = _path(tmp_path)
    writer = JournalWriter(path, 0, ())
    writer.append(whole)
    writer.append(whole.trim())
    got = JournalReader(path).read()
    assert got.n == 12
    assert [got.text(i, "call_id") for i in range(12)] == [whole.text(i, "call_id") for i in range(6)] * 2


def test_extra_headers_come_back(tmp_path):
    batch = build([{"payload": b"p", "X-A": b"one"}], extra=("X-A",))
    JournalWriter(_path(tmp_path), 0, ("X-A",)).append(batch)
    got = JournalReader(_path(tmp_path)).read()
    assert got.extra == ("X-A",)
    assert got.text(0, "X-A") == b"one"


def test_torn_anywhere(tmp_path):
    path = _path(tmp_path)
    writer = JournalWriter(path, 0, ())
    writer.append(numbered(0, 3))
    whole = writer.octets
    writer.append(numbered(3, 2))
    octets = path.read_bytes()
    edges = {0, 1, 7, 8, whole - 1, whole, whole + 1, whole + 8, len(octets) - 1, len(octets)}
    for cut in sorted(edges | set(range(0, len(octets), 13))):
        path.write_bytes(octets[:cut])
        batch = JournalReader(path).read()
        if cut == len(octets):
            assert batch.n == 5
        elif cut >= whole:
            assert batch.n == 3
        else:
            assert batch is None


@pytest.mark.parametrize(
    "garbage", [b"\0" * 4096, b"\xff" * 64, b"\xff\xff\xff\xff\xff\xff\xff\x7f" * 8, b"HEP3" * 30]
)
def test_garbage_behind_the_last_batch_is_not_read(tmp_path, garbage):
    path = _path(tmp_path)
    JournalWriter(path, 0, ()).append(numbered(0, 3))
    with path.open("ab") as f:
        f.write(garbage)
    assert JournalReader(path).read().n == 3


def test_zeroed_blocks_of_a_power_cut_are_not_records(tmp_path):
    path = _path(tmp_path)
    writer = JournalWriter(path, 0, ())
    writer.append(numbered(0, 3))
    end = writer.octets
    writer.append(numbered(3, 50))
    octets = bytearray(path.read_bytes())
    octets[end + 3000 :] = bytes(len(octets) - end - 3000)
    path.write_bytes(octets)
    assert JournalReader(path).read().n == 3


def test_a_failed_write_leaves_nothing_of_the_batch(tmp_path, monkeypatch):
    path = _path(tmp_path)
    writer = JournalWriter(path, 0, ())
    writer.append(numbered(0, 3))
    real, calls = os.write, []

    def short(fd, data):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[:100])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="full"):
        writer.append(numbered(3, 5))
    monkeypatch.undo()
    assert path.stat().st_size == writer.octets
    writer.append(numbered(8, 1))
    batch = JournalReader(path).read()
    assert [batch.text(i, "call_id") for i in range(batch.n)] == [b"0", b"1", b"2", b"8"]


def test_a_journal_that_was_removed_is_noticed(tmp_path):
    writer = JournalWriter(_path(tmp_path), 0, ())
    assert not writer.is_gone()
    _path(tmp_path).unlink()
    assert writer.is_gone()


def test_a_damaged_slice_raises_and_reads_nothing_else(tmp_path):
    batch = numbered(0, 3)
    batch.fields[1, 0] = (65_535, 65_535)
    JournalWriter(_path(tmp_path), 0, ()).append(batch)
    got = JournalReader(_path(tmp_path)).read()
    with pytest.raises(IndexError):
        to_arrow(got, "sip")
    assert to_arrow(got, "sip", np.array([0, 2])).num_rows == 2
