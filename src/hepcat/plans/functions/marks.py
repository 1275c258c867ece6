"""Functions that leave a mark: tags, flags, lines in the log, answers to the sender.

In: a mask. Out: the same mask (answers: the requests in it), and the mark. They change no payload.
"""

import re
from typing import Final

import numpy as np

from hepcat.batch.schema import FLAG_REQUEST
from hepcat.plans import values
from hepcat.plans.ast import Call
from hepcat.plans.function import Context, Function, Parameter
from hepcat.plans.functions.common import is_sip, nothing, rows_of
from hepcat.plans.plan import Mask, Step, Work


def _is_flag_set(call: Call, context: Context) -> Step:
    flag = values.number(context, call.arguments[0], "flag", 0, 9)
    value = values.number(context, call.arguments[1], "value", 0, 65535)

    def step(work: Work, mask: Mask) -> Mask:
        column = work.flags.get(flag)
        if column is None:
            return mask.copy() if value == 0 else nothing(mask)
        return np.asarray(mask & (column == value))

    return step


def _set_flag(call: Call, context: Context) -> Step:
    flag = values.number(context, call.arguments[0], "flag", 0, 9)
    value = values.number(context, call.arguments[1], "value", 0, 65535)

    def step(work: Work, mask: Mask) -> Mask:
        column = work.flags.get(flag)
        if column is None:
            column = work.flags[flag] = np.zeros(work.batch.n, dtype=np.uint16)
        column[mask] = value
        return mask

    return step


_KEY: Final = Parameter("key", "a name without = and ;")


def _set_tag(call: Call, context: Context) -> Step:
    from hepcat.plans.functions.tags import add_tag

    key, value = call.arguments
    if not key.text or re.search(r"[=;\s]", key.text):
        context.fail(key, f'"{key.text}" is no key of a tag: neither =, ; nor white space')
    if ";" in value.text:
        context.fail(value, "a tag's value has no ;")
    text = f"{key.text}={value.text}".encode()
    if len(text) > 1024:
        context.fail(value, "a tag is at most 1024 octets long")
    return lambda work, mask: add_tag(work, mask, text)


def _clog(call: Call, context: Context) -> Step:
    from hepcat.plans.functions.log import LogStep

    level, text = call.arguments
    # the original looks at the first letter alone, and takes every other for debug
    name = {"e": "error", "n": "notice"}.get(level.text[:1].lower(), "debug")
    if level.text.lower() not in ("error", "err", "notice", "debug"):
        context.warn(level, f'"{level.text}" is logged as {name}; levels are ERROR, NOTICE, DEBUG')
    return LogStep(name, text.text)


def _reply(call: Call, context: Context) -> Step:
    code, text = 200, "OK"
    if call.arguments:
        code = values.number(context, call.arguments[0], "status code", 100, 699)
        text = call.arguments[1].text if len(call.arguments) > 1 else text
        if re.search(r"[\x00-\x1f\x7f]", text):
            context.fail(call.arguments[1], "a reason phrase has no line ends and no controls")

    def step(work: Work, mask: Mask) -> Mask:
        requests: Mask = is_sip(work, mask) & (work.batch.flags & FLAG_REQUEST != 0)
        replier = work.env.replier
        if replier is None or not np.count_nonzero(requests):
            return nothing(mask)
        replier.reply(work.batch, rows_of(requests), code, text)
        return requests

    return step


_REPLY: Final = (
    Parameter("code", "status code, 200 where it is left out", optional=True),
    Parameter("text", "reason phrase, OK where it is left out", optional=True),
)
FUNCTIONS: Final = (
    Function(
        "set_tag",
        "protocol_sip",
        "Adds key=value to the record's tags (HEP chunk 0x26); always true.",
        _set_tag,
        (_KEY, Parameter("value", "a text without ;")),
        'set_tag("site", "berlin")',
    ),
    Function(
        "clog",
        "protocol_sip",
        "Writes a line to the log, with the number of messages, at most once a second; always true.",
        _clog,
        (Parameter("level", "ERROR, NOTICE or DEBUG"), Parameter("text", "what to write")),
        'clog("ERROR", "not SIP")',
    ),
    Function(
        "is_flag_set",
        "protocol_sip",
        "A flag has this value; flags are 0 until set_flag.",
        _is_flag_set,
        (Parameter("flag", "0 to 9"), Parameter("value", "0 to 65535")),
        'is_flag_set("1", "1")',
    ),
    Function(
        "send_reply",
        "protocol_sip",
        "Answers a request, where its source can (a collector's socket); false where it cannot.",
        _reply,
        _REPLY,
        'send_reply("200", "OK")',
    ),
    Function(
        "send_rtcpxr_reply",
        "protocol_rtcpxr",
        "As send_reply.",
        _reply,
        _REPLY,
        "send_rtcpxr_reply()",
    ),
    Function(
        "set_flag",
        "hepcat",
        "Sets a flag, for is_flag_set; always true.",
        _set_flag,
        (Parameter("flag", "0 to 9"), Parameter("value", "0 to 65535")),
        'set_flag("1", "1")',
    ),
)
