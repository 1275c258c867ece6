"""Functions that look at the record itself: msg_check, is_tcp and its like.

In: sizes, addresses, ports and types of the batch. Out: masks. msg_check's keys are a table of their own.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from hepcat.plans import match, values
from hepcat.plans.ast import Argument, Call
from hepcat.plans.function import Context, Function, Parameter
from hepcat.plans.functions.common import payload_spans
from hepcat.plans.plan import Mask, Step, Work

Column = Callable[[Work], Any]


def _size(context: Context, argument: Argument) -> Step:
    least = values.number(context, argument, "size", 0, 1 << 20)

    def step(work: Work, mask: Mask) -> Mask:
        _, _, size = payload_spans(work, mask)
        return mask & (size > least)

    return step


def _address(*columns: str) -> Callable[[Context, Argument], Step]:
    def make(context: Context, argument: Argument) -> Step:
        low, high = values.addresses(context, argument)

        def step(work: Work, mask: Mask) -> Mask:
            found = match.in_ranges(getattr(work.batch, columns[0]), low, high, mask)
            for column in columns[1:]:
                found |= match.in_ranges(getattr(work.batch, column), low, high, mask)
            return found

        return step

    return make


def _port(*columns: str) -> Callable[[Context, Argument], Step]:
    def make(context: Context, argument: Argument) -> Step:
        wanted = np.zeros(65536, dtype=np.bool_)
        for low, high in values.ports(context, argument):
            wanted[low : high + 1] = True

        def step(work: Work, mask: Mask) -> Mask:
            found = wanted[getattr(work.batch, columns[0])]
            for column in columns[1:]:
                found = found | wanted[getattr(work.batch, column)]
            return np.asarray(mask & found)

        return step

    return make


def _port_bound(column: str, above: bool) -> Callable[[Context, Argument], Step]:
    def make(context: Context, argument: Argument) -> Step:
        bound = values.number(context, argument, "port", 0, 65535)
        if above:
            return lambda work, mask: mask & (getattr(work.batch, column) > bound)
        return lambda work, mask: mask & (getattr(work.batch, column) < bound)

    return make


CHECKS: Final[dict[str, Callable[[Context, Argument], Step]]] = {
    "size": _size,
    "src_ip": _address("src_ip"),
    "source_ip": _address("src_ip"),
    "dst_ip": _address("dst_ip"),
    "destination_ip": _address("dst_ip"),
    "any_ip": _address("src_ip", "dst_ip"),
    "src_port": _port("src_port"),
    "dst_port": _port("dst_port"),
    "any_port": _port("src_port", "dst_port"),
    "src_port_gt": _port_bound("src_port", True),
    "src_port_lt": _port_bound("src_port", False),
    "dst_port_gt": _port_bound("dst_port", True),
    "dst_port_lt": _port_bound("dst_port", False),
}


def _msg_check(call: Call, context: Context) -> Step:
    key, value = call.arguments
    return values.choice(context, key, "key of msg_check", CHECKS)(context, value)


def _protocol(number: int) -> Callable[[Call, Context], Step]:
    return lambda call, context: lambda work, mask: mask & (work.batch.ip_proto == number)


def _family(number: int) -> Callable[[Call, Context], Step]:
    return lambda call, context: lambda work, mask: mask & (work.batch.family == number)


def _is_vlan(call: Call, context: Context) -> Step:
    vlan = values.number(context, call.arguments[0], "VLAN", 0, 4095)
    return lambda work, mask: mask & (work.batch.vlan == vlan)


def _is_hep_type(call: Call, context: Context) -> Step:
    kind = values.number(context, call.arguments[0], "HEP type", 0, 255)

    def step(work: Work, mask: Mask) -> Mask:
        now = work.batch.hep_type if work.edits.hep_type is None else work.edits.hep_type
        return np.asarray(mask & (now == kind))

    return step


def _set_hep_type(call: Call, context: Context) -> Step:
    from hepcat.plans.functions.common import set_type

    kind = values.number(context, call.arguments[0], "HEP type", 0, 255)

    def step(work: Work, mask: Mask) -> Mask:
        set_type(work, mask, kind)
        return mask

    return step


FUNCTIONS: Final = (
    Function(
        "msg_check",
        "protocol_sip",
        "Compares a property of the record.",
        _msg_check,
        (
            Parameter(
                "key",
                "size (octets of the payload, strictly more), src_ip or source_ip, dst_ip or destination_ip, "
                "any_ip, src_port, dst_port, any_port, and src_port_gt, src_port_lt, dst_port_gt, "
                "dst_port_lt (strictly)",
            ),
            Parameter(
                "value",
                "a number; ports also `5060-5091,8060`; addresses also a network (`10.0.0.0/8`) or "
                "the beginning of an address (`10.0.`), several between commas",
            ),
        ),
        'msg_check("src_ip", "10.0.0.0/8")',
    ),
    Function("is_udp", "hepcat", "Came over UDP.", _protocol(17), (), "is_udp()"),
    Function("is_tcp", "hepcat", "Came over TCP (TLS and WebSocket too).", _protocol(6), (), "is_tcp()"),
    Function("is_sctp", "hepcat", "Came over SCTP.", _protocol(132), (), "is_sctp()"),
    Function("is_ipv4", "hepcat", "Came over IPv4.", _family(2), (), "is_ipv4()"),
    Function("is_ipv6", "hepcat", "Came over IPv6.", _family(10), (), "is_ipv6()"),
    Function(
        "is_vlan",
        "hepcat",
        "Came in this VLAN.",
        _is_vlan,
        (Parameter("id", "0 to 4095"),),
        'is_vlan("100")',
    ),
    Function(
        "is_hep_type",
        "hepcat",
        "Has this HEP protocol type, as it stands now.",
        _is_hep_type,
        (Parameter("type", "a number, 0x in front where it is hexadecimal"),),
        'is_hep_type("0x64")',
    ),
    Function(
        "set_hep_type",
        "hepcat",
        "Sets the HEP protocol type; always true.",
        _set_hep_type,
        (Parameter("type", "a number, 0x in front where it is hexadecimal"),),
        'set_hep_type("99")',
    ),
)
