"""Arithmetic of record numbers: ranges (first, last), both included.

In: ranges in any order, from a database or a file, so maybe overlapping or senseless. Out: merged ones in
order, and what they cover or leave of others. Nothing can go wrong.
"""

from bisect import bisect_right
from collections.abc import Iterable

from hepcat.stores.writer import Range


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return the same numbers as ranges in order that neither overlap nor touch; empty ones are left out."""
    result: list[Range] = []
    for first, last in sorted(ranges):
        if last < first:
            continue
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result


def below(ranges: Iterable[Range], end: int) -> list[Range]:
    """Return the part of the ranges that lies below `end`."""
    return [(first, min(last, end - 1)) for first, last in ranges if first < end]


def above(ranges: Iterable[Range], begin: int) -> list[Range]:
    """Return the part of the ranges that does not lie below `begin`."""
    return [(max(first, begin), last) for first, last in ranges if last >= begin]


def within(first: int, last: int, done: list[Range]) -> list[Range]:
    """Return what merged ranges cover of first..last, in order."""
    at = max(bisect_right(done, (first, first)) - 1, 0)
    found = []
    while at < len(done) and done[at][0] <= last:
        covered = (max(done[at][0], first), min(done[at][1], last))
        if covered[0] <= covered[1]:
            found.append(covered)
        at += 1
    return found


def left(first: int, last: int, done: list[Range]) -> list[Range]:
    """Return what merged ranges leave of first..last, in order."""
    rest, at = [], first
    for covered in within(first, last, done):
        if covered[0] > at:
            rest.append((at, covered[0] - 1))
        at = covered[1] + 1
    if at <= last:
        rest.append((at, last))
    return rest


def size(ranges: Iterable[Range]) -> int:
    """Return how many numbers disjoint ranges hold."""
    return sum(last - first + 1 for first, last in ranges)
