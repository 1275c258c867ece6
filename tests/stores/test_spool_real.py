"""Real databases, killed in the middle of load, and hepcat with them: each record is there once."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.make import make_store
from hepcat.stores.sql.check import create
from tests.servers import new_name
from tests.stores.child_database import BATCH
from tests.stores.rig import assert_sum, names

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def _child(url, folder, first):
    """Run a store in a process of its own, killed at the end; yields where to read how far it came."""
    command = [sys.executable, "-m", "tests.stores.child_database", url, str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        said = []
        try:
            assert child.stdout.readline() == "ready\n"
            said.append(int(child.stdout.readline()))
            yield said
        finally:
            child.kill()
            said += [int(line) for line in child.stdout.read().split("\n")[:-1] if line.isdigit()]


def _octets(shown):
    """Return the octets that a client shows as text, or as PostgreSQL shows bytea."""
    return bytes.fromhex(shown[2:]) if shown.startswith("\\x") else shown.encode()


@pytest.mark.parametrize("kind", ["mariadb", "postgres"])
def test_database_and_hepcat_are_killed_under_load(tmp_path, servers, kind):
    server, name = servers.sql(kind), new_name()
    url = server.make_database(name)
    settings = DatabaseSettings(name="real", url=url)
    create(settings)
    appended, first = [], 0
    for what in ("hepcat", "both"):
        with _child(url, tmp_path, first) as said:
            time.sleep(0.4)
            if what == "both":
                server.kill()
                time.sleep(0.2)
                server.start()
                time.sleep(0.3)
        assert said[-1] > first
        appended.append((first, said[-1]))
        first = said[-1] + BATCH  # the batch it was in the middle of may be there or not
    store = make_store(settings, tmp_path, lambda event, facts: None)
    end = time.monotonic() + 60
    while store.counts().waiting:
        assert time.monotonic() < end, store.counts()
        time.sleep(0.05)
    store.close()
    assert_sum(store.counts())
    assert store.counts().drops == {}
    found = server.admin("SELECT msg FROM sip_capture ORDER BY id", name).split("\n")
    found = [_octets(line.strip()) for line in found if line.strip()]
    maybe = {name for _, stored in appended for name in names(stored, BATCH)}
    assert [name for name in found if name not in maybe] == [
        name for begin, stored in appended for name in names(begin, stored - begin)
    ]
    assert len(found) == len(set(found))
