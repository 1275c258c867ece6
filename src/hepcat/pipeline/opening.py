"""Opens the stores that the settings name.

In: settings. Out: stores by name. What can go wrong: HepcatError where the folder of the lake, or of a spool,
cannot be used. A database that is away is no error: its records wait in its spool.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Final

import structlog

from hepcat.config.databases import LAKE, DatabaseSettings
from hepcat.config.settings import Settings
from hepcat.errors import HepcatError
from hepcat.stores.store import Store

#: Events of a store that the operator has to know of.
WARNINGS: Final = frozenset({"journal_vanished", "spool_damaged", "spool_renamed", "writer_miscounts"})
#: What the storing thread tells by itself.
_TOLD: Final = frozenset({"storing_failed", "storing_resumed"})

log = structlog.get_logger("hepcat")


def open_stores(settings: Settings) -> dict[str, Store]:
    """Open every store of `stores`. Raises HepcatError; nothing stays open then."""
    databases = {database.name: database for database in settings.databases}
    opened: dict[str, Store] = {}
    try:
        for name in settings.stores:
            opened[name] = _open_lake(settings) if name == LAKE else _open_database(settings, databases[name])
    except BaseException:
        for store in opened.values():
            store.close()
        raise
    _tell_forgotten(settings)
    return opened


def _tell_forgotten(settings: Settings) -> None:
    """Tell of spools that still hold messages, and whose store is not written to any more."""
    for folder in sorted(path for path in (settings.data / "spool").glob("*") if path.is_dir()):
        octets = 0
        if folder.name not in settings.stores:
            with contextlib.suppress(OSError):
                octets = sum(path.stat().st_size for path in folder.rglob("*.arrows"))
        if octets:
            log.warning(
                f"messages wait for {folder.name}, which is not among `stores`",
                folder=str(folder),
                octets=octets,
                hint=f"Name {folder.name} in `stores` again, and they are written; "
                "or delete the folder, and they are gone.",
            )


def _open_lake(settings: Settings) -> Store:
    from hepcat.stores.lake import LakeWriter  # pyarrow is slow to import, and the agent has none of it

    try:
        return LakeWriter(settings.data, settings.lake, _teller("lake"))
    except OSError as error:
        where = error.filename or settings.data
        raise HepcatError(
            f"cannot open the lake at {settings.data}: {where}: {error.strerror or error}",
            "Make room or correct the permissions, or name another folder with --data.",
        ) from None


def _open_database(settings: Settings, database: DatabaseSettings) -> Store:
    from hepcat.stores.make import make_store

    try:
        return make_store(database, settings.data, _teller(database.name))
    except OSError as error:
        where = error.filename or settings.data
        raise HepcatError(
            f"cannot open the spool of {database.name}: {where}: {error.strerror or error}",
            "Make room or correct the permissions, or name another folder with --data.",
        ) from None


def _teller(name: str) -> Callable[[str, dict[str, Any]], None]:
    """Return what writes a store's events to the log. That it cannot store is told by the storing thread."""

    def tell(event: str, facts: dict[str, Any]) -> None:
        if event not in _TOLD:
            write = log.warning if "error" in facts or event in WARNINGS else log.info
            write(f"{name}: {event.replace('_', ' ')}", **facts)

    return tell
