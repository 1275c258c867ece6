"""Secrets that come late, or never, and the bounds on what waits for them."""

import ssl

import pytest

from hepcat.batch.drops import Drop
from hepcat.wire.columns import FLOW_END, FLOW_GAP, FLOW_START
from hepcat.wire.tls.secrets import Secrets
from tests.wire.tls.support import (
    CLIENT,
    MESSAGE,
    SERVER,
    Reader,
    Talk,
    contexts,
    identity,
    keylog_secrets,
    stretches_of,
    talk,
)
from tests.wire.tls.test_suites import TLS12, TLS13, check

BOTH = pytest.mark.parametrize("version", [TLS12, TLS13])


@BOTH
@pytest.mark.parametrize("by", ["feed", "expire"])
def test_secret_comes_after_the_records(version: ssl.TLSVersion, by: str) -> None:
    one, keylog = talk(version)
    secrets = Secrets()
    reader = Reader(secrets)
    reader.feed(stretches_of(one.sent), ts=1000)
    assert reader.texts == {}
    assert reader.tls.held > 0
    secrets.add_keylog(keylog)
    if by == "feed":
        reader.feed([], ts=5000)
    else:
        reader.expire(5000)
    check(reader, one)
    assert all(packet == 0 and 1000 <= ts < 1100 for _, packet, ts in reader.rows)


@BOTH
def test_secrets_come_line_by_line(version: ssl.TLSVersion) -> None:
    """Each line of the log by itself, with a look in between, while records come."""
    one, keylog = talk(version)
    secrets = Secrets()
    reader = Reader(secrets)
    pieces = stretches_of(one.sent)
    lines = keylog.splitlines(keepends=True)
    for at, piece in enumerate(pieces):
        reader.feed([piece])
        if at < len(lines):
            secrets.add_keylog(lines[at])
    for line in lines[len(pieces) :]:
        secrets.add_keylog(line)
        reader.expire(0)
    check(reader, one)


@BOTH
def test_secret_never_comes(version: ssl.TLSVersion) -> None:
    one, _ = talk(version)
    reader = Reader(Secrets(), wait_us=1_000_000)
    reader.feed(stretches_of(one.sent), ts=10)
    reader.expire(900_000)
    assert reader.tls.held > 0
    assert reader.count(Drop.TLS_NO_KEY) == 0
    reader.expire(1_100_000)
    assert reader.tls.held == 0
    assert reader.count(Drop.TLS_NO_KEY) >= 6
    assert reader.texts == {CLIENT: b"", SERVER: b""}
    assert reader.marks == {side: [FLOW_START | FLOW_GAP | FLOW_END] for side in (CLIENT, SERVER)}
    assert reader.tls.sessions == 0


@BOTH
def test_secret_comes_after_it_was_given_up(version: ssl.TLSVersion) -> None:
    """What follows is read, with a gap before it."""
    client, server, log = contexts(version)
    one = Talk(client, server)
    for turn in range(20):
        one.say(turn & 1, MESSAGE)
    early = len(one.sent)
    one.say(CLIENT, b"late 1")
    one.say(SERVER, b"late 2")
    one.say(CLIENT, b"late 3")
    secrets = Secrets()
    reader = Reader(secrets)
    pieces = stretches_of(one.sent)
    reader.feed(pieces[: early - 2], ts=0)
    reader.expire(10_000_000)
    reader.feed(pieces[early - 2 : early], ts=10_000_000)
    assert reader.tls.held == 0
    secrets.add_keylog(log.read_bytes())
    reader.feed(pieces[early:])
    assert reader.texts == {CLIENT: b"late 1late 3", SERVER: b"late 2"}
    assert reader.marks[CLIENT] == [FLOW_START | FLOW_GAP, 0, FLOW_END]
    assert reader.count(Drop.TLS_MALFORMED) == 0


def test_bound_on_octets() -> None:
    """The connection that has waited longest gives way; nothing is held beyond the bound."""
    secrets = Secrets()
    reader = Reader(secrets, max_octets=100_000)
    talks = []
    for number in range(4):
        client, server, log = contexts(TLS13)
        one = Talk(client, server)
        one.say(CLIENT, b"x" * 40_000)
        talks.append((one, log.read_bytes()))
        reader.feed(stretches_of(one.sent, 2 * number, end=False), ts=number)
        assert reader.tls.octets <= 100_000
    assert reader.count(Drop.TLS_BOUND) > 0
    for _, keylog in talks:
        secrets.add_keylog(keylog)
    reader.expire(5)
    assert sorted(flow for flow, text in reader.texts.items() if text) == [4, 6]
    assert reader.texts[6] == b"x" * 40_000


def test_bound_on_sessions() -> None:
    reader = Reader(Secrets(), max_sessions=3)
    for number in range(6):
        one, _ = talk(TLS12, turns=1)
        reader.feed(stretches_of(one.sent, 2 * number, end=False))
        assert reader.tls.sessions <= 3
    assert reader.count(Drop.TLS_BOUND) > 0


def test_bound_holds_for_what_is_half_read() -> None:
    """A flood of connections that begin a record and a handshake message, and never end them."""
    reader = Reader(Secrets(), max_octets=200_000)
    hello = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(16380)
    for number in range(60):
        reader.feed([(number, hello + b"\x16\x03\x01\x40\x00" + bytes(16000), FLOW_START)])
        assert reader.tls.octets <= 200_000


def test_flow_id_used_again() -> None:
    """The new connection has nothing of the old one, whose records without a secret are counted."""
    first, _ = talk(TLS13)
    second, keylog = talk(TLS13)
    reader = Reader(keylog_secrets(keylog))
    reader.feed(stretches_of(first.sent))
    assert reader.tls.held > 0
    reader.feed(stretches_of(second.sent))
    assert reader.tls.held == 0
    assert reader.count(Drop.TLS_NO_KEY) >= 6
    for side in (CLIENT, SERVER):
        assert reader.texts[side] == bytes(second.said[side])


def test_many_connections_at_once() -> None:
    talks = [talk(version, kind=kind) for version in (TLS12, TLS13) for kind in ("rsa", "ec")] * 2
    secrets = Secrets()
    reader = Reader(secrets)
    queues = [stretches_of(one.sent, 2 * number) for number, (one, _) in enumerate(talks)]
    for _, keylog in talks[::2]:
        secrets.add_keylog(keylog)
    while any(queues):
        reader.feed([queue.pop(0) for queue in queues if queue])
    for _, keylog in talks[1::2]:
        secrets.add_keylog(keylog)
    reader.expire(1)
    for number, (one, _) in enumerate(talks):
        for side in (CLIENT, SERVER):
            assert reader.texts[2 * number + side] == bytes(one.said[side])
    assert reader.tls.sessions == 0


def test_secrets_are_bounded() -> None:
    secrets = Secrets(max_randoms=10)
    for number in range(30):
        secrets.add_keylog(b"CLIENT_RANDOM %064x %096x\n" % (number, number))
    assert len(secrets) == 10
    assert secrets.find((29).to_bytes(32, "big"), "CLIENT_RANDOM") == (29).to_bytes(48, "big")
    assert secrets.find((5).to_bytes(32, "big"), "CLIENT_RANDOM") is None


def test_key_log_lines() -> None:
    secrets = Secrets()
    random = b"0a" * 32
    version = secrets.version
    assert secrets.add_keylog(b"# comment\r\nCLIENT_RANDOM " + random + b" " + b"0B" * 48 + b"\r\n") == 1
    assert secrets.version > version
    assert secrets.add_keylog(b"CLIENT_RANDOM " + random + b" " + b"0b" * 48 + b"\n") == 0
    for line in (
        b"EXPORTER_SECRET " + random + b" " + b"0b" * 32,
        b"CLIENT_RANDOM " + random[:-2] + b" " + b"0b" * 48,
        b"CLIENT_RANDOM " + random + b" " + b"0b" * 47,
        b"CLIENT_RANDOM " + random + b" " + b"zz" * 48,
        b"CLIENT_RANDOM " + random,
        b"SERVER_TRAFFIC_SECRET_x " + random + b" " + b"0b" * 32,
        b"\xff\xfe \x00 \x01",
        b"CLIENT_RANDOM " + b"0" * 10_000,
    ):
        assert secrets.add_keylog(line + b"\n") == 0, line
    assert secrets.add_keylog(b"SERVER_TRAFFIC_SECRET_0 " + random + b" " + b"0b" * 32) == 1
    assert secrets.find(b"\x0a" * 32, "SERVER_TRAFFIC_SECRET_0") == b"\x0b" * 32


def test_rsa_keys_that_are_none() -> None:
    secrets = Secrets()
    with pytest.raises(ValueError, match="not an RSA key"):
        secrets.add_rsa_key(identity("ec")[1])
    with pytest.raises(ValueError, match="not a private key in PEM"):
        secrets.add_rsa_key(b"nothing of the kind")
    assert not secrets.has_rsa


def test_rsa_key_of_another_server() -> None:
    """Implicit rejection: the key gives random octets, which must not be taken for a premaster secret."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    other = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    one, _ = talk(TLS12, "AES128-GCM-SHA256")
    secrets = Secrets()
    secrets.add_rsa_key(other)
    reader = Reader(secrets)
    reader.feed(stretches_of(one.sent))
    reader.expire(10_000_000)
    assert reader.count(Drop.TLS_NO_KEY) >= 6
    assert reader.count(Drop.TLS_MALFORMED) == 0
    secrets.add_rsa_key(identity("rsa")[1])  # beside the right one it does no harm
    again = Reader(secrets)
    again.feed(stretches_of(one.sent))
    check(again, one)


def test_forward_secrecy_cannot_be_read_with_an_rsa_key() -> None:
    one, _ = talk(TLS12, "ECDHE-RSA-AES128-GCM-SHA256")
    secrets = Secrets()
    secrets.add_rsa_key(identity("rsa")[1])
    reader = Reader(secrets)
    reader.feed(stretches_of(one.sent))
    reader.expire(10_000_000)
    assert reader.count(Drop.TLS_NO_KEY) >= 6


def test_suite_that_is_not_read_does_not_wait() -> None:
    one, keylog = talk(TLS12, "ECDHE-RSA-CAMELLIA256-SHA384")
    reader = Reader(keylog_secrets(keylog))
    reader.feed(stretches_of(one.sent))
    assert reader.tls.held == 0
    assert reader.count(Drop.TLS_NO_KEY) == 6
