"""Pages: neighbouring ranges of time that hold about equally many messages each.

In: a way to count matches in a range, and the whole range. Out: half-open ranges, oldest first, that
together have every match once. Messages of one microsecond are never parted, however many they are.
"""

from collections.abc import Iterator
from typing import Final, Protocol

import pyarrow as pa

from hepcat.search.within import Times

#: Messages of one page, about; never more than twice that unless they are of one microsecond.
PAGE_ROWS: Final = 25_000
#: Parts that a range is counted in at once.
_PARTS: Final = 4096


class Run(Protocol):
    """Runs "SELECT ..." on the matches in a range of time."""

    def __call__(self, select: str, part: Times, tail: str = "") -> pa.Table:
        """Return the result; tail: what stands after the condition."""
        ...


def even_windows(run: Run, times: Times, rows: int = PAGE_ROWS) -> list[Times]:
    """Return the windows, at least one. What arrives later, after the newest match, is in none of them."""
    # An infinite time is a null here: then the range stays open, and the outer windows have these.
    found = run("SELECT min(epoch_us(ts)), max(epoch_us(ts)), count(*), count(epoch_us(ts))", times)
    low, high, total, finite = (column[0].as_py() for column in found.columns)
    if low is None:
        return [times]
    whole = times if total > finite else Times(low, high + 1)
    if total <= rows:
        return [whole]
    cuts = list(_cuts(run, low, high + 1, rows))
    return [Times(a, b) for a, b in zip([whole.since, *cuts], [*cuts, whole.until], strict=True)]


def _cuts(run: Run, low: int, end: int, rows: int) -> Iterator[int]:
    """Yield the times, within low and end, where a window ends and the next begins."""
    held = 0
    for begin, until, count in _counted(run, low, end, rows):
        if held and held + count > rows:
            yield begin
            held = 0
        held += count
        if held >= rows and until < end:
            yield until
            held = 0


def _counted(run: Run, low: int, end: int, rows: int) -> Iterator[tuple[int, int, int]]:
    """Yield neighbouring parts (begin, end, how many), none with more than rows if it can be divided."""
    width = max(1, -(-(end - low) // _PARTS))
    # Wide numbers: the difference of two times may be more than 64 bits can hold.
    part_of = f"((epoch_us(ts)::HUGEINT - ({low})::HUGEINT) // {width})::BIGINT"
    found = run(f"SELECT {part_of} AS part, count(*)", Times(low, end), " GROUP BY part")
    for part, count in sorted(zip(found[0].to_pylist(), found[1].to_pylist(), strict=True)):
        begin, until = low + part * width, min(low + (part + 1) * width, end)
        if count > rows and width > 1:
            yield from _counted(run, begin, until, rows)
        else:
            yield begin, until, count
