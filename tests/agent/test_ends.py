"""The agent's end, a start that fails, a reload that cannot be whole, and what a collector of SIP counts."""

import os
import select
import socket
import threading
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from hepcat.batch.schema import FLAG_REQUEST
from hepcat.config.settings import Settings
from hepcat.errors import HepcatError
from hepcat.pipeline.agent import Agent
from hepcat.pipeline.capture import AgentTally
from hepcat.pipeline.relay import SipCollector
from tests.agent.traffic import sip
from tests.support import free_port, wait_for


def settings(profiles: list[dict[str, Any]], targets: list[str], **agent: Any) -> Settings:
    named = [{"name": f"t{i}", "urls": (url,)} for i, url in enumerate(targets)]
    return Settings.model_validate({"agent": {"profiles": profiles, "targets": named, **agent}})


def test_targets_that_are_away_end_together() -> None:
    agent = Agent(settings([{"name": "p", "hep": ["udp://127.0.0.1:9"]}], ["tcp://127.0.0.1:9"] * 3))

    together = threading.Barrier(3, timeout=60)  # breaks where one has to wait for another

    class Slow:
        def stop(self, seconds: float) -> None:
            together.wait()
            ended.append(seconds)

    ended: list[float] = []

    agent.sinks = {name: Slow() for name in agent.sinks}  # type: ignore[assignment,return-value]
    agent.stop_sinks()
    assert len(ended) == 3


def test_a_start_that_fails_leaves_nothing_open() -> None:
    ports = [free_port() for _ in range(3)]
    profiles: list[dict[str, Any]] = [
        {"name": "a", "hep": [f"udp://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}"]},
        {"name": "b", "collect": f"127.0.0.1:{ports[2]}"},
    ]
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        profiles.append({"name": "c", "tzsp": f"127.0.0.1:{taken.getsockname()[1]}"})
        agent = Agent(settings(profiles, ["udp://127.0.0.1:9"]))
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(HepcatError, match="cannot listen"):
            agent.open()
        assert len(os.listdir("/proc/self/fd")) <= len(before)
    assert not agent.workers
    assert not agent.listeners
    assert not agent.collectors


def test_a_reload_names_what_it_does_not_take_over() -> None:
    profile = {"name": "p", "hep": ["udp://127.0.0.1:9"]}
    agent = Agent(settings([profile], ["udp://127.0.0.1:9"]))
    with capture_logs() as logs:
        agent.reload(settings([profile], ["udp://127.0.0.1:9"], node_id=7, media={"entries": 99}))
    assert [line["settings"] for line in logs if "settings" in line] == [["media", "node_id"]]


class Planner:
    """Keeps what it is given; waits where it is told to."""

    def __init__(self) -> None:
        self.types: list[int] = []
        self.go = threading.Event()

    def run(self, batch: Any) -> int:
        self.go.wait(120)
        self.types += batch.hep_type[: batch.n].tolist()
        return 0


def collector(answer: bool = False, other: int = 0) -> tuple[SipCollector, Planner, AgentTally, int]:
    planner: Any = Planner()
    tally, port = AgentTally("c"), free_port()
    return SipCollector(f"127.0.0.1:{port}", planner, tally, (), answer, other), planner, tally, port


def test_a_collector_s_other_messages_have_the_type_of_the_settings() -> None:
    made, planner, _, port = collector(other=100)
    planner.go.set()
    made.start()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for octets in (b"<34>Oct 11 22:14:15 host su: x", sip("a")):
            sock.sendto(octets, ("127.0.0.1", port))
        wait_for(lambda: len(planner.types) == 2, 60, "both came")
    made.stop()
    made.join()
    assert sorted(planner.types) == [1, 100]


def test_a_collector_counts_what_its_socket_had_no_room_for() -> None:
    made, planner, tally, port = collector()
    made._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    made.start()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("127.0.0.1", port))
        wait_for(lambda: tally.packets == 1, 60, "the first came")
        for _ in range(200):
            sock.sendto(bytes(1000), ("127.0.0.1", port))
        planner.go.set()
        wait_for(lambda: not select.select([made._sock], [], [], 0)[0], 60, "all others are read")
        sock.sendto(b"x", ("127.0.0.1", port))
        wait_for(lambda: tally.packets + tally.kernel == 202, 60, "all are counted")
    made.stop()
    made.join()
    assert tally.kernel > 0


def test_a_peer_that_cannot_be_answered_is_told_once() -> None:
    made, _, _, _ = collector()
    octets = sip("a")
    made._append(octets, ("127.0.0.1", 0), 1)  # port 0: nothing can be sent there
    made._batch.flags[0] = FLAG_REQUEST
    with capture_logs() as logs:
        for _ in range(3):
            made.reply(made._batch, np.array([0]), 200, "OK")
    made.close()
    assert [line["event"] for line in logs] == ["cannot answer"]
