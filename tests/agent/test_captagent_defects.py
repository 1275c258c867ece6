"""What captagent 6.4 gets wrong, a test for each: the whole way from frames through a profile's plan, or the
whole program. Each test is named for the defect that hepcat must not have.
"""

import itertools
import json
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepcat.batch.drops import Drop
from hepcat.batch.edit import apply_edits
from hepcat.batch.edits import Edits
from hepcat.batch.layout import Batch
from hepcat.batch.schema import HEP_RTCP
from hepcat.config.agent import AgentSettings, ProfileSettings, TargetSettings
from hepcat.pipeline.capture import AgentTally, Planner, Reader
from hepcat.pipeline.profiles import prepare
from hepcat.pipeline.relay import SipCollector
from hepcat.plans.plan import Environment
from hepcat.sources.frame_source import Window
from hepcat.wire.collect import IndexOptions
from hepcat.wire.columns import Packets
from hepcat.wire.dissect import END_OF_TIME
from hepcat.wire.media import MediaTable
from tests.agent.traffic import write_capture
from tests.config.captagent.support import HEP, PCAP
from tests.config.captagent.support import make as make_captagent
from tests.sinks.peers import Load, Stream, sink
from tests.support import free_port, hepcat, wait_for
from tests.wire import make_capture as make
from tests.wire import make_rtcp as rtcp
from tests.wire import make_tunnels as tunnel

ETHERNET, COOKED, COOKED2, RAW = 1, 113, 276, 101
SIP = make.message("INVITE", "whole@x", b"v=0\r\n" * 60)
REPORT = (
    'capture[x] { if (is_rtcp()) { parse_rtcp_to_json(); send_hep("out"); } else { send_hep("out"); } drop; }'
)


class Kept:
    """An outlet that keeps (payload, HEP type) of what a plan sends, its changes applied."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, int]] = []

    def send(self, batch: Batch, rows: Any, edits: Edits | None = None) -> None:
        made = apply_edits(batch, np.asarray(rows), edits or Edits())
        self.records += [(made.text(i, "payload") or b"", int(made.hep_type[i])) for i in range(made.n)]


def window_of(frames: Sequence[bytes], ts: int, link: int = ETHERNET) -> Window:
    """Frames one behind the other, each a microsecond later."""
    n = len(frames)
    packets = Packets.empty(n)
    packets.n = n
    packets.captured[:] = packets.original[:] = [len(frame) for frame in frames]
    packets.offset[:] = np.cumsum(packets.captured) - packets.captured
    packets.ts[:], packets.link[:] = ts + np.arange(n), link
    return Window(np.frombuffer(b"".join(frames), dtype=np.uint8), packets, ts + n - 1)


class Profile:
    """A profile from frames to its target; checks the sums with each window."""

    def __init__(self, **settings: Any) -> None:
        target = TargetSettings(name="out", urls=("udp://127.0.0.1:9",))
        agent = AgentSettings(profiles=(ProfileSettings(**settings),), targets=(target,))
        [prepared] = prepare(agent)
        self.kept, self.tally, self.now = Kept(), AgentTally("test"), 1_700_000_000_000_000
        env = Environment(outlets={"out": self.kept}, media=MediaTable(1024))
        self.planner = Planner(prepared, env, self.tally, None)
        self.reader = Reader(prepared, self.planner, self.tally, IndexOptions())

    def read(self, *frames: bytes, link: int = ETHERNET) -> list[bytes]:
        """Read frames as one window; return the payloads that it made the plan send."""
        before = len(self.kept.records)
        self.reader.take(window_of(frames, self.now, link), filtered=False)
        self.now += len(frames)
        tally = self.tally
        assert tally.packets == tally.carried + int(tally.frame_drops.sum())
        assert tally.messages == tally.forwarded + int(tally.drops.sum())
        return [payload for payload, _ in self.kept.records[before:]]

    def expire(self) -> list[bytes]:
        """Let all time pass."""
        before = len(self.kept.records)
        self.reader.expire(END_OF_TIME)
        return [payload for payload, _ in self.kept.records[before:]]

    @property
    def drops(self) -> dict[str, int]:
        """All counts that are not 0, whoever counted."""
        total = self.tally.frame_drops + self.tally.part_drops + self.tally.drops
        return {Drop(i).name: int(count) for i, count in enumerate(total) if count}


def udp4(payload: bytes, source: int = 5060, target: int = 5062) -> bytes:
    """An IPv4 packet."""
    return make.ipv4(make.udp(payload, source, target))


def framed(payload: bytes, source: int = 5060, target: int = 5062) -> bytes:
    """The same in Ethernet."""
    return make.ethernet(0x0800, udp4(payload, source, target))


def tcp(data: bytes, seq: int, port: int = 40000, flags: int = 0x18, target: int = 5060) -> bytes:
    """A segment in Ethernet."""
    head = struct.pack("!HHIIBBHHH", port, target, seq, 1, 5 << 4, flags, 65535, 0, 0)
    return make.ethernet(0x0800, make.ipv4(head + data, protocol=6))


def parts4(payload: bytes, size: int = 160) -> list[bytes]:
    """A UDP datagram in IPv4 fragments, in Ethernet."""
    body, out = make.udp(payload), []
    for at in range(0, len(body), size):
        more = 0x2000 if at + size < len(body) else 0
        out.append(make.ethernet(0x0800, make.ipv4(body[at : at + size], fragment=more | at // 8)))
    return out


def websocket(payload: bytes, head: bytes = b"") -> bytes:
    """A masked text frame; head: instead of the one with its true length."""
    head = head or struct.pack("!BBH", 0x81, 0xFE, len(payload))
    return head + b"\1\2\3\4" + bytes(octet ^ (1, 2, 3, 4)[i % 4] for i, octet in enumerate(payload))


# ---- crashes

SETTINGS: tuple[dict[str, Any], ...] = (
    {"reassemble": False},
    {"tcp": False, "sctp": False},
    {"tunnels": False},
    {"capture_filter": ("rtcp",)},
    {"capture_filter": ("rtp",)},
    {"capture_filter": ("ip_to_ip",)},
    {"filter": "port 5060"},
    {"filter": "ip"},
    {"join_datagrams": True, "ports": "5060-5091"},
)


@pytest.mark.parametrize("settings", [{}, *SETTINGS], ids=str)
def test_ipv6_crashes_under_some_settings(settings: dict[str, Any]) -> None:
    profile = Profile(**settings)
    udp = make.udp(SIP)
    plain = make.ethernet(0x86DD, make.ipv6(udp))
    hop = make.ethernet(0x86DD, make.ipv6(struct.pack("!BB6x", 17, 0) + udp, kind=0))
    piece = make.ethernet(0x86DD, make.ipv6(struct.pack("!BBHI", 17, 0, 1, 7) + udp[:80], kind=44))
    short = [plain[:at] for at in range(14, 70, 3)]
    sent = profile.read(plain, hop, piece, *short)
    refused = "capture_filter" in settings or settings.get("filter") == "ip"
    whole = [payload for payload in sent if payload == SIP]
    if settings.get("filter") == "port 5060":  # libpcap looks for ports behind no extension header
        assert len(whole) >= 1
    else:
        assert len(whole) == (0 if refused else 2)


@pytest.mark.parametrize("length", [0, 6, 8, 20, 65535])
def test_leftovers_in_the_cooked_header_crash(length: int) -> None:
    head = struct.pack("!HHH8sH", 4, 1, length, b"\xff" * 8, 0x0800)
    assert Profile().read(head + udp4(SIP), link=COOKED) == [SIP]
    head2 = struct.pack("!HHIHBB8s", 0x0800, 0xFFFF, 2**32 - 1, 65535, 255, length & 255, b"\xff" * 8)
    assert Profile().read(head2 + udp4(SIP), link=COOKED2) == [SIP]


@pytest.mark.parametrize("link", [12, 14, RAW, 228])
def test_raw_ip_links_crash(link: int) -> None:
    profile = Profile()
    assert profile.read(udp4(SIP), b"", b"\x45", b"\0" * 40, link=link) == [SIP]
    assert Profile().read(make.ipv6(make.udp(SIP)), link=229 if link == 228 else link) == [SIP]


@pytest.mark.parametrize("length", [65536, 2**31, 2**32 + 5, 2**63 - 1, 2**64 - 1])
def test_a_websocket_frame_of_a_large_length_crashes(length: int) -> None:
    get = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    profile = Profile()
    big = websocket(SIP, struct.pack("!BBQ", 0x81, 0xFF, length))
    assert profile.read(tcp(get, 1, target=80), tcp(big, 1 + len(get), target=80)) == []
    assert profile.drops.keys() & {"WEBSOCKET_BOUND", "WEBSOCKET_MALFORMED"}
    frames = [tcp(get, 1, 40001, target=80), tcp(websocket(SIP), 1 + len(get), 40001, target=80)]
    assert profile.read(*frames) == [SIP], "the next connection is read"


def sdp(address: str) -> bytes:
    return f"v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nc=IN IP4 {address}\r\nm=audio 4000 RTP/AVP 0\r\n".encode()


@pytest.mark.parametrize("address", ["1" * 5000, "1.2.3." + "4" * 300, ":" * 400, "h" * 255 + ".example"])
def test_a_long_address_in_sdp_crashes(address: str) -> None:
    def call(method: str, call_id: str, body: bytes) -> bytes:
        made = make.message(method, call_id, body)
        return made.replace(b"Content-Length", b"Content-Type: application/sdp\r\nContent-Length")

    profile = Profile()
    long, good = call("INVITE", "long@x", sdp(address)), call("INVITE", "good@x", sdp("10.0.0.9"))
    assert profile.read(framed(long), framed(good)) == [long, good]
    packet = make.ipv4(make.udp(rtcp.rr(7), 4001, 4001), source="10.0.0.9")
    [report] = profile.read(make.ethernet(0x0800, packet))
    assert json.loads(report)["type"] == 201, "the table still works"


def test_nested_ip_in_ip_loops_for_ever() -> None:
    packet = udp4(SIP)
    for _ in range(1000):
        packet = make.ipv4(packet, protocol=4)
    profile, begun = Profile(), time.monotonic()
    assert profile.read(make.ethernet(0x0800, packet)) == []
    assert time.monotonic() - begun < 30
    assert profile.drops == {"TUNNEL_DEPTH": 1}
    deep = udp4(SIP)
    for _ in range(4):
        deep = make.ipv4(deep, protocol=4)
    assert profile.read(make.ethernet(0x0800, deep)) == [SIP], "to a sensible depth it is read"


BYES = (rtcp.bye(1), rtcp.bye(), rtcp.bye(1, reason=b"x" * 200), rtcp.rr(1) + rtcp.bye(1, 2, 3))


def test_an_rtcp_bye_loops_for_ever() -> None:
    profile = Profile(plan_text=REPORT)
    broken = [bye[:cut] for bye in BYES for cut in range(4, len(bye))]
    liars = [struct.pack("!BBH", 0x80 | count, 203, words) for count in (0, 1, 31) for words in (0, 1, 65535)]
    packets = [*BYES, *broken, *liars]
    begun = time.monotonic()
    sent = profile.read(*(framed(packet, 4001, 4001) for packet in packets))
    assert time.monotonic() - begun < 30
    assert len(sent) == len(packets)
    kinds = [kind for _, kind in profile.kept.records[: len(BYES)]]
    assert kinds == [HEP_RTCP] * len(BYES)


def test_an_rtcp_bye_to_the_collector_loops_for_ever() -> None:
    profile, port = Profile(plan_text=REPORT), free_port()
    collector = SipCollector(f"127.0.0.1:{port}", profile.planner, profile.tally, (), True)
    collector.start()
    try:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(60)
            for packet in (*BYES, rtcp.bye(1)[:5]):
                sock.sendto(packet, ("127.0.0.1", port))
            sock.sendto(make.message("PUBLISH"), ("127.0.0.1", port))
            assert sock.recv(65535).startswith(b"SIP/2.0 200"), "it goes on and answers"
    finally:
        collector.stop()
        collector.join()


@pytest.mark.parametrize("options", [{}, {"key": True}, {"sum_": True, "seq": True}], ids=str)
def test_plain_gre_beside_erspan_forwards_nothing(options: dict[str, bool]) -> None:
    plain = tunnel.outer4(tunnel.gre(0x0800, udp4(SIP), **options), 47)
    bridged = tunnel.outer4(tunnel.gre(0x6558, framed(SIP), **options), 47)
    spans = [tunnel.outer4(span(framed(SIP)), 47) for span in (tunnel.erspan2, tunnel.erspan3)]
    assert Profile().read(plain, bridged, *spans) == [SIP] * 4


# ---- TCP


def test_two_messages_in_a_segment_become_one() -> None:
    other = make.message("BYE", "other@x")
    assert Profile().read(tcp(SIP + b"\r\n\r\n" + other + other, 1)) == [SIP, other, other]


@pytest.mark.parametrize("size", [1, 7, 100, 536])
def test_a_message_over_several_segments_is_cut(size: int) -> None:
    both = SIP + make.message("BYE", "other@x")
    segments = [tcp(both[at : at + size], 1 + at) for at in range(0, len(both), size)]
    assert Profile().read(*segments) == [SIP, both[len(SIP) :]]


def test_segments_out_of_order_give_nothing() -> None:
    pieces = [tcp(SIP[at : at + 120], 1001 + at) for at in range(0, len(SIP), 120)]
    begin = tcp(b"", 1000, flags=2)
    for order in itertools.islice(itertools.permutations(pieces), 0, 120, 17):
        assert Profile().read(begin, *order) == [SIP]


def test_a_retransmission_corrupts() -> None:
    pieces = [tcp(SIP[at : at + 120], 1001 + at) for at in range(0, len(SIP), 120)]
    wider = [tcp(SIP[at : at + 200], 1001 + at) for at in range(0, len(SIP), 60)]
    twice = [segment for pair in zip(pieces, pieces, strict=True) for segment in pair]
    for segments in (twice, [*pieces, *pieces], wider, [*pieces[:2], *wider]):
        assert Profile().read(*segments) == [SIP]


# ---- fragments


def test_without_reassembly_truncated_sip_is_sent() -> None:
    profile = Profile(reassemble=False)
    assert profile.read(*parts4(SIP)) + profile.expire() == []
    assert profile.drops == {"FRAME_FRAGMENT": len(parts4(SIP))}
    on = Profile()
    assert on.read(*parts4(SIP)[:-1]) + on.expire() == [], "nor is what never becomes whole"


def test_with_a_port_filter_the_later_fragments_never_arrive() -> None:
    for order in (1, -1):
        assert Profile(filter="port 5060").read(*parts4(SIP)[::order]) == [SIP]
    profile = Profile(filter="port 7000")
    assert profile.read(*parts4(SIP)) == [], "the filter still holds for the whole"
    assert profile.drops == {"FILTER": 1}


# ---- WebSocket


def test_websocket_detection_throws_all_other_tcp_away_in_all_profiles() -> None:
    frames = [tcp(SIP, 1), tcp(websocket(SIP), 1, 40001)]
    one, two = Profile(name="one"), Profile(name="two", websocket=False)
    assert one.read(*frames) == [SIP, SIP]
    assert two.read(*frames) == [SIP], "it asked for none"
    assert one.read(tcp(websocket(SIP), 1, 40002)) == [SIP], "and that is its own matter"


# ---- messages


@pytest.mark.parametrize("size", [250, 251, 1000, 5000])
def test_long_call_ids_are_dropped(size: int) -> None:
    message = make.message("INVITE", "c" * size)
    assert Profile().read(framed(message), tcp(message, 1)) == [message, message]


def test_lines_ended_by_lf_alone_are_dropped() -> None:
    message = make.message("INVITE", "lf@x", b"v=0\n").replace(b"\r\n", b"\n")
    assert Profile().read(framed(message), tcp(message + message, 1)) == [message] * 3


@pytest.mark.parametrize("outer", [0x88A8, 0x8100, 0x9100])
def test_qinq_is_dropped(outer: int) -> None:
    packet = udp4(SIP)
    tagged = make.ethernet(0x0800, packet, (outer, 100), (0x8100, 200))
    assert Profile().read(tagged, make.ethernet(0x0800, packet, (outer, 5))) == [SIP, SIP]


def test_ip_to_ip_with_a_port_filter_captures_nothing() -> None:
    profile = Profile(capture_filter=("ip_to_ip",), filter="port 5060")
    inner = make.ipv4(make.udp(SIP, 5060, 5060))
    inner6 = make.ipv6(make.udp(SIP, 5060, 5060))
    frames = [tunnel.outer4(inner, 4), tunnel.outer6(inner, 4), tunnel.outer4(inner6, 41)]
    others = [tunnel.outer4(make.ipv4(make.udp(SIP, 7000, 7000)), 4), framed(SIP)]
    assert profile.read(*frames, *others) == [SIP] * 3


# ---- targets


def test_a_tcp_target_that_is_down_takes_memory_without_bound_and_nothing_is_sent_again() -> None:
    peer = Stream()
    out = sink(peer.url, memory=2**16)
    out.start()
    load = Load(out, 1000, pause=0)
    load.run()
    [tally] = out.tallies()
    lost = int(tally.drops[Drop.SINK_FULL])
    assert tally.taken == 1000 == tally.waiting + lost, "every record that was lost is counted"
    assert 0 < tally.waiting < 400, "the bound holds"
    peer.open()
    wait_for(lambda: out.tallies()[0].waiting == 0, 60, "all delivered")
    [tally] = out.tallies()
    assert tally.taken == tally.sent + lost
    out.stop(2)
    peer.close()
    assert peer.numbers == list(range(1000 - lost)), "in order, once"


# ---- what is not told


def broken_captagent(folder: Path, what: str) -> Path:
    pcap = {**PCAP, "filter": "port sixty"} if what == "filter" else PCAP
    path = make_captagent(folder, {"socket_pcap": {"sip": pcap}, "transport_hep": {"hepsocket": HEP}})
    plan = folder / "sip.cfg"
    if what == "missing plan":
        plan.unlink()
    elif what == "broken plan":
        plan.write_text("capture[sip] {\n  if (parse_sip() {\n drop; }\n")
    elif what == "unknown function":
        plan.write_text('capture[sip] {\n  send_hap("hepsocket");\n}\n')
    return path


@pytest.mark.parametrize("what", ["filter", "missing plan", "broken plan", "unknown function"])
@pytest.mark.parametrize("way", ["check", "run"])
def test_a_broken_configuration_leaves_a_process_that_captures_nothing(
    what: str, way: str, tmp_path: Path
) -> None:
    path = broken_captagent(tmp_path, what)
    more = ("--dry-run",) if way == "check" else ("--seconds", "200")
    begun = time.monotonic()
    done = hepcat("agent", "--captagent", str(path), *more, check=False)
    assert done.returncode != 0
    assert time.monotonic() - begun < 100
    told = done.stdout + done.stderr
    assert "Traceback" not in told
    assert {"filter": "sixty", "missing plan": "sip.cfg"}.get(what, "sip.cfg:2") in "".join(told.split("\n"))


def test_a_configuration_that_is_right_passes_the_check(tmp_path: Path) -> None:
    path = broken_captagent(tmp_path, "nothing")
    assert hepcat("agent", "--captagent", str(path), "--dry-run", check=False).returncode == 0


def test_flags_stand_above_captagent_s_files(tmp_path: Path) -> None:
    path, pcap = broken_captagent(tmp_path, "nothing"), tmp_path / "a.pcap"
    write_capture(pcap, [])
    done = hepcat(
        "agent", "--captagent", str(path), "-r", str(pcap), "--keylog", str(tmp_path / "none"), check=False
    )
    assert "there is no key log yet" in done.stdout + done.stderr


def test_no_counter_tells_what_was_lost() -> None:
    profile = Profile(plan_text='capture[x] { if (sip_is_method()) { send_hep("out"); } }')
    frames: Sequence[bytes] = [
        framed(SIP),
        framed(make.message("BYE").replace(b"BYE sip:bob@example.com SIP/2.0", b"SIP/2.0 200 OK")),
        b"\xff" * 60,
        make.ethernet(0x0800, make.ipv4(b"x", protocol=1)),
        parts4(SIP)[0],
        tcp(SIP[:40], 1),
    ]
    assert profile.read(*frames) == [SIP]
    assert profile.drops == {"NO_TARGET": 1, "FRAME_LINK": 1, "FRAME_PROTOCOL": 1}
    assert profile.expire() == []
    assert profile.drops["FRAGMENT_TIMEOUT"] == profile.drops["STREAM_PARTIAL"] == 1
