"""HEP over TCP and TLS: a collector that goes away and comes back, and what happens to the records."""

import ssl
import subprocess
import sys
import time
from typing import Any

import pytest

from hepcat.errors import HepcatError
from tests.lake.make import build
from tests.serve.peers import invite
from tests.serve.test_tls import make_certificate
from tests.sinks.peers import Load, Stream, balanced, numbered, rows, sink
from tests.support import ROOT, Server, free_port, wait_for


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A server context whose certificate is for localhost, and the CA that signed it."""
    folder = tmp_path_factory.mktemp("tls")
    pem, key, _ = make_certificate(folder, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return {"context": context, "ca": pem}


def collector(kind: str, tls: dict[str, Any], **options: Any) -> tuple[Stream, str, dict[str, Any]]:
    made = Stream(tls["context"] if kind == "tls" else None, **options).open()
    url = made.url.replace("127.0.0.1", "localhost") if kind == "tls" else made.url
    return made, url, {"ca": tls["ca"]} if kind == "tls" else {}


def once_in_order(found: list[int], n: int) -> None:
    assert len(found) == n, f"{len(found)} of {n}, {len(set(found))} different"
    assert found == list(range(n))


def comes_to_rest(number: Any) -> None:
    """Wait until a number has changed, and then changes no more for a while."""
    first = last = number()
    wait_for(lambda: number() != first)
    while last != (last := number()):
        time.sleep(0.5)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest.mark.parametrize("spool", [False, True], ids=["memory", "spool"])
def test_the_collector_goes_and_comes_back_in_the_middle_of_load(kind, spool, tls, tmp_path):
    peer, url, options = collector(kind, tls)
    if spool:
        options |= {"spool": tmp_path, "memory": 2**18}
    out = sink(url, **options)
    out.start()
    load = Load(out, 10**6, pause=0.006)
    load.start()
    for turn in range(3):
        wait_for(lambda turn=turn: len(peer.streams) > turn and peer.streams[turn], 60, "it receives")
        time.sleep(0.05)
        peer.close()
        time.sleep(0.06)
        peer.open()
    wait_for(lambda: load.sent > 1000, what="a load")
    load.enough.set()
    load.join()
    wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
    out.stop(5)
    peer.close()
    counts = balanced(out)
    assert counts["sent"] == load.sent
    assert counts["reconnects"] == 3
    once_in_order(peer.numbers, load.sent)


def test_a_reset_sends_again_exactly_what_was_not_acknowledged():
    """The collector stops reading, the windows fill, then its machine is gone: messages are cut in two."""
    peer = Stream(rcvbuf=50_000).open()
    out = sink(peer.url, memory=2**22)
    out.start()
    outlet = out.open_outlet()
    for turn in range(3):
        peer.hold.set()
        made = numbered(turn * 700, 700, 997)
        outlet.send(made, rows(made))
        comes_to_rest(lambda: balanced(out)["waiting"])  # what fits has been acknowledged
        assert 0 < balanced(out)["waiting"] < 700 * (turn + 1)
        peer.close(polite=False)  # while it reads nothing: nothing more is acknowledged after its last look
        peer.hold.clear()
        peer.open()
    wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
    out.stop(2)
    peer.close()
    once_in_order(peer.numbers, 2100)
    assert any(len(stream) % 1000 for stream in peer.streams)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_what_waits_at_the_end_is_spooled_and_sent_by_the_next_agent(kind, tls, tmp_path):
    peer, url, options = collector(kind, tls)
    options |= {"spool": tmp_path, "memory": 2**19}
    peer.close()
    out = sink(url, **options)
    out.start()
    Load(out, 3000, pause=0.001).run()
    out.stop(0.3)
    counts = balanced(out)
    assert (counts["waiting"], counts["dropped"]) == (3000, 0)
    peer.open()
    again = sink(url, **options)
    again.start()
    made = numbered(3000, 100)
    again.open_outlet().send(made, rows(made))
    wait_for(lambda: balanced(again)["waiting"] == 0, 60, "all delivered")
    again.stop(2)
    peer.close()
    once_in_order(peer.numbers, 3100)
    assert not list(tmp_path.rglob("*.spool"))


def test_an_agent_that_ends_with_records_on_their_way(tmp_path):
    """The collector does not read; what it has not acknowledged is spooled before what came later."""
    peer = Stream(rcvbuf=20_000).open()
    peer.hold.set()
    out = sink(peer.url, spool=tmp_path, memory=2**18)
    out.start()
    Load(out, 3000, pause=0.001).run()
    out.stop(0.2)
    counts = balanced(out)
    assert counts["dropped"] == 0
    assert 0 < counts["sent"] < 3000
    peer.hold.clear()
    peer.close()
    peer.open()
    again = sink(peer.url, spool=tmp_path, memory=2**18)
    again.start()
    wait_for(lambda: balanced(again)["taken"] and balanced(again)["waiting"] == 0, 60, "all delivered")
    assert balanced(again)["taken"] == counts["waiting"]
    again.stop(2)
    peer.close()
    once_in_order(peer.numbers, 3000)


_KILLED = """
import sys, time
from tests.sinks.peers import Load, balanced, sink
out = sink(sys.argv[1], spool=sys.argv[2], memory=2**18)
out.start()
load = Load(out, 4000, pause=0.003)
load.start()
while not balanced(out)["spooled"]:
    time.sleep(0.01)
print("spooling", flush=True)
time.sleep(60)
"""


def test_an_agent_that_is_killed_leaves_its_spool_to_the_next(tmp_path):
    port = free_port()
    arguments = [sys.executable, "-c", _KILLED, f"tcp://127.0.0.1:{port}", str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        while b"spooling" not in agent.stdout.readline():
            assert agent.poll() is None
        agent.kill()
    peer = Stream()
    peer.port = port
    peer.open()
    again = sink(f"tcp://127.0.0.1:{port}", spool=tmp_path)
    again.start()
    wait_for(lambda: balanced(again)["sent"] and balanced(again)["waiting"] == 0, 60, "all delivered")
    again.stop(2)
    peer.close()
    counts = balanced(again)
    once_in_order(peer.numbers, counts["sent"])
    assert counts["sent"] >= 100


def test_full_memory_without_a_spool_loses_the_newest_and_counts_them():
    port = free_port()
    out = sink(f"tcp://127.0.0.1:{port}", memory=2**16)
    out.start()
    Load(out, 1000, pause=0).run()
    counts = balanced(out)
    assert counts["SINK_FULL"] > 500
    assert counts["waiting"] + counts["SINK_FULL"] == 1000
    peer = Stream()
    peer.port = port
    peer.open()
    wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
    out.stop(2)
    peer.close()
    once_in_order(peer.numbers, counts["waiting"])


def test_the_end_without_a_spool_counts_what_is_lost():
    out = sink(f"tcp://127.0.0.1:{free_port()}")
    out.start()
    Load(out, 100, pause=0).run()
    begun = time.monotonic()
    out.stop(0.3)
    assert time.monotonic() - begun < 30
    assert balanced(out)["SINK_FAILED"] == 100


def test_a_sink_that_was_never_started():
    out = sink(f"tcp://127.0.0.1:{free_port()}")
    Load(out, 100, pause=0).run()
    out.stop(0.1)
    assert balanced(out)["SINK_FAILED"] == 100


def test_failover_sends_what_waits_to_the_next_and_comes_back():
    first, second = Stream().open(), Stream().open()
    out = sink(first.url, second.url, mode="failover")
    out.start()
    load = Load(out, 10**6)
    load.start()
    wait_for(lambda: first.streams and first.streams[0], 60, "the first one is used")
    first.close()
    wait_for(lambda: second.streams and second.streams[0], 60, "the second one is used")
    first.open()
    wait_for(lambda: len(first.streams) > 1 and first.streams[1], 60, "back at the first")
    load.enough.set()
    load.join()
    wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
    out.stop(2)
    first.close()
    second.close()
    assert second.numbers
    assert first.numbers[-1] == load.sent - 1
    assert sorted(first.numbers + second.numbers) == list(range(load.sent))


def test_balance_keeps_calls_together_and_gives_the_share_of_one_that_is_away_to_the_others():
    peers = [Stream().open() for _ in range(3)]
    out = sink(*(peer.url for peer in peers), mode="balance")
    out.start()
    outlet = out.open_outlet()
    made = numbered(0, 900)
    for _ in range(2):  # two messages of each call
        outlet.send(made, rows(made))
    wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
    found = [sorted(peer.numbers) for peer in peers]
    assert sorted(n for part in found for n in part) == sorted([*range(900), *range(900)])
    assert all(200 < len(set(part)) < 400 and len(part) == 2 * len(set(part)) for part in found)
    peers[1].close()
    wait_for(lambda: not out._writers[1].alive, 60, "it is noticed")
    made = numbered(1000, 900)
    outlet.send(made, rows(made))
    wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
    out.stop(2)
    for peer in (peers[0], peers[2]):
        peer.close()
    later = [[n for n in peer.numbers if n >= 1000] for peer in peers]
    assert later[1] == []
    assert sorted(later[0] + later[2]) == list(range(1000, 1900))
    assert min(len(later[0]), len(later[2])) > 300


def test_all_gets_everything_to_each():
    peers = [Stream().open() for _ in range(2)]
    out = sink(*(peer.url for peer in peers))
    out.start()
    Load(out, 500).run()
    out.stop(60)
    for peer in peers:
        peer.close()
        once_in_order(peer.numbers, 500)
    assert balanced(out)["sent"] == 1000


def test_a_certificate_that_nobody_trusts_gets_nothing(tls):
    peer, url, _ = collector("tls", tls)
    out = sink(url)
    out.start()
    Load(out, 10, pause=0).run()
    time.sleep(0.3)
    assert balanced(out)["waiting"] == 10
    out.stop(0.1)
    trusting = sink(url, verify=False)
    trusting.start()
    Load(trusting, 10, pause=0).run()
    wait_for(lambda: balanced(trusting)["sent"] == 10, 60, "sent without verifying")
    trusting.stop(1)
    peer.close()
    assert peer.numbers == list(range(10))


def test_a_certificate_for_another_name_gets_nothing(tls):
    peer, _, options = collector("tls", tls)
    out = sink(peer.url, **options)  # 127.0.0.1 is not in the certificate
    out.start()
    Load(out, 10, pause=0).run()
    time.sleep(0.2)
    assert balanced(out)["waiting"] == 10
    out.stop(0.1)
    peer.close()
    assert peer.numbers == []


def test_the_target_asks_for_a_certificate(tls, tmp_path):
    pem, key, _ = make_certificate(tmp_path, "agent")
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.load_cert_chain(tls["ca"], tls["ca"].with_suffix(".key"))
    asking.load_verify_locations(pem)
    asking.verify_mode = ssl.CERT_REQUIRED
    peer = Stream(asking).open()
    without = sink(peer.url.replace("127.0.0.1", "localhost"), ca=tls["ca"])
    without.start()
    Load(without, 10, pause=0).run()
    time.sleep(0.3)
    assert balanced(without)["waiting"] == 10
    without.stop(0.1)
    out = sink(peer.url.replace("127.0.0.1", "localhost"), ca=tls["ca"], certificate=pem, private_key=key)
    out.start()
    Load(out, 10, pause=0).run()
    wait_for(lambda: balanced(out)["sent"] == 10, 60, "sent")
    out.stop(1)
    peer.close()
    assert peer.numbers == list(range(10))


@pytest.mark.parametrize("what", ["ca", "certificate", "private_key"])
def test_files_that_are_not_there(what, tmp_path):
    with pytest.raises(HepcatError, match="no file"):
        sink("tls://localhost:1", **{what: tmp_path / "none.pem"})


def test_versions_that_cannot_go_over_a_stream():
    with pytest.raises(HepcatError, match="no length"):
        sink("tcp://localhost:1", version=2)


def test_a_server_that_restarts_under_load(tmp_path):
    """`hepcat serve` over TCP: after a restart in the middle, each record is stored once."""
    with Server(tmp_path).start() as server:
        out = sink(f"tcp://127.0.0.1:{server.port}")
        out.start()
        load = Load(out, 20_000, pause=0.008, make=_invites)
        load.start()
        time.sleep(0.5)
        server.stop()
        server.start()
        load.join()
        wait_for(lambda: balanced(out)["waiting"] == 0, 60, "all delivered")
        out.stop(5)
        server.stop()
        found = [int(row["call_id"]) for row in server.rows("", "--fields", "call_id")]
        assert sorted(found) == list(range(20_000))


def _invites(first: int, n: int) -> Any:
    return build([{"payload": invite(i), "ts": int(time.time() * 1e6)} for i in range(first, first + n)])
