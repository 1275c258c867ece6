"""Export: what a query finds, written as a capture file, text or JSON, a page after another.

In: an opened lake, a query, a range of time. Out: octets to a binary file. Whole calls by default
(export_plan.py), else the matching messages alone. What can go wrong: HepcatError of the search, OSError of
the file. Memory holds one page, and the Call-IDs of what was found.
"""

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from hepcat.search.errors import UnknownName
from hepcat.search.export_pieces import FORMATS, Format, Written
from hepcat.search.export_plan import plan_of_calls, plan_of_messages

if TYPE_CHECKING:
    from hepcat.search.api import Data


@dataclass(slots=True)
class Exported(Written):
    """What was written; of so many calls, None where it is single messages."""

    calls: int | None = None


def export(
    data: "Data",
    query: str,
    file: IO[bytes],
    format: Format = "pcap",
    *,
    since: int | None = None,
    until: int | None = None,
    messages: bool = False,
    limit: int | None = None,
) -> Exported:
    """Write what a query finds. since, until: microseconds. limit: calls (messages) at most, newest first."""
    if format not in FORMATS:
        raise UnknownName(f"unknown format {format!r}", f"One of: {', '.join(FORMATS)}.")
    make = plan_of_messages if messages else plan_of_calls
    plan = make(data.searcher, data.searcher.parse(query), since, until, limit=limit)
    done = Exported(calls=plan.calls)
    for piece in plan.pieces(format, done):
        file.write(piece)
    return done
