"""Connections to the hosts of one ClickHouse store, lent to one search each.

In: the store's address; hosts, where they matter. Out: connections that answered a moment ago, and the shards
as the first of them saw the cluster. What can go wrong: StoreAway where no host answers; HepcatError where
one does not let us in.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from hepcat.errors import HepcatError
from hepcat.search.clickhouse_pulse import Pulse
from hepcat.search.errors import StoreAway
from hepcat.stores.clickhouse import client as ch
from hepcat.stores.clickhouse.address import Address, Host
from hepcat.stores.clickhouse.topology import Shard, read_shards

#: Connections that are kept while nobody uses them, at most.
_IDLE: Final = 8
#: Seconds that a server which works on an answer may say nothing, beyond its own limit.
_GRACE: Final = 10.0


class Connections:
    """What is open, and what is known of the cluster. Threads share it."""

    def __init__(self, store: str, address: Address) -> None:
        """Nothing connects yet. store: its name, for what goes wrong."""
        self._store = store
        self._address = address
        self._lock = threading.Lock()
        self._idle: list[ch.Connection] = []
        self._shards: tuple[Shard, ...] = ()
        self.pulse = Pulse(address)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards; none before the first connection."""
        return self._shards

    def hosts(self) -> list[Host]:
        """Return all hosts of the cluster, as far as it is known."""
        return list(dict.fromkeys(host for shard in self._shards for host in shard.replicas))

    @contextlib.contextmanager
    def lent(self, hosts: Sequence[Host] = ()) -> Iterator[ch.Connection]:
        """Lend a connection to the first of these hosts that answers; none given: any host."""
        connection = self._kept(hosts) or self._connect(hosts)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close all connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def silent_shards(self) -> list[Shard]:
        """Find out which shards do not answer: a connection to each."""
        return [shard for shard in self._shards if not any(map(self._answers, shard.replicas))]

    def _kept(self, hosts: Sequence[Host]) -> ch.Connection | None:
        """Return a connection that is not in use, and answers."""
        while True:
            with self._lock:
                found = next((c for c in self._idle if not hosts or c.host in hosts), None)
                if found is None:
                    return None
                self._idle.remove(found)
            try:
                found.greet()
                return found
            except HepcatError as error:
                found.close()
                if isinstance(error, ch.Silent):
                    self.pulse.note(found.host, hangs=True)
                    self._forget(found.host)

    def _forget(self, host: Host) -> None:
        """Close the connections to a host that hangs."""
        with self._lock:
            gone = [c for c in self._idle if c.host == host]
            self._idle = [c for c in self._idle if c.host != host]
        for connection in gone:
            connection.close()

    def _connect(self, hosts: Sequence[Host] = ()) -> ch.Connection:
        """Connect to one of these hosts; none given: of the URL, else of the cluster as it was seen."""
        choice = list(dict.fromkeys(hosts or [*self._address.hosts, *self.hosts()]))
        hanging = self.pulse.hanging(choice)
        reasons: list[str] = []
        for host in sorted(choice, key=lambda host: host in hanging):
            connection = _connection(self._address, host)
            try:
                if not self._shards:
                    self._shards = read_shards(connection, self._address)
                else:
                    connection.greet()
                self.pulse.note(host, hangs=False)
                return connection
            except ch.Away as error:
                connection.close()
                if isinstance(error, ch.Silent):
                    self.pulse.note(host, hangs=True)
                reasons.append(str(error))
            except HepcatError:
                connection.close()
                raise
        raise StoreAway(f"store {self._store}: {'; '.join(reasons)}", "Start it, or correct the URL.")

    def _answers(self, host: Host) -> bool:
        connection = ch.Connection(self._address, host)
        try:
            connection.greet()
            return True
        except HepcatError:
            return False
        finally:
            connection.close()


def _connection(address: Address, host: Host) -> ch.Connection:
    # Longer than the server's own limits, so that the server says why.
    return ch.Connection(address, host, timeout=address.timeout + _GRACE)
