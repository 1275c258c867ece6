"""A monitoring port: what a switch mirrors to it is stored, and each packet is accounted for.

The mirror is the kernel's own (tc mirred), from the caller's link to a third namespace, where hepcat listens.
"""

import ast
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hepcat.batch.schema import NO_VLAN
from hepcat.errors import HepcatError
from hepcat.pipeline.raw_capture import READERS
from hepcat.wire import dissect
from tests.agent.hep import check_same, until
from tests.agent.traffic import frame, sip, write_capture
from tests.live import net, raw, sipp, tunnel
from tests.live.net import Namespace, ethernet, ipv4, udp
from tests.live.raw import opened, running
from tests.live.sipp import Load
from tests.support import ROOT, SHARED, need

Pair = tuple[Namespace, Namespace]
V4, V6 = ("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")
INNER4, INNER6 = ("10.8.0.1", "10.8.0.2"), ("fd08::1", "fd08::2")
BIG = Load(10, 100, "u1", body=6000)
MONI: dict[str, Any] = {"raw_moni_capture_on": True, "raw_socket_listen": "10.0.0.1:5060-5090"}
IN_KERNEL, HERE = {"raw_moni_bpf_on": True}, {"raw_moni_bpf_on": False}


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A link without addresses: only frames that a test sends cross it."""
    net.need()
    with net.pair(addresses=False) as made:
        yield made


@pytest.fixture(scope="module")
def link() -> Iterator[Pair]:
    """The same, for tests that leave its interfaces alone."""
    net.need()
    with net.pair(addresses=False) as made:
        yield made


@pytest.fixture(scope="module")
def mirror() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """Caller, callee, and where all that passes the callee's interface is mirrored to."""
    net.need()
    need("tc")
    with net.pair() as (a, b), net.namespace() as c:
        net.enable_ipv6(a, b)
        c.dev = "m1"
        net.run(
            "ip", "link", "add", "m0", "netns", b.name, "type", "veth", "peer", "name", "m1", "netns", c.name
        )
        b.ip("link set m0 up")
        c.ip("link set m1 up")
        b.run("tc", "qdisc", "add", "dev", "vb", "clsact")
        for side in ("ingress", "egress"):
            words = f"tc filter add dev vb {side} protocol all prio 1 u32 match u32 0 0"
            try:
                b.run(*f"{words} action mirred egress mirror dev m0".split())
            except RuntimeError as error:
                pytest.skip(f"no tc mirred in this kernel (modules cls_u32 and act_mirred): {error}")
        yield a, b, c


# ---- what a switch mirrors

#: addresses of caller and callee, load, workers, in front of which filter, tag around all of it
CALLS: dict[str, tuple[tuple[str, str], Load, int, dict[str, bool], str]] = {
    "udp": (V4, Load(30, 200), 1, IN_KERNEL, ""),
    "udp-filter-here": (V4, Load(30, 200), 1, HERE, ""),
    "ipv6": (V6, Load(15, 200), 1, IN_KERNEL, ""),
    "fragments": (V4, BIG, 1, IN_KERNEL, ""),
    "fragments-filter-here": (V4, BIG, 1, HERE, ""),
    "fragments-ipv6": (V6, BIG, 1, IN_KERNEL, ""),
    "fragments-three-workers": (V4, BIG, 3, IN_KERNEL, ""),
    "tcp": (V4, Load(15, 100, "t1"), 1, IN_KERNEL, ""),
    "tcp-big-three-workers": (V4, Load(10, 100, "tn", body=8000), 3, IN_KERNEL, ""),
    "vlan": (INNER4, Load(15, 200), 1, IN_KERNEL, "vlan"),
    "vlan-filter-here": (INNER6, Load(15, 200), 1, HERE, "vlan"),
    "vlan-fragments": (INNER4, BIG, 2, IN_KERNEL, "vlan"),
    "vlan-fragments-ipv6": (INNER6, BIG, 1, IN_KERNEL, "vlan"),
    "qinq": (INNER4, Load(15, 200), 1, IN_KERNEL, "qinq"),
}


@pytest.mark.peer
@pytest.mark.parametrize("name", CALLS)
def test_mirrored_calls(mirror: tuple[Namespace, Namespace, Namespace], name: str, tmp_path: Path) -> None:
    need("sipp", "ss")
    a, b, c = mirror
    ends, load, workers, bpf, tag = CALLS[name]
    if not tag:
        check_calls((a, b, c), ends, load, {**bpf, "raw_sock_children": workers}, tmp_path)
        return
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun")
    with tunnel.linked(a, b, tunnel.LINKS[tag]):
        for end, address in zip((a, b), ends, strict=True):
            if ":" in address:
                end.run("sysctl", "-qw", "net.ipv6.conf.t0.disable_ipv6=0")
            end.ip(
                f"address add {address}/{64 if ':' in address else 24} dev t0" + " nodad" * (":" in address)
            )
        check_calls((a, b, c), ends, load, {**bpf, "raw_sock_children": workers}, tmp_path, vlan=9)


def check_calls(
    spaces: tuple[Namespace, Namespace, Namespace],
    ends: tuple[str, str],
    load: Load,
    classic: dict[str, Any],
    folder: Path,
    vlan: int = NO_VLAN,
) -> None:
    """Make calls; what is stored is what sipp's own trace says, and no more."""
    a, b, c = spaces
    with running(c, **MONI, **classic, raw_interface="m1", promiscuous_on=True) as run:
        wanted = sipp.run(a, b, ends, load, folder)
        assert len(wanted) >= 6 * load.calls
        assert until(lambda: run.counts.stored >= len(wanted), 60), run.counts
        time.sleep(0.1)
        records = run.store.records
        check_same([record.key for record in records], wanted, f"{run.check()}")
        assert {record.src[0] for record in records} == set(ends)
        assert {record.vlan for record in records} == {vlan}
        assert {record.protocol for record in records} == {17 if load.transport.startswith("u") else 6}
        assert "KERNEL" not in run.drops()


CAPTURES = ("ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap", "suricata-sip-sdp.pcap", "zeek-mixed-vlan-mpls.pcap")


@pytest.mark.peer
@pytest.mark.parametrize("bpf", [IN_KERNEL, HERE], ids=["in-kernel", "here"])
@pytest.mark.parametrize("name", CAPTURES)
def test_recorded_traffic_as_tshark_reads_it(link: Pair, name: str, bpf: dict[str, bool]) -> None:
    need("tshark", "tcpreplay")
    capture = SHARED / "captures" / name
    if not capture.exists():
        pytest.skip("no recorded captures here")
    words = ["tshark", "-r", str(capture), "-Y", "sip && udp.port >= 5060 && udp.port <= 5090"]
    done = subprocess.run(
        [*words, "-T", "fields", "-e", "udp.payload"], capture_output=True, text=True, check=True
    )
    wanted = sorted(bytes.fromhex(line.replace(":", "")) for line in done.stdout.split())
    a, b = link
    with running(b, **MONI, **bpf, raw_interface="vb") as run:
        net.replay(a, capture)
        net.send_frames(a, [frame(sip("last"))])
        assert until(lambda: any(record.call_id == b"last" for record in run.store.records)), run.counts
        run.check()
        assert sorted(r.payload for r in run.store.records if r.call_id != b"last") == wanted


# ---- the port rule


def ends_of(low: int, high: int) -> list[tuple[int, int]]:
    """Source and destination ports at and around the range's ends."""
    edges = (low - 1, low, high, high + 1)
    return [(port, 9) for port in edges] + [(9, port) for port in edges]


@pytest.mark.parametrize("bpf", [IN_KERNEL, HERE], ids=["in-kernel", "here"])
@pytest.mark.parametrize(
    ("listen", "low", "high"), [(":5060-5090", 5060, 5090), ("10.1.1.1:5075", 5075, 5075)]
)
def test_source_or_destination_port(
    link: Pair, bpf: dict[str, bool], listen: str, low: int, high: int
) -> None:
    a, b = link
    ports = ends_of(low, high)
    big = [
        part
        for i, (source, target) in enumerate(ports)
        for part in fragments(sip(f"big-{source}-{target}", size=2500), source, target, 100 + i)
    ]
    small = [frame(sip(f"small-{s}-{t}"), s, t) for s, t in ports]
    classic = {**MONI, **bpf, "raw_socket_listen": listen, "raw_interface": "vb"}
    with running(b, **classic) as run:
        net.send_frames(a, [*small, *big, frame(sip("last"), low)])
        assert until(lambda: any(record.call_id == b"last" for record in run.store.records)), run.counts
        run.check()
        wanted = {
            f"{kind}-{s}-{t}".encode() for kind in ("small", "big") for s, t in ports if {s, t} & {low, high}
        }
        assert {record.call_id for record in run.store.records} == wanted | {b"last"}


def fragments(payload: bytes, source: int, target: int, ident: int) -> list[bytes]:
    """Return a datagram as frames of IPv4 fragments of at most 1,000 octets."""
    whole = udp(payload, source, target)
    last = (len(whole) - 1) // 1000 * 1000
    return [
        ethernet(ipv4(whole[at : at + 1000], fragment=at >> 3 | (0x2000 if at < last else 0), ident=ident))
        for at in range(0, len(whole), 1000)
    ]


def test_the_kernel_filters_where_it_is_told_to(link: Pair) -> None:
    """With raw_moni_bpf_on other traffic does not reach hepcat; without it, it is counted here."""
    a, b = link
    others = [frame(b"rtp" * 50, 10_000 + i, 20_000) for i in range(100)]
    for bpf, received in ((IN_KERNEL, 1), (HERE, 101)):
        with running(b, **MONI, **bpf, raw_interface="vb") as run:
            net.send_frames(a, [*others, frame(sip("one"))])
            assert run.settle(received).received == received
            assert run.counts.stored == 1
            assert run.drops().get("FILTER", 0) == received - 1


def test_only_sip_is_stored_and_off_is_counted(link: Pair) -> None:
    a, b = link
    stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    frames = [frame(payload) for payload in (sip("yes"), b"\r\n\r\n", stun, b"nonsense")]
    with running(b, **MONI, **IN_KERNEL, raw_interface="vb") as run:
        net.send_frames(a, frames)
        run.settle(4)
        run.switch.on = False
        net.send_frames(a, frames)
        run.settle(8)
        run.switch.on = True
        net.send_frames(a, [frame(sip("on"))])
        run.settle(9)
        assert [record.call_id for record in run.store.records] == [b"yes", b"on"]
        assert run.drops() == {"KEEPALIVE": 1, "STUN": 1, "NOT_SIP": 1, "CAPTURE_OFF": 4}


# ---- many, too many, and hostile ones


def numbered(count: int) -> list[bytes]:
    return [frame(sip(f"k-{i}", size=500), 5060, 1024 + i % 5000) for i in range(count)]


@pytest.mark.parametrize("bpf", [IN_KERNEL, HERE], ids=["in-kernel", "here"])
@pytest.mark.parametrize("workers", [1, 3])
def test_what_the_kernel_drops_is_counted_to_the_packet(
    link: Pair, workers: int, bpf: dict[str, bool], tmp_path: Path
) -> None:
    """Nobody reads while more comes than the ring holds."""
    need("tcpreplay")
    a, b = link
    capture = write_capture(tmp_path / "many.pcap", numbered(8000))
    classic = {**MONI, **bpf, "raw_interface": "vb", "raw_sock_children": workers}
    with opened(b, {"receive_buffer": 2**20}, **classic) as run:
        net.replay(a, capture)
        run.start()
        counts = run.settle(8000)
        lost = run.drops()["KERNEL"]
        assert counts.received == 8000
        assert 1000 < lost < 8000
        assert counts.stored == 8000 - lost
        shares = [source.frames.packets for source in run.sources]
        assert min(shares) > 100, shares
        net.send_frames(a, [frame(sip("after"))] * 10)
        assert run.settle(8010).stored == 8010 - lost


def test_a_full_queue_is_counted(link: Pair) -> None:
    a, b = link
    with opened(b, **MONI, raw_interface="vb") as run:
        for lane in run.fan.lanes:
            lane.queue.max_octets = 2**17
        run.store.gate.clear()
        run.start()
        for i in range(20):
            net.send_frames(a, numbered(100))
            assert until(lambda i=i: run.counts.received == 100 * (i + 1))  # type: ignore[misc]
        run.store.gate.set()
        counts = run.settle(2000)
        assert counts.stored + run.drops()["QUEUE_FULL"] == counts.messages == 2000
        assert run.drops()["QUEUE_FULL"] > 0


@pytest.mark.parametrize("bpf", [IN_KERNEL, HERE], ids=["in-kernel", "here"])
def test_whatever_comes_is_accounted_for(link: Pair, bpf: dict[str, bool]) -> None:
    """Octets of no meaning, cut frames, headers that lie: every one is a row or a drop."""
    a, b = link
    rng = random.Random(5)
    good = frame(sip("good"))
    frames = [good[:i] for i in range(14, 80)] + [rng.randbytes(rng.randrange(14, 300)) for _ in range(300)]
    for base in (good, *fragments(sip("f", size=1500), 5060, 5060, 3)):
        for _ in range(200):
            bent = bytearray(base)
            bent[rng.randrange(12, 50)] = rng.randrange(256)
            frames.append(bytes(bent))
    with running(b, **MONI, **bpf, raw_interface="vb") as run:
        net.send_frames(a, [*frames, frame(sip("last"))])
        assert until(lambda: any(record.call_id == b"last" for record in run.store.records)), run.counts
        if bpf is HERE:
            assert run.counts.received == len(frames) + 1
        run.check()


def test_a_stop_stores_what_had_arrived(link: Pair) -> None:
    a, b = link
    with running(b, **MONI, raw_interface="vb", raw_sock_children=2) as run:
        net.send_frames(a, numbered(500))
        run.stop()
        assert run.check().stored == 500


# ---- interfaces and rights


@pytest.mark.parametrize("name", ["promiscuous_on", "promiscious_on"])
@pytest.mark.parametrize("workers", [1, 2])
def test_promiscuous_mode_is_put_back(link: Pair, name: str, workers: int) -> None:
    _, b = link
    with running(b, **MONI, raw_interface="vb", raw_sock_children=workers, **{name: True}) as run:
        assert b.promiscuity() == workers
        run.stop()
        assert b.promiscuity() == 0
    with running(b, **MONI, raw_interface="vb"):
        assert b.promiscuity() == 0


def test_any_interface_where_none_is_named(link: Pair) -> None:
    a, b = link
    small = {"receive_buffer": 4096}  # the least there may be; a ring takes more
    with capture_logs() as logs, running(b, small, **MONI, **IN_KERNEL, promiscuous_on=True) as run:
        assert [event["event"][:31] for event in logs] == ["promiscuous_on has no effect wi"]
        assert [source.url for source in run.sources] == ["moni://any:5060-5090"]
        net.send_frames(a, [frame(sip("any"))])
        run.settle(1)
        assert [record.call_id for record in run.store.records] == [b"any"]


def relinked(pair: Pair) -> None:
    a, b = pair
    net.run("ip", "link", "add", "va", "netns", a.name, "type", "veth", "peer", "name", "vb", "netns", b.name)
    a.ip("link set va up")
    b.ip("link set vb up")


def heard(logs: list[Any]) -> list[str]:
    return [event["event"] for event in logs if "interface" in event["event"]]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interface_vanishes_and_comes_back(pair: Pair, workers: int) -> None:
    a, b = pair
    with (
        capture_logs() as logs,
        running(
            b, **MONI, **IN_KERNEL, raw_interface="vb", raw_sock_children=workers, promiscuous_on=True
        ) as run,
    ):
        net.send_frames(a, numbered(10))
        run.settle(10)
        b.ip("link delete vb")
        assert until(lambda: len(heard(logs)) >= workers, 60), logs
        relinked(pair)
        assert until(lambda: b.promiscuity() == workers, 60), logs
        net.send_frames(a, numbered(20))
        run.settle(30)
        assert run.counts.stored == 30
        gone = "interface vanished; waiting for it to come back"
        assert heard(logs).count(gone) == heard(logs).count("interface is back") == workers
        run.stop()
        assert b.promiscuity() == 0


def test_an_interface_is_down_at_the_start_and_goes_down_later(pair: Pair) -> None:
    a, b = pair
    b.ip("link set vb down")
    with capture_logs() as logs, running(b, **MONI, **IN_KERNEL, raw_interface="vb") as run:
        for number in (1, 2):
            assert until(lambda number=number: heard(logs).count("interface is down") == number, 60)  # type: ignore[misc]
            b.ip("link set vb up")
            assert until(lambda: "LOWER_UP" in b.ip("link show dev vb"), 60)
            # Nothing tells a packet socket that its interface is up again but packets.
            net.send_frames(a, [frame(sip(f"up-{number}"))])
            run.settle(number)
            assert heard(logs) == ["interface is down", "interface is up again"] * number
            if number == 1:
                b.ip("link set vb down")
        assert [record.call_id for record in run.store.records] == [b"up-1", b"up-2"]


@pytest.mark.parametrize("dev", ["nosuch0", "a-name-that-is-too-long"])
def test_no_such_interface(link: Pair, dev: str) -> None:
    with pytest.raises(HepcatError, match=f"there is no interface {dev}") as caught:
        raw.RawRun(link[1], raw.settings_of(**MONI, raw_interface=dev))
    assert "vb" in caught.value.hint


def test_a_port_is_mandatory() -> None:
    with pytest.raises(ValueError, match="raw_moni_capture_on needs a port or a range in raw_socket_listen"):
        raw.settings_of(raw_moni_capture_on=1, raw_socket_listen="10.0.0.1")


def test_neither_mode_opens_nothing(link: Pair) -> None:
    assert raw.RawRun(link[1], raw.settings_of(hep_capture_on=True)).sources == []


def test_readers_are_loaded_before_root_is_given_up() -> None:
    """All that the dissector loads on demand, but for what a server has no setting for."""
    tree = ast.parse(Path(dissect.__file__).read_text())
    later = {
        str(node.module)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
    }
    assert later == {*READERS, "hepcat.wire.join", "hepcat.wire.tls"}


NO_RIGHT = """
import os
from hepcat.errors import HepcatError
from hepcat.pipeline.counters import Counters
from hepcat.pipeline.raw_capture import open_raw
from hepcat.pipeline.stores import StoreFan
from tests.live.raw import settings_of
settings = settings_of(raw_moni_capture_on=1, raw_socket_listen=":5060", raw_interface="lo")
fan = StoreFan(("lake",), 2**20)
os.setuid(65534)
try:
    open_raw(settings, fan, Counters(fan), None)
except HepcatError as error:
    print(error, "|", error.hint)
"""


def test_no_right() -> None:
    net.need()
    command = [sys.executable, "-c", NO_RIGHT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("no right to capture on lo | ")
    assert "CAP_NET_RAW" in done.stdout
