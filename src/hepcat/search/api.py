"""The Python API: `hepcat.open("data").search("...")`.

In: a lake's folder, queries, times as text (`1h`, `yesterday`, ISO 8601), datetimes or microseconds since
the epoch. Out: Arrow tables, and pictures that draw themselves in a notebook. What can go wrong:
HepcatError, QueryError among them. docs/search.md has the language and the columns.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hepcat.errors import HepcatError
from hepcat.search.follow import Tail
from hepcat.search.live import TailLike
from hepcat.search.searcher import AROUND, Searcher
from hepcat.search.times import length_of, microseconds, parse_time, whole_microseconds
from hepcat.stores.lake import Lake

if TYPE_CHECKING:
    from hepcat.batch.layout import Batch
    from hepcat.config.databases import DatabaseSettings
    from hepcat.config.lake import LakeSettings
    from hepcat.search.ladder import Ladder
    from hepcat.search.related import Related
    from hepcat.search.remote_searcher import RemoteSearcher

When = str | datetime | int | None


def to_microseconds(when: When, what: str = "time") -> int | None:
    """Return microseconds since the epoch; a datetime without zone is local. Raises HepcatError."""
    try:
        if when is None:
            return None
        if isinstance(when, datetime):
            return microseconds(when if when.tzinfo is not None else when.astimezone())
        return parse_time(when).start if isinstance(when, str) else whole_microseconds(when)
    except (ValueError, OverflowError) as error:
        raise HepcatError(f"{what}: {error}") from None


def since_of(since: When, last: str | timedelta | None) -> int | None:
    """Return the start of the range; `last` is how long before now it lies."""
    if last is None:
        return to_microseconds(since, "since")
    if since is not None:
        raise HepcatError("both `last` and `since` say where the time begins", "Use one of them.")
    try:
        return microseconds(datetime.now(UTC)) - length_of(last)
    except ValueError as error:
        raise HepcatError(f"last: {error}") from None


class Data:
    """A lake or another store, opened for reading. Close it, or use it in a `with` block.

    `since` is included, `until` is not; `last` is a length of time before now. `limit` None is no
    limit. `sort` names a column, with - in front for descending; the default is newest first.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = "data",
        settings: "LakeSettings | None" = None,
        store: "DatabaseSettings | None" = None,
        remember: bool = False,
    ) -> None:
        """Open a lake's folder, or `store`; raises HepcatError where there is none.

        remember: keep in memory when the calls of a lake began; for who searches again and again.
        """
        self.path = Path(path)
        self.searcher: Searcher | RemoteSearcher
        self._close: Callable[[], None]
        self._tail: Callable[[str], TailLike]
        self._lake: Lake | None = None
        if store is not None:
            from hepcat.search.stores import open_store

            opened = open_store(store)
            self.searcher, self._tail, self._close = opened.searcher, opened.tail, opened.close
            return
        lake = self._lake = Lake(self.path, settings, remember=remember)
        self.searcher, self._close = Searcher(lake), lake.close
        self._tail = partial(Tail, self.path)

    def warm(self) -> None:
        """Read ahead what the first search of today will need; with `remember`, and of a lake."""
        if self._lake is not None:
            self._lake.warm(microseconds(datetime.now(UTC)) - 2 * AROUND)

    def search(
        self,
        query: str = "",
        messages: bool = False,
        since: When = None,
        until: When = None,
        last: str | timedelta | None = None,
        limit: int | None = None,
        sort: str | None = None,
        fields: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return the calls of which a message matches, one row a Call-ID; or, with `messages`, these."""
        search = self.searcher.messages if messages else self.searcher.calls
        begin, end = since_of(since, last), to_microseconds(until, "until")
        return search(query, begin, end, limit, sort, fields).table

    def messages(self, query: str = "", **options: Any) -> pa.Table:
        """Return single messages with all columns; options as for `search`."""
        return self.search(query, messages=True, **options)

    def messages_of(self, call_ids: str | Sequence[str], since: When = None, until: When = None) -> pa.Table:
        """Return all messages of these Call-IDs, all columns, by time and then in order of arrival."""
        wanted = [call_ids] if isinstance(call_ids, str) else list(call_ids)
        return self.searcher.messages_of(
            wanted, to_microseconds(since, "since"), to_microseconds(until, "until")
        )

    def count(
        self,
        query: str = "",
        messages: bool = False,
        since: When = None,
        until: When = None,
        last: str | timedelta | None = None,
    ) -> int:
        """Return how many calls, or messages, match."""
        begin, end = since_of(since, last), to_microseconds(until, "until")
        return self.searcher.count(query, begin, end, messages)

    def histogram(
        self,
        query: str = "",
        messages: bool = False,
        since: When = None,
        until: When = None,
        last: str | timedelta | None = None,
        buckets: int = 60,
    ) -> pa.Table:
        """Return counts over time: start, end, total, and by class of status (histogram.py)."""
        begin, end = since_of(since, last), to_microseconds(until, "until")
        return self.searcher.histogram(query, begin, end, messages, buckets)

    def flow(
        self,
        *call_ids: str,
        query: str | None = None,
        limit: int = 20,
        aliases: Mapping[str, str] | None = None,
        related: bool = False,
    ) -> "Ladder":
        """Return the ladder of these calls, or of the newest `limit` calls that a query finds.

        It draws itself in a notebook, and `.findings()` says what went wrong. `aliases`: names by "ip" or
        "ip:port". `related`: with the other legs of the same calls, up to `limit`.
        """
        from hepcat.search.ladder import build

        wanted = list(call_ids)
        if query is not None:
            wanted += self.search(query, limit=limit, fields=["call_id"])["call_id"].to_pylist()
        elif not wanted:
            raise HepcatError("flow needs Call-IDs or a query", 'For instance flow(query="from:alice").')
        wanted = list(dict.fromkeys(wanted))
        if related:
            wanted += [each.call_id for each in self.related(*wanted, limit=limit)]
        return build(self.messages_of(wanted), aliases)

    def related(
        self, *call_ids: str, since: When = None, until: When = None, limit: int = 20
    ) -> "list[Related]":
        """Return other legs of the same calls: by correlation id, A-leg header and Session-ID."""
        from hepcat.search.related import related

        begin, end = to_microseconds(since, "since"), to_microseconds(until, "until")
        return related(self.searcher, call_ids, begin, end, limit)

    def sql(self, statement: str) -> pa.Table:
        """Run SQL (DuckDB's) on the read-only views sip, rtcp, log and other."""
        return self.searcher.sql(statement)

    def tail(self, table: str = "sip") -> "TailLike":
        """Return what follows what is stored from now on. Raises HepcatError where the store cannot."""
        return self._tail(table)

    def notes(self) -> list[str]:
        """Say what the answers so far lack: parts of the store that did not answer."""
        return self.searcher.notes()

    def close(self) -> None:
        """Close it."""
        self._close()

    def __enter__(self) -> "Data":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open(path: str | os.PathLike[str] = "data") -> Data:
    """Open a lake's folder, or a database by its URL, for reading, also beside a running server."""
    if isinstance(path, str) and "://" in path:
        from hepcat.search.stores import settings_of

        return Data(store=settings_of(path))
    return Data(path)


def read_pcap(path: str | os.PathLike[str], **options: Any) -> "Iterator[Batch]":
    """Iterate the SIP of a capture file (pcap, pcapng, also gzip) as batches; see sources/pcap_file.py."""
    from hepcat.sources.pcap_file import read_batches

    return iter(read_batches(path, **options))
