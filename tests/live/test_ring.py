"""The ring on real interfaces: every packet that was sent is a row or a counted drop, whatever happens."""

import fcntl
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hepcat.batch.drops import Drop
from hepcat.batch.schema import NO_VLAN
from hepcat.errors import HepcatError
from hepcat.sources.af_packet import RingSource, open_rings
from hepcat.sources.filters import compile_filter
from hepcat.sources.frame_source import FrameSource
from hepcat.sources.live_pcap import LivePcapSource
from hepcat.wire.columns import LINK_ETHERTYPE
from tests.live import net
from tests.live.net import Namespace, ethernet, ipv4, udp
from tests.support import ROOT

Pair = tuple[Namespace, Namespace]


class Row(NamedTuple):
    octets: bytes
    original: int
    ts: int
    link: int
    vlan: int


def drain(source: FrameSource, timeout: float = 0.3) -> list[Row]:
    """Read until nothing comes any more."""
    found: list[Row] = []
    while (window := source.next_window(timeout)) is not None:
        packets = window.packets
        for i in range(packets.n):
            begin, size = int(packets.offset[i]), int(packets.captured[i])
            numbers = (int(getattr(packets, name)[i]) for name in ("original", "ts", "link", "vlan"))
            found.append(Row(window.data[begin : begin + size].tobytes(), *numbers))
        assert window.now_us == found[-1].ts
        source.release(window)
    return found


@pytest.fixture
def pair() -> Iterator[Pair]:
    net.need()
    with net.pair() as made:
        yield made


def opened(where: Namespace, dev: str = "", **more: object) -> RingSource:
    with where.entered():
        return RingSource(dev or where.dev, **more)  # type: ignore[arg-type]


def frames(count: int) -> list[bytes]:
    return [
        ethernet(ipv4(udp(struct.pack(">I", i) + b"x" * (i % 900), 5060, 1024 + i % 5000)))
        for i in range(count)
    ]


def write_capture(path: Path, octets: list[bytes]) -> Path:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    records = [struct.pack("<IIII", 1_700_000_000, i, len(o), len(o)) + o for i, o in enumerate(octets)]
    path.write_bytes(head + b"".join(records))
    return path


def test_what_is_sent_is_what_comes(pair: Pair) -> None:
    a, b = pair
    sent = frames(500)
    source = opened(b)
    began = time.time_ns() // 1000
    net.send_frames(a, sent)
    rows = drain(source)
    assert [row.octets for row in rows] == sent
    assert all(row.original == len(row.octets) and row.link == 1 and row.vlan == NO_VLAN for row in rows)
    times = [row.ts for row in rows]
    assert began <= times[0] <= times[-1] <= time.time_ns() // 1000
    assert source.packets == 500
    assert source.kernel_drops() == 0
    source.close()
    assert source.next_window(0) is None


@pytest.mark.parametrize("ring", [2**16, 2**20, 2**25])
def test_sent_is_received_and_dropped(pair: Pair, tmp_path: Path, ring: int) -> None:
    """At top speed into rings too small for it: nothing is lost without being counted."""
    a, b = pair
    count = 20_000
    capture = write_capture(tmp_path / "many.pcap", frames(count))
    source = opened(b, ring_octets=ring, snap_len=2000)
    net.replay(a, capture)
    rows = drain(source)
    drops = source.kernel_drops()
    assert len(rows) + drops == count
    assert drops == 0 if ring > count * 600 else drops > 0
    assert source.kernel_drops() == 0
    source.close()


def test_a_ring_that_nobody_reads_goes_on_afterwards(pair: Pair) -> None:
    a, b = pair
    source = opened(b, ring_octets=2**18, snap_len=1500, timeout_ms=5)
    held = []
    for _ in range(24):
        net.send_frames(a, frames(20))
        if (window := source.next_window(0.03)) is not None:
            held.append(window)
    assert sum(window.packets.n for window in held) + source.kernel_drops() == 480
    assert sum(len(window.blocks) for window in held) == 16, "a block held is one that the kernel cannot use"
    for window in held:
        source.release(window)
    net.send_frames(a, frames(10))
    assert len(drain(source)) == 10
    source.close()


def check_vlans(a: Namespace, b: Namespace, send: Callable[[int, bytes], None]) -> None:
    """Send without a tag, with tag 100, and with tag 7 within it; the kernel takes one off."""
    source = opened(b, filter=compile_filter("port 5060"))
    everywhere = opened(b, "any", filter=compile_filter("port 5060"))
    asked = opened(b, filter=compile_filter("vlan 100 and port 5060"))
    for depth in range(3):
        send(depth, ipv4(udp(b"x" * depth)))
        send(depth, ipv4(udp(b"x" * depth, 1, 2)))
    rows = drain(source)
    assert [(row.vlan, row.octets[12:14].hex()) for row in rows] == [
        (NO_VLAN, "0800"),
        (100, "0800"),
        (100, "8100"),
    ]
    assert rows[2].octets[14:18].hex() == "00070800"
    cooked = drain(everywhere)
    assert [(row.vlan, row.link & 0xFFFF) for row in cooked] == [
        (NO_VLAN, 0x0800),
        (100, 0x0800),
        (100, 0x8100),
    ]
    assert all(row.link & LINK_ETHERTYPE for row in cooked)
    assert [row.octets for row in cooked] == [row.octets[14:] for row in rows]
    assert [len(row.octets) for row in drain(asked)] == [14 + 28 + 1]
    for each in (source, everywhere, asked):
        each.close()


@pytest.mark.parametrize("outer", [0x8100, 0x88A8])
def test_vlan_tags_are_put_back(pair: Pair, outer: int) -> None:
    a, b = pair

    def send(depth: int, packet: bytes) -> None:
        net.send_frames(a, [ethernet(packet, 0x0800, (100, 7)[:depth], outer)])

    check_vlans(a, b, send)


@pytest.mark.parametrize("offload", ["on", "off"])
def test_vlan_tags_of_vlan_interfaces_are_put_back(pair: Pair, offload: str) -> None:
    a, b = pair
    if not a.has_type("vlan id 9"):
        pytest.skip("this kernel has no VLAN interfaces (CONFIG_VLAN_8021Q)")
    a.run("ethtool", "-K", "va", "txvlan", offload, check=False)
    a.ip("link add link va name va.100 type vlan id 100")
    a.ip("link add link va.100 name inner type vlan id 7")
    for dev in ("va.100", "inner"):
        a.ip(f"link set {dev} up")
    check_vlans(a, b, lambda depth, p: net.send_frames(a, [ethernet(p)], ("va", "va.100", "inner")[depth]))


def test_loopback_is_seen_once(pair: Pair) -> None:
    _, b = pair
    for dev, head in (("lo", 14), ("any", 0)):
        source = opened(b, dev, filter=compile_filter("udp port 5070"))
        with b.socket() as sock:
            for i in range(10):
                sock.sendto(bytes([i]) * 20, ("127.0.0.1", 5070))
        rows = drain(source)
        assert [row.octets[head + 28] for row in rows] == list(range(10))
        assert source.drops[Drop.OUTGOING] == source.drops.sum() == 10
        assert source.packets == 20
        source.close()


def test_what_the_host_itself_sends_is_seen_once(pair: Pair) -> None:
    a, _ = pair
    source = opened(a, filter=compile_filter("udp port 5070"))
    with a.socket() as sock:
        sock.sendto(b"x", ("10.9.0.2", 5070))
    assert len(drain(source)) == 1
    source.close()


def test_any_sees_interfaces_that_come_later(pair: Pair) -> None:
    a, b = pair
    source = opened(b, "any", filter=compile_filter("udp port 5060"))
    net.run(
        "ip", "link", "add", "late", "netns", a.name, "type", "veth", "peer", "name", "later", "netns", b.name
    )
    a.ip("link set late up")
    b.ip("link set later up")
    for end, dev in ((a, "late"), (b, "later")):
        assert eventually(lambda end=end, dev=dev: "LOWER_UP" in end.ip(f"link show dev {dev}"))  # type: ignore[misc]
    net.send_frames(a, [ethernet(ipv4(udp(b"late")))], "late")
    net.send_frames(a, [ethernet(ipv4(udp(b"usual")))])
    assert sorted(row.octets[28:] for row in drain(source)) == [b"late", b"usual"]
    source.close()


def test_tunnels_without_link_header(pair: Pair) -> None:
    a, b = pair
    if not a.has_type("ipip local 10.9.0.1 remote 10.9.0.2"):
        pytest.skip("this kernel has no ipip interfaces (CONFIG_NET_IPIP)")
    for end, own, other in ((a, 1, 2), (b, 2, 1)):
        end.ip(f"link add t0 type ipip local 10.9.0.{own} remote 10.9.0.{other}")
        end.ip(f"address add 10.8.0.{own}/24 dev t0")
        end.ip("link set t0 up")
    inside = opened(b, "t0", filter=compile_filter("udp port 5060"))
    outside = opened(b, filter=compile_filter("ip proto 4"))
    with a.socket() as sock:
        sock.sendto(b"through the tunnel", ("10.8.0.2", 5060))
    rows = drain(inside)
    assert [(row.link, row.octets[28:]) for row in rows] == [(LINK_ETHERTYPE | 0x0800, b"through the tunnel")]
    assert [row.octets[14 + 48 :] for row in drain(outside)] == [b"through the tunnel"]
    inside.close()
    outside.close()


def test_a_tun_interface_has_no_link_header(pair: Pair) -> None:
    _, b = pair
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun")
    with b.entered(), open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"t0", 0x1001))  # TUNSETIFF: IFF_TUN, IFF_NO_PI
        b.ip("address add 10.8.0.1/24 dev t0")
        b.ip("link set t0 up")
        source = RingSource("t0", compile_filter("udp port 5060 and len > 60"))
        assert source.cooked
        packets = [ipv4(udp(b"s" * 18)), ipv4(udp(b"l" * 19)), ipv4(udp(b"x" * 99, 1, 2))]
        for packet in packets:
            tun.write(packet)
        assert [(row.octets, row.link) for row in drain(source)] == [(packets[1], LINK_ETHERTYPE | 0x0800)]
        source.close()


def big_messages(a: Namespace, count: int, size: int = 4000) -> None:
    """Send datagrams of three fragments each."""
    with a.socket() as sock:
        sock.bind(("10.9.0.1", 5060))
        for i in range(count):
            sock.sendto(struct.pack(">I", i) + b"y" * size, ("10.9.0.2", 5060))


@pytest.mark.parametrize(("passing", "packets"), [(False, 1), (True, 3)])
def test_fragments_pass_the_filter(pair: Pair, passing: bool, packets: int) -> None:
    a, b = pair
    source = opened(b, filter=compile_filter("port 5060", pass_fragments=passing))
    big_messages(a, 5)
    assert len(drain(source)) == 5 * packets
    source.close()


def flow(row: Row) -> tuple[object, ...]:
    """Return what names a flow, whichever its direction."""
    ip = row.octets[14:]
    ends = [(ip[12:16], ip[20:22]), (ip[16:20], ip[22:24])]
    return tuple(sorted(ends))


def test_workers_share_an_interface(pair: Pair) -> None:
    """Three workers get each packet once together, and both directions of a flow reach the same one."""
    a, b = pair
    with b.entered():
        workers = open_rings("vb", 3, compile_filter("udp"), 2**20)
    assert len({worker.group for worker in workers}) == 1
    there = [ethernet(ipv4(udp(b"there", 10_000 + i, 5060))) for i in range(300)]
    back = [ethernet(reversed_ip(ipv4(udp(b"back", 5060, 10_000 + i)))) for i in range(300)]
    net.send_frames(a, there + back)
    seen = [drain(worker) for worker in workers]
    assert sum(map(len, seen)) == 600
    assert all(len(rows) > 60 for rows in seen), "the work is shared"
    flows = [{flow(row) for row in rows} for rows in seen]
    assert sum(map(len, flows)) == 300, "no flow in two workers"
    for worker in workers:
        worker.close()


def reversed_ip(packet: bytes) -> bytes:
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


def test_fragments_of_a_datagram_reach_one_worker(pair: Pair) -> None:
    a, b = pair
    with b.entered():
        workers = open_rings("vb", 3, compile_filter("port 5060", pass_fragments=True), 2**20)
    big_messages(a, 30)
    seen = [drain(worker) for worker in workers]
    by_ident = [{row.octets[18:20] for row in rows} for rows in seen]
    assert sum(map(len, seen)) == 90
    assert sum(map(len, by_ident)) == 30
    for worker in workers:
        worker.close()


def test_two_groups_do_not_share(pair: Pair) -> None:
    a, b = pair
    with b.entered():
        groups = [open_rings("vb", 2, None, 2**19) for _ in range(2)]
    net.send_frames(a, frames(50))
    assert [sum(len(drain(worker)) for worker in group) for group in groups] == [50, 50]
    for worker in (*groups[0], *groups[1]):
        worker.close()


def test_snap_length(pair: Pair) -> None:
    a, b = pair
    frame = ethernet(ipv4(udp(b"z" * 1000)))
    for filter in (None, compile_filter("port 5060")):
        source = opened(b, filter=filter, snap_len=100)
        net.send_frames(a, [frame])
        (row,) = drain(source)
        assert (row.octets, row.original) == (frame[:100], len(frame))
        source.close()


def test_promiscuous_mode_is_put_back(pair: Pair) -> None:
    _, b = pair
    assert b.promiscuity() == 0
    source, other = opened(b), opened(b)
    assert b.promiscuity() == 2
    source.close()
    assert b.promiscuity() == 1
    other.close()
    assert b.promiscuity() == 0
    without = opened(b, promisc=False)
    assert b.promiscuity() == 0
    without.close()


def test_a_window_kept_does_not_keep_promiscuous_mode(pair: Pair) -> None:
    a, b = pair
    source = opened(b)
    net.send_frames(a, frames(1))
    window = source.next_window(1.0)
    assert window is not None
    source.close()
    assert b.promiscuity() == 0
    assert window.data[int(window.packets.offset[0])] == frames(1)[0][0]
    source.release(window)


CHILD = """
import sys, time
from hepcat.sources.af_packet import RingSource
source = RingSource("vb")
print("ready", flush=True)
time.sleep(60)
"""


def test_promiscuous_mode_is_put_back_by_the_kernel(pair: Pair) -> None:
    _, b = pair
    child = b.popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert b.promiscuity() == 1
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert b.promiscuity() == 0


def eventually(check: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("dev", ["vb", "any"])
def test_an_interface_goes_down_and_up(pair: Pair, dev: str) -> None:
    a, b = pair
    source = opened(b, dev, filter=compile_filter("port 5060"))
    b.ip("link set vb down")
    assert source.next_window(0.05) is None
    b.ip("link set vb up")
    assert eventually(lambda: "LOWER_UP" in b.ip("link show dev vb"))
    net.send_frames(a, frames(3))
    assert len(drain(source, 0.8)) == 3
    source.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interface_vanishes_and_comes_back(pair: Pair, workers: int) -> None:
    a, b = pair
    with b.entered():
        sources = open_rings("vb", workers, compile_filter("port 5060"), 2**19)
    net.send_frames(a, frames(4))
    assert sum(len(drain(source)) for source in sources) == 4
    b.ip("link delete vb")
    assert all(source.next_window(0.05) is None for source in sources)
    net.run("ip", "link", "add", "va", "netns", a.name, "type", "veth", "peer", "name", "vb", "netns", b.name)
    a.ip("link set va up")
    b.ip("link set vb up")
    with b.entered():  # where the process lives; sockets made anew belong there
        assert eventually(
            lambda: all(s.next_window(0.05) is None for s in sources) and b.promiscuity() == workers
        )
    net.send_frames(a, frames(20))
    assert sum(len(drain(source)) for source in sources) == 20
    for source in sources:
        source.close()
    assert b.promiscuity() == 0


def test_an_interface_goes_down_and_then_vanishes(pair: Pair) -> None:
    a, b = pair
    source = opened(b, filter=compile_filter("port 5060"))
    b.ip("link set vb down")
    assert source.next_window(0.05) is None
    b.ip("link delete vb")
    net.run("ip", "link", "add", "va", "netns", a.name, "type", "veth", "peer", "name", "vb", "netns", b.name)
    a.ip("link set va up")
    b.ip("link set vb up")
    with b.entered():
        assert eventually(lambda: source.next_window(0.05) is None and b.promiscuity() == 1)
    net.send_frames(a, frames(5))
    assert len(drain(source)) == 5
    source.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interface_that_is_still_down(pair: Pair, workers: int) -> None:
    a, b = pair
    b.ip("link set vb down")
    with b.entered():
        sources = open_rings("vb", workers, compile_filter("port 5060"), 2**19)
        assert all(source.next_window(0.05) is None for source in sources)
    b.ip("link set vb up")
    assert eventually(lambda: "LOWER_UP" in b.ip("link show dev vb"))
    with b.entered():
        assert all(source.next_window(0.7) is None for source in sources)
    net.send_frames(a, frames(20))
    assert sum(len(drain(source)) for source in sources) == 20
    for source in sources:
        source.close()


def test_finish_hands_out_all_that_came_before(pair: Pair) -> None:
    a, b = pair
    source = opened(b, timeout_ms=200)
    net.send_frames(a, frames(100))
    source.finish()
    net.send_frames(a, frames(7))
    count = 0
    while not source.ended:
        window = source.next_window(0)
        if window is not None:
            count += window.packets.n
            source.release(window)
    assert count == 100


def test_another_filter_in_between(pair: Pair) -> None:
    a, b = pair
    source = opened(b, filter=compile_filter("port 5060"))
    net.send_frames(a, [ethernet(ipv4(udp(b"1"))), ethernet(ipv4(udp(b"2", 1, 2)))])
    source.set_filter(compile_filter("port 2"))
    net.send_frames(a, [ethernet(ipv4(udp(b"3"))), ethernet(ipv4(udp(b"4", 1, 2)))])
    assert [row.octets[-1:] for row in drain(source)] == [b"1", b"4"]
    source.close()


def test_waiting_costs_nothing(pair: Pair) -> None:
    _, b = pair
    source = opened(b)
    before = time.thread_time()
    assert source.next_window(1.0) is None
    assert time.thread_time() - before < 0.1  # turning round and round takes ten times that
    source.close()


def test_other_sniffers_are_not_affected(pair: Pair) -> None:
    a, b = pair
    other = opened(b)
    source = opened(b, filter=compile_filter("port 9"))
    net.send_frames(a, frames(30))
    assert len(drain(other)) == 30
    source.close()
    net.send_frames(a, frames(30))
    assert len(drain(other)) == 30
    other.close()


@pytest.mark.parametrize("dev", ["nosuch0", "", "a-name-that-is-too-long"])
def test_no_such_interface(dev: str) -> None:
    net.need()
    with pytest.raises(HepcatError, match="there is no interface") as caught:
        RingSource(dev)
    assert "lo" in caught.value.hint


def test_a_filter_on_link_addresses_wants_link_headers(pair: Pair) -> None:
    _, b = pair
    made = compile_filter("ether host 02:00:00:00:00:01", where="profile sip")
    opened(b, filter=made).close()
    with pytest.raises(HepcatError, match="profile sip"):
        opened(b, "any", filter=made)


NO_RIGHT = """
import os
from hepcat.sources.af_packet import RingSource
from hepcat.errors import HepcatError
os.setuid(65534)
try:
    RingSource("lo")
except HepcatError as error:
    print(error, "|", error.hint)
"""


def test_no_right() -> None:
    net.need()
    done = subprocess.run(
        [sys.executable, "-c", NO_RIGHT], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.startswith("no right to capture on lo | ")
    assert "CAP_NET_RAW" in done.stdout


@pytest.mark.parametrize("dev", ["vb", "any"])
def test_libpcap_where_there_are_no_packet_sockets(pair: Pair, dev: str) -> None:
    a, b = pair
    with b.entered():
        source = LivePcapSource(dev, compile_filter("port 5060", pass_fragments=True))
    tagged = ethernet(ipv4(udp(b"tagged")), 0x0800, (5, 6), 0x88A8)
    net.send_frames(a, [ethernet(ipv4(udp(b"plain"))), ethernet(ipv4(udp(b"other", 1, 2)))])
    net.send_frames(a, [tagged] if dev != "any" else [])
    big_messages(a, 1)
    rows = drain(source, 0.3)
    assert len(rows) == (5 if dev != "any" else 4)
    assert rows[0].octets.endswith(b"plain")
    assert {row.link for row in rows} == {1 if dev != "any" else 113}
    if dev != "any":
        assert rows[1].octets == tagged
        assert b.promiscuity() == 1
    assert abs(rows[0].ts - time.time() * 1e6) < 10e6
    assert source.packets == len(rows)
    assert source.kernel_drops() == 0
    source.close()
    assert b.promiscuity() == 0


def test_libpcap_survives_an_interface_that_vanishes(pair: Pair) -> None:
    a, b = pair
    with b.entered():
        source = LivePcapSource("vb", compile_filter("port 5060"))
    net.send_frames(a, frames(2))
    assert len(drain(source, 0.3)) == 2
    b.ip("link delete vb")
    assert source.next_window(0.1) is None
    net.run("ip", "link", "add", "va", "netns", a.name, "type", "veth", "peer", "name", "vb", "netns", b.name)
    a.ip("link set va up")
    b.ip("link set vb up")
    with b.entered():
        assert source.next_window(0.7) is None
    net.send_frames(a, frames(3))
    assert len(drain(source, 0.3)) == 3
    source.close()
