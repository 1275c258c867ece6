"""The figures of the dashboard: what each is, in words. docs/dashboard.md is held to this table.

In: nothing. Out: `FIGURES`. figures.py computes them.
"""

from dataclasses import dataclass
from typing import Final

#: Buckets that a request may ask for.
MOST_BUCKETS: Final = 300


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: `name` in series and totals. `unit`: "1/s", "share" (0 to 1), "seconds" or "number"."""

    name: str
    title: str
    unit: str
    doc: str
    standard: str = ""


FIGURES: Final[tuple[Figure, ...]] = (
    Figure(
        "attempts", "Call attempts", "number",
        "Call-IDs of which the first INVITE without a To tag was seen in the range. Repeated INVITEs "
        "(retransmitted, with credentials, or on another hop) are one attempt.",
        "RFC 3261 section 12.1",
    ),
    Figure("calls_a_second", "Calls a second", "1/s", "Attempts by the seconds of the range."),
    Figure(
        "seizures", "Seizures", "number",
        "Attempts that came to an end: all but those that are still open (no final response, and a sign of "
        "life within the last 3 minutes before the last message, RFC 3261 timer C), those that were "
        "redirected (3xx), and those that ended with a challenge (401, 407).",
        "ITU-T E.410",
    ),
    Figure("answered", "Answered", "number", "Attempts with a 2xx to INVITE."),
    Figure("asr", "Answer-seizure ratio", "share", "Answered by seizures.",
           "ITU-T E.411, E.425 (ASR); RFC 6076 section 4.6 (SER)"),
    Figure(
        "ner", "Network effectiveness ratio", "share",
        "Seizures that the network brought to the called side, by seizures: answered, busy (486, 600), "
        "nobody picked up (480; 408 after a 18x), declined (603, 607), given up by the caller (487, or a "
        "CANCEL without its 487). What the network or a number did not let through (all other final "
        "statuses, such as 403, 404, 484, 488, 500, 503, 604) and what got no final response counts against "
        "it.",
        "ITU-T E.425 (NER)",
    ),
    Figure("seer", "Session establishment effectiveness ratio", "share",
           "Answered, 480, 486, 600 and 603, by seizures.", "RFC 6076 section 4.7 (SEER)"),
    Figure(
        "isa", "Ineffective session attempts", "share",
        "Attempts that ended with 408, 500, 503 or 504, by seizures and redirected attempts.",
        "RFC 6076 section 4.8 (ISA)",
    ),
    Figure("open", "Open attempts", "number", "Attempts that had no final response so far."),
    Figure(
        "acd", "Average call duration", "seconds",
        "From the 2xx to the BYE, the mean of the calls whose BYE is in the range, and whose 2xx is in "
        "it or at most an hour before it.",
        "ITU-T E.425; RFC 6076 section 4.5 (SDT)",
    ),
    Figure("ended", "Ended calls", "number", "The calls that the average call duration is of."),
    Figure(
        "pdd_p50", "Post-dial delay, median", "seconds",
        "From the first INVITE to the first 18x or 2xx, of the attempts that got one: the value that half of "
        "them do not exceed. To a millisecond, above a second to three digits.",
        "RFC 6076 section 4.3.1 (SRD); ITU-T E.721",
    ),
    Figure("pdd_p95", "Post-dial delay, 95th percentile", "seconds",
           "The same: the value that 95 in 100 of them do not exceed.",
           "RFC 6076 section 4.3.1 (SRD); ITU-T E.721"),
    Figure(
        "registrations", "Registrations", "number",
        "REGISTER requests that came to an end, one for each Call-ID and CSeq (a phone keeps its Call-ID, "
        "RFC 3261 section 10.2): answered with 2xx, or failed. One that was challenged (401, 407) is "
        "none; the next one, with credentials, is.",
        "RFC 3261 section 10",
    ),
    Figure(
        "registrations_a_second", "Registrations a second", "1/s",
        "Registrations by the seconds of the range.",
    ),
    Figure("registered", "Successful registrations", "number", "Registrations that ended with 2xx."),
    Figure(
        "registration_failures", "Failed registrations", "number",
        "Registrations that ended with 3xx to 6xx other than 401 and 407, or with no response within 32 "
        "seconds (RFC 3261 timer F).",
    ),
    Figure("registration_ratio", "Registration success", "share", "Successful by all registrations."),
    Figure("rrd_p50", "Registration delay, median", "seconds",
           "From a REGISTER to its 2xx.", "RFC 6076 section 4.1 (RRD)"),
    Figure("rrd_p95", "Registration delay, 95th percentile", "seconds",
           "The same, of 95 in 100.", "RFC 6076 section 4.1 (RRD)"),
    Figure("messages", "Messages", "number", "Messages in the range that match."),
    Figure("messages_a_second", "Messages a second", "1/s", "Messages by the seconds of the range."),
    Figure(
        "retransmissions", "Retransmission share", "share",
        "Messages that were seen before between the same addresses, with the same Call-ID, CSeq, branch and "
        "status, by all messages with a Call-ID. A message that two agents captured at one place counts too.",
        "RFC 3261 section 17.1.1.2 (timer A)",
    ),
)  # fmt: skip
