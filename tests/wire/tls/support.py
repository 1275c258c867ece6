"""Real TLS connections, recorded: Python's ssl on both sides, every octet between them kept.

`Talk` is one connection through memory: what each side sent, in order. `read` cuts it into stretches and
runs them through a TlsDecryptor.
"""

import contextlib
import datetime
import functools
import itertools
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from hepcat.batch.drops import Drop
from hepcat.wire.columns import FLOW_END, FLOW_GAP, FLOW_START, PROTOCOL_TLS, Arena, Flows, Stretches
from hepcat.wire.tls import Secrets, TlsDecryptor

CLIENT, SERVER = 0, 1
MESSAGE = b"INVITE sip:bob@example.org SIP/2.0\r\nCall-ID: 1@a\r\nContent-Length: 0\r\n\r\n"


#: Certificates and key logs of this run; gone at its end.
_FOLDER = tempfile.TemporaryDirectory(prefix="hepcat-tls-")
_numbers = itertools.count()


def _path(name: str) -> Path:
    return Path(_FOLDER.name) / f"{next(_numbers)}-{name}"


@functools.cache
def identity(kind: str) -> tuple[str, bytes]:
    """Return a file with certificate and key, and the key as PEM."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    certificate = builder.not_valid_after(now + datetime.timedelta(days=30)).sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = _path("both.pem")
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return str(path), pem


def contexts(
    version: ssl.TLSVersion, ciphers: str | None = None, kind: str = "rsa"
) -> tuple[ssl.SSLContext, ssl.SSLContext, Path]:
    """Return contexts of a client and a server that speak this version, and the client's key log."""
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for context in (client, server):
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers + ":@SECLEVEL=0")
    server.load_cert_chain(identity(kind)[0])
    log = _path("keys.log")
    client.keylog_filename = str(log)
    return client, server, log


@dataclass
class Talk:
    """One connection. sent: (side, octets on the wire) in order. said: plaintext of each side."""

    client: ssl.SSLContext
    server: ssl.SSLContext
    session: ssl.SSLSession | None = None
    sent: list[tuple[int, bytes]] = field(default_factory=list)
    said: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))

    def __post_init__(self) -> None:
        self._in = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ends = (
            self.client.wrap_bio(self._in[0], self._out[0], False, "localhost", self.session),
            self.server.wrap_bio(self._in[1], self._out[1], True),
        )
        waiting = [CLIENT, SERVER]
        for _ in range(20):
            for side in list(waiting):
                try:
                    self.ends[side].do_handshake()
                    waiting.remove(side)
                except ssl.SSLWantReadError:
                    pass
                self.carry(side)
        assert not waiting

    def carry(self, side: int) -> None:
        """Take what one side sent to the other, and keep it."""
        octets = self._out[side].read()
        if octets:
            self.sent.append((side, octets))
            self._in[1 - side].write(octets)

    def say(self, side: int, octets: bytes) -> None:
        """Send plaintext, and let the other side read it (and answer what TLS wants answered)."""
        self.ends[side].write(octets)
        self.said[side].extend(octets)
        self.carry(side)
        got = b""
        while len(got) < len(octets):
            got += self.ends[1 - side].read(1 << 20)
        assert got == octets
        for end in (0, 1):
            self.carry(end)

    def read_all(self) -> None:
        """Let the client read a session ticket that waits."""
        for side in (CLIENT, SERVER):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.ends[side].read(1)
            self.carry(side)

    def close(self) -> None:
        """Send close_notify from both sides."""
        for side in (CLIENT, SERVER):
            with contextlib.suppress(ssl.SSLError):
                self.ends[side].unwrap()
            self.carry(side)


def talk(
    version: ssl.TLSVersion, ciphers: str | None = None, kind: str = "rsa", turns: int = 3
) -> tuple[Talk, bytes]:
    """Return a connection with some messages both ways, and its key log."""
    client, server, log = contexts(version, ciphers, kind)
    one = Talk(client, server)
    for turn in range(turns):
        one.say(CLIENT, MESSAGE + b"%d" % turn)
        one.say(SERVER, b"SIP/2.0 200 OK\r\n%d" % turn)
    one.close()
    return one, log.read_bytes()


class Reader:
    """A decryptor with flows 0 (client) and 1 (server) of connections, and what came out of it."""

    def __init__(self, secrets: Secrets, **bounds: int) -> None:
        self.tls = TlsDecryptor(secrets, **bounds)
        self.flows = Flows.empty(64)
        self.flows.protocol[:] = PROTOCOL_TLS
        self.flows.peer[:] = np.arange(64, dtype=np.int32) ^ 1
        self.drops = np.zeros(len(Drop), dtype=np.int64)
        self.texts: dict[int, bytes] = {}
        self.marks: dict[int, list[int]] = {}
        self.rows: list[tuple[int, int, int]] = []  # flow, packet, ts

    def feed(self, pieces: Iterable[tuple[int, bytes, int]], ts: int = 0) -> None:
        """Feed (flow, octets, marks) as one window; in the middle of other octets, as a window has them."""
        found = list(pieces)
        stretches = Stretches.empty(len(found) + 1)
        data = b"#" * 7 + b"".join(octets for _, octets, _ in found)
        at = 7
        for row, (flow, octets, marks) in enumerate(found):
            stretches.flow[row], stretches.packet[row], stretches.ts[row] = flow, row, ts + row
            stretches.offset[row], stretches.length[row], stretches.marks[row] = at, len(octets), marks
            at += len(octets)
        stretches.n = len(found)
        arena, out = Arena(64), Stretches.empty(1)
        window = np.frombuffer(data, dtype=np.uint8)
        self.tls.feed(stretches, np.arange(stretches.n), window, arena, self.flows, out, self.drops)
        self._collect(arena, out)

    def expire(self, now_us: int) -> None:
        """Let time pass."""
        arena, out = Arena(64), Stretches.empty(1)
        self.tls.expire(now_us, arena, self.flows, out, self.drops)
        self._collect(arena, out)

    def _collect(self, arena: Arena, out: Stretches) -> None:
        for row in range(out.n):
            flow, offset, length = int(out.flow[row]), int(out.offset[row]), int(out.length[row])
            assert out.area[row] == 1
            assert offset + length <= arena.used
            self.texts[flow] = self.texts.get(flow, b"") + arena.data[offset : offset + length].tobytes()
            self.marks.setdefault(flow, []).append(int(out.marks[row]))
            self.rows.append((flow, int(out.packet[row]), int(out.ts[row])))
        self.check_sum()

    def check_sum(self) -> None:
        """Every record is opened, held or counted."""
        assert self.tls.records == self.tls.opened + self.tls.held + int(self.drops.sum())

    def count(self, reason: Drop) -> int:
        return int(self.drops[reason])


def stretches_of(
    sent: list[tuple[int, bytes]], base: int = 0, end: bool = True
) -> list[tuple[int, bytes, int]]:
    """Return a connection's octets as stretches of flows base and base + 1, begun and ended."""
    seen: set[int] = set()
    out = []
    for side, octets in sent:
        out.append((base + side, octets, 0 if side in seen else FLOW_START))
        seen.add(side)
    if end:
        out += [(base + side, b"", FLOW_END) for side in sorted(seen)]
    return out


def cut(stretches: list[tuple[int, bytes, int]], sizes: Iterable[int]) -> list[tuple[int, bytes, int]]:
    """Cut stretches into pieces of the given sizes, in turn."""
    turn = iter(sizes)
    out = []
    for flow, octets, marks in stretches:
        at = 0
        first = True
        while first or at < len(octets):
            size = next(turn)
            piece = octets[at : at + size]
            at += size
            last = at >= len(octets)
            keep = (marks & FLOW_START if first else 0) | (marks & FLOW_END if last else 0)
            out.append((flow, piece, keep | (marks & FLOW_GAP if first else 0)))
            first = False
    return out


def keylog_secrets(keylog: bytes) -> Secrets:
    """Return secrets with one key log in them."""
    secrets = Secrets()
    secrets.add_keylog(keylog)
    return secrets
