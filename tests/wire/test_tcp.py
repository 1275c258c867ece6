"""TCP reassembly: any cut, order, copy and overlap; ends and new beginnings; holes; floods."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hepcat.wire.held as held
from hepcat.wire.columns import FLOW_END, FLOW_GAP, FLOW_START
from tests.wire.make_tcp import ACK, FIN, PSH, RST, SYN, Reader, Segment, at_times, cut

A, B = ("192.0.2.1", 5060), ("192.0.2.2", 40000)
PLAIN = held.__file__.endswith(".py")
SECOND = 1_000_000


def data(seq: int, octets: bytes, ts: int = 0, flags: int = ACK | PSH) -> Segment:
    """A segment from A to B."""
    return Segment(A, B, seq, octets, flags, ts)


def test_what_comes_in_order_stays_where_it_lies() -> None:
    reader = Reader()
    out = reader.feed(*cut(A, B, 7, b"abcdefgh", [3]))
    assert [(int(out.area[i]), int(out.offset[i]), int(out.length[i])) for i in range(out.n)] == [
        (0, 7, 3),
        (0, 10, 3),
        (0, 13, 2),
        (0, 0, 0),
    ]
    assert list(out.marks[: out.n]) == [FLOW_START, 0, 0, FLOW_END]
    assert list(out.packet[: out.n]) == [1, 2, 3, 4]
    assert reader.drops == {"TCP_CONTROL": 2}


def test_what_came_early_waits_for_the_segment_before_it() -> None:
    reader = Reader()
    reader.feed(Segment(A, B, 9, flags=SYN, ts=1))
    assert reader.feed(data(13, b"def", 2)).n == 0
    assert (reader.tcp.held_octets, reader.tcp.held_segments) == (3, 1)
    out = reader.feed(data(16, b"gh", 3), data(10, b"abc", 4))
    assert [(int(out.area[i]), int(out.length[i]), int(out.ts[i])) for i in range(out.n)] == [
        (0, 3, 4),
        (1, 5, 4),
    ]
    assert reader.octets(A, B) == b"abcdefgh"
    assert reader.tcp.held_octets == reader.tcp.held_segments == 0
    assert reader.tcp.passed == 3


@settings(max_examples=30 if PLAIN else 150, deadline=None)
@given(
    octets=st.binary(min_size=1, max_size=3000),
    isn=st.sampled_from([0, 1, 2**31 - 5, 2**32 - 100, 2**32 - 1]) | st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_any_order_copies_and_overlaps_give_each_octet_once(
    octets: bytes, isn: int, sizes: list[int], seed: int
) -> None:
    chance = random.Random(seed)
    first, *rest = cut(A, B, isn, octets, sizes)
    rest += [chance.choice(rest) for _ in range(3)]
    for _ in range(5):
        start = chance.randrange(len(octets))
        end = min(len(octets), start + chance.randrange(1, 900))
        rest.append(data(isn + 1 + start, octets[start:end]))
    chance.shuffle(rest)
    reader, segments = Reader(), at_times([first, *rest])
    while segments:
        n = chance.randrange(1, 9)
        reader.feed(*segments[:n])
        segments = segments[n:]
    assert reader.octets(A, B) == octets
    assert reader.marks(A, B)[0] == FLOW_START
    assert reader.marks(A, B)[-1] == FLOW_END
    assert reader.tcp.held_octets == 0
    assert "STREAM_GAP" not in reader.drops


@settings(max_examples=10 if PLAIN else 40, deadline=None)
@given(seed=st.integers(0, 2**32), lost=st.integers(0, 3), window=st.integers(1, 40))
def test_many_streams_at_once_and_windows_change_nothing(seed: int, lost: int, window: int) -> None:
    chance = random.Random(seed)
    queues, whole = [], {}
    for i in range(8):
        one, other = (f"2001:db8::{i:x}", 5060 + i), ("2001:db8::ff", 5060)
        for source, target in ((one, other), (other, one)):
            octets = chance.randbytes(chance.randrange(1, 2000))
            whole[source, target] = octets
            queues.append(cut(source, target, chance.getrandbits(32), octets, [chance.randrange(1, 600)]))
    segments = []
    while queues:
        queue = chance.choice(queues)
        segments.append(queue.pop(0))
        queues = [queue for queue in queues if queue]
    for _ in range(lost):
        segments.remove(chance.choice([segment for segment in segments if segment.data]))
    segments = at_times(segments, step=1000)
    readers = Reader(), Reader()
    readers[0].feed(*segments)
    for start in range(0, len(segments), window):
        readers[1].feed(*segments[start : start + window])
    for reader in readers:
        reader.expire(segments[-1].ts + 3 * SECOND)
        assert reader.tcp.held_octets == 0
        missing = sum(len(octets) - len(reader.octets(*ends)) for ends, octets in whole.items())
        assert (missing > 0) == (lost > 0)
        assert (lost > 0) == ("STREAM_GAP" in reader.drops)
    assert readers[0].streams == readers[1].streams
    assert readers[0].drops == readers[1].drops


def test_the_octets_seen_first_win() -> None:
    reader = Reader()
    reader.feed(Segment(A, B, 99, flags=SYN), data(100, b"abcd"), data(102, b"XXef"), data(98, b"YYYYYY"))
    reader.feed(data(110, b"kl"), data(108, b"ZZZZmn"), data(106, b"ghijKLM"))
    assert reader.octets(A, B) == b"abcdefghZZklmn"  # ZZ came before ij
    assert reader.drops == {"TCP_CONTROL": 1, "TCP_DUPLICATE": 1}


def test_late_and_repeated_syn_do_not_begin_anew() -> None:
    reader = Reader()
    syn = Segment(A, B, 99, flags=SYN)
    reader.feed(data(100, b"abc"), syn, data(103, b"def"), syn)
    assert reader.octets(A, B) == b"abcdef"
    assert reader.marks(A, B) == [FLOW_START | FLOW_GAP, 0]
    assert reader.drops == {"TCP_CONTROL": 2}


def test_syn_with_data_and_a_new_connection_on_the_same_ports() -> None:
    reader = Reader()
    reader.feed(replace(data(99, b"abc"), flags=SYN), data(103, b"def"), data(110, b"early"))
    reader.feed(replace(data(5000, b"new"), flags=SYN), data(5004, b"er"))
    assert [octets for octets, _ in reader.streams.popitem()[1]] == [
        *(b"abc", b"def", b"early", b""),
        *(b"new", b"er"),
    ]
    assert reader.drops == {"STREAM_GAP": 1}


def test_both_directions_know_each_other() -> None:
    reader = Reader()
    reader.feed(Segment(A, B, 1, flags=SYN), Segment(B, A, 1, flags=SYN | ACK))
    out = reader.feed(data(2, b"q"), Segment(B, A, 2, b"r"))
    one, other = int(out.flow[0]), int(out.flow[1])
    flows = reader.tcp.flows
    assert (int(flows.peer[one]), int(flows.peer[other])) == (other, one)
    assert reader.octets(A, B) == b"q"
    assert reader.octets(B, A) == b"r"
    assert reader.tcp.streams == 1
    lonely = Reader()
    flow = int(lonely.feed(data(2, b"q")).flow[0])
    assert lonely.tcp.flows.peer[flow] == -1


def test_the_same_addresses_on_two_vlans_are_two_streams() -> None:
    reader = Reader()
    out = reader.feed(data(5, b"abc"), replace(data(5, b"xyz"), vlan=7))
    assert len(set(out.flow[:2].tolist())) == 2
    assert reader.tcp.flows.vlan[out.flow[1]] == 7


def test_a_fin_waits_for_what_is_before_it_and_copies_behind_it_are_known() -> None:
    reader = Reader()
    reader.feed(Segment(A, B, 0, flags=SYN), data(4, b"def", flags=FIN | ACK))
    assert reader.marks(A, B) == []
    reader.feed(data(1, b"abc"))
    assert reader.octets(A, B) == b"abcdef"
    assert reader.marks(A, B)[-1] == FLOW_END
    reader.feed(data(1, b"abcdef"))
    assert reader.octets(A, B) == b"abcdef"
    assert reader.drops["TCP_DUPLICATE"] == 1
    reader.feed(data(8, b"again"))
    assert reader.marks(A, B)[-1] == FLOW_START | FLOW_GAP


def test_rst_ends_both_directions_and_sets_free_what_waits() -> None:
    reader = Reader()
    reader.feed(
        Segment(A, B, 0, flags=SYN), Segment(B, A, 0, flags=SYN | ACK), data(1, b"abc"), data(9, b"xyz")
    )
    reader.feed(Segment(B, A, 1, b"r"), Segment(A, B, 2**31, flags=RST))
    assert reader.marks(A, B) == [FLOW_START]  # far from the stream: forged
    reader.feed(Segment(A, B, 12, flags=RST))
    assert reader.octets(A, B) == b"abcxyz"
    assert reader.marks(A, B) == [FLOW_START, FLOW_GAP, FLOW_END]
    assert reader.marks(B, A) == [FLOW_START, FLOW_END]


def test_keep_alive_probes_are_no_data() -> None:
    reader = Reader()
    probe = Segment(A, B, 499, b"\0", flags=ACK)
    reader.feed(probe, data(500, b"abc"), replace(probe, seq=502), Segment(A, B, 502, flags=ACK))
    assert reader.octets(A, B) == b"abc"
    assert reader.drops == {"TCP_CONTROL": 3}


def test_a_hole_is_given_up_after_its_time_wherever_windows_end() -> None:
    for now in (True, False):
        reader = Reader(gap_us=2 * SECOND)
        reader.feed(data(0, b"abc"), data(6, b"ghi", ts=SECOND), data(12, b"mno", ts=2 * SECOND))
        assert reader.octets(A, B) == b"abc"
        if now:
            out = reader.expire(3 * SECOND + 1)
            assert int(out.ts[0]) == SECOND  # when it came
        else:
            reader.feed(Segment(B, A, 0, b"x", ts=3 * SECOND + 1))
        assert reader.octets(A, B) == b"abcghi"
        reader.expire(6 * SECOND)
        assert reader.octets(A, B) == b"abcghimno"
        assert reader.marks(A, B) == [FLOW_START | FLOW_GAP, FLOW_GAP, FLOW_GAP]
        assert reader.drops == {"STREAM_GAP": 2}


def test_a_clock_that_was_set_back_keeps_no_hole_open() -> None:
    other = ("192.0.2.9", 5060)
    reader = Reader(gap_us=SECOND, idle_us=60 * SECOND)
    reader.feed(Segment(other, B, 1, b"x", ts=9000 * SECOND), Segment(other, B, 5, b"y", ts=9000 * SECOND))
    reader.feed(data(0, b"abc", ts=SECOND), data(6, b"ghi", ts=SECOND))
    reader.expire(2 * SECOND + 1)
    assert reader.octets(A, B) == b"abcghi"
    reader.expire(70 * SECOND)
    assert reader.tcp.streams == 0, "the one of another time is idle, and hides no other"


def test_a_hole_before_a_fin_is_given_up_too() -> None:
    reader = Reader(gap_us=SECOND)
    reader.feed(data(0, b"abc"), Segment(A, B, 9, flags=FIN))
    reader.expire(SECOND + 1)
    assert reader.marks(A, B) == [FLOW_START | FLOW_GAP, FLOW_END]
    assert reader.drops == {"STREAM_GAP": 1, "TCP_CONTROL": 1}


def test_a_hole_is_given_up_when_too_much_waits_behind_it() -> None:
    reader = Reader(ahead=1000)
    reader.feed(data(0, b"a"))
    for i in range(12):
        reader.feed(data(100 + 100 * i, bytes(100)))
        assert reader.tcp.held_octets <= 1000
    assert len(reader.octets(A, B)) == 1 + 1200
    tiny = Reader()
    tiny.feed(data(0, b"a"), *(data(10 + 2 * i, b"x") for i in range(3000)))
    assert tiny.drops["STREAM_GAP"] > 900  # runs of one octet are bounded by their number
    assert tiny.tcp.held_segments <= 1024


def test_a_forged_segment_far_away_costs_no_more_than_a_jump() -> None:
    reader = Reader()
    reader.feed(data(0, b"abc"), data(1 << 30, b"evil"), data(3, b"def"), data(6, b"ghi"))
    assert reader.octets(A, B) == b"abcevildefghi"
    assert reader.marks(A, B) == [FLOW_START | FLOW_GAP, FLOW_GAP, FLOW_GAP, 0]


def test_idle_streams_are_forgotten() -> None:
    reader = Reader(idle_us=10 * SECOND)
    reader.feed(data(0, b"abc"), Segment(B, ("192.0.2.3", 1), 0, flags=SYN))
    reader.expire(10 * SECOND)
    assert reader.tcp.streams == 2
    reader.expire(10 * SECOND + 1)
    assert reader.tcp.streams == 0
    assert reader.marks(A, B)[-1] == FLOW_END


def syn(i: int) -> Segment:
    """A SYN of its own stream."""
    return Segment((f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 1 + i % 60000), B, i, flags=SYN, ts=i)


def test_half_open_streams_push_out_only_their_own_kind() -> None:
    reader = Reader(max_streams=100)
    count = 2_000 if PLAIN else 100_000
    reader.feed(*(Segment((A[0], port), B, 0, b"abc") for port in range(1000, 1050)))
    for start in range(0, count, 5000):
        reader.feed(*(syn(i) for i in range(start, min(count, start + 5000))))
        assert reader.tcp.streams <= 100
    reader.feed(*(Segment((A[0], port), B, 3, b"def") for port in range(1000, 1050)))
    assert all(reader.octets((A[0], port), B) == b"abcdef" for port in range(1000, 1050))
    assert reader.drops == {"TCP_CONTROL": count}


def test_streams_with_data_push_out_the_longest_idle_but_no_id_twice_in_a_window() -> None:
    reader = Reader(max_streams=4)
    ends = [((A[0], port), B) for port in range(2000, 2010)]
    out = reader.feed(*(Segment(a, b, 0, b"abc", ts=i) for i, (a, b) in enumerate(ends)))
    assert len(set(out.flow[: out.n].tolist())) == out.n == 4  # the others had to wait for a next window
    assert reader.drops == {"TCP_BOUND": 6}
    for i, (a, b) in enumerate(ends):
        reader.feed(Segment(a, b, 3, b"def", ts=100 + i))
    assert reader.tcp.streams == 4


def test_octets_held_are_bounded_and_what_a_stream_held_counts_when_it_must_go() -> None:
    reader = Reader(max_streams=50, max_octets=64 << 10)
    for i in range(50):
        end = (A[0], 3000 + i)
        reader.feed(
            Segment(end, B, 0, b"a", ts=i), *(Segment(end, B, 100 + 600 * n, bytes(600)) for n in range(9))
        )
        assert reader.tcp.held_octets <= 64 << 10
    assert reader.drops["STREAM_GAP"] > 30
    waiting = reader.tcp.held_segments
    assert waiting > 0
    for i in range(50):
        reader.feed(Segment((A[0], 4000 + i), B, 0, b"new", ts=1000 + i))
    assert reader.drops["TCP_BOUND"] == waiting
    assert reader.tcp.held_octets == 0


def test_random_segments_keep_the_sum() -> None:
    chance = random.Random(5)
    reader = Reader(max_streams=6, max_octets=8 << 10, ahead=4 << 10, gap_us=500, idle_us=5000)
    now = 0
    for _ in range(60 if PLAIN else 600):
        segments = []
        for _ in range(chance.randrange(1, 40)):
            now += chance.randrange(0, 60)
            ends = (A[0], chance.randrange(1, 9)), (B[0], chance.randrange(1, 3))
            source, target = ends if chance.random() < 0.7 else ends[::-1]
            octets = bytes(chance.choice([0, 0, 1, 5, 600, 1460]))
            near = chance.randrange(-3000, 6000) if chance.random() < 0.97 else chance.getrandbits(32)
            flags = chance.choice([ACK, ACK, ACK, ACK | PSH, SYN, FIN | ACK, RST, 31])
            segments.append(Segment(source, target, near % 2**32, octets, flags, now))
        reader.feed(*segments)
        if chance.random() < 0.2:
            reader.expire(now)
        reader.streams.clear()
        assert reader.tcp.streams <= 6
        assert reader.tcp.held_octets <= 8 << 10
    reader.expire(now + 100_000)
    assert reader.tcp.streams == reader.tcp.held_octets == reader.tcp.held_segments == 0


def test_a_row_outside_its_area_raises() -> None:
    reader = Reader()
    reader.feed(data(0, b"abc"))
    from tests.wire.make_tcp import rows_of

    window, found = rows_of([data(50, b"abcdef")])
    found.offset[0] = len(window) - 2
    with pytest.raises(IndexError):
        reader.tcp.feed(window, found, np.zeros(1, dtype=np.int64), reader.arena, reader.out, reader.counts)
