"""SIP messages and the columns that must come of them; each rule of the SIP index has a vector.

A vector is (name, octets, expected): columns that are not named must be null (or 0, or no flag).
`basic` gives the columns that most vectors share, so that each shows what is special about it.
"""

from typing import Any

from hepcat.batch.schema import (
    FLAG_FOLDED,
    FLAG_KEEPALIVE,
    FLAG_NOT_SIP,
    FLAG_REQUEST,
    FLAG_RESPONSE,
    FLAG_STUN,
)

Columns = dict[str, Any]
HEAD = (
    "Via: SIP/2.0/UDP h.example:5060;branch=z9hG4bK1",
    "From: <sip:a@x.example>;tag=1",
    "To: <sip:b@y.example>",
    "Call-ID: c@h",
    "CSeq: 7 OPTIONS",
)
NAMES = ("Via", "From", "To", "Call-ID", "CSeq")


def message(
    *headers: str, start: str = "OPTIONS sip:b@y.example SIP/2.0", body: str = "", **instead: str
) -> bytes:
    """Put a message together: the five headers that must be, `instead` for some of them, and more."""
    lines = [start]
    for name, line in zip(NAMES, HEAD, strict=True):
        line = instead.get(name.replace("-", "_"), line)
        if line:
            lines.append(line)
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n" + body).encode("latin-1")


def basic(**changes: Any) -> Columns:
    """Return the columns of `message()`, changed; None takes a column out."""
    columns: Columns = {
        "method": b"OPTIONS",
        "ruri": b"sip:b@y.example",
        "ruri_user": b"b",
        "ruri_domain": b"y.example",
        "from_user": b"a",
        "from_domain": b"x.example",
        "from_tag": b"1",
        "to_user": b"b",
        "to_domain": b"y.example",
        "call_id": b"c@h",
        "cseq": b"7 OPTIONS",
        "via_1": b"SIP/2.0/UDP h.example:5060;branch=z9hG4bK1",
        "via_1_branch": b"z9hG4bK1",
        "flags": FLAG_REQUEST,
    }
    columns.update(changes)
    return {name: value for name, value in columns.items() if value is not None}


NO_RURI: Columns = {"ruri": None, "ruri_user": None, "ruri_domain": None}


def reply(**changes: Any) -> Columns:
    """Return the columns of the same message as a 200 response, changed."""
    return basic(**{**NO_RURI, "status": 200, "reason_phrase": b"OK", "flags": FLAG_RESPONSE, **changes})


def contact(value: str) -> bytes:
    return message(f"Contact: {value}")


def party(value: str) -> bytes:
    return message(From=f"From: {value}")


def uri(value: str) -> bytes:
    return message(start=f"OPTIONS {value} SIP/2.0")


INVITE = message(
    "Max-Forwards: 70",
    'Contact: "A, B" <sip:alice@192.0.2.1:5062;transport=udp>;expires=60, <sip:other@192.0.2.2>',
    "User-Agent: Test UA 1.0",
    "P-Preferred-Identity: <sip:preferred@x.example>",
    'P-Asserted-Identity: "Alice" <sip:+4930123@x.example;user=phone>',
    "Remote-Party-ID: <sip:remote@x.example>;party=calling",
    'Authorization: Digest realm="r, username=\\"no\\"", username="second@r", uri="sip:y"',
    'Proxy-Authorization: Digest username="first@realm", realm="r", nonce="n"',
    "Diversion: <sip:d@x.example;a=1,2>;reason=no-answer, <sip:e@x.example>",
    'Reason: SIP;cause=200;text="Call completed, elsewhere"',
    "X-CID: other-leg",
    "X-RTP-Stat: plain",
    "P-RTP-Stat: later",
    "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=0",
    "Expires: 3600",
    "Content-Type: application/sdp",
    "Content-Length: 5",
    body="v=0\r\n",
)
EVERYTHING: Columns = {
    "contact_user": b"alice",
    "contact_ip": b"192.0.2.1",
    "contact_port": 5062,
    "user_agent": b"Test UA 1.0",
    "pid_user": b"+4930123",
    "auth_user": b"first",
    "diversion": b"<sip:d@x.example;a=1,2>;reason=no-answer",
    "reason": b'SIP;cause=200;text="Call completed, elsewhere"',
    "call_id_aleg": b"other-leg",
    "rtp_stat": b"plain",
    "session_id": b"ab30317f1a784dc48ff824d0d3715d86;remote=0",
    "expires": 3600,
    "content_type": b"application/sdp",
    "body": b"v=0\r\n",
}

#: Start lines, line ends, what is not SIP.
LINES: list[tuple[str, bytes, Columns]] = [
    ("request", message(), basic()),
    ("everything", INVITE, basic(**EVERYTHING)),
    ("response", message(start="SIP/2.0 200 OK"), reply()),
    ("response, any case", message(start="sip/2.0 200 OK"), reply()),
    (
        "response, phrase of words",
        message(start="SIP/2.0 486 Busy  here "),
        reply(status=486, reason_phrase=b"Busy  here"),
    ),
    ("response, no phrase", message(start="SIP/2.0 200 "), reply(reason_phrase=None)),
    ("response, no space", message(start="SIP/2.0 200"), reply(reason_phrase=None)),
    (
        "status too long",
        message(start="SIP/2.0 4294967301 X"),
        reply(status=None, reason_phrase=b"X", malformed="start_line"),
    ),
    (
        "status below 100",
        message(start="SIP/2.0 099 X"),
        reply(status=None, reason_phrase=b"X", malformed="start_line"),
    ),
    ("leading CRLF", b"\r\n\r\n" + message(), basic()),
    ("leading NUL", b"\0\0" + message(), basic(malformed="start_line")),
    ("LF line ends", message(body="x\ny").replace(b"\r\n", b"\n"), basic(body=b"x\ny")),
    ("CR line ends", message(body="x\ry").replace(b"\r\n", b"\r"), basic(body=b"x\ry")),
    ("lone CR within a value", message("Subject: a\rb"), basic()),
    ("version in small letters", message(start="OPTIONS sip:b@y.example sip/2.0"), basic()),
    ("two spaces", message(start="OPTIONS  sip:b@y.example  SIP/2.0"), basic(malformed="start_line")),
    ("space behind", message(start="OPTIONS sip:b@y.example SIP/2.0 "), basic(malformed="start_line")),
    ("no URI", message(start="OPTIONS  SIP/2.0"), basic(**NO_RURI, malformed="start_line")),
    (
        "own method",
        message(start="!interesting-Method0 sip:b@y.example SIP/2.0", CSeq="CSeq: 7 !interesting-Method0"),
        basic(method=b"!interesting-Method0", cseq=b"7 !interesting-Method0"),
    ),
    ("junk before", b"junk \x80\x01\r\nmore: junk\r\n" + message(), basic(malformed="start_line")),
    ("CRLF keep-alive", b"\r\n\r\n", {"flags": FLAG_KEEPALIVE}),
    ("NUL keep-alive", b"\0\0\0\0", {"flags": FLAG_KEEPALIVE}),
    ("empty", b"", {"flags": FLAG_KEEPALIVE}),
    ("STUN", b"\0\x01\0\x08\x21\x12\xa4\x42" + bytes(12) + b"\x80\x22\0\4test", {"flags": FLAG_STUN}),
    (
        "STUN, too short",
        b"\0\x01\0\x08\x21\x12\xa4\x42" + bytes(12),
        {"flags": FLAG_NOT_SIP, "malformed": "start_line"},
    ),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", {"flags": FLAG_NOT_SIP, "malformed": "start_line"}),
    (
        "headers only",
        message()[len("OPTIONS sip:b@y.example SIP/2.0\r\n") :],
        basic(**NO_RURI, flags=FLAG_NOT_SIP, malformed="start_line"),
    ),
    ("RTP", b"\x80\x00" + bytes(range(40)), {"flags": FLAG_NOT_SIP, "malformed": "start_line"}),
]

#: Header lines: their forms, their end, the body.
HEADERS: list[tuple[str, bytes, Columns]] = [
    (
        "compact",
        message(
            "m: <sip:c@d>",
            "c: text/plain",
            "l: 1",
            Via="v: SIP/2.0/TCP h;branch=b",
            From="f: <sip:a@x.example>;tag=1",
            To="t: <sip:b@y.example>",
            Call_ID="i: c@h",
            body="xyz",
        ),
        basic(
            via_1=b"SIP/2.0/TCP h;branch=b",
            via_1_branch=b"b",
            contact_user=b"c",
            contact_ip=b"d",
            content_type=b"text/plain",
            body=b"x",
        ),
    ),
    ("any case", message(From="fRoM: <SIP:a@x.example>;TAG=1", Call_ID="CALL-id:c@h"), basic()),
    ("space before colon", message(From="From \t : <sip:a@x.example>;tag=1", Call_ID="i  :  c@h  "), basic()),
    (
        "folded",
        message(
            "Subject: one\r\n two",
            Via="Via: SIP/2.0/UDP h.example:5060\r\n\t;branch\r\n  =\r\n z9hG4bK1",
            From="From:\r\n <sip:a@x.example>\r\n ; tag = 1",
        ),
        basic(
            via_1=b"SIP/2.0/UDP h.example:5060\r\n\t;branch\r\n  =\r\n z9hG4bK1",
            flags=FLAG_REQUEST | FLAG_FOLDED,
        ),
    ),
    ("folded, none in a slice", message(From="From:\r\n <sip:a@x.example>\r\n ;tag=1"), basic()),
    (
        "folded before the end",
        message("User-Agent: a", "\t", " b"),
        basic(user_agent=b"a\r\n\t\r\n b", flags=FLAG_REQUEST | FLAG_FOLDED),
    ),
    (
        "values in lines",
        message(
            "Via: SIP/2.0/UDP second",
            "Contact: <sip:c1@d>",
            "Contact: <sip:c2@d>",
            Via='Via: SIP/2.0/UDP h;x="a,b";branch=1 , SIP/2.0/UDP g;branch=2',
        ),
        basic(
            via_1=b'SIP/2.0/UDP h;x="a,b";branch=1', via_1_branch=b"1", contact_user=b"c1", contact_ip=b"d"
        ),
    ),
    (
        "branch of the second Via",
        message(Via="Via: SIP/2.0/UDP h, SIP/2.0/UDP g;branch=2"),
        basic(via_1=b"SIP/2.0/UDP h", via_1_branch=None),
    ),
    (
        "branchless names",
        message(Via="Via: SIP/2.0/UDP h;xbranch=1;branchx=2;BRANCH = 3"),
        basic(via_1=b"SIP/2.0/UDP h;xbranch=1;branchx=2;BRANCH = 3", via_1_branch=b"3"),
    ),
    ("Server", message("Server: S", start="SIP/2.0 200 OK"), reply(user_agent=b"S")),
    ("Server first", message("Server: S", "User-Agent: U"), basic(user_agent=b"U")),
    ("empty value", message("User-Agent:", "Server: S", "Reason: "), basic(user_agent=b"S")),
    (
        "rtp statistics",
        message("RTP-RxStat: 3", "X-NG-RTP-Stats: 2", "x-siemens-rtp-stats: 1"),
        basic(rtp_stat=b"1"),
    ),
    ("no colon", message("Nonsense"), basic(malformed="header_line")),
    ("bad name", message("Bad name: x"), basic(malformed="header_line")),
    ("empty name", message(": x"), basic(malformed="header_line")),
    (
        "first header folded",
        message().replace(b"SIP/2.0\r\nVia", b"SIP/2.0\r\n Via", 1),
        basic(via_1=None, via_1_branch=None, malformed="header_line"),
    ),
    ("no empty line", message()[:-2], basic(malformed="no_header_end")),
    ("no empty line, lone CR", message()[:-1], basic(malformed="no_header_end")),
    (
        "cut within a header",
        message("User-Agent: Te")[:-4],
        basic(user_agent=b"Te", malformed="no_header_end"),
    ),
    ("256 headers", message(*["X: y"] * 251), basic()),
    ("257 headers", message(*["X: y"] * 252, body="x"), basic(malformed="too_many_headers")),
    ("no Call-ID", message(Call_ID=""), basic(call_id=None, malformed="call_id_missing")),
    ("no CSeq", message(CSeq=""), basic(cseq=None, malformed="cseq_missing")),
    (
        "no CSeq in a response",
        message(CSeq="", start="SIP/2.0 200 OK"),
        reply(cseq=None, method=None, malformed="cseq_missing"),
    ),
    ("CSeq of another", message(CSeq="CSeq: 7 INVITE"), basic(cseq=b"7 INVITE", malformed="cseq")),
    ("CSeq in small letters", message(CSeq="CSeq: 7 options"), basic(cseq=b"7 options", malformed="cseq")),
    (
        "CSeq without method",
        message(CSeq="CSeq: 7", start="SIP/2.0 200 OK"),
        reply(cseq=b"7", method=None, malformed="cseq"),
    ),
    (
        "CSeq of 33 bits",
        message(CSeq="CSeq: 4294967296 OPTIONS"),
        basic(cseq=b"4294967296 OPTIONS", malformed="cseq"),
    ),
    ("CSeq with spaces", message(CSeq="CSeq: 0007\t OPTIONS"), basic(cseq=b"0007\t OPTIONS")),
    (
        "no From",
        message(From=""),
        basic(from_user=None, from_domain=None, from_tag=None, malformed="from_missing"),
    ),
    ("no To", message(To=""), basic(to_user=None, to_domain=None, malformed="to_missing")),
    ("no Via", message(Via=""), basic(via_1=None, via_1_branch=None, malformed="via_missing")),
    (
        "no Via, no Call-ID",
        message(Via="", Call_ID=""),
        basic(via_1=None, via_1_branch=None, call_id=None, malformed="call_id_missing"),
    ),
    ("body without length", message(body="rest"), basic(body=b"rest")),
    ("body cut", message("Content-Length: 2", body="rest"), basic(body=b"re")),
    ("body none", message("Content-Length: 0", body="rest"), basic()),
    ("body short", message("Content-Length: 9", body="rest"), basic(body=b"rest", malformed="body_short")),
    (
        "length huge",
        message("Content-Length: 99999999999999999999999", body="rest"),
        basic(body=b"rest", malformed="body_short"),
    ),
    (
        "length negative",
        message("Content-Length: -1", body="rest"),
        basic(body=b"rest", malformed="content_length"),
    ),
    ("length twice", message("l: 4", "Content-Length: 4", body="rest"), basic(body=b"rest")),
    (
        "lengths differ",
        message("l: 2", "Content-Length: 4", body="rest"),
        basic(body=b"re", malformed="content_length"),
    ),
    ("expires, 33 bits", message("Expires: 4294967296"), basic(expires=4294967294)),
    ("expires, all ones", message("Expires: 4294967295"), basic(expires=4294967294)),
    ("expires, zero", message("Expires: 0"), basic(expires=0)),
    ("expires, garbage", message("Expires: 5 min"), basic()),
]

#: Addresses, URIs, credentials.
VALUES: list[tuple[str, bytes, Columns]] = [
    ("addr-spec", party("sip:a@x.example;tag=1"), basic()),
    ("addr-spec, port", party("sip:a@x.example:5070 ;tag=1"), basic()),
    ("display name", party("Alice Jones <sip:a@x.example>;tag=1"), basic()),
    ("display name with comma", party("Jones, Alice; <sip:a@x.example>;tag=1"), basic()),
    ("quoted", party('"A \\" <sip:no@no>;tag=0 \\\\" <sip:a@x.example;tag=0>;x="y;tag=2";tag=1'), basic()),
    ("quote not closed", party('"A <sip:a@x.example>;tag=1'), basic(malformed="uri")),
    ("bracket not closed", party("<sip:a@x.example"), basic(from_tag=None, malformed="uri")),
    ("spaces", party("< sip:a@x.example > ; x ; tag = 1 ; y"), basic()),
    ("tag in quotes", party('<sip:a@x.example>;tag="1"'), basic()),
    ("tag empty", party("<sip:a@x.example>;tag="), basic(from_tag=None)),
    ("tag not closed", party('<sip:a@x.example>;tag="1'), basic()),
    ("marks in <>", party("<sip:a;x,y?z@x.example;p=1,2;tag=9?h=a,b>;tag=1"), basic(from_user=b"a;x,y?z")),
    ("password", party("<sip:a:secret@x.example>;tag=1"), basic()),
    (
        "user parameter",
        party("<sip:+1;phone-context=x@x.example>;tag=1"),
        basic(from_user=b"+1;phone-context=x"),
    ),
    ("no user", party("<sip:x.example>;tag=1"), basic(from_user=None)),
    ("empty user", party("<sip:@x.example>;tag=1"), basic(from_user=None, malformed="uri")),
    ("sips", party("<sips:a@x.example>;tag=1"), basic()),
    (
        "tel",
        party("<tel:+1-201-555;phone-context=x>;tag=1"),
        basic(from_user=b"+1-201-555", from_domain=None),
    ),
    ("tel, addr-spec", party("tel:+1-201-555;tag=1"), basic(from_user=b"+1-201-555", from_domain=None)),
    ("IPv6", party("<sip:a@[2001:db8::1]:5060;x>;tag=1"), basic(from_domain=b"[2001:db8::1]")),
    ("IPv6 not closed", party("<sip:a@[2001:db8::1>;tag=1"), basic(from_domain=None, malformed="uri")),
    ("other scheme", party("<urn:service:sos>;tag=1"), basic(from_user=None, from_domain=None)),
    ("no scheme", party("<a@x.example>;tag=1"), basic(from_user=None, from_domain=None, malformed="uri")),
    ("no host", party("<sip:a@>;tag=1"), basic(from_domain=None, malformed="uri")),
    ("two at", party("<sip:a@x.example@z>;tag=1"), basic(malformed="uri")),
    ("port too high", party("<sip:a@x.example:65536>;tag=1"), basic(malformed="uri")),
    ("empty From", party(""), basic(from_user=None, from_domain=None, from_tag=None, malformed="uri")),
    ("To tag", message(To="To: <sip:b@y.example>;TAG=zz;x=y", start="SIP/2.0 200 OK"), reply(to_tag=b"zz")),
    (
        "URI with port",
        uri("sip:b@y.example:5080;transport=tcp?x=y"),
        basic(ruri=b"sip:b@y.example:5080;transport=tcp?x=y"),
    ),
    ("URI without user", uri("sip:y.example;lr"), basic(ruri=b"sip:y.example;lr", ruri_user=None)),
    ("URI tel", uri("tel:911"), basic(ruri=b"tel:911", ruri_user=b"911", ruri_domain=None)),
    ("URI urn", uri("urn:service:sos"), basic(ruri=b"urn:service:sos", ruri_user=None, ruri_domain=None)),
    (
        "URI in brackets",
        uri("<sip:b@y.example>"),
        basic(ruri=b"<sip:b@y.example>", ruri_user=None, ruri_domain=None, malformed="uri"),
    ),
    ("URI with space", uri("sip:b@y.example; lr"), basic(ruri=b"sip:b@y.example; lr", malformed="uri")),
    ("contact *", contact("*"), basic(contact_user=b"*")),
    (
        "contact addr-spec",
        contact("sip:c@192.0.2.9:5070;expires=1, sip:no@no"),
        basic(contact_user=b"c", contact_ip=b"192.0.2.9", contact_port=5070),
    ),
    ("contact two addr-specs", contact("sip:c@d,sip:no@no"), basic(contact_user=b"c", contact_ip=b"d")),
    (
        "contact IPv6",
        contact("<sip:c@[2001:db8::9]:5071>"),
        basic(contact_user=b"c", contact_ip=b"2001:db8::9", contact_port=5071),
    ),
    ("contact wrong", contact("<nothing>"), basic()),
    ("contact port wrong", contact("<sip:c@d:x>"), basic(contact_user=b"c", contact_ip=b"d")),
    (
        "identity, preferred",
        message("Remote-Party-ID: <sip:r@x>", "P-Preferred-Identity: <tel:+49>"),
        basic(pid_user=b"+49"),
    ),
    ("identity, remote", message("Remote-Party-ID: <sip:r@x>"), basic(pid_user=b"r")),
    (
        "credentials",
        message('Authorization: Digest realm="x,username=no" , USERNAME = "u\\"v" ,nonce="n"'),
        basic(auth_user=b'u\\"v'),
    ),
    (
        "credentials, no quotes",
        message("Authorization: Digest username=bob@x,realm=x"),
        basic(auth_user=b"bob"),
    ),
    ("credentials, empty", message('Authorization: Digest username="", realm="x"'), basic()),
    ("credentials, not closed", message('Authorization: Digest username="bob'), basic(auth_user=b"bob")),
    ("credentials, none", message('Authorization: Digest realm="username=x'), basic()),
]

VECTORS = [*LINES, *HEADERS, *VALUES]
