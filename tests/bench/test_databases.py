"""The measurement of the databases: both servers really run, rows are counted, a loss is a failure."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcat.bench import databases
from hepcat.bench.databases import DatabaseServer
from hepcat.bench.kamailio import Kamailio
from hepcat.bench.lines import databases as line
from hepcat.bench.lines.databases import Trial
from hepcat.bench.measure import Skipped
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.sql import check

PLAIN = Trial(3_000.0, 12.0, 120_000, 36_000, 140.0, 300.0)
FAST = Trial(4_000.0, 12.0, 120_000, 48_000, 60.0, 300.0)
OURS = Trial(12_000.0, 24.0, 288_000, 288_000, 10.0, 60.0)


@pytest.fixture
def database() -> Iterator[DatabaseServer]:
    try:
        with databases.mariadb() as server:
            check.create(DatabaseSettings(name="db", url=server.url))
            yield server
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.peer
def test_hepcat_and_kamailio_store_into_one_table(database: DatabaseServer, tmp_path: Path) -> None:
    ours = line.hepcat_trial(tmp_path / "hepcat", database, 2_000, 2_000)
    assert ours.sent == ours.stored == 2_000
    assert 0 < ours.rate <= 2_100
    assert ours.cpu_us > 0
    assert ours.database_us > 0
    assert line.count_rows(database) == 0  # emptied for the next
    try:
        theirs = line.kamailio_trial(tmp_path / "kamailio", database, line._FAST, 1.0, rate=8_000)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert 0 < theirs.stored < 0.75 * theirs.sent
    assert theirs.cpu_us > 0
    assert theirs.database_us > 0
    log = (tmp_path / "kamailio" / "kamailio.log").read_text(errors="replace").splitlines()
    # It says that of its own default.
    assert not [text for text in log if "ERROR" in text and "insert_retry_timeout has no" not in text]


@pytest.mark.peer
def test_kamailio_that_cannot_start_is_explained(tmp_path: Path) -> None:
    try:
        with Kamailio(tmp_path, "mysql://nobody:secret@127.0.0.1:1/none") as kamailio:
            with pytest.raises(RuntimeError, match="kamailio stores nothing") as raised:
                kamailio.wait_ready(lambda: 0)
            assert "secret" not in str(raised.value)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_module_that_is_not_there_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match=re.escape("db_nothing")):
        Kamailio(tmp_path, "nothing://x@localhost/y")


def test_what_passes() -> None:
    kind = line.KINDS[0]
    assert line._stored(kind, OURS, PLAIN, FAST).passed
    assert not line._stored(kind, dataclasses.replace(OURS, rate=11_900.0), PLAIN, FAST).passed
    assert not line._stored(kind, dataclasses.replace(OURS, stored=287_999), PLAIN, FAST).passed
    assert not line._stored(kind, dataclasses.replace(OURS, stored=288_001), PLAIN, FAST).passed
    assert "3.0 times kamailio -x fm" in line._stored(kind, OURS, PLAIN, FAST).compared
    assert line._cpu(kind, OURS, PLAIN).passed
    assert not line._cpu(kind, dataclasses.replace(OURS, cpu_us=20.1), PLAIN).passed
