"""hepcat sql: results, errors without a traceback, and a lake that cannot be changed."""

import pytest

from hepcat.cli.sql import run
from hepcat.stores.lake import Lake, LakeWriter
from tests.lake.make import numbered
from tests.support import hepcat


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("lake")
    with LakeWriter(path) as writer:
        writer.append(numbered(0, 12))
        writer.seal()
        writer.append(numbered(12, 3, hep_type=100))
    return path


def test_a_query_of_sealed_and_journalled_records(data):
    done = hepcat(
        "sql",
        "--data",
        str(data),
        "-c",
        "SELECT count(*) AS n, max(call_id) AS c FROM sip; SELECT count(*) AS logs FROM log",
    )
    assert "logs" in done.stdout
    assert "3" in done.stdout
    done = hepcat("sql", "--data", str(data), input="DESCRIBE sip")
    assert "TIMESTAMP WITH TIME ZONE" in done.stdout
    assert "payload" in done.stdout


def test_null_bytes_and_time_are_shown(data):
    done = hepcat(
        "sql", "--data", str(data), "-c", "SELECT ts, status, payload, '[red]x' FROM sip ORDER BY ts LIMIT 1"
    )
    assert "2026-11-23 12:00:00+00:00" in done.stdout
    assert "X 0" in done.stdout
    assert "[red]x" in done.stdout


def test_rows_are_bounded(data):
    done = hepcat("sql", "--data", str(data), "--rows", "5", "-c", "SELECT call_id FROM sip")
    assert "the first 5 rows" in done.stdout
    assert len(done.stdout.splitlines()) < 10


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT nothing FROM sip",
        "DROP VIEW sip",
        "CREATE TABLE t (a int)",
        "COPY (SELECT 1) TO '{data}/x.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/x.csv'",
        "explain (format json) COPY (SELECT 1) TO '{data}/x.csv'",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '/tmp/hepcat-must-not-exist.csv'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "ATTACH '/tmp/hepcat-must-not-exist.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "PRAGMA database_list",
        "SELECT 1; DELETE FROM sip",
    ],
)
def test_what_is_wrong_or_forbidden_is_told(data, sql, capsys):
    with Lake(data, locked=True) as lake:
        assert not run(lake, sql.format(data=data), 10)
    output = capsys.readouterr()
    assert output.err.strip()
    assert not output.out
    assert not list(data.glob("*.csv"))


def test_an_error_has_no_traceback(data):
    done = hepcat("sql", "--data", str(data), "-c", "SELECT nothing FROM sip", check=False)
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_but_the_result_is_printed(data):
    done = hepcat("sql", "--data", str(data), "-c", "SELECT ts FROM sip; SELECT ts FROM sip LIMIT 1")
    assert done.stderr == ""
    assert done.stdout.count("2026-11-23") == 1


def test_what_senders_wrote_does_not_reach_the_terminal_raw(data):
    done = hepcat(
        "sql", "--data", str(data), "-c", "SELECT chr(27) || '[2J' || chr(155) || 'x' AS \"a\x1bb\""
    )
    assert "\x1b" not in done.stdout
    assert "\x9b" not in done.stdout
    assert "\\x1b[2J\\x9bx" in done.stdout


@pytest.mark.parametrize(
    "sql", ["EXPLAIN SELECT 1", "explain analyze select count(*) from sip", "DESCRIBE sip"]
)
def test_queries_may_be_explained(data, sql):
    assert hepcat("sql", "--data", str(data), "-c", sql).stdout


def test_the_folder_of_the_configuration(data, tmp_path):
    config = tmp_path / "hepcat.toml"
    config.write_text(f'data = "{data}"')
    done = hepcat("sql", "--config", str(config), "-c", "SELECT count(*) AS n FROM sip")
    assert "12" in done.stdout
