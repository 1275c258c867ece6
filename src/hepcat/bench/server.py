"""A `hepcat serve` of its own, with an empty lake, for the measurements. No measurement itself."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from hepcat.bench.processes import Child, fetch, free_port, hepcat

_METRIC = re.compile(r'^hepcat_(received|stored|dropped)_total\{(?:reason="(\w+)",)?[^}]*\} (\S+)$', re.M)


class Server:
    """The real command in a process of its own. Use as a context; the lake is removed at the end."""

    def __init__(self, work: Path, config: str = "", keep: bool = False) -> None:
        """Start it, and wait until it answers. config: what its configuration file holds. keep: the lake."""
        work.mkdir(parents=True, exist_ok=True)
        self.work = work
        self.keep = keep
        self.data = work / "data"
        self.udp = free_port(socket.SOCK_DGRAM)
        self.http = free_port()
        file = work / "hepcat.toml"
        file.write_text(config if "[web]" in config else f"{config}\n[web]\nenabled = false\n")
        self.child = Child(
            "serve", "--data", str(self.data), "--hep", self.url, "--http", f"127.0.0.1:{self.http}",
            "--config", str(file), log=work / "serve.log",
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                fetch(f"http://127.0.0.1:{self.http}/healthz")
                return
            except OSError as error:
                if self.child.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise RuntimeError(f"hepcat serve did not start; see {work / 'serve.log'}") from error
                time.sleep(0.05)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"udp://127.0.0.1:{self.udp}"

    def counts(self) -> dict[str, int]:
        """What /metrics says: received, stored, dropped, and each drop reason that is not 0."""
        counts = {"received": 0, "stored": 0, "dropped": 0}
        for name, reason, value in _METRIC.findall(fetch(f"http://127.0.0.1:{self.http}/metrics")):
            counts[name] += int(float(value))
            if reason and float(value):
                counts[reason] = counts.get(reason, 0) + int(float(value))
        return counts

    def database(self, name: str) -> dict[str, Any]:
        """Return what /stats says of a database: taken, written, waiting, trouble, dropped."""
        stats = json.loads(fetch(f"http://127.0.0.1:{self.http}/stats"))
        return dict(stats["stores"][name]["database"])

    def settle(self, sent: int, seconds: float = 60) -> dict[str, int]:
        """Wait until everything sent is accounted for, or nothing has changed for three seconds."""
        last, since = self.counts(), time.monotonic()
        deadline = since + seconds
        while last["stored"] + last["dropped"] < sent and time.monotonic() < deadline:
            time.sleep(0.2)
            now = self.counts()
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > 3:
                break
        return last

    def found(self) -> int:
        """Count every stored message as a person does, beside the running server."""
        return count_messages(self.data)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self.keep and self.child.process.poll() is None:
            self.child.end()
        self.child.__exit__()
        if not self.keep:
            shutil.rmtree(self.data, ignore_errors=True)


def forget_files(folder: Path) -> None:
    """Let the kernel forget what it holds of the files in a folder: the next reader waits for the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def count_messages(data: Path) -> int:
    """Return what `hepcat search` finds in all. Raises RuntimeError with its words."""
    done = subprocess.run(
        hepcat("search", "", "--messages", "--count", "--data", str(data)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"hepcat search: {done.stderr.strip()[-300:]}")
    return int(done.stdout.strip().replace(",", ""))


def on_disk(data: Path) -> dict[str, int]:
    """Return octets, rows and number of the Parquet files that count, and octets left in journals.

    Files that a merged one has replaced lie there for a moment longer: they do not count.
    """
    import pyarrow.parquet as pq

    from hepcat.stores.lake.catalog import listing

    files = [Path(file.path) for file in listing(data).files]
    return {
        "files": len(files),
        "octets": sum(file.stat().st_size for file in files),
        "rows": sum(pq.read_metadata(file).num_rows for file in files),
        "journal": sum(file.stat().st_size for file in data.rglob("*.arrows")),
    }
