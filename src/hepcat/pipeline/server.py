"""The server: sources -> intake -> fan -> stores, wired from the settings.

In: `Settings` and stores. Out: running threads and their counters. Order of life: `open` (sockets,
keys, certificates, while still root), `start` (with the stores), `reload` any number of times, `stop`.
What can go wrong: HepcatError from `open` and `reload`; afterwards only the log and the counters tell.
"""

from collections.abc import Mapping
from typing import Any, Final

import structlog

from hepcat.config.databases import LAKE, DatabaseSettings
from hepcat.config.settings import Settings
from hepcat.config.sipcapture import STORE as SIPCAPTURE
from hepcat.config.sipcapture import SipcaptureSettings
from hepcat.pipeline.counters import Counters
from hepcat.pipeline.intake import HepIntake, IntakeOptions, LiveOptions
from hepcat.pipeline.listeners import open_listener, stream_limits
from hepcat.pipeline.queue import BatchTaker
from hepcat.pipeline.stores import StoreFan
from hepcat.pipeline.switch import CaptureSwitch
from hepcat.pipeline.tls import make_context
from hepcat.sources.hep_stream_source import HepStreamListener
from hepcat.sources.source import Source, Tally
from hepcat.stores.classic.schema import extra_headers
from hepcat.stores.store import Store
from hepcat.wire.hep import AuthKeys

#: Settings that a running server takes over on reload; the others need a restart.
LIVE: Final = (
    "aliases",
    "callid_aleg_header",
    "extra_headers",
    "hep.half_message_timeout",
    "hep.idle_timeout",
    "hep.inflate_bound",
    "hep.keys",
    "hep.max_connections",
    "hep.tls",
    "log",
    "queue.memory",
    "web",
)
#: Settings of the lake that its writer takes over while it runs, where it offers to (`reconfigure`).
LIVE_STORE: Final = (LAKE,)
#: Settings of a database that its store takes over while it runs, or that only a search reads.
LIVE_DATABASE: Final = ("insert_retries", "insert_retry_timeout", "linger", "query_seconds", "rows", "spool")
#: What `nonsip_hook` is where no plan decides.
NO_HOOK: Final = (0, 1, "", "0", "1")
#: Seconds to read the sockets empty on stop, and to store what was read.
DRAIN_SECONDS: Final = 2.0
STORE_SECONDS: Final = 20.0

log = structlog.get_logger("hepcat.server")


class Server:
    """One process's capture server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queue = StoreFan(settings.stores, settings.queue.memory)
        self.counters = Counters(self.queue)
        self.sources: list[Source] = []
        self.stores: Mapping[str, Store] = {}
        classic = settings.sipcapture
        self.switch = CaptureSwitch(classic is None or classic.capture_on)
        self._started = settings
        self._options = LiveOptions(intake_options(settings))
        self._entry = self._hooked()

    # -- life

    def open(self) -> None:
        """Open every socket and read every secret. Raises HepcatError; nothing stays open then."""
        try:
            for url in hep_urls(self.settings):
                self.sources += open_listener(url, self.settings.hep, self._intake)
            self.sources += self._open_raw()
        except BaseException:
            self.sources.clear()  # the sockets close with their last reference
            raise

    def start(self, stores: Mapping[str, Store]) -> None:
        """Begin to receive and to store."""
        self.stores = stores
        self.queue.start(stores)
        for source in self.sources:
            source.start()

    def stop_sources(self) -> None:
        """Stop reading, once what the kernel holds already has been read."""
        for source in self.sources:
            source.stop(DRAIN_SECONDS)
        for source in self.sources:
            source.join()

    def finish_storing(self, seconds: float = STORE_SECONDS) -> None:
        """Ask the storing threads to end within so long. May be called again with less time."""
        self.queue.stop(seconds)

    def store_ok(self) -> bool:
        """Whether every store takes records just now."""
        return bool(self.stores) and self.queue.trouble is None

    def store_gauges(self) -> Mapping[str, float]:
        """Return what the lake tells of itself, {} where there is none."""
        stats: Any = getattr(self.stores.get(LAKE), "stats", None)
        return stats() if callable(stats) else {}

    def store_stats(self) -> dict[str, dict[str, Any]]:
        """Return what became of the records in each store."""
        return self.queue.stats()

    def about(self) -> dict[str, Any]:
        """What the server listens on, where it stores, and whether it can."""
        return {
            "listening": list(dict.fromkeys(source.url for source in self.sources)),
            "data": str(self._started.data),  # whatever was reloaded: it stays until a restart
            "stores": list(self._started.stores),
            "storing": self.store_ok(),
            "trouble": self.queue.trouble,
        }

    # -- reload

    def reload(self, new: Settings) -> list[str]:
        """Take over what can change while running; log and return what cannot. Raises HepcatError, changing
        nothing.
        """
        options = intake_options(new)
        tls = [s for s in self.sources if isinstance(s, HepStreamListener) and s.tls is not None]
        context = make_context(new.hep.tls) if tls and new.hep.tls.certificate and new.hep.tls.key else None
        self._options.current = options
        for source in self.sources:
            if isinstance(source, HepStreamListener):
                source.limits = stream_limits(new.hep)
        for listener in tls:
            listener.tls = context or listener.tls
        self.queue.resize(new.queue.memory)
        live = {*LIVE, *self._reconfigure_stores(new), *_idle_databases(self._started, new)}
        changed = changed_settings(self._started, new)
        waiting = [name for name in changed if not _is_within(name, live)]
        self.settings = new
        log.info("configuration reloaded")
        if waiting:
            log.warning("these settings change only with a restart", settings=waiting)
        return [f"{name} changes only with a restart" for name in waiting]

    def _hooked(self) -> BatchTaker:
        """Return where the sources put: the fan, behind nonsip_hook's plan where there is one."""
        classic = self.settings.sipcapture
        if classic is None or classic.nonsip_hook in NO_HOOK:
            return self.queue
        from hepcat.pipeline.nonsip import NonSipHook, read_hook  # the plan's language is slow to import

        return NonSipHook(read_hook(str(classic.nonsip_hook)), self.queue)

    def _open_raw(self) -> list[Source]:
        """Open the raw mode of [sipcapture], where it asks for one."""
        classic = self.settings.sipcapture
        if classic is None or not (classic.raw_ipip_capture_on or classic.raw_moni_capture_on):
            return []
        from hepcat.pipeline.raw_capture import open_raw  # most servers never read a frame

        return open_raw(self.settings, self._entry, self.counters, self.switch, self._options)

    def _reconfigure_stores(self, new: Settings) -> list[str]:
        """Hand their settings to the stores that take them over; return the settings that are in force."""
        databases = {database.name: database for database in new.databases}
        live: list[str] = []
        for name, store in self.stores.items():
            reconfigure: Any = getattr(store, "reconfigure", None)
            fresh = new.lake if name == LAKE else databases.get(name)
            if callable(reconfigure) and fresh is not None:
                reconfigure(fresh)
                live += LIVE_STORE if name == LAKE else _live_of_database(name)
        return live

    def _intake(self, url: str) -> tuple[Tally, HepIntake]:
        tally = Tally(url)
        intake = HepIntake(self._entry, tally, self._options, self.switch)
        self.counters.register(tally, intake)
        return tally, intake


def stored_headers(settings: Settings) -> tuple[str, ...]:
    """Return the headers that are kept beside the columns: those asked for, and what classic tables have."""
    names = list(settings.extra_headers)
    for database in settings.databases:
        if database.name in settings.stores:
            names += extra_headers(database)
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(name.lower(), name)
    return tuple(kept.values())


def hep_urls(settings: Settings) -> tuple[str, ...]:
    """Return the HEP listeners in force: none where [sipcapture] is there and hep_capture_on is not."""
    classic = settings.sipcapture
    return settings.hep.listen if classic is None or classic.hep_capture_on else ()


def changed_settings(old: Settings, new: Settings) -> list[str]:
    """Return the dotted names of the settings that differ; secrets are compared, never shown.

    Databases go by their names, not by their places: databases.NAME.url.
    """
    return sorted(_differences(old, new, ""))


def _differences(old: Any, new: Any, prefix: str) -> list[str]:
    names: list[str] = []
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if hasattr(type(before), "model_fields") and type(before) is type(after):
            names += _differences(before, after, f"{prefix}{name}.")
        elif name == "databases":
            names += _database_differences(before, after, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _database_differences(
    old: tuple[DatabaseSettings, ...], new: tuple[DatabaseSettings, ...], prefix: str
) -> list[str]:
    before = {database.name: database for database in old}
    after = {database.name: database for database in new}
    names = [prefix + name for name in before.keys() ^ after.keys()]
    for name in before.keys() & after.keys():
        names += _differences(before[name], after[name], f"{prefix}{name}.")
    return names


def _live_of_database(name: str) -> list[str]:
    """Return what may change of a database while it is written to; [sipcapture] has one of its own."""
    live = [f"databases.{name}.{field}" for field in LIVE_DATABASE]
    if name == SIPCAPTURE:
        live += [f"sipcapture.{field}" for field in LIVE_DATABASE if field in SipcaptureSettings.model_fields]
    return live


def _idle_databases(old: Settings, new: Settings) -> list[str]:
    """Return the databases that are written to neither before nor after: only a search reads of them."""
    used = {*old.stores, *new.stores}
    return [f"databases.{d.name}" for d in (*old.databases, *new.databases) if d.name not in used]


def _is_within(name: str, settings: set[str]) -> bool:
    """Whether a setting is one of these, or belongs to a section that is."""
    parts = name.split(".")
    return any(".".join(parts[:n]) in settings for n in range(1, len(parts) + 1))


def intake_options(settings: Settings) -> IntakeOptions:
    """Read the keys' files and variables. Raises HepcatError."""
    keys = [(key.read(), key.name) for key in settings.hep.keys]
    return IntakeOptions(
        keys=AuthKeys(keys) if keys else None,
        extra_headers=stored_headers(settings),
        aleg_headers=settings.callid_aleg_header,
        inflate_bound=settings.hep.inflate_bound,
    )
