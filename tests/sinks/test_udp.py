"""HEP over UDP: what arrives is what was taken, in each version, and what a target that is away costs."""

import socket
import threading
import time

import numpy as np
import pytest

from hepcat.batch.edits import Edits, Patch
from hepcat.errors import HepcatError
from hepcat.sinks.network import choose
from hepcat.wire.sip import index_sip
from tests.lake.make import NOON, build
from tests.serve.peers import recorded
from tests.sinks.peers import Udp, balanced, decode, numbered, rows, sink
from tests.support import free_port, wait_for


@pytest.fixture
def peer():
    made = Udp()
    yield made
    made.close()


def sent(out, batch, some=None, edits=None):
    out.start()
    out.open_outlet().send(batch, rows(batch) if some is None else np.array(some), edits)
    return out


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_versions(peer, version, compress):
    batch = numbered(0, 50, src_port=5060, dst_port=5080, node_name=b"" if version < 3 else b"far")
    out = sent(sink(peer.url, version=version, compress=compress), batch)
    got = decode(peer.take(50))
    assert [got.text(i, "payload") for i in range(50)] == [batch.text(i, "payload") for i in range(50)]
    assert got.src_port.tolist()[:50] == [5060] * 50
    if version > 1:
        assert got.ts[:50].tolist() == batch.ts.tolist()
        assert set(got.node_id[:50].tolist()) == {2001}
    if version == 3:
        assert got.text(0, "node_name") == b"far"
    out.stop(1)
    assert balanced(out)["sent"] == 50


@pytest.mark.parametrize("pairs", [False, True])
def test_by_twos_or_one_by_one(peer, pairs):
    batch = build([{"payload": b"%03d" % i + b"x" * (i * 7919 % 900)} for i in range(200)])
    out = sent(sink(peer.url, pairs=pairs), batch)
    assert (out._outlets[0].paths[0]._sender.longest_paired > 0) is pairs
    got = decode(peer.take(200))
    assert [got.text(i, "payload") for i in range(200)] == [batch.text(i, "payload") for i in range(200)]
    assert balanced(out)["sent"] == 200
    out.stop(1)


def test_a_relay_keeps_the_ids_of_the_agent_before_it(peer):
    batch = build([{"payload": b"a", "node_id": 7, "node_name": b"far"}, {"payload": b"b"}])
    sent(sink(peer.url, node_id=9), batch).stop(1)
    got = decode(peer.take(2))
    assert got.node_id[:2].tolist() == [7, 9]
    assert [got.text(i, "node_name") for i in range(2)] == [b"far", b"edge"]


def test_the_key_and_the_agents_own_id(peer, tmp_path):
    (tmp_path / "key").write_text("secret\n")
    sent(sink(peer.url, key_file=tmp_path / "key"), numbered(0, 1)).stop(1)
    (datagram,) = peer.take(1)
    assert b"\0\0\0\x0e\0\x0csecret" in datagram
    assert decode([datagram]).node_id[0] == 2001


def test_some_rows_and_edits(peer):
    batch = build([{"payload": b"%d" % i, "ts": NOON + i, "dst_port": i} for i in range(10)])
    edits = Edits(tags=Patch.of(10, {4: b"a=b"}), payload=Patch.of(10, {6: b"six"}))
    edits.dst_port = np.arange(100, 110, dtype=np.uint16)
    sent(sink(peer.url), batch, [2, 4, 6], edits).stop(1)
    got = decode(peer.take(3))
    assert [got.text(i, "payload") for i in range(3)] == [b"2", b"4", b"six"]
    assert got.text(1, "tags") == b"a=b"
    assert got.dst_port[:3].tolist() == [102, 104, 106]


def test_what_a_version_or_udp_cannot_carry_is_counted(peer):
    payloads = (b"x" * 65_200, b"ok", b"log", b"y" * 65_460, b"end")
    batch = build([{"payload": payload, "hep_type": 100 if payload == b"log" else 1} for payload in payloads])
    out = sent(sink(peer.url), batch)
    assert [len(d) > 60_000 for d in peer.take(4)] == [True, False, False, False]
    counts = balanced(out)
    assert (counts["sent"], counts["HEP_INEXPRESSIBLE"]) == (4, 1)
    out.stop(1)
    old = sent(sink(peer.url, version=1), batch)
    assert balanced(old)["HEP_INEXPRESSIBLE"] == 1  # the log line; the 65,460 octets do fit in HEP 1
    old.stop(1)


def test_a_record_that_a_plan_made_too_long(peer):
    edits = Edits(payload=Patch.of(2, {0: b"x" * 65_536}))
    out = sent(sink(peer.url), numbered(0, 2), None, edits)
    assert decode(peer.take(1)).text(0, "payload")[:9] == b"000000001"
    assert balanced(out)["OVERSIZE"] == 1
    out.stop(1)


def test_nobody_listens():
    out = sink(f"udp://127.0.0.1:{free_port()}")
    out.start()
    outlet = out.open_outlet()
    for _ in range(3):
        outlet.send(numbered(0, 100), rows(numbered(0, 100)))
    counts = balanced(out)
    assert counts["SINK_FAILED"] >= 290
    out.stop(1)


def test_no_way_to_the_target_never_holds_up_nor_raises():
    out = sink("udp://[2001:db8::1]:9060")  # documentation addresses are nowhere
    out.start()
    begun = time.monotonic()
    out.open_outlet().send(numbered(0, 2000), rows(numbered(0, 2000)))
    assert time.monotonic() - begun < 30  # not as long as one waits for a connection
    out.stop(1)
    assert balanced(out)["taken"] == 2000


def test_failover_and_back(peer, monkeypatch):
    monkeypatch.setattr("hepcat.sinks.udp_path.PROBE_SECONDS", 0.2)
    monkeypatch.setattr("hepcat.sinks.udp_path.REFUSAL_SECONDS", 0.1)
    port = free_port()
    out = sink(f"udp://127.0.0.1:{port}", peer.url, mode="failover")
    out.start()
    outlet = out.open_outlet()
    batch = numbered(0, 10)
    outlet.send(batch, rows(batch))  # refused
    outlet.send(batch, rows(batch))
    assert len(peer.take(10)) == 10
    first = Udp(port)
    end = time.monotonic() + 60
    while len(first.take(10, 0.05)) < 10:
        assert time.monotonic() < end
        outlet.send(batch, rows(batch))
    out.stop(1)
    first.close()
    balanced(out)


def test_balance_leaves_out_one_that_is_away():
    peers = [Udp() for _ in range(3)]
    out = sink(*(peer.url for peer in peers), mode="balance")
    out.start()
    outlet = out.open_outlet()
    batch = numbered(0, 300)
    outlet.send(batch, rows(batch))
    shares = [len(peer.take(300, 0.1)) for peer in peers]
    assert sum(shares) == 300
    assert min(shares) > 60
    peers[1].close()
    outlet.send(batch, rows(batch))  # some of these are lost
    for peer in (peers[0], peers[2]):
        peer.take(300, 0.1)
    outlet.send(batch, rows(batch))
    assert len(peers[0].take(300, 0.1)) + len(peers[2].take(300, 0.1)) == 300
    out.stop(1)
    balanced(out)
    peers[0].close()
    peers[2].close()


def test_rtcp_goes_where_its_call_goes():
    peers = [Udp() for _ in range(2)]
    out = sink(*(peer.url for peer in peers), mode="balance")
    out.start()
    outlet = out.open_outlet()
    batch = numbered(0, 40)
    outlet.send(batch, rows(batch))
    reports = build([{"payload": b"%09d" % i, "hep_type": 5, "ts": NOON} for i in range(40)])
    edits = Edits(correlation_id=Patch.of(40, {i: b"%09d" % i for i in range(40)}))
    outlet.send(reports, rows(reports), edits)
    for peer in peers:
        got = decode(peer.take(80, 0.1))
        calls = [got.text(i, "payload")[:9] for i in range(got.n)]
        assert len(calls) == 2 * len(set(calls)) > 10
        peer.close()
    out.stop(1)


def test_the_choice_among_those_alive_is_stable():
    hashes = np.random.default_rng(1).integers(0, 2**63, 3000, dtype=np.uint64)
    all_alive = choose(hashes, [True] * 3)
    one_away = choose(hashes, [True, False, True])
    stays = all_alive != 1
    assert (all_alive[stays] == one_away[stays]).all()
    assert set(one_away[~stays].tolist()) == {0, 2}
    assert (choose(hashes, [False] * 3) == all_alive).all()


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.1:{port}", "[::1]:0"])
def test_bind(peer, bind):
    port = free_port()
    target = f"udp://[::1]:{port}" if "::" in bind else peer.url
    out = sink(target, bind=bind.format(port=port))
    out.start()
    out.open_outlet().send(numbered(0, 1), rows(numbered(0, 1)))
    if "::" not in bind:
        _, address = peer.sock.recvfrom(65536)
        assert address[0] == "127.0.0.1"
        assert address[1] == port or "port" not in bind
    out.stop(1)


@pytest.mark.parametrize("bind", ["nowhere", "127.0.0.1:x", "1.2.3.4.5"])
def test_bind_that_cannot_be_read(bind):
    with pytest.raises(HepcatError, match="bind"):
        sink("udp://127.0.0.1:1", bind=bind)


@pytest.mark.parametrize("url", ["udp://:1", "udp://127.0.0.1:99999", "udp://[::1"])
def test_urls_that_cannot_be_read(url):
    with pytest.raises(HepcatError, match="target t"):
        sink(url)


def test_a_name_is_looked_up(peer):
    out = sent(sink(f"udp://localhost:{peer.port}", bind="127.0.0.1"), numbered(0, 5))
    assert len(peer.take(5)) == 5
    out.stop(1)


def test_a_name_that_is_unknown_at_first(peer, monkeypatch):
    monkeypatch.setattr("hepcat.sinks.udp_path.PROBE_SECONDS", 0.05)
    real, known = socket.getaddrinfo, threading.Event()

    def look_up(host, *arguments, **options):
        if host != "collector.example":
            return real(host, *arguments, **options)
        if not known.is_set():
            raise socket.gaierror(-2, "Name or service not known")
        return real("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    out = sent(sink(f"udp://collector.example:{peer.port}"), numbered(0, 5))
    assert balanced(out)["SINK_FAILED"] == 5
    known.set()
    wait_for(lambda: out._targets[0].address, 60, "the name is known")
    out.open_outlet().send(numbered(0, 5), rows(numbered(0, 5)))
    assert len(peer.take(5)) == 5
    out.stop(1)


def test_ipv6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(60)
        out = sent(sink(f"udp://[::1]:{sock.getsockname()[1]}"), numbered(0, 1))
        assert decode([sock.recv(65536)]).n == 1
        out.stop(1)


@pytest.mark.parametrize("name", ["siptrace-hep3-corr-auth-log.bin", "siptrace-hep2.bin"])
def test_what_a_real_proxy_sent_is_the_same_behind_a_relay(peer, name):
    datagrams = recorded(name)
    if not datagrams:
        pytest.skip("the recorded HEP is not here (HEPCAT_SHARED)")
    before = decode(datagrams)
    index_sip(before)
    sent(sink(peer.url), before).stop(1)
    after = decode(peer.take(before.n))
    index_sip(after)
    assert after.n == before.n
    for column in ("ts", "family", "src_port", "dst_port", "hep_type", "node_id", "status"):
        assert getattr(after, column)[: after.n].tolist() == getattr(before, column)[: before.n].tolist()
    for i in range(before.n):
        for field in ("payload", "correlation_id", "call_id"):
            assert after.text(i, field) == before.text(i, field)


def test_workers_have_sockets_of_their_own(peer):
    out = sink(peer.url)
    out.start()
    for i in range(3):
        out.open_outlet().send(numbered(i, 1), rows(numbered(i, 1)))
    assert len({peer.sock.recvfrom(65536)[1] for _ in range(3)}) == 3
    out.stop(1)
