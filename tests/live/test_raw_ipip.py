"""IP-in-IP copies on a raw socket: whatever a router sends is stored, and each packet is accounted for."""

import contextlib
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hepcat.errors import HepcatError
from hepcat.sources.raw_ip import RawIpSource
from tests.agent.hep import check_same, until
from tests.agent.traffic import sip
from tests.live import net, raw, sipp, tunnel
from tests.live.copier import Copier
from tests.live.net import Namespace, udp
from tests.live.raw import opened, running
from tests.live.sipp import Load
from tests.support import ROOT, need

Pair = tuple[Namespace, Namespace]
V4, V6 = ("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")
INNER4, INNER6 = ("10.8.0.1", "10.8.0.2"), ("fd08::1", "fd08::2")
BIG = Load(10, 100, "u1", body=6000)
IPIP: dict[str, Any] = {"raw_ipip_capture_on": True}


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    """A pair for tests that leave its interfaces alone."""
    net.need()
    with net.pair() as made:
        net.enable_ipv6(*made)
        yield made


@pytest.fixture
def pair() -> Iterator[Pair]:
    net.need()
    with net.pair() as made:
        net.enable_ipv6(*made)
        yield made


def packet4(
    payload: bytes, src: str, dst: str, protocol: int = 17, ident: int = 1, fragment: int = 0
) -> bytes:
    """Return an IPv4 packet (RFC 791); nobody looks at its checksum."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, 64, protocol, 0)
    return head + socket.inet_aton(src) + socket.inet_aton(dst) + payload


def packet6(payload: bytes, src: str, dst: str, kind: int = 17) -> bytes:
    """Return an IPv6 packet (RFC 8200)."""
    ends = b"".join(socket.inet_pton(socket.AF_INET6, end) for end in (src, dst))
    return struct.pack(">IHBB", 6 << 28, len(payload), kind, 64) + ends + payload


def send(where: Namespace, packets: list[bytes], to: str = "10.9.0.2", inner: int = 4) -> None:
    """Send packets as copies, each in a packet of the kernel's."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with where.socket(family, socket.SOCK_RAW, inner) as sock:
        for packet in packets:
            sock.sendto(packet, (to, 0))


def calls(count: int, source: int = 5060, target: int = 5060) -> list[bytes]:
    """Packets with a request each, of many senders."""
    return [
        packet4(udp(sip(f"i-{i}"), source, target), f"192.0.2.{i % 250}", "198.51.100.1", ident=i & 0xFFFF)
        for i in range(count)
    ]


# ---- what routers send

COPIES: dict[str, tuple[tuple[str, str], str, Load, int]] = {
    "ipv4-in-ipv4": (V4, V4[1], Load(30, 200), 1),
    "ipv6-in-ipv4": (V6, V4[1], Load(15, 200), 1),
    "ipv4-in-ipv6": (V4, V6[1], Load(15, 200), 1),
    "ipv6-in-ipv6": (V6, V6[1], Load(15, 200), 1),
    "fragments": (V4, V4[1], BIG, 1),
    "fragments-of-ipv6": (V6, V4[1], BIG, 1),
    "fragments-in-ipv6": (V4, V6[1], BIG, 1),
    "tcp": (V4, V4[1], Load(15, 100, "t1"), 1),
    "tcp-connection-a-call": (V4, V4[1], Load(15, 100, "tn"), 3),
}


@pytest.mark.peer
@pytest.mark.parametrize(
    ("name", "listen"),
    [*((name, "address") for name in COPIES), ("ipv4-in-ipv4", "any"), ("ipv4-in-ipv6", "any")],
)
def test_copies_of_calls(both: Pair, name: str, listen: str, tmp_path: Path) -> None:
    """sipp's calls, copied both ways by a router: what is stored is what sipp's own trace says."""
    need("sipp", "ss")
    ends, collector, load, workers = COPIES[name]
    a, b = both
    address = f"[{collector}]" if ":" in collector else collector
    listens = f"{address}:5060" if listen == "address" else ":5060-5062"
    with running(b, **IPIP, raw_socket_listen=listens, raw_sock_children=workers) as run:
        with Copier(a, collector) as copier:
            wanted = sipp.run(a, b, ends, load, tmp_path)
            time.sleep(0.2)
        assert len(wanted) >= 6 * load.calls
        run.settle(copier.copied)
        until(lambda: run.counts.stored >= len(wanted))
        check_same([record.key for record in run.store.records], wanted, f"{run.check()}")
        assert {record.family for record in run.store.records} == {10 if ":" in ends[0] else 2}
        assert {record.src[0] for record in run.store.records} == set(ends)
        assert run.counts.received == copier.copied
        assert "KERNEL" not in run.drops()


TUNNELS = {
    "ipip": (INNER4, V4, "ipip local {0} remote {1}", "ip_tunnel and ipip"),
    "sit": (INNER6, V4, "sit local {0} remote {1}", "sit"),
    "ip4ip6": (INNER4, V6, "ip6tnl mode ipip6 local {0} remote {1}", "ip6_tunnel"),
    "ip6ip6": (INNER6, V6, "ip6tnl mode ip6ip6 local {0} remote {1}", "ip6_tunnel"),
}


@contextlib.contextmanager
def joined(pair: Pair, name: str, maker: str) -> Iterator[None]:
    """Join the namespaces by a tunnel: the kernel's own interfaces, or one in user space."""
    inner, outer, kernel, module = TUNNELS[name]
    with contextlib.ExitStack() as life:
        if maker == "user":
            life.enter_context(tunnel.opened(*pair, tunnel.FORMATS[name]))
        else:
            if not pair[0].has_type(kernel.format(*outer)):
                pytest.skip(f"this kernel has no interfaces of type {kernel.split()[0]} (module {module})")
            for end, (local, remote) in zip(pair, (outer, outer[::-1]), strict=True):
                end.ip(f"link add name t0 type {kernel.format(local, remote)}")
                life.callback(end.run, "ip", "link", "delete", "t0", check=False)
                end.ip("link set t0 up")
        for end, address in zip(pair, inner, strict=True):
            if ":" in address:
                end.run("sysctl", "-qw", "net.ipv6.conf.t0.disable_ipv6=0")
            end.ip(
                f"address add {address}/{64 if ':' in address else 24} dev t0" + " nodad" * (":" in address)
            )
        yield


@pytest.mark.peer
@pytest.mark.parametrize("maker", ["kernel", "user"])
@pytest.mark.parametrize("name", TUNNELS)
def test_a_tunnel_interface(both: Pair, name: str, maker: str, tmp_path: Path) -> None:
    """What comes through a tunnel that this host ends is captured beside the host's own reading of it."""
    need("sipp", "ss")
    inner, outer, _, _ = TUNNELS[name]
    host = f"[{outer[1]}]" if ":" in outer[1] else outer[1]
    with joined(both, name, maker), running(both[1], **IPIP, raw_socket_listen=f"{host}:5060") as run:
        sipp.run(*both, inner, BIG, tmp_path)
        wanted = sipp.trace(tmp_path / "uas.log", received=True)
        assert until(lambda: run.counts.stored >= len(wanted)), run.counts
        check_same([record.key for record in run.store.records], wanted)
        run.check()


def test_outer_fragments_are_put_together_by_the_kernel(both: Pair) -> None:
    a, b = both
    with running(b, **IPIP, raw_socket_listen="10.9.0.2:5060") as run:
        payloads = [sip(f"o-{i}", size=9000) for i in range(10)]
        send(a, [packet4(udp(p), "192.0.2.1", "192.0.2.2", ident=i) for i, p in enumerate(payloads)])
        run.settle(10)
        assert [record.payload for record in run.store.records] == payloads


def test_inner_fragments_in_any_order(both: Pair) -> None:
    a, b = both
    payload = sip("parts", size=3000)
    whole = udp(payload)
    parts = [
        packet4(whole[at : at + 1000], "192.0.2.1", "192.0.2.2", ident=9, fragment=at >> 3 | more)
        for at, more in ((0, 0x2000), (1000, 0x2000), (2000, 0x2000), (3000, 0))
    ]
    with running(b, **IPIP, raw_socket_listen=":5060", raw_sock_children=4) as run:
        send(a, [parts[i] for i in (3, 1, 0, 2)])
        run.settle(4)
        assert [record.payload for record in run.store.records] == [payload]
        assert (run.counts.carried, run.counts.messages) == (4, 1)


# ---- the port rule

RULES: dict[str, tuple[str, set[int]]] = {
    "range": ("10.9.0.2:5060-5090", {5060, 5075, 5090}),
    "port": ("10.9.0.2:5075", {5075}),
    "none": ("10.9.0.2", {5059, 5060, 5075, 5090, 5091}),
    "any-address": (":5060", {5060}),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("side", ["source", "target"])
def test_source_or_destination_port(both: Pair, name: str, side: str) -> None:
    a, b = both
    listen, wanted = RULES[name]
    ports = (5059, 5060, 5075, 5090, 5091)
    ends = [(port, 9) if side == "source" else (9, port) for port in ports]
    with running(b, **IPIP, raw_socket_listen=listen) as run:
        send(a, [packet4(udp(sip(f"p-{max(e)}"), *e), "192.0.2.1", "192.0.2.2") for e in ends])
        counts = run.settle(5)
        at = 0 if side == "source" else 1
        assert {(r.src[1], r.dst[1])[at] for r in run.store.records} == wanted
        assert counts.stored == len(wanted)
        assert run.drops() == ({"FILTER": 5 - len(wanted)} if len(wanted) < 5 else {})


def test_only_sip_is_stored(both: Pair) -> None:
    a, b = both
    stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    payloads = [sip("yes"), b"\r\n\r\n", stun, b"nonsense", sip("reply", status=200)]
    with running(b, **IPIP) as run:
        send(a, [packet4(udp(payload), "192.0.2.1", "192.0.2.2") for payload in payloads])
        run.settle(5)
        assert [record.payload for record in run.store.records] == [payloads[0], payloads[4]]
        assert run.drops() == {"KEEPALIVE": 1, "STUN": 1, "NOT_SIP": 1}
        assert run.counts.stages["messages"].keys() == run.counts.drops.keys()


def test_switched_off_is_counted_and_on_again_is_stored(both: Pair) -> None:
    a, b = both
    with running(b, **IPIP) as run:
        for begin, on in ((0, True), (10, False), (20, True)):
            run.switch.on = on
            send(a, calls(30)[begin : begin + 10])
            run.settle(begin + 10)
        ids = [record.call_id for record in run.store.records]
        assert ids == [f"i-{i}".encode() for i in (*range(10), *range(20, 30))]
        assert run.drops() == {"CAPTURE_OFF": 10}


def test_times_are_those_of_the_kernel(both: Pair) -> None:
    a, b = both
    with opened(b, **IPIP) as run:
        time.sleep(0.2)  # the kernel begins to note times for all sockets at once, and a little later
        began = time.time_ns() // 1000
        send(a, calls(50))
        ended = time.time_ns() // 1000
        time.sleep(0.3)  # nobody reads yet
        run.start().settle(50)
        times = [record.ts for record in run.store.records]
        assert times == sorted(times)
        assert began <= times[0] < times[-1] <= ended
        assert len(set(times)) > 10


# ---- many, too many, and hostile ones


def test_what_the_kernel_drops_is_counted_to_the_packet(both: Pair) -> None:
    """Nobody reads while more comes than the receive buffer holds."""
    a, b = both
    with opened(b, {"receive_buffer": 2**17}, **IPIP) as run:
        send(a, calls(2000))
        run.start()
        counts = run.settle(2000)
        assert counts.received == 2000
        lost = run.drops()["KERNEL"]
        assert 500 < lost < 2000
        assert counts.stored == 2000 - lost
        send(a, calls(10))
        assert run.settle(2010).stored == 2010 - lost


def test_whatever_comes_is_accounted_for(both: Pair) -> None:
    """Octets of no meaning, cut packets, packets whose lengths lie: every one is a row or a drop."""
    a, b = both
    rng = random.Random(4)
    good = calls(1)[0]
    good6 = packet6(udp(sip("six")), "2001:db8::1", "2001:db8::2")
    packets = [good[:i] for i in range(1, 60)] + [good6[:i] for i in range(1, 80)]
    packets += [rng.randbytes(rng.randrange(1, 200)) for _ in range(300)]
    for base in (good, good6):
        for _ in range(200):
            bent = bytearray(base)
            bent[rng.randrange(48)] = rng.randrange(256)
            packets.append(bytes(bent))
    with running(b, **IPIP) as run:
        for inner in (4, 41):
            for to in (V4[1], V6[1]):
                send(a, packets, to, inner)
        send(a, [good])
        run.settle(4 * len(packets) + 1)
        assert run.counts.received == 4 * len(packets) + 1
        assert b"i-0" in {record.call_id for record in run.store.records[-1000:]}


def test_a_stop_stores_what_had_arrived(both: Pair) -> None:
    a, b = both
    with running(b, **IPIP) as run:
        send(a, calls(1000))
        run.stop()
        assert run.check().stored == 1000


# ---- interfaces and rights


def second_link(pair: Pair) -> None:
    """Join the pair by another veth pair: 10.7.0.1 on `vc`, 10.7.0.2 on `vd`."""
    a, b = pair
    net.run("ip", "link", "add", "vc", "netns", a.name, "type", "veth", "peer", "name", "vd", "netns", b.name)
    for end, dev, number in ((a, "vc", 1), (b, "vd", 2)):
        end.ip(f"address add 10.7.0.{number}/24 dev {dev}")
        end.ip(f"link set {dev} up")
    for end, dev, other in ((a, "vc", (b, "vd")), (b, "vd", (a, "vc"))):
        number = 2 if end is a else 1
        end.ip(f"neighbour replace 10.7.0.{number} lladdr {net.mac(*other)} dev {dev} nud permanent")


def heard(logs: list[Any]) -> list[str]:
    return [event["event"] for event in logs if "interface" in event["event"]]


def test_only_the_interface_named(pair: Pair) -> None:
    a, b = pair
    second_link(pair)
    with running(b, **IPIP, raw_interface="vd") as run:
        send(a, calls(20))
        send(a, calls(40)[20:], "10.7.0.2")
        counts = run.settle(20)
        assert counts.received == 20
        assert {record.call_id for record in run.store.records} == {f"i-{i}".encode() for i in range(20, 40)}


def test_an_interface_vanishes_and_comes_back(pair: Pair) -> None:
    a, b = pair
    second_link(pair)
    with capture_logs() as logs, running(b, **IPIP, raw_interface="vd") as run:
        send(a, calls(5), "10.7.0.2")
        run.settle(5)
        b.ip("link delete vd")
        assert until(lambda: len(heard(logs)) == 1, 60), logs
        second_link(pair)
        assert until(lambda: len(heard(logs)) == 2, 60), logs
        send(a, calls(10)[5:], "10.7.0.2")
        run.settle(10)
        assert run.counts.stored == 10
        gone = "interface vanished; waiting for it to come back"
        assert heard(logs) == [gone, "interface is back"]


def test_an_interface_is_down_at_the_start_and_goes_down_later(pair: Pair) -> None:
    a, b = pair
    second_link(pair)
    b.ip("link set vd down")
    with capture_logs() as logs, running(b, **IPIP, raw_interface="vd") as run:
        assert heard(logs) == ["interface is down"]
        for number in (1, 2):
            b.ip("link set vd up")
            assert until(lambda number=number: len(heard(logs)) == 2 * number, 60)  # type: ignore[misc]
            assert until(lambda: "LOWER_UP" in b.ip("link show dev vd"), 60)
            b.ip(f"neighbour replace 10.7.0.1 lladdr {net.mac(a, 'vc')} dev vd nud permanent")
            send(a, calls(5), "10.7.0.2")
            run.settle(5 * number)
            if number == 1:
                b.ip("link set vd down")
                assert until(lambda: len(heard(logs)) == 3, 60)
        assert heard(logs) == ["interface is down", "interface is up again"] * 2
        assert run.counts.stored == 10


@pytest.mark.parametrize(
    ("classic", "message", "hint"),
    [
        ({"raw_interface": "nosuch0"}, "there is no interface nosuch0", "There are: lo"),
        ({"raw_interface": "a-name-that-is-too-long"}, "there is no interface", "There are"),
        ({"raw_socket_listen": "192.0.2.77:5060"}, "192.0.2.77 is not an address of this host", "ip address"),
        ({"raw_socket_listen": "[2001:db8::7]"}, "2001:db8::7 is not an address of this host", "ip address"),
    ],
)
def test_what_cannot_be_is_told(both: Pair, classic: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(HepcatError, match=message.replace(".", r"\.")) as caught:
        raw.RawRun(both[1], raw.settings_of(**IPIP, **classic))
    assert hint in caught.value.hint


def test_an_address_that_is_none() -> None:
    """The settings tell it first, with the line that it stands in."""
    with pytest.raises(ValueError, match=r'"example\.org" is no IP address; name an address of this host'):
        raw.settings_of(**IPIP, raw_socket_listen="example.org:5060")
    with pytest.raises(HepcatError, match=r'"example\.org" is no IP address'):
        RawIpSource("example.org")


def test_both_raw_modes_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="raw_ipip_capture_on and raw_moni_capture_on exclude each other"):
        raw.settings_of(raw_ipip_capture_on=1, raw_moni_capture_on=1, raw_socket_listen=":5060")


NO_RIGHT = """
import os
from hepcat.errors import HepcatError
from hepcat.sources.raw_ip import RawIpSource
os.setuid(65534)
try:
    RawIpSource("127.0.0.1")
except HepcatError as error:
    print(error, "|", error.hint)
"""


def test_no_right() -> None:
    net.need()
    command = [sys.executable, "-c", NO_RIGHT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("no right to open a raw socket for IP-in-IP | ")
    assert "CAP_NET_RAW" in done.stdout


KEPT_RIGHTS = """
import os, sys, time
from hepcat.sources.raw_ip import RawIpSource
source = RawIpSource("", "vd")
os.setuid(65534)
print("ready", flush=True)
count = 0
while count < 3:
    window = source.next_window(0.2)
    count += 0 if window is None else window.packets.n
print("done", flush=True)
"""


def test_an_interface_comes_back_to_a_process_without_rights(pair: Pair) -> None:
    """Rights are given up after the start; nothing that the way back needs takes one."""
    a, b = pair
    second_link(pair)
    child = b.popen([sys.executable, "-c", KEPT_RIGHTS], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        b.ip("link delete vd")
        time.sleep(0.8)
        second_link(pair)
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            send(a, calls(1), "10.7.0.2")
            time.sleep(0.1)
        assert child.stdout.read().endswith("done\n")
    finally:
        child.kill()
        child.wait()


def test_waiting_costs_nothing(both: Pair) -> None:
    with both[1].entered():
        source = RawIpSource("", "vb")
        before = time.thread_time()
        assert source.next_window(1.0) is None
        assert time.thread_time() - before < 0.1  # turning round and round takes ten times that
        source.close()
        assert source.next_window(0) is None
        assert source.kernel_drops() == 0
