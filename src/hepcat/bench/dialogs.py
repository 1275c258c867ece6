"""The dialogs of the load generator: what SIP user agents and proxies say to each other (RFC 3261).

In: nothing. Out: `MESSAGES`, each message's text with {fields}, and `SCENARIOS`, which message follows
which, in what direction and after how long. The fields' meaning is in hepcat.bench.agents.
"""

from dataclasses import dataclass
from typing import Final

UP, DOWN, ON, BACK = range(4)  # caller to proxy, proxy to caller, proxy to callee, callee to proxy


@dataclass(frozen=True, slots=True)
class Message:
    """One message: the method of its CSeq, the status of a response (0: a request), and the text."""

    method: str
    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A message of a scenario: its name in MESSAGES, its way, and the mean seconds since the last one."""

    message: str
    way: int
    delay: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of dialog; `weight` is its share of all dialogs."""

    name: str
    weight: float
    steps: tuple[Step, ...]


_CALLER: Final = "{a_name}<sip:{a_user}@{domain}>;tag={ftag}"
_CALLEE: Final = "<sip:{b_user}@{domain}>"
_TAGGED: Final = _CALLEE + ";tag={ttag}"
_VIA: Final = "Via: SIP/2.0/UDP {a_ip}:{a_port};branch=z9hG4bK{%s};rport\n"
_VIA_SEEN: Final = "Via: SIP/2.0/UDP {a_ip}:{a_port};received={a_host};branch=z9hG4bK{%s};rport={a_port}\n"
_VIA_PROXY: Final = "Via: SIP/2.0/UDP {p_ip};branch=z9hG4bK{proxy_%s}.0\n"
_VIA_CALLEE: Final = "Via: SIP/2.0/UDP {b_ip}:{b_port};branch=z9hG4bK{callee_%s};rport\n"
_ROUTE: Final = "Record-Route: <sip:{p_ip};lr=on>\n"
_CONTACT: Final = "Contact: <sip:{a_user}@{a_ip}:{a_port}>\n"
_CONTACT_CALLEE: Final = "Contact: <sip:{b_user}@{b_ip}:{b_port}>\n"
_DIGEST: Final = (
    'Digest username="{a_user}", realm="{domain}", nonce="{nonce}", uri="sip:{domain}", '
    'response="{response}", algorithm=MD5, cnonce="{cnonce}", qop=auth, nc=00000001\n'
)
_CHALLENGE: Final = 'Digest realm="{domain}", nonce="{nonce}", algorithm=MD5, qop="auth"\n'
_END: Final = "Content-Length: 0\n\n"
_SDP: Final = "Content-Type: application/sdp\nContent-Length: {body_length}\n\n"


def _middle(to: str, cseq: str, method: str) -> str:
    return f"From: {_CALLER}\nTo: {to}\nCall-ID: {{call_id}}\nCSeq: {{{cseq}}} {method}\n"


def _request(
    method: str,
    branch: str,
    cseq: str,
    *,
    way: int = UP,
    uri: str = "sip:{b_user}@{domain}",
    to: str = _CALLEE,
    headers: str = "",
    end: str = _END,
) -> Message:
    """A request of the caller's, as the proxy receives it (UP) or sends it on (ON)."""
    via = _VIA % branch if way == UP else _VIA_PROXY % branch + _VIA_SEEN % branch + _ROUTE
    if to == _TAGGED and way == UP:  # within the dialog: by the proxy that recorded its route
        via += "Route: <sip:{p_ip};lr=on>\n"
    forwards = "70" if way == UP else "69"
    text = f"{method} {uri} SIP/2.0\n{via}Max-Forwards: {forwards}\n{_middle(to, cseq, method)}{headers}{end}"
    return Message(method, 0, text.replace("\n", "\r\n"))


def _response(
    status: int,
    phrase: str,
    method: str,
    branch: str,
    cseq: str,
    *,
    way: int = DOWN,
    to: str = _TAGGED,
    headers: str = "",
    end: str = _END,
) -> Message:
    """A response to the caller, as the callee sends it (BACK) or the proxy passes it on (DOWN)."""
    via = (_VIA_PROXY % branch if way == BACK else "") + _VIA_SEEN % branch
    text = f"SIP/2.0 {status} {phrase}\n{via}{_middle(to, cseq, method)}{headers}{end}"
    return Message(method, status, text.replace("\n", "\r\n"))


def _callee_bye(status: int) -> Message:
    """The callee hangs up: From and To change places, and the CSeq is the callee's own."""
    via = _VIA_PROXY % "br5" + _VIA_CALLEE % "br5"
    start = f"SIP/2.0 {status} OK\n" if status else "BYE sip:{a_user}@{a_ip}:{a_port} SIP/2.0\n"
    headers = "Server: {agent}\n" if status else "User-Agent: {callee_agent}\nReason: Q.850;cause=16\n"
    text = (
        f"{start}{via}{'' if status else 'Max-Forwards: 69' + chr(10)}"
        f"From: {_CALLEE};tag={{ttag}}\nTo: {_CALLER}\nCall-ID: {{call_id}}\nCSeq: {{cseq_callee}} BYE\n"
        f"{headers}{_METHODS}{_END}"
    )
    return Message("BYE", status, text.replace("\n", "\r\n"))


_AGENT: Final = "User-Agent: {agent}\n"
_SERVER: Final = "Server: {proxy_agent}\n"
_METHODS: Final = (
    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE\nSupported: replaces\n"
)
_CALLEE_AGENT: Final = "User-Agent: {callee_agent}\n"
_OFFER: Final = (_CONTACT + _AGENT + "{invite_headers}", _SDP + "{offer}")
_ANSWER: Final = (_ROUTE + _CONTACT_CALLEE + _CALLEE_AGENT + "{answer_headers}", _SDP + "{answer}")
_TARGET: Final = "sip:{b_user}@{b_ip}:{b_port}"
_SELF: Final = "<sip:{a_user}@{domain}>"
_BINDING: Final = (
    "Contact: <sip:{a_user}@{a_ip}:{a_port}>;expires=600\nExpires: 600\n" + _AGENT + "{register_headers}"
)
_ALLOW: Final = "Accept: application/sdp\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO\n"


def _messages() -> dict[str, Message]:
    """Write every message once."""
    m: dict[str, Message] = {}
    for way, mark in ((UP, ""), (ON, " on")):
        m["invite" + mark] = _request("INVITE", "br0", "cseq", way=way, headers=_OFFER[0], end=_OFFER[1])
        m["ack" + mark] = _request(
            "ACK", "br2", "cseq", way=way, uri=_TARGET, to=_TAGGED, headers=_CONTACT + _AGENT
        )
        m["bye" + mark] = _request(
            "BYE", "br3", "cseq1", way=way, uri=_TARGET, to=_TAGGED, headers=_AGENT + _METHODS
        )
    for way, mark in ((DOWN, ""), (BACK, " back")):
        m["ringing" + mark] = _response(
            180,
            "Ringing",
            "INVITE",
            "br0",
            "cseq",
            way=way,
            headers=_ROUTE + _CONTACT_CALLEE + _CALLEE_AGENT + _METHODS,
        )
        m["ok" + mark] = _response(
            200, "OK", "INVITE", "br0", "cseq", way=way, headers=_ANSWER[0], end=_ANSWER[1]
        )
        m["bye ok" + mark] = _response(
            200, "OK", "BYE", "br3", "cseq1", way=way, headers=_CALLEE_AGENT + _METHODS
        )
    m["trying"] = _response(100, "trying -- your call is important to us", "INVITE", "br0", "cseq",
                            to=_CALLEE, headers=_SERVER)  # fmt: skip
    m["progress"] = _response(
        183, "Session Progress", "INVITE", "br0", "cseq", headers=_ANSWER[0], end=_ANSWER[1]
    )
    m["callee bye"], m["callee bye ok"] = _callee_bye(0), _callee_bye(200)
    finals = {486: "Busy Here", 404: "Not Found", 503: "Service Unavailable", 603: "Decline",
              480: "Temporarily Unavailable", 487: "Request Terminated"}  # fmt: skip
    for status, phrase in finals.items():
        reason = "Reason: Q.850;cause=17\n" if status == 486 else ""
        m[str(status)] = _response(status, phrase, "INVITE", "br0", "cseq", headers=_SERVER + reason)
    m["nack"] = _request("ACK", "br0", "cseq", to=_TAGGED, headers=_AGENT + _METHODS)
    m["cancel"] = _request("CANCEL", "br0", "cseq", headers=_AGENT)
    m["cancel ok"] = _response(200, "canceling", "CANCEL", "br0", "cseq", headers=_SERVER)
    m["407"] = _response(407, "Proxy Authentication Required", "INVITE", "br0", "cseq",
                         headers="Proxy-Authenticate: " + _CHALLENGE + _SERVER)  # fmt: skip
    m["invite auth"] = _request("INVITE", "br1", "cseq1", headers="Proxy-Authorization: " + _DIGEST
                                + _OFFER[0], end=_OFFER[1])  # fmt: skip
    m["trying auth"] = _response(100, "trying -- your call is important to us", "INVITE", "br1", "cseq1",
                                 to=_CALLEE, headers=_SERVER)  # fmt: skip
    m["ringing auth"] = _response(180, "Ringing", "INVITE", "br1", "cseq1",
                                  headers=_ROUTE + _CONTACT_CALLEE + _CALLEE_AGENT + _METHODS)  # fmt: skip
    m["ok auth"] = _response(200, "OK", "INVITE", "br1", "cseq1", headers=_ANSWER[0], end=_ANSWER[1])
    m["ack auth"] = _request("ACK", "br2", "cseq1", uri=_TARGET, to=_TAGGED, headers=_CONTACT + _AGENT)
    m["bye auth"] = _request("BYE", "br3", "cseq2", uri=_TARGET, to=_TAGGED, headers=_AGENT + _METHODS)
    m["bye auth ok"] = _response(200, "OK", "BYE", "br3", "cseq2", headers=_CALLEE_AGENT + _METHODS)
    m["register"] = _request("REGISTER", "br0", "cseq", uri="sip:{domain}", to=_SELF, headers=_BINDING)
    m["401"] = _response(401, "Unauthorized", "REGISTER", "br0", "cseq", to=_SELF + ";tag={ttag}",
                         headers="WWW-Authenticate: " + _CHALLENGE + _SERVER)  # fmt: skip
    m["register auth"] = _request("REGISTER", "br1", "cseq1", uri="sip:{domain}", to=_SELF,
                                  headers="Authorization: " + _DIGEST + _BINDING)  # fmt: skip
    bound = 'Contact: <sip:{a_user}@{a_ip}:{a_port}>;expires=600;received="sip:{a_ip}:{a_port}"\n' + _SERVER
    for mark, branch, cseq in (("", "br0", "cseq"), (" auth", "br1", "cseq1")):
        m["registered" + mark] = _response(200, "OK", "REGISTER", branch, cseq, headers=bound,
                                           to=_SELF + ";tag={ttag2}")  # fmt: skip
    m["options"] = _request("OPTIONS", "br0", "cseq", uri="sip:{domain}", headers=_CONTACT + _AGENT + _ALLOW)
    m["options ok"] = _response(200, "OK", "OPTIONS", "br0", "cseq", headers=_SERVER + _ALLOW)
    return m


MESSAGES: Final = _messages()


def _scenario(name: str, weight: float, *steps: tuple[str, int, float]) -> Scenario:
    return Scenario(name, weight, tuple(Step(*step) for step in steps))


_RING: Final = (("invite", UP, 0.0), ("trying", DOWN, 0.004), ("ringing", DOWN, 0.9))
_TALK: Final = (("ok", DOWN, 6.0), ("ack", UP, 0.05))

#: Shares as in a network of desk phones and a few trunks: half of the dialogs are calls.
SCENARIOS: Final[tuple[Scenario, ...]] = (
    _scenario("answered", 13, *_RING, *_TALK, ("bye", UP, 60.0), ("bye ok", DOWN, 0.03)),
    _scenario("answered, callee hangs up", 7, *_RING, *_TALK, ("callee bye", DOWN, 60.0),
              ("callee bye ok", UP, 0.03)),
    _scenario("early media", 3, _RING[0], _RING[1], ("progress", DOWN, 1.2), *_TALK, ("bye", UP, 40.0),
              ("bye ok", DOWN, 0.03)),
    _scenario("both sides of the proxy", 6, ("invite", UP, 0.0), ("trying", DOWN, 0.002),
              ("invite on", ON, 0.003), ("ringing back", BACK, 0.8), ("ringing", DOWN, 0.001),
              ("ok back", BACK, 6.0), ("ok", DOWN, 0.001), ("ack", UP, 0.05), ("ack on", ON, 0.001),
              ("bye", UP, 60.0), ("bye on", ON, 0.001), ("bye ok back", BACK, 0.03),
              ("bye ok", DOWN, 0.001)),
    _scenario("authenticated", 8, ("invite", UP, 0.0), ("407", DOWN, 0.004), ("nack", UP, 0.03),
              ("invite auth", UP, 0.02), ("trying auth", DOWN, 0.004), ("ringing auth", DOWN, 0.9),
              ("ok auth", DOWN, 6.0), ("ack auth", UP, 0.05), ("bye auth", UP, 60.0),
              ("bye auth ok", DOWN, 0.03)),
    _scenario("retransmitted", 3, ("invite", UP, 0.0), ("invite", UP, 0.5), ("trying", DOWN, 0.1),
              ("ringing", DOWN, 0.9), ("ok", DOWN, 6.0), ("ok", DOWN, 0.5), ("ack", UP, 0.05),
              ("bye", UP, 60.0), ("bye", UP, 0.5), ("bye ok", DOWN, 0.03)),
    _scenario("busy", 4, _RING[0], _RING[1], ("486", DOWN, 0.8), ("nack", UP, 0.03)),
    _scenario("not found", 2, _RING[0], _RING[1], ("404", DOWN, 0.05), ("nack", UP, 0.03)),
    _scenario("unavailable", 2, _RING[0], _RING[1], ("503", DOWN, 0.2), ("nack", UP, 0.03)),
    _scenario("declined", 2, *_RING, ("603", DOWN, 4.0), ("nack", UP, 0.03)),
    _scenario("nobody there", 2, *_RING, ("480", DOWN, 30.0), ("nack", UP, 0.03)),
    _scenario("cancelled", 6, *_RING, ("cancel", UP, 12.0), ("cancel ok", DOWN, 0.01),
              ("487", DOWN, 0.02), ("nack", UP, 0.03)),
    _scenario("registration", 17, ("register", UP, 0.0), ("401", DOWN, 0.01), ("register auth", UP, 0.03),
              ("registered auth", DOWN, 0.01)),
    _scenario("registration kept", 8, ("register", UP, 0.0), ("registered", DOWN, 0.01)),
    _scenario("options", 17, ("options", UP, 0.0), ("options ok", DOWN, 0.02)),
)  # fmt: skip
