"""The other legs of a call: what a B2BUA, an SBC or a PBX made of it under other Call-IDs.

In: a searcher (of the lake or of another store), Call-IDs, bounds in microseconds since the epoch. Out:
`Relations`: the Call-IDs that belong to the same call, each with the reason and the leg it was found from,
and notes on what was not followed. What can go wrong: HepcatError as for any search.

Legs belong together by
- the HEP correlation id: equal, or the Call-ID of the other leg (that is what many agents put there);
- the A-leg header (column call_id_aleg), which names the other leg's Call-ID, in either direction;
- Session-ID (RFC 7989): one of its two UUIDs is equal, whichever side it stands for; the nil UUID means
  none; the older form (RFC 7329) has one UUID.

Legs of legs count too. Only messages less than AROUND from those of the calls asked for are looked at, for
Session-IDs less than OVERLAP: tables of other programs have no column for them and are read through. What
CROWD calls or more share is a constant of some device and not followed, which a note says.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from hepcat.search.ast import Equals, Match, Node, any_of
from hepcat.search.render.escape import safe_line
from hepcat.search.searcher import AROUND

if TYPE_CHECKING:
    import pyarrow as pa

    from hepcat.search.remote_searcher import RemoteSearcher
    from hepcat.search.searcher import Searcher

#: An id that so many calls have in common tells nothing about one of them.
CROWD: Final = 100
#: Legs of one call are there at the same time; so much the clocks of agents may differ. Microseconds.
OVERLAP: Final = 600 * 1_000_000
#: Bounds on what is read: rounds of legs of legs, messages of all legs together, ids of each kind.
_ROUNDS: Final = 4
_MESSAGES: Final = 5000
_IDS: Final = 32
_LONGEST: Final = 512
_PAIRS: Final = 4
_FIELDS: Final = ("ts", "call_id", "correlation_id", "call_id_aleg", "session_id")
_UUID: Final = re.compile(r"[0-9a-f]{32}")
_NIL: Final = "0" * 32  # RFC 7989 section 5

CORRELATION: Final = "correlation id"
ALEG: Final = "A-leg header"
SESSION: Final = "Session-ID"


@dataclass(frozen=True, slots=True)
class Related:
    """One more leg: its Call-ID, why it belongs to the call, and the Call-ID it was found from."""

    call_id: str
    why: str
    of: str


@dataclass(frozen=True, slots=True)
class Relations:
    """The other legs, nearest first, and what was not followed, in sentences."""

    related: tuple[Related, ...]
    notes: tuple[str, ...] = ()


class _Id(NamedTuple):
    """Something that legs can have in common; of a Session-ID one UUID."""

    why: str
    value: str


#: The ids of each leg.
_Ids = dict[str, list[_Id]]


def related(
    searcher: "Searcher | RemoteSearcher",
    call_ids: Sequence[str],
    since: int | None = None,
    until: int | None = None,
    limit: int = 20,
) -> list[Related]:
    """Return up to `limit` other legs of these calls."""
    return list(relations(searcher, call_ids, since, until, limit).related)


def relations(
    searcher: "Searcher | RemoteSearcher",
    call_ids: Sequence[str],
    since: int | None = None,
    until: int | None = None,
    limit: int = 20,
) -> Relations:
    """Return up to `limit` other legs of these calls, and what was not followed."""
    search = _Search(searcher, since, until, limit)
    frontier = list(dict.fromkeys(call_ids))
    search.known.update(frontier)
    for _ in range(_ROUNDS):
        if not frontier or len(search.found) >= limit:
            break
        frontier = search.round(frontier)
    else:
        if frontier:
            search.notes.append(
                f"other legs are followed over {_ROUNDS} steps; there may be more: look from one of the last"
            )
    return Relations(tuple(search.found), tuple(search.notes))


class _Search:
    """One search for legs: what is known so far."""

    def __init__(
        self, searcher: "Searcher | RemoteSearcher", since: int | None, until: int | None, limit: int
    ) -> None:
        self.searcher, self.since, self.until, self.limit = searcher, since, until, limit
        self.known: set[str] = set()
        self.found: list[Related] = []
        self.notes: list[str] = []
        self.asked: set[_Id] = set()
        self.crowds: set[_Id] = set()
        self.sessions: dict[str, set[str]] = {}  # UUID -> headers that have it, as they were sent
        self.range: tuple[int | None, int | None] | None = None
        self.span: tuple[int, int] | None = None  # first and last message of the calls asked for

    def round(self, frontier: list[str]) -> list[str]:
        """Find the legs next to these; return the new ones."""
        table = self._messages(frontier)
        if not len(table):
            return []
        if self.range is None:
            self.range = self._near(table)
        owners = self._ids(table)
        wanted = [each for ids in owners.values() for each in ids if each not in self.asked]
        wanted = list(dict.fromkeys(wanted))[:_IDS]
        self.asked.update(wanted)
        candidates = self._calls(wanted)
        return self._link(owners, self._ids(self._messages(candidates))) if candidates else []

    def _messages(self, call_ids: list[str]) -> "pa.Table":
        since, until = self.range or (self.since, self.until)
        return self.searcher.messages_of(call_ids, since, until, _FIELDS, _MESSAGES)

    def _near(self, table: "pa.Table") -> tuple[int | None, int | None]:
        """Return the range of time in which other legs are looked for."""
        at = [t for t in table["ts"].cast("int64").to_pylist() if t is not None]
        if not at:
            return self.since, self.until
        self.span = (min(at), max(at))
        low, high = min(at) - AROUND, max(at) + AROUND
        return (
            low if self.since is None else max(low, self.since),
            high if self.until is None else min(high, self.until),
        )

    def _range(self, column: str) -> tuple[int | None, int | None]:
        """Return when to look for values of a column."""
        since, until = self.range or (None, None)
        if column != "session_id" or self.span is None:
            return since, until
        low, high = self.span[0] - OVERLAP, self.span[1] + OVERLAP
        return max(low, since or low), min(high, until or high)

    def _calls(self, wanted: Iterable[_Id]) -> list[str]:
        """Return Call-IDs that are not known yet and have one of these ids.

        Each column is asked for on its own: then its index finds the messages.
        """
        found: dict[str, None] = {}
        for column, values in self._columns(wanted).items():
            calls = self._having(column, values)
            if len(calls) >= CROWD:
                calls = self._having(column, self._without_crowds(column, values))
            found.update(dict.fromkeys(calls))
        return [call_id for call_id in found if call_id not in self.known]

    def _having(self, column: str, values: Iterable[str]) -> list[str]:
        terms: list[Node] = [Match(column, Equals(value)) for value in values]
        if not terms:
            return []
        since, until = self._range(column)
        most = len(self.known) + CROWD
        calls = self.searcher.calls(any_of(*terms), since, until, limit=most, fields=["call_id"])
        return [call_id for call_id in calls.table["call_id"].to_pylist() if call_id]

    def _without_crowds(self, column: str, values: dict[str, _Id]) -> list[str]:
        """Leave out ids that many calls share, with a note."""
        kept = []
        since, until = self._range(column)
        for value, each in values.items():
            calls = self.searcher.count(Match(column, Equals(value)), since, until)
            if calls < CROWD:
                kept.append(value)
            elif each not in self.crowds:
                self.crowds.add(each)
                shown = safe_line(each.value, 80)
                self.notes.append(f"{each.why} {shown} is shared by {calls:,} calls and was not followed")
        return kept

    def _link(self, owners: _Ids, candidates: _Ids) -> list[str]:
        """Say of each new leg why and from where it was found; return them."""
        owner = {each: call_id for call_id, ids in reversed(owners.items()) for each in ids}
        new: list[str] = []
        for call_id, ids in candidates.items():
            shared = next((each for each in ids if each in owner and each not in self.crowds), None)
            if shared is None or call_id in self.known:
                continue
            if len(self.found) >= self.limit:
                self.notes.append(f"there are more other legs than the {self.limit} that are told")
                break
            self.known.add(call_id)
            self.found.append(Related(call_id, shared.why, owner[shared]))
            new.append(call_id)
        return new

    def _ids(self, table: "pa.Table") -> _Ids:
        """Return what each leg of these messages may have in common with others, each id once."""
        found: dict[str, dict[_Id, None]] = {}
        columns = (table[name].to_pylist() for name in _FIELDS[1:])
        for call_id, correlation, aleg, session in zip(*columns, strict=True):
            if not call_id:
                continue
            # its own Call-ID may be another's correlation id, or stand in another's A-leg header
            ids = found.setdefault(call_id, {_Id(ALEG, call_id): None, _Id(CORRELATION, call_id): None})
            for why, value in ((CORRELATION, correlation), (ALEG, aleg)):
                if value and len(value) <= _LONGEST:
                    ids[_Id(why, value)] = None
            for uuid in _uuids(session):
                self.sessions.setdefault(uuid, set()).add(session)
                ids[_Id(SESSION, uuid)] = None
        return {call_id: list(ids) for call_id, ids in found.items()}

    def _columns(self, ids: Iterable[_Id]) -> dict[str, dict[str, _Id]]:
        """Return in which columns to look for which values; all of these columns have an index."""
        columns: dict[str, dict[str, _Id]] = {}
        for each in ids:
            if each.why == SESSION:
                for text in self._headers_with(each.value):
                    columns.setdefault("session_id", {})[text] = each
                continue
            column = "correlation_id" if each.why == CORRELATION else "call_id_aleg"
            columns.setdefault(column, {})[each.value] = each
            if each.value not in self.known:
                columns.setdefault("call_id", {})[each.value] = each
        return columns

    def _headers_with(self, uuid: str) -> list[str]:
        """Return the forms of Session-ID that this UUID may stand in: alone, as sent, and the other way."""
        forms = {uuid, f"{uuid};remote={_NIL}"}
        for sent in sorted(self.sessions.get(uuid, ()))[:_PAIRS]:
            forms.add(sent)
            pair = _uuids(sent)
            if len(pair) == 2:
                forms.update((f"{pair[0]};remote={pair[1]}", f"{pair[1]};remote={pair[0]}"))
        return sorted(forms)


def _uuids(session: str | None) -> list[str]:
    """Return the UUIDs of a Session-ID header, local and remote, those that are nil left out."""
    if not session or len(session) > _LONGEST:
        return []
    local, *rest = session.lower().split(";")[:8]
    remote = [part.partition("=")[2] for part in rest if part.partition("=")[0].strip() == "remote"]
    found = [text.strip() for text in (local, *remote[:1])]
    return [uuid for uuid in found if _UUID.fullmatch(uuid) and uuid != _NIL]
