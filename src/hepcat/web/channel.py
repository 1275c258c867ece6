"""A channel: what all clients hear that asked for the same.

In: what arrived and matches, rows of calls. Out: events to each listener, the last of which are kept for who
comes back. What can go wrong: nothing. Bounds: calls that are watched for changes, rows of an event, events
kept.
"""

import asyncio
import contextlib
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import duckdb

from hepcat.search.ast import Node
from hepcat.search.columns import call_fields
from hepcat.stores.lake.arrow import arrow_schema
from hepcat.web.events import Listener, event

if TYPE_CHECKING:
    from hepcat.search.api import Data

Of = Literal["calls", "messages"]

#: Rows of one event; of more only the newest are told.
MOST_ROWS: Final = 200
#: Calls told of whose further messages are told too.
MOST_WATCHED: Final = 2000
#: Events that are kept for who comes back, and their octets.
_KEPT: Final = 50
_KEPT_OCTETS: Final = 1 << 20
#: Seconds between two notes about rows that were left out.
_LEFT_OUT_EVERY: Final = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to hear of; equal ones share a channel."""

    of: Of
    q: str
    node: Node
    fields: tuple[str, ...]

    def check(self, data: "Data") -> None:
        """Raise HepcatError where a column is none."""
        if self.of == "calls":
            call_fields(self.fields)
            return
        with duckdb.connect() as con:
            con.register("sip", arrow_schema("sip").empty_table())
            data.searcher.filter(con, self.node, self.fields)


class Channel:
    """Fed by its follower's thread; clients come and go in theirs."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self._mutex = threading.Lock()
        self._listeners: dict[Listener, asyncio.AbstractEventLoop] = {}
        self._name, self._number = secrets.token_hex(4), 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_octets = 0
        self._watched: OrderedDict[str, None] = OrderedDict()
        self._fresh: OrderedDict[str, None] = OrderedDict()
        self._changed: OrderedDict[str, None] = OrderedDict()
        self._left_out, self._left_out_at = 0, 0.0
        #: when the last listener left; None: there are some
        self.idle_since: float | None = time.monotonic()

    # -- listeners

    def join(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        """Let a listener hear what comes."""
        with self._mutex:
            self._listeners[listener] = loop
            self.idle_since = None

    def leave(self, listener: Listener) -> None:
        """Let it hear no more."""
        with self._mutex:
            self._listeners.pop(listener, None)
            if not self._listeners:
                self.idle_since = time.monotonic()

    def end(self) -> None:
        """Let all streams end: the server stops."""
        with self._mutex:
            for listener, loop in self._listeners.items():
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(listener.end)

    def missed(self, last: str) -> list[bytes] | None:
        """Return the events after the one that a client saw last; None where they are not known any more."""
        name, _, rest = last.partition("-")
        number = rest.partition("-")[0]
        if name != self._name or not number.isascii() or not number.isdecimal() or len(number) > 18:
            return None
        with self._mutex:
            seen = int(number)
            first = self._kept[0][0] if self._kept else self._number + 1
            if not first - 1 <= seen <= self._number:
                return None
            return [octets for n, octets in self._kept if n > seen]

    def tell(self, name: str, value: Any) -> None:
        """Send an event to all; rows are kept for who comes back."""
        with self._mutex:
            if name == self.wish.of:
                self._number += 1
                octets = event(name, value, f"{self._name}-{self._number}-{time.time_ns() // 1000}")
                self._keep(octets)
            else:
                octets = event(name, value)
            for listener, loop in self._listeners.items():
                with contextlib.suppress(RuntimeError):  # the loop has ended: the server stops
                    loop.call_soon_threadsafe(listener.offer, octets)

    def leave_out(self, count: int) -> None:
        """Note rows that are too many to be told; told are they together, now and then."""
        self._left_out += max(count, 0)
        if self._left_out and time.monotonic() >= self._left_out_at:
            self._left_out_at = time.monotonic() + _LEFT_OUT_EVERY
            words = f"{self._left_out:,} more came than are shown."
            self.tell("note", {"note": words, "skipped": self._left_out})
            self._left_out = 0

    def _keep(self, octets: bytes) -> None:
        self._kept.append((self._number, octets))
        self._kept_octets += len(octets)
        while len(self._kept) > _KEPT or self._kept_octets > _KEPT_OCTETS:
            self._kept_octets -= len(self._kept.popleft()[1])

    # -- calls

    def note_calls(self, matching: Iterable[str], arrived: Iterable[str]) -> None:
        """Note the calls of messages that match, and of all that came, in order of time."""
        for call_id in matching:
            if call_id not in self._watched:
                self._fresh[call_id] = None
        for call_id in arrived:
            if call_id in self._watched:
                self._changed[call_id] = None

    def take_fresh(self) -> tuple[list[str], int]:
        """Return the calls to tell of for the first time, and how many are left out."""
        fresh = list(self._fresh)
        self._fresh.clear()
        told = fresh[-MOST_ROWS:]
        for call_id in told:
            self._watched[call_id] = None
        while len(self._watched) > MOST_WATCHED:
            gone = self._watched.popitem(last=False)[0]
            self._changed.pop(gone, None)
        return told, len(fresh) - len(told)

    def take_changed(self) -> list[str]:
        """Return calls to tell of again; what is too much for one event comes with the next."""
        changed = list(self._changed)[:MOST_ROWS]
        for call_id in changed:
            del self._changed[call_id]
        return changed


def with_call_id(fields: Sequence[str]) -> tuple[str, ...]:
    """Return columns by which a row can be told from others."""
    return tuple(dict.fromkeys((*fields, "call_id")))
