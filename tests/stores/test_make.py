"""Making stores: what a writer needs is imported before the server becomes another user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hepcat.config.databases import DatabaseSettings
from hepcat.stores.sql.ddl import ensure_table
from hepcat.stores.sql.engine import open_engine
from tests.servers import Servers

#: Says which modules a writer imports at its first connection, once its drivers were imported.
CHILD = """
import sys
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.make import import_drivers
from hepcat.stores.sql.writer import SqlWriter

settings = DatabaseSettings(name="x", url=sys.argv[2])
import_drivers(sys.argv[1])
before = set(sys.modules)
writer = SqlWriter(settings)
writer.open("w")
writer.close()
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("kind", ["mysql", "postgres", "sqlite"])
def test_a_connection_imports_nothing(kind: str, servers: Servers, tmp_path: Path) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/calls.db"
    else:
        url = servers.sql({"mysql": "mariadb"}.get(kind, kind)).url
    settings = DatabaseSettings(name="x", url=url)
    engine = open_engine(url, create=True)
    ensure_table(engine, "sip_capture", settings)
    engine.dispose()
    child = subprocess.run(
        [sys.executable, "-c", CHILD, kind, url],
        capture_output=True, text=True, timeout=120, env=dict(os.environ),
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == [], "imported as another user, who might not be allowed to"


def test_a_slash_too_many_does_no_harm(tmp_path: Path) -> None:
    """SQLite would take what follows two slashes for a host."""
    with open_engine(f"sqlite:////{tmp_path}/calls.db", create=True).connect():
        assert (tmp_path / "calls.db").exists()
