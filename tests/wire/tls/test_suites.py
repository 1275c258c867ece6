"""Every suite in use, read from real connections of Python's ssl, cut into stretches in several ways."""

import itertools
import random
import ssl

import pytest

from hepcat.batch.drops import Drop
from hepcat.wire.columns import FLOW_END, FLOW_START
from hepcat.wire.tls.secrets import Secrets
from tests.wire.tls.support import (
    CLIENT,
    SERVER,
    Reader,
    cut,
    identity,
    keylog_secrets,
    stretches_of,
    talk,
)

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
#: OpenSSL's names, and which certificate they need.
SUITES12 = [
    ("ECDHE-RSA-AES128-GCM-SHA256", "rsa"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "rsa"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "rsa"),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "ec"),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "ec"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "ec"),
    ("ECDHE-ECDSA-AES128-CCM", "ec"),
    ("ECDHE-ECDSA-AES256-CCM8", "ec"),
    ("ECDHE-RSA-AES128-SHA", "rsa"),
    ("ECDHE-RSA-AES256-SHA", "rsa"),
    ("ECDHE-RSA-AES128-SHA256", "rsa"),
    ("ECDHE-RSA-AES256-SHA384", "rsa"),
    ("ECDHE-ECDSA-AES256-SHA384", "ec"),
    ("AES128-GCM-SHA256", "rsa"),
    ("AES256-GCM-SHA384", "rsa"),
    ("AES128-CCM", "rsa"),
    ("AES256-CCM8", "rsa"),
    ("AES128-SHA", "rsa"),
    ("AES256-SHA", "rsa"),
    ("AES128-SHA256", "rsa"),
    ("AES256-SHA256", "rsa"),
]
RSA_KEY_EXCHANGE = [name for name, _ in SUITES12 if name.startswith("AES")]


def check(reader: Reader, one: object, base: int = 0) -> None:
    """All that was said came out, once and in order, with its marks, and nothing was lost."""
    for side in (CLIENT, SERVER):
        assert reader.texts[base + side] == bytes(one.said[side])  # type: ignore[attr-defined]
        marks = reader.marks[base + side]
        assert marks[0] == FLOW_START
        assert marks[-1] == FLOW_END
        assert not any(marks[1:-1])
    for reason in (Drop.TLS_NO_KEY, Drop.TLS_MALFORMED, Drop.TLS_BOUND):
        assert reader.count(reason) == 0
    assert reader.tls.sessions == 0
    assert reader.tls.octets == 0


@pytest.mark.parametrize(("name", "kind"), SUITES12, ids=[name for name, _ in SUITES12])
def test_tls12(name: str, kind: str) -> None:
    one, keylog = talk(TLS12, name, kind)
    assert one.ends[CLIENT].cipher()[0] == name
    reader = Reader(keylog_secrets(keylog))
    reader.feed(stretches_of(one.sent))
    check(reader, one)


def test_tls13_suites() -> None:
    """OpenSSL's three: Python cannot choose among them for both sides, the hello's order does."""
    one, keylog = talk(TLS13)
    assert one.ends[CLIENT].cipher()[0] == "TLS_AES_256_GCM_SHA384"
    reader = Reader(keylog_secrets(keylog))
    reader.feed(stretches_of(one.sent))
    check(reader, one)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.parametrize("name", ["ECDHE-RSA-AES256-SHA", "AES128-SHA"])
def test_before_tls12(version: ssl.TLSVersion, name: str) -> None:
    """Old gear still speaks them; TLS 1.0 chains the initialisation vectors."""
    one, keylog = talk(version, name)
    reader = Reader(keylog_secrets(keylog))
    reader.feed(stretches_of(one.sent))
    check(reader, one)


@pytest.mark.parametrize("name", RSA_KEY_EXCHANGE)
def test_rsa_key_alone(name: str) -> None:
    """No key log: the premaster secret is read with the server's key, with the extended master secret."""
    one, _ = talk(TLS12, name)
    secrets = Secrets()
    secrets.add_rsa_key(identity("rsa")[1])
    reader = Reader(secrets)
    reader.feed(stretches_of(one.sent))
    check(reader, one)


def test_rsa_key_alone_tls10() -> None:
    one, _ = talk(ssl.TLSVersion.TLSv1, "AES256-SHA")
    secrets = Secrets()
    secrets.add_rsa_key(identity("rsa")[1])
    reader = Reader(secrets)
    reader.feed(stretches_of(one.sent))
    check(reader, one)


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("size", [1, 2, 5, 6, 100, 1448])
def test_any_cut(version: ssl.TLSVersion, size: int) -> None:
    """Every stretch a window of its own, of so many octets."""
    one, keylog = talk(version)
    reader = Reader(keylog_secrets(keylog))
    for piece in cut(stretches_of(one.sent), itertools.repeat(size)):
        reader.feed([piece])
    check(reader, one)


@pytest.mark.parametrize("seed", range(5))
def test_random_cuts(seed: int) -> None:
    rng = random.Random(seed)
    one, keylog = talk(rng.choice([TLS12, TLS13]))
    reader = Reader(keylog_secrets(keylog))
    pieces = cut(stretches_of(one.sent), iter(lambda: rng.randint(1, 700), 0))
    while pieces:
        many = rng.randint(1, 6)
        reader.feed(pieces[:many])
        pieces = pieces[many:]
    check(reader, one)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_sides_apart(version: ssl.TLSVersion) -> None:
    """One direction comes wholly before the other, either way round: it waits for the other's hello."""
    for first in (CLIENT, SERVER):
        one, keylog = talk(version)
        reader = Reader(keylog_secrets(keylog))
        pieces = stretches_of(one.sent)
        for side in (first, 1 - first):
            reader.feed([piece for piece in pieces if piece[0] == side])
        check(reader, one)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_much_data(version: ssl.TLSVersion) -> None:
    """Records of full size, and hundreds of small ones."""
    from tests.wire.tls.support import Talk, contexts

    client, server, log = contexts(version)
    one = Talk(client, server)
    rng = random.Random(3)
    one.say(CLIENT, rng.randbytes(300_000))
    for i in range(400):
        one.say(i & 1, rng.randbytes(rng.randint(1, 400)))
    one.say(SERVER, rng.randbytes(100_000))
    one.close()
    reader = Reader(keylog_secrets(log.read_bytes()))
    pieces = cut(stretches_of(one.sent), itertools.repeat(1448))
    for at in range(0, len(pieces), 50):
        reader.feed(pieces[at : at + 50])
    check(reader, one)
