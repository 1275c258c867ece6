"""Counts over time.

In: a way to count by buckets of a width, and the range. Out: an Arrow table with one row a bucket, empty
ones too: `start`, `end` (timestamps), `total`, and by class of status `request`, `1xx` to `6xx`. The
width is a round one, so that no more than the wanted number of buckets covers what was found.

Messages are counted by their own status. A call is counted where its first matching message is, by the
responses that are among its matching messages: by those to its INVITE where there is one, a 2xx before all
others (a re-INVITE that fails later does not undo it), else by the highest status. 401, 407 and 487 do not
count.
"""

from collections.abc import Callable
from datetime import tzinfo
from typing import Final

import numpy as np
import pyarrow as pa

from hepcat.search.times import SECOND, moment_of
from hepcat.search.within import Times
from hepcat.stores.lake.outcome import OF_INVITE, OUTCOME_SQL
from hepcat.stores.lake.starts import Known

#: Widths, each a multiple of the one before, so that narrow counts add up to wide ones.
WIDTHS: Final[tuple[int, ...]] = (
    1, 10, 100, 1_000, 10_000, 100_000, SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, 60 * SECOND,
    300 * SECOND, 600 * SECOND, 1800 * SECOND, 3600 * SECOND, 3 * 3600 * SECOND, 6 * 3600 * SECOND,
    12 * 3600 * SECOND, 86400 * SECOND, 7 * 86400 * SECOND, 28 * 86400 * SECOND, 364 * 86400 * SECOND,
)  # fmt: skip
#: How much finer than the result the first count is: matches may all lie in one part of the range.
_FINER: Final = 32
#: Hundreds that a status may have, those beyond RFC 3261 included.
_HUNDREDS: Final = 10
CLASSES: Final[tuple[str, ...]] = ("request", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx")

#: (range, width) -> table of bucket, class (0 is a request), n, low and high (first and last time)
Count = Callable[[Times, int], pa.Table]


def counts_sql(condition: str, width: int, messages: bool) -> str:
    """Return the SQL that counts matches by bucket and class. `condition`: made by compile.py."""
    width = int(width)
    if messages:
        return (
            f"SELECT epoch_us(ts) // {width} AS bucket, coalesce(status, 0) // 100 AS class, count(*) AS n, "
            f"epoch_us(min(ts)) AS low, epoch_us(max(ts)) AS high FROM sip WHERE {condition} GROUP BY ALL"
        )
    # 64 bits of hash in place of the text halve the time; that two of millions of calls share them, and
    # are drawn as one, is less likely than one in a million.
    calls = (
        f"SELECT min(ts) AS first, max({OUTCOME_SQL}) % {OF_INVITE} AS status "
        f"FROM sip WHERE {condition} AND call_id IS NOT NULL GROUP BY hash(call_id)"
    )
    return (
        f"SELECT epoch_us(first) // {width} AS bucket, status // 100 AS class, count(*) AS n, "
        f"epoch_us(min(first)) AS low, epoch_us(max(first)) AS high FROM ({calls}) GROUP BY ALL"
    )


def count_calls(calls: Known, width: int) -> pa.Table:
    """Return the counts of calls that are known. In each row low and high are those of all."""
    if not len(calls.first):
        return pa.table({name: np.empty(0, np.int64) for name in ("bucket", "class", "n", "low", "high")})
    buckets = calls.first // width
    least = buckets.min()
    counts = np.bincount((buckets - least) * _HUNDREDS + calls.outcomes % OF_INVITE // 100)
    there = np.flatnonzero(counts)
    return pa.table(
        {
            "bucket": there // _HUNDREDS + least,
            "class": there % _HUNDREDS,
            "n": counts[there],
            "low": np.full(len(there), calls.first.min()),
            "high": np.full(len(there), calls.first.max()),
        }
    )


def width_for(length: int, buckets: int) -> int:
    """Return the narrowest round width of which `buckets` cover a length of time."""
    return next((width for width in WIDTHS if length // width < max(buckets - 1, 1)), WIDTHS[-1])


def build(
    count: Count, times: Times, low: int | None, high: int | None, buckets: int, zone: tzinfo | None
) -> pa.Table:
    """Return the table; `low` and `high` bound all messages of the range, None where there are none."""
    if low is None or high is None:
        return _table({}, [], 1)
    fine = width_for(high - low, buckets * _FINER)
    found = count(times, fine)
    if not len(found):
        return _table({}, [], 1)
    counted = _counted(found)
    first, last = min(found["low"].to_pylist()), max(found["high"].to_pylist())
    width = width_for(last - first, buckets)
    if width < fine:
        return build(count, Times(first, times.until), first, last, buckets, zone)
    shift = _shift(first, width, zone)
    joined: dict[tuple[int, int], int] = {}
    for (bucket, klass), n in counted.items():
        key = ((bucket * fine + shift) // width, klass)
        joined[key] = joined.get(key, 0) + n
    numbers = range((first + shift) // width, (last + shift) // width + 1)
    starts = [number * width - shift for number in numbers]
    return _table({(key[0] * width - shift, key[1]): n for key, n in joined.items()}, starts, width)


def _counted(table: pa.Table) -> dict[tuple[int, int], int]:
    columns = (table[name].to_pylist() for name in ("bucket", "class", "n"))
    return {(int(bucket), min(int(klass), 6)): int(n) for bucket, klass, n in zip(*columns, strict=True)}


def _shift(at: int, width: int, zone: tzinfo | None) -> int:
    """Return what to add to a time so that wide buckets begin at the zone's full hours and midnight."""
    offset = moment_of(at, zone).utcoffset()
    return int(offset.total_seconds()) * SECOND if offset is not None and width >= 1800 * SECOND else 0


def _table(counted: dict[tuple[int, int], int], starts: list[int], width: int) -> pa.Table:
    moment = pa.timestamp("us", tz="UTC")
    columns: dict[str, pa.Array] = {
        "start": pa.array(starts, moment),
        "end": pa.array([start + width for start in starts], moment),
    }
    by_class = [[counted.get((start, klass), 0) for start in starts] for klass in range(len(CLASSES))]
    columns["total"] = pa.array([sum(counts) for counts in zip(*by_class, strict=True)], pa.int64())
    for name, counts in zip(CLASSES, by_class, strict=True):
        columns[name] = pa.array(counts, pa.int64())
    return pa.table(columns)
