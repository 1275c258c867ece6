"""Filters: libpcap's own judgement where it has one, and our packets behind tags, labels and PPPoE."""

import ctypes
import itertools
import socket
import struct
from collections.abc import Callable

import pytest

from hepcat.errors import HepcatError
from hepcat.sources.filter_program import ETHERTYPE_OF_KERNEL, Instruction
from hepcat.sources.filters import Filter, compile_filter, widen_for_tunnels
from tests.live.net import ethernet, ipv4, udp

cypcap = pytest.importorskip("cypcap")

MPLS, PPPOE = 0x8847, 0x8864


def run(program: tuple[Instruction, ...], packet: bytes, ethertype: int = 0, length: int = 0) -> int:
    """Run a classic BPF program as the kernel does; a load outside of the packet rejects it."""
    a = x = at = 0
    memory: dict[int, int] = {}
    while True:
        code, jt, jf, k = program[at]
        at += 1
        kind, mode, size = code & 7, code & 0xE0, {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18]
        if kind == 6:
            return k
        if kind in (0, 1):
            if mode == 0x00:
                value = k
            elif mode == 0x60:
                value = memory[k]  # KeyError: read before it was written
            elif mode == 0x80:
                value = length or len(packet)
            elif mode == 0x20 and k == ETHERTYPE_OF_KERNEL:
                value = ethertype
            else:
                place = k if mode == 0x20 or code == 0xB1 else (x + k) & 0xFFFFFFFF
                octets = packet[place : place + (1 if code == 0xB1 else size)]
                if len(octets) < (1 if code == 0xB1 else size):
                    return 0
                value = int.from_bytes(octets, "big")
                if code == 0xB1:
                    value = 4 * (value & 15)
            if kind == 0:
                a = value
            else:
                x = value
        elif kind == 2:
            memory[k] = a
        elif kind == 3:
            memory[k] = x
        elif kind == 4:
            other = x if code & 8 else k
            a = {0x00: a + other, 0x10: a - other, 0x40: a | other, 0x50: a & other, 0x60: a << (other & 31)}[
                code & 0xF0
            ] & 0xFFFFFFFF
        elif kind == 5:
            other = x if code & 8 else k
            if code & 0xF0 == 0:
                at += k
            else:
                true = {0x10: a == other, 0x20: a > other, 0x30: a >= other, 0x40: bool(a & other)}[
                    code & 0xF0
                ]
                at += jt if true else jf
        elif code & 0x80:
            a = x
        else:
            x = a


def ipv6(payload: bytes, following: int = 17) -> bytes:
    return (
        struct.pack(">IHBB", 6 << 28, len(payload), following, 64)
        + bytes(15)
        + b"\1"
        + bytes(15)
        + b"\2"
        + payload
    )


def tcp(source: int, target: int) -> bytes:
    return struct.pack(">HHIIBBHHH", source, target, 1, 1, 0x50, 0x10, 1000, 0, 0)


SIP = udp(b"OPTIONS sip:a@b SIP/2.0\r\n", 5060, 5062)
OTHER = udp(b"something else", 4000, 4001)
PACKETS = {
    "udp": ipv4(SIP),
    "udp to": ipv4(udp(b"x", 1024, 5060)),
    "udp other": ipv4(OTHER),
    "tcp": ipv4(tcp(5060, 9), 6),
    "tcp other": ipv4(tcp(50600, 9), 6),
    "icmp": ipv4(bytes(30), 1),
    "first fragment": ipv4(SIP, fragment=0x2000),
    "later fragment": ipv4(bytes(40), fragment=0x00B9),
    "do not fragment": ipv4(OTHER, fragment=0x4000),
    "options": b"\x46" + ipv4(SIP)[1:20] + bytes(4) + SIP,
    "udp6": ipv6(SIP),
    "udp6 other": ipv6(OTHER),
    "fragment6": ipv6(struct.pack(">BBHI", 17, 0, 0xB9 << 3, 7) + bytes(16), 44),
    "hop fragment6": ipv6(bytes([44, 0, 1, 4, 0, 0, 0, 0]) + struct.pack(">BBHI", 17, 0, 0xB9 << 3, 7), 0),
    "ipip": ipv4(ipv4(SIP), 4),
    "gre": ipv4(bytes([0, 0, 8, 0]) + ipv4(SIP) + bytes(20), 47),
    "short": ipv4(SIP)[:22],
}
FRAGMENTS = {"first fragment", "later fragment", "fragment6", "hop fragment6"}
#: IP packet and its EtherType -> a frame.
WRAPPINGS: dict[str, Callable[[bytes, int], bytes]] = {
    "plain": lambda p, t: ethernet(p, t),
    "tag": lambda p, t: ethernet(p, t, (5,)),
    "priority tag": lambda p, t: ethernet(p, t, (0xE000,)),
    "QinQ": lambda p, t: ethernet(p, t, (5, 6), 0x88A8),
    "old QinQ": lambda p, t: ethernet(p, t, (5, 6), 0x9100),
    "three tags": lambda p, t: ethernet(p, t, (5, 6, 7)),
    "MPLS": lambda p, t: ethernet(bytes.fromhex("00010140") + p, MPLS),
    "MPLS twice": lambda p, t: ethernet(bytes.fromhex("0001004000010140") + p, MPLS),
    "MPLS six times": lambda p, t: ethernet(
        bytes.fromhex("00010040") * 5 + bytes.fromhex("00010140") + p, MPLS
    ),
    "MPLS multicast": lambda p, t: ethernet(bytes.fromhex("00010140") + p, 0x8848),
    "tag and MPLS": lambda p, t: ethernet(bytes.fromhex("00010140") + p, MPLS, (9,)),
    "PPPoE": lambda p, t: ethernet(pppoe(p, t), PPPOE),
    "QinQ and PPPoE": lambda p, t: ethernet(pppoe(p, t), PPPOE, (5, 6)),
}
EXPRESSIONS = [
    "port 5060",
    "udp port 5060",
    "portrange 5060-5091",
    "not port 5060",
    "tcp port 5060 or icmp",
    "proto GRE and len > 50",
    "ip",
    "ip6",
    "host 10.9.0.1",
    "src host 10.9.0.1 and dst net 10.9.0.0/24 and udp[8:4] = 0x4f505449",
    "udp[4:2] - 8 > 20",
    "ip[0] & 0xf != 5",
    "(ip proto 4) and (ip[40:2] >= 5060) and (ip[40:2] <= 5090)",
    "tcp[tcpflags] & tcp-ack != 0",
    "",
]


def pppoe(packet: bytes, kind: int) -> bytes:
    return struct.pack(">BBHHH", 0x11, 0, 1, len(packet) + 2, 0x21 if kind == 0x0800 else 0x57) + packet


def kind_of(packet: bytes) -> int:
    return 0x0800 if packet[0] >> 4 == 4 else 0x86DD


def judged_by_libpcap(expression: str, octets: bytes) -> bool:
    """What libpcap's own program says of an Ethernet frame."""
    pcap = cypcap.open_dead(cypcap.DatalinkType(1), 65535)
    try:
        program = pcap.compile(expression)
        return bool(program.offline_filter(cypcap.Pkthdr(caplen=len(octets), len=len(octets)), octets))
    finally:
        pcap.close()


def judged(made: Filter, octets: bytes) -> bool:
    """What ours says; libpcap's interpreter and the one above must agree."""
    other = cypcap.BpfProgram(list(made.instructions)).offline_filter(
        cypcap.Pkthdr(caplen=len(octets), len=len(octets)), octets
    )
    assert bool(other) == bool(run(made.instructions, octets))
    return bool(other)


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if "len" not in e])
@pytest.mark.parametrize("wrapping", WRAPPINGS, ids=WRAPPINGS.keys())
def test_wrapped_packets_are_judged_as_if_they_were_not(expression: str, wrapping: str) -> None:
    made = compile_filter(expression)
    verdicts = set()
    for name, packet in PACKETS.items():
        if "fragment" in name and wrapping != "plain" and "port" in expression:
            continue
        kind = kind_of(packet)
        expected = judged_by_libpcap(expression, ethernet(packet, kind))
        assert judged(made, WRAPPINGS[wrapping](packet, kind)) == expected, name
        verdicts.add(expected)
    assert verdicts == ({True} if expression == "" else {True, False}), (
        "the packets do not try this expression"
    )


@pytest.mark.parametrize("wrapping", WRAPPINGS, ids=WRAPPINGS.keys())
def test_fragments_pass(wrapping: str) -> None:
    made = compile_filter("port 5060", pass_fragments=True)
    for name, packet in PACKETS.items():
        kind = kind_of(packet)
        expected = name in FRAGMENTS or judged_by_libpcap("port 5060", ethernet(packet, kind))
        assert judged(made, WRAPPINGS[wrapping](packet, kind)) == expected, name


def test_too_many_tags_and_labels_do_not_match() -> None:
    made = compile_filter("port 5060")
    assert not judged(made, ethernet(ipv4(SIP), 0x0800, (1, 2, 3, 4)))
    assert not judged(
        made, ethernet(bytes.fromhex("00010040") * 6 + bytes.fromhex("00010140") + ipv4(SIP), MPLS)
    )
    assert not judged(made, ethernet(pppoe(ipv4(SIP), 0x0800)[:6] + b"\xc0\x21" + ipv4(SIP), PPPOE))


@pytest.mark.parametrize("expression", ["port 5060", "not port 5060", "ip6", "proto GRE and len > 50"])
def test_cut_anywhere(expression: str) -> None:
    """The programs never look behind the end, and both interpreters agree."""
    made = compile_filter(expression, pass_fragments=True)
    frame = WRAPPINGS["QinQ and PPPoE"](ipv4(SIP), 0x0800)
    for end in range(len(frame)):
        judged(made, frame[:end])


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("link", ["cooked", 113, 276, 0, 108, 101, 12])
def test_other_links(expression: str, link: str | int) -> None:
    made = compile_filter(expression, link)
    for name, packet in PACKETS.items():
        kind = kind_of(packet)
        expected = judged_by_libpcap(expression, ethernet(packet, kind))
        header = {
            "cooked": b"",
            113: struct.pack(">HHH8sH", 0, 1, 6, b"", kind),
            276: struct.pack(">HHIHBB8s", kind, 0, 1, 1, 0, 6, b""),
            0: struct.pack("=I", 2),
            108: struct.pack(">I", 2),
        }.get(link, b"")
        if "len" in expression and link != "cooked":
            expected = judged_by_libpcap(expression, ethernet(packet, kind)) or expected
            continue
        assert bool(run(made.instructions, header + packet, kind)) == expected, name


@pytest.mark.parametrize(("tags", "kind"), list(itertools.product([(), (5,), (5, 6)], [0x0800, MPLS, PPPOE])))
def test_cooked_behind_tags(tags: tuple[int, ...], kind: int) -> None:
    """The kernel has taken the first tag off; a cooked packet begins behind its EtherType."""
    made = compile_filter("port 5060", "cooked")
    for payload, expected in ((ipv4(SIP), True), (ipv4(OTHER), False)):
        inner = {0x0800: payload, MPLS: bytes.fromhex("00010140") + payload, PPPOE: pppoe(payload, 0x0800)}[
            kind
        ]
        frame = ethernet(inner, kind, tags)
        ethertype = struct.unpack(">H", frame[12:14])[0]
        assert bool(run(made.instructions, frame[14:], ethertype)) == expected


def test_an_expression_that_counts_tags_is_left_alone() -> None:
    made = compile_filter("mpls 16 and port 5060")
    pcap = cypcap.open_dead(cypcap.DatalinkType(1), 65535)
    assert [tuple(i) for i in pcap.compile("mpls 16 and port 5060", netmask=cypcap.NETMASK_UNKNOWN)] == [
        *made.instructions
    ]
    pcap.close()


def test_a_file_has_its_tags_in_its_octets() -> None:
    made = compile_filter("vlan 5 and port 5060", 1)
    assert judged(made, ethernet(ipv4(SIP), 0x0800, (5,)))
    assert not judged(made, ethernet(ipv4(SIP), 0x0800, (6,)))


def test_link_addresses_match_behind_tags() -> None:
    made = compile_filter("ether host 02:00:00:00:00:01 and port 5060")
    assert judged(made, ethernet(ipv4(SIP), 0x0800, (5,)))
    assert not judged(made, ethernet(ipv4(OTHER), 0x0800, (5,)))
    assert made.raw() is None


def test_raw_is_for_whole_packets() -> None:
    raw = compile_filter("port 5060", pass_fragments=True).raw()
    assert raw is not None
    assert run(raw.instructions, PACKETS["udp"])
    assert not run(raw.instructions, PACKETS["later fragment"])
    tagged = compile_filter("vlan 5 and vlan && (port 5060 or icmp)", 1).raw()
    assert tagged is not None
    assert [name for name, packet in PACKETS.items() if run(tagged.instructions, packet)] == [
        name
        for name, packet in PACKETS.items()
        if judged_by_libpcap("port 5060 or icmp", ethernet(packet, kind_of(packet)))
    ]


def test_snap_len_is_what_a_match_returns() -> None:
    assert run(compile_filter("port 5060", snap_len=256).instructions, ethernet(ipv4(SIP))) == 256
    assert compile_filter("", snap_len=99).instructions == ((6, 0, 0, 99),)


def test_tunnels_pass() -> None:
    made = compile_filter(widen_for_tunnels("port 5060"))
    matched = {name for name, packet in PACKETS.items() if judged(made, ethernet(packet, kind_of(packet)))}
    assert {"ipip", "gre", "udp", "tcp"} <= matched
    assert not {"udp other", "icmp", "tcp other"} & matched
    assert widen_for_tunnels(" ") == ""


@pytest.mark.parametrize(
    ("expression", "link", "words"),
    [
        ("bogus foo", "ethernet", "syntax error"),
        ("port 99999", "ethernet", "illegal port number"),
        ("host", "ethernet", "syntax error"),
        ("ether host 1:2:3:4:5:6", "cooked", "Ethernet's header"),
        ("ether host 1:2:3:4:5:6", "raw", "ethernet addresses"),
    ],
)
def test_errors_name_the_expression(expression: str, link: str, words: str) -> None:
    with pytest.raises(HepcatError) as caught:
        compile_filter(expression, link, True, where="agent.toml:7: profile sip")
    assert str(caught.value).startswith(f'agent.toml:7: profile sip: filter "{expression}": ')
    assert words in str(caught.value)
    assert "ip[6:2]" not in str(caught.value), "the user did not write that"
    assert caught.value.hint


def test_no_such_link() -> None:
    with pytest.raises(ValueError, match="wifi"):
        compile_filter("port 5060", "wifi")


def test_too_long_an_expression() -> None:
    with pytest.raises(HepcatError, match="too long"):
        compile_filter(" or ".join(f"port {port}" for port in range(1000, 1400)))


def test_long_expressions_do_without_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hepcat.sources.filter_program.MAX_INSTRUCTIONS", 200)
    made = compile_filter("port 5060")
    assert "VLAN" in made.note
    assert judged(made, ethernet(ipv4(SIP)))
    assert not compile_filter("ip").note


@pytest.mark.parametrize(
    "expression", [*EXPRESSIONS, "vlan 5 and port 5060", "mpls and port 5060", "ether host 2:0:0:0:0:1"]
)
@pytest.mark.parametrize("link", ["ethernet", "cooked"])
def test_the_kernel_takes_the_programs(expression: str, link: str) -> None:
    """It checks jumps, lengths, and that registers are written before they are read."""
    try:
        made = compile_filter(expression, link, pass_fragments=True)
    except HepcatError as error:
        if "right to capture" in str(error):
            pytest.skip(str(error))
        assert link == "cooked"
        assert "ether" in expression
        return
    octets = b"".join(struct.pack("=HBBI", *instruction) for instruction in made.instructions)
    buffer = ctypes.create_string_buffer(octets)
    program = struct.pack("HP", len(made.instructions), ctypes.addressof(buffer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER


def test_long_jumps() -> None:
    """More than 255 instructions between a test and where it leads to."""
    ports = " or ".join(f"port {port}" for port in range(5000, 5080, 2))
    made = compile_filter(ports, pass_fragments=True)
    assert len(made.instructions) > 600
    for port, expected in ((5000, True), (5001, False), (5078, True), (5079, False)):
        for wrap in WRAPPINGS.values():
            assert judged(made, wrap(ipv4(udp(b"x", 9, port)), 0x0800)) == expected
    for i, (code, jt, jf, k) in enumerate(made.instructions):
        assert 0 <= jt <= 255
        assert 0 <= jf <= 255
        if code & 7 == 5:
            assert i + 1 + (k if code == 5 else max(jt, jf)) < len(made.instructions)
