"""One query, timed, in a process of its own, so that its memory is its own too.

In: a lake, a kind of query and what it asks for. Out: seconds of the first run and of five warm ones,
rows found, and the most memory that the process ever had (VmHWM).
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hepcat.search.searcher import Searcher
from hepcat.stores.lake.reader import Lake

_WARM: Final = 5
#: Rows that `hepcat search` shows unless it is told otherwise.
_SHOWN: Final = 100


def time_query(data: Path, kind: str, value: str, since: int, until: int) -> dict[str, Any]:
    """Run it; since, until: microseconds, 0 leaves them open. The kinds are what a person asks:

    call_id: all messages of a call. calls_of: the newest 100 calls of a from_user, as `hepcat search`
    shows them; messages_of: its newest 100 messages with every column; matches_of: how many messages
    it has. histogram: of all messages; calls: of all calls. "rows" is how many were found or counted.

    Raises HepcatError where there is no such lake, KeyError for an unknown kind.
    """
    with Lake(data) as lake:
        searcher = Searcher(lake)
        times = (since or None, until or None)
        sender = f'from_user:"{value}"'
        runs: dict[str, Callable[[], int]] = {
            "call_id": lambda: searcher.messages(f'call_id:"{value}"').table.num_rows,
            "calls_of": lambda: searcher.calls(sender, *times, limit=_SHOWN).table.num_rows,
            "messages_of": lambda: searcher.messages(sender, *times, limit=_SHOWN).table.num_rows,
            "matches_of": lambda: searcher.count(sender, *times, messages=True),
            "histogram": lambda: searcher.histogram("", *times, messages=True).num_rows,
            "calls": lambda: searcher.histogram("", *times).num_rows,
        }
        run = runs[kind]
        spent = []
        rows = 0
        for _ in range(1 + _WARM):
            begin = time.perf_counter()
            rows = run()
            spent.append(time.perf_counter() - begin)
    return {
        "rows": rows,
        "first": spent[0],
        "warm": statistics.median(spent[1:]),
        "memory": _most_memory(),
    }


def _most_memory() -> int:
    """Return the most resident memory this process has had, octets; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
