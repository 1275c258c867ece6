"""Functions that look at SIP: sip_check, parse_sip, headers, regular expressions.

In: the SIP index of the batch. Out: masks. The rows were indexed before the plan runs, so
that the parse functions only say whether a record is SIP. Python's regular expressions run a row at a time
and can be slow on purpose: each looks at MAX_HEADER or MAX_MESSAGE octets at most, and a pattern that can
take exponential time is warned of when the plan is compiled.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from hepcat.batch.schema import FIELD_COUNT, FIELD_INDEX, FLAG_REQUEST, FLAG_RESPONSE
from hepcat.plans import match, values
from hepcat.plans.ast import Argument, Call
from hepcat.plans.errors import nearest
from hepcat.plans.function import Context, Function, Parameter
from hepcat.plans.functions.common import (
    BODY,
    CONTENT_TYPE,
    METHOD,
    is_sip,
    nothing,
    payload_spans,
    rows_of,
    to_mask,
)
from hepcat.plans.functions.patterns import compile_pattern
from hepcat.plans.plan import Mask, Step, Work
from hepcat.wire.sip import BRIEF_LEAVES_OUT
from hepcat.wire.sip_names import COMPACT, full_name

#: Methods that are registered (IANA, SIP Parameters: RFC 3261, 3262, 3311, 3428, 3515, 3903, 6086, 6665).
METHODS: Final = (
    *("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH"),
    *("INFO", "REFER", "MESSAGE", "UPDATE"),
)
#: Octets that a regular expression is shown of a header, and of a message or body.
MAX_HEADER: Final = 2048
MAX_MESSAGE: Final = 16384


# ---- sip_check


def _slice(field: str, how: int) -> Callable[[Context, Argument], Step]:
    index = FIELD_INDEX[field]

    def make(context: Context, argument: Argument) -> Step:
        text = _text(context, argument)
        context.reads_addresses |= field in BRIEF_LEAVES_OUT
        return lambda work, mask: match.compare_field(work.batch, index, text, how, is_sip(work, mask))

    return make


def _text(context: Context, argument: Argument) -> bytes:
    if not argument.text:
        context.fail(argument, "this text is empty, and would match everything or nothing")
    return argument.text.encode()


def _method(context: Context, argument: Argument) -> Step:
    text = _method_name(context, argument)

    def step(work: Work, mask: Mask) -> Mask:
        requests = is_sip(work, mask) & (work.batch.flags & FLAG_REQUEST != 0)
        return match.compare_field(work.batch, METHOD, text, match.EQUALS, requests)

    return step


def _cseq_method(context: Context, argument: Argument) -> Step:
    text = _method_name(context, argument)
    return lambda work, mask: match.compare_field(work.batch, METHOD, text, match.EQUALS, is_sip(work, mask))


def _method_name(context: Context, argument: Argument) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9\-.!%*_+`'~]+", argument.text):
        context.fail(argument, f'"{argument.text}" is no SIP method')
    if argument.text != argument.text.upper():
        context.warn(argument, f'methods are told by their case (RFC 3261 section 7.1): "{argument.text}"')
    elif argument.text not in METHODS:
        guess = nearest(argument.text, METHODS)
        context.warn(argument, f'"{argument.text}" is no registered method of SIP{guess}')
    return argument.text.encode()


def _status(compare: Callable[[Any, int], Any]) -> Callable[[Context, Argument], Step]:
    def make(context: Context, argument: Argument) -> Step:
        code = values.number(context, argument, "status code", 0, 999)

        def step(work: Work, mask: Mask) -> Mask:
            responses = is_sip(work, mask) & (work.batch.flags & FLAG_RESPONSE != 0)
            return np.asarray(responses & compare(work.batch.status, code))

        return step

    return make


CHECKS: Final[dict[str, Callable[[Context, Argument], Step]]] = {
    "method": _method,
    "rmethod": _cseq_method,
    "response": _status(lambda status, code: status == code),
    "response_gt": _status(lambda status, code: status > code),
    "response_lt": _status(lambda status, code: status < code),
    "from_user_prefix": _slice("from_user", match.BEGINS),
    "from_user_suffix": _slice("from_user", match.ENDS),
    "to_user_prefix": _slice("to_user", match.BEGINS),
    "to_user_suffix": _slice("to_user", match.ENDS),
    "user_agent_prefix": _slice("user_agent", match.BEGINS),
    "user_agent_suffix": _slice("user_agent", match.ENDS),
    "ruri_user_prefix": _slice("ruri_user", match.BEGINS),
    "ruri_user_suffix": _slice("ruri_user", match.ENDS),
    "from_domain": _slice("from_domain", match.EQUALS),
    "to_domain": _slice("to_domain", match.EQUALS),
    "ruri_domain": _slice("ruri_domain", match.EQUALS),
}


def _sip_check(call: Call, context: Context) -> Step:
    key, value = call.arguments
    return values.choice(context, key, "key of sip_check", CHECKS)(context, value)


def _is_method(call: Call, context: Context) -> Step:
    steps = [
        _cseq_method(context, Argument(part.strip(), call.arguments[0].position))
        for part in call.arguments[0].text.split(",")
    ]

    def step(work: Work, mask: Mask) -> Mask:
        found = steps[0](work, mask)
        for other in steps[1:]:
            found = found | other(work, mask & ~found)
        return found

    return step


def _is_response_class(call: Call, context: Context) -> Step:
    argument = call.arguments[0]
    found = re.fullmatch(r"([1-6])(?:xx|XX)?", argument.text.strip())
    if not found:
        context.fail(argument, f'"{argument.text}" is no class of responses: "1xx" to "6xx"')
    low = int(found[1]) * 100

    def step(work: Work, mask: Mask) -> Mask:
        status = work.batch.status
        return np.asarray(is_sip(work, mask) & (status >= low) & (status < low + 100))

    return step


# ---- what is SIP


def _parse(call: Call, context: Context) -> Step:
    return is_sip


def _is_request(call: Call, context: Context) -> Step:
    return lambda work, mask: is_sip(work, mask) & (work.batch.flags & FLAG_REQUEST != 0)


def _is_response(call: Call, context: Context) -> Step:
    return lambda work, mask: is_sip(work, mask) & (work.batch.flags & FLAG_RESPONSE != 0)


_SDP_PART: Final = re.compile(rb"application/sdp", re.IGNORECASE)


def has_sdp(work: Work, mask: Mask) -> Mask:
    """Return where the body is SDP, or holds it: by its Content-Type, else by its first line."""
    batch = work.batch
    bodies = is_sip(work, mask) & (batch.fields[: batch.n, BODY, 1] > 0)
    found = match.compare_field(batch, CONTENT_TYPE, b"application/sdp", match.BEGINS, bodies, fold=True)
    parts = match.compare_field(batch, CONTENT_TYPE, b"multipart/", match.BEGINS, bodies & ~found, fold=True)
    if np.count_nonzero(parts):  # rare: SIP-I, or a body with a picture
        found |= _search(work, parts, _SDP_PART.search, *body_spans(work, parts), MAX_MESSAGE)
    untyped = bodies & ~found & (batch.fields[: batch.n, CONTENT_TYPE, 1] == 0)
    found |= match.compare_field(batch, BODY, b"v=0", match.BEGINS, untyped)
    return found


def _has_sdp(call: Call, context: Context) -> Step:
    return has_sdp


# ---- headers

#: Names that stand for a header in the original's plans.
ALIASES: Final = {"useragent": "User-Agent", "user_agent": "User-Agent"}


def _headers(context: Context, argument: Argument) -> tuple[tuple[str, str], ...]:
    """Return (name, compact form) of the headers an argument names; several where it says "custom"."""
    if argument.text == "custom":
        if not context.custom_headers:
            context.warn(argument, '"custom" means the configuration\'s custom_headers, and there are none')
        names: tuple[str, ...] = tuple(context.custom_headers)
    else:
        names = (ALIASES.get(argument.text, values.header_name(context, argument)),)
    found = tuple((full_name(name), COMPACT.get(full_name(name), "")) for name in names)
    context.headers |= {name for name, _ in found}
    return found


def _header_spans(work: Work, messages: Mask, name: str, compact: str) -> tuple[Any, Any, Any]:
    """Return (data, at, size) of a header's first value; size 0 or below where there is none.

    The index has it already where the pipeline asked for it (Plan.headers); else it is looked for.
    """
    if name in work.batch.extra and work.edits.payload is None:
        field = FIELD_COUNT + work.batch.extra.index(name)
        return (work.batch.buffer, *match.spans_of(work.batch, field))
    data, at, size = payload_spans(work, messages)
    return (data, *match.find_headers(data, at, size, name, compact, messages))


def _header_check(call: Call, context: Context) -> Step:
    names = _headers(context, call.arguments[0])
    text = _text(context, call.arguments[1])

    def step(work: Work, mask: Mask) -> Mask:
        messages = is_sip(work, mask)
        true = nothing(mask)
        for name, compact in names:
            spans = _header_spans(work, messages & ~true, name, compact)
            true |= match.compare_spans(*spans, text, match.BEGINS, messages & ~true)
        return true

    return step


def _has_header(call: Call, context: Context) -> Step:
    names = _headers(context, call.arguments[0])

    def step(work: Work, mask: Mask) -> Mask:
        messages = is_sip(work, mask)
        true = nothing(mask)
        for name, compact in names:
            _, _, size = _header_spans(work, messages, name, compact)
            true |= messages & (size > 0)
        return true

    return step


def _header_regexp_match(call: Call, context: Context) -> Step:
    where, which = call.arguments
    if which.text not in context.regexps:
        hint = f"There are: {', '.join(context.regexps) or 'none'}. They are named in agent.regexps."
        guess = nearest(which.text, context.regexps)
        context.fail(which, f'there is no regular expression "{which.text}"{guess}', hint)
    search = compile_pattern(context, which, context.regexps[which.text]).search
    if where.text in ("body", "raw", "content"):
        return _message_step(search, only_body=where.text == "content")
    return _header_step(search, _headers(context, where))


def _message_step(search: Callable[[Any], Any], only_body: bool) -> Step:
    def step(work: Work, mask: Mask) -> Mask:
        messages = is_sip(work, mask)
        data, at, size = body_spans(work, messages) if only_body else payload_spans(work, messages)
        return _search(work, messages, search, data, at, size, MAX_MESSAGE)

    return step


def body_spans(work: Work, mask: Mask) -> tuple[Any, Any, Any]:
    """Return (data, at, size) of the bodies, as they were captured."""
    return (work.batch.buffer, *match.spans_of(work.batch, BODY))


def _header_step(search: Callable[[Any], Any], names: tuple[tuple[str, str], ...]) -> Step:
    def step(work: Work, mask: Mask) -> Mask:
        messages = is_sip(work, mask)
        true = nothing(mask)
        for name, compact in names:
            left = messages & ~true
            data, at, size = _header_spans(work, left, name, compact)
            true |= _search(work, left & (size > 0), search, data, at, size, MAX_HEADER)
        return true

    return step


def _search(
    work: Work, mask: Mask, search: Callable[[Any], Any], data: Any, at: Any, size: Any, most: int
) -> Mask:
    """Run a regular expression on each row: the one place where a plan costs Python a message."""
    rows = rows_of(mask)
    octets = memoryview(np.ascontiguousarray(data))  # type: ignore[arg-type]
    starts, ends = at[rows].tolist(), (at[rows] + np.minimum(size[rows], most)).tolist()
    true = [search(octets[lo:hi]) is not None for lo, hi in zip(starts, ends, strict=True)]
    return to_mask(work, rows, np.array(true, dtype=np.bool_))


_IS_SIP: Final = "Is SIP: a request or a response. The message was read before the plan runs."
_WHERE: Final = (
    "name of a header in any case, long or compact; `useragent`; `custom` for all of custom_headers"
)

FUNCTIONS: Final = (
    Function(
        "sip_check",
        "protocol_sip",
        "Compares a property of a SIP message.",
        _sip_check,
        (
            Parameter(
                "key",
                "method (of a request), rmethod (of the CSeq, so of responses too), response, response_gt, "
                "response_lt (strictly), from_user_prefix, from_user_suffix, to_user_prefix, to_user_suffix, "
                "user_agent_prefix, user_agent_suffix; and ruri_user_prefix, ruri_user_suffix, from_domain, "
                "to_domain, ruri_domain",
            ),
            Parameter("value", "a text, or a status code"),
        ),
        'sip_check("method", "INVITE")',
    ),
    Function("parse_sip", "protocol_sip", _IS_SIP, _parse, (), "parse_sip()"),
    Function("parse_full_sip", "protocol_sip", f"{_IS_SIP} As parse_sip.", _parse, (), "parse_full_sip()"),
    Function(
        "light_parse_sip",
        "protocol_sip",
        f"{_IS_SIP} As parse_sip.",
        _parse,
        (),
        "light_parse_sip()",
    ),
    Function("sip_is_method", "protocol_sip", "Is a SIP request.", _is_request, (), "sip_is_method()"),
    Function(
        "sip_has_sdp",
        "protocol_sip",
        "Is SIP with SDP: by its Content-Type (multipart too), without one by its first line.",
        _has_sdp,
        (),
        "sip_has_sdp()",
    ),
    Function(
        "header_check",
        "protocol_sip",
        "Has a header whose value begins so; of several of that name the first counts.",
        _header_check,
        (Parameter("header", _WHERE), Parameter("prefix", "a text; case counts")),
        'header_check("User-Agent", "Asterisk")',
    ),
    Function(
        "header_regexp_match",
        "protocol_sip",
        f"A regular expression finds something. Costs a microsecond a message; the first {MAX_HEADER} octets "
        f"of a header and {MAX_MESSAGE} of a message are looked at.",
        _header_regexp_match,
        (
            Parameter("where", f"{_WHERE}; `body` or `raw`: the whole message; `content`: its body alone"),
            Parameter("name", "of a pattern in agent.regexps (Python's syntax)"),
        ),
        'header_regexp_match("From", "vip")',
    ),
    Function(
        "is_method",
        "hepcat",
        "Belongs to a transaction of one of these methods: requests, and responses by their CSeq.",
        _is_method,
        (Parameter("methods", "several between commas"),),
        'is_method("INVITE,BYE,CANCEL")',
    ),
    Function("is_request", "hepcat", "Is a SIP request.", _is_request, (), "is_request()"),
    Function("is_response", "hepcat", "Is a SIP response.", _is_response, (), "is_response()"),
    Function(
        "is_response_class",
        "hepcat",
        "Is a SIP response of this class.",
        _is_response_class,
        (Parameter("class", "`1xx` to `6xx`"),),
        'is_response_class("4xx")',
    ),
    Function(
        "has_header",
        "hepcat",
        "Has this header, with a value.",
        _has_header,
        (Parameter("header", _WHERE),),
        'has_header("P-Asserted-Identity")',
    ),
)
