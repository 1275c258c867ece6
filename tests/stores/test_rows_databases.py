"""Hostile values through the real readers of each flavour: LOAD DATA, VALUES and COPY."""

from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from hepcat.stores.classic.plan import BULK, COPY, LOAD_DATA, PLAIN, VALUES, Cell, Charset, RowMaker
from hepcat.stores.classic.schema import SIP_CAPTURE
from hepcat.stores.sql.mysql import MemoryConnection
from tests.servers import Servers

from .rows_support import SETTINGS, every
from .test_rows_kernel import hostile

TEXTS = [column for column in SIP_CAPTURE.columns if column.kind in ("text", "octets")]
MYSQL = [
    ("utf8mb3", Charset.UTF8MB3),
    ("utf8mb4", Charset.UTF8MB4),
    ("latin1", Charset.LATIN1),
    ("binary", Charset.OCTETS),
]


@pytest.fixture
def mariadb(servers: Servers) -> Any:
    return servers.sql("mariadb")


@pytest.fixture
def postgres(servers: Servers) -> Any:
    return servers.sql("postgres")


def octets(values: list[tuple[Any, ...]]) -> list[tuple[bytes, ...]]:
    return [tuple(v if isinstance(v, bytes) else v.encode() for v in row) for row in values]


@pytest.mark.parametrize(("name", "charset"), MYSQL, ids=[name for name, _ in MYSQL])
def test_mariadb(mariadb: Any, name: str, charset: Charset) -> None:
    url = urlsplit(mariadb.url)
    connection = MemoryConnection(
        host=url.hostname,
        port=url.port,
        user=url.username,
        password=url.password or "",
        database=url.path[1:],
        charset="utf8mb4",
    )
    cells = [Cell(column, column.width, charset) for column in TEXTS]
    kind = "varbinary(%d)" if name == "binary" else "varchar(%d) character set " + name
    columns = ", ".join(f"{cell.column.name} {kind % cell.width} not null" for cell in cells)
    names = ", ".join(cell.column.name for cell in cells)
    with connection, connection.cursor() as cursor:
        cursor.execute("set sql_mode = 'STRICT_ALL_TABLES'")
        cursor.execute("drop table if exists t")
        cursor.execute(f"create table t (id int auto_increment primary key, {columns}) row_format=dynamic")
        for seed in range(3):
            batch = hostile(seed)
            want = octets(RowMaker(cells, PLAIN, SETTINGS).tuples(batch, every(batch)).values)
            connection.load_octets = RowMaker(cells, LOAD_DATA, SETTINGS).octets(batch, every(batch)).data
            cursor.execute(
                "load data local infile 'rows' into table t character set binary "
                f"fields terminated by '\\t' escaped by '\\\\' lines terminated by '\\n' ({names})"
            )
            assert cursor.rowcount == batch.n
            cursor.execute("show warnings")
            assert cursor.fetchall() == ()
            bulk = RowMaker(cells, BULK, SETTINGS).octets(batch, every(batch)).data
            marks = ", ".join("?" * len(cells))
            number = connection.prepare(f"insert into t ({names}) values ({marks})")
            assert connection.execute_bulk(number, len(cells), bulk) == batch.n
            connection.forget(number)
            values = RowMaker(cells, VALUES, SETTINGS).octets(batch, every(batch)).data.tobytes()
            cursor.execute(b"insert into t (" + names.encode() + b") values " + values[:-1])
            hexes = ", ".join(f"hex({cell.column.name})" for cell in cells)
            cursor.execute(f"select {hexes} from t order by id")
            got = [tuple(bytes.fromhex(v) for v in row) for row in cursor.fetchall()]
            assert got == want + want + want
            cursor.execute("delete from t")


def test_postgres(postgres: Any) -> None:
    cells = [
        Cell(c, None, Charset.BYTEA) if c.kind == "octets" else Cell(c, c.width, Charset.NO_NUL)
        for c in TEXTS
    ]
    columns = ", ".join(
        f"{c.column.name} " + ("bytea" if c.charset is Charset.BYTEA else f"varchar({c.width})")
        for c in cells
    )
    names = ", ".join(cell.column.name for cell in cells)
    with psycopg.connect(postgres.url) as connection, connection.cursor() as cursor:
        cursor.execute(f"create temporary table t (id serial, {columns})")  # type: ignore[arg-type]
        for seed in range(3):
            batch = hostile(seed)
            want = octets(RowMaker(cells, PLAIN, SETTINGS).tuples(batch, every(batch)).values)
            data = RowMaker(cells, COPY, SETTINGS).octets(batch, every(batch)).data
            with cursor.copy(f"copy t ({names}) from stdin") as copy:  # type: ignore[arg-type]
                copy.write(data.tobytes())
            cursor.execute(f"select {names} from t order by id")  # type: ignore[arg-type]
            got = octets([tuple(row) for row in cursor.fetchall()])
            assert got == want
            cursor.execute("delete from t")
