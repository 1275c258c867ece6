"""A running `hepcat agent` for tests, in this network namespace or another; its counters and its end."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.agent.hep import MakeSocket
from tests.support import HEPCAT, ROOT, free_port


class RunningAgent:
    """`hepcat agent ARGUMENTS`, started and captured; `stop` ends it and returns the exit code."""

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str | Path],
        within: Sequence[str] = (),
        make: MakeSocket = socket.socket,
        http: bool = True,
        name: str = "agent",
    ) -> None:
        """within: words before the command (ip netns exec NAME). make: sockets of that namespace."""
        self.log = folder / f"{name}.log"
        self._make = make
        self._http = free_port() if http else 0
        door = [f"--http=127.0.0.1:{self._http}"] if http else []
        command = [*within, *HEPCAT, "agent", *map(str, arguments), *door]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env={**os.environ}
            )

    def wait_ready(self, seconds: float = 120.0) -> "RunningAgent":
        """Return when it captures."""
        end = time.monotonic() + seconds
        while "Stop with Ctrl-C" not in self.text:
            code = self.process.poll()
            assert code is None, f"the agent ended with {code}:\n{self.text[-3000:]}"
            assert time.monotonic() < end, f"not ready:\n{self.text[-3000:]}"
            time.sleep(0.03)
        return self

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log lines of one kind."""
        lines = (line for line in self.text.splitlines() if line.startswith("{"))
        return [found for found in map(json.loads, lines) if found["event"] == name]

    def text_of(self, path: str) -> str:
        """Ask its HTTP door."""
        with self._make(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(60)
            sock.connect(("127.0.0.1", self._http))
            connection = http.client.HTTPConnection("127.0.0.1")
            connection.sock = sock
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def stats(self) -> dict[str, Any]:
        """Return /stats."""
        found: dict[str, Any] = json.loads(self.text_of("/stats"))
        return found

    def settled(self, seconds: float = 60.0) -> dict[str, Any]:
        """Return /stats once the sums hold, which they do when nothing is under way."""
        end = time.monotonic() + seconds
        while True:
            stats = self.stats()
            try:
                check_sums(stats)
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return stats

    def hangup(self) -> None:
        """Ask it to read its plans again."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 120.0) -> int:
        """Ask it to end; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(seconds)

    def finish(self) -> dict[str, Any]:
        """Stop it; it must end well and its last sums must hold. Return the last counters."""
        code = self.stop()
        assert code == 0, f"exit {code}:\n{self.text[-3000:]}"
        assert "Traceback" not in self.text, self.text[-3000:]
        return final_counters(self.text)

    def __enter__(self) -> "RunningAgent":
        return self.wait_ready()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
                return
            self.process.kill()
            self.process.wait()


def final_counters(text: str) -> dict[str, Any]:
    """Return the last counters of a log, with the targets' under "targets"."""
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (last,) = [event for event in events if event["event"] == "counters" and event.get("final")]
    after = events[events.index(last) + 1 :]
    targets = {event["target"]: event for event in after if event["event"] == "target"}
    return {**last, "targets": targets}


def check_sums(stats: dict[str, Any]) -> None:
    """The sums that must hold when nothing is under way: of every source, and of every target."""
    for name, counts in {**stats["sources"], "total": stats["total"]}.items():
        stages = {stage: sum(drops.values()) for stage, drops in counts["stages"].items()}
        assert counts["received"] == counts["carried"] + stages["packets"], f"{name}: {counts}"
        assert counts["messages"] == counts["forwarded"] + stages["messages"], f"{name}: {counts}"
        assert sum(counts["dropped"].values()) == sum(stages.values()), f"{name}: {counts}"
    for name, counts in stats["targets"].items():
        dropped = sum(counts["dropped"].values())
        assert counts["taken"] == counts["sent"] + counts["waiting"] + dropped, f"{name}: {counts}"
