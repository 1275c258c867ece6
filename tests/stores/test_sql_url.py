"""db_url of SQL databases: what is read from it, and that no password ever shows."""

import sqlite3
import traceback
from pathlib import Path

import pymysql
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hepcat.batch.drops import Drop
from hepcat.errors import HepcatError
from hepcat.stores.sql.engine import connecting, explain, open_engine, shown
from hepcat.stores.sql.explain import Kind, fault_of
from hepcat.stores.sql.url import parse_url
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import BatchRefused

URLS = {
    "mysql://kamailio:kamailiorw@localhost/kamailio": (
        "localhost",
        None,
        "kamailio",
        "kamailiorw",
        "kamailio",
    ),
    "mysql://u:p@db.example.org:3307/sip": ("db.example.org", 3307, "u", "p", "sip"),
    "MariaDB://u:p@[2001:db8::1]:3306/sip": ("2001:db8::1", 3306, "u", "p", "sip"),
    "postgres://u@h/sip": ("h", None, "u", None, "sip"),
    "postgresql://u:@h/sip": ("h", None, "u", None, "sip"),
    "postgres:///sip": (None, None, None, None, "sip"),
    "mysql://u:a@b:c/d?e#f%40@h:1/sip": ("h", 1, "u", "a@b:c/d?e#f%40", "sip"),
}


@pytest.mark.parametrize("text", URLS)
def test_servers(text: str) -> None:
    url = parse_url(text).url
    assert (url.host, url.port, url.username, url.password, url.database) == URLS[text]


def test_options() -> None:
    assert parse_url("mysql://u:p@localhost/sip?socket=/run/m.sock").options == {"unix_socket": "/run/m.sock"}
    target = parse_url("postgres://u:p@h/sip?sslmode=require&sslrootcert=/etc/ca.pem")
    assert target.options == {"sslmode": "require", "sslrootcert": "/etc/ca.pem"}
    with pytest.raises(HepcatError, match='unknown option "sslmod"') as error:
        parse_url("postgres://u:p@h/sip?sslmod=require")
    assert "sslmode" in error.value.hint


def test_files() -> None:
    assert parse_url("sqlite:////var/lib/sip.db").url.database == "/var/lib/sip.db"
    assert parse_url("sqlite:///sip.db").url.database == "sip.db"


def test_data_sources() -> None:
    for text, wanted in {
        "unixodbc://sip": "DSN=sip",
        "unixodbc:///sip": "DSN=sip",
        "unixodbc://u:p@localhost/sip": "DSN=sip;UID=u;PWD=p",
        "unixodbc://u:p;DSN=}x@h/sip": "DSN=sip;UID=u;PWD={p;DSN=}}x}",
    }.items():
        assert parse_url(text).options == {"odbc_connect": wanted}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mysql://u:secret@h", "names no database"),
        ("mysql://u:secret@h/", "names no database"),
        ("mysql://u:secret@h:70000/sip", "no HOST or HOST:PORT"),
        ("mysql://u:secret@a:b:c/sip", "no HOST or HOST:PORT"),
        ("sqlite://", "names no file"),
        ("unixodbc://u:secret@h/", "names no data source"),
        ("text:///folder", "not an SQL database"),
        ("oracle://u:secret@h/sip", '"oracle://" is no URL'),
        ("u:secret@h", "no URL of a database"),
    ],
)
def test_bad_urls(text: str, words: str) -> None:
    with pytest.raises(HepcatError, match=words) as error:
        parse_url(text)
    assert error.value.hint
    assert "secret" not in "".join(traceback.format_exception(error.value))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=8))
def test_any_password_is_read_and_never_shown(password: str) -> None:
    for scheme in ("mysql", "postgres", "unixodbc"):
        target = parse_url(f"{scheme}://user:{password}@host/base")
        assert target.shown == f"{scheme}://user:***@host/base"
        assert target.kind == "odbc" or target.url.password == password
        assert repr(target) == f"Target({target.shown})"


def test_no_driver_shows_the_password() -> None:
    for scheme in ("mysql", "postgres"):
        with (
            pytest.raises(StoreUnavailable) as error,
            connecting(open_engine(f"{scheme}://u:hush/ab@127.0.0.1:1/d")),
        ):
            pass
        assert "hush" not in "".join(traceback.format_exception(error.value))
        assert f"{scheme}://u:***@127.0.0.1:1/d" in str(error.value)


# ---- what refusals mean


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (2003, Kind.AWAY),
        (1045, Kind.DENIED),
        (1049, Kind.DENIED),
        (1142, Kind.DENIED),
        (1146, Kind.DENIED),
        (1114, Kind.FULL),
        (1290, Kind.DENIED),
        (1205, Kind.BUSY),
        (1213, Kind.BUSY),
        (1040, Kind.AWAY),
        (1062, Kind.DATA),
        (9999, Kind.UNKNOWN),
    ],
)
def test_numbers_of_mariadb(number: int, kind: Kind) -> None:
    assert fault_of(pymysql.err.OperationalError(number, "words")).kind is kind


def test_a_full_disk_by_whatever_number() -> None:
    told = explain(
        pymysql.err.InternalError(1030, 'Got error 28 "No space left on device" from engine'), "db"
    )
    assert isinstance(told, StoreUnavailable)
    assert told.drop is Drop.STORE_FULL
    assert str(told).startswith("db: the database's disk or table is full")


def test_kinds_become_exceptions() -> None:
    assert isinstance(explain(pymysql.err.OperationalError(2013, "gone")), StoreUnavailable)
    assert isinstance(explain(pymysql.err.OperationalError(1213, "deadlock")), BatchRefused)
    assert type(explain(pymysql.err.OperationalError(1045, "denied"))) is HepcatError
    assert type(explain(ValueError("odd"))) is HepcatError
    kept = HepcatError("as it was")
    assert explain(kept) is kept


def test_only_one_line_of_a_drivers_words_is_told() -> None:
    fault = fault_of(pymysql.err.ProgrammingError(1064, "syntax error\n" + "INSERT " * 9_000))
    assert len(fault.words) < 400
    assert "\n" not in fault.words


def test_sqlite_files(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with (
        pytest.raises(HepcatError, match="cannot open") as error,
        connecting(open_engine(f"sqlite:///{path}")),
    ):
        pass
    assert "hepcat db create" in error.value.hint
    assert not path.exists()
    with connecting(open_engine(f"sqlite:///{path}", create=True)) as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
    assert path.exists()
    engine = open_engine(f"sqlite:///{path}")
    assert shown(engine) == f"sqlite:///{path}"
    with pytest.raises(HepcatError, match="table is missing"), connecting(engine) as connection:
        connection.exec_driver_sql("SELECT * FROM other")
    (tmp_path / "text.db").write_text("no database at all, " * 100)
    with (
        pytest.raises(HepcatError, match="no SQLite database"),
        connecting(open_engine(f"sqlite:///{tmp_path / 'text.db'}")) as connection,
    ):
        connection.execute(sa.text("SELECT * FROM t"))


def test_a_locked_file_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    holder = sqlite3.connect(path)
    holder.execute("CREATE TABLE t (a)")
    holder.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError) as error:
        other.execute("INSERT INTO t VALUES (1)")
    assert fault_of(error.value).kind is Kind.BUSY
    holder.close()
    other.close()
