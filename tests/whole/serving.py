"""`hepcat serve` with databases, as the tests of the whole use it."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import HEPCAT, Server, hepcat, wait_for
from tests.whole.backends import Backend

#: Seconds for a database to have taken all that waits, on a busy machine.
PATIENCE = 60.0


def config_text(backends: dict[str, Backend], stores: Sequence[str], more: str = "", **settings: Any) -> str:
    """Return a configuration. settings: of each database."""
    lines = [f"stores = {json.dumps(list(stores))}", more, "[log]", 'format = "json"']
    for name, backend in backends.items():
        lines += ["[[databases]]", f'name = "{name}"', f"url = {json.dumps(backend.url)}"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


class Whole(Server):
    """A server with a configuration file; `backends` by the name of their store."""

    def __init__(
        self,
        folder: Path,
        backends: dict[str, Backend],
        stores: Sequence[str],
        more: str = "",
        **settings: Any,
    ) -> None:
        self.config = folder / "hepcat.toml"
        self.config.write_text(config_text(backends, stores, more, **settings))
        own = {name: value for b in backends.values() for name, value in b.environment.items()}
        super().__init__(folder, "--config", str(self.config), environment=own)

    def get(self, path: str) -> str:
        """Ask the HTTP door."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def stats(self) -> dict[str, Any]:
        """Return all counters."""
        return dict(json.loads(self.get("/stats")))

    def store(self, name: str) -> dict[str, Any]:
        """Return a store's counters."""
        return dict(self.stats()["stores"][name])

    def database(self, name: str) -> dict[str, Any]:
        """Return what a database's store counts by itself."""
        return dict(self.store(name)["database"])

    def has_written(self, name: str, records: int, seconds: float = PATIENCE) -> None:
        """Wait until a database has got exactly so many records from this process."""
        wait_for(lambda: self.database(name)["written"] >= records, seconds, f"{records} in {name}")
        assert self.database(name)["written"] == records

    def read_empty(self) -> int:
        """Wait until the kernel holds nothing for it any more; return how many were received."""
        wait_for(lambda: unread(self.port) == 0, what="the socket to be read empty")
        before = -1
        while before != (now := int(self.stats()["total"]["received"])):
            before = now
            time.sleep(0.3)
        return before

    def drained(self, name: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until nothing is on its way to a store; return its counters, which add up."""

        def at_rest() -> bool:
            stats = self.stats()
            store = stats["stores"][name]
            own = store.get("database", {"waiting": 0, "trouble": None})
            return not (stats["total"]["in_flight"] or store["queued"] or own["waiting"] or own["trouble"])

        wait_for(at_rest, seconds, f"all in {name}; {self.stats()['stores'][name]}")
        store = self.store(name)
        own = store.get("database")
        if own is not None:
            assert own["taken"] == own["written"] + sum(own["dropped"].values()), own
        return store

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command with the same configuration and environment."""
        return hepcat(
            *arguments, "--config", str(self.config), check=check, env={**os.environ, **self.environment}
        )

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log whose event is this."""
        lines = (line for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def hang_up(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)


def unread(port: int) -> int:
    """Return the octets that the kernel holds for whoever reads this UDP port."""
    held = 0
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        _, local, _, _, queues = line.split()[:5]
        if int(local.partition(":")[2], 16) == port:
            held += int(queues.partition(":")[2], 16)
    return held


def send(port: int, *datagrams: bytes) -> None:
    """Send datagrams, no faster than they are read."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, ("127.0.0.1", port))


def refused(*arguments: str, environment: dict[str, str] | None = None, **options: Any) -> str:
    """Run a command that has to fail for a reason that it names; return what it says."""
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(
        [*HEPCAT, *arguments], capture_output=True, text=True, timeout=120, env=env, **options
    )
    assert done.returncode == 1, f"{done.returncode}: {done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return str(done.stderr)
