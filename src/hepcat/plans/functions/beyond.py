"""What the original did not have: sampling by call, rate limits, de-duplication.

In: a mask. Out: the rows that are kept; the others are noted as SAMPLED, RATE_LIMIT or DUPLICATE, and
counted so unless some other part of the plan sends them. Time is that of the capture.

What tells a copy from a retransmission: both have the same octets, addresses and ports. A copy (two mirror
ports, a packet seen on its way in and out) follows within milliseconds; SIP sends again after T1 = 500 ms
at the earliest (RFC 3261 section 17.1.1.1), RTCP never sends the same twice (its NTP time moves). So the
window has to end well before 500 ms. It counts from the first of the copies and is not prolonged by them.
VLAN ids are not compared: mirrors of one packet often differ in them.
"""

import secrets
import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from hepcat.batch.drops import Drop
from hepcat.plans import match, tables, values
from hepcat.plans.ast import Call
from hepcat.plans.function import Context, Function, Parameter
from hepcat.plans.functions.common import CALL_ID, METHOD, PAYLOAD, call_hash, leave_out, nothing
from hepcat.plans.plan import Mask, Step, Work

#: T1 of RFC 3261 section 17.1.1.1: nothing is sent again before.
T1_US: Final = 500_000
DEFAULT_WINDOW_US: Final = 200_000
LONGEST_WINDOW_US: Final = 60_000_000


def _sample(call: Call, context: Context) -> Step:
    kept_share = values.share(context, call.arguments[0])
    # A share as a bound on 64-bit hashes; 1.0 keeps the highest hash too.
    bound = min(round(kept_share * 2**64), 2**64 - 1)

    def step(work: Work, mask: Mask) -> Mask:
        if kept_share in (0.0, 1.0):
            kept = mask.copy() if kept_share else nothing(mask)
        else:
            kept = mask & (call_hash(work, mask) < np.uint64(bound))
        return leave_out(work, mask, kept, Drop.SAMPLED)

    return step


def _key_all(work: Work, mask: Mask, seed: int) -> Any:
    return np.zeros(work.batch.n, dtype=np.uint64)


def _key_method(work: Work, mask: Mask, seed: int) -> Any:
    out = np.zeros(work.batch.n, dtype=np.uint64)
    match.hash_field(work.batch, METHOD, mask, out, seed)
    return out


def _key_source(work: Work, mask: Mask, seed: int) -> Any:
    out = np.zeros(work.batch.n, dtype=np.uint64)
    match.hash_columns((work.batch.src_ip,), mask, out, seed)
    return out


RATE_KEYS: Final[dict[str, Callable[[Work, Mask, int], Any]]] = {
    "all": _key_all,
    "method": _key_method,
    "src_ip": _key_source,
    "call": call_hash,
}


class _RateLimit:
    """The step of one rate_limit(): buckets that all workers of the profile share."""

    def __init__(self, per_second: float, key: Callable[[Work, Mask, int], Any]) -> None:
        self.key = key
        self.seed = secrets.randbits(64)
        self.buckets = tables.Buckets(per_second, 1 if key is _key_all else 1 << 14)
        self.lock = threading.Lock()

    def __call__(self, work: Work, mask: Mask) -> Mask:
        value = self.key(work, mask, self.seed)
        with self.lock:
            kept = self.buckets.take(value, work.batch.ts, mask)
        return leave_out(work, mask, kept, Drop.RATE_LIMIT)


def _rate_limit(call: Call, context: Context) -> Step:
    per_second = values.rate(context, call.arguments[0])
    key: Callable[[Work, Mask, int], Any] = _key_all
    if len(call.arguments) > 1:
        key = values.choice(context, call.arguments[1], "key of rate_limit", RATE_KEYS)
    return _RateLimit(per_second, key)


class _Dedup:
    """The step of one dedup(): what was seen, which all workers of the profile share."""

    def __init__(self, window_us: int) -> None:
        self.window = window_us
        self.seed = secrets.randbits(64)
        self.seen = tables.Seen()
        self.lock = threading.Lock()

    def __call__(self, work: Work, mask: Mask) -> Mask:
        batch = work.batch
        value = np.zeros(batch.n, dtype=np.uint64)
        columns = (batch.src_ip, batch.dst_ip, batch.src_port, batch.dst_port, batch.ip_proto)
        match.hash_columns(columns, mask, value, self.seed)
        match.hash_field(batch, PAYLOAD, mask, value, self.seed)
        with self.lock:
            kept = self.seen.new_ones(value, batch.ts, self.window, mask)
        return leave_out(work, mask, kept, Drop.DUPLICATE)


def _dedup(call: Call, context: Context) -> Step:
    window = DEFAULT_WINDOW_US
    if call.arguments:
        window = values.microseconds(context, call.arguments[0], LONGEST_WINDOW_US)
        if window >= T1_US:
            context.warn(
                call.arguments[0],
                "SIP sends again after 500 ms (RFC 3261, timer T1): this window drops real retransmissions",
            )
    return _Dedup(window)


def _has_call(call: Call, context: Context) -> Step:
    return lambda work, mask: mask & (work.batch.fields[: work.batch.n, CALL_ID, 1] > 0)


FUNCTIONS: Final = (
    Function(
        "sample",
        "hepcat",
        "Keeps a share of the calls, whole ones: by a hash of the Call-ID (RTCP whose call is known goes "
        "with it), the same ones on every agent.",
        _sample,
        (Parameter("share", '"10%", "1/10" or "0.1"'),),
        'sample("10%")',
    ),
    Function(
        "rate_limit",
        "hepcat",
        "Keeps so many messages a time; those of one second may come at once.",
        _rate_limit,
        (
            Parameter("rate", '"100/s", "30/min"'),
            Parameter(
                "key", "what has its own limit: all (if left out), method, src_ip, call", optional=True
            ),
        ),
        'rate_limit("100/s", "src_ip")',
    ),
    Function(
        "dedup",
        "hepcat",
        "Is not a copy of a record seen within the window: same octets, addresses, ports and protocol. "
        "Retransmissions come later than that, and are kept.",
        _dedup,
        (Parameter("window", "a time, 200ms if left out; keep it below 500ms", optional=True),),
        'dedup("200ms")',
    ),
    Function(
        "has_call_id",
        "hepcat",
        "Has a Call-ID.",
        _has_call,
        (),
        "has_call_id()",
    ),
)
