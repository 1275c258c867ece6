"""Child processes that are measured: their CPU, their memory, and the end of them.

In: arguments of `hepcat`. Out: a Child. Reads /proc (Linux). Ends only what it has started.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from hepcat.bench.measure import Skipped

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def hepcat(*args: str) -> list[str]:
    """Return the command line of a hepcat of this very installation."""
    return [sys.executable, "-m", "hepcat", *args]


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Child:
    """A hepcat that runs. Use as a context: it is ended at the end, by SIGKILL if need be."""

    def __init__(
        self, *args: str, log: Path | None = None, within: Sequence[str] = (), cpu: int | None = None
    ) -> None:
        """Start `hepcat args`; what it logs goes to a file.

        within: words in front of the command, which must become it. cpu: the only core that it may use.
        """
        if not Path("/proc/self/stat").exists():
            raise Skipped("CPU and memory of processes are read from Linux's /proc")
        self._log: IO[bytes] | int = open(log, "wb") if log else subprocess.DEVNULL  # noqa: SIM115
        pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
        self.process = subprocess.Popen(
            [*within, *pinned, *hepcat(*args)], stdout=subprocess.PIPE, stderr=self._log
        )

    def line(self) -> dict[str, Any]:
        """Read a line of JSON from its standard output. Raises RuntimeError where there is none."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            raise RuntimeError(f"hepcat ended with {self.process.wait()} and said nothing")
        return dict(json.loads(text))

    def cpu_seconds(self) -> float:
        """User and system time so far, its ended children's included (proc(5), stat, fields 14 to 17)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS

    def rss(self) -> int:
        """Resident memory now, octets."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def end(self, seconds: float = 60) -> float:
        """Send SIGTERM, wait; return its CPU seconds in all. Raises RuntimeError if it does not end."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_utime + usage.ru_stime
            time.sleep(0.01)
        raise RuntimeError(f"hepcat did not end within {seconds:.0f} s of SIGTERM")

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        if not isinstance(self._log, int):
            self._log.close()


def family_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and of all children that it has or had."""
    total = 0.0
    for process in (pid, *_children(pid)):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / _TICKS
    return total


def own_cpu(pid: int) -> float:
    """Return the CPU seconds of a process itself, its children left out (proc(5), stat, fields 14 and 15)."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / _TICKS
    return 0.0


def young_cpu(pid: int) -> float:
    """Return the CPU seconds of all processes that descend from one, as far as they still run."""
    return sum(own_cpu(child) + young_cpu(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    """The processes that a process has started, and that go on."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # that thread has ended
            found += map(int, path.read_text().split())
    return found


@dataclass(slots=True)
class Memory:
    """Resident memory over time: (seconds since the start, octets)."""

    samples: list[tuple[float, int]]

    def most(self) -> int:
        """The highest sample."""
        return max((octets for _, octets in self.samples), default=0)

    def mean(self, begin: float, end: float) -> float:
        """The mean of a part of the time, `begin` and `end` being shares of it."""
        last = self.samples[-1][0] if self.samples else 0.0
        chosen = [octets for at, octets in self.samples if begin * last <= at <= end * last]
        return sum(chosen) / len(chosen) if chosen else 0.0


class Watch:
    """Samples a child's memory in a thread of its own, twice a second."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._stop = threading.Event()
        self.memory = Memory([])
        self._begin = time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            try:
                self.memory.samples.append((time.perf_counter() - self._begin, self._child.rss()))
            except OSError:
                return

    def end(self) -> Memory:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()
        return self.memory


def run_json(*args: str, seconds: float = 3600, within: Sequence[str] = ()) -> dict[str, Any]:
    """Run `hepcat args` to its end; return the JSON that it prints. Raises RuntimeError with its words."""
    done = subprocess.run([*within, *hepcat(*args)], capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        raise RuntimeError(f"hepcat {' '.join(args[:2])}: {done.stderr.strip()[-300:]}")
    return dict(json.loads(done.stdout))


def fetch(url: str, seconds: float = 5) -> str:
    """Return what a URL of loopback gives."""
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        return bytes(answer.read()).decode()
