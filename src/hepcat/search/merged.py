"""Two streams of messages, each in order of time, as one in order of time.

In: tables with a column ts. Out: tables of the same columns; a table of each is held. What can go wrong:
what the streams raise.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc


def merged(one: Iterator[pa.Table], other: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of both."""
    streams = [one, other]
    heads: list[pa.Table | None] = [_next(one), _next(other)]
    while heads[0] is not None and heads[1] is not None:
        # Up to where the first of both ends, nothing is to come any more.
        lasts = [_times(heads[0])[-1].as_py(), _times(heads[1])[-1].as_py()]
        first = 0 if lasts[0] <= lasts[1] else 1
        whole, partial = (heads[0], heads[1]) if first == 0 else (heads[1], heads[0])
        many = pc.sum(pc.less_equal(_times(partial), lasts[first])).as_py() or 0
        both = pa.concat_tables([whole, partial.slice(0, many)])
        yield both.take(pc.sort_indices(_times(both)))
        rest = partial.slice(many)
        heads[first] = _next(streams[first])
        heads[1 - first] = rest if len(rest) else _next(streams[1 - first])
    for head, stream in zip(heads, streams, strict=True):
        if head is not None:
            yield head
            yield from stream


def _next(stream: Iterator[pa.Table]) -> pa.Table | None:
    """Return the next table that has rows."""
    return next((table for table in stream if len(table)), None)


def _times(table: pa.Table) -> pa.ChunkedArray:
    return table["ts"].cast(pa.timestamp("us", "UTC")).cast("int64")
