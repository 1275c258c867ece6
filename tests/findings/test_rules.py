"""Each rule fires on a capture of what it is about, and on no call that went well."""

from collections.abc import Callable
from pathlib import Path

import pytest

import hepcat
from hepcat.search.findings import ERROR, NOTE, RULES, WARNING, Finding, find
from hepcat.search.ladder import Ladder, build
from tests.findings import scenarios
from tests.findings.scenarios import ALIASES, CLEAN, EVERY, WRONG, Rows, call_id_of
from tests.ladder.make import table

Scenario = Callable[[], Rows]


def captured(lake: Path, scenario: Scenario) -> Ladder:
    with hepcat.open(lake) as data:
        return data.flow(call_id_of(scenario), aliases=ALIASES)


@pytest.mark.parametrize("scenario", WRONG, ids=lambda s: s.__name__)
def test_what_goes_wrong_is_told(lake: Path, scenario: Scenario) -> None:
    ladder = captured(lake, scenario)
    assert len(ladder.arrows) == len(scenario()), "the capture was read"
    assert tuple(f.rule for f in ladder.findings()) == WRONG[scenario]


@pytest.mark.parametrize("scenario", CLEAN, ids=lambda s: s.__name__)
def test_what_goes_well_is_not(lake: Path, scenario: Scenario) -> None:
    ladder = captured(lake, scenario)
    assert len(ladder.arrows) == len(scenario())
    assert ladder.findings() == []


def test_every_rule_has_a_capture_and_is_described() -> None:
    assert {rule.name for rule in RULES} == {name for names in WRONG.values() for name in names}
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.title, rule.name
        assert rule.doc.endswith("."), rule.name
        assert rule.standard, rule.name


def only(scenario: Scenario, rule: str) -> Finding:
    (finding,) = [f for f in find(build(table(scenario()), ALIASES)) if f.rule == rule]
    return finding


def labels(scenario: Scenario, finding: Finding) -> list[str]:
    arrows = build(table(scenario())).arrows
    return [arrows[i].label for i in finding.arrows]


def test_a_failure_names_its_source_and_its_reasons() -> None:
    finding = only(scenarios.final_failure, "final_failure")
    assert (finding.severity, finding.title) == (ERROR, "INVITE failed: 503 Service Unavailable")
    assert finding.detail.startswith("pbx → sbc (#3), passed on sbc → phone (#5). ")
    assert 'Reason: Q.850 cause 34 (no circuit or channel available) "All circuits busy".' in finding.detail
    assert "Retry-After: 120 s." in finding.detail
    assert finding.arrows == (2, 4), "where it came from first"
    assert finding.call == 0


def test_a_caller_who_gave_up_is_a_note() -> None:
    finding = only(scenarios.cancelled, "final_failure")
    assert (finding.severity, finding.title) == (NOTE, "Cancelled by the caller after 9.000 s")
    assert "Call completed elsewhere" in finding.detail
    assert labels(scenarios.cancelled, finding) == ["CANCEL", "487 Request Terminated"]


@pytest.mark.parametrize(
    ("line", "severity"),
    [("486 Busy Here", WARNING), ("302 Moved Temporarily", NOTE), ("404 Not Found", ERROR)],
)
def test_how_bad_a_failure_is(line: str, severity: str) -> None:
    (finding,) = find(build(table(scenarios.Talk("x").refused(line).rows)))
    assert (finding.rule, finding.severity) == ("final_failure", severity)


def test_silence_is_told_where_it_is() -> None:
    finding = only(scenarios.no_response, "no_response")
    assert (finding.severity, finding.title) == (ERROR, "No response to INVITE from pbx")
    assert "sbc → pbx (#3): sent 7 times over 31.500 s." in finding.detail
    assert len(finding.arrows) == 7
    assert not [f for f in find(build(table(scenarios.no_response()))) if f.rule == "retransmissions"]


def test_one_unanswered_request_may_be_the_end_of_the_capture() -> None:
    (finding,) = find(build(table(scenarios.no_response()[:1])))
    assert (finding.rule, finding.severity) == ("no_response", WARNING)
    assert "the capture may end here" in finding.detail


def test_what_may_still_come_is_a_note() -> None:
    rows = scenarios.no_response()[:1]
    ladder = build(table(rows))
    for later, severity, title in (
        (5_000, NOTE, ", so far"),
        (31_999_999, NOTE, ", so far"),
        (32_000_000, WARNING, ""),
        (-1, WARNING, ""),  # clocks differ: nothing is known
    ):
        (finding,) = find(ladder, ladder.arrows[-1].ts + later)
        assert finding.severity == severity
        assert finding.title == f"No response to INVITE from {ladder.hosts[1].name}{title}"


def test_two_calls_of_one_call_id_have_no_post_dial_delay() -> None:
    rows = scenarios.post_dial_delay()
    for row in rows[2:]:
        row["ts"] += 4_000_000_000
    assert "post_dial_delay" not in [f.rule for f in find(build(table(rows)))]


def test_an_answer_without_ack_yet_is_nothing() -> None:
    rows = scenarios.no_ack()
    assert find(build(table(rows[:3]))) == []
    assert [f.rule for f in find(build(table(rows[:4])))] == ["no_ack"], "once it is repeated"


def test_an_ack_that_stops_at_the_proxy() -> None:
    talk = scenarios.Talk("x").say(0, scenarios.UP, "INVITE", sdp=scenarios.OFFER)
    talk.say(0.01, scenarios.ON, "INVITE", "2", sdp=scenarios.OFFER)
    for at in (3, 3.5, 4.5, 6.5):
        talk.say(at, scenarios.BACK, "200 OK", "2", to_tag="b", sdp=scenarios.ANSWER)
        talk.say(at + 0.01, scenarios.DOWN, "200 OK", to_tag="b", sdp=scenarios.ANSWER)
        talk.say(at + 0.1, scenarios.UP, "ACK", "3", cseq="1 ACK", to_tag="b")
    (finding,) = find(build(table(sorted(talk.rows, key=lambda row: row["ts"])), ALIASES))
    assert (finding.rule, finding.severity) == ("no_ack", ERROR)
    assert "The ACK got as far as phone → sbc (#5)" in finding.detail


def test_stale_nonces_are_told_apart_from_wrong_passwords() -> None:
    loop, stale = (
        only(s, "authentication_loop") for s in (scenarios.authentication_loop, scenarios.stale_nonce)
    )
    assert loop.title.startswith("Authentication loop, 4 challenges to REGISTER: the credentials are refused")
    assert stale.title.startswith("Authentication loop, 3 challenges to REGISTER: the nonce is stale")
    assert 'as "alice", realm "example.com"' in loop.detail
    assert "The password is right" in stale.detail


def test_a_challenge_of_another_realm_is_no_refusal() -> None:
    first = scenarios.challenge("n0")
    second = first.replace("WWW-", "Proxy-").replace("example.com", "proxy.example.com")
    both = scenarios.credentials("n0") + scenarios.credentials("n0").replace("Auth", "Proxy-Auth", 1)
    steps = [("", "401 Unauthorized", first), (scenarios.credentials("n0"), "407 Proxy", second)]
    steps += [(both.replace('ealm="example.com"', 'ealm="proxy.example.com"'), "200 OK", "")]
    assert find(build(table(scenarios.registering("x", steps).rows))) == []


def test_where_a_private_address_is_worst() -> None:
    finding = only(scenarios.private_address, "private_address")
    assert (finding.severity, finding.title) == (
        WARNING,
        "SDP and Contact name 192.168.1.20, sent from 192.0.2.17",
    )
    inside = [
        dict(r, src_ip="192.168.1.20") if r["src_ip"] == "192.0.2.17" else r
        for r in scenarios.private_address()
    ]
    (before_the_nat,) = [f for f in find(build(table(inside))) if f.rule == "private_address"]
    assert before_the_nat.severity == NOTE
    ice = [
        dict(r, payload=r["payload"] + b"a=candidate:1 1 udp 1 192.168.1.20 4000 typ host\r\n")
        for r in inside
    ]
    assert "SDP" not in " ".join(f.title for f in find(build(table(ice)))), "ICE finds its own way"


def test_a_browser_names_its_addresses_by_ice() -> None:
    ice = "a=ice-ufrag:abcd\r\n"
    rows = scenarios.Talk("x").answered(scenarios.sdp("0.0.0.0", 9) + ice).bye().rows
    assert find(build(table(rows))) == []
    silent = find(build(table(scenarios.Talk("x").answered(scenarios.sdp("0.0.0.0", 9)).bye().rows)))
    assert [f.title for f in silent] == ["Audio goes one way from the start: address 0.0.0.0"]


def test_a_mismatch_shows_offer_and_answer() -> None:
    finding = only(scenarios.codec_mismatch, "codec_mismatch")
    assert (finding.severity, finding.title) == (ERROR, "No common codec (audio)")
    assert "Offer phone → sbc (#1): PCMU PCMA telephone-event." in finding.detail
    assert "Answer sbc → phone (#4): G729 telephone-event." in finding.detail
    refused = only(scenarios.codec_refused, "codec_mismatch")
    assert "Offered: audio G722 telephone-event RTP/AVP." in refused.detail
    assert "Incompatible media format" in refused.detail


def test_srtp_against_rtp() -> None:
    rows = scenarios.Talk("x").answered(scenarios.sdp(protocol="RTP/SAVP")).bye().rows
    (finding,) = find(build(table(rows)))
    assert finding.title == "Transports do not match (audio): RTP/SAVP offered, RTP/AVP answered"


def test_an_offer_in_the_200_is_answered_in_the_ack() -> None:
    talk = scenarios.Talk("x").say(0, scenarios.UP, "INVITE")
    talk.say(1, scenarios.DOWN, "200 OK", to_tag="b", sdp=scenarios.sdp(codecs="0 101"))
    talk.say(1.1, scenarios.UP, "ACK", "2", cseq="1 ACK", to_tag="b", sdp=scenarios.sdp(codecs="8 101"))
    assert [f.title for f in find(build(table(talk.rows)))] == ["No common codec (audio)"]


def test_who_pressed_the_button_first() -> None:
    race = only(scenarios.cancel_race, "cancel_race")
    assert (race.severity, race.arrows) == (WARNING, (2, 3))
    without = [r for r in scenarios.cancel_race() if r["method"] != "BYE"]
    (finding,) = find(build(table(without)))
    assert (finding.rule, finding.severity) == ("cancel_race", ERROR)
    assert "No BYE followed" in finding.detail


def test_both_sides_hang_up() -> None:
    rows = scenarios.Talk("x").answered().bye(60).bye(60.02, callee=True).rows
    (finding,) = find(build(table(sorted(rows, key=lambda r: r["ts"]))))
    assert (finding.rule, finding.severity, finding.title) == ("double_bye", NOTE, "Both sides hung up")


def test_a_long_call_that_ends_by_hand_is_no_timer() -> None:
    ok = "Session-Expires: 1800\r\n"
    for end in (700, 1500):
        assert find(build(table(scenarios.Talk("x").answered(ok=ok).bye(end).rows))) == []
    late = find(build(table(scenarios.Talk("x").answered(ok=ok).bye(1801).rows)))
    assert [f.title for f in late] == ["Hung up as the session timer ran out"]


def test_where_dialling_took_so_long() -> None:
    finding = only(scenarios.post_dial_delay, "post_dial_delay")
    assert (finding.severity, finding.title) == (WARNING, "Post-dial delay 11.400 s")
    assert "11.370 s of it at or behind pbx." in finding.detail


def test_a_loop_shows_its_way() -> None:
    finding = only(scenarios.loop, "loop")
    assert finding.title == "INVITE goes in circles: 483 Too Many Hops"
    assert "sbc → pbx 3 times (#1 to #5)" in finding.detail
    assert "Max-Forwards 0 in pbx → sbc (#6)" in finding.detail


def test_worst_first_and_of_which_call() -> None:
    rows = [row for s in EVERY for row in s()]
    found = find(build(table(rows)))
    order = [(ERROR, WARNING, NOTE).index(f.severity) for f in found]
    assert order == sorted(order)
    ladder = build(table(rows))
    told = {ladder.legs[f.call].call_id for f in found if f.call is not None}
    # that a message is malformed is told by the capture, which these rows have not been through
    assert told == {call_id_of(s) for s in WRONG if s is not scenarios.malformed}
    assert all(ladder.arrows[i].leg == f.call for f in found for i in f.arrows)


def test_no_messages_no_findings() -> None:
    assert find(build(table([]))) == []
