"""What a query found a moment ago: who asks for its histogram next need not look for it again.

In: queries, each with its range and all calls that match there. Out: for a query and a range, what it found
in the beginning of that range. What can go wrong: nothing; what is not remembered is looked for.

What is stored after the search counts as far as it is not older than `_LATE`: that much of the end of a range
is looked at again. A message that came later still, say from an agent's spool, can be missed for as long as
a query is remembered, by a histogram beside rows that do not have it either.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from hepcat.search.ast import Node
from hepcat.search.within import Times
from hepcat.stores.lake.starts import Known

#: Seconds: longer than a histogram waits for rows of others to go first.
_KEPT: Final = 15.0
#: Queries at most, and calls of one: 60 MB with Call-IDs of 40 octets.
_MOST: Final = 64
_CALLS: Final = 10_000
#: Microseconds: what was captured may take as long until it is found.
_LATE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Matches:
    """The calls that match in a range: Call-IDs, and when and how each does, by its messages that match."""

    times: Times
    call_ids: pa.Array
    calls: Known

    @classmethod
    def of(cls, times: Times, found: pa.Table) -> "Matches":
        """Make it of columns call_id, hash, first, outcome; a call may have several rows."""
        found = found.combine_chunks()
        hashes, first, outcomes = (found[name].to_numpy() for name in ("hash", "first", "outcome"))
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        begins = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1]))[: len(hashes)])
        first = np.minimum.reduceat(first[order], begins)
        outcomes = np.maximum.reduceat(outcomes[order], begins)
        call_ids = found["call_id"].combine_chunks().take(pa.array(order[begins]))
        return cls(times, call_ids, Known(hashes[begins], first, first, outcomes))

    def begun_before(self, at: int) -> list[str]:
        """Return the Call-IDs of those that match before a time already."""
        ids: list[str] = self.call_ids.filter(pa.array(self.calls.first < at)).to_pylist()
        return ids

    def since(self, at: int) -> Known:
        """Return the calls without those."""
        return self.calls.where(self.calls.first >= at)

    @property
    def looked_until(self) -> int:
        """What was captured before is known; what was captured later may have been stored since."""
        assert self.times.since is not None
        assert self.times.until is not None
        return max(self.times.until - _LATE, self.times.since)


class Remembered:
    """Queries and what they found. Threads may share one."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._found: OrderedDict[Node, tuple[float, Matches]] = OrderedDict()

    def put(self, node: Node, times: Times, found: pa.Table) -> None:
        """Remember all that matches in a range with two ends, where it is not much."""
        if times.since is None or times.until is None or len(found) > _CALLS:
            return
        matches = Matches.of(times, found)
        with self._mutex:
            self._found[node] = (time.monotonic(), matches)
            self._found.move_to_end(node)
            while len(self._found) > _MOST:
                self._found.popitem(last=False)

    def of(self, node: Node, times: Times) -> Matches | None:
        """Return what matches in the beginning of a range, and maybe before it; None: not known."""
        with self._mutex:
            at, found = self._found.get(node, (float("-inf"), None))
        if found is None or time.monotonic() - at > _KEPT or times.since is None or times.until is None:
            return None
        since, until = found.times.since, found.times.until
        assert since is not None
        assert until is not None
        return found if since <= times.since < until <= times.until else None
