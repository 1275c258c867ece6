"""Kamailio with its module sipcapture, as a baseline: Debian's program, HEP in, rows in a database out.

In: the classic db_url of a database that has the tables. Out: a server that runs for the length of a block.
What can go wrong: Skipped where Kamailio or its module for that database is not installed; RuntimeError with
its last words where it stores nothing.
"""

import glob
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from hepcat.bench.databases import find_program
from hepcat.bench.measure import Skipped
from hepcat.bench.processes import family_cpu, free_port, run_json

#: Nothing but what it takes to store: all else is the program's default.
_CONFIG: Final = """#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children={children}
auto_aliases=no
listen=udp:127.0.0.1:{port}
mpath="{modules}/"
loadmodule "pv.so"
loadmodule "db_{scheme}.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "{url}")
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "hep_capture_on", 1)
request_route {{ sip_capture(); drop; }}
onreply_route {{ sip_capture(); drop; }}
"""
_PATIENCE: Final = 30.0


class Kamailio:
    """It runs while the block does. `options`: words of its command line, `-x fm -X fm` for example."""

    def __init__(self, folder: Path, url: str, options: Sequence[str] = (), children: int = 4) -> None:
        scheme = url.partition(":")[0]
        modules = glob.glob(f"/usr/lib/*/kamailio/modules/db_{scheme}.so")
        if not modules:
            raise Skipped(f"Kamailio's module db_{scheme} is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port(socket.SOCK_DGRAM)
        self._log_path = folder / "kamailio.log"
        config = folder / "kamailio.cfg"
        names = {"port": self.port, "scheme": scheme, "url": url, "modules": str(Path(modules[0]).parent)}
        config.touch(mode=0o600)
        config.write_text(_CONFIG.format(children=children, **names))
        command = [find_program("kamailio"), "-f", str(config), "-DD", "-E", *options]
        self._log: IO[bytes] = self._log_path.open("wb")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"udp://127.0.0.1:{self.port}"

    def wait_ready(self, stored: Callable[[], int]) -> None:
        """Send single messages until one of them is stored."""
        end = time.monotonic() + _PATIENCE
        while not stored():
            if self._process.poll() is not None or time.monotonic() > end:
                words = self._log_path.read_text(errors="replace").splitlines()[-3:]
                raise RuntimeError("kamailio stores nothing: " + " ".join(words))
            run_json("bench", "hep", "--to", self.url, "--messages", "1", "--json")
            time.sleep(0.1)

    def cpu_seconds(self) -> float:
        """Of all its processes."""
        return family_cpu(self._process.pid)

    def __enter__(self) -> "Kamailio":
        return self

    def __exit__(self, *_: object) -> None:
        """End it; where it does not, with its children, which are of its process group."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
