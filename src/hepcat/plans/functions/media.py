"""Functions of media: RTP and RTCP told apart, calls learnt from SDP, RTCP tied to its Call-ID.

In: payloads, and the table of media addresses in `env.media`. Out: masks, and correlation ids beside the
batch. The parsers are those of hepcat.wire; they are loaded when a plan that names them is compiled.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from hepcat.batch.schema import HEP_RTCP
from hepcat.plans.ast import Call
from hepcat.plans.function import Context, Function
from hepcat.plans.functions.common import is_sip, nothing, only, rows_of, set_type, to_mask
from hepcat.plans.plan import Mask, Step, Work

#: Packet types of RTCP that are taken: SR to APP (RFC 3550 section 12.1), feedback (RFC 4585), XR (RFC 3611).
FIRST_TYPE, LAST_TYPE = 200, 207


def _whole_batch(work: Work, mask: Mask, tell: Callable[[Any, Any], None]) -> Mask:
    """Ask a kernel that answers for all rows."""
    out = np.zeros(work.batch.n, dtype=np.uint8)
    tell(work.batch, out)
    return mask & out.view(np.bool_)


def _is_rtcp(call: Call, context: Context) -> Step:
    from hepcat.wire.rtcp import rtcp_mask

    def tell(batch: Any, out: Any) -> None:
        rtcp_mask(batch, out, FIRST_TYPE, LAST_TYPE)

    return lambda work, mask: _whole_batch(work, mask, tell)


def _is_rtcp_or_rtp(call: Call, context: Context) -> Step:
    from hepcat.wire.rtcp import rtp_or_rtcp_mask

    return lambda work, mask: _whole_batch(work, mask, rtp_or_rtcp_mask)


def _set_rtcp_flag(call: Call, context: Context) -> Step:
    def step(work: Work, mask: Mask) -> Mask:
        set_type(work, mask, HEP_RTCP)
        return mask

    return step


def learn(work: Work, mask: Mask) -> Mask:
    """Learn the media addresses of SIP messages with SDP; true where there were any."""
    rows = rows_of(is_sip(work, mask))
    if work.env.media is None or not len(rows):
        return nothing(mask)
    return to_mask(work, rows, work.env.media.learn(work.batch, rows, work.now_us))


def find(work: Work, mask: Mask) -> Mask:
    """Set the correlation id of media packets whose call is known; true there."""
    rows = rows_of(mask)
    if work.env.media is None or not len(rows):
        return nothing(mask)
    found = only(work.env.media.find(work.batch, rows, work.now_us), mask)
    true = np.asarray(found.offset >= 0)
    if np.count_nonzero(true):
        work.edits.put("correlation_id", found)
    return true


def _learn(call: Call, context: Context) -> Step:
    return learn


def _find(call: Call, context: Context) -> Step:
    return find


def _redis(step: Step) -> Callable[[Call, Context], Step]:
    def make(call: Call, context: Context) -> Step:
        context.warn(
            call.position,
            f"{call.name} uses the table of this process, which all its profiles share; none in Redis",
        )
        return step

    return make


FUNCTIONS: Final = (
    Function(
        "check_rtcp_ipport",
        "database_hash",
        "Learns the media addresses in the SDP of a SIP message, for its Call-ID; true where there were any.",
        _learn,
        (),
        "check_rtcp_ipport()",
    ),
    Function(
        "is_rtcp_exist",
        "database_hash",
        "The packet's source or destination is a media address of a known call; sets the correlation id to "
        "its Call-ID.",
        _find,
        (),
        "is_rtcp_exist()",
    ),
    Function(
        "check_redis_rtcp_ipport",
        "database_redis",
        "As check_rtcp_ipport, in the table of this process.",
        _redis(learn),
        (),
        "check_redis_rtcp_ipport()",
    ),
    Function(
        "is_redis_rtcp_exist",
        "database_redis",
        "As is_rtcp_exist, in the table of this process.",
        _redis(find),
        (),
        "is_redis_rtcp_exist()",
    ),
    Function(
        "is_rtcp",
        "protocol_rtcp",
        f"Is RTCP: version 2, packet type {FIRST_TYPE} to {LAST_TYPE}, lengths that add up.",
        _is_rtcp,
        (),
        "is_rtcp()",
    ),
    Function(
        "is_rtcp_or_rtp",
        "protocol_rtcp",
        "Is RTP or RTCP: version 2, and long enough for what its header says.",
        _is_rtcp_or_rtp,
        (),
        "is_rtcp_or_rtp()",
    ),
    Function(
        "set_rtcp_flag",
        "protocol_rtcp",
        "Sets the HEP protocol type to 5; always true.",
        _set_rtcp_flag,
        (),
        "set_rtcp_flag()",
    ),
)
