"""What every route needs: settings, stores, places for searches, accounts, the running server.

In: the settings, and which store is looked at first. Out: `Site`, which the application holds as
app.state.site. What can go wrong: HepcatError where a store cannot be opened, or no server runs.
"""

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import structlog
from fastapi import Depends, Request

from hepcat.config.databases import LAKE, DatabaseSettings
from hepcat.config.settings import Settings
from hepcat.web.accounts import Accounts
from hepcat.web.asking import ServerControl
from hepcat.web.checks import check_login
from hepcat.web.connections import most_connections
from hepcat.web.door import Clients
from hepcat.web.hub import Hub
from hepcat.web.kept import Kept
from hepcat.web.problems import Problem
from hepcat.web.proxies import Proxies
from hepcat.web.samples import Samples
from hepcat.web.searches import Searches
from hepcat.web.streams import Seats

if TYPE_CHECKING:
    from hepcat.search.api import Data
    from hepcat.search.call_pages import Ordered

#: Exports that are sent at once: each holds a page of messages. Of these, most of one user.
_EXPORTS: Final = 8
_EXPORTS_A_USER: Final = 4
#: Octets of orders that are kept, at least; of a call in an order, mostly fewer.
_ORDERS: Final = 128 << 20
_OF_A_CALL: Final = 128

log = structlog.get_logger("hepcat.web")


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """What the site is for. store: looked at unless a request names another; a database of no settings."""

    settings: Settings
    store: DatabaseSettings | None = None
    #: what a person on this machine types
    listen: str = ""
    #: whether the site belongs to a server that runs
    expects_server: bool = False


class Stores:
    """The stores by name, each opened when it is first asked for."""

    def __init__(self, options: SiteOptions) -> None:
        self._settings = options.settings
        self._databases = {database.name: database for database in options.settings.databases}
        if options.store is not None:
            self._databases[options.store.name] = options.store
        self.first = options.store.name if options.store is not None else options.settings.stores[0]
        self._open: dict[str, Data] = {}
        self._opening: dict[str, threading.Lock] = {}
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
            hint = f"There are: {', '.join(self.names)}."
            raise Problem(404, f'there is no store "{wanted}"', hint, kind="no-store", parameter="store")
        # A database that is away takes its time to say so: nobody else waits for that.
        with self._mutex:
            opening = self._opening.setdefault(wanted, threading.Lock())
        with opening:
            if wanted not in self._open:
                database = self._databases.get(wanted) if wanted != LAKE else None
                self._open[wanted] = Data(self._settings.data, self._settings.lake, database, remember=True)
            return self._open[wanted]

    def warm(self) -> None:
        """Open the first one, and read ahead what searches will need; what goes wrong shows in a search."""
        with contextlib.suppress(Exception):
            self.get().warm()

    def close(self) -> None:
        """Close them."""
        with self._mutex:
            for data in self._open.values():
                data.close()
            self._open.clear()


class Site:
    """Everything, made once a process."""

    def __init__(self, options: SiteOptions) -> None:
        self.options = options
        self.settings = options.settings
        self.web = options.settings.web
        self.stores = Stores(options)
        self.proxies = Proxies.of(self.web)
        self.clients = Clients(
            most_connections(self.web.connections), self.web.connections_an_address, self.proxies
        )
        self.searches = Searches(self.web)
        room = max(_ORDERS, 2 * _OF_A_CALL * self.web.max_rows)
        self.orders: Kept[Ordered] = Kept(lambda ordered: ordered.table.nbytes, octets=room)
        self.newest: Kept[Ordered] = Kept(lambda newest: newest.table.nbytes, 512, 32 << 20)
        self.answers: Kept[bytes] = Kept(len, octets=32 << 20, seconds=2.0)  # web/sharing.py
        self.figures: Kept[bytes] = Kept(len, octets=32 << 20, seconds=15.0)
        self.exports = Seats("exports", _EXPORTS, _EXPORTS_A_USER)
        self.live = Hub(self.web.query_seconds, self.web.live_clients)
        self.watching = Seats("pages in live mode", self.web.live_clients, max(4, self.web.live_clients // 4))
        self.accounts = Accounts(self.settings)
        self.control = ServerControl(self.settings)
        self.samples = Samples(self.control)

    def start(self) -> None:
        """Begin what runs beside the requests; say who cannot get in, though the settings let them."""
        for error in check_login(self.settings):
            log.error("nobody can log in with OpenID Connect", problem=str(error), hint=error.hint)
        self.samples.start()
        threading.Thread(target=self.stores.warm, name="warm", daemon=True).start()

    def close(self) -> None:
        """Close what is open."""
        self.samples.stop()
        self.live.close()
        self.searches.close()
        self.stores.close()
        self.accounts.close()


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


#: The site, for a route's parameter.
TheSite = Annotated[Site, Depends(_site)]
