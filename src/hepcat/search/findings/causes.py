"""Reasons in words: what a message gives as its reason, and what to check for a status.

In: headers of a message. Out: sentences, safe to show. What can go wrong: nothing; what cannot be read is
left out.
"""

from collections.abc import Iterator
from typing import Final

from hepcat.search.findings.headers import Headers, number, parameters, split_quoted
from hepcat.search.render.escape import safe_line

#: Values of one header that are put into words.
_MOST: Final = 3
_QUOTED: Final = 80

#: Causes of ITU-T Q.850 (05/2018), table 1.
Q850: Final[dict[int, str]] = {
    1: "unallocated number",
    2: "no route to the transit network",
    3: "no route to the destination",
    4: "send special information tone",
    5: "misdialled trunk prefix",
    6: "channel unacceptable",
    7: "call awarded in an established channel",
    8: "preemption",
    14: "query on release: ported number",
    16: "normal call clearing",
    17: "user busy",
    18: "no user responding",
    19: "alerted, but no answer",
    20: "subscriber absent",
    21: "call rejected",
    22: "number changed",
    23: "redirected to a new destination",
    25: "exchange routing error",
    26: "non-selected user clearing",
    27: "destination out of order",
    28: "invalid number format",
    29: "facility rejected",
    30: "response to STATUS ENQUIRY",
    31: "normal, unspecified",
    34: "no circuit or channel available",
    38: "network out of order",
    41: "temporary failure",
    42: "switching equipment congestion",
    43: "access information discarded",
    44: "requested circuit not available",
    46: "precedence call blocked",
    47: "resource unavailable",
    49: "quality of service not available",
    50: "facility not subscribed",
    52: "outgoing calls barred",
    53: "outgoing calls barred within the group",
    54: "incoming calls barred",
    55: "incoming calls barred within the group",
    57: "bearer capability not authorized",
    58: "bearer capability not available now",
    62: "inconsistency in access information",
    63: "service or option not available",
    65: "bearer capability not implemented",
    66: "channel type not implemented",
    69: "facility not implemented",
    70: "only restricted digital information",
    79: "service or option not implemented",
    81: "invalid call reference",
    82: "channel does not exist",
    87: "user not in the group",
    88: "incompatible destination",
    90: "group does not exist",
    91: "invalid transit network",
    95: "invalid message",
    96: "mandatory element missing",
    97: "message type not implemented",
    98: "message not compatible with the state",
    99: "element not implemented",
    100: "invalid element contents",
    101: "message not compatible with the state",
    102: "recovery on timer expiry",
    103: "parameter not implemented",
    110: "message with unknown parameter discarded",
    111: "protocol error",
    127: "interworking, unspecified",
}
#: Causes of a call that ended as it should.
NORMAL_CAUSES: Final = frozenset({16, 31})

#: What to check for a status (RFC 3261 section 21, RFC 8688, RFC 8197, RFC 4028, RFC 4412, RFC 4474).
CHECKS: Final[dict[int, str]] = {
    400: "Check the request's syntax: the phrase or a Warning header often names the header.",
    403: "Check the account, its password, and whether this caller may call this number from this address.",
    404: "Check the number and its routing: the server knows no such user.",
    405: "Check Allow: the other side does not take this method.",
    406: "Check Accept against the body types that the other side sends.",
    408: "Check whether the next hop is reachable and answers: somebody waited in vain.",
    410: "Check the number: it is no longer in use.",
    413: "Check the size of the message.",
    415: "Check Content-Type against Accept of the response.",
    416: "Check the scheme of the Request-URI (sip, sips, tel).",
    420: "Check Unsupported of the response against Require of the request.",
    421: "Check Require of the response: an extension is asked for.",
    422: "Check Min-SE against the caller's Session-Expires.",
    423: "Check Min-Expires against the Expires that was asked for.",
    433: "Check the caller's identity: anonymous calls are refused.",
    480: "Check whether the callee is registered and reachable; nobody may have picked up.",
    481: "Check whether the other side restarted or had ended the call: it knows no such dialog.",
    482: "Check the routing: the request came back to a server that had it.",
    483: "Check the routing for a loop, and the first Max-Forwards.",
    484: "Check the dial plan: digits are missing.",
    485: "Check the number: it is ambiguous.",
    488: "Check the codecs and transports offered (RTP or SRTP, IPv4 or IPv6) against those of the callee.",
    489: "Check Allow-Events against the Event that was asked for.",
    491: "Both sides asked at once; a repetition should follow.",
    493: "Check the certificates of the encrypted body.",
    494: "Check the security agreement (RFC 3329).",
    500: "Check the log of the server that said so.",
    501: "Check the method: the server does not know it.",
    502: "Check what lies behind the gateway that said so.",
    503: "Check load and trunks of the server that said so, and Retry-After.",
    504: "Check whether the next server (also ENUM or DNS) answers.",
    505: "Check the SIP version in the request line.",
    513: "Check the size of the message, and the transport.",
    580: "Check the resource reservation (RFC 3312).",
    603: "The callee, or the policy on its behalf, declined.",
    604: "Check the number: it does not exist anywhere.",
    606: "Check codecs, bandwidth and address type of the offer.",
    607: "The callee marked the call as unwanted (RFC 8197).",
    608: "An intermediary rejected the call; Call-Info tells whom to ask (RFC 8688).",
}


def quoted(text: str, longest: int = _QUOTED) -> str:
    """Return a text of a message, safe and short, in quotes."""
    return f'"{safe_line(text, longest)}"'


def causes(headers: Headers) -> Iterator[tuple[str, int | None, str]]:
    """Yield (protocol, cause, text) of the Reason headers (RFC 3326)."""
    for value in headers.get("reason", ())[:_MOST]:
        for reason in split_quoted(value, ",")[:_MOST]:
            given = parameters(reason)
            protocol = reason.partition(";")[0].strip()
            yield protocol, number(given.get("cause"), 999), given.get("text", "")


def cause_words(protocol: str, cause: int | None, text: str) -> str:
    """`Q.850 cause 17 (user busy)`, `SIP cause 200 "Call completed elsewhere"`."""
    words = safe_line(protocol.upper(), 20) or "?"
    if cause is not None:
        words += f" cause {cause}"
        if protocol.upper() == "Q.850" and cause in Q850:
            words += f" ({Q850[cause]})"
    return f"{words} {quoted(text)}" if text else words


def given_reasons(headers: Headers) -> list[str]:
    """Return what the message gives as reasons, a sentence each: Reason, Warning and the like."""
    said = [cause_words(*cause) for cause in causes(headers)]
    sentences = [f"Reason: {'; '.join(said[:_MOST])}."] if said else []
    for value in headers.get("warning", ())[:_MOST]:
        sentences.append(f"Warning: {safe_line(value, 120)}.")
    for value in headers.get("retry-after", ())[:1]:
        sentences.append(f"Retry-After: {safe_line(value, 40)} s.")
    for name, shown in (("unsupported", "Unsupported"), ("min-se", "Min-SE"), ("min-expires", "Min-Expires")):
        for value in headers.get(name, ())[:1]:
            sentences.append(f"{shown}: {safe_line(value, 60)}.")
    return sentences


def sentences(*parts: str) -> str:
    """Join sentences, leaving out empty ones; each gets its full stop."""
    return " ".join(part if part.endswith((".", "?", "!", ".)")) else f"{part}." for part in parts if part)
