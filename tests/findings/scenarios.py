"""Calls that go wrong in one way each, and calls that go well: messages as they are on the wire.

A scenario's name is the Call-ID's first part. WRONG says which rules are to fire on each; on CLEAN none may.
The docstring of each function is what docs/findings.md says about the example.
"""

from collections.abc import Callable
from typing import Any

from tests.ladder.make import message

PHONE, SBC, PBX, GATEWAY = "192.0.2.17:5060", "198.51.100.1:5060", "198.51.100.9:5060", "203.0.113.5:5060"
ALIASES = {"192.0.2.17": "phone", "198.51.100.1": "sbc", "198.51.100.9": "pbx", "203.0.113.5": "gateway"}
UP, DOWN = f"{PHONE}>{SBC}", f"{SBC}>{PHONE}"
ON, BACK = f"{SBC}>{PBX}", f"{PBX}>{SBC}"

Rows = list[dict[str, Any]]
_TYPES = {"0": "", "8": "", "18": "", "9": "", "101": "a=rtpmap:101 telephone-event/8000\r\n"}


def sdp(
    ip: str = "192.0.2.17",
    port: int = 4000,
    codecs: str = "0 8 101",
    way: str = "",
    protocol: str = "RTP/AVP",
) -> str:
    """An offer or answer of one audio stream."""
    maps = "".join(_TYPES.get(codec, "") for codec in codecs.split())
    direction = f"a={way}\r\n" if way else ""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
        f"m=audio {port} {protocol} {codecs}\r\n{maps}{direction}"
    )


OFFER, ANSWER = sdp(), sdp("198.51.100.9", 16400)


class Talk:
    """What is said in one call; `branch` and `call_id` are made of the scenario's name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: Rows = []

    def say(self, at: float, path: str, line: str, branch: str = "1", **options: Any) -> "Talk":
        """Add one message; options as for tests.ladder.make.message."""
        options = {
            "call_id": f"{self.name}@example.com",
            "branch": f"z9hG4bK-{self.name}-{branch}",
            **options,
        }
        self.rows.append(message(at, path, line, **options))
        return self

    def answered(self, offer: str = OFFER, answer: str = ANSWER, extra: str = "", ok: str = "") -> "Talk":
        """INVITE, 180, 200 and ACK between phone and sbc, the answer after 3 s."""
        self.say(0, UP, "INVITE", sdp=offer, extra=extra)
        self.say(0.02, DOWN, "100 Trying")
        self.say(0.9, DOWN, "180 Ringing", to_tag="b")
        self.say(3, DOWN, "200 OK", to_tag="b", sdp=answer, extra=ok)
        return self.say(3.05, UP, "ACK", "2", to_tag="b", cseq="1 ACK")

    def bye(self, at: float = 60, cseq: int = 2, extra: str = "", callee: bool = False) -> "Talk":
        """BYE of the caller, or of the callee, and its 200."""
        tags = {"from_tag": "b", "to_tag": "a"} if callee else {"to_tag": "b"}
        there, back = (DOWN, UP) if callee else (UP, DOWN)
        branch = f"bye{cseq}{'b' if callee else ''}"
        self.say(at, there, "BYE", branch, cseq=f"{cseq} BYE", extra=extra, **tags)
        return self.say(at + 0.05, back, "200 OK", branch, cseq=f"{cseq} BYE", **tags)

    def refused(self, line: str, extra: str = "", offer: str = OFFER) -> "Talk":
        """INVITE, 100, a failure and its ACK."""
        self.say(0, UP, "INVITE", sdp=offer).say(0.02, DOWN, "100 Trying")
        self.say(1.2, DOWN, line, to_tag="b", extra=extra)
        return self.say(1.25, UP, "ACK", to_tag="b", cseq="1 ACK")


def challenge(nonce: str, more: str = "") -> str:
    return f'WWW-Authenticate: Digest realm="example.com", nonce="{nonce}", algorithm=MD5{more}\r\n'


def credentials(nonce: str) -> str:
    return (
        'Authorization: Digest username="alice", realm="example.com", '
        f'nonce="{nonce}", uri="sip:example.com", response="0"\r\n'
    )


def registering(name: str, steps: list[tuple[str, str, str]]) -> Talk:
    """REGISTER again and again: (headers of the request, response, headers of the response)."""
    talk = Talk(name)
    for number, (extra, line, more) in enumerate(steps, 1):
        cseq = f"{number} REGISTER"
        talk.say(number, UP, "REGISTER", f"r{number}", cseq=cseq, extra=extra)
        talk.say(number + 0.03, DOWN, line, f"r{number}", cseq=cseq, to_tag="r", extra=more)
    return talk


# -- calls that go wrong


def final_failure() -> Rows:
    """The callee's exchange has no line free and says why."""
    talk = Talk("final-failure")
    talk.say(0, UP, "INVITE", sdp=OFFER).say(0.01, ON, "INVITE", "2", sdp=OFFER)
    reason = 'Reason: Q.850;cause=34;text="All circuits busy"\r\nRetry-After: 120\r\n'
    talk.say(0.9, BACK, "503 Service Unavailable", "2", to_tag="b", extra=reason)
    talk.say(0.91, ON, "ACK", "2", to_tag="b", cseq="1 ACK")
    talk.say(0.92, DOWN, "503 Service Unavailable", to_tag="b")
    return talk.say(0.95, UP, "ACK", to_tag="b", cseq="1 ACK").rows


def no_response() -> Rows:
    """The pbx is down: the sbc repeats its INVITE and gives up after 32 s."""
    talk = Talk("no-response").say(0, UP, "INVITE", sdp=OFFER).say(0.01, DOWN, "100 Trying")
    for at in (0.02, 0.52, 1.52, 3.52, 7.52, 15.52, 31.52):
        talk.say(at, ON, "INVITE", "2", sdp=OFFER)
    talk.say(32.1, DOWN, "408 Request Timeout", to_tag="s")
    return talk.say(32.15, UP, "ACK", to_tag="s", cseq="1 ACK").rows


def no_final_response() -> Rows:
    """The callee's side rings, and nobody ever says how it ended."""
    talk = Talk("no-final-response").say(0, UP, "INVITE", sdp=OFFER).say(0.02, DOWN, "100 Trying")
    return talk.say(1.1, DOWN, "180 Ringing", to_tag="b").rows


def no_ack() -> Rows:
    """The answer is repeated until the callee gives up: its Contact leads nowhere, so no ACK comes."""
    talk = Talk("no-ack").say(0, UP, "INVITE", sdp=OFFER).say(0.9, DOWN, "180 Ringing", to_tag="b")
    for at in (3, 3.5, 4.5, 6.5, 10.5, 14.5, 18.5, 22.5, 26.5, 30.5, 34.5):
        talk.say(at, DOWN, "200 OK", to_tag="b", sdp=ANSWER)
    return talk.bye(35, callee=True).rows


def retransmissions() -> Rows:
    """Every packet of the phone arrives late or not at all: BYE goes out four times."""
    talk = Talk("retransmissions").answered()
    for at in (60, 60.5, 61.5, 63.5):
        talk.say(at, UP, "BYE", "9", cseq="2 BYE", to_tag="b")
    return talk.say(63.6, DOWN, "200 OK", "9", cseq="2 BYE", to_tag="b").rows


def authentication_loop() -> Rows:
    """The phone has the wrong password and tries for ever."""
    steps = [("", "401 Unauthorized", challenge("n0"))]
    steps += [(credentials(f"n{i}"), "401 Unauthorized", challenge(f"n{i + 1}")) for i in range(4)]
    return registering("authentication-loop", steps).rows


def stale_nonce() -> Rows:
    """Two registrars answer in turn and do not know each other's nonces."""
    steps = [("", "401 Unauthorized", challenge("n0"))]
    steps += [
        (credentials(f"n{i}"), "401 Unauthorized", challenge(f"n{i + 1}", ", stale=true")) for i in range(3)
    ]
    return registering("stale-nonce", steps).rows


def wrong_credentials() -> Rows:
    """The phone answers the challenge once, is challenged again, and gives up."""
    steps = [
        ("", "401 Unauthorized", challenge("n0")),
        (credentials("n0"), "401 Unauthorized", challenge("n1")),
    ]
    return registering("wrong-credentials", steps).rows


def no_credentials() -> Rows:
    """The pbx wants a password that the trunk was never given."""
    talk = Talk("no-credentials").say(0, UP, "INVITE", sdp=OFFER)
    talk.say(0.05, DOWN, "401 Unauthorized", to_tag="b", extra=challenge("n0"))
    return talk.say(0.1, UP, "ACK", to_tag="b", cseq="1 ACK").rows


def private_address() -> Rows:
    """A phone behind a NAT: the message comes from the NAT's address, SDP and Contact do not name it."""
    own = "Contact: <sip:alice@192.168.1.20:5060>\r\n"
    return Talk("private-address").answered(sdp("192.168.1.20"), extra=own).bye().rows


def codec_mismatch() -> Rows:
    """A gateway answers G.729 only, though PCMU and PCMA were offered."""
    return (
        Talk("codec-mismatch")
        .answered(sdp(codecs="0 8 101"), sdp("198.51.100.9", codecs="18 101"))
        .bye()
        .rows
    )


def codec_refused() -> Rows:
    """The callee takes none of the codecs offered."""
    warning = 'Warning: 305 pbx.example.com "Incompatible media format"\r\n'
    return Talk("codec-refused").refused("488 Not Acceptable Here", warning, sdp(codecs="9 101")).rows


def no_telephone_event() -> Rows:
    """The pbx answers without telephone-event."""
    return Talk("no-telephone-event").answered(answer=sdp("198.51.100.9", codecs="0")).bye().rows


def early_bye() -> Rows:
    """The callee's device answers and hangs up at once."""
    return Talk("early-bye").answered().bye(3.4, callee=True).rows


def double_bye() -> Rows:
    """The phone does not notice the 200 of its BYE and hangs up once more."""
    return Talk("double-bye").answered().bye(60, 2).bye(61, 3).rows


def session_timer() -> Rows:
    """A firewall lost the refresh: the callee hangs up as RFC 4028 says, 32 s before the interval is over."""
    ok = "Session-Expires: 1800;refresher=uac\r\n"
    return Talk("session-timer").answered(ok=ok).bye(3 + 1800 - 32, callee=True).rows


def session_not_refreshed() -> Rows:
    """Nobody refreshes, and nobody minds."""
    ok = "x: 600;refresher=uac\r\n"
    return Talk("session-not-refreshed").answered(ok=ok).bye(1200).rows


def post_dial_delay() -> Rows:
    """The pbx needs 11 s to reach the other network."""
    talk = Talk("post-dial-delay").say(0, UP, "INVITE", sdp=OFFER).say(0.02, DOWN, "100 Trying")
    talk.say(0.03, ON, "INVITE", "2", sdp=OFFER).say(0.05, BACK, "100 Trying", "2")
    talk.say(11.4, BACK, "180 Ringing", "2", to_tag="b").say(11.41, DOWN, "180 Ringing", to_tag="b")
    talk.say(15, BACK, "200 OK", "2", to_tag="b", sdp=ANSWER).say(
        15.01, DOWN, "200 OK", to_tag="b", sdp=ANSWER
    )
    talk.say(15.1, UP, "ACK", "3", to_tag="b", cseq="1 ACK").say(
        15.11, ON, "ACK", "4", to_tag="b", cseq="1 ACK"
    )
    return talk.rows


def media_changed() -> Rows:
    """Ring back tone comes from one server, the answer names another in the same transaction."""
    talk = Talk("media-changed").say(0, UP, "INVITE", sdp=OFFER)
    talk.say(0.5, DOWN, "183 Session Progress", to_tag="b", sdp=sdp("198.51.100.30", 18000))
    talk.say(3, DOWN, "200 OK", to_tag="b", sdp=ANSWER)
    return talk.say(3.1, UP, "ACK", "2", to_tag="b", cseq="1 ACK").bye().rows


def one_way_media() -> Rows:
    """The phone puts the callee on hold and forgets it."""
    talk = Talk("one-way-media").answered()
    hold = {"cseq": "2 INVITE", "to_tag": "b"}
    talk.say(10, UP, "INVITE", "5", sdp=sdp(way="sendonly"), **hold)
    talk.say(10.1, DOWN, "200 OK", "5", sdp=sdp("198.51.100.9", 16400, way="recvonly"), **hold)
    talk.say(10.2, UP, "ACK", "6", cseq="2 ACK", to_tag="b")
    return talk.bye(cseq=3).rows


def audio_refused() -> Rows:
    """The callee takes the call and refuses its only stream."""
    return Talk("audio-refused").answered(answer=sdp("198.51.100.9", 0)).bye().rows


def cancel_race() -> Rows:
    """The caller gives up in the moment in which the callee picks up."""
    talk = Talk("cancel-race").say(0, UP, "INVITE", sdp=OFFER).say(0.9, DOWN, "180 Ringing", to_tag="b")
    talk.say(8, UP, "CANCEL").say(8.01, DOWN, "200 OK", to_tag="b", sdp=ANSWER)
    talk.say(8.05, DOWN, "200 OK", cseq="1 CANCEL", to_tag="b").say(
        8.06, UP, "ACK", "2", to_tag="b", cseq="1 ACK"
    )
    return talk.bye(8.1).rows


def loop() -> Rows:
    """Two servers each think that the other one has the user."""
    talk = Talk("loop")
    for hop in range(6):
        path = ON if hop % 2 == 0 else f"{PBX}>{SBC}"
        talk.say(hop / 100, path, "INVITE", str(hop), sdp=OFFER, extra=f"Max-Forwards: {5 - hop}\r\n")
    for hop in reversed(range(6)):
        path = BACK if hop % 2 == 0 else f"{SBC}>{PBX}"
        talk.say(0.2 - hop / 100, path, "483 Too Many Hops", str(hop), to_tag="b")
        ack = ON if hop % 2 == 0 else f"{PBX}>{SBC}"
        talk.say(0.205 - hop / 100, ack, "ACK", str(hop), to_tag="b", cseq="1 ACK")
    return sorted(talk.rows, key=lambda row: row["ts"])


def request_failed() -> Rows:
    """The other side has forgotten the call: BYE gets 481."""
    talk = Talk("request-failed").answered().say(60, UP, "BYE", "9", cseq="2 BYE", to_tag="b")
    return talk.say(60.1, DOWN, "481 Call/Transaction Does Not Exist", "9", cseq="2 BYE", to_tag="b").rows


def failed_attempt() -> Rows:
    """The first gateway is full, the pbx takes the call."""
    talk = Talk("failed-attempt").say(0, UP, "INVITE", sdp=OFFER)
    talk.say(0.01, f"{SBC}>{GATEWAY}", "INVITE", "g", sdp=OFFER)
    talk.say(0.3, f"{GATEWAY}>{SBC}", "503 Service Unavailable", "g", to_tag="g")
    talk.say(0.31, f"{SBC}>{GATEWAY}", "ACK", "g", to_tag="g", cseq="1 ACK")
    talk.say(0.32, ON, "INVITE", "2", sdp=OFFER)
    talk.say(2, BACK, "200 OK", "2", to_tag="b", sdp=ANSWER).say(2.01, DOWN, "200 OK", to_tag="b", sdp=ANSWER)
    talk.say(2.1, UP, "ACK", "3", to_tag="b", cseq="1 ACK").say(
        2.11, ON, "ACK", "4", to_tag="b", cseq="1 ACK"
    )
    return talk.bye().rows


def release_cause() -> Rows:
    """The network behind the gateway broke the call."""
    reason = 'Reason: Q.850;cause=41;text="Temporary failure"\r\n'
    return Talk("release-cause").answered().bye(60, extra=reason, callee=True).rows


def malformed() -> Rows:
    """The CSeq of an OPTIONS names another method."""
    talk = Talk("malformed").answered().say(60, UP, "OPTIONS", "9", cseq="2 PING", to_tag="b")
    return talk.say(60.1, DOWN, "200 OK", "9", cseq="2 OPTIONS", to_tag="b").bye(70, 3).rows


def cancelled() -> Rows:
    """The caller gives up."""
    talk = Talk("cancelled").say(0, UP, "INVITE", sdp=OFFER).say(0.9, DOWN, "180 Ringing", to_tag="b")
    talk.say(9, UP, "CANCEL", extra='Reason: SIP;cause=200;text="Call completed elsewhere"\r\n')
    talk.say(9.02, DOWN, "200 OK", cseq="1 CANCEL", to_tag="b")
    talk.say(9.03, DOWN, "487 Request Terminated", to_tag="b")
    return talk.say(9.1, UP, "ACK", to_tag="b", cseq="1 ACK").rows


#: Scenario -> the rules that fire on it, in the order of `find`.
WRONG: dict[Callable[[], Rows], tuple[str, ...]] = {
    final_failure: ("final_failure",),
    no_response: ("final_failure", "no_response"),
    no_ack: ("no_ack",),
    loop: ("final_failure", "loop"),
    authentication_loop: ("authentication_loop",),
    stale_nonce: ("authentication_loop",),
    wrong_credentials: ("wrong_credentials",),
    no_credentials: ("no_credentials",),
    codec_mismatch: ("codec_mismatch",),
    codec_refused: ("final_failure", "codec_mismatch"),
    cancel_race: ("cancel_race",),
    early_bye: ("early_bye",),
    session_timer: ("session_timer",),
    session_not_refreshed: ("session_timer",),
    release_cause: ("release_cause",),
    no_final_response: ("no_final_response",),
    retransmissions: ("retransmissions",),
    post_dial_delay: ("post_dial_delay",),
    private_address: ("private_address",),
    media_changed: ("media_changed",),
    one_way_media: ("one_way_media",),
    audio_refused: ("one_way_media",),
    no_telephone_event: ("no_telephone_event",),
    request_failed: ("request_failed",),
    failed_attempt: ("failed_attempt",),
    double_bye: ("double_bye",),
    malformed: ("malformed",),
    cancelled: ("final_failure",),
}


# -- calls that go well, each close to a rule


def well_plain() -> Rows:
    return Talk("well-plain").answered().bye().rows


def well_callee_hangs_up() -> Rows:
    return Talk("well-callee").answered().bye(callee=True, extra="Reason: Q.850;cause=16\r\n").rows


def well_through_a_proxy() -> Rows:
    """Every message on two hops, and the second hop captured twice."""
    talk = Talk("well-proxy").say(0, UP, "INVITE", sdp=OFFER).say(0.01, ON, "INVITE", "2", sdp=OFFER)
    for at, line, more in ((0.9, "180 Ringing", {}), (3, "200 OK", {"sdp": ANSWER})):
        talk.say(at, BACK, line, "2", to_tag="b", **more).say(at + 0.01, DOWN, line, to_tag="b", **more)
    talk.say(3.1, UP, "ACK", "3", to_tag="b", cseq="1 ACK").say(
        3.11, ON, "ACK", "4", to_tag="b", cseq="1 ACK"
    )
    for path, branch in ((UP, "5"), (ON, "6")):
        talk.say(60 + int(branch) / 100, path, "BYE", branch, cseq="2 BYE", to_tag="b")
    for path, branch in ((BACK, "6"), (DOWN, "5")):
        talk.say(60.2 - int(branch) / 100, path, "200 OK", branch, cseq="2 BYE", to_tag="b")
    twice = [dict(row, ts=row["ts"] + 300) for row in talk.rows if row["src_ip"] == "198.51.100.9"] * 4
    return sorted([*talk.rows, *twice], key=lambda row: row["ts"])


def well_challenged() -> Rows:
    """Challenged as it should be; later refreshed with a nonce that is stale by then, again and again."""
    steps = [("", "401 Unauthorized", challenge("n0")), (credentials("n0"), "200 OK", "")]
    for i in range(5):
        steps.append((credentials(f"n{i}"), "401 Unauthorized", challenge(f"n{i + 1}", ", stale=true")))
        steps.append((credentials(f"n{i + 1}"), "200 OK", ""))
    return registering("well-challenged", steps).rows


def well_one_retransmission() -> Rows:
    talk = Talk("well-lost").say(0, UP, "INVITE", sdp=OFFER).say(0.5, UP, "INVITE", sdp=OFFER)
    talk.say(0.9, DOWN, "180 Ringing", to_tag="b").say(3, DOWN, "200 OK", to_tag="b", sdp=ANSWER)
    talk.say(3.5, DOWN, "200 OK", to_tag="b", sdp=ANSWER)
    talk.say(3.55, UP, "ACK", "2", to_tag="b", cseq="1 ACK")
    return talk.bye().rows


def well_refreshed() -> Rows:
    """The session is refreshed twice, and ended where an unrefreshed one would have been."""
    ok = "Session-Expires: 1800;refresher=uac\r\n"
    talk = Talk("well-refreshed").answered(ok=ok)
    for number, at in ((2, 900), (3, 1790)):
        talk.say(at, UP, "UPDATE", f"u{number}", cseq=f"{number} UPDATE", to_tag="b")
        talk.say(at + 0.1, DOWN, "200 OK", f"u{number}", cseq=f"{number} UPDATE", to_tag="b", extra=ok)
    return talk.bye(1775, cseq=4).rows


def well_private_network() -> Rows:
    """All addresses are private: nothing is between."""
    talk = Talk("well-private")
    there, back = "10.0.0.5:5060>10.0.0.9:5060", "10.0.0.9:5060>10.0.0.5:5060"
    talk.say(0, there, "INVITE", sdp=sdp("10.0.0.5"), extra="Contact: <sip:alice@10.0.0.5>\r\n")
    talk.say(1, back, "200 OK", to_tag="b", sdp=sdp("10.0.0.9"), extra="Contact: <sip:bob@10.0.0.9>\r\n")
    return talk.say(1.1, there, "ACK", "2", to_tag="b", cseq="1 ACK").rows


def well_held_and_taken_back() -> Rows:
    talk = Talk("well-held").answered()
    for number, way in ((2, "sendonly"), (3, "sendrecv")):
        back = "recvonly" if way == "sendonly" else "sendrecv"
        same = {"cseq": f"{number} INVITE", "to_tag": "b"}
        talk.say(10 * number, UP, "INVITE", f"h{number}", sdp=sdp(way=way), **same)
        talk.say(
            10 * number + 0.1, DOWN, "200 OK", f"h{number}", sdp=sdp("198.51.100.9", 16400, way=back), **same
        )
        talk.say(10 * number + 0.2, UP, "ACK", f"k{number}", cseq=f"{number} ACK", to_tag="b")
    return talk.bye(cseq=4).rows


def well_forked() -> Rows:
    """Two phones ring with media of their own; one answers, the other is cancelled."""
    talk = Talk("well-forked").say(0, UP, "INVITE", sdp=OFFER)
    gateway, from_gateway = f"{SBC}>{GATEWAY}", f"{GATEWAY}>{SBC}"
    talk.say(0.01, ON, "INVITE", "2", sdp=OFFER).say(0.02, gateway, "INVITE", "3", sdp=OFFER)
    one, two = sdp("198.51.100.9", 16400), sdp("203.0.113.5", 17000)
    talk.say(0.5, BACK, "183 Session Progress", "2", to_tag="p", sdp=one)
    talk.say(0.51, DOWN, "183 Session Progress", to_tag="p", sdp=one)
    talk.say(0.6, from_gateway, "183 Session Progress", "3", to_tag="g", sdp=two)
    talk.say(0.61, DOWN, "183 Session Progress", to_tag="g", sdp=two)
    talk.say(3, BACK, "200 OK", "2", to_tag="p", sdp=one).say(3.01, DOWN, "200 OK", to_tag="p", sdp=one)
    talk.say(3.02, gateway, "CANCEL", "3").say(3.03, from_gateway, "200 OK", "3", cseq="1 CANCEL", to_tag="g")
    talk.say(3.04, from_gateway, "487 Request Terminated", "3", to_tag="g")
    talk.say(3.05, gateway, "ACK", "3", cseq="1 ACK", to_tag="g")
    talk.say(3.1, UP, "ACK", "4", cseq="1 ACK", to_tag="p").say(
        3.11, ON, "ACK", "5", cseq="1 ACK", to_tag="p"
    )
    return talk.rows


def well_spiral() -> Rows:
    """The request passes the pbx twice, with another Request-URI: a spiral is no loop."""
    talk = Talk("well-spiral")
    uris = ("sip:bob@example.com", "sip:bob@desk.example.com")
    for number, uri in enumerate(uris):
        more = {"extra": f"Max-Forwards: {70 - number}\r\n", "ruri": uri}
        talk.say(number / 100, ON, "INVITE", str(number), sdp=OFFER, **more)
    rows = talk.rows
    rows[1]["payload"] = rows[1]["payload"].replace(
        b"INVITE sip:bob@example.com", b"INVITE sip:bob@desk.example.com"
    )
    for number in (1, 0):
        talk.say(2 - number / 100, BACK, "200 OK", str(number), to_tag="b", sdp=ANSWER)
        talk.say(2.2 - number / 100, ON, "ACK", f"a{number}", cseq="1 ACK", to_tag="b")
    return sorted(talk.rows, key=lambda row: row["ts"])


CLEAN: tuple[Callable[[], Rows], ...] = (
    well_plain,
    well_callee_hangs_up,
    well_through_a_proxy,
    well_challenged,
    well_one_retransmission,
    well_refreshed,
    well_private_network,
    well_held_and_taken_back,
    well_forked,
    well_spiral,
)
EVERY = (*WRONG, *CLEAN)


def call_id_of(scenario: Callable[[], Rows]) -> str:
    """Return the scenario's Call-ID."""
    return str(scenario()[0]["call_id"])
