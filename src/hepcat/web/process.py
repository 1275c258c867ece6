"""The page's processes, as `hepcat serve` sees them: no query takes the interpreter from what receives.

In: settings, and an address. Out: a keeper (child.py), started while there is the right to read every file,
that imports what is needed, becomes the user that the server becomes, and keeps a worker which answers.
What can go wrong: HepcatError before it is started (the address is taken, certificate or key cannot be
read, other machines reach it and there are no accounts); later, and where no process can be started at all,
only the log tells: capture goes on without a page.

Settings, certificate and key go to the keeper's standard input: no secret shows in `ps` or in the
environment. Only the parent holds the other end, so the keeper ends with its parent, however that ends.
"""

import contextlib
import errno
import os
import pickle
import socket
import subprocess
import sys
import threading
from typing import Final

import structlog

from hepcat.config.settings import Settings
from hepcat.errors import HepcatError
from hepcat.web.checks import accepted_page
from hepcat.web.listening import DEFAULT_LISTEN, Tls, bind, read_tls, url_of

#: Seconds between attempts to start a keeper that ended.
_AGAIN: Final = 10.0
#: Seconds for keeper and worker to end.
_END_SECONDS: Final = 10.0
_WHERE: Final = "Install hepcat, and its Python, where its user may read them; then restart it when it suits."
#: What the keeper is told: settings, the listening socket's descriptor, certificate and key.
Task = tuple[Settings, int, Tls | None]

log = structlog.get_logger("hepcat.web")


class WebProcess:
    """Open it while root, start it when the server runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket: socket.socket | None = None
        self._tls: Tls | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._mutex = threading.Lock()
        self._problem = ""  # why no keeper could be started, as last told

    @property
    def url(self) -> str | None:
        """What a person on this machine types; None where there is no page."""
        return None if self._socket is None else url_of(self._settings, self._socket)

    def open(self) -> None:
        """Check accounts, bind the address, read certificate and key. Raises HepcatError.

        The default address may be taken, by another hepcat perhaps: then there is no page, which is told.
        """
        checked = accepted_page(self._settings)
        for note in checked.notes:
            log.warning(note)
        self._tls = checked.tls
        try:
            self._socket = bind(self._settings)
        except HepcatError as error:
            taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if self._settings.http.listen is not None or not taken:
                raise
            log.warning(f"no page: {DEFAULT_LISTEN} is taken", hint="--http ADDRESS:PORT names another")
            return
        self._keeper = self._spawn()
        if self._keeper is None:
            self._socket.close()
            self._socket = None

    def start(self) -> None:
        """Let the keeper begin: the lake is there, and the parent is who it is going to be."""
        if self._socket is not None:
            self._tell()
            self._watcher = threading.Thread(target=self._watch, name="web", daemon=True)
            self._watcher.start()

    def reload(self, settings: Settings) -> None:
        """Let a new worker take over with new settings. Raises HepcatError, changing nothing."""
        tls = read_tls(settings)
        self._settings, self._tls = settings, tls
        if self._socket is not None:
            self._tell()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        with self._mutex:
            keeper = self._keeper
            if keeper is not None and keeper.stdin is not None:
                with contextlib.suppress(OSError):
                    keeper.stdin.close()
        if keeper is not None:
            try:
                keeper.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait()
        if self._socket is not None:
            self._socket.close()

    def _spawn(self) -> "subprocess.Popen[bytes] | None":
        """Start a keeper; None, which the log tells, where that cannot be: the server goes on."""
        assert self._socket is not None
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        try:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "hepcat.web.child"],
                stdin=subprocess.PIPE,
                pass_fds=(self._socket.fileno(),),
                env=environment,
                start_new_session=True,  # Ctrl-C is for the parent, which ends the keeper
            )
        except OSError as error:
            problem = f"{sys.executable or 'the interpreter'}: {error.strerror}"
            if problem != self._problem:  # said once, however often it is tried
                log.error(
                    "no page, its process cannot be started; capture goes on", problem=problem, hint=_WHERE
                )
            self._problem = problem
            return None
        self._problem = ""
        return keeper

    def _tell(self) -> None:
        """Hand the settings over."""
        assert self._socket is not None
        task: Task = (self._settings, self._socket.fileno(), self._tls)
        octets = pickle.dumps(task)
        with self._mutex:
            if self._keeper is not None and self._keeper.stdin is not None:
                with contextlib.suppress(OSError):  # it ended: who watches tells, and starts another
                    self._keeper.stdin.write(len(octets).to_bytes(8, "big") + octets)
                    self._keeper.stdin.flush()

    def _watch(self) -> None:
        """Start another keeper when one ended by itself."""
        while True:
            keeper = self._keeper
            if keeper is not None:
                code = keeper.wait()
                if self._stopping.is_set():
                    return
                log.error(
                    "the page's process ended; capture goes on", exit_code=code, again_in_seconds=_AGAIN
                )
            if self._stopping.wait(_AGAIN):
                return
            with self._mutex:
                self._keeper = self._spawn()
            self._tell()
