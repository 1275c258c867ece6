"""What Python's ssl cannot be asked for: suites of TLS 1.3, KeyUpdate, renegotiation, 0-RTT, over loopback.

`openssl s_client` talks to `openssl s_server -rev` through a relay that keeps every octet.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hepcat.batch.drops import Drop
from tests.support import free_port, wait_for
from tests.wire.tls.support import CLIENT, SERVER, Reader, identity, keylog_secrets, stretches_of

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
    pytest.mark.skipif(os.environ.get("HEPCAT_PURE") == "1", reason="no kernel here: once is enough"),
]


class Relay:
    """Listens on loopback and carries one connection on; sent: (side, octets) in order."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.sent: list[tuple[int, bytes]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.to))
        back = threading.Thread(target=self._carry, args=(server, client, SERVER), daemon=True)
        back.start()
        self._carry(client, server, CLIENT)
        back.join(60)
        for one in (client, server, self.listener):
            one.close()

    def _carry(self, source: socket.socket, target: socket.socket, side: int) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                self.sent.append((side, octets))
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def server(*options: str, answers: str = "-rev") -> Iterator[int]:
    """Run s_server, which answers each line with the line reversed (or not at all); yield its port."""
    port = free_port()
    both = identity("rsa")[0]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", both, "-key", both]
    process = subprocess.Popen(
        [*command, *([answers] if answers else []), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if b"ACCEPT" in line:
                break
        yield port
    finally:
        process.kill()
        process.wait()


def has_answer(relay: Relay, begin: int) -> bool:
    return any(side == SERVER for side, _ in relay.sent[begin:])


def at_rest(relay: Relay) -> None:
    """Wait until nothing is said for a while."""
    before = -1
    while before != (before := len(relay.sent)):
        time.sleep(0.1)


def converse(
    port: int, log: Path, lines: list[bytes], *options: str, answered: bool = True
) -> list[tuple[int, bytes]]:
    """Type lines into s_client, each after the one before was answered; return what went over the wire."""
    relay = Relay(port)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{relay.port}", "-keylogfile", str(log)]
    process = subprocess.Popen(
        [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None
    wait_for(partial(has_answer, relay, 0), 60, "the handshake")
    at_rest(relay)
    for line in lines:
        before = len(relay.sent)
        process.stdin.write(line + b"\n")
        process.stdin.flush()
        if answered and line not in b"kKR":
            wait_for(partial(has_answer, relay, before), 60, f"an answer to {line!r}")
        else:
            wait_for(lambda n=before: len(relay.sent) > n, 60, f"{line!r} on the wire")
        at_rest(relay)
    process.stdin.close()
    process.wait(60)
    relay.thread.join(60)
    return relay.sent


def read(sent: list[tuple[int, bytes]], log: Path, *more: Path) -> Reader:
    reader = Reader(keylog_secrets(b"".join(path.read_bytes() for path in (log, *more))))
    reader.feed(stretches_of(sent))
    return reader


def check(reader: Reader, lines: list[bytes]) -> None:
    assert reader.texts[CLIENT] == b"".join(line + b"\n" for line in lines)
    assert reader.texts[SERVER] == b"".join(line[::-1] + b"\n" for line in lines)
    for reason in (Drop.TLS_NO_KEY, Drop.TLS_MALFORMED, Drop.TLS_BOUND):
        assert reader.count(reason) == 0


@pytest.mark.parametrize(
    "suite",
    [
        "TLS_AES_128_GCM_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_CCM_SHA256",
        "TLS_AES_128_CCM_8_SHA256",
    ],
)
def test_tls13_suites(suite: str, tmp_path: Path) -> None:
    log = tmp_path / "keys"
    with server("-tls1_3", "-ciphersuites", suite) as port:
        sent = converse(port, log, [b"first", b"second"], "-ciphersuites", suite)
    check(read(sent, log), [b"first", b"second"])


def test_key_update(tmp_path: Path) -> None:
    """k changes the client's keys, K the server's too."""
    log = tmp_path / "keys"
    with server("-tls1_3") as port:
        sent = converse(port, log, [b"first", b"k", b"second", b"K", b"third"])
    check(read(sent, log), [b"first", b"second", b"third"])


def test_renegotiation(tmp_path: Path) -> None:
    """A second handshake within the first one's protection, with randoms and secret of its own."""
    log = tmp_path / "keys"
    with server("-tls1_2", "-client_renegotiation") as port:
        sent = converse(port, log, [b"first", b"R", b"second"], "-tls1_2")
    assert log.read_bytes().count(b"CLIENT_RANDOM") == 2
    check(read(sent, log), [b"first", b"second"])


def test_renegotiation_without_its_secret(tmp_path: Path) -> None:
    """What was said before is read; the rest is counted."""
    log, half = tmp_path / "keys", tmp_path / "half"
    with server("-tls1_2", "-client_renegotiation") as port:
        sent = converse(port, log, [b"first", b"R", b"second"], "-tls1_2")
    lines = log.read_bytes().splitlines(keepends=True)
    half.write_bytes(b"".join(line for line in lines if line != lines[-1]))
    reader = read(sent, half)
    reader.expire(10_000_000)
    assert reader.texts[CLIENT] == b"first\n"
    assert reader.texts[SERVER] == b"tsrif\n"
    assert reader.count(Drop.TLS_NO_KEY) == 2


def test_no_encrypt_then_mac(tmp_path: Path) -> None:
    """The older order of MAC and padding, which OpenSSL uses only when it is told to."""
    log = tmp_path / "keys"
    with server("-tls1_2", "-no_etm", "-cipher", "ECDHE-RSA-AES256-SHA384") as port:
        sent = converse(port, log, [b"first", b"second"], "-tls1_2")
    check(read(sent, log), [b"first", b"second"])


@pytest.mark.parametrize("known", [True, False])
def test_early_data(known: bool, tmp_path: Path) -> None:
    """0-RTT data is read where its secret is logged, else counted, and what follows is read."""
    log, session = tmp_path / "keys", tmp_path / "session"
    early = tmp_path / "early"
    early.write_bytes(b"early bird\n")
    with server("-tls1_3", "-early_data", "-no_anti_replay", answers="") as port:
        converse(port, log, [b"first"], "-sess_out", str(session), answered=False)
        log.unlink()
        resumed = ("-sess_in", str(session), "-early_data", str(early))
        sent = converse(port, log, [b"second"], *resumed, answered=False)
    assert b"CLIENT_EARLY" in log.read_bytes()
    if not known:
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(line for line in lines if b"CLIENT_EARLY" not in line))
    reader = read(sent, log)
    assert reader.texts[CLIENT] == (b"early bird\n" if known else b"") + b"second\n"
    assert reader.count(Drop.TLS_MALFORMED) == 0
    assert reader.count(Drop.TLS_NO_KEY) == (0 if known else 2)  # the data, and EndOfEarlyData
