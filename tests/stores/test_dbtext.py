"""dbtext folders: what is written can be read back by us and by Kamailio, once each, whatever fails."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.classic.plan import PLAIN as PLAIN_FLAVOUR
from hepcat.stores.classic.plan import Cell, Charset, RowMaker
from hepcat.stores.classic.schema import SIP_CAPTURE
from hepcat.stores.dbtext import admin, folder
from hepcat.stores.dbtext.format import Malformed, make_header, parse_header, parse_row
from hepcat.stores.dbtext.reader import DbtextReader, read_rows
from hepcat.stores.dbtext.writer import DbtextWriter
from hepcat.stores.make import make_store
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import Written
from tests.support import ROOT, wait_for
from tests.wire.test_hep_recorded import SETS, oracle, version_of

from .dbtext_kamailio import kamailio_reads
from .rows_support import Datagram, call, database, every, messages, recorded
from .test_rows_kernel import hostile


@pytest.fixture
def settings(tmp_path: Path) -> DatabaseSettings:
    found = database(url=f"text://{tmp_path / 'db'}")
    admin.create(found)
    return found


def place(settings: DatabaseSettings) -> Path:
    return folder.folder_of(settings.read())


def rows_of(settings: DatabaseSettings, table: str = "sip_capture") -> list[dict[str, Any]]:
    return list(read_rows(place(settings), table))


def opened(settings: DatabaseSettings, name: str = "spool") -> DbtextWriter:
    writer = DbtextWriter(settings)
    writer.open(name)
    return writer


def numbered(first: int, count: int) -> Batch:
    """Messages whose Call-ID is their number."""
    return messages(*[call(Call_ID=b"%d" % number) for number in range(first, first + count)])


def numbers(settings: DatabaseSettings) -> list[int]:
    return [int(row["callid"]) for row in rows_of(settings)]


@pytest.mark.parametrize(("where", "name"), SETS)
def test_as_the_original_stored(where: Path, name: str, settings: DatabaseSettings) -> None:
    writer = opened(settings)
    batch = recorded(where / f"{name}.bin")
    written = writer.write(batch, 1, 0)
    assert (written.rows, written.cut, written.replaced, written.drops) == (batch.n, 0, 0, {})
    for table, kind in (("sip_capture", "rows"), ("logs_capture", "logs")):
        want = oracle(where / f"{name}.{kind}.tsv")
        got = rows_of(settings, table)
        assert [row["id"] for row in got] == list(range(1, len(want) + 1))
        without = ("id", "date", "micro_ts") if version_of(name) == 1 else ("id", "date")

        def said(row: dict[str, Any], without: tuple[str, ...] = without) -> tuple[str, ...]:
            return tuple("" if v is None else str(v) for k, v in row.items() if k not in without)

        texts = [{k: v.encode("latin-1").decode() for k, v in row.items()} for row in want]
        assert sorted(map(said, got)) == sorted(map(said, texts))
        for row in got:
            assert row["date"] == row["micro_ts"] // 10**6


def test_kamailio_reads_what_is_written(settings: DatabaseSettings, tmp_path: Path) -> None:
    """Every value of hostile messages, through Kamailio's own db_text module."""
    writer = opened(settings)
    batch = hostile(1)
    batch.ts[:] %= 2**31 * 10**6  # its whole numbers have 32 bits
    long = messages(call() + b"\xff\\:\n" * 5_000)
    assert writer.write(batch, 1, 0).rows + writer.write(long, 100, 0).rows == batch.n + 1
    assert writer.write(long, 101, 0).cut == 1
    names = [column.name for column in DbtextReader(place(settings)).columns("sip_capture")]
    ours = rows_of(settings)
    assert len(ours) == batch.n - 4 + 2
    assert len(ours[-1]["msg"].encode("utf-8", "surrogateescape")) == 16_383
    its: list[list[Any]] = [[] for _ in ours]
    for first in range(0, len(names), 23):  # as many columns as its log takes
        part = kamailio_reads(place(settings), "sip_capture", names[first : first + 23], tmp_path)
        assert len(part) == len(ours)
        for row, values in zip(its, part, strict=True):
            row += values
    for row, values in zip(ours, its, strict=True):
        for name, value in zip(names, values, strict=True):
            mine = row[name]
            octets = None if mine is None else str(mine).encode("utf-8", "surrogateescape")
            # Kamailio's script variables are text in C: they and its log end at a NUL and at a length.
            shown = value or b""
            assert (octets or b"").startswith(shown[:200]), name
            if octets is not None and len(octets) < 200 and b"\0" not in octets:
                assert octets == shown, name


def test_values_are_those_of_the_rows(settings: DatabaseSettings) -> None:
    """What the reader gives back is what the row kernel says, octet by octet."""
    batch = hostile(3)
    batch.hep_type[:] = 1
    opened(settings).write(batch, 1, 0)
    cells = [Cell(column, None, Charset.OCTETS) for column in SIP_CAPTURE.columns if column.name != "date"]
    want = RowMaker(cells, PLAIN_FLAVOUR, settings).tuples(batch, every(batch)).values
    for row, values in zip(rows_of(settings), want, strict=True):
        for cell, value in zip(cells, values, strict=True):
            mine = row[cell.column.name]
            if isinstance(value, bytes):
                assert (mine or "").encode("utf-8", "surrogateescape") == value
            else:
                assert mine == value


def test_written_once_each(settings: DatabaseSettings) -> None:
    writer = opened(settings)
    assert DbtextWriter(settings)._folder == place(settings)
    writer.write(numbered(0, 5), 10, 0)
    writer.write(numbered(5, 5), 20, 0)
    writer.close()
    assert writer.open("spool") == [(10, 14), (20, 24)]
    assert writer.open("other") == []
    writer.write(numbered(10, 1), 10, 0)
    assert writer.open("spool") == [(10, 14), (20, 24)]
    writer.write(numbered(11, 5), 15, 15)
    assert writer.open("spool") == [(10, 24)]
    writer.write(numbered(16, 1), 30, 25)
    assert writer.open("spool") == [(30, 30)]
    assert numbers(settings) == list(range(17))
    assert [row["id"] for row in rows_of(settings)] == list(range(1, 18))


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("torn", [False, True])
def test_a_crash_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool) -> None:
    """Before each thing that is made durable, and with only a part of the rows on disk."""
    dice = random.Random(torn)
    for step in range(40):
        settings = database(url=f"text://{tmp_path / f'db{step}'}")
        admin.create(settings)
        writer = opened(settings)
        writer.write(numbered(0, 3), 1, 0)
        left = step
        real = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}

        def counted(name: str, *arguments: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1
            return real[name](*arguments)  # noqa: B023

        for name in real:
            monkeypatch.setattr(os, name, lambda *a, name=name: counted(name, *a))
        crashed = False
        try:
            writer.write(numbered(3, 4), 4, 0)
        except Crash:
            crashed = True
        monkeypatch.undo()
        if torn and crashed:
            for name, size in folder.Memory.load(place(settings)).pending.items():
                path = place(settings) / name
                os.truncate(path, dice.randint(size, path.stat().st_size))
        assert numbers(settings) in ([0, 1, 2], list(range(7)))
        writer.close()
        done = writer.open("spool")
        assert done in ([(1, 3)], [(1, 7)])
        if done == [(1, 3)]:
            assert numbers(settings) == [0, 1, 2]
            writer.write(numbered(3, 4), 4, 0)
        assert numbers(settings) == list(range(7))
        writer.close()
        if not crashed:
            assert step > 3
            return
    raise AssertionError("the steps never ended")


CHILD = """
import sys
from tests.stores.test_dbtext import *
settings = database(url=sys.argv[1])
writer = DbtextWriter(settings)
done = {n for a, b in writer.open("spool") for n in range(a, b + 1)}
print("open", flush=True)
for first in range(0, 4000, 5):
    if first not in done:
        writer.write(numbered(first, 5), first, 0)
        print(first, flush=True)
print("end", flush=True)
"""


def test_killed_in_the_middle(settings: DatabaseSettings) -> None:
    dice, said = random.Random(4), -1
    for kill in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, settings.read()], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process:
            assert process.stdout.readline() == "open\n"
            process.stdout.readline()
            time.sleep(dice.random() / 8)
            process.send_signal(signal.SIGKILL)
            last = [line for line in process.stdout.read().split("\n") if line.isdigit()]
        said = int(last[-1]) if last else said
        found = numbers(settings)
        assert sorted(set(found)) == found, kill
    writer = opened(settings)
    assert numbers(settings) == list(range(len(numbers(settings))))
    assert said > 0
    assert len(numbers(settings)) >= said + 5
    assert writer.open("spool") == [(0, len(numbers(settings)) - 1)]


FULL = """
import resource, sys
from tests.stores.test_dbtext import *
settings = database(url=sys.argv[1])
writer = opened(settings)
writer.write(numbered(0, 5), 0, 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, resource.RLIM_INFINITY))
for attempt in range(2):
    try:
        writer.write(numbered(5, 20), 5, 0)
    except StoreUnavailable as error:
        print(error.drop.name)
    assert numbers(settings) == [0, 1, 2, 3, 4]
    assert writer.open("spool") == [(0, 4)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.write(numbered(5, 20), 5, 0)
print(numbers(settings) == list(range(25)))
"""


def test_no_room(settings: DatabaseSettings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, settings.read()], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("STORE_FULL\nSTORE_FULL\nTrue\n", "")


def test_two_writers(settings: DatabaseSettings) -> None:
    writer = opened(settings)
    with pytest.raises(HepcatError, match="another hepcat"):
        DbtextWriter(settings).open("spool")
    writer.close()
    opened(settings).close()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    settings = database(url=f"text://{tmp_path / 'db'}")
    with pytest.raises(HepcatError, match="no such folder") as found:
        opened(settings)
    assert "hepcat db create" in found.value.hint
    admin.create(settings)
    table = place(settings) / "sip_capture"
    table.unlink()
    with pytest.raises(HepcatError, match="no such table") as found:
        opened(settings)
    assert found.value.hint == "Make it: hepcat db create --store test"
    table.write_bytes(b"rubbish\n")
    with pytest.raises(HepcatError, match="no table of dbtext"):
        opened(settings)
    table.unlink()
    admin.create(settings)
    (place(settings) / folder.MEMORY).write_text("{}")
    with pytest.raises(HepcatError, match="cannot be read"):
        opened(settings)
    (place(settings) / folder.MEMORY).unlink()
    writer = opened(settings)
    table.unlink()
    with pytest.raises(StoreUnavailable):
        writer.write(numbered(0, 1), 0, 0)
    with pytest.raises(StoreUnavailable, match="not open"):
        writer.write(numbered(0, 1), 0, 0)


def test_other_tables(settings: DatabaseSettings) -> None:
    batch = messages(*[call()] * 5)
    batch.hep_type[:] = [1, 100, 5, 99, 200]
    (place(settings) / "rtcp_capture").unlink()
    written = opened(settings).write(batch, 0, 0)
    assert (written.rows, written.drops) == (3, {Drop.NO_TABLE: 2})
    assert [len(rows_of(settings, name)) for name in ("sip_capture", "logs_capture", "report_capture")] == [
        1
    ] * 3


def test_a_table_of_somebody_else(settings: DatabaseSettings) -> None:
    """Other columns, in another order, a last line without its end."""
    table = place(settings) / "sip_capture"
    table.write_bytes(
        b"msg(str) more(int) note(string,null) CALLID(string) n(double,null) id(int,auto)\nx:1::y::7"
    )
    batch = messages(call(), call())
    batch.src_ip[:] = 0
    assert opened(settings).write(batch, 0, 0).rows == 2
    rows = rows_of(settings)
    assert [(row["more"], row["note"], row["CALLID"], row["n"], row["id"]) for row in rows] == [
        (1, None, "y", None, 7),
        (0, None, "a@example.com", None, 1),
        (0, None, "a@example.com", None, 2),
    ]
    findings = admin.check(settings)
    assert [f.level for f in findings if f.subject == "table sip_capture"] == ["warn", "warn"]


def test_names_with_a_date(tmp_path: Path) -> None:
    settings = database(url=f"text://{tmp_path / 'db'}", table_name="sip_%Y%m%d", retention_days=3)
    admin.create(settings)
    now = int(time.time())
    batch = messages(*[Datagram(call(), ts=(now - days * 86_400) * 10**6) for days in range(7)])
    writer = opened(settings)
    assert writer.write(batch, 0, 0).rows == 7
    assert len(DbtextReader(place(settings)).tables()) == 7 + 4
    writer.maintain()
    left = [name for name in DbtextReader(place(settings)).tables() if name.startswith("sip_2")]
    assert len(left) == 4
    assert all(len(rows_of(settings, name)) == 1 for name in left)


def test_clocks_that_are_far_off_make_no_files(tmp_path: Path) -> None:
    settings = database(url=f"text://{tmp_path / 'db'}", table_name="sip_%Y%m%d")
    admin.create(settings)
    before = set(DbtextReader(place(settings)).tables())
    now = int(time.time())
    days = [0, *range(100, 300), -1, -400]
    batch = messages(*[Datagram(call(), ts=(now - day * 86_400) * 10**6) for day in days])
    writer = opened(settings)
    assert writer.write(batch, 0, 0) == Written(rows=2, drops={Drop.ROW_REFUSED: 201})
    assert len(set(DbtextReader(place(settings)).tables()) - before) <= 2
    writer.close()


def test_a_table_that_is_made_later_is_used(tmp_path: Path) -> None:
    settings = database(url=f"text://{tmp_path / 'db'}")
    admin.create(settings)
    logs = place(settings) / "logs_capture"
    kept = logs.read_bytes()
    logs.unlink()
    batch = messages(call())
    batch.hep_type[:] = 100
    writer = opened(settings)
    assert writer.write(batch, 0, 0) == Written(rows=0, drops={Drop.NO_TABLE: 1})
    logs.write_bytes(kept)
    assert writer.write(batch, 1, 0) == Written(rows=1)
    writer.close()


def test_old_rows_are_dropped(tmp_path: Path) -> None:
    settings = database(url=f"text://{tmp_path / 'db'}", retention_days=3)
    admin.create(settings)
    now = int(time.time())
    batch = messages(*[Datagram(call(), ts=(now - days * 86_400) * 10**6) for days in (9, 4, 2, 8, 0)])
    writer = opened(settings)
    writer.write(batch, 0, 0)
    (place(settings) / "sip_capture").chmod(0o664)
    writer.maintain()
    writer.maintain()
    assert [row["id"] for row in rows_of(settings)] == [3, 5]
    assert stat.S_IMODE((place(settings) / "sip_capture").stat().st_mode) == 0o664
    writer.write(batch, 5, 0)
    assert [row["id"] for row in rows_of(settings)] == [3, 5, 6, 7, 8, 9, 10]
    opened_again = writer.open("spool")
    assert opened_again == [(0, 9)]


def test_create_check_upgrade(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = database(url=f"text://{tmp_path / 'a' / 'db'}")
    said: list[str] = []
    assert admin.check(settings)[0].level == "bad"
    assert {f.found for f in admin.create(settings, said.append)} == {"made"}
    assert len(said) == 6
    assert not place(settings).exists()
    admin.create(settings)
    assert {f.found for f in admin.create(settings)} == {"is there"}
    assert {f.level for f in admin.check(settings)} == {"ok"}
    versions = {row["table_name"]: row["table_version"] for row in rows_of(settings, "version")}
    assert versions == {"version": 1} | dict.fromkeys(
        ("sip_capture", "logs_capture", "report_capture", "rtcp_capture"), 1
    )
    table = place(settings) / "sip_capture"
    columns = parse_header(table.read_bytes().split(b"\n")[0])
    kept = [c for c in columns if c.name not in ("callid_aleg", "proto", "via_1")]
    writer = opened(settings)
    table.write_bytes(make_header(kept))
    writer.open("spool")
    writer.write(numbered(0, 3), 0, 0)
    with pytest.raises(HepcatError, match="another hepcat"):
        admin.upgrade(settings)
    writer.close()
    assert "callid_aleg" in admin.check(settings)[0].found
    before = rows_of(settings)
    admin.upgrade(settings, said.append)
    assert rows_of(settings) == before
    admin.upgrade(settings)
    after = rows_of(settings)
    assert after == [row | {"callid_aleg": None, "via_1": None, "proto": 0} for row in before]
    assert {f.level for f in admin.check(settings)} == {"ok"}


@pytest.mark.parametrize(
    "line",
    [b"", b"a", b"a(", b"a()", b"a(x)", b"(int)", b"a(int", b"a(int,x)",
     b"a(int) a(str)", b"a(int))", b"a b(int)"],
)  # fmt: skip
def test_no_header(line: bytes) -> None:
    with pytest.raises(Malformed):
        parse_header(line)


@pytest.mark.parametrize(
    "line", [b"", b"1", b"1:2:3", b"x:a", b"1:a\\", b"1:a\\x", b"1.5:a", b"--1:a", b"1" * 30 + b":a", b"1:a:"]
)
def test_no_row(line: bytes) -> None:
    with pytest.raises(Malformed):
        parse_row(line, parse_header(b"n(int) s(string,null)"))


def test_rows_of_kamailio_s_kind() -> None:
    columns = parse_header(b" a(int,auto)  b( str , NULL) c(double)d(time) e(Blob,n) ")
    assert [c.type for c in columns] == ["int", "string", "double", "time", "blob"]
    assert parse_row(b"-5:x\\:y\\n:-1.50:7:\\0\\\\\xff", columns) == {
        "a": -5,
        "b": "x:y\n",
        "c": -1.5,
        "d": 7,
        "e": "\0\\\udcff",
    }
    assert parse_row(b"::::", columns) == dict.fromkeys("abcde")


def test_a_bad_line_is_named(settings: DatabaseSettings) -> None:
    opened(settings).write(numbered(0, 2), 0, 0)
    table = place(settings) / "sip_capture"
    table.write_bytes(table.read_bytes() + b"\nrubbish\n")
    with pytest.raises(HepcatError, match=r"line 5 is no row"):
        rows_of(settings)
    for name in ("../x", ".hepcat_lock", "", "a\0b"):
        with pytest.raises(HepcatError, match="no name of a table"):
            rows_of(settings, name)
    with pytest.raises(HepcatError, match="no such table"):
        rows_of(settings, "absent")
    assert np.array(rows_of(settings, "version")).size == 5


def test_as_a_store(tmp_path: Path) -> None:
    """Behind a spool, with more connections than a folder has writers; the folder is made later."""
    settings = database(url=f"text://{tmp_path / 'db'}", connections=3, rows=7)
    told: list[str] = []
    store: Any = make_store(settings, tmp_path / "data", lambda event, _: told.append(event))
    try:
        store.append(numbered(0, 40))
        wait_for(lambda: store.counts().trouble, what="the folder to be missed")
        assert "no such folder" in store.counts().trouble
        admin.create(settings)
        wait_for(lambda: store.counts().waiting == 0, what="the rows to be written")
        assert store.counts().written == 40
    finally:
        store.close()
    assert numbers(settings) == list(range(40))
    assert told == ["away", "back"]
