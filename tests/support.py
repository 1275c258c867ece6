"""What the tests of whole programs share: free ports, a running server, programs started and ended by pid."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hepcat.cli.main import make_app
from hepcat.errors import HepcatError

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("HEPCAT_SHARED", ROOT.parent / "shared"))
HEPCAT = [sys.executable, "-m", "hepcat"]
PROGRAM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def need(*programs: str) -> None:
    """Skip the test, naming the program, where a real peer is not installed."""
    for program in programs:
        if shutil.which(program, path=PROGRAM_PATH) is None:
            pytest.skip(f"{program} is not installed")


#: Below the ports that the kernel gives to whoever connects: it would give one away before it is listened on.
_PORTS = range(20_000, 32_000)
_GIVEN: set[int] = set()


def free_port() -> int:
    """Return a port of loopback that is free for UDP and TCP, and that nobody here was given before."""
    while True:
        port = random.SystemRandom().choice(_PORTS)  # other runs choose too, maybe from the same seed
        if port in _GIVEN:
            continue
        with (
            socket.socket() as tcp,
            socket.socket(type=socket.SOCK_DGRAM) as udp,
            contextlib.suppress(OSError),
        ):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            _GIVEN.add(port)
            return port


def wait_for(condition: Any, seconds: float = 60.0, what: str = "the condition") -> Any:
    """Poll until `condition()` is truthy and return it; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def has_socket(pid: int, *tables: str) -> bool:
    """Say whether a process has a socket of these tables of /proc/net (a port it has bound, a capture)."""
    try:
        own = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False
    lines = [line.split() for table in tables for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return any(f"socket:[{word}]" in own for line in lines for word in line)


def hepcat(*arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    done = subprocess.run([*HEPCAT, *arguments], capture_output=True, text=True, timeout=240, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"hepcat {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def hepcat_here(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line within this process: one of its own would take longer than what it does."""
    done = CliRunner().invoke(make_app(), arguments)
    stderr = done.stderr
    if isinstance(done.exception, HepcatError):  # as `main` prints it
        stderr += f"hepcat: {done.exception}\n  {done.exception.hint}\n"
    assert not check or done.exit_code == 0, (done, stderr)
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, stderr)


@contextlib.contextmanager
def program(
    arguments: Sequence[str], log: Path | None = None, sig: int = signal.SIGTERM, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of the block; end it by its pid."""
    with contextlib.ExitStack() as stack:
        output: Any = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        environment = {**os.environ, "PATH": PROGRAM_PATH, "TERM": "xterm"}
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, **options
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(sig)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class Server:
    """A `hepcat serve` of its own on loopback, with its lake in a folder of the test."""

    def __init__(
        self, folder: Path, *arguments: str, environment: dict[str, str] | None = None, page: bool = False
    ) -> None:
        """page: with the page and the API, whose process takes a second to start."""
        self.data = folder / "data"
        self.log = folder / "serve.log"
        self.port = free_port()
        self.http = free_port()
        self.arguments = arguments
        self.environment = {"HEPCAT_WEB_ENABLED": str(page).lower(), **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> "Server":
        """Start it; return when it answers."""
        listen = [f"--hep={kind}://127.0.0.1:{self.port}" for kind in ("udp", "tcp")]
        command = [*HEPCAT, "serve", "--data", str(self.data), *listen, f"--http=127.0.0.1:{self.http}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        if wait:
            self._wait()
        return self

    def _wait(self) -> None:
        """Wait until it answers; a server that does not is not left behind."""
        assert self.process is not None
        try:
            wait_for(self.ready, 60, "server ready")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def ready(self) -> bool:
        """Say whether /healthz answers; fail at once if the server ended."""
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()[-4000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/healthz", timeout=20) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def metrics(self) -> dict[str, float]:
        """Return /metrics as {name with labels: value}."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if line and line[0] != "#")
        }

    def total(self, name: str) -> int:
        """Return a metric summed over its labels."""
        return int(sum(v for k, v in self.metrics().items() if k == name or k.startswith(name + "{")))

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 120) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(seconds)

    def count(self, query: str = "", *options: str) -> int:
        """Return how many messages `hepcat search` finds."""
        found = hepcat("search", "--data", str(self.data), "--messages", "--count", *options, query)
        return int(found.stdout)

    def rows(self, query: str = "", *options: str) -> list[dict[str, Any]]:
        """Return the messages that `hepcat search` finds, as rows."""
        arguments = ("--data", str(self.data), "--messages", "--format", "jsonl", "--limit", "1000000")
        found = hepcat("search", *arguments, *options, query)
        return [json.loads(line) for line in found.stdout.splitlines()]

    def __enter__(self) -> "Server":
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def run_async(test: Callable[[], Coroutine[Any, Any, None]], seconds: float = 120) -> None:
    """Run a coroutine to its end, in a thread of its own: an open browser has an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(asyncio.wait_for(test(), seconds))).result()
