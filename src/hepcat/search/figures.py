"""Figures: what a dashboard says about a range of time, as totals and over time.

In: a searcher, a query, a range of time in microseconds since the epoch (since is included, until is not),
how many buckets. Out: `Figures`; `FIGURES` has each figure's definition. What can go wrong: QueryError for
the query, HepcatError as Searcher has it.

Calls are those of which a message in the range matches the query; messages are the matching ones. A lake is
asked whole (figures_sql.py). Of any other store the newest matches are read, at most `MOST`, and the same SQL
runs on them; where there are more, `notes` says from when on the figures are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from hepcat.search.ast import EVERYTHING, Node
from hepcat.search.compile import compile_query, sql_of
from hepcat.search.figures_sql import (
    BEFORE,
    CLAMP,
    METHODS,
    Frame,
    calls_sql,
    messages_sql,
    retransmissions_sql,
)
from hepcat.search.histogram import CLASSES, width_for
from hepcat.search.memory import Memory
from hepcat.search.remote_records import moments
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.search.searcher import Searcher
from hepcat.search.source import fresh
from hepcat.search.times import SECOND, moment_of
from hepcat.search.within import Times

#: Buckets that a request may ask for.
MOST_BUCKETS: Final = 300
#: Messages that are read from a store that does not compute the figures itself.
MOST: Final = 100_000
#: Calls that are looked up there for a query.
_MOST_CALLS: Final = 5_000
#: Status codes that have a row of their own.
_TOP_CODES: Final = 20
#: Columns that the figures are made of.
_COLUMNS: Final = (
    "ts", "src_ip", "src_port", "dst_ip", "dst_port", "method", "status", "to_tag", "call_id", "cseq",
    "via_1_branch",
)  # fmt: skip


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

#: A value, or None where there is nothing to compute it from.
Value = int | float | None


@dataclass(slots=True)
class Figures:
    """The figures: `totals` of the range by name, `series` by name with one value a bucket.

    Bucket i begins at start[i], is `width` microseconds long, and `seconds[i]` of it lie in the range.
    `methods` (requests) and `statuses` (responses, by class) have a count a bucket; `codes` are the most
    frequent statuses with their totals.
    """

    since: int
    until: int
    width: int
    start: list[int]
    seconds: list[float]
    totals: dict[str, Value] = field(default_factory=dict)
    series: dict[str, list[Value]] = field(default_factory=dict)
    methods: dict[str, list[int]] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    codes: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def figures(
    searcher: Searcher | RemoteSearcher,
    query: str | Node = "",
    since: int | None = None,
    until: int | None = None,
    buckets: int = 60,
) -> Figures:
    """Return the figures of a range; an open end is the first or last message there is."""
    node = searcher.parse(query) if isinstance(query, str) else query
    times = _bounded(Times(since, until).within(node))
    buckets = max(1, min(buckets, MOST_BUCKETS))
    if isinstance(searcher, Searcher):
        return _of_lake(searcher, node, times, buckets)
    return _of_remote(searcher, node, times, buckets)


def _bounded(times: Times) -> Times:
    """Return the range within the times that calls can have."""

    def clamped(at: int | None) -> int | None:
        return None if at is None else min(max(at, BEFORE), CLAMP)

    return Times(clamped(times.since), clamped(times.until))


@fresh
def _of_lake(searcher: Searcher, node: Node, times: Times, buckets: int) -> Figures:
    """Run the statements on one snapshot of the lake."""
    matching = None
    if node != EVERYTHING:
        matching = sql_of(compile_query(node, searcher.dialect), searcher.dialect)
    read = Times(None if times.since is None else times.since - BEFORE, times.until)
    with searcher._snapshot(read) as con:
        frame = _frame(searcher, con, times, buckets, matching)
        result = _empty(frame)
        if result.start:
            _add_messages(result, searcher._run(con, messages_sql(frame)))
            _add_retransmissions(result, searcher._run(con, retransmissions_sql(frame)))
            _add_calls(result, searcher._run(con, calls_sql(frame)))
    return result


def _frame(
    searcher: Searcher, con: duckdb.DuckDBPyConnection, times: Times, buckets: int, matching: str | None
) -> Frame:
    """Return the frame: buckets of a round width, beginning at multiples of it."""
    known = Times(
        BEFORE if times.since is None else times.since, CLAMP if times.until is None else times.until
    )
    low, high, _ = searcher._extent(con, known, "sip")
    since = times.since if times.since is not None else BEFORE if low is None else low
    until = times.until if times.until is not None else since if high is None else high + 1
    width = width_for(until - since, buckets)
    return Frame(since, until, since // width * width, width, until if high is None else high, matching)


def _empty(frame: Frame) -> Figures:
    """Return figures with their buckets and nothing in them."""
    start = list(range(frame.begin, frame.until, frame.width))
    seconds = [(min(at + frame.width, frame.until) - max(at, frame.since)) / SECOND for at in start]
    return Figures(frame.since, frame.until, frame.width, start, seconds)


# -- messages


def _add_messages(result: Figures, found: pa.Table) -> None:
    """Add methods and statuses."""
    methods = {name: [0] * len(result.start) for name in (*METHODS, "other")}
    statuses = {name: [0] * len(result.start) for name in CLASSES[1:]}
    codes: dict[int, int] = {}
    messages = [0] * len(result.start)
    for bucket, method, status, n in zip(*(column.to_pylist() for column in found.columns), strict=True):
        messages[bucket] += n
        if status is None:
            methods[method][bucket] += n
        elif status:
            statuses[f"{status // 100}xx"][bucket] += n
            codes[status] = codes.get(status, 0) + n
    result.methods = {name: counts for name, counts in methods.items() if any(counts)}
    result.statuses = statuses
    result.codes = sorted(codes.items(), key=lambda item: (-item[1], item[0]))[:_TOP_CODES]
    _set(result, "messages", messages)
    _set_rate(result, "messages_a_second", messages)


def _add_retransmissions(result: Figures, found: pa.Table) -> None:
    """Add the share of messages seen again."""
    again, messages = ([0] * len(result.start) for _ in range(2))
    for bucket, n, distinct in zip(*(column.to_pylist() for column in found.columns), strict=True):
        again[bucket] += n - distinct
        messages[bucket] += n
    _set_share(result, "retransmissions", again, messages)


# -- calls


def _add_calls(result: Figures, found: pa.Table) -> None:
    """Add what the rows of calls_sql say."""
    size = len(result.start)
    counts: dict[str, list[int]] = {}
    talk, ended = [0] * size, [0] * size
    delays: dict[str, list[Value]] = {
        f"{kind}_{p}": [None] * size for kind in ("pdd", "rrd") for p in ("p50", "p95")
    }
    result.totals.update(dict.fromkeys(delays))
    for row in found.to_pylist():
        kind, bucket, n = row["kind"], row["bucket"], row["n"]
        if kind == "talk":
            talk[bucket], ended[bucket] = row["value"], n
        elif kind in ("pdd", "rrd"):
            for name, value in ((f"{kind}_p50", row["value"]), (f"{kind}_p95", row["p95"])):
                if bucket is None:
                    result.totals[name] = value / SECOND
                else:
                    delays[name][bucket] = value / SECOND
        else:
            counts.setdefault(kind, [0] * size)[bucket] = n
    result.series.update(delays)
    _set(result, "ended", ended)
    _set_share(result, "acd", [micros / SECOND for micros in talk], ended)
    _add_ratios(result, counts)


def _add_ratios(result: Figures, counts: dict[str, list[int]]) -> None:
    """Add what is made of counts of outcomes."""
    size = len(result.start)

    def sum_of(*kinds: str) -> list[int]:
        lists = [counts.get(kind, [0] * size) for kind in kinds]
        return [sum(values) for values in zip(*lists, strict=True)]

    def attempts(*outcomes: str) -> list[int]:
        return sum_of(*(f"attempt {outcome}" for outcome in outcomes))

    ineffective = ("ineffective", "rang out")
    effective = ("answered", "user", "rang out", "caller", "cancelled")
    ended = (*effective, "ineffective", "failed", "lost")
    every = attempts(*ended, "redirected", "challenged", "open")
    seizures = attempts(*ended)
    _set(result, "attempts", every)
    _set_rate(result, "calls_a_second", every)
    _set(result, "seizures", seizures)
    _set(result, "answered", attempts("answered"))
    _set(result, "open", attempts("open"))
    _set_share(result, "asr", attempts("answered"), seizures)
    _set_share(result, "ner", attempts(*effective), seizures)
    _set_share(result, "seer", attempts("answered", "user"), seizures)
    _set_share(result, "isa", attempts(*ineffective), attempts(*ended, "redirected"))
    good, bad = sum_of("register ok"), sum_of("register failed")
    both = [a + b for a, b in zip(good, bad, strict=True)]
    _set(result, "registrations", both)
    _set_rate(result, "registrations_a_second", both)
    _set(result, "registered", good)
    _set(result, "registration_failures", bad)
    _set_share(result, "registration_ratio", good, both)


def _set(result: Figures, name: str, values: Sequence[int]) -> None:
    result.series[name] = list(values)
    result.totals[name] = sum(values)


def _set_rate(result: Figures, name: str, values: Sequence[int]) -> None:
    result.series[name] = [n / s if s else None for n, s in zip(values, result.seconds, strict=True)]
    length = sum(result.seconds)
    result.totals[name] = sum(values) / length if length else None


def _set_share(result: Figures, name: str, part: Sequence[float], whole: Sequence[int]) -> None:
    result.series[name] = [a / b if b else None for a, b in zip(part, whole, strict=True)]
    total = sum(whole)
    result.totals[name] = sum(part) / total if total else None


# -- other stores


def _of_remote(searcher: RemoteSearcher, node: Node, times: Times, buckets: int) -> Figures:
    """Compute the figures of the newest matches, read as records."""
    before = Times(None if times.since is None else times.since - BEFORE, times.until)
    found = searcher.messages(node, before.since, before.until, MOST, fields=_COLUMNS)
    matches = found.table
    notes = []
    if found.cut:
        oldest = moments(matches)[-1].as_py()
        notes.append(
            f"This store does not compute figures: these are of its newest {MOST:,} messages, from "
            f"{moment_of(oldest):%Y-%m-%d %H:%M:%S} UTC on."
        )
        times = Times(max(oldest, times.since or oldest), times.until)
    calls = matches
    if node != EVERYTHING:
        ids = pc.unique(matches["call_id"].drop_null())
        if len(ids) > _MOST_CALLS:
            ids = ids.slice(0, _MOST_CALLS)
            notes.append(f"Figures of calls are of the newest {_MOST_CALLS:,} calls that match.")
        calls = searcher.messages_of(ids.to_pylist(), before.since, before.until, _COLUMNS, MOST)
    of_messages, of_calls = (Searcher(Memory({"sip": table})) for table in (matches, calls))
    with of_messages._snapshot(Times()) as con:
        frame = _frame(of_messages, con, times, buckets, None)
        result = _empty(frame)
        result.notes = notes
        if not result.start:
            return result
        _add_messages(result, of_messages._run(con, messages_sql(frame)))
        _add_retransmissions(result, of_messages._run(con, retransmissions_sql(frame)))
    with of_calls._snapshot(Times()) as con:
        _add_calls(result, of_calls._run(con, calls_sql(frame)))
    return result
