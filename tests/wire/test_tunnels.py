"""Tunnels and the links that carry them: every header whole, cut, lying, nested; nothing leaks."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.drops import Drop
from hepcat.batch.schema import NO_VLAN
from hepcat.wire.columns import (
    DATAGRAM_COLUMNS,
    KIND_FRAGMENT,
    LINKTYPE_TZSP,
    TUNNEL_ERSPAN,
    TUNNEL_GENEVE,
    TUNNEL_GRE,
    TUNNEL_GTPU,
    TUNNEL_HPERM,
    TUNNEL_IPIP,
    TUNNEL_TZSP,
    TUNNEL_VXLAN,
    TUNNELS_ALL,
    WANT_ALL,
    WANT_DATAGRAMS,
    Datagrams,
    Packets,
)
from hepcat.wire.frames import decode_frames
from tests.wire import make_capture as make
from tests.wire import make_tunnels as tunnel

PAYLOAD = make.message()
V4 = make.ipv4(make.udp(PAYLOAD))
V6 = make.ipv6(make.udp(PAYLOAD))
FRAME4 = make.ethernet(0x0800, V4)
FRAME6 = make.ethernet(0x86DD, V6)
TAGGED = make.ethernet(0x0800, V4, (0x8100, 33))
MACS = bytes.fromhex("001b21aa0001001b21aa0002")

#: name: tunnel's bit, frame, VLAN, depth
TUNNELS: dict[str, tuple[int, bytes, int, int]] = {
    "4 in 4": (TUNNEL_IPIP, tunnel.outer4(V4, 4), NO_VLAN, 1),
    "6 in 4": (TUNNEL_IPIP, tunnel.outer4(V6, 41), NO_VLAN, 1),
    "4 in 6": (TUNNEL_IPIP, tunnel.outer6(V4, 4), NO_VLAN, 1),
    "6 in 6": (TUNNEL_IPIP, tunnel.outer6(V6, 41), NO_VLAN, 1),
    "4 in 4 in a VLAN": (
        TUNNEL_IPIP,
        make.ethernet(0x0800, make.ipv4(V4, protocol=4, **tunnel.OUTER4), (0x8100, 5)),
        5,
        1,
    ),
    "gre 4": (TUNNEL_GRE, tunnel.outer4(tunnel.gre(0x0800, V4), 47), NO_VLAN, 1),
    "gre 6 over 6": (TUNNEL_GRE, tunnel.outer6(tunnel.gre(0x86DD, V6), 47), NO_VLAN, 1),
    "gre ethernet": (TUNNEL_GRE, tunnel.outer4(tunnel.gre(0x6558, TAGGED), 47), 33, 1),
    "gre mpls": (TUNNEL_GRE, tunnel.outer4(tunnel.gre(0x8847, tunnel.mpls(V4, 2)), 47), NO_VLAN, 1),
    "gre cisco metadata": (
        TUNNEL_GRE,
        tunnel.outer4(tunnel.gre(0x8909, b"\x08\0\1\1\0\1\0\7" + V4, key=True), 47),
        NO_VLAN,
        1,
    ),
    "pptp": (TUNNEL_GRE, tunnel.outer4(tunnel.pptp(b"\0\x21" + V4, False), 47), NO_VLAN, 1),
    "pptp acknowledging": (TUNNEL_GRE, tunnel.outer6(tunnel.pptp(b"\0\x57" + V6, True), 47), NO_VLAN, 1),
    "pptp compressed": (TUNNEL_GRE, tunnel.outer4(tunnel.pptp(b"\x21" + V4, True), 47), NO_VLAN, 1),
    "erspan 1": (TUNNEL_ERSPAN, tunnel.outer4(tunnel.gre(0x88BE, FRAME4), 47), NO_VLAN, 1),
    "erspan 2": (TUNNEL_ERSPAN, tunnel.outer4(tunnel.erspan2(FRAME6), 47), NO_VLAN, 1),
    "erspan 2 of a VLAN": (TUNNEL_ERSPAN, tunnel.outer4(tunnel.erspan2(FRAME6, 77), 47), 77, 1),
    "erspan 2 of a tagged frame": (TUNNEL_ERSPAN, tunnel.outer4(tunnel.erspan2(TAGGED, 77), 47), 33, 1),
    "erspan 1 with a sequence": (
        TUNNEL_ERSPAN,
        tunnel.outer4(tunnel.gre(0x88BE, MACS + FRAME4[12:], seq=True), 47),
        NO_VLAN,
        1,
    ),
    "erspan 2 without sequence": (
        TUNNEL_ERSPAN,
        tunnel.outer4(tunnel.gre(0x88BE, tunnel.erspan2(MACS + FRAME4[12:], 9)[8:]), 47),
        9,
        1,
    ),
    "erspan 1 of an address that looks like a header": (
        TUNNEL_ERSPAN,
        tunnel.outer4(tunnel.gre(0x88BE, b"\x14" + MACS[1:] + FRAME4[12:]), 47),
        NO_VLAN,
        1,
    ),
    "erspan 3 without header": (TUNNEL_ERSPAN, tunnel.outer4(tunnel.gre(0x22EB, FRAME4), 47), NO_VLAN, 1),
    "erspan 3": (TUNNEL_ERSPAN, tunnel.outer4(tunnel.erspan3(FRAME4, 78), 47), 78, 1),
    "erspan 3 platform": (
        TUNNEL_ERSPAN,
        tunnel.outer4(tunnel.erspan3(FRAME4, platform=True), 47),
        NO_VLAN,
        1,
    ),
    "erspan 3 ip": (TUNNEL_ERSPAN, tunnel.outer4(tunnel.erspan3(V6, kind=2), 47), NO_VLAN, 1),
    "erspan 3 type 7": (
        TUNNEL_ERSPAN,
        tunnel.outer4(tunnel.erspan3(bytes(8) + FRAME4, kind=7), 47),
        NO_VLAN,
        1,
    ),
    "vxlan": (TUNNEL_VXLAN, tunnel.over_udp(4789, tunnel.vxlan(FRAME4)), NO_VLAN, 1),
    "vxlan linux": (TUNNEL_VXLAN, tunnel.over_udp(8472, tunnel.vxlan(TAGGED)), 33, 1),
    "vxlan group policy": (TUNNEL_VXLAN, tunnel.over_udp(4789, tunnel.vxlan(FRAME6, 0x88081234)), NO_VLAN, 1),
    "vxlan out of a VLAN": (
        TUNNEL_VXLAN,
        make.ethernet(
            0x0800, make.ipv4(make.udp(tunnel.vxlan(FRAME4), 1, 4789), **tunnel.OUTER4), (0x8100, 5)
        ),
        NO_VLAN,
        1,
    ),
    "geneve": (TUNNEL_GENEVE, tunnel.over_udp(6081, tunnel.geneve(0x6558, FRAME4)), NO_VLAN, 1),
    "geneve options": (
        TUNNEL_GENEVE,
        tunnel.over_udp(6081, tunnel.geneve(0x0800, V4, b"\1\2\3\1" + bytes(4))),
        NO_VLAN,
        1,
    ),
    "geneve 6": (TUNNEL_GENEVE, tunnel.over_udp(6081, tunnel.geneve(0x86DD, V6)), NO_VLAN, 1),
    "gtp-u": (TUNNEL_GTPU, tunnel.over_udp(2152, tunnel.gtpu(V4)), NO_VLAN, 1),
    "gtp-u sequence": (TUNNEL_GTPU, tunnel.over_udp(2152, tunnel.gtpu(V6, 2)), NO_VLAN, 1),
    "gtp-u extensions": (
        TUNNEL_GTPU,
        tunnel.over_udp(2152, tunnel.gtpu(V4, 4, (b"\0\1", b"\0" * 6))),
        NO_VLAN,
        1,
    ),
    "tzsp": (TUNNEL_TZSP, tunnel.over_udp(37008, tunnel.tzsp(FRAME4)), NO_VLAN, 1),
    "tzsp tags": (
        TUNNEL_TZSP,
        tunnel.over_udp(37008, tunnel.tzsp(TAGGED, b"\0\x0a\1\xc4\0\x29\2\0\x50", 1)),
        33,
        1,
    ),
    "hperm": (TUNNEL_HPERM, tunnel.over_udp(7932, tunnel.hperm(FRAME4)), NO_VLAN, 1),
    "hperm of a VLAN": (TUNNEL_HPERM, tunnel.over_udp(7932, tunnel.hperm(FRAME6, 3001)), 3001, 1),
    "vxlan in gre in 6 in 4": (
        TUNNEL_IPIP,
        tunnel.outer4(
            make.ipv6(
                tunnel.gre(0x0800, make.ipv4(make.udp(tunnel.vxlan(TAGGED), 9, 4789))),
                kind=47,
                source="2001:db8:9::3",
            ),
            41,
        ),
        33,
        3,
    ),
}

#: Not tunnels of their own, or ones that cannot be told apart from links: link, frame, VLAN, depth.
CARRIERS: dict[str, tuple[int, bytes, int, int]] = {
    "mpls": (1, make.ethernet(0x8847, tunnel.mpls(V4)), NO_VLAN, 0),
    "mpls 16 labels": (1, make.ethernet(0x8848, tunnel.mpls(V6, 16), (0x8100, 9)), 9, 0),
    "pseudowire": (1, make.ethernet(0x8847, tunnel.mpls(MACS + FRAME4[12:], 2)), NO_VLAN, 1),
    "pseudowire of a tagged frame": (1, make.ethernet(0x8847, tunnel.mpls(MACS + TAGGED[12:], 2)), 33, 1),
    "pseudowire control word": (
        1,
        make.ethernet(0x8847, tunnel.mpls(bytes(4) + MACS + FRAME6[12:], 2)),
        NO_VLAN,
        1,
    ),
    "pppoe": (1, make.ethernet(0x8864, tunnel.pppoe(0x0021, V4), (0x88A8, 4), (0x8100, 5)), 5, 0),
    "pppoe 6": (1, make.ethernet(0x8864, tunnel.pppoe(0x0057, V6)), NO_VLAN, 0),
    "pppoe mpls": (1, make.ethernet(0x8864, tunnel.pppoe(0x0281, tunnel.mpls(V4))), NO_VLAN, 0),
    "cisco metadata": (1, make.ethernet(0x8909, b"\1\1\0\1\0\7\x08\0" + V4), NO_VLAN, 0),
    "ppp": (9, b"\0\x21" + V4, NO_VLAN, 0),
    "ppp hdlc": (50, b"\xff\3\0\x57" + V6, NO_VLAN, 0),
    "cisco hdlc": (104, b"\x0f\0\x08\0" + V4, NO_VLAN, 0),
    "pppoe link": (51, tunnel.pppoe(0x0021, V4), NO_VLAN, 0),
    "tzsp link": (LINKTYPE_TZSP, tunnel.tzsp(TAGGED), 33, 1),
    "cooked socket 4": (0x10800, V4, NO_VLAN, 0),
    "cooked socket 6": (0x186DD, V6, NO_VLAN, 0),
    "cooked socket tag": (0x18100, b"\0\x2a\x08\0" + V4, 42, 0),
}
ALL = {
    **{name: (1, frame, vlan, depth) for name, (_, frame, vlan, depth) in TUNNELS.items()},
    **CARRIERS,
}


def decode(
    *frames: bytes,
    links: list[int] | None = None,
    cut: int = 0,
    tag: int = NO_VLAN,
    want: int = WANT_DATAGRAMS,
    tunnels: int = TUNNELS_ALL,
) -> tuple[list[dict[str, object]], dict[str, int]]:
    """Decode frames laid one behind the other; return the rows with their payload, and the drops."""
    octets = np.frombuffer(b"\xee" * 3 + b"".join(frames) + b"\xee" * 3, dtype=np.uint8)
    packets, found = Packets.empty(len(frames)), Datagrams.empty(64 * len(frames))
    packets.n = len(frames)
    packets.captured[:] = [len(frame) for frame in frames]
    packets.offset[:] = 3 + np.concatenate([[0], np.cumsum(packets.captured)[:-1]])
    packets.original[:] = packets.captured + cut
    packets.link[:] = 1 if links is None else links
    packets.ts[:] = 1_000_000 + np.arange(len(frames))
    packets.vlan[:] = tag
    for name, _ in DATAGRAM_COLUMNS:  # what an earlier use left behind
        getattr(found, name).fill(0x5A)
    drops = np.zeros(len(Drop), dtype=np.int64)
    assert decode_frames(octets, packets, found, drops, want, tunnels, 1) == len(frames)
    rows = []
    for i in range(found.n):
        row: dict[str, object] = {name: int(getattr(found, name)[i]) for name, _ in DATAGRAM_COLUMNS}
        start, size, frame = int(found.offset[i]), int(found.length[i]), int(found.packet[i])
        begin = int(packets.offset[frame])
        assert begin <= start <= start + size <= begin + int(packets.captured[frame])
        assert (row["ts"], row["area"]) == (1_000_000 + frame, 1)
        row["offset"] = start - begin
        row["payload"] = octets[start : start + size].tobytes()
        row["src"], row["dst"] = found.src_ip[i].tobytes(), found.dst_ip[i].tobytes()
        rows.append(row)
    return rows, {Drop(i).name: int(count) for i, count in enumerate(drops) if count}


def outcome(frame: bytes, **options: int) -> object:
    """The one row's payload, or the name of the one drop."""
    rows, drops = decode(frame, **options)  # type: ignore[arg-type]
    assert len(rows) + sum(drops.values()) == 1
    return rows[0]["payload"] if rows else next(iter(drops))


INNER = {
    2: (bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]), bytes(10) + b"\xff\xff" + bytes([198, 51, 100, 2])),
    10: tuple(bytes.fromhex("20010db8" + "0" * 23 + end) for end in "12"),
}


@pytest.mark.parametrize("name", ALL)
def test_what_is_carried_comes_out(name: str) -> None:
    link, frame, vlan, depth = ALL[name]
    rows, drops = decode(frame, links=[link])
    assert drops == {}
    (row,) = rows
    assert row["payload"] == PAYLOAD
    assert (row["src"], row["dst"]) == INNER[row["family"]]  # type: ignore[index]
    assert (row["src_port"], row["dst_port"], row["vlan"], row["depth"]) == (5060, 5062, vlan, depth)
    assert (row["kind"], row["truncated"], row["ip_proto"], row["packet"]) == (0, 0, 17, 0)
    assert (row["seq"], row["bits"], row["aux"]) == (0, 0, 0)


@pytest.mark.parametrize("name", ALL)
def test_cut_at_every_octet(name: str) -> None:
    """The inner payload as far as it goes, or a counted drop, or of a UDP tunnel the outer datagram."""
    link, frame, vlan, depth = ALL[name]
    header = frame.index(PAYLOAD)
    for size in range(len(frame)):
        rows, drops = decode(frame[:size], links=[link], cut=len(frame) - size)
        assert len(rows) + sum(drops.values()) == 1
        if size > header:
            assert (rows[0]["payload"], rows[0]["truncated"]) == (PAYLOAD[: size - header], 1)
            assert (rows[0]["vlan"], rows[0]["depth"]) == (vlan, depth)
        elif rows:
            assert rows[0]["depth"] < depth  # type: ignore[operator]
            assert rows[0]["truncated"] == 1
        else:
            assert set(drops) <= {"FRAME_TRUNCATED", "FRAME_LINK"}, size


@pytest.mark.parametrize("name", TUNNELS)
def test_a_tunnel_that_is_not_opened(name: str) -> None:
    bit, frame, _, _ = TUNNELS[name]
    rows, drops = decode(frame, tunnels=TUNNELS_ALL & ~bit)
    if bit in (TUNNEL_IPIP, TUNNEL_GRE, TUNNEL_ERSPAN):
        assert (rows, drops) == ([], {"FRAME_PROTOCOL": 1})
    else:
        assert (len(rows), rows[0]["depth"], drops) == (1, 0, {})
        assert rows[0]["src_port"] == 1 or rows[0]["src_port"] == 50000
    assert decode(frame, tunnels=bit)[1] == {} or "in gre in" in name


@pytest.mark.parametrize("port", [2152, 4789, 6081, 7932, 8472, 37008])
@pytest.mark.parametrize(
    "payload",
    [
        PAYLOAD,
        b"",
        b"\r\n",
        b"\x08",
        b"\1\0\0\1",
        b"\x80\0" + bytes(170),  # RTP
        b"\x88\x60" + bytes(30),
        b"\x08\0\0\1" + bytes(3) + b"\x01" + FRAME4,
        b"\x08\0\0\0" + bytes(3) + b"\x01" + FRAME4,
        tunnel.vxlan(b"", 0x08000000),
        tunnel.geneve(0x6558, FRAME4, first=0x40),  # version 1
        tunnel.geneve(0x88B5, FRAME4),
        tunnel.geneve(0x6558, FRAME4, first=63),
        tunnel.gtpu(V4, kind=1),
        tunnel.gtpu(V4, length=len(V4) + 1),
        tunnel.gtpu(V4, length=len(V4) - 1),
        tunnel.gtpu(FRAME4),
        tunnel.gtpu(b""),
        tunnel.gtpu(b"\0\5\0\xc0\0" + V4, 0).replace(b"\x30\xff", b"\x34\xff", 1),  # extension of no length
        tunnel.gtpu(b"\0\5\0\xc0\xff" + V4, 0).replace(b"\x30\xff", b"\x34\xff", 1),  # and of 1,020 octets
        tunnel.tzsp(FRAME4, kind=4),
        tunnel.tzsp(FRAME4, carried=18),
        b"\1\0\0\1" + b"\x0a\xff" + bytes(90),  # a tag past the end
        b"\1\0\0\1" + bytes(90),  # no end
        tunnel.hperm(make.ethernet(0x88B5, V4)),
    ],
)
def test_no_valid_header_is_an_ordinary_datagram(port: int, payload: bytes) -> None:
    rows, drops = decode(tunnel.over_udp(port, payload))
    assert drops == {}
    assert (rows[0]["payload"], rows[0]["dst_port"], rows[0]["depth"]) == (payload, port, 0)


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=3)))
def test_gre_flags(flags: tuple[bool, bool, bool]) -> None:
    assert outcome(tunnel.outer4(tunnel.gre(0x0800, V4, *flags), 47)) == PAYLOAD
    assert outcome(tunnel.outer6(tunnel.gre(0x6558, FRAME6, *flags), 47)) == PAYLOAD


GRE4 = tunnel.gre(0x0800, V4)


@pytest.mark.parametrize(
    ("frame", "drop"),
    [
        (tunnel.outer4(b"\x40" + GRE4[1:], 47), "FRAME_PROTOCOL"),  # routing
        (tunnel.outer4(b"\0\2" + GRE4[2:], 47), "FRAME_PROTOCOL"),  # version 2
        (tunnel.outer4(b"\0\1" + GRE4[2:], 47), "FRAME_PROTOCOL"),  # version 1 without PPP
        (tunnel.outer4(b"\0\0\0", 47), "TUNNEL_MALFORMED"),
        (tunnel.outer4(b"\xb0\0\x08\0" + bytes(11), 47), "TUNNEL_MALFORMED"),
        (tunnel.outer4(tunnel.gre(0, b""), 47), "FRAME_LINK"),  # keep-alive
        (tunnel.outer4(tunnel.gre(0x2000, bytes(40)), 47), "FRAME_LINK"),  # Cisco's discovery
        (tunnel.outer4(tunnel.pptp(b"\xc0\x21" + bytes(20), True), 47), "FRAME_LINK"),  # LCP
        (tunnel.outer4(tunnel.gre(0x88BE, bytes(9) + FRAME4, seq=True), 47), "TUNNEL_MALFORMED"),
        (tunnel.outer4(tunnel.gre(0x22EB, bytes(12) + FRAME4, seq=True), 47), "TUNNEL_MALFORMED"),
        (tunnel.outer4(tunnel.erspan3(bytes(40), kind=5), 47), "FRAME_LINK"),
        (tunnel.outer4(V6, 4), "FRAME_MALFORMED"),
        (tunnel.outer4(V4, 41), "FRAME_MALFORMED"),
        (tunnel.over_udp(4789, tunnel.vxlan(make.ethernet(0x0806, bytes(28)))), "FRAME_LINK"),
        (make.ethernet(0x8847, tunnel.mpls(V4, 17)), "FRAME_LINK"),
        (make.ethernet(0x8847, tunnel.mpls(b"\x10" + bytes(40))), "FRAME_LINK"),
        (make.ethernet(0x8864, tunnel.pppoe(0x0021, V4, code=9)), "FRAME_LINK"),
        (make.ethernet(0x8864, tunnel.pppoe(0xC021, bytes(20))), "FRAME_LINK"),
        (make.ethernet(0x8864, tunnel.pppoe(0x0021, V4, length=20)), "FRAME_TRUNCATED"),
        (make.ethernet(0x8909, b"\1\2\0\1\0\7\x08\0" + V4), "FRAME_LINK"),
    ],
)
def test_what_is_counted_as_what(frame: bytes, drop: str) -> None:
    assert outcome(frame) == drop


def nest(wrap: str, times: int) -> bytes:
    """A datagram within `times` tunnels of a kind."""
    frame, packet = FRAME4, V4
    for _ in range(times):
        if wrap == "ipip":
            packet = make.ipv4(packet, protocol=4)
        elif wrap == "gre":
            packet = make.ipv4(tunnel.gre(0x0800, packet, key=True), protocol=47)
        elif wrap == "vxlan":
            frame = make.ethernet(0x0800, make.ipv4(make.udp(tunnel.vxlan(frame), 1, 4789)))
        elif wrap == "pseudowire":
            frame = make.ethernet(0x8847, tunnel.mpls(frame, 2))
        elif wrap == "erspan":
            frame = make.ethernet(0x0800, make.ipv4(tunnel.erspan2(frame), protocol=47))
    return make.ethernet(0x0800, packet) if wrap in ("ipip", "gre") else frame


@pytest.mark.parametrize("wrap", ["ipip", "gre", "vxlan", "pseudowire", "erspan"])
def test_nested_to_a_bound(wrap: str) -> None:
    for times in range(1, 9):
        rows, _ = decode(nest(wrap, times))
        assert (rows[0]["payload"], rows[0]["depth"]) == (PAYLOAD, times)
    for times in (9, 10, 100, 1000):
        assert outcome(nest(wrap, times)) == "TUNNEL_DEPTH"


def test_the_end_of_the_tunnel_is_the_end_of_the_packet() -> None:
    """An inner length that lies takes nothing of what follows the outer packet."""
    lying = make.ipv4(make.udp(PAYLOAD, length=9000), total=9000)
    frame = tunnel.outer4(lying, 4) + b"\xdd" * 50
    rows, _ = decode(frame)
    assert (rows[0]["payload"], rows[0]["truncated"]) == (PAYLOAD, 1)
    offloaded = make.ipv4(make.udp(PAYLOAD, length=0), total=0)  # lengths left to the network card
    rows, _ = decode(tunnel.outer4(offloaded, 4) + b"\xdd" * 50)
    assert (rows[0]["payload"], rows[0]["truncated"]) == (PAYLOAD, 0)


def test_pppoe_padding_is_not_carried() -> None:
    offloaded = make.ipv4(make.udp(PAYLOAD, length=0), total=0)
    assert outcome(make.ethernet(0x8864, tunnel.pppoe(0x0021, offloaded)) + b"\xdd" * 9) == PAYLOAD


def test_fragments_within_tunnels() -> None:
    inner = make.ipv4(PAYLOAD, fragment=0x2003)
    for frame in (tunnel.outer4(inner, 4), tunnel.over_udp(4789, tunnel.vxlan(make.ethernet(0x0800, inner)))):
        rows, _ = decode(frame, want=WANT_ALL)
        assert (rows[0]["kind"], rows[0]["depth"], rows[0]["bits"]) == (KIND_FRAGMENT, 1, 0x2003)
        assert rows[0]["payload"] == PAYLOAD
        assert outcome(frame) == "FRAME_FRAGMENT"


def test_an_outer_fragment_is_not_opened() -> None:
    frame = make.ethernet(0x0800, make.ipv4(V4, protocol=4, fragment=0x2000))
    rows, _ = decode(frame, want=WANT_ALL)
    assert (rows[0]["kind"], rows[0]["depth"], rows[0]["ip_proto"], rows[0]["payload"]) == (3, 0, 4, V4)


def test_the_tag_that_the_kernel_took_off() -> None:
    for tag, frame, vlan in (
        (12, FRAME4, 12),
        (12, TAGGED, 33),
        (12, tunnel.outer4(V4, 4), 12),
        (12, tunnel.over_udp(4789, tunnel.vxlan(FRAME4)), NO_VLAN),
    ):
        assert decode(frame, tag=tag)[0][0]["vlan"] == vlan


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(ALL)), st.integers(0, 400)), min_size=1, max_size=12))
def test_nothing_of_a_frame_reaches_the_next(order: list[tuple[str, int]]) -> None:
    """Whole frames and cut ones in any order: each gives what it gives alone."""
    frames = [ALL[name][1][: max(0, len(ALL[name][1]) - cut)] for name, cut in order]
    links = [ALL[name][0] for name, _ in order]
    rows, drops = decode(*frames, links=links, cut=9, want=WANT_ALL)
    alone = [
        decode(frame, links=[link], cut=9, want=WANT_ALL) for frame, link in zip(frames, links, strict=True)
    ]
    for row in rows:
        row["ts"] = row["ts"] - row["packet"]  # type: ignore[operator]
    for number, (single, _) in enumerate(alone):
        for row in single:
            row["packet"] = number
    assert rows == [row for single, _ in alone for row in single]
    total: dict[str, int] = {}
    for _, counts in alone:
        for drop, count in counts.items():
            total[drop] = total.get(drop, 0) + count
    assert drops == total


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(ALL)),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6),
    st.integers(0, 500),
)
def test_mutated_tunnels_give_a_row_or_a_drop(name: str, changes: list[tuple[int, int]], size: int) -> None:
    link, frame, _, _ = ALL[name]
    octets = bytearray(frame)
    for at, value in changes:
        octets[at % len(octets)] = value
    rows, drops = decode(bytes(octets[:size]), links=[link], cut=len(frame), want=WANT_ALL)
    assert len(rows) + sum(drops.values()) >= 1
    if not any(row["ip_proto"] == 132 for row in rows) and not any("SCTP" in drop for drop in drops):
        assert len(rows) + sum(drops.values()) == 1


def test_lengths_of_every_kind_lie() -> None:
    """Every octet of every header set to 0, 1, 127, 128 and 255: a row inside the frame, or a drop."""
    for name, (link, frame, _, _) in ALL.items():
        for at in range(frame.index(PAYLOAD)):
            for value in (0, 1, 0x7F, 0x80, 0xFF):
                rows, drops = decode(
                    frame[:at] + bytes([value]) + frame[at + 1 :], links=[link], want=WANT_ALL
                )
                assert len(rows) + sum(drops.values()) >= 1, (name, at)


def test_struct_of_the_makers() -> None:
    """The makers agree with the texts in what is easily wrong: where a length counts from."""
    assert struct.unpack("!H", tunnel.gtpu(V4, 2)[2:4])[0] == 4 + len(V4)
    assert tunnel.geneve(0x0800, b"", bytes(8))[0] == 2
