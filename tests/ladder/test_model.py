"""The model: what is told from a table of messages, case by case."""

import pytest

from hepcat.search.ladder import Arrow, Ladder, build
from tests.ladder.make import PCMU, message, table

A, B, C, D = "10.0.0.1:5060", "10.0.0.2:5060", "10.0.0.3:5060", "10.0.0.4:5060"


def ladder(*rows: dict, **options) -> Ladder:
    return build(table(rows), **options)


def answered() -> list[dict]:
    return [
        message(0.0, f"{A}>{B}", "INVITE", sdp=PCMU),
        message(0.01, f"{B}>{A}", "100 Trying"),
        message(1.0, f"{B}>{A}", "180 Ringing", to_tag="b"),
        message(4.0, f"{B}>{A}", "200 OK", to_tag="b", sdp=PCMU),
        message(4.1, f"{A}>{B}", "ACK", branch="z9hG4bK2", to_tag="b"),
        message(10.0, f"{B}>{A}", "BYE", branch="z9hG4bK3", from_tag="b", to_tag="a"),
        message(10.1, f"{A}>{B}", "200 OK", branch="z9hG4bK3", cseq="1 BYE", from_tag="b", to_tag="a"),
    ]


def test_a_plain_call() -> None:
    result = ladder(*answered())
    assert [h.name for h in result.hosts] == [A, B]
    assert [(a.src, a.dst, a.label) for a in result.arrows] == [
        (0, 1, "INVITE"),
        (1, 0, "100 Trying"),
        (1, 0, "180 Ringing"),
        (1, 0, "200 OK"),
        (0, 1, "ACK"),
        (1, 0, "BYE"),
        (0, 1, "200 OK (BYE)"),
    ]
    assert [a.elapsed for a in result.arrows][:3] == [0, 10_000, 1_000_000]
    assert result.arrows[2].delta == 990_000
    assert not any(a.notes for a in result.arrows)
    (leg,) = result.legs
    assert (leg.status, leg.reason, leg.state) == (200, "OK", "completed")
    assert (leg.post_dial_delay, leg.ring_time, leg.talk_time) == (1_000_000, 3_000_000, 6_000_000)
    assert (leg.messages, leg.retransmissions, leg.copies) == (7, 0, 0)
    assert leg.duration == 10_100_000
    # ACK of a 2xx is a transaction of its own (RFC 3261 section 17.1.1.3)
    assert [a.transaction for a in result.arrows] == [0, 0, 0, 0, 1, 2, 2]


def test_messages_out_of_order_are_sorted() -> None:
    result = ladder(*reversed(answered()))
    assert [a.label for a in result.arrows][:2] == ["INVITE", "100 Trying"]


def test_retransmissions_are_counted() -> None:
    rows = [message(t, f"{A}>{B}", "INVITE") for t in (0, 0.5, 1.5)]
    rows += [message(2, f"{B}>{A}", "486 Busy Here", to_tag="b")]
    rows += [message(2.5, f"{B}>{A}", "486 Busy Here", to_tag="b")]
    rows += [message(2.6, f"{A}>{B}", "ACK", to_tag="b")]
    result = ladder(*rows)
    assert [a.retransmission for a in result.arrows] == [0, 1, 2, 0, 1, 0]
    assert [a.retransmission_of for a in result.arrows] == [None, 0, 0, None, 3, None]
    assert all(a.transaction == 0 for a in result.arrows), "ACK of a failure is in the INVITE's transaction"
    assert result.legs[0].state == "busy"
    assert result.legs[0].retransmissions == 3


def test_the_next_hop_is_no_retransmission() -> None:
    result = ladder(
        message(0, f"{A}>{B}", "INVITE"),
        message(0.001, f"{B}>{C}", "INVITE", branch="z9hG4bKproxy"),
        message(0.002, f"{C}>{B}", "180 Ringing", branch="z9hG4bKproxy", to_tag="c"),
        message(0.003, f"{B}>{A}", "180 Ringing", to_tag="c"),
    )
    assert not any(a.notes for a in result.arrows)
    assert [a.transaction for a in result.arrows] == [0, 1, 1, 0]
    assert [h.name for h in result.hosts] == [A, B, C]


def test_a_new_attempt_with_credentials_is_no_retransmission() -> None:
    result = ladder(
        message(0, f"{A}>{B}", "INVITE"),
        message(0.1, f"{B}>{A}", "407 Proxy Authentication Required", to_tag="x"),
        message(0.2, f"{A}>{B}", "ACK", to_tag="x"),
        message(0.3, f"{A}>{B}", "INVITE", cseq="2 INVITE", branch="z9hG4bK2"),
        message(0.4, f"{B}>{A}", "200 OK", cseq="2 INVITE", branch="z9hG4bK2", to_tag="y"),
    )
    assert not any(a.notes for a in result.arrows)
    assert (result.legs[0].status, result.legs[0].state) == (200, "in call")


def test_a_challenge_that_nobody_answered_is_the_result() -> None:
    rows = [
        message(0, f"{A}>{B}", "INVITE"),
        message(0.1, f"{B}>{A}", "407 Proxy Authentication Required"),
    ]
    assert ladder(*rows).legs[0].state == "auth required"


def test_two_agents_see_one_message() -> None:
    """The same octets, between the same addresses, from another capture point: a copy."""
    result = ladder(
        message(0, f"{A}>{B}", "INVITE", node_id=1),
        message(0.03, f"{A}>{B}", "INVITE", node_id=2),
        message(0.5, f"{A}>{B}", "INVITE", node_id=1),
        message(0.53, f"{A}>{B}", "INVITE", node_id=2),
    )
    assert [a.copy_of for a in result.arrows] == [None, 0, None, 2]
    assert [a.retransmission for a in result.arrows] == [0, 0, 1, 0]
    assert (result.legs[0].copies, result.legs[0].retransmissions) == (2, 1)


def test_a_capture_point_copies_a_sending_once() -> None:
    """What an agent sees again later was sent again, on a short timer perhaps."""
    result = ladder(
        message(0, f"{A}>{B}", "INVITE", node_id=1),
        message(0.03, f"{A}>{B}", "INVITE", node_id=2),
        message(0.13, f"{A}>{B}", "INVITE", node_id=2),
    )
    assert [a.copy_of for a in result.arrows] == [None, 0, None]
    assert [a.retransmission for a in result.arrows] == [0, 0, 1]


def test_one_agent_sees_both_sides_of_an_interface() -> None:
    result = ladder(message(0, f"{A}>{B}", "INVITE"), message(0.0004, f"{A}>{B}", "INVITE"))
    assert result.arrows[1].copy_of == 0
    assert result.arrows[1].notes == ("copy of #1",)


def test_an_agent_that_missed_the_first_sending() -> None:
    """Its first sighting is a copy of the nearest sending, and no sooner than T1 apart of another."""
    result = ladder(
        message(0, f"{A}>{B}", "INVITE", node_id=1),
        message(2, f"{A}>{B}", "INVITE", node_id=1),
        message(2.1, f"{A}>{B}", "INVITE", node_id=2),
        message(9, f"{A}>{B}", "INVITE", node_id=3),
    )
    assert [a.copy_of for a in result.arrows] == [None, None, 1, None]
    assert [a.retransmission for a in result.arrows] == [0, 1, 0, 2]


def test_a_nat_hands_on_the_same_octets() -> None:
    first = message(0, f"{A}>{B}", "INVITE")
    second = {**message(0.001, f"{C}>{D}", "INVITE"), "payload": first["payload"]}
    result = ladder(first, second)
    assert result.arrows[1].forward_of == 0
    assert result.arrows[1].retransmission == 0
    assert result.arrows[1].notes == ("same octets as #1",)


def test_a_repeated_ringing_is_a_retransmission_but_news_is_not() -> None:
    result = ladder(
        message(0, f"{A}>{B}", "INVITE"),
        message(1, f"{B}>{A}", "183 Session Progress", to_tag="b"),
        message(2, f"{B}>{A}", "183 Session Progress", to_tag="b", sdp=PCMU),
        message(3, f"{B}>{A}", "183 Session Progress", to_tag="b", sdp=PCMU),
        message(4, f"{B}>{A}", "183 Session Progress", to_tag="b", sdp=PCMU, extra="RSeq: 2\r\n"),
    )
    assert [a.retransmission for a in result.arrows] == [0, 0, 0, 1, 0]


def test_re_invite() -> None:
    result = ladder(
        *answered()[:5],
        message(5, f"{B}>{A}", "INVITE", branch="z9hG4bK9", from_tag="b", to_tag="a", sdp=PCMU),
        message(5.1, f"{A}>{B}", "488 Not Acceptable Here", branch="z9hG4bK9", from_tag="b", to_tag="a"),
        message(5.2, f"{B}>{A}", "ACK", branch="z9hG4bK9", from_tag="b", to_tag="a"),
    )
    again = result.arrows[5]
    assert (again.label, again.method, again.in_dialog) == ("re-INVITE", "INVITE", True)
    assert not result.arrows[4].in_dialog, "ACK is not marked"
    leg = result.legs[0]
    assert (leg.status, leg.state) == (200, "in call"), "a refused re-INVITE does not end the call"


def test_cancel_race() -> None:
    """CANCEL has the INVITE's branch and its own transaction; 487 ends the INVITE."""
    result = ladder(
        message(0, f"{A}>{B}", "INVITE"),
        message(1, f"{B}>{A}", "180 Ringing", to_tag="b"),
        message(2, f"{A}>{B}", "CANCEL"),
        message(2.1, f"{B}>{A}", "200 OK", cseq="1 CANCEL"),
        message(2.2, f"{B}>{A}", "487 Request Terminated", to_tag="b"),
        message(2.3, f"{A}>{B}", "ACK", to_tag="b"),
    )
    assert [a.transaction for a in result.arrows] == [0, 0, 1, 1, 0, 0]
    assert result.arrows[3].label == "200 OK (CANCEL)"
    assert (result.legs[0].status, result.legs[0].state) == (487, "cancelled")


def test_cancel_that_came_too_late() -> None:
    result = ladder(
        message(0, f"{A}>{B}", "INVITE"),
        message(2, f"{A}>{B}", "CANCEL"),
        message(2.05, f"{B}>{A}", "200 OK", to_tag="b"),
        message(2.1, f"{B}>{A}", "200 OK", cseq="1 CANCEL"),
    )
    assert (result.legs[0].status, result.legs[0].state) == (200, "in call")


def fork() -> list[dict]:
    return [
        message(0, f"{A}>{B}", "INVITE"),
        message(0.1, f"{B}>{C}", "INVITE", branch="z9hG4bKc"),
        message(0.1, f"{B}>{D}", "INVITE", branch="z9hG4bKd"),
        message(1.0, f"{C}>{B}", "180 Ringing", branch="z9hG4bKc", to_tag="c"),
        message(1.01, f"{B}>{A}", "180 Ringing", to_tag="c"),
        message(1.2, f"{D}>{B}", "180 Ringing", branch="z9hG4bKd", to_tag="d"),
        message(1.21, f"{B}>{A}", "180 Ringing", to_tag="d"),
        message(2.0, f"{C}>{B}", "486 Busy Here", branch="z9hG4bKc", to_tag="c"),
        message(3.0, f"{D}>{B}", "200 OK", branch="z9hG4bKd", to_tag="d"),
        message(3.1, f"{B}>{A}", "200 OK", to_tag="d"),
    ]


def test_forking() -> None:
    result = ladder(*fork())
    assert not any(a.retransmission for a in result.arrows), "180 of another branch is no retransmission"
    assert [a.dialog for a in result.arrows] == [None] * 4 + [1, None, 2, None, None, 2]
    assert result.arrows[6].notes == ("branch 2",)
    assert (result.legs[0].status, result.legs[0].state) == (200, "in call"), "what the caller was told"
    assert [h.name for h in result.hosts] == [A, B, C, D]


def test_two_branches_that_answer() -> None:
    """RFC 3261 section 13.2.2.4: each 2xx is its own dialog, though both have the caller's branch."""
    result = ladder(
        message(0, f"{A}>{B}", "INVITE"),
        message(1, f"{B}>{A}", "200 OK", to_tag="c"),
        message(1.5, f"{B}>{A}", "200 OK", to_tag="d"),
        message(2.0, f"{B}>{A}", "200 OK", to_tag="c"),
    )
    assert [a.retransmission for a in result.arrows] == [0, 0, 0, 1]
    assert [a.dialog for a in result.arrows] == [None, 1, 2, 1]


def test_several_calls_in_one_picture() -> None:
    other = [{**row, "call_id": "call-2"} for row in answered()]
    for row in other:
        row["src_ip"], row["dst_ip"] = (
            {"10.0.0.1": "10.0.0.2", "10.0.0.2": "10.0.0.3"}[row[k]] for k in ("src_ip", "dst_ip")
        )
        row["ts"] += 5_000
    result = ladder(*answered(), *other)
    assert [leg.call_id for leg in result.legs] == ["call-1", "call-2"]
    assert [a.leg for a in result.arrows][:4] == [0, 1, 0, 1]
    assert len({a.transaction for a in result.arrows if a.leg == 0}) == 3
    assert not {a.transaction for a in result.arrows if a.leg == 0} & {
        a.transaction for a in result.arrows if a.leg == 1
    }
    assert all(leg.messages == 7 for leg in result.legs)
    assert [h.name for h in result.hosts] == [A, B, C]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("302 Moved", "redirected"),
        ("404 Not Found", "rejected"),
        ("480 Gone", "no answer"),
        ("600 Busy Everywhere", "busy"),
        ("603 Decline", "rejected"),
        ("503 Service Unavailable", "failed"),
    ],
)
def test_states(status: str, state: str) -> None:
    rows = [message(0, f"{A}>{B}", "INVITE"), message(1, f"{B}>{A}", status, to_tag="b")]
    assert ladder(*rows).legs[0].state == state


def test_states_without_a_result() -> None:
    invite = message(0, f"{A}>{B}", "INVITE")
    assert ladder(invite).legs[0].state == "no reply"
    assert ladder(invite, message(1, f"{B}>{A}", "180 Ringing", to_tag="b")).legs[0].state == "ringing"
    assert ladder(invite, message(1, f"{A}>{B}", "CANCEL")).legs[0].state == "cancelled"
    register = message(0, f"{A}>{B}", "REGISTER")
    assert ladder(register).legs[0].state == "no reply"
    done = message(1, f"{B}>{A}", "200 OK", cseq="1 REGISTER")
    assert (ladder(register, done).legs[0].state, ladder(register, done).legs[0].method) == (
        "registered",
        "REGISTER",
    )


def test_what_is_malformed_is_drawn_and_marked() -> None:
    odd = {
        "ts": 1,
        "transport": "udp",
        "src_ip": "10.0.0.1",
        "src_port": 1,
        "dst_ip": "10.0.0.2",
        "dst_port": 2,
        "malformed": "start_line",
        "payload": b"\x00\xff",
    }
    result = ladder(odd, {**odd, "ts": 900_000}, {**odd, "ts": 900_001, "payload": b"else"})
    assert [a.label for a in result.arrows] == ["(not a SIP message)"] * 3
    assert result.arrows[0].notes == ("malformed: start_line",)
    assert [a.retransmission for a in result.arrows] == [0, 1, 0], "without a branch only octets tell"
    assert result.legs[0].call_id == ""


def test_missing_columns_count_as_null() -> None:
    small = table([message(0, f"{A}>{B}", "INVITE")]).select(["ts", "src_ip", "dst_ip", "method"])
    (arrow,) = build(small).arrows
    assert isinstance(arrow, Arrow)
    assert (arrow.label, arrow.src_text) == ("INVITE", "10.0.0.1")


def test_nothing() -> None:
    result = build(table([]))
    assert (result.hosts, result.arrows, result.legs) == ((), (), ())


def test_sdp_is_read_once_a_body() -> None:
    result = ladder(*answered())
    assert result.arrows[0].sdp is not None
    assert result.arrows[0].sdp.summary == "PCMU PCMA telephone-event 10.0.0.1:4000 sendrecv"
    assert result.arrows[3].sdp is result.arrows[0].sdp
    assert result.arrows[1].sdp is None
