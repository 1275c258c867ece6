"""Sampling, rate limits and de-duplication: whole calls, the right rate, copies and not retransmissions."""

import pytest

from tests.plans.support import SDP, bench, sip, true_for
from tests.plans.test_functions import RTCP
from tests.wire.make_batch import Datagram

CALLS = [f"{i}-call@host" for i in range(600)]


@pytest.mark.parametrize(("share", "part"), [("10%", 0.1), ("1/10", 0.1), ("0.5", 0.5), ("99.5%", 0.995)])
def test_a_share_of_whole_calls_is_kept(share: str, part: float) -> None:
    messages = [m for call in CALLS for m in (sip(call_id=call), sip(status=200, call_id=call))]
    kept = true_for(f'sample("{share}")', *messages)
    assert kept[0::2] == kept[1::2], "a call is kept whole or not at all"
    assert abs(sum(kept) / len(kept) - part) < 0.05


def test_agents_sample_the_same_calls_and_shares_lie_within_one_another() -> None:
    messages = [sip(call_id=call) for call in CALLS]
    tenth, again = (true_for('sample("10%")', *messages) for _ in range(2))
    assert tenth == again
    half = true_for('sample("50%")', *messages)
    assert all(b for a, b in zip(tenth, half, strict=True) if a)


def test_rtcp_goes_with_its_call() -> None:
    made = bench(
        'capture { if (parse_sip()) check_rtcp_ipport(); else if (!is_rtcp_exist()) drop; '
        'if (sample("50%")) send_hep("hepsocket"); }'
    )  # fmt: skip
    rows: list[Datagram] = []
    for i, call in enumerate(CALLS[:100]):
        body = SDP.replace(b"10.0.0.1", b"10.1.0.%d" % i)
        rows.append(Datagram(sip(call_id=call, body=body), src=f"10.1.0.{i}"))
        rows.append(Datagram(RTCP, src=f"10.1.0.{i}", src_port=4001, dst="10.2.0.1", dst_port=9000 + 2 * i))
    work = made.run(*rows)
    sent = work.sent.tolist()
    assert sent[0::2] == sent[1::2]
    assert 25 < sum(sent[0::2]) < 75


def test_without_a_call_both_directions_go_together() -> None:
    rows = []
    for i in range(200):
        there = Datagram(b"x", src="10.0.0.1", src_port=1000 + i, dst="10.0.0.2", dst_port=7)
        back = Datagram(b"y", dst="10.0.0.1", dst_port=1000 + i, src="10.0.0.2", src_port=7)
        rows += [there, back]
    kept = true_for('sample("50%")', *rows)
    assert kept[0::2] == kept[1::2]
    assert 60 < sum(kept[0::2]) < 140


def test_rate_limit_by_key() -> None:
    def rows(count: int, **options: object) -> list[Datagram]:
        return [Datagram(sip(call_id=f"{i}@x", **options), src=f"10.0.0.{i % 4}") for i in range(count)]  # type: ignore[arg-type]

    assert sum(true_for('rate_limit("10/s")', *rows(40))) == 10
    assert sum(true_for('rate_limit("10/s", "all")', *rows(40))) == 10
    assert sum(true_for('rate_limit("5/s", "src_ip")', *rows(40))) == 20
    assert sum(true_for('rate_limit("1/s", "call")', *rows(40), *rows(40))) == 40
    both = [*rows(20), *rows(20, method="BYE")]
    assert sum(true_for('rate_limit("3/s", "method")', *both)) == 6
    assert sum(true_for('rate_limit("90/min")', *rows(10))) == 1


def test_rate_limit_goes_by_capture_time_over_batches() -> None:
    made = bench('capture { if (rate_limit("2/s")) send_hep("hepsocket"); }')
    sent = [
        int(made.run(*[Datagram(b"x", ts=1_700_000_000_000_000 + second * 1_000_000)] * 5).sent.sum())
        for second in range(4)
    ]
    assert sent == [2, 2, 2, 2]


# ---- copies

MS = 1000


def at(*times_ms: float, payload: bytes = sip(), **options: object) -> list[Datagram]:
    return [Datagram(payload, ts=1_700_000_000_000_000 + int(t * MS), **options) for t in times_ms]  # type: ignore[arg-type]


def test_copies_of_a_mirror_are_dropped_and_retransmissions_kept() -> None:
    # RFC 3261 section 17.1.1.2: a request goes out again after 0.5, 1.5, 3.5 s; a mirror shows each twice
    sent = [0, 500, 1500, 3500, 7500]
    seen = [time for t in sent for time in (t, t + 0.4)]
    assert true_for("dedup()", *at(*seen)) == [True, False] * 5


def test_the_window_counts_from_the_first_copy() -> None:
    assert true_for('dedup("200ms")', *at(0, 150, 201, 300, 450)) == [True, False, True, False, True]


def test_what_differs_is_no_copy() -> None:
    rows = [
        *at(0),
        *at(0.1, src_port=5061),
        *at(0.2, dst="198.51.100.3"),
        *at(0.3, src="192.0.2.9"),
        *at(0.4, proto=6),
        *at(0.5, payload=sip(call_id="other")),
        *at(0.6),
    ]
    assert true_for("dedup()", *rows) == [True] * 6 + [False]


def test_copies_in_other_batches_and_out_of_order() -> None:
    made = bench('capture { if (dedup()) send_hep("hepsocket"); }')
    for times, kept in (((0,), 1), ((0.5,), 0), ((-0.5,), 0), ((600,), 1), ((599,), 0)):
        assert int(made.run(*at(*times)).sent.sum()) == kept
