"""The page's keeper, as `hepcat serve` starts it (process.py), and the worker that it keeps.

In: tasks on standard input: settings, the listening socket, certificate and key. Out: a worker that
answers; a new task, or the worker's end, brings a new one. Ends when the input does. What can go wrong:
exit code 1, and a line of log, where the user cannot be become.

The keeper imports everything, so that a worker starts at once and needs no right to read Python's files; it
has one thread (besides one of the allocator in Arrow, which knows of forks) and opens nothing, so that it can
be forked.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hepcat.web.process import Task

#: Below what receives and stores.
_NICE: Final = 10
#: Seconds before a worker that ended is started again, at first and at most; after how many it was steady.
_AGAIN: Final = 0.5
_AGAIN_AT_MOST: Final = 60.0
_STEADY: Final = 60.0
#: Seconds for a worker to end.
_END_SECONDS: Final = 5.0
#: Seconds between looks at the worker.
_LOOK: Final = 0.25
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
#: What a worker needs and would else import when it is first asked for it.
_EARLY: Final = (
    "hepcat.web.app",
    "hepcat.web.running",
    "hepcat.search.api",
    "hepcat.search.export_plan",
    "hepcat.search.remote_searcher",
    "hepcat.search.stores",
    "numpy.ma",
    "pyarrow.compute",
    "pyarrow.parquet",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.h11_impl",
)


class Keeper:
    """Keeps a worker."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._task: Task | None = None
        self._worker: int | None = None
        self._begun = 0.0
        self._wait = _AGAIN

    def run(self) -> None:
        """Until the input ends."""
        due: float | None = None
        while True:
            timeout = _LOOK if self._task is not None else None
            ready, _, _ = select.select([0], [], [], timeout)
            if ready:
                task = _read_task()
                self._end()
                if task is None:
                    return
                self._become(task)
                self._task, due = task, time.monotonic()
            if self._worker is not None and self._ended():
                due = time.monotonic() + self._wait
            if self._worker is None and due is not None and time.monotonic() >= due:
                self._worker, due = self._fork(), None

    def _become(self, task: "Task") -> None:
        """Become the server's user, with the first task; import what its settings need before."""
        if self._task is not None:
            return
        from hepcat.config.databases import kind_of
        from hepcat.pipeline import privileges
        from hepcat.stores.make import import_drivers

        for database in task[0].databases:
            with contextlib.suppress(Exception):  # told when it is searched
                import_drivers(kind_of(database.read()))
        privileges.settle(task[0].user)
        gc.freeze()

    def _ended(self) -> bool:
        """Whether the worker ended by itself; tells so."""
        assert self._worker is not None
        pid, status = os.waitpid(self._worker, os.WNOHANG)
        if pid == 0:
            return False
        self._worker = None
        steady = time.monotonic() - self._begun > _STEADY
        self._wait = _AGAIN if steady else min(2 * self._wait, _AGAIN_AT_MOST)
        self._log.error(
            "the page's process ended; capture goes on",
            exit_code=os.waitstatus_to_exitcode(status),
            again_in_seconds=self._wait,
        )
        return True

    def _end(self) -> None:
        """End the worker."""
        if self._worker is None:
            return
        os.kill(self._worker, signal.SIGTERM)
        end = time.monotonic() + _END_SECONDS
        while os.waitpid(self._worker, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(self._worker, signal.SIGKILL)
            time.sleep(0.02)
        self._worker = None

    def _fork(self) -> int:
        assert self._task is not None
        self._begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(self._task, self._log)
                code = 0
            except SystemExit:
                raise
            except BaseException as error:
                self._log.error("the page's process cannot go on", exc_info=error)
            finally:
                os._exit(code)
        return pid


def _read_task() -> "Task | None":
    """Read what the parent wrote; None where the input ended."""
    head = _read(8)
    body = _read(int.from_bytes(head, "big")) if len(head) == 8 else b""
    task: Task | None = pickle.loads(body) if body else None
    return task


def _read(count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        octets = os.read(0, count - len(parts))
        if not octets:
            return b""
        parts += octets
    return bytes(parts)


def work(task: "Task", log: Any) -> None:
    """Answer requests, in the worker, until told to stop."""
    settings, listening, tls = task
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # the keeper alone hears the parent
    from hepcat.errors import HepcatError
    from hepcat.pipeline.logs import setup_logs
    from hepcat.web.listening import url_of
    from hepcat.web.running import run
    from hepcat.web.site import SiteOptions

    setup_logs(settings.log)
    try:
        opened = socket.socket(fileno=os.dup(listening))
        options = SiteOptions(settings, listen=url_of(settings, opened), expects_server=True)
        run(options, opened, None if tls is None else tls.context())
    except HepcatError as error:
        log.error("no page", problem=str(error), hint=error.hint)
        raise


def main() -> None:
    """Import, then keep a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads would not be forked
    for name in _EARLY:
        importlib.import_module(name)
    from hepcat.web.app import ROUTES

    for name in ROUTES:
        importlib.import_module(f"hepcat.web.routes.{name}")
    import structlog

    from hepcat.errors import HepcatError

    log, code = structlog.get_logger("hepcat.web"), 0
    try:
        Keeper(log).run()
    except HepcatError as error:
        log.error("no page", problem=str(error), hint=error.hint)
        code = 1
    # Nothing is open. At the interpreter's own end DuckDB would list all that gc.freeze() kept, as leaks.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
