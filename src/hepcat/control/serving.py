"""The life of `hepcat serve`: open, give up root, store, run until told to stop, stop clean.

In: settings, and a way to read them again. Out: exit code 0 after a clean stop, 1 when something inside
broke. What can go wrong: HepcatError before anything is received.
Signals: SIGTERM and SIGINT stop (a second one hurries), SIGHUP reloads; doors.py has the other ways in.
"""

import contextlib
import importlib
import os
import queue
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from hepcat import __version__
from hepcat.config.databases import LAKE, kind_of, safe_url
from hepcat.config.settings import Settings
from hepcat.control import notify
from hepcat.control.broken import BROKEN, watch_threads
from hepcat.control.doors import Doors
from hepcat.control.http import HttpDoor
from hepcat.control.methods import Control
from hepcat.control.reloads import RELOAD, Reloads, not_reloaded
from hepcat.errors import HepcatError
from hepcat.pipeline import privileges
from hepcat.pipeline.counters import Snapshot
from hepcat.pipeline.logs import setup_logs
from hepcat.pipeline.opening import open_stores
from hepcat.pipeline.server import Server, hep_urls
from hepcat.stores.store import Store

#: Slices of the interpreter's time between threads; a receive buffer of 4 MiB fills in some 20 ms.
SWITCH_SECONDS: Final = 0.001

log = structlog.get_logger("hepcat")


class Page(Protocol):
    """The page and the API, which are above this room: opened while root, started and stopped with
    the server."""

    @property
    def url(self) -> str | None:
        """Where a person finds it."""

    def open(self) -> None:
        """Bind its address. Raises HepcatError."""

    def start(self) -> None:
        """Begin to answer."""

    def reload(self, settings: Settings) -> None:
        """Take over other settings. Raises HepcatError, changing nothing."""

    def stop(self) -> None:
        """Stop answering."""


def serve(
    settings: Settings,
    reread: Callable[[], Settings],
    started: Callable[[Server], None],
    page: Page | None = None,
) -> int:
    """Run a server until it is told to stop; return the exit code.

    reread: reads the configuration again, or raises HepcatError. started: called once all is up. page: what
    answers at [http] listen; without one metrics and health do.
    """
    setup_logs(settings.log)
    events: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: events.put(number))
    watch_threads(events)
    privileges.raise_file_limit()
    privileges.keep_files_from_others()
    # A receiving thread that wakes up waits for the interpreter at most so long (the default is 5 ms).
    sys.setswitchinterval(SWITCH_SECONDS)
    server = Server(settings)
    server.open()
    door: HttpDoor | Page | None = page
    if page is not None:
        page.open()
    elif settings.http.listen:
        door = HttpDoor(settings.http, server)
    _import_early(settings)
    privileges.make_data_folder(settings.data, settings.user)
    reloads = Reloads(events)
    doors = Doors(settings.control, Control(server, reloads.ask), settings.user)
    doors.open()
    try:
        privileges.settle(settings.user)
        privileges.check_data_folder(settings.data)
        doors.open_in(settings.data)
        stores = open_stores(settings)
        server.start(stores)
        doors.start()
        if door is not None:
            door.start()
        started(server)
        notify.notify("READY=1", f"STATUS=storing in {', '.join(settings.stores)}")
        why = _run(lambda: _reload(server, reread, page), server, events, reloads)
        reloads.close()
        code = _stop(server, stores, events, why)
    finally:
        doors.stop()
        if door is not None:
            door.stop()
    return code


def _import_early(settings: Settings) -> None:
    """Import what would else be imported later: by another user, who might not be allowed to read Python's
    files, and while traffic flows, when an import would hold the receiving threads up.
    """
    importlib.import_module("hepcat.stores.lake.writer")
    importlib.import_module("numpy.ma")  # pyarrow's conversions want it
    for database in settings.databases:
        if database.name in settings.stores:
            from hepcat.stores.make import import_drivers

            import_drivers(kind_of(database.read()))


def _run(
    reload: Callable[[], list[str]], server: Server, events: "queue.SimpleQueue[int]", reloads: Reloads
) -> int:
    """Handle what happens until it is time to stop; return the signal that said so."""
    minutes = _Minutes(server)
    while True:
        try:
            event = events.get(timeout=minutes.left())
        except queue.Empty:
            minutes.log()
            continue
        if event == RELOAD:
            reloads.carry_out(reload)
        elif event == signal.SIGHUP:
            with contextlib.suppress(HepcatError):
                reload()
        else:
            return event


def _reload(server: Server, reread: Callable[[], Settings], page: Page | None = None) -> list[str]:
    """Read the configuration anew; return what there is to say. Where it is broken the old one stays in
    force, which is logged; raises HepcatError for whoever waits.
    """
    notify.reloading()
    try:
        new = reread()
        notes = server.reload(new)
        setup_logs(new.log)
        if page is not None:
            page.reload(new)
    except HepcatError as error:
        for line in str(error).splitlines():
            log.error("configuration not reloaded; the old one stays in force", problem=line)
        raise
    except Exception as error:
        raise not_reloaded(error) from error
    finally:
        notify.notify("READY=1")
    return notes


def _stop(server: Server, stores: Mapping[str, Store], events: "queue.SimpleQueue[int]", why: int) -> int:
    """Read what has arrived, store it, close. A second signal cuts the waiting for a store that is away."""
    notify.notify("STOPPING=1")
    broken = why == BROKEN
    log.info("stopping", reason="a thread broke" if broken else signal.Signals(why).name)
    server.stop_sources()
    server.finish_storing()
    while not server.queue.join(0.1):
        try:
            if events.get_nowait() in (signal.SIGTERM, signal.SIGINT):
                log.warning("hurrying: what the store does not take now is lost")
                server.finish_storing(0.0)
        except queue.Empty:
            pass
    for name, store in stores.items():
        try:
            store.close()
        except HepcatError as error:
            log.error(f"{'the lake' if name == LAKE else name} was not closed cleanly", error=str(error))
            broken = True
    log_counts(server.counters.snapshot(), final=True)
    return 1 if broken else 0


def log_counts(counts: Snapshot, **more: Any) -> None:
    """Write the counters as one line."""
    total = counts.total
    log.info(
        "counters",
        received=total.received,
        stored=total.stored,
        dropped=total.dropped,
        in_flight=total.in_flight,
        octets=total.octets,
        connections=total.connections,
        queue_octets=counts.queue_octets,
        **{f"drop_{drop.name.lower()}": count for drop, count in total.drops.items()},
        **more,
    )


def _named_stores(settings: Settings) -> str:
    """Return where records go, for people: the lake's folder, databases by name and URL."""
    databases = {database.name: database for database in settings.databases}
    return ", ".join(
        str(settings.data.resolve()) if name == LAKE else f"{name} ({safe_url(databases[name].read())})"
        for name in settings.stores
    )


class _Minutes:
    """Logs the counters at the interval of the settings, with the rate since the last time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._last = time.monotonic()
        self._received = 0

    def left(self) -> float:
        """Seconds until the next line."""
        return max(0.0, self._last + self._server.settings.log.interval - time.monotonic())

    def log(self) -> None:
        """Write the line."""
        counts = self._server.counters.snapshot()
        now = time.monotonic()
        rate = (counts.total.received - self._received) / max(now - self._last, 1e-3)
        self._last, self._received = now, counts.total.received
        log_counts(counts, per_second=round(rate))


def banner(server: Server, config: Path | None, page: str | None = None) -> None:
    """Print what the server listens on, where it stores, and what to type next."""
    settings = server.settings
    listening = server.about()["listening"]
    lines = [f"hepcat {__version__} is receiving on", *(f"  {url}" for url in listening)]
    if not listening:
        lines = [f"hepcat {__version__} receives nothing: [sipcapture] has no mode on (hep_capture_on = 1)"]
    lines.append(f"and storing in {_named_stores(settings)}")
    where = "" if settings.data == Path("data") else f" --data {settings.data}"
    if not server.switch.on:
        door = where if settings.control.socket is None else f" --socket {settings.control.socket}"
        lines.append(f"Capture is off (capture_on = 0): `hepcat ctl capture on{door}` switches it on.")
    if page is not None:
        lines.append(f"Page: {page}")
    elif settings.http.listen and not settings.web.enabled:
        lines.append(f"Metrics: http://{settings.http.listen}/metrics")
    if LAKE not in settings.stores and config:
        where = f" --config {config}"
    udp = next((url for url in settings.hep.listen if url.startswith("udp")), settings.hep.listen[0])
    target = udp.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:")
    # Where no virtual environment is active (`make run`), the command's name alone would not be found.
    name = "hepcat" if shutil.which("hepcat") else os.path.relpath(Path(sys.executable).with_name("hepcat"))
    lines += [
        "",
        "Next, in another terminal:",
        *([f"  {name} bench hep --to {target} --rate 100 --seconds 10"] if hep_urls(settings) else []),
        f"  {name} search{where} --last 1h",
        f"  {name} flow{where} CALL-ID",
        "",
        f"Stop with Ctrl-C{'; reload the configuration with kill -HUP' if config else ''}.",
    ]
    try:
        print("\n".join(lines), flush=True, file=sys.stdout)
    except BrokenPipeError:  # nobody reads it any more: no reason to stop what has begun to store
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
