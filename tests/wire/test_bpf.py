"""BPF in user space: libpcap's own interpreter judges every packet of the captures the same."""

import functools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.schema import NO_VLAN
from hepcat.errors import HepcatError
from hepcat.wire import bpf as kernel
from hepcat.wire.bpf import BpfProgram
from hepcat.wire.columns import LINK_ETHERTYPE, Packets
from tests.support import SHARED
from tests.wire import make_capture as make

cypcap = pytest.importorskip("cypcap")
COMPILED = not kernel.__file__.endswith(".py")

FILTERS = (
    "",
    "ip",
    "ip6",
    "udp",
    "portrange 5060-5091",
    "port 5060",
    "udp port 5060 or udp port 5062",
    "tcp port 5061",
    "src port 53",
    "dst portrange 1000-2000",
    "not port 22",
    "proto GRE and len > 50",
    "ip proto 4 or ip proto 41",
    "proto 132",
    "sctp",
    "vlan",
    "vlan and udp",
    "vlan 10 and ip",
    "mpls and ip",
    "pppoes and ip",
    "host 10.0.0.1",
    "net 192.168.0.0/16",
    "src net 10.0.0.0/8 and dst net 10.0.0.0/8",
    "host 2001:db8::1 or ip6 host ::1",
    "ip6 proto 44",
    "ip[6:2] & 0x1fff != 0",
    "ip[6:2] & 0x3fff != 0 or ip6[6] = 44",
    "ip[0] & 0xf > 5",
    "udp[8:4] = 0x53495020",
    "udp[4:2] - 8 > 100",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "ip[2:2] * 2 > 1000 and ip[2:2] / 3 < 400",
    "ip[2:2] % 2 = 1",
    "ip[8] ^ 0xff < 200 or ip[8] | 1 = 65",
    "ip[8] << 24 > 0x40000000",
    "-ip[8] > 4",
    "len >= 100 and len <= 1000",
    "greater 1000",
    "icmp[icmptype] = icmp-echo",
    "(udp[8] >> 6 = 2) and (udp[9] >= 200) and (udp[9] <= 204)",
)


def packets_of(frames: list[bytes], link: int = 1, original: int = 0) -> tuple[Any, Packets]:
    """Lay frames into a window; `original` octets of each were not captured."""
    data = np.frombuffer(b"\xee" + b"".join(frames) + b"\xee\xee", dtype=np.uint8)
    packets = Packets.empty(len(frames))
    packets.n = len(frames)
    packets.captured[:] = [len(frame) for frame in frames]
    packets.offset[:] = 1 + np.cumsum(packets.captured) - packets.captured
    packets.original[:] = packets.captured + original
    packets.link[:] = link
    return data, packets


def judge(program: BpfProgram, frames: list[bytes], link: int = 1, original: int = 0) -> list[int]:
    """Run a program on frames."""
    data, packets = packets_of(frames, link, original)
    out = np.full(len(frames) + 1, 7, dtype=np.uint8)
    assert program.mask(data, packets, out) == out[:-1].sum()
    assert out[-1] == 7
    return [int(value) for value in out[:-1]]


def compiled_by_libpcap(text: str) -> tuple[Any, BpfProgram]:
    """Compile an expression; return libpcap's program and ours."""
    theirs = cypcap.open_dead(cypcap.DatalinkType.EN10MB, 65_535).compile(text, True, cypcap.NETMASK_UNKNOWN)
    return theirs, BpfProgram(list(theirs))


@functools.cache
def frames_of(capture: Path) -> tuple[int, list[bytes]]:
    """Read a capture with libpcap."""
    octets = capture.read_bytes()
    with cypcap.open_offline(str(capture)) as pcap:
        frames = [bytes(data) for _, data in pcap]
        if capture.suffix == ".pcapng":
            return int(pcap.datalink()), frames
    # cypcap's enumeration does not know every link type
    return struct.unpack_from("<I" if octets[0] in (0xD4, 0x4D) else ">I", octets, 20)[0], frames


def captures() -> list[Path]:
    return sorted((SHARED / "captures").glob("*.pcap*"))


@pytest.mark.skipif(not captures(), reason=f"no captures in {SHARED}")
@pytest.mark.parametrize("text", FILTERS)
def test_every_packet_as_libpcap_judges_it(text: str) -> None:
    seen = 0
    for capture in captures():
        link, frames = frames_of(capture)
        try:
            with cypcap.open_offline(str(capture)) as pcap:
                theirs = pcap.compile(text, True, cypcap.NETMASK_UNKNOWN)
        except cypcap.Error:
            continue  # the expression does not fit this link type
        ours = BpfProgram(list(theirs))
        frames = frames[: 4000 if COMPILED else 60]
        expected = []
        for frame in frames:
            header = cypcap.Pkthdr(ts=0, caplen=len(frame), len=len(frame) + 20)
            expected.append(int(bool(theirs.offline_filter(header, frame))))
        assert judge(ours, frames, link, original=20) == expected, f"{capture.name}: {text}"
        seen += len(frames)
    assert seen > 1000


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILTERS), st.lists(st.binary(max_size=80), min_size=1, max_size=4))
def test_random_octets_as_libpcap_judges_them(text: str, frames: list[bytes]) -> None:
    """Cut anywhere: a load outside of the frame rejects it."""
    whole = [make.ethernet(0x0800, make.ipv4(make.udp(frame))) for frame in frames]
    frames = [*frames, *whole, *(frame[: len(frame) // 2] for frame in whole)]
    theirs, ours = compiled_by_libpcap(text)
    expected = [
        int(bool(theirs.offline_filter(cypcap.Pkthdr(ts=0, caplen=len(frame), len=len(frame)), frame)))
        for frame in frames
    ]
    assert judge(ours, frames) == expected


FRAME = bytes(range(1, 65))
RET_A = (0x16, 0, 0, 0)
#: What a step leaves in A, with the frame above: name -> (instructions, A).
STEPS: dict[str, tuple[list[tuple[int, int, int, int]], int]] = {
    "ld": ([(0x20, 0, 0, 0)], 0x01020304),
    "ldh": ([(0x28, 0, 0, 62)], 0x3F40),
    "ldb": ([(0x30, 0, 0, 63)], 64),
    "ld ind": ([(0x01, 0, 0, 2), (0x40, 0, 0, 1)], 0x04050607),
    "ldh ind": ([(0x01, 0, 0, 2), (0x48, 0, 0, 1)], 0x0405),
    "ldb ind": ([(0x01, 0, 0, 2), (0x50, 0, 0, 1)], 4),
    "ind wraps, as in the kernel": ([(0x01, 0, 0, 4), (0x50, 0, 0, 0xFFFFFFFE)], 3),
    "len": ([(0x80, 0, 0, 0)], 69),
    "ldx len": ([(0x81, 0, 0, 0), (0x87, 0, 0, 0)], 69),
    "msh": ([(0xB1, 0, 0, 18), (0x87, 0, 0, 0)], 12),
    "memory": ([(0, 0, 0, 9), (0x02, 0, 0, 15), (0, 0, 0, 0), (0x60, 0, 0, 15)], 9),
    "memory x": ([(1, 0, 0, 9), (0x03, 0, 0, 0), (0x61, 0, 0, 1), (0x60, 0, 0, 0), (0x0C, 0, 0, 0)], 9),
    "add wraps": ([(0, 0, 0, 0xFFFFFFFF), (0x04, 0, 0, 2)], 1),
    "sub wraps": ([(0, 0, 0, 1), (0x14, 0, 0, 2)], 0xFFFFFFFF),
    "mul wraps": ([(0, 0, 0, 0x80000001), (0x24, 0, 0, 2)], 2),
    "neg": ([(0, 0, 0, 1), (0x84, 0, 0, 0)], 0xFFFFFFFF),
    "neg of 0": ([(0, 0, 0, 0), (0x84, 0, 0, 0), (0x04, 0, 0, 5)], 5),
    "lsh": ([(0, 0, 0, 3), (0x64, 0, 0, 31)], 0x80000000),
    "lsh 32": ([(0, 0, 0, 3), (0x64, 0, 0, 32), (0x04, 0, 0, 1)], 1),
    "rsh x 32": ([(0, 0, 0, 3), (1, 0, 0, 40), (0x7C, 0, 0, 0), (0x04, 0, 0, 1)], 1),
    "xor x": ([(0, 0, 0, 3), (1, 0, 0, 5), (0xAC, 0, 0, 0)], 6),
    "mod x": ([(0, 0, 0, 13), (1, 0, 0, 5), (0x9C, 0, 0, 0)], 3),
    "tax, jgt x": ([(0, 0, 0, 5), (0x07, 0, 0, 0), (0, 0, 0, 6), (0x2D, 0, 1, 0), (0, 0, 0, 77)], 77),
    "ja": ([(0, 0, 0, 5), (0x05, 0, 0, 1), (0, 0, 0, 9), (0x04, 0, 0, 1)], 6),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str) -> None:
    """A is compared by the program itself, so that all 32 bits count."""
    steps, value = STEPS[name]
    accept = [(0x15, 0, 1, value), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
    assert judge(BpfProgram([*steps, *accept]), [FRAME, FRAME], original=5) == [1, 1]
    reject = [(0x15, 1, 0, value), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
    assert judge(BpfProgram([*steps, *reject]), [FRAME], original=5) == [0]


@pytest.mark.parametrize(
    ("code", "size"),
    [(0x20, 4), (0x28, 2), (0x30, 1), (0xB1, 1), (0x40, 4), (0x48, 2), (0x50, 1)],
)
def test_loads_end_where_the_frame_does(code: int, size: int) -> None:
    program = BpfProgram([(0x01, 0, 0, 0), (code, 0, 0, 9), (0x06, 0, 0, 1)])
    frames = [FRAME[:n] for n in range(16)]
    assert judge(program, frames) == [int(n >= 9 + size) for n in range(16)]


def test_memory_of_one_packet_is_not_seen_by_the_next() -> None:
    program = BpfProgram(
        [
            (0x60, 0, 0, 0),
            (0x15, 0, 1, 0),
            (0x05, 0, 0, 1),
            (0x06, 0, 0, 0),
            (0, 0, 0, 1),
            (2, 0, 0, 0),
            RET_A,
        ]
    )
    assert judge(program, [FRAME, FRAME]) == [1, 1]


def test_division_by_zero_rejects() -> None:
    for code in (0x3C, 0x9C):
        assert judge(BpfProgram([(0, 0, 0, 8), (code, 0, 0, 0), (0x06, 0, 0, 1)]), [FRAME]) == [0]


@pytest.mark.parametrize(
    ("link", "frame", "kind"),
    [
        (1, make.ethernet(0x86DD, b""), 0x86DD),
        (1, bytes(12) + b"\0\x40" + bytes(64), 4),
        (1, bytes(12), 0),
        (113, bytes(14) + b"\x08\x00", 0x0800),
        (276, b"\x08\x06" + bytes(18), 0x0806),
        (101, b"\x45", 0x0800),
        (101, b"\x60", 0x86DD),
        (101, b"", 0),
        (LINK_ETHERTYPE | 0x8847, b"", 0x8847),
    ],
)
def test_ancillary_protocol(link: int, frame: bytes, kind: int) -> None:
    for value, verdict in ((kind, 1), (kind + 1, 0)):
        program = BpfProgram(
            [(0x28, 0, 0, 0xFFFFF000), (0x15, 0, 1, value), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
        )
        assert judge(program, [frame], link) == [verdict]


def test_ancillary_vlan() -> None:
    data, packets = packets_of([FRAME, FRAME, FRAME])
    packets.vlan[:] = [NO_VLAN, 0, 9]
    out = np.zeros(3, dtype=np.uint8)
    for place, expected in ((0xFFFFF030, [0, 1, 1]), (0xFFFFF02C, [0, 0, 1]), (0xFFFFF03C, [0, 1, 1])):
        BpfProgram([(0x20, 0, 0, place), RET_A]).mask(data, packets, out)
        assert out.tolist() == expected


INVALID = {
    "0 instructions": [],
    "4097 instructions": [RET_A] * 4097,
    "end in a return": [(0, 0, 0, 0)],
    "jumps past the end": [(0x15, 1, 0, 0), RET_A],
    "jumps past": [(0x15, 0, 1, 0), RET_A],
    "past the end": [(0x05, 0, 0, 1), RET_A],
    "16 registers": [(0x02, 0, 0, 16), RET_A],
    "divides by 0": [(0x34, 0, 0, 0), RET_A],
    "is not known": [(0xFF, 0, 0, 0), RET_A],
    "out of range": [(0x05, 0, 0, -1), RET_A],
    "only the kernel knows": [(0x20, 0, 0, 0xFFFFF004), RET_A],
    "our own opcodes": [(0x100, 0, 0, 0), RET_A],
}


@pytest.mark.parametrize("why", INVALID)
def test_programs_that_are_refused(why: str) -> None:
    with pytest.raises(HepcatError, match=why if why != "our own opcodes" else "is not known") as caught:
        BpfProgram(INVALID[why])
    assert caught.value.hint


def test_packets_outside_the_window_are_not_read() -> None:
    data, packets = packets_of([FRAME, FRAME, FRAME])
    packets.offset[0] = -1
    packets.captured[1] = 1000
    packets.captured[2] = -1
    out = np.ones(3, dtype=np.uint8)
    assert BpfProgram([(0x06, 0, 0, 1)]).mask(data, packets, out) == 0
    assert out.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="room"):
        BpfProgram([RET_A]).mask(data, packets, out[:2])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                sorted(kernel.LOADS | kernel.BRANCHES | kernel.OTHERS | kernel.MEMORY | kernel.DIVISIONS)
            ),
            st.integers(0, 3),
            st.integers(0, 3),
            st.one_of(st.integers(0, 80), st.integers(0, 0xFFFFFFFF)),
        ),
        max_size=12,
    ),
    st.binary(max_size=64),
)
def test_any_valid_program_ends_in_a_verdict(steps: Any, frame: bytes) -> None:
    try:
        program = BpfProgram([*steps, (0x06, 0, 0, 1), RET_A, RET_A, RET_A])
    except HepcatError:
        return
    assert judge(program, [frame])[0] in (0, 1)


def test_big_endian_loads_do_not_depend_on_alignment() -> None:
    for at in range(8):
        value = struct.unpack_from("!I", FRAME, at)[0]
        program = BpfProgram([(0x20, 0, 0, at), (0x15, 0, 1, value), (0x06, 0, 0, 1), (0x06, 0, 0, 0)])
        assert judge(program, [FRAME]) == [1]
