"""Private ClickHouse servers on loopback, for benches and tests: Debian's clickhouse-server as a cluster.

In: an empty folder. Out: servers whose configurations name the cluster `hepcat` of all of them, each with an
empty database `hepcat` and a user of that name; each can be stopped, killed and started again on its port.
What can go wrong: Skipped where the program is not installed, RuntimeError where a server does not come up.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hepcat.bench.databases import PASSWORD, ServerProcess, find_program
from hepcat.bench.processes import free_port

CLUSTER: Final = "hepcat"
# The driver tells each refused connection with a traceback; here it is what waiting for a server looks like.
logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)

_CONFIG: Final = """<?xml version="1.0"?>
<yandex>
  <logger><level>warning</level><log>{folder}/log.txt</log><errorlog>{folder}/errors.txt</errorlog></logger>
  <tcp_port>{port}</tcp_port>
  <http_port>{http}</http_port>
  <interserver_http_port>{interserver}</interserver_http_port>
  <interserver_http_host>127.0.0.1</interserver_http_host>
  <listen_host>127.0.0.1</listen_host>
  <max_connections>256</max_connections>
  <uncompressed_cache_size>67108864</uncompressed_cache_size>
  <mark_cache_size>67108864</mark_cache_size>
  <path>{folder}/data/</path>
  <tmp_path>{folder}/tmp/</tmp_path>
  <users_config>{folder}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <timezone>UTC</timezone>
  <remote_servers>
    <{cluster}>{shards}</{cluster}>
  </remote_servers>
  <macros><shard>{number}</shard><replica>a</replica></macros>
  <max_table_size_to_drop>0</max_table_size_to_drop>
  <max_partition_size_to_drop>0</max_partition_size_to_drop>
</yandex>
"""
_SHARD: Final = (
    "<shard><weight>{weight}</weight><replica><host>127.0.0.1</host><port>{port}</port>"
    "<user>hepcat</user><password>{password}</password></replica></shard>"
)
_USERS: Final = """<?xml version="1.0"?>
<yandex>
  <profiles><default><max_threads>2</max_threads><load_balancing>in_order</load_balancing></default></profiles>
  <users>
    <admin><password>{password}</password><networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile><quota>default</quota></admin>
    <hepcat><password>{password}</password><networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile><quota>default</quota></hepcat>
  </users>
  <quotas><default><interval><duration>3600</duration><queries>0</queries><errors>0</errors>
    <result_rows>0</result_rows><read_rows>0</read_rows><execution_time>0</execution_time>
  </interval></default></quotas>
</yandex>
"""


class ClickHouse(ServerProcess):
    """One server. `cpu_seconds` adds up its starts."""

    scheme = "clickhouse"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cpu = 0.0

    def configure(self, number: int, ports: Sequence[int], weights: Sequence[int]) -> None:
        """Write its configuration: it is shard `number` of a cluster of these ports, one a shard."""
        shards = "".join(
            _SHARD.format(weight=weight, port=port, password=PASSWORD)
            for port, weight in zip(ports, weights, strict=True)
        )
        (self.folder / "config.xml").write_text(
            _CONFIG.format(
                folder=self.folder, port=self.port, http=free_port(), interserver=free_port(),
                cluster=CLUSTER, shards=shards, number=number,
            )
        )  # fmt: skip
        (self.folder / "users.xml").write_text(_USERS.format(password=PASSWORD))

    def prepare(self) -> None:
        """Start it and make the database."""
        for name in ("data", "tmp"):
            (self.folder / name).mkdir()
        self.start()
        self.admin("CREATE DATABASE IF NOT EXISTS hepcat", database="")

    def admin(self, sql: str, database: str = "hepcat") -> str:
        """Run SQL as `admin`; return its rows, tabs between columns."""
        import clickhouse_driver
        import clickhouse_driver.errors

        client = clickhouse_driver.Client(
            "127.0.0.1", self.port, database or "default", "admin", PASSWORD, connect_timeout=2
        )
        try:
            rows = client.execute(sql)
        except (clickhouse_driver.errors.Error, OSError, EOFError) as error:
            raise RuntimeError(f"clickhouse: {error}") from None
        finally:
            client.disconnect()
        lines = rows if isinstance(rows, list) else []
        return "".join("\t".join(map(str, row)) + "\n" for row in lines)

    def cpu_seconds(self) -> float:
        """Return the CPU of the running process so far (proc(5), stat, fields 14 and 15)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def _command(self) -> Sequence[str]:
        return (find_program("clickhouse-server"), f"--config-file={self.folder / 'config.xml'}")


@contextlib.contextmanager
def shards(folder: Path, number: int = 2, weights: Sequence[int] = ()) -> Iterator[list[ClickHouse]]:
    """Run `number` servers, a shard each. Raises Skipped where the program is missing."""
    servers = []
    for i in range(number):
        place = folder / f"clickhouse-{i + 1}"
        place.mkdir(parents=True)
        servers.append(ClickHouse(place))
    ports = [server.port for server in servers]
    try:
        for i, server in enumerate(servers):
            server.configure(i + 1, ports, weights or [1] * number)
            server.prepare()
        yield servers
    finally:
        for server in servers:
            server.kill()


@contextlib.contextmanager
def two_shards(folder: Path) -> Iterator[list[ClickHouse]]:
    """Run two shards of the same weight."""
    with shards(folder) as servers:
        yield servers


def cluster_url(servers: Sequence[ClickHouse], user: str = "hepcat", password: str = PASSWORD) -> str:
    """Return the db_url of the cluster."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"clickhouse://{user}:{password}@{hosts}/hepcat?cluster={CLUSTER}"
