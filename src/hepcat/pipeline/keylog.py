"""Follows the key log of TLS while it grows (sources/keylog.py) and hands the secrets to the decoders.

In: a path. Out: secrets, within POLL_SECONDS of being written. What can go wrong: the file cannot be read;
told once, tried again.
"""

import threading
from pathlib import Path
from typing import Any, Final

import structlog

from hepcat.sources.keylog import KeyLogFollower

#: Records wait for their secrets for some seconds; a look costs one stat(2).
POLL_SECONDS: Final = 0.1

log = structlog.get_logger("hepcat.tls")


class KeyLogThread:
    """Reads what is new every POLL_SECONDS."""

    def __init__(self, path: Path, secrets: Any) -> None:
        self._follower = KeyLogFollower(path)
        self._path = path
        self._secrets = secrets
        self._told = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keylog", daemon=True)

    def start(self) -> None:
        """Read what is there, then follow."""
        if not self._path.exists():
            log.warning("there is no key log yet; TLS is read once it appears", path=str(self._path))
        self.poll()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()

    def poll(self) -> None:
        """Look once."""
        octets = self._follower.poll()
        error = self._follower.error
        if error and error != self._told:
            log.warning("cannot read the key log", path=str(self._path), error=error)
        self._told = error or ""
        if octets:
            self._secrets.add_keylog(octets)

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.poll()
