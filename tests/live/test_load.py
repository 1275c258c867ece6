"""More than the agent can read: whatever the kernel drops is counted, and the sums hold to the packet."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.hep import UdpCollector, until
from tests.agent.running import RunningAgent
from tests.agent.traffic import frame, sip, write_capture
from tests.live import net
from tests.live.net import Namespace
from tests.support import need

PACKETS = 20_000


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    net.need()
    need("tcpreplay")
    with net.pair(addresses=False) as made:
        yield made


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_kernel_drops_is_counted(
    pair: tuple[Namespace, Namespace], tmp_path: Path, workers: int
) -> None:
    """The agent is stopped while more comes than its ring holds, then goes on."""
    a, b = pair
    frames = [frame(sip(f"k-{i}", size=600), 5060, 1024 + i % 5000) for i in range(PACKETS)]
    capture = write_capture(tmp_path / "load.pcap", frames)
    with UdpCollector(b.socket) as collector:
        config = tmp_path / "agent.toml"
        config.write_text(
            "[[agent.profiles]]\nname = 'sip'\ndev = ['vb']\nfilter = 'udp port 5060'\n"
            f"ring_buffer = '1MiB'\nworkers = {workers}\n"
            f"[[agent.targets]]\nname = 'out'\nurls = ['{collector.url}']\n"
        )
        words = ["ip", "netns", "exec", b.name]
        with RunningAgent(tmp_path, ["--config", config], words, b.socket) as agent:
            agent.process.send_signal(signal.SIGSTOP)
            try:
                net.replay(a, capture)
            finally:
                agent.process.send_signal(signal.SIGCONT)
            assert until(lambda: agent.stats()["total"]["received"] >= PACKETS), agent.stats()["total"]
            assert until(lambda: agent.stats()["total"]["dropped"].get("kernel", 0) > 0)
            net.replay(a, write_capture(tmp_path / "more.pcap", frames[:100]))
            assert until(lambda: agent.stats()["total"]["received"] >= PACKETS + 100)
            stats = agent.settled()
            agent.finish()
        got = collector.close()
    total = stats["total"]
    assert total["received"] == PACKETS + 100
    assert total["dropped"]["kernel"] > PACKETS / 2
    assert total["forwarded"] == total["messages"] == total["received"] - total["dropped"]["kernel"]
    assert len(got) == total["forwarded"]
    assert total["forwarded"] > 500, "what the ring could hold, and what came later"
