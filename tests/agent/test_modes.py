"""`hepcat agent` as relay, collector of reports and TZSP receiver; several profiles and targets at once."""

import json
import re
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.hep import StreamCollector, UdpCollector, check_same, key_of, until
from tests.agent.running import RunningAgent
from tests.agent.traffic import frame, hep3, sip
from tests.live import net
from tests.live.net import Namespace
from tests.support import free_port

PLAN = 'capture[x] { if (parse_sip()) { send_hep("out"); } drop; }'
MIXED = 'capture[x] { if (sip_check("method", "REGISTER")) { drop; } send_hep("out"); }'


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    net.need()
    with net.pair() as made:
        yield made


def configuration(folder: Path, profile: str, url: str, more: str = "", plan: str = PLAN) -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f"[agent]\nnode_id = 5\n[[agent.profiles]]\nname = 'in'\n{profile}\nplan_text = '''{plan}'''\n"
        f'[[agent.targets]]\nname = "out"\nurls = ["{url}"]\n{more}\n'
    )
    return path


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_relay_keeps_what_agents_say_of_themselves(kind: str, tmp_path: Path) -> None:
    port = free_port()
    messages = [sip(f"r-{i}", ("OPTIONS", "REGISTER", "INVITE")[i % 3], size=40 * i) for i in range(60)]
    octets = [hep3(message, 70 + i % 5, f"edge-{i % 5}") for i, message in enumerate(messages)]
    with UdpCollector() as collector:
        config = configuration(tmp_path, f'hep = ["{kind}://127.0.0.1:{port}"]', collector.url, plan=MIXED)
        with RunningAgent(tmp_path, ["--config", config]) as agent:
            if kind == "udp":
                with socket.socket(type=socket.SOCK_DGRAM) as sock:
                    for one in octets:
                        sock.sendto(one, ("127.0.0.1", port))
            else:
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    sock.sendall(b"".join(octets))
            assert until(lambda: agent.stats()["total"]["messages"] >= 60)
            stats = agent.settled()
            assert stats["total"]["received"] == 60
            assert stats["total"]["stages"]["messages"] == {"plan": 20}
            agent.finish()
        got = collector.close()
    check_same([m.key for m in got], [key_of(m) for i, m in enumerate(messages) if i % 3 != 1])
    named = {key_of(message): (70 + i % 5, f"edge-{i % 5}") for i, message in enumerate(messages)}
    for message in got:
        assert (message.node, message.name) == named[message.key]
        assert (message.src, message.dst) == (("192.0.2.1", 5060), ("192.0.2.2", 5070))
        assert message.ts == pytest.approx(1_700_000_000.123456, abs=1e-5)


def test_a_relay_counts_what_is_no_hep(tmp_path: Path) -> None:
    port = free_port()
    good = [hep3(sip(f"r-{i}")) for i in range(10)]
    bad = [b"", b"H", b"HEP3", good[0][:50], b"HEP3\xff\xff" + good[0][6:], sip("plain"), b"\r\n\r\n"]
    with UdpCollector() as collector:
        config = configuration(tmp_path, f'hep = ["udp://127.0.0.1:{port}"]', collector.url)
        with RunningAgent(tmp_path, ["--config", config]) as agent:
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                for one in good + bad:
                    sock.sendto(one, ("127.0.0.1", port))
            assert until(lambda: agent.stats()["total"]["received"] >= 17)
            assert until(lambda: agent.stats()["total"]["messages"] >= 10)
            stats = agent.settled()
            assert sum(stats["total"]["stages"]["packets"].values()) == 7
            agent.finish()
        assert len(collector.close()) == 10


REPORT = (
    "VQSessionReport: CallTerm\r\nCallID: call-of-the-report@h\r\n"
    "LocalID: <sip:a@h>\r\nRemoteID: <sip:b@h>\r\n"
    "OrigID: <sip:a@h>\r\nLocalAddr: IP=192.0.2.10 PORT=5000 SSRC=1\r\nLocalMetrics:\r\n"
    "Timestamps: START=2026-01-01T00:00:00Z STOP=2026-01-01T00:01:00Z\r\nQualityEst: MOSLQ=4.1 MOSCQ=4.0\r\n"
)


@pytest.mark.parametrize("how", ["plan", "setting", "neither"])
def test_voice_quality_reports_are_answered(how: str, tmp_path: Path) -> None:
    plan = (
        'capture[x] { if (is_vq_report() && parse_rtcpxr_to_json()) { send_hep("out"); '
        + ('send_rtcpxr_reply("200", "Taken"); ' if how == "plan" else "")
        + "} drop; }"
    )
    publish = sip("p-1", "PUBLISH", body=REPORT).replace(
        b"Content-Type: application/sdp", b"Event: vq-rtcpxr\r\nContent-Type: application/vq-rtcpxr"
    )
    port = free_port()
    with UdpCollector() as collector:
        profile = f'collect = "127.0.0.1:{port}"\nreply = {"true" if how == "setting" else "false"}'
        config = configuration(tmp_path, profile, collector.url, plan=plan)
        with (
            RunningAgent(tmp_path, ["--config", config]) as agent,
            socket.socket(type=socket.SOCK_DGRAM) as sock,
        ):
            sock.settimeout(60 if how != "neither" else 1)
            sock.connect(("127.0.0.1", port))
            sock.send(publish)
            sock.send(b"\0 nonsense")
            sock.send(sip("p-2", "ACK"))
            if how == "neither":
                with pytest.raises(TimeoutError):
                    sock.recv(65536)
            else:
                answer = sock.recv(65536).decode()
                assert answer.startswith(f"SIP/2.0 200 {'Taken' if how == 'plan' else 'OK'}\r\n")
                assert "Call-ID: p-1\r\n" in answer
                assert "CSeq: 1 PUBLISH\r\n" in answer
                assert "branch=z9hG4bKp-11" in answer
            assert until(lambda: agent.stats()["total"]["messages"] >= 3)
            agent.settled()
            agent.finish()
            sock.settimeout(0.2)
            with pytest.raises((TimeoutError, ConnectionError)):
                sock.recv(65536)  # neither nonsense nor an ACK is answered
        (got,) = collector.close()
    assert json.loads(got.payload)
    assert got.correlation == "call-of-the-report@h"


def test_what_a_router_mirrors_as_tzsp(tmp_path: Path) -> None:
    port = free_port()
    messages = [sip(f"t-{i}", size=20 * i) for i in range(40)]
    with UdpCollector() as collector:
        config = configuration(tmp_path, f'tzsp = "127.0.0.1:{port}"', collector.url)
        with RunningAgent(tmp_path, ["--config", config]) as agent:
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                for message in messages:  # version 1, a received packet, Ethernet, padding, end
                    head = struct.pack(">BBHBB", 1, 0, 1, 0, 1)
                    sock.sendto(head + frame(message, 5070, 5080), ("127.0.0.1", port))
            assert until(lambda: agent.stats()["total"]["forwarded"] >= 40)
            agent.settled()
            agent.finish()
        got = collector.close()
    check_same([m.key for m in got], map(key_of, messages))
    assert {(m.src, m.dst) for m in got} == {(("10.9.0.1", 5070), ("10.9.0.2", 5080))}


def test_two_profiles_and_two_targets(pair: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Each profile has an interface filter and a plan; one target is UDP, the other TCP."""
    a, b = pair
    with UdpCollector(b.socket) as one, StreamCollector(None, b.socket) as two:
        config = tmp_path / "agent.toml"
        config.write_text(
            "[[agent.profiles]]\nname = 'calls'\ndev = ['vb']\nfilter = 'udp port 5060'\nworkers = 2\n"
            "plan_text = \"capture[a] { if (parse_sip()) { send_hep('one'); send_hep('two'); } drop; }\"\n"
            "[[agent.profiles]]\nname = 'other'\ndev = ['vb', 'lo']\nfilter = 'udp port 5070'\n"
            "targets = ['two']\n"
            f"[[agent.targets]]\nname = 'one'\nurls = ['{one.url}']\nversion = 3\ncompress = true\n"
            f"[[agent.targets]]\nname = 'two'\nurls = ['{two.url}']\nnode_id = 99\n"
        )
        first, second = ([sip(f"{name}-{i}", size=10 * i) for i in range(50)] for name in "ab")
        with RunningAgent(tmp_path, ["--config", config], ["ip", "netns", "exec", b.name], b.socket) as agent:
            net.send_frames(
                a, [frame(m, 5060 + 10 * (m in second), 7000 + i) for i, m in enumerate(first + second)]
            )
            assert until(lambda: agent.stats()["total"]["forwarded"] >= 100)
            stats = agent.settled()
            agent.finish()
        by_profile = Counter[str]()
        for name, counts in stats["sources"].items():
            by_profile[name.split(":")[0]] += counts["forwarded"]
        assert by_profile == {"calls": 50, "other": 50}
        check_same([m.key for m in one.close()], map(key_of, first), "one")
        got = two.close()
    check_same([m.key for m in got], map(key_of, first + second), "two")
    assert {m.node for m in got} == {99}


def test_numbers_of_the_metrics_are_those_of_the_log(tmp_path: Path) -> None:
    port = free_port()
    with UdpCollector() as collector:
        config = configuration(tmp_path, f'hep = ["udp://127.0.0.1:{port}"]', collector.url)
        with RunningAgent(tmp_path, ["--config", config]) as agent:
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                for i in range(25):
                    sock.sendto(hep3(sip(f"m-{i}") if i % 5 else b"no sip"), ("127.0.0.1", port))
            assert until(lambda: agent.stats()["total"]["received"] >= 25)
            assert until(lambda: agent.stats()["total"]["forwarded"] >= 20)
            text = agent.text_of("/metrics")
            stats = agent.stats()
            counters = agent.finish()
    forwarded = sum(float(n) for n in re.findall(r"^hepcat_forwarded_total\{.*\} (\S+)$", text, re.M))
    assert forwarded == stats["total"]["forwarded"] == counters["forwarded"] == 20
    sent = re.findall(r'^hepcat_target_sent_total\{target="out"\} (\S+)$', text, re.M)
    assert [float(n) for n in sent] == [counters["targets"]["out"]["sent"]]
