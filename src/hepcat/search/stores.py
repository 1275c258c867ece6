"""Which searcher a store has: one of [[databases]], opened to be searched.

In: a database's settings, or its URL. Out: an `OpenStore`. What can go wrong: HepcatError, which says what to
do: an unknown name, a database that is away, a table that is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hepcat.config.databases import LAKE, DatabaseSettings, kind_of
from hepcat.errors import HepcatError
from hepcat.search.errors import NoTail
from hepcat.search.searcher import Searcher

if TYPE_CHECKING:
    from hepcat.search.remote_searcher import RemoteSearcher

#: What a store that was named by its URL is called.
_NAMELESS: Final = "database"


@dataclass(frozen=True, slots=True)
class OpenStore:
    """A store that can be searched. tail: makes what follows a table, or raises HepcatError."""

    name: str
    searcher: "Searcher | RemoteSearcher"
    tail: Callable[[str], Any]
    close: Callable[[], None]


def settings_of(store: str, databases: Sequence[DatabaseSettings] = ()) -> DatabaseSettings:
    """Return the settings of a store by its name or URL. Raises HepcatError."""
    if "://" in store:
        try:
            kind_of(store)
        except ValueError as error:
            raise HepcatError(f"--store: {error}") from None
        return DatabaseSettings(name=_NAMELESS, url=store)
    for database in databases:
        if database.name == store:
            return database
    names = ", ".join([LAKE, *(database.name for database in databases)])
    raise HepcatError(
        f'there is no store "{store}"',
        f"There are: {names}. Others stand in [[databases]] of the configuration (--config), or are a URL.",
    )


def open_store(settings: DatabaseSettings) -> OpenStore:
    """Open a database for searching."""
    kind = kind_of(settings.read())
    if kind == "dbtext":
        from hepcat.search.dbtext_source import DbtextDialect, read_dbtext

        found = Searcher(read_dbtext(settings), DbtextDialect(settings.name))
        return OpenStore(settings.name, found, lambda table: _no_tail(settings.name), lambda: None)
    from hepcat.search.remote_searcher import RemoteSearcher

    remote: Any
    if kind == "clickhouse":
        from hepcat.search.clickhouse import ClickHouseRemote

        remote = ClickHouseRemote(settings)
    else:
        from hepcat.search.sql_remote import SqlRemote

        remote = SqlRemote(settings)
    tail = getattr(remote, "tail", None) or (lambda table: _no_tail(settings.name))
    return OpenStore(settings.name, RemoteSearcher(remote), tail, remote.close)


def _no_tail(name: str) -> Any:
    raise NoTail(
        f"store {name} cannot be followed: a folder of dbtext is read as a whole",
        "Follow the lake (--store lake), a database of SQL, or ClickHouse; or search again in a while.",
    )
