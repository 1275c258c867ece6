"""What a plan costs a message: a figure for `make bench`, and the plan that it is measured with.

In: an indexed batch. Out: microseconds a message, all functions called, into a target that does nothing.
"""

import time
from typing import Any, Final

from hepcat.batch.layout import Batch
from hepcat.plans.compiler import compile_plan
from hepcat.plans.plan import Environment

#: Twenty functions, all of which are called for most messages.
TWENTY: Final = """
capture[twenty] {
    if (msg_check("size", "100") && !msg_check("src_ip", "192.0.2.0/24") && !msg_check("dst_port", "9")) {
        if (parse_sip() && !is_vlan("4000") && (is_udp() || is_tcp())) {
            if (sip_check("rmethod", "OPTIONS") || sip_check("rmethod", "NOTIFY")) {
                drop;
            }
            if (sip_check("from_user_prefix", "999") || sip_check("to_user_suffix", "999")
                || sip_check("user_agent_prefix", "friendly-scanner")) {
                set_tag("scan", "1");
            }
            if (sip_check("response_gt", "399") && !sip_check("response", "401")) {
                set_tag("failed", "1");
            }
            if (!msg_check("any_ip", "203.0.113.7") && is_hep_type("1") && !is_flag_set("1", "1")) {
                if (sip_has_sdp() || is_request()) {
                    set_tag("kind", "call");
                }
                send_hep("null");
            }
        }
    }
    drop;
}
"""


class NullOutlet:
    """A target that counts and forgets."""

    def __init__(self) -> None:
        self.rows = 0

    def send(self, batch: Batch, rows: Any, edits: Any = None) -> None:
        """Count the rows."""
        self.rows += len(rows)


def bench_plan(batch: Batch, text: str = TWENTY, seconds: float = 0.5) -> float:
    """Return the microseconds a message that a plan costs: the best of the runs in `seconds`."""
    plan = compile_plan(text, "bench", ["null"], {})
    runner = plan.bind(Environment({"null": NullOutlet()}))
    now_us = int(batch.ts[: batch.n].max())
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        runner.run(batch, now_us)
        best = min(best, time.perf_counter() - start)
    return best * 1e6 / batch.n
