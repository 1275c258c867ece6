"""Functions that send: send_hep and its like, send_json. Each hands rows with their edits to a target.

In: a mask. Out: the rows are in `work.sent`. A row may go to several targets. A target that has no room
counts what it drops itself; for the plan the row is sent.
"""

from typing import Final

import numpy as np

from hepcat.batch.edits import Edits
from hepcat.plans import values
from hepcat.plans.ast import Call
from hepcat.plans.function import Context, Function, Parameter
from hepcat.plans.functions.common import rows_of, set_type
from hepcat.plans.plan import Mask, Step, Work


def send(work: Work, mask: Mask, target: str, edits: Edits) -> Mask:
    """Hand the rows to a target."""
    if np.count_nonzero(mask):
        work.env.outlets[target].send(work.batch, rows_of(mask), edits if edits.any else None)
        work.sent |= mask
    return mask


def _send(call: Call, context: Context) -> Step:
    target = values.target(context, call.arguments[0])
    return lambda work, mask: send(work, mask, target, work.edits)


def _send_proto(call: Call, context: Context) -> Step:
    target = values.target(context, call.arguments[0])
    kind = values.number(context, call.arguments[1], "HEP type", 0, 255)

    def step(work: Work, mask: Mask) -> Mask:
        set_type(work, mask, kind)
        return send(work, mask, target, work.edits)

    return step


def _send_raw(call: Call, context: Context) -> Step:
    target = values.target(context, call.arguments[0])

    def step(work: Work, mask: Mask) -> Mask:
        edits = work.edits
        raw = Edits(correlation_id=edits.correlation_id, tags=edits.tags, hep_type=edits.hep_type)
        return send(work, mask, target, raw)

    return step


_TARGET: Final = Parameter("target", "name of a target of the configuration")

FUNCTIONS: Final = (
    Function(
        "send_hep",
        "transport_hep",
        "Sends the record to a target; always true.",
        _send,
        (_TARGET, Parameter("wait", "taken for the original's sake, without effect", optional=True)),
        'send_hep("hepsocket")',
    ),
    Function(
        "send_hep_proto",
        "transport_hep",
        "Sets the HEP protocol type and sends; always true.",
        _send_proto,
        (_TARGET, Parameter("type", "HEP protocol type, a number")),
        'send_hep_proto("hepsocket", "99")',
    ),
    Function(
        "send_hep_raw",
        "transport_hep",
        "Sends the payload and addresses as they were captured, whatever the plan changed in them (JSON, "
        "headers, pseudonyms); always true.",
        _send_raw,
        (_TARGET,),
        'send_hep_raw("hepsocket")',
    ),
    Function(
        "send_json",
        "output_json",
        "Sends the record to a target, as send_hep: the target says in which form.",
        _send,
        (_TARGET,),
        'send_json("hepsocket")',
    ),
)
