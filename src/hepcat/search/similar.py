"""Call-IDs that look like one that nobody knows: for the hint beside "no such call".

In: a searcher and the Call-ID that was asked for. Out: at most `most` known ones that begin as it does. What
can go wrong: HepcatError of the search.
"""

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher
    from hepcat.search.searcher import Searcher

#: The beginning of a Call-ID that means nothing else in the query language.
_PLAIN: Final = re.compile(r"[\w.@+\-]+")
#: Shorter beginnings are like every other Call-ID.
_SHORTEST: Final = 4


def similar(
    searcher: "Searcher | RemoteSearcher",
    call_id: str,
    since: int | None = None,
    until: int | None = None,
    most: int = 3,
) -> list[str]:
    """Return Call-IDs that begin as this one does, or as its first half does; newest first."""
    match = _PLAIN.match(call_id)
    start = match[0] if match is not None else ""
    for length in (len(start), len(start) // 2):
        if length >= _SHORTEST:
            found = searcher.calls(f"call_id:{start[:length]}*", since, until, most, None, ["call_id"]).table
            known = [name for name in found["call_id"].to_pylist() if name]
            if known:
                return known
    return []
