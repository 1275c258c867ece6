"""The other way round: Kamailio's own sipcapture writes into the tables that hepcat made."""

import socket
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from hepcat.bench.kamailio import Kamailio
from hepcat.bench.measure import Skipped
from hepcat.stores.sql import check
from hepcat.stores.sql.engine import open_engine
from tests.stores.db.conftest import Database
from tests.stores.db.test_db_create import settings_of
from tests.support import SHARED, wait_for
from tests.wire.test_hep_recorded import read

pytestmark = pytest.mark.peer

COUNT = 130
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"\\": b"\\", b"0": b"\0"}


def recorded_rows(path: Path) -> list[dict[str, bytes]]:
    """What the module stored into its own table, as MariaDB's client printed it."""
    lines = path.read_bytes().split(b"\n")
    names = [name.decode() for name in lines[0].split(b"\t")]
    return [
        dict(zip(names, (_unescape(value) for value in line.split(b"\t")), strict=True))
        for line in lines[1:]
        if line
    ]


def _unescape(value: bytes) -> bytes:
    first, *rest = value.split(b"\\")
    return first + b"".join(_ESCAPES[part[:1]] + part[1:] for part in rest)


def as_text(value: object) -> bytes:
    if value is None:
        return b"NULL"
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_the_module_writes_into_tables_of_ours(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    vectors = SHARED / "vectors"
    if not vectors.is_dir():
        pytest.skip("no recorded vectors here")
    database: Database = request.getfixturevalue("maria_db" if kind == "mysql" else "postgres_db")
    settings = settings_of(database.url)
    check.create(settings)
    engine = open_engine(database.url)
    datagrams = list(read(vectors / "siptrace-hep3.bin"))[:COUNT]
    try:
        kamailio = Kamailio(tmp_path, database.url, ("-m", "32", "-M", "4"), children=1)
    except Skipped as reason:
        pytest.skip(str(reason))
    log = tmp_path / "kamailio.log"
    with kamailio, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:

        def stored(what: str = "*") -> int:
            with engine.connect() as connection:
                return int(connection.scalar(sa.text(f"SELECT COUNT({what}) FROM sip_capture")) or 0)

        def first_is_there() -> bool:
            out.sendto(datagrams[0], ("127.0.0.1", kamailio.port))
            time.sleep(0.3)
            return stored() > 0

        wait_for(first_is_there, 60, "the first row")
        out.sendto(datagrams[1], ("127.0.0.1", kamailio.port))  # behind all copies of the first
        wait_for(lambda: stored("DISTINCT micro_ts") > 1, 60, "the second row")
        with engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM sip_capture"))
        for number, datagram in enumerate(datagrams):
            wait_for(lambda least=number - 20: stored() >= least, 60, "its socket has room for few")
            out.sendto(datagram, ("127.0.0.1", kamailio.port))
        wait_for(lambda: stored() >= COUNT, 60, f"all rows; kamailio said: {log.read_text()[-2000:]}")
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(sa.text("SELECT * FROM sip_capture")).mappings()]
    engine.dispose()
    wanted = {(row["micro_ts"], row["msg"]): row for row in recorded_rows(vectors / "siptrace-hep3.rows.tsv")}
    assert len(found) == COUNT
    for row in found:
        text = {name: as_text(value) for name, value in row.items() if name != "id"}
        expected = wanted[text["micro_ts"], text["msg"]]
        if time.localtime().tm_gmtoff:  # recorded where local time is UTC
            text["date"] = expected["date"]
        assert text == {name: value for name, value in expected.items() if name != "id"}
    assert not [finding for finding in check.check(settings) if finding.level == "bad"]
