"""SIP in WebSocket and TLS from real clients and servers, captured live: every message once, none else.

The clients are the packages websockets and ssl, which share nothing with the decoders under test.
"""

import contextlib
import random
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.agent.hep import Key, UdpCollector, check_same, key_of, until
from tests.agent.running import RunningAgent
from tests.live import net
from tests.live.net import Namespace
from tests.support import need

websockets = pytest.importorskip("websockets.sync.server")
ws_client = pytest.importorskip("websockets.sync.client")
pytestmark = pytest.mark.peer
Pair = tuple[Namespace, Namespace]
#: Messages a connection in each direction.
MESSAGES = 25


@dataclass(frozen=True, slots=True)
class Case:
    """version: of TLS, none: plain. ciphers: of TLS 1.2. rsa: read with the server's key, without a key log.
    websocket: compression, None where there is no WebSocket. fragmented: messages over several frames.
    joined: the agent starts when the connections stand.
    """

    version: ssl.TLSVersion | None = None
    ciphers: str = ""
    rsa: bool = False
    websocket: str | None = None
    fragmented: bool = False
    joined: bool = False
    connections: int = 3


V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
CASES = {
    "ws": Case(websocket="none"),
    "ws-fragmented": Case(websocket="none", fragmented=True),
    "ws-joined-in-the-middle": Case(websocket="none", joined=True),
    "ws-deflate": Case(websocket="deflate"),
    "ws-deflate-fragmented": Case(websocket="deflate", fragmented=True),
    "wss-1.3": Case(V13, websocket="none"),
    "wss-1.2-deflate": Case(V12, websocket="deflate"),
    "wss-1.3-deflate-fragmented": Case(V13, websocket="deflate", fragmented=True),
    "tls-1.3": Case(V13),
    "tls-1.3-many": Case(V13, connections=15),
    "tls-1.2": Case(V12),
    "tls-1.2-chacha": Case(V12, "ECDHE-RSA-CHACHA20-POLY1305"),
    "tls-1.2-aes256-gcm": Case(V12, "ECDHE-RSA-AES256-GCM-SHA384"),
    "tls-1.2-cbc": Case(V12, "ECDHE-RSA-AES128-SHA256"),
    "tls-1.2-rsa-key": Case(V12, "AES128-GCM-SHA256", rsa=True),
    "wss-1.2-rsa-key-cbc": Case(V12, "AES256-SHA", rsa=True, websocket="none"),
}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    net.need()
    with net.pair() as made:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    need("openssl")
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=proxy"]
    subprocess.run([*words, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


def messages(connection: int, side: str) -> list[bytes]:
    """SIP of all sizes, requests and responses, some with octets beyond ASCII."""
    dice = random.Random(f"{connection} {side}")
    found = []
    for i in range(MESSAGES):
        body = ("v=0\r\ns=Grüße\r\n" + "a=x:" + "y" * dice.choice((5, 300, 1500, 9000)) + "\r\n").encode()
        start = "MESSAGE sip:b@example.org SIP/2.0" if dice.random() < 0.6 else "SIP/2.0 200 OK"
        head = (
            f"{start}\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK{side}{i}\r\nFrom: <sip:a@h>;tag=1\r\n"
            f"To: <sip:b@h>;tag=2\r\nCall-ID: {connection}-{side}-{i}@h\r\nCSeq: {i} MESSAGE\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return found


class Talk:
    """Connections between the two namespaces; all is set up by the main thread, which may enter them."""

    def __init__(self, pair: Pair, case: Case, certificate: tuple[Path, Path], keylog: Path) -> None:
        self.case = case
        self.server_tls, self.client_tls = contexts(case, certificate, keylog)
        self.listener = pair[0].socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("10.9.0.1", 5061))
        self.listener.listen(64)
        self.clients = [pair[1].socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(case.connections)]
        self.names: list[Any] = []  # the clients' own addresses
        self.go = threading.Event()
        self.ready = threading.Semaphore(0)
        self.failures: list[BaseException] = []
        self.sent: list[Key] = []
        self._mutex = threading.Lock()
        self._server: Any = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Connect everything, and wait until it stands."""
        if self.case.websocket is not None:
            self._server = websockets.serve(
                self._ws_peer,
                sock=self.listener,
                ssl=self.server_tls,
                compression=self._compression,
                subprotocols=["sip"],
                open_timeout=60,
            )
            self._spawn(self._server.serve_forever)
        for number, client in enumerate(self.clients):
            client.settimeout(60)
            client.connect(("10.9.0.1", 5061))
            self.names.append(client.getsockname())
            if self.case.websocket is None:
                accepted, _ = self.listener.accept()
                self._spawn(self._plain, accepted, self.server_tls, number, "server")
                self._spawn(self._plain, client, self.client_tls, number, "client")
            else:
                self._spawn(self._ws_client, client, number)
        for _ in range(2 * len(self.clients)):
            assert self.ready.acquire(timeout=90), self.failures

    def finish(self) -> list[Key]:
        """Let both sides talk and close; return what they sent."""
        self.go.set()
        for thread in self._threads:
            if self._server is None or thread is not self._threads[0]:
                thread.join(90)
                assert not thread.is_alive()
        if self._server is not None:
            self._server.shutdown()
            self._server = None
            self._threads[0].join(90)
        assert not self.failures, self.failures
        return self.sent

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        if self._server is not None:
            self._server.shutdown()
        for sock in (self.listener, *self.clients):
            sock.close()

    @property
    def _compression(self) -> str | None:
        return None if self.case.websocket == "none" else self.case.websocket

    def _spawn(self, work: Callable[..., Any], *arguments: Any) -> None:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                self.failures.append(error)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def _count(self, octets: bytes) -> None:
        with self._mutex:
            self.sent.append(key_of(octets))

    # ---- WebSocket

    def _ws_peer(self, connection: Any) -> None:
        number = self.names.index(connection.remote_address)
        self._ws_talk(connection, number, "server")

    def _ws_client(self, sock: socket.socket, number: int) -> None:
        options: dict[str, Any] = {"compression": self._compression, "subprotocols": ["sip"]}
        options |= {"proxy": None, "open_timeout": 60}
        if self.client_tls is not None:
            options |= {"ssl": self.client_tls, "server_hostname": "proxy.example.org"}
        scheme = "wss" if self.client_tls else "ws"
        with ws_client.connect(f"{scheme}://proxy.example.org:5061/sip", sock=sock, **options) as connection:
            self._ws_talk(connection, number, "client")

    def _ws_talk(self, connection: Any, number: int, side: str) -> None:
        self.ready.release()
        self.go.wait(120)
        for i, octets in enumerate(messages(number, side)):
            text = octets.decode()
            if self.case.fragmented:
                connection.send([text[at : at + 700] for at in range(0, len(text), 700)])
            else:
                connection.send(text if i % 3 else octets)  # text and binary frames, RFC 7118 section 5
            self._count(octets)
            if i % 10 == 5:
                connection.ping()
            connection.recv(timeout=60)

    # ---- a stream of SIP

    def _plain(self, sock: socket.socket, tls: ssl.SSLContext | None, number: int, side: str) -> None:
        assert tls is not None
        stream = tls.wrap_socket(
            sock,
            server_side=side == "server",
            server_hostname=None if side == "server" else "proxy.example.org",
        )
        stream.settimeout(60)
        self.ready.release()
        self.go.wait(120)
        waiting = messages(number, side)
        for octets in waiting:
            self._count(octets)
        whole = b"\r\n\r\n".join(waiting)  # keep-alives between them (RFC 5626)
        left = len(b"\r\n\r\n".join(messages(number, "client" if side == "server" else "server")))
        _exchange(stream, whole, left, random.Random(number))
        stream.close()


def _exchange(stream: ssl.SSLSocket, octets: bytes, left: int, dice: random.Random) -> None:
    """Send, in records of any size (their bounds are not those of the messages), and receive meanwhile.

    In one thread: OpenSSL's connections are not for two at once, which now and then look closed then.
    """
    stream.setblocking(False)
    piece = b""
    while octets or piece or left:
        if not piece:
            size = dice.choice((1, 100, 1000, 5000, 40_000))
            piece, octets = octets[:size], octets[size:]
        moved = False
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if piece:
                piece = piece[stream.send(piece) :]
                moved = True
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if left:
                left -= len(stream.recv(min(left, 65536)) or pytest.fail("closed early"))
                moved = True
        if not moved:
            assert any(select.select([stream], [stream] if piece else [], [], 60)), "nothing moves"


def contexts(
    case: Case, certificate: tuple[Path, Path], keylog: Path
) -> tuple[ssl.SSLContext, ssl.SSLContext] | tuple[None, None]:
    if case.version is None:
        return None, None
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(*certificate)
    client.load_verify_locations(certificate[0])
    client.check_hostname = False
    for context in (server, client):
        context.minimum_version = context.maximum_version = case.version
        if case.ciphers:
            context.set_ciphers(case.ciphers)
    if not case.rsa:
        client.keylog_filename = str(keylog)
    return server, client


def arguments_for(
    case: Case, certificate: tuple[Path, Path], keylog: Path, url: str, folder: Path
) -> list[str]:
    if not case.rsa:
        common = ["--dev", "vb", "--filter", "tcp port 5061", "--no-rtcp", "--to", url]
        return [*common, "--keylog", str(keylog)] if case.version else common
    path = folder / "agent.toml"
    path.write_text(
        f'[agent.tls]\nrsa_keys = ["{certificate[1]}"]\n'
        '[[agent.profiles]]\nname = "tls"\ndev = ["vb"]\nfilter = "tcp port 5061"\n'
        f'[[agent.targets]]\nname = "hepsocket"\nurls = ["{url}"]\n'
    )
    return ["--config", str(path)]


@pytest.mark.parametrize("name", CASES)
def test_every_message_once(pair: Pair, certificate: tuple[Path, Path], name: str, tmp_path: Path) -> None:
    case, (_, b), keylog = CASES[name], pair, tmp_path / "keys.log"
    keylog.touch()
    with UdpCollector(b.socket) as collector, Talk(pair, case, certificate, keylog) as talk:
        if case.joined:
            talk.start()
        words = arguments_for(case, certificate, keylog, collector.url, tmp_path)
        with RunningAgent(tmp_path, words, ["ip", "netns", "exec", b.name], b.socket) as agent:
            if not case.joined:
                talk.start()
            wanted = talk.finish()
            until(lambda: agent.stats()["total"]["forwarded"] >= len(wanted))
            agent.settled()
            counters = agent.finish()
        got = collector.close()
    assert len(wanted) == 2 * MESSAGES * case.connections
    check_same([message.key for message in got], wanted, f"{counters}")
    assert {message.protocol for message in got} == {6}
