"""What can be asked of a running server: one table of methods, whatever the door.

In: the server. Out: plain values (what JSON can carry); secrets never. A door (HTTP, later a socket and a
FIFO) looks the name up in METHODS and hands the answer out.
"""

import os
from collections.abc import Callable
from typing import Any, Final

from hepcat import __version__
from hepcat.pipeline.counters import SourceCounts
from hepcat.pipeline.server import Server


def status(server: Server) -> dict[str, Any]:
    """Version, process, listeners, lake, and whether the store takes records."""
    return {
        "version": __version__,
        "pid": os.getpid(),
        "listening": list(dict.fromkeys(source.url for source in server.sources)),
        "data": str(server.settings.data),
        "storing": server.store_ok(),
        "trouble": server.storing.trouble if server.storing is not None else None,
    }


def stats(server: Server) -> dict[str, Any]:
    """Return the counters: total, by source and by agent; the numbers of /metrics and of the log."""
    counts = server.counters.snapshot()
    return {
        "total": _plain(counts.total),
        "sources": {url: _plain(numbers) for url, numbers in counts.sources.items()},
        "agents": counts.agents,
        "queue": {"records": counts.queue_records, "octets": counts.queue_octets},
    }


def _plain(counts: SourceCounts) -> dict[str, Any]:
    return {
        "received": counts.received,
        "octets": counts.octets,
        "stored": counts.stored,
        "forwarded": counts.forwarded,
        "in_flight": counts.in_flight,
        "connections": counts.connections,
        "dropped": {drop.name.lower(): count for drop, count in counts.drops.items()},
    }


#: name -> method
METHODS: Final[dict[str, Callable[[Server], dict[str, Any]]]] = {"status": status, "stats": stats}
