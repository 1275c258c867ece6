"""Figures: what a dashboard says about a range of time, as totals and over time.

In: a searcher, a query, a range of time in microseconds since the epoch (since is included, until is not),
how many buckets. Out: `Figures`; figure_table.py says what each is. What can go wrong: QueryError for
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
from hepcat.search.figure_table import MOST_BUCKETS
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
    searcher: Searcher,
    con: duckdb.DuckDBPyConnection,
    times: Times,
    buckets: int,
    matching: str | None,
    others: Sequence[int] = (),
) -> Frame:
    """Return the frame: buckets of a round width, beginning at multiples of it.

    others: times of messages of the range that the connection does not have.
    """
    known = Times(
        BEFORE if times.since is None else times.since, CLAMP if times.until is None else times.until
    )
    low, high, _ = searcher._extent(con, known, "sip")
    low = min((at for at in (low, *others) if at is not None), default=None)
    high = max((at for at in (high, *others) if at is not None), default=None)
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
    others: list[int] = []
    if node != EVERYTHING:
        ids = pc.unique(matches["call_id"].drop_null())
        if len(ids) > _MOST_CALLS:
            ids = ids.slice(0, _MOST_CALLS)
            notes.append(f"Figures of calls are of the newest {_MOST_CALLS:,} calls that match.")
        calls = searcher.messages_of(ids.to_pylist(), before.since, before.until, _COLUMNS, MOST)
        # What still waits for an answer is told by all messages, not by those that match.
        newest = searcher.messages("", times.since, times.until, 1, fields=_COLUMNS[:1]).table
        others = moments(newest).to_pylist()
        if times.since is None and len(calls):
            others.append(moments(calls)[0].as_py())
    of_messages, of_calls = (Searcher(Memory({"sip": table})) for table in (matches, calls))
    with of_messages._snapshot(Times()) as con:
        frame = _frame(of_messages, con, times, buckets, None, others)
        result = _empty(frame)
        result.notes = notes
        if not result.start:
            return result
        _add_messages(result, of_messages._run(con, messages_sql(frame)))
        _add_retransmissions(result, of_messages._run(con, retransmissions_sql(frame)))
    with of_calls._snapshot(Times()) as con:
        _add_calls(result, of_calls._run(con, calls_sql(frame)))
    return result
