"""Journals of other versions, and damaged ones: nothing is lost silently, nothing stops the lake."""

import dataclasses
import time

import numpy as np
import pyarrow as pa
import pytest

from hepcat.batch.layout import NUMERIC
from hepcat.batch.schema import FIELDS
from hepcat.config.lake import LakeSettings
from hepcat.stores.lake import Lake, LakeWriter, journal, keeper
from hepcat.stores.lake.arrow import to_arrow
from hepcat.stores.lake.journal import JournalReader, JournalWriter
from hepcat.stores.lake.keeper import seal_journal
from tests.lake.count import assert_exactly
from tests.lake.make import numbered, traffic

OFF = LakeSettings(compact=False)
MORE = ("payload", "sip_instance", *FIELDS[1:])  # a slice more, and not at the end


def _with_slices(batch, names):
    """Give a batch the slices of another version: known ones by name, unknown ones (1, 2)."""
    fields = np.full((batch.n, len(names) + len(batch.extra), 2), (1, 2), dtype=np.uint16)
    for i, name in enumerate((*names, *batch.extra)):
        if name in FIELDS:
            fields[:, i] = batch.fields[:, FIELDS.index(name)]
        elif name in batch.extra:
            fields[:, i] = batch.fields[:, len(FIELDS) + batch.extra.index(name)]
    return dataclasses.replace(batch, fields=fields)


def _path(root, first=0):
    (root / "journal").mkdir(parents=True, exist_ok=True)
    return root / "journal" / f"{first:019d}.arrows"


def _write(path, batches, extra=()):
    """Write a journal; returns where each batch ends."""
    writer = JournalWriter(path, int(path.name[:19]), extra)
    ends = [writer.octets]
    for batch in batches:
        writer.append(batch)
        ends.append(writer.octets)
    writer.close()
    return ends


def _call_ids(root):
    with Lake(root) as lake, lake.snapshot() as snapshot:
        return sorted(row[0] for row in snapshot.connection.execute("SELECT call_id FROM sip").fetchall())


def _overwrite(path, at, octets):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(octets)


@pytest.mark.parametrize("names", [MORE, FIELDS[:-1], FIELDS[:14] + FIELDS[15:]], ids=["more", "less", "gap"])
def test_a_journal_of_another_version_is_read_by_name(tmp_path, monkeypatch, names):
    batch = traffic(30)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "FIELDS", names)
        _write(_path(tmp_path), [_with_slices(batch, names)])
    got = JournalReader(_path(tmp_path)).read()
    assert got.fields.shape == batch.fields.shape
    for name in FIELDS:
        expected = [batch.text(i, name) if name in names else None for i in range(batch.n)]
        assert [got.text(i, name) for i in range(batch.n)] == expected
    if "call_id" in names:
        with LakeWriter(tmp_path, OFF):
            pass
        assert not _path(tmp_path).exists()
        assert _call_ids(tmp_path) == sorted(batch.text(i, "call_id").decode() for i in range(30))


def test_extra_headers_of_another_version_keep_their_place(tmp_path, monkeypatch):
    plain = numbered(0, 3)
    extra = plain.fields[:, [FIELDS.index("call_id")]]
    batch = dataclasses.replace(plain, fields=np.concatenate([plain.fields, extra], axis=1), extra=("X-A",))
    with monkeypatch.context() as patch:
        patch.setattr(journal, "FIELDS", MORE)
        _write(_path(tmp_path), [_with_slices(batch, MORE)], ("X-A",))
    got = JournalReader(_path(tmp_path)).read()
    assert to_arrow(got, "sip").equals(to_arrow(batch, "sip"))


def test_a_journal_without_names_has_the_first_slices(tmp_path, monkeypatch):
    batch = traffic(5)

    class Nameless:
        def dumps(self, value):
            return "[]"

    with monkeypatch.context() as patch:
        patch.setattr(journal, "json", Nameless())  # "slices" is empty, as if it were not there
        _write(_path(tmp_path), [batch])
    monkeypatch.setattr(journal, "FIELDS", (*FIELDS, "sip_instance"))
    got = JournalReader(_path(tmp_path)).read()
    assert got.fields.shape[1] == len(FIELDS) + 1
    assert (got.fields[:, :-1] == batch.fields).all()
    assert not got.fields[:, -1].any()


def test_columns_come_and_go(tmp_path, monkeypatch):
    batch = traffic(5)
    fewer = tuple(c for c in NUMERIC if c[0] not in ("vlan", "expires"))
    with monkeypatch.context() as patch:
        patch.setattr(journal, "NUMERIC", fewer)
        journal._schema.cache_clear()
        _write(_path(tmp_path), [batch])
    journal._schema.cache_clear()
    got = JournalReader(_path(tmp_path)).read()
    assert set(got.vlan) == {0xFFFF}
    assert set(got.expires) == {0xFFFFFFFF}
    assert (got.ts == batch.ts).all()
    monkeypatch.setattr(journal, "NUMERIC", fewer)
    journal._schema.cache_clear()
    _write(_path(tmp_path, 9), [batch])
    monkeypatch.undo()
    journal._schema.cache_clear()


def test_a_journal_that_cannot_be_read_is_set_aside_not_deleted(tmp_path):
    with pa.ipc.new_stream(str(_path(tmp_path)), pa.schema([("x", pa.int8())])) as stream:
        stream.write(pa.record_batch({"x": pa.array([1, 2], pa.int8())}))
    octets = _path(tmp_path).read_bytes()
    events = []
    with LakeWriter(tmp_path, OFF, on_event=lambda *e: events.append(e)) as writer:
        assert writer.seal()
    (kept,) = (tmp_path / "journal").glob("*.damaged")
    assert kept.read_bytes() == octets
    assert dict(events)["journal_damaged"]["octets_lost"] == len(octets)
    assert_exactly(tmp_path, 0)


@pytest.mark.parametrize("at", [0, 8, 200, 700, 1200])
def test_batches_behind_damage_are_found_and_the_journal_is_kept(tmp_path, at):
    batches = [numbered(2 * k, 2) for k in range(5)]
    ends = _write(_path(tmp_path), batches)
    _overwrite(_path(tmp_path), ends[2] + at, b"\0" * 64)
    damaged = _path(tmp_path).read_bytes()
    events = []
    with LakeWriter(tmp_path, OFF, on_event=lambda *e: events.append(e)) as writer:
        assert writer.seal()
    assert not list((tmp_path / "journal").glob("*.arrows"))
    found = _call_ids(tmp_path)
    assert found in (list("01236789"), list("0123456789"))
    kept = list((tmp_path / "journal").glob("*.damaged"))
    if len(found) < 10:
        assert [k.read_bytes() for k in kept] == [damaged]
        facts = dict(events)["journal_damaged"]
        assert facts["octets_lost"] == ends[3] - ends[2]
        assert "error" in facts, "a warning in the server's log"


@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_a_torn_end_is_no_damage(tmp_path, cut):
    ends = _write(_path(tmp_path), [numbered(0, 3), numbered(3, 3)])
    with _path(tmp_path).open("r+b") as file:
        file.truncate(ends[-1] - cut)
    reader = JournalReader(_path(tmp_path))
    assert reader.read().n == 3
    assert reader.damage() == 0
    with _path(tmp_path).open("r+b") as file:
        file.truncate(ends[1] + 5000)
        file.seek(ends[1])
        file.write(bytes(5000))
    reader = JournalReader(_path(tmp_path))
    assert reader.read().n == 3
    assert reader.damage() == 0


def test_records_that_imitate_messages_do_not_keep_a_reader_busy(tmp_path):
    records = numbered(0, 2)
    ends = _write(_path(tmp_path), [records])
    imitation = (b"\xff\xff\xff\xff\x00\x01\x00\x00" * 2_000_000)[: 2**23]
    with _path(tmp_path).open("ab") as file:
        file.write(bytes(8) + imitation)
    _overwrite(_path(tmp_path), ends[1], b"\x01" * 8)
    reader = JournalReader(_path(tmp_path))
    began = time.monotonic()
    assert reader.read().n == 2
    assert time.monotonic() - began < 30
    assert reader.damage() == 2**23 + 8


def test_no_memory_is_no_damage(tmp_path, monkeypatch):
    calls = []
    real = keeper.write_parts

    def fail(*arguments):
        calls.append(1)
        if len(calls) < 2:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(keeper, "write_parts", fail)
    events = []
    with LakeWriter(tmp_path, OFF, on_event=lambda *e: events.append(e)) as writer:
        writer.append(numbered(0, 10))
        assert writer.seal(timeout=60)
        assert writer.stats()["seal_failures"] == 1
    assert "journal_damaged" not in dict(events)
    assert_exactly(tmp_path, 10)


def test_a_journal_that_cannot_even_be_set_aside_does_not_end_the_thread(tmp_path, monkeypatch):
    def damaged(*_):
        raise IndexError("slice")

    def no(*_):
        raise OSError("read-only")

    with LakeWriter(tmp_path, OFF) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(keeper, "write_parts", damaged)
            patch.setattr(keeper.os, "rename", no)
            writer.append(numbered(0, 10))
            assert not writer.seal(timeout=0.3)
        assert writer.seal(timeout=60)
    assert_exactly(tmp_path, 10)


def test_damaged_slices_set_a_journal_aside_in_an_import_too(tmp_path):
    batch = numbered(0, 3)
    batch.fields[1, 0] = (65_535, 65_535)
    _write(_path(tmp_path), [batch])
    events = []
    assert seal_journal(tmp_path, _path(tmp_path), OFF, lambda *e: events.append(e)) == (0, 0)
    assert [name for name, _ in events] == ["journal_damaged"]
    assert_exactly(tmp_path, 0)


def test_a_length_that_points_behind_the_end_is_damage_where_batches_follow(tmp_path):
    ends = _write(_path(tmp_path), [numbered(2 * k, 2) for k in range(5)])
    octets = _path(tmp_path).read_bytes()
    length = (octets.index(numbered(4, 2).buffer.tobytes()), ends[2])  # of the third batch's body
    assert length[0] > length[1]
    for at in range(ends[2], length[0], 8):
        value = int.from_bytes(octets[at : at + 8], "little")
        if value and at + value < ends[3] and ends[3] - ends[2] - value in range(100, 2000) and value > 400:
            _overwrite(_path(tmp_path), at, (value + 2**24).to_bytes(8, "little"))
            reader = JournalReader(_path(tmp_path))
            if (batch := reader.read()).n == 4:
                assert reader.damage() == ends[5] - ends[2]
                return
            assert batch.n in (8, 10)
            _overwrite(_path(tmp_path), at, octets[at : at + 8])
    pytest.fail("no length found")


def test_damaged_names_of_columns_are_no_journal(tmp_path):
    _write(_path(tmp_path), [numbered(0, 2)])
    octets = _path(tmp_path).read_bytes()
    for old, new in ((b"vlan\0", b"vl\xffn\0"), (b"dst_port\0", b"src_port\0")):
        assert old in octets
        _path(tmp_path).write_bytes(octets.replace(old, new))
        reader = JournalReader(_path(tmp_path))
        assert reader.read() is None
        assert reader.damage() == len(octets)
