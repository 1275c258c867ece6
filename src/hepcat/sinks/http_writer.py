"""The thread that POSTs JSON lines to an HTTP target, and outlasts its absences.

In: a Backlog. Out: POSTs of JSON lines (application/x-ndjson) over one connection that is kept. A block is
delivered when the target answers 2xx. What can go wrong: it does not answer, or answers 408, 429 or 5xx: then
the block is sent again after growing pauses, so a target that took it without answering gets it twice; any
other answer refuses the block (SINK_FAILED). The operator is told once a change of state.
"""

import contextlib
import http.client
import random
import socket
import ssl
import threading
import time
from typing import Final

import structlog

from hepcat.sinks.backlog import Backlog
from hepcat.sinks.block import Array, Block, cut_blocks
from hepcat.sinks.stream_writer import FIRST_PAUSE, LONGEST_PAUSE
from hepcat.sinks.target_url import Place

#: Seconds for the target to answer.
ANSWER_SECONDS: Final = 10.0
#: Seconds beyond the end for a request that is under way.
LAST_SECONDS: Final = 1.0
_LOOK: Final = 0.2
_LATER: Final = frozenset({408, 429})

log = structlog.get_logger("hepcat.sink")


class HttpWriter:
    """POSTs what a backlog holds."""

    def __init__(
        self,
        backlog: Backlog,
        place: Place,
        context: ssl.SSLContext | None = None,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self.backlog = backlog
        self._place = place
        self._context = context
        self._first_pause = first_pause
        self._connection: http.client.HTTPConnection | None = None
        self._failures = 0
        self._told_status = 0
        self._pause = threading.Event()
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the target is believed to be there."""
        return self._failures == 0

    def send(self, buffer: Array, offsets: Array) -> None:
        """Take encoded messages from any thread."""
        self.backlog.put(cut_blocks(buffer, offsets))

    def start(self) -> None:
        """Begin to send."""
        self.backlog.start()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Ask to end: send what waits for at most so long, keep the rest in the spool."""
        if self._failures or self._connection is None:
            self.backlog.tell_waiting(seconds)
        self._deadline = time.monotonic() + seconds
        self._pause.set()

    def join(self) -> None:
        """Wait for the end."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, (self._deadline or 0.0) - time.monotonic()) + LAST_SECONDS)
            self._cut_off()
            self._thread.join()
        else:
            self.backlog.finish()

    def _cut_off(self) -> None:
        """End a request that goes on beyond the end: each octet of an answer would give it new time."""
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            while not self._is_over():
                block = self.backlog.take(_LOOK)
                if block is not None and not self._deliver(block):
                    self.backlog.give_back([block])
                    self._rest()
        except Exception:
            log.exception("a bug ended the sending; please report it", target=self.backlog.tally.name)
        if self._connection is not None:
            self._connection.close()
        self.backlog.finish()

    def _is_over(self) -> bool:
        if self._deadline is None:
            return False
        if self.backlog.waiting == 0 or time.monotonic() >= self._deadline:
            return True
        return self._failures > 0 and self.backlog.spools

    def _deliver(self, block: Block) -> bool:
        """POST a block; False where it has to be sent again."""
        try:
            status = self._post_anew(block.data)
        except (OSError, http.client.HTTPException) as error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            self._fail(str(error) or type(error).__name__)
            return False
        if status in _LATER or status >= 500:
            self._fail(f"it answers {status}")
            return False
        if self._failures:
            log.info("sending", target=self.backlog.tally.name, waiting=self.backlog.waiting)
            self.backlog.tally.reconnects += 1
        self._failures = 0
        if 200 <= status < 300:
            self.backlog.done([block])
            return True
        if status != self._told_status:
            self._told_status = status
            log.error("target refuses records", target=self.backlog.tally.name, status=status)
        self.backlog.refuse(block)
        return True

    def _post_anew(self, body: bytes) -> int:
        """POST; on a new connection where the target has closed the one that was kept, as servers do with
        connections that were idle for a while.
        """
        kept = self._connection is not None and self._connection.sock is not None
        try:
            return self._post(body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not kept or self._deadline is not None:
                raise
            assert self._connection is not None
            self._connection.close()
            return self._post(body)

    def _post(self, body: bytes) -> int:
        if self._connection is None:
            if self._place.scheme == "https":
                self._connection = http.client.HTTPSConnection(
                    self._place.host, self._place.port, timeout=ANSWER_SECONDS, context=self._context
                )
            else:
                self._connection = http.client.HTTPConnection(
                    self._place.host, self._place.port, timeout=ANSWER_SECONDS
                )
        headers = {"Content-Type": "application/x-ndjson", "User-Agent": "hepcat"}
        self._connection.request("POST", self._place.path, body, headers)
        answer = self._connection.getresponse()
        answer.read(1 << 20)
        if answer.will_close or not answer.isclosed():
            self._connection.close()
        return answer.status

    def _fail(self, reason: str) -> None:
        if not self._failures:
            log.error(
                "target is away; records wait",
                target=self.backlog.tally.name,
                url=str(self._place),
                error=reason,
            )
        self._failures += 1

    def _rest(self) -> None:
        pause = min(self._first_pause * 2 ** min(self._failures - 1, 16), LONGEST_PAUSE)
        pause *= random.uniform(0.5, 1.0)
        if self._deadline is None:
            self._pause.wait(pause)
        else:
            time.sleep(min(pause, FIRST_PAUSE, max(self._deadline - time.monotonic(), 0)))
