"""The SQL of figures.py: constant text, but for whole numbers and conditions that compile.py made.

In: a `Frame` (range, width of a bucket, which calls). Out: statements over view sip. What can go wrong:
nothing here; times of capture beyond `CLAMP` must have been left out of the range.

What is kept a call or a message while a statement runs is of fixed size (hashes, times, counts), so DuckDB
can put it on disk: a long range costs time, not memory.
"""

from dataclasses import dataclass
from typing import Final

from hepcat.search.within import Times

SECOND: Final = 1_000_000
#: Times further from 1970 than this are no times of calls (it is the year 2223); sums of them fit 64 bits.
CLAMP: Final = 8_000_000_000_000_000
#: Messages are read from this long before the range: a call that began before it is no new attempt, and one
#: that ends in it was answered before.
BEFORE: Final = 3600 * SECOND
#: No final response, and no sign for this long: nobody will answer any more (RFC 3261 section 16.6, timer C).
GIVEN_UP: Final = 180 * SECOND
#: The same for a REGISTER (RFC 3261 section 17.1.2.2, timer F).
UNREGISTERED: Final = 32 * SECOND

#: Methods that have a line of their own; others are "other", however many a message makes up.
METHODS: Final[tuple[str, ...]] = (
    "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE",
    "INFO", "UPDATE", "PRACK", "REFER",
)  # fmt: skip
#: Final statuses by which the network did its part and the other side, or the caller, decided.
#: 408 belongs to them where it rang before.
DECIDED: Final[tuple[int, ...]] = (480, 486, 487, 600, 603, 607)
#: Of these, and with the answered ones, SEER is made (RFC 6076 section 4.7), ISA of the others (4.8).
SEER: Final[tuple[int, ...]] = (480, 486, 600, 603)
ISA: Final[tuple[int, ...]] = (408, 500, 503, 504)

_IN_METHODS: Final = ", ".join(f"'{name}'" for name in METHODS)
_FINAL: Final = "status BETWEEN 300 AND 999 AND status NOT IN (401, 407)"


@dataclass(frozen=True, slots=True)
class Frame:
    """What is looked at. `begin`: where the first bucket begins; `matching`: SQL of a query, or None."""

    since: int
    until: int
    begin: int
    width: int
    #: the last message of the range, or its end: what is open then is not judged
    as_of: int
    matching: str | None = None

    def bucket(self, at: str) -> str:
        """Return the number of the bucket of a time in microseconds."""
        return f"({at} - {int(self.begin)}) // {int(self.width)}"

    def within(self, at: str) -> str:
        """Return the condition that a time in microseconds is in the range."""
        return f"{at} >= {int(self.since)} AND {at} < {int(self.until)}"

    @property
    def times(self) -> str:
        """The condition on ts."""
        return Times(self.since, self.until).sql()


def _in(statuses: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, statuses))})"


def messages_sql(frame: Frame) -> str:
    """Return bucket, method (of a request, else null), status (of a response) and how many there are."""
    condition = frame.matching or "true"
    return f"""
SELECT {frame.bucket("epoch_us(ts)")} AS bucket,
    CASE WHEN status IS NULL THEN if(method IN ({_IN_METHODS}), method, 'other') END AS method,
    CASE WHEN status BETWEEN 100 AND 699 THEN status WHEN status IS NOT NULL THEN 0 END AS status,
    count(*) AS n
FROM sip WHERE {frame.times} AND ({condition}) GROUP BY ALL"""


def retransmissions_sql(frame: Frame) -> str:
    """Return bucket, messages, and those of them that were not seen before, as the calls' column counts."""
    condition = frame.matching or "true"
    return f"""
SELECT bucket, sum(n)::BIGINT AS messages, count(*) AS distinct_messages FROM (
    SELECT {frame.bucket("min(epoch_us(ts))")} AS bucket, count(*) AS n
    FROM sip WHERE {frame.times} AND ({condition}) AND call_id IS NOT NULL
    GROUP BY hash(call_id, src_ip, src_port, dst_ip, dst_port, method, status, cseq, via_1_branch)
) GROUP BY bucket"""


def _outcomes(frame: Frame) -> dict[str, str]:
    """Return what became of an attempt and when, the first that fits. figures.py adds them up."""
    return {
        "answered": "ok_at IS NOT NULL",
        "redirected": "final BETWEEN 300 AND 399",
        "user": f"final IN {_in(SEER)}",
        "rang out": "final = 408 AND alert_at IS NOT NULL",
        "caller": f"final IN {_in(DECIDED)}",
        "ineffective": f"final IN {_in(ISA)}",
        "failed": "final IS NOT NULL",
        "cancelled": "cancelled",
        "challenged": "challenge >= coalesce(last_invite, 0)",
        "lost": f"last_at < {int(frame.as_of) - GIVEN_UP}",
        "open": "true",
    }


def calls_sql(frame: Frame) -> str:
    """Return rows of kind, bucket (null: the whole range), value and n.

    "attempt X" (X: an outcome) and "register X" (X: ok, failed, open): n of them. "talk": value is the sum of
    the microseconds of n calls. "pdd" and "rrd", with value for the median and p95 for the 95th percentile.
    """
    outcome = " ".join(f"WHEN {sql} THEN 'attempt {name}'" for name, sql in _outcomes(frame).items())
    return f"""
WITH {_facts(frame)}, attempts AS MATERIALIZED (
    SELECT {frame.bucket("invite_at")} AS bucket, CASE {outcome} END AS kind,
        least(alert_at, ok_at) - invite_at AS delay
    FROM facts WHERE {frame.within("invite_at")}
), registers AS MATERIALIZED (
    SELECT {frame.bucket("register_at")} AS bucket,
        CASE WHEN registered_at IS NOT NULL THEN 'register ok' WHEN refused THEN 'register failed'
            WHEN challenged THEN 'register challenged'
            WHEN register_at < {int(frame.as_of) - UNREGISTERED} THEN 'register failed'
            ELSE 'register open' END AS kind,
        registered_at - register_at AS delay
    FROM facts WHERE {frame.within("register_at")}
), delays AS (
    SELECT 'pdd' AS kind, bucket, {_rounded("delay")} AS value FROM attempts WHERE delay >= 0
    UNION ALL
    SELECT 'rrd', bucket, {_rounded("delay")} FROM registers WHERE delay >= 0
), counted AS (
    SELECT kind, bucket, value, count(*) AS n
    FROM delays GROUP BY GROUPING SETS ((kind, bucket, value), (kind, value))
), ranked AS (
    SELECT kind, bucket, value, sum(n) OVER (PARTITION BY kind, bucket ORDER BY value) AS rank,
        sum(n) OVER (PARTITION BY kind, bucket) AS total
    FROM counted
)
SELECT kind, bucket, NULL::BIGINT AS value, NULL::BIGINT AS p95, count(*) AS n FROM attempts GROUP BY ALL
UNION ALL
SELECT kind, bucket, NULL, NULL, count(*) FROM registers GROUP BY ALL
UNION ALL
SELECT 'talk', {frame.bucket("bye_at")}, sum(bye_at - ok_at)::BIGINT, NULL, count(*)
    FROM facts WHERE {frame.within("bye_at")} AND bye_at >= ok_at GROUP BY ALL
UNION ALL
SELECT kind, bucket, min(value) FILTER (rank * 2 >= total), min(value) FILTER (rank * 20 >= total * 19),
    max(total)::BIGINT
    FROM ranked GROUP BY ALL"""


def _facts(frame: Frame) -> str:
    """Return the common table `facts`: one row a call, and one a REGISTER of a Call-ID and CSeq.

    A phone keeps its Call-ID for all its registrations (RFC 3261 section 10.2), so that is no registration.
    """
    chosen = ""
    if frame.matching is not None:
        # A call is counted where one of its messages matches, as a search finds it.
        chosen = (
            " AND hash(call_id) IN (SELECT hash(call_id) FROM sip "
            f"WHERE {frame.times} AND ({frame.matching}) AND call_id IS NOT NULL)"
        )
    read = Times(frame.since - BEFORE, frame.until).sql()
    # Of a call that began before, only when it began and was answered is wanted.
    needed = (
        f"{Times(frame.since - UNREGISTERED, None).sql()} OR "
        "(method = 'INVITE' AND (status IS NULL OR status BETWEEN 200 AND 299))"
    )
    return f"""seen AS (
    SELECT epoch_us(ts) AS us, epoch_us(ts) * 1024 + coalesce(status, 0) AS o, method, status,
        status IS NULL AS request, to_tag IS NULL AS outside,
        CASE WHEN method = 'REGISTER' THEN hash(call_id, cseq) ELSE hash(call_id) END AS key
    FROM sip
    WHERE {read} AND call_id IS NOT NULL AND method IN ('INVITE', 'BYE', 'CANCEL', 'REGISTER')
        AND (status IS NULL OR status BETWEEN 180 AND 999) AND ({needed}){chosen}
), facts AS MATERIALIZED (
    SELECT key,
        min(us) FILTER (request AND outside AND method = 'INVITE') AS invite_at,
        max(o) FILTER (request AND method = 'INVITE') AS last_invite,
        min(us) FILTER (status < 190 AND method = 'INVITE') AS alert_at,
        min(us) FILTER (status BETWEEN 200 AND 299 AND method = 'INVITE') AS ok_at,
        max(o) FILTER ({_FINAL} AND method = 'INVITE') % 1024 AS final,
        max(o) FILTER (status IN (401, 407) AND method = 'INVITE') AS challenge,
        bool_or(method = 'CANCEL' AND request) AS cancelled,
        min(us) FILTER (request AND method = 'BYE') AS bye_at,
        max(us) AS last_at,
        min(us) FILTER (request AND method = 'REGISTER') AS register_at,
        min(us) FILTER (status BETWEEN 200 AND 299 AND method = 'REGISTER') AS registered_at,
        bool_or({_FINAL} AND method = 'REGISTER') AS refused,
        bool_or(status IN (401, 407) AND method = 'REGISTER') AS challenged
    FROM seen GROUP BY key
)"""


def _rounded(value: str) -> str:
    """Return microseconds to three digits, or a millisecond: then there are few different ones to count."""
    step = (
        f"CASE WHEN {value} < 1000000 THEN 1000 WHEN {value} < 10000000 THEN 10000 "
        f"WHEN {value} < 100000000 THEN 100000 ELSE 1000000 END"
    )
    return f"({value} + {step} // 2) // {step} * {step}"
