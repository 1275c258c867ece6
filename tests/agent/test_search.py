"""From the wire to the terminal: sipp, hepcat agent, hepcat serve, hepcat search, each the real program."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.hep import until
from tests.agent.running import RunningAgent
from tests.live import net, sipp
from tests.live.net import Namespace
from tests.support import HEPCAT, ROOT, hepcat, need

pytestmark = pytest.mark.peer
Pair = tuple[Namespace, Namespace]
V4, V6 = ("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")
CASES = {
    # name: addresses, sipp's transport, how the agent sends, octets of a large body
    "udp": (V4, "u1", "udp", 0),
    "udp-ipv6-large": (V6, "u1", "tcp", 5000),
    "tcp": (V4, "t1", "tcp", 0),
    "tcp-ipv6-large": (V6, "tn", "udp", 5000),
}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    net.need()
    need("sipp", "ss")
    with net.pair() as made:
        net.enable_ipv6(*made)
        yield made


@pytest.fixture
def server(pair: Pair, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A server in the callee's namespace."""
    listen = [f"--hep={kind}://127.0.0.1:9060" for kind in ("udp", "tcp")]
    with (tmp_path / "serve.log").open("w") as log:
        words = [*HEPCAT, "serve", "--data", str(tmp_path / "lake"), *listen, "--http=127.0.0.1:9070"]
        process = pair[1].popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT)
        try:
            assert until(lambda: ":9060 " in pair[1].run("ss", "-tln")), (tmp_path / "serve.log").read_text()
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(120)


@pytest.mark.parametrize("name", CASES)
def test_a_call_is_found(pair: Pair, server: "subprocess.Popen[str]", name: str, tmp_path: Path) -> None:
    a, b = pair
    addresses, transport, target, body = CASES[name]
    words = ["--dev", "vb", "--filter", "port 5060", "--no-rtcp", "--to", f"{target}://127.0.0.1:9060"]
    with RunningAgent(tmp_path, words, ["ip", "netns", "exec", b.name], b.socket) as agent:
        load = sipp.Load(15, 60, transport, body)
        wanted = sipp.run(a, b, addresses, load, tmp_path)
        assert until(lambda: agent.stats()["total"]["forwarded"] >= len(wanted))
        agent.settled()
        agent.finish()
    server.terminate()
    assert server.wait(120) == 0
    data = ("--data", str(tmp_path / "lake"))
    call = wanted[0][0]
    found = hepcat("search", *data, "--messages", "--format", "jsonl", "--limit", "100", f"call_id:{call}")
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    sent = Counter(sequence.split()[1] for call_id, sequence, *_ in wanted if call_id == call)
    assert sent >= Counter({"INVITE": 3, "ACK": 1, "BYE": 2}), "a busy machine sends some again"
    assert Counter(row["method"] for row in rows) == sent
    assert {row["src_ip"] for row in rows} == set(addresses)
    every = hepcat("search", *data, "--messages", "--count", "")
    assert int(every.stdout) == len(wanted)
    calls = hepcat("search", *data, "--count", "")
    assert int(calls.stdout) == 15
    shown = hepcat("flow", *data, call)
    for word in ("INVITE", "180 Ringing", "200 OK", "ACK", "BYE"):
        assert word in shown.stdout, shown.stdout
    assert addresses[0] in shown.stdout
