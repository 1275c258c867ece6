"""Lost octets, resumption, retries: what a listener meets on a real network."""

import random
import ssl

import pytest

from hepcat.batch.drops import Drop
from hepcat.wire.columns import FLOW_GAP, FLOW_START
from hepcat.wire.tls.secrets import Secrets
from hepcat.wire.tls.session import AHEAD
from tests.wire.tls.support import (
    CLIENT,
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

Pieces = list[tuple[int, bytes, int]]
SUITES = [
    (TLS12, "ECDHE-RSA-AES128-GCM-SHA256"),
    (TLS12, "ECDHE-RSA-CHACHA20-POLY1305"),
    (TLS12, "ECDHE-RSA-AES256-SHA384"),
    (TLS13, None),
]
EACH = pytest.mark.parametrize(("version", "name"), SUITES, ids=[str(name) for _, name in SUITES])


def lines_of(version: ssl.TLSVersion, name: str | None, many: int) -> tuple[Pieces, bytes, int]:
    """Return stretches of a connection whose client says numbered lines, its log, and where they begin."""
    client, server, log = contexts(version, name)
    one = Talk(client, server)
    one.say(SERVER, b"hello")
    one.say(CLIENT, b"hello")
    begin = len(one.sent)
    for number in range(many):
        one.say(CLIENT, b"line %05d\n" % number)
    assert len(one.sent) == begin + many
    return stretches_of(one.sent, end=False), log.read_bytes(), begin


@EACH
@pytest.mark.parametrize("lost", [1, 7, AHEAD - 1])
def test_lost_records(version: ssl.TLSVersion, name: str | None, lost: int) -> None:
    """The stream goes on with the very next record."""
    pieces, keylog, begin = lines_of(version, name, lost + 10)
    flow, octets, _ = pieces[begin + 5 + lost]
    pieces[begin + 5 + lost] = (flow, octets, FLOW_GAP)
    del pieces[begin + 5 : begin + 5 + lost]
    reader = Reader(keylog_secrets(keylog))
    reader.feed(pieces)
    want = [n for n in range(lost + 10) if not 5 <= n < 5 + lost]
    assert reader.texts[CLIENT] == b"hello" + b"".join(b"line %05d\n" % n for n in want)
    assert [mark for mark in reader.marks[CLIENT] if mark] == [FLOW_START, FLOW_GAP]
    assert reader.count(Drop.TLS_MALFORMED) == 0


@EACH
def test_lost_within_records(version: ssl.TLSVersion, name: str | None) -> None:
    """Half a record before the hole, half a record behind it: both are lost, no more."""
    pieces, keylog, begin = lines_of(version, name, 20)
    before, behind = pieces[begin + 4], pieces[begin + 9]
    pieces[begin + 4] = (CLIENT, before[1][: len(before[1]) // 2], 0)
    pieces[begin + 9] = (CLIENT, behind[1][len(behind[1]) // 2 :] + pieces[begin + 10][1], FLOW_GAP)
    pieces[begin + 5 : begin + 9] = []
    del pieces[begin + 6]
    reader = Reader(keylog_secrets(keylog))
    reader.feed(pieces)
    want = [n for n in range(20) if n not in range(4, 10)]
    assert reader.texts[CLIENT] == b"hello" + b"".join(b"line %05d\n" % n for n in want)
    assert 1 <= reader.count(Drop.TLS_MALFORMED) <= 2


@EACH
def test_lost_too_many(version: ssl.TLSVersion, name: str | None) -> None:
    """Beyond what is searched the records are counted, and the search ends."""
    pieces, keylog, begin = lines_of(version, name, AHEAD + 60)
    flow, octets, _ = pieces[begin + AHEAD + 30]
    pieces[begin + AHEAD + 30] = (flow, octets, FLOW_GAP)
    del pieces[begin : begin + AHEAD + 30]
    reader = Reader(keylog_secrets(keylog))
    reader.feed(pieces)
    assert reader.texts[CLIENT] == b"hello"
    assert reader.count(Drop.TLS_MALFORMED) == 30


@EACH
def test_gap_while_it_waits_for_its_secret(version: ssl.TLSVersion, name: str | None) -> None:
    pieces, keylog, begin = lines_of(version, name, 20)
    flow, octets, _ = pieces[begin + 9]
    pieces[begin + 9] = (flow, octets, FLOW_GAP)
    del pieces[begin + 5 : begin + 9]
    secrets = Secrets()
    reader = Reader(secrets)
    reader.feed(pieces)
    secrets.add_keylog(keylog)
    reader.expire(1)
    want = [n for n in range(20) if n not in range(5, 9)]
    assert reader.texts[CLIENT] == b"hello" + b"".join(b"line %05d\n" % n for n in want)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_lost_in_the_handshake(version: ssl.TLSVersion) -> None:
    """The end of the server's first flight and the client's answer are lost: the data is read."""
    client, server, log = contexts(version)
    one = Talk(client, server)
    one.say(CLIENT, b"one")
    one.say(SERVER, b"two")
    one.say(SERVER, b"three")
    pieces = stretches_of(one.sent, end=False)
    client_rows = [row for row, piece in enumerate(pieces) if piece[0] == CLIENT]
    server_rows = [row for row, piece in enumerate(pieces) if piece[0] == SERVER]
    flight = pieces[server_rows[0]]
    pieces[server_rows[0]] = (SERVER, flight[1][:300], flight[2])
    for row in (client_rows[2], server_rows[1]):
        pieces[row] = (*pieces[row][:2], FLOW_GAP)
    del pieces[client_rows[1]]
    reader = Reader(keylog_secrets(log.read_bytes()))
    reader.feed(pieces)
    assert reader.texts == {CLIENT: b"one", SERVER: b"twothree"}


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_joined_in_the_middle(version: ssl.TLSVersion) -> None:
    """Without the client's hello no secret can be found; nothing waits for one."""
    one, keylog = talk(version)
    pieces = [(flow, octets, FLOW_GAP) for flow, octets, _ in stretches_of(one.sent, end=False)[6:]]
    reader = Reader(keylog_secrets(keylog))
    reader.feed(pieces)
    assert reader.texts == {}
    assert reader.tls.held == 0
    assert reader.count(Drop.TLS_NO_KEY) >= 3


@pytest.mark.parametrize("ticket", [True, False])
@pytest.mark.parametrize("known", ["keylog", "rsa"])
def test_resumed_tls12(ticket: bool, known: str) -> None:
    """A resumed session by its ticket or id; only the first connection's secret is known."""
    client, server, log = contexts(TLS12, "AES128-GCM-SHA256")
    if not ticket:
        server.options |= ssl.OP_NO_TICKET
    first = Talk(client, server)
    first.say(CLIENT, b"first")
    first.say(SERVER, b"answer")
    keylog = log.read_bytes()
    second = Talk(client, server, first.ends[CLIENT].session)
    assert second.ends[CLIENT].session_reused
    second.say(CLIENT, b"second")
    second.say(SERVER, b"answer")
    first.close()
    second.close()
    secrets = Secrets()
    if known == "rsa":
        secrets.add_rsa_key(identity("rsa")[1])
    else:
        secrets.add_keylog(keylog)
    for one in (first, second):
        reader = Reader(secrets)
        reader.feed(stretches_of(one.sent))
        check(reader, one)


def test_resumed_tls13() -> None:
    client, server, log = contexts(TLS13)
    first = Talk(client, server)
    first.say(SERVER, b"the ticket comes before this")
    second = Talk(client, server, first.ends[CLIENT].session)
    assert second.ends[CLIENT].session_reused
    second.say(CLIENT, b"second")
    second.say(SERVER, b"answer")
    second.close()
    reader = Reader(keylog_secrets(log.read_bytes()))
    reader.feed(stretches_of(second.sent))
    check(reader, second)


def test_hello_retry_request() -> None:
    """The server wants another group: two ClientHellos, and ChangeCipherSpec among them."""
    client, server, log = contexts(TLS13)
    server.set_ecdh_curve("secp384r1")
    one = Talk(client, server)
    assert len(one.sent) >= 4
    one.say(CLIENT, b"question")
    one.say(SERVER, b"answer")
    one.close()
    pieces = stretches_of(one.sent)
    assert bytes.fromhex("cf21ad74e59a6111") in pieces[1][1]
    reader = Reader(keylog_secrets(log.read_bytes()))
    reader.feed(pieces)
    check(reader, one)


def test_log_without_the_handshake_secrets() -> None:
    """Some programs log the traffic secrets only: the encrypted part of the handshake is passed over."""
    one, keylog = talk(TLS13)
    lines = [line for line in keylog.splitlines(keepends=True) if b"HANDSHAKE" not in line]
    reader = Reader(keylog_secrets(b"".join(lines)))
    reader.feed(stretches_of(one.sent))
    check(reader, one)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_flipped_bits(version: ssl.TLSVersion) -> None:
    """Whatever is flipped: nothing wrong comes out, what comes out is in order, and all is counted."""
    client, server, log = contexts(version)
    one = Talk(client, server)
    for number in range(12):
        one.say(CLIENT, b"line %05d\n" % number)
    secrets = keylog_secrets(log.read_bytes())
    rng = random.Random(5)
    whole = {b"line %05d\n" % number: number for number in range(12)}
    for _ in range(150):
        pieces = stretches_of(one.sent)
        row = rng.randrange(len(one.sent))
        octets = bytearray(pieces[row][1])
        octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)
        pieces[row] = (pieces[row][0], bytes(octets), pieces[row][2])
        reader = Reader(secrets)
        reader.feed(pieces)
        reader.expire(10_000_000)
        text = reader.texts.get(CLIENT, b"")
        numbers = [whole[text[at : at + 11]] for at in range(0, len(text), 11)]
        assert numbers == sorted(set(numbers))
        assert reader.tls.held == 0


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_truncated(version: ssl.TLSVersion) -> None:
    one, keylog = talk(version)
    secrets = keylog_secrets(keylog)
    pieces = stretches_of(one.sent, end=False)
    for row in range(len(pieces)):
        for keep in (0, 1, 4, 5, 6, len(pieces[row][1]) - 1):
            reader = Reader(secrets)
            flow, octets, marks = pieces[row]
            reader.feed([*pieces[:row], (flow, octets[:keep], marks), (CLIENT, b"", 4), (SERVER, b"", 4)])
            for side in (CLIENT, SERVER):
                assert bytes(one.said[side]).startswith(reader.texts[side])


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_wrong_secrets(version: ssl.TLSVersion) -> None:
    one, keylog = talk(version)
    wrong = b"".join(
        b" ".join((label, number, secret[::-1])) + b"\n"
        for label, number, secret in (line.split() for line in keylog.splitlines() if line[:1] != b"#")
    )
    reader = Reader(keylog_secrets(wrong))
    reader.feed(stretches_of(one.sent))
    assert set(reader.texts.values()) == {b""}
    assert reader.count(Drop.TLS_MALFORMED) >= 6


def test_random_octets() -> None:
    rng = random.Random(9)
    reader = Reader(Secrets())
    for turn in range(600):
        octets = rng.randbytes(rng.randint(0, 300))
        if turn % 3 == 0:
            octets = bytes([rng.randint(20, 24), 3, rng.randint(0, 4), 0, len(octets) & 63]) + octets
        if turn % 7 == 0:
            octets = b"\x16\x03\x03\x00\x20" + bytes([rng.choice([1, 2, 4, 16]), 0, 0, 28]) + octets
        reader.feed([(rng.randrange(6), octets, rng.choice([0, 0, 0, 1, 2, 4]))])
    assert all(text == b"" for text in reader.texts.values())


@pytest.mark.parametrize("size", [0x4800, 0x4801, 0x48FF, 0xFFFF])
def test_header_of_a_record_that_is_too_long(size: int) -> None:
    """It is passed over once, wherever it stands; what follows is read (found by fuzzing: a hang)."""
    header = b"\x17\x03\x03" + size.to_bytes(2, "big")
    one, keylog = talk(TLS13)
    reader = Reader(keylog_secrets(keylog))
    reader.feed([(2, b"\xff" + header * 3 + header[:4], FLOW_START), (2, header[4:] + bytes(9), 0)])
    reader.feed(stretches_of(one.sent))
    assert reader.count(Drop.TLS_MALFORMED) >= (size > 0x4800)
    assert reader.texts[CLIENT] == bytes(one.said[CLIENT])
