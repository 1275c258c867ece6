"""The shards of a cluster: which servers, which share of the Call-IDs.

In: any server of the cluster that answers, or what was learnt from one earlier. Out: `Shard`s, in
ClickHouse's own order, and the shard of each record. What can go wrong: HepcatError for a cluster that the
server does not know; Away where no server answers.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepcat.errors import HepcatError
from hepcat.stores.clickhouse.address import Address, Host
from hepcat.stores.clickhouse.client import Away, Connection, literal

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard: `number` counts from 1; `weight` is its share of the records; the replicas hold the same."""

    number: int
    weight: int
    replicas: tuple[Host, ...]

    def __str__(self) -> str:
        return f"shard {self.number} ({', '.join(map(str, self.replicas))})"


def alone(address: Address) -> tuple[Shard, ...]:
    """Return the one shard of an address without a cluster."""
    return (Shard(1, 1, address.hosts),)


def shards_of(hashes: Array, shards: Sequence[Shard]) -> Array:
    """Return the place in `shards` of each record, as a Distributed table has it: hash modulo all weights."""
    ends = np.cumsum([shard.weight for shard in shards])
    if not len(ends) or ends[-1] == 0:
        return np.zeros(len(hashes), dtype=np.int64)
    return np.searchsorted(ends, hashes % np.uint32(ends[-1]), side="right")


@contextlib.contextmanager
def any_host(
    address: Address, *, database: str | None = None, timeout: float | None = None
) -> Iterator[Connection]:
    """Open a connection to the first host of the URL that answers. Raises Away, HepcatError."""
    connection = connect_any(address, address.hosts, database=database, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def connect_any(
    address: Address, hosts: Sequence[Host], *, database: str | None = None, timeout: float | None = None
) -> Connection:
    """Return a connection to the first of these hosts that answers. Raises Away, HepcatError."""
    reasons = []
    for host in hosts:
        connection = Connection(address, host, database=database, timeout=timeout)
        try:
            _ = connection.version
            return connection
        except Away as error:
            reasons.append(str(error))
        except BaseException:
            connection.close()
            raise
    raise Away("; ".join(dict.fromkeys(reasons)))


def read_shards(connection: Connection, address: Address) -> tuple[Shard, ...]:
    """Ask a server for the shards of the address's cluster. Raises HepcatError where it knows none."""
    if not address.cluster:
        return alone(address)
    found = connection.columns(
        "SELECT shard_num, shard_weight, host_name, port FROM system.clusters "
        f"WHERE cluster = {literal(address.cluster)} ORDER BY shard_num, replica_num"
    )
    rows = list(zip(*(values for _, values in found.values()), strict=True))
    if not rows:
        known = connection.columns("SELECT DISTINCT cluster AS name FROM system.clusters ORDER BY name")[
            "name"
        ][1]
        names = ", ".join(name.decode(errors="replace") for name in known) or "none"
        raise HepcatError(
            f'ClickHouse {connection.host} knows no cluster "{address.cluster}"',
            f"It knows: {names}. Name one of them, or define it in the server's remote_servers.",
        )
    shards: dict[int, Shard] = {}
    for number, weight, host, port in rows:
        before = shards.get(number)
        replicas = (*(before.replicas if before else ()), Host(host.decode(), int(port)))
        shards[number] = Shard(int(number), int(weight), replicas)
    return tuple(shards.values())


def learn_shards(address: Address, path: Path) -> tuple[Shard, ...]:
    """Return the cluster's shards from a server, or from the file where none answers just now.

    Raises HepcatError where no server answers and none ever has.
    """
    if not address.cluster:
        return alone(address)
    try:
        with any_host(address, database="") as connection:
            shards = read_shards(connection, address)
    except Away as error:
        known = _load(path, address.cluster)
        if known is None:
            raise HepcatError(
                f'cannot learn the shards of cluster "{address.cluster}": {error}',
                "One host of the URL has to answer once, the first time; after that hepcat starts without.",
            ) from None
        return known
    _save(path, address.cluster, shards)
    return shards


def _load(path: Path, cluster: str) -> tuple[Shard, ...] | None:
    try:
        known = json.loads(path.read_text())
        if known["cluster"] != cluster:
            return None
        return tuple(
            Shard(
                int(s["number"]),
                int(s["weight"]),
                tuple(Host(str(r["name"]), int(r["port"])) for r in s["replicas"]),
            )
            for s in known["shards"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(path: Path, cluster: str, shards: Sequence[Shard]) -> None:
    """Remember the shards; a disk that is full does not keep the store from starting."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(
            json.dumps({"cluster": cluster, "shards": [asdict(shard) for shard in shards]}, indent=1)
        )
        os.replace(new, path)
