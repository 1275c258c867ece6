"""HEP over TLS, and over IPv6."""

import contextlib
import datetime
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest

from hepcat.config.loader import load_settings
from hepcat.errors import HepcatError
from hepcat.pipeline.server import Server
from hepcat.pipeline.tls import make_context
from tests.serve.peers import MemoryStore, Running, hep3, invite, running
from tests.support import free_port, wait_for

x509 = pytest.importorskip("cryptography.x509")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


def make_certificate(
    folder: Path, name: str, issuer: Any = None, password: bytes = b""
) -> tuple[Path, Path, Any]:
    """Write name.pem and name.key; return both paths and (certificate, key) to sign others with."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    pem, secret = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
    return pem, secret, (certificate, key)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tls")
    made: dict[str, Any] = {"folder": folder}
    ca = None
    for name in ("ca", "server", "agent", "stranger"):
        pem, key, pair = make_certificate(folder, name, None if name in ("ca", "stranger") else ca)
        ca = ca or pair
        made[name] = (pem, key)
    return made


def settings(files: dict[str, Any], **more: Any) -> dict[str, Any]:
    pem, key = files["server"]
    return {"hep__tls__certificate": str(pem), "hep__tls__key": str(key), **more}


def client(files: dict[str, Any], who: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files["ca"][0]))
    if who:
        context.load_cert_chain(*files[who])
    return context


def connect(run: Running, context: ssl.SSLContext) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", run.port), timeout=60)
    return context.wrap_socket(sock, server_hostname="localhost")


def test_messages_over_tls(files: dict[str, Any]) -> None:
    with running("tls", **settings(files)) as run, connect(run, client(files)) as sock:
        octets = b"".join(hep3(invite(i)) for i in range(3000))
        for at in range(0, len(octets), 50_001):
            sock.sendall(octets[at : at + 50_001])
        run.settle(3000)
        assert run.store.call_ids == [str(i).encode() for i in range(3000)]
        for octet in hep3(invite("slow")):
            sock.send(bytes([octet]))
        run.settle(3001)


def test_plain_octets_on_the_tls_port_do_not_disturb(files: dict[str, Any]) -> None:
    with running("tls", **settings(files)) as run:
        with socket.create_connection(("127.0.0.1", run.port), timeout=60) as plain:
            plain.sendall(hep3(invite("plain")))
            with contextlib.suppress(ConnectionResetError):
                assert plain.recv(100)[:1] in (b"", b"\x15"), "at most a TLS alert"
        with connect(run, client(files)) as sock:
            sock.sendall(hep3(invite("good")))
            run.settle(1)
        assert run.store.call_ids == [b"good"]


def test_a_stalled_handshake_holds_nobody_up(files: dict[str, Any]) -> None:
    with running("tls", **settings(files, hep__tls__handshake_timeout=200)) as run:  # nobody waits so long
        stalled = socket.create_connection(("127.0.0.1", run.port))
        stalled.sendall(b"\x16\x03\x01")
        with connect(run, client(files)) as sock:
            sock.sendall(hep3(invite("good")))
            run.settle(1)
        stalled.setblocking(False)
        with pytest.raises(BlockingIOError):  # it is still there
            stalled.recv(1)


def test_a_stalled_handshake_ends(files: dict[str, Any]) -> None:
    with running("tls", **settings(files, hep__tls__handshake_timeout=0.3)) as run:
        stalled = socket.create_connection(("127.0.0.1", run.port), timeout=60)
        stalled.sendall(b"\x16\x03\x01")
        assert stalled.recv(1) == b""
        wait_for(lambda: run.server.counters.snapshot().total.connections == 0)


def test_a_peer_that_resets_before_it_is_accepted(files: dict[str, Any]) -> None:
    port = free_port()
    flags = {name.replace("__", "."): value for name, value in settings(files).items()}
    server = Server(load_settings(None, {"hep.listen": [f"tls://127.0.0.1:{port}"], **flags}, {}))
    server.open()
    for octets in (b"", b"\x16\x03\x01"):  # the resets wait in the backlog until the server starts
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.send(octets)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.start({"lake": (store := MemoryStore())})
    run = Running(server, store, port)
    with connect(run, client(files)) as sock:
        sock.sendall(hep3(invite("good")))
        run.settle(1)
        assert server.counters.snapshot().total.connections == 1
    run.stop()
    assert store.call_ids == [b"good"]


def test_only_agents_with_a_certificate_of_the_ca(files: dict[str, Any]) -> None:
    with running("tls", **settings(files, hep__tls__client_ca=str(files["ca"][0]))) as run:
        for who in (None, "stranger"):
            with pytest.raises(OSError), connect(run, client(files, who)) as sock:  # noqa: PT011, PT012
                sock.sendall(hep3(invite("refused")))
                sock.recv(1)  # TLS 1.3: the refusal comes with the first read
                raise ConnectionResetError("closed without an alert")
        with connect(run, client(files, "agent")) as sock:
            sock.sendall(hep3(invite("good")))
            run.settle(1)
        assert run.store.call_ids == [b"good"]


def test_a_reload_takes_a_renewed_certificate(files: dict[str, Any]) -> None:
    with running("tls", **settings(files)) as run:
        flags = {"hep.listen": [f"tls://127.0.0.1:{run.port}"]}
        pem, key, _ = make_certificate(files["folder"], "renewed")
        new = load_settings(None, {**flags, "hep.tls.certificate": str(pem), "hep.tls.key": str(key)}, {})
        run.server.reload(new)
        context = ssl.create_default_context(cafile=str(pem))
        with connect(run, context) as sock:
            sock.sendall(hep3(invite("good")))
            run.settle(1)


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("none.pem", "server.key", "cannot read"),
        ("server.pem", "agent.key", "is not the key of"),
        ("server.key", "server.key", "cannot use certificate"),
        ("server.pem", "locked.key", "cannot use certificate"),
    ],
)
def test_files_that_cannot_be_used(files: dict[str, Any], certificate: str, key: str, said: str) -> None:
    folder = files["folder"]
    make_certificate(folder, "locked", password=b"pass phrase")
    tls = {"hep.tls.certificate": str(folder / certificate), "hep.tls.key": str(folder / key)}
    with pytest.raises(HepcatError, match=said):
        make_context(load_settings(None, tls, {}).hep.tls)


def test_ipv6() -> None:
    port = free_port()
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).bind(("::1", port))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    urls = [f"udp://[::1]:{port}", f"tcp://[::1]:{port}", f"udp://127.0.0.1:{port}"]
    server = Server(load_settings(None, {"hep.listen": urls}, {}))
    server.open()
    server.start({"lake": (store := MemoryStore())})
    run = Running(server, store, port)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.sendto(hep3(invite("udp6")), ("::1", port))
    with socket.create_connection(("::1", port)) as sock:
        sock.sendall(hep3(invite("tcp6")))
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(hep3(invite("udp4")), ("127.0.0.1", port))
    run.settle(3)
    run.stop()
    assert set(store.call_ids) == {b"udp6", b"tcp6", b"udp4"}
