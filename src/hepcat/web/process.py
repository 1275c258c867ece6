"""The page's process: a child of `hepcat serve`, so that no query takes the interpreter from what receives.

In: settings, and a socket that was bound while there was the right to. Out: a child that answers on it; when
it ends by itself it is started again, later each time. What can go wrong: HepcatError before it is started
(the address is taken, certificate or key cannot be read, other machines reach it and there are no accounts).

The child ends with its parent, however that ends: it reads its standard input, whose other end only the
parent holds. Settings come that way too, so that no secret shows in `ps` or in the environment.
"""

import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Final

import structlog

from hepcat.config.settings import Settings
from hepcat.errors import HepcatError
from hepcat.web.accounts.starting import check_may_listen
from hepcat.web.listening import DEFAULT_LISTEN, Tls, bind, read_tls, url_of

#: Seconds before a child that ended is started again, at first and at most.
_AGAIN: Final = 1.0
_AGAIN_AT_MOST: Final = 60.0
#: Seconds that a child ran after which its end is no longer counted as one in a row.
_STEADY: Final = 60.0
#: Seconds for a child to end.
_END_SECONDS: Final = 5.0

log = structlog.get_logger("hepcat.web")


class WebProcess:
    """Open it while root, start it as who one is going to be."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket: socket.socket | None = None
        self._tls: Tls | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._renew = False
        self._mutex = threading.Lock()

    @property
    def url(self) -> str | None:
        """What a person on this machine types; None where there is no page."""
        return None if self._socket is None else url_of(self._settings, self._socket)

    def open(self) -> None:
        """Check accounts, bind the address, read certificate and key. Raises HepcatError.

        The default address may be taken, by another hepcat perhaps: then there is no page, which is told.
        """
        for note in check_may_listen(self._settings, self._settings.http.listen or DEFAULT_LISTEN):
            log.warning(note)
        self._tls = read_tls(self._settings)
        try:
            self._socket = bind(self._settings)
        except HepcatError as error:
            taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if self._settings.http.listen is not None or not taken:
                raise
            log.warning(f"no page: {DEFAULT_LISTEN} is taken", hint="--http ADDRESS:PORT names another")

    def start(self) -> None:
        """Start the child, and whoever looks after it."""
        if self._socket is not None:
            self._thread = threading.Thread(target=self._look_after, name="web", daemon=True)
            self._thread.start()

    def reload(self, settings: Settings) -> None:
        """Let a new child take over with new settings. Raises HepcatError, changing nothing."""
        self._tls = read_tls(settings)
        self._settings = settings
        with self._mutex:
            if self._child is not None:
                self._renew = True
                self._child.terminate()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        with self._mutex:
            if self._child is not None:
                self._child.terminate()
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def _look_after(self) -> None:
        wait = _AGAIN
        while not self._stopping.is_set():
            begun = time.monotonic()
            code = self._run()
            if self._stopping.is_set():
                return
            if self._renew:
                self._renew = False
                continue
            wait = _AGAIN if time.monotonic() - begun > _STEADY else min(2 * wait, _AGAIN_AT_MOST)
            log.error("the page's process ended; capture goes on", exit_code=code, again_in_seconds=wait)
            self._stopping.wait(wait)

    def _run(self) -> int:
        """Run one child to its end."""
        assert self._socket is not None
        tls = [] if self._tls is None else list(self._tls.descriptors())
        task = pickle.dumps((self._settings, self._socket.fileno(), tls))
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        with self._mutex:
            if self._stopping.is_set():
                return 0
            child = self._child = subprocess.Popen(
                [sys.executable, "-m", "hepcat.web.child"],
                stdin=subprocess.PIPE,
                pass_fds=(self._socket.fileno(), *tls),
                env=environment,
                start_new_session=True,  # Ctrl-C is for the parent, which ends the child
            )
        try:
            _tell(child, task)
            while True:
                try:
                    return child.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    if self._stopping.is_set() or self._renew:
                        child.kill()
        finally:
            with self._mutex:
                self._child = None
            if child.stdin is not None:
                child.stdin.close()
            for descriptor in tls:
                os.close(descriptor)


def _tell(child: "subprocess.Popen[bytes]", task: bytes) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(len(task).to_bytes(8, "big") + task)
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it ended at once; its exit code is told


def read_task() -> tuple[Settings, int, list[int]]:
    """Read, in the child, what the parent wrote; from then on the end of the input is the parent's end."""
    source = sys.stdin.buffer
    length = int.from_bytes(source.read(8), "big")
    task: tuple[Any, int, list[int]] = pickle.loads(source.read(length))
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    return task


def _end_with_parent() -> None:
    while os.read(0, 65_536):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_SECONDS)
    os._exit(1)
