"""What every route needs: settings, stores, places for searches, accounts, the running server.

In: the settings, and which store is looked at first. Out: `Site`, which the application holds as
app.state.site. What can go wrong: HepcatError where a store cannot be opened, or no server runs.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from hepcat.config.databases import LAKE, DatabaseSettings
from hepcat.config.settings import Settings
from hepcat.control.address import SOCKET_NAME
from hepcat.control.client import Client
from hepcat.errors import HepcatError
from hepcat.web.problems import Problem
from hepcat.web.searches import Searches

if TYPE_CHECKING:
    from hepcat.search.api import Data


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """What the site is for. store: looked at unless a request names another; a database of no settings."""

    settings: Settings
    store: DatabaseSettings | None = None
    #: address:port that is listened on
    listen: str = ""


class Stores:
    """The stores by name, each opened when it is first asked for."""

    def __init__(self, options: SiteOptions) -> None:
        self._settings = options.settings
        self._databases = {database.name: database for database in options.settings.databases}
        if options.store is not None:
            self._databases[options.store.name] = options.store
        self.first = options.store.name if options.store is not None else options.settings.stores[0]
        self._open: dict[str, Data] = {}
        self._mutex = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Their names, the one that is looked at first in front."""
        written = [name for name in self._settings.stores if name != self.first]
        others = [name for name in self._databases if name != self.first and name not in written]
        return [self.first, *written, *others]

    def get(self, name: str | None = None) -> "Data":
        """Return a store, opened. Called in a worker thread: opening may take long. Raises HepcatError."""
        from hepcat.search.api import Data

        wanted = name or self.first
        if wanted not in self.names:
            raise Problem(404, f'there is no store "{wanted}"', f"There are: {', '.join(self.names)}.")
        with self._mutex:
            if wanted not in self._open:
                database = self._databases.get(wanted) if wanted != LAKE else None
                self._open[wanted] = Data(self._settings.data, self._settings.lake, database)
            return self._open[wanted]

    def close(self) -> None:
        """Close them."""
        with self._mutex:
            for data in self._open.values():
                data.close()
            self._open.clear()


class ServerControl:
    """The running server, asked over its control socket."""

    def __init__(self, settings: Settings) -> None:
        self.path: Path = settings.control.socket or settings.data / SOCKET_NAME

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the result of a method (control/methods.py). Raises Problem 503 where none runs."""
        if not self.path.exists():
            raise Problem(503, "no server runs on this lake", "hepcat serve starts one.", kind="no-server")
        try:
            with Client(self.path) as client:
                return client.call(method, **(params or {}))
        except Problem:
            raise
        except HepcatError as error:
            raise Problem(503, str(error), error.hint, kind="no-server") from None


class Site:
    """Everything, made once a process."""

    def __init__(self, options: SiteOptions) -> None:
        self.options = options
        self.settings = options.settings
        self.web = options.settings.web
        self.stores = Stores(options)
        self.searches = Searches(self.web)
        self.control = ServerControl(self.settings)

    def close(self) -> None:
        """Close what is open."""
        self.searches.close()
        self.stores.close()


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


#: The site, for a route's parameter.
TheSite = Annotated[Site, Depends(_site)]
