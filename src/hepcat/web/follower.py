"""The follower of a store: a thread that reads what arrives, and feeds the channels.

In: a store, its tail. Out: events of its channels. What can go wrong: the store is away: the channels are
told, and the tail is opened again. It works at most a third of the time, so that live results never take the
machine from those who search and from what is stored.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from hepcat.errors import HepcatError
from hepcat.search.cancel import Cancel
from hepcat.search.live import INTERVAL
from hepcat.search.searcher import AROUND
from hepcat.search.within import Times
from hepcat.web.channel import MOST_ROWS, Channel, Wish, with_call_id
from hepcat.web.events import Listener
from hepcat.web.rows import plain, times

if TYPE_CHECKING:
    from hepcat.search.api import Data

#: Seconds that a channel without listeners is kept for who comes back.
LINGER: Final = 30.0
#: Seconds between two events about changes of the same call.
CHANGES_EVERY: Final = 1.0
#: Seconds until a store that did not answer is asked again.
_AGAIN: Final = 2.0
#: Pauses are this many times as long as the work between them.
_PAUSE: Final = 2.0

log = structlog.get_logger("hepcat.web")


class Follower:
    """Begins at once; ends by itself when nobody has listened for a while."""

    def __init__(
        self, store: str, data: "Data", tail: Callable[[], Any], seconds: float, most_idle: int
    ) -> None:
        self._data, self._open, self._seconds, self._most_idle = data, tail, seconds, most_idle
        self._channels: dict[Wish, Channel] = {}
        self._mutex = threading.Lock()
        self._stopping = threading.Event()
        self._changes_at = 0.0
        self.ended = False
        self._thread = threading.Thread(target=self._run, name=f"live-{store}", daemon=True)

    def join(self, wish: Wish, listener: Listener, loop: asyncio.AbstractEventLoop) -> Channel | None:
        """Add a listener to the channel of a wish; None where the follower has ended."""
        with self._mutex:
            if self.ended or self._stopping.is_set():
                return None
            channel = self._channels.setdefault(wish, Channel(wish))
            channel.join(listener, loop)
            if self._thread.ident is None:
                self._thread.start()
            return channel

    def stop(self) -> None:
        """End soon; the streams of those who listen end with what they have."""
        with self._mutex:
            self._stopping.set()
            for channel in self._channels.values():
                channel.end()

    def _run(self) -> None:
        tail: Any = None
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            while not self._stopping.is_set():
                begun = time.monotonic()
                channels = self._current()
                if not channels:
                    break
                pause = INTERVAL
                try:
                    tail = self._open() if tail is None else tail
                    self._look(con, tail.poll(), channels)
                except Exception as error:
                    _tell_trouble(channels, error)
                    _close(tail)
                    tail, pause = None, _AGAIN
                took = time.monotonic() - begun
                self._stopping.wait(max(pause - took, _PAUSE * took, 0.02))
        _close(tail)
        with self._mutex:
            self.ended = True

    def _current(self) -> list[Channel]:
        """Return the channels, without those that nobody has listened to for a while; none: it is over."""
        with self._mutex:
            now = time.monotonic()
            idle = [c for c in self._channels.values() if c.idle_since is not None]
            idle.sort(key=lambda channel: channel.idle_since or 0.0)
            over = len(idle) - self._most_idle
            for n, channel in enumerate(idle):
                if n < over or now - (channel.idle_since or now) > LINGER:
                    del self._channels[channel.wish]
            if not self._channels:
                self.ended = True  # who comes now begins a new one
            return list(self._channels.values())

    def _look(self, con: duckdb.DuckDBPyConnection, arrived: pa.Table, channels: list[Channel]) -> None:
        if len(arrived):
            con.register("sip", arrived)
            try:
                for channel in channels:
                    self._match(con, channel, arrived)
            finally:
                con.unregister("sip")
        of_calls = [channel for channel in channels if channel.wish.of == "calls"]
        if of_calls:
            self._tell_calls(of_calls, arrived)

    def _match(self, con: duckdb.DuckDBPyConnection, channel: Channel, arrived: pa.Table) -> None:
        """Tell of messages, or note calls."""
        wish = channel.wish
        try:
            if wish.of == "messages":
                found = self._data.searcher.filter(con, wish.node, wish.fields)
                _tell_rows(channel, found.slice(max(0, len(found) - MOST_ROWS)), len(found) - MOST_ROWS)
                return
            found = self._data.searcher.filter(con, wish.node, ["ts", "call_id"])
        except (HepcatError, duckdb.Error) as error:
            _tell_trouble([channel], error)
            return
        channel.note_calls(_ids(found), _ids(arrived))

    def _tell_calls(self, channels: list[Channel], arrived: pa.Table) -> None:
        """Tell of calls that are new, and, once in a while, of those that went on."""
        again = time.monotonic() >= self._changes_at
        if again:
            self._changes_at = time.monotonic() + CHANGES_EVERY
        wanted: dict[Channel, tuple[list[str], int]] = {}
        for channel in channels:
            fresh, left_out = channel.take_fresh()
            changed = [i for i in channel.take_changed() if i not in fresh] if again else []
            if fresh or changed or left_out:
                wanted[channel] = ([*fresh, *changed], left_out)
        by_fields: dict[tuple[str, ...], dict[str, None]] = {}
        for channel, (ids, _) in wanted.items():
            by_fields.setdefault(channel.wish.fields, {}).update(dict.fromkeys(ids))
        for fields, union in by_fields.items():
            rows = self._rows(list(union), fields, arrived)
            for channel, (ids, left_out) in wanted.items():
                if channel.wish.fields == fields:
                    mine = [rows[i] for i in ids if i in rows]
                    if mine:
                        channel.tell("calls", mine)
                    channel.leave_out(left_out)

    def _rows(self, ids: list[str], fields: tuple[str, ...], arrived: pa.Table) -> dict[str, dict[str, Any]]:
        """Return the rows of calls by Call-ID; what they are made of lies at most AROUND before now."""
        known = [at for at in times(arrived["ts"]) if at is not None] if len(arrived) else []
        span = Times(min([*known, time.time_ns() // 1000]) - AROUND)
        columns = with_call_id(fields)
        with Cancel(self._seconds).active():
            rows = plain(self._data.searcher.calls_of(ids, span, columns))
        return {row["call_id"]: {name: row[name] for name in columns} for row in rows}


def _ids(table: pa.Table) -> list[str]:
    return [i for i in pc.unique(table["call_id"]).to_pylist() if i is not None]


def _tell_rows(channel: Channel, table: pa.Table, left_out: int) -> None:
    if len(table):
        channel.tell("messages", plain(table))
    channel.leave_out(left_out)


def _tell_trouble(channels: list[Channel], error: Exception) -> None:
    known = isinstance(error, HepcatError)
    if not known:
        log.error("live results ran into a fault", exc_info=error)
    text = str(error) if known else "The live results ran into a fault; the server's log says more."
    for channel in channels:
        channel.tell("note", {"note": text})


def _close(tail: Any) -> None:
    """Close a tail, which may be broken."""
    if tail is not None:
        try:
            tail.close()
        except Exception as error:
            log.warning("the end of a store could not be closed", why=str(error))
