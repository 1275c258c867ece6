"""The thread that sends blocks over TCP or TLS, and outlasts the target's absences.

In: a Backlog. Out: its messages in a stream, in order, each once as far as TCP can tell: a block stays in
hand until the peer's TCP has acknowledged it, and after a break sending goes on with the first message that
was not acknowledged whole. A message that was cut by the break is sent again whole; one that the peer's
kernel acknowledged and a crashed collector had not read yet is lost, because HEP has no acknowledgement of
its own. What can go wrong: the target is away, then it is tried again with growing pauses; the operator is
told once a change of state.

Several URLs are fail-over: the first that answers gets everything; while that is not the first one, those
before it are tried again in the background, and taken when they are back.
"""

import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import structlog

from hepcat.sinks.backlog import Backlog
from hepcat.sinks.block import Array, Block, cut_blocks
from hepcat.sinks.connection import Connection, open_connection
from hepcat.sinks.target_url import Place

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
#: Seconds for what is on its way to be acknowledged after the peer has closed.
SETTLE_SECONDS: Final = 1.0
#: Seconds beyond the end for an attempt to connect that is under way.
LAST_SECONDS: Final = 1.0
#: Looks at acknowledgements and at the peer, while there is nothing to send.
BUSY_LOOK: Final = 0.01
IDLE_LOOK: Final = 0.2

log = structlog.get_logger("hepcat.sink")


class _Lost(Exception):
    """The connection is of no use any more."""


class StreamWriter:
    """Sends what a backlog holds to the first of its places that answers."""

    def __init__(
        self,
        backlog: Backlog,
        places: Sequence[Place],
        context: ssl.SSLContext | None = None,
        sndbuf: int = 0,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self.backlog = backlog
        self._places = tuple(places)
        self._context = context
        self._sndbuf = sndbuf
        self._first_pause = first_pause
        self._connection: Connection | None = None
        self._at = 0  # which place the connection goes to
        self._failures = 0
        self._away = False
        self._connecting = False
        self._block: Block | None = None  # being written
        self._written = 0  # octets of it
        self._sent: deque[tuple[int, Block]] = deque()  # (octets of the stream at its end, block)
        self._stream = 0  # octets of the stream at the end of the last block of _sent
        self._pause = threading.Event()
        self._deadline: float | None = None
        self._better: tuple[int, Connection] | None = None
        self._prober: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the target is believed to be there."""
        return not self._away

    def send(self, buffer: Array, offsets: Array) -> None:
        """Take encoded messages from any thread."""
        self.backlog.put(cut_blocks(buffer, offsets))

    def start(self) -> None:
        """Begin to connect and to send."""
        self.backlog.start()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Ask to end: send what waits for at most so long, keep the rest in the spool."""
        if self._connection is None:
            self.backlog.tell_waiting(seconds)
        self._deadline = time.monotonic() + seconds
        self._pause.set()

    def join(self) -> None:
        """Wait for the end."""
        if self._thread.ident is None:
            self.backlog.finish()
            return
        left = max(0.0, (self._deadline or 0.0) - time.monotonic())
        self._thread.join(left + SETTLE_SECONDS + LAST_SECONDS)
        if self._thread.is_alive() and self._connecting:  # the look-up of a name cannot be ended
            self.backlog.finish()
        else:
            self._thread.join()

    # -- the thread

    def _run(self) -> None:
        try:
            while not self._is_over():
                if self._connection is None:
                    if not self._connect():
                        self._rest()
                    continue
                try:
                    self._step(self._connection)
                except (_Lost, OSError) as error:
                    self._break(error)
            self._leave()
        except Exception:
            log.exception("a bug ended the sending; please report it", target=self.backlog.tally.name)
        self.backlog.finish()

    def _is_over(self) -> bool:
        if self._deadline is None:
            return False
        if self.backlog.waiting == 0 or time.monotonic() >= self._deadline:
            return True
        return self._away and self.backlog.spools

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    # -- connecting

    def _connect(self) -> bool:
        """Try the places in turn; return whether one answered."""
        reason: Any = None
        for at, place in enumerate(self._places):
            if self._is_late():
                break
            context = self._context if place.scheme == "tls" else None
            self._connecting = True
            try:
                connection = open_connection(place, context, self._sndbuf, self._is_late)
            except OSError as error:
                reason = reason or error
                continue
            finally:
                self._connecting = False
            self._take_over(at, connection)
            return True
        if not self._away:
            self._away = True
            log.error(
                "target is away; records wait", target=self.backlog.tally.name,
                urls=[str(place) for place in self._places], error=_words(reason),
            )  # fmt: skip
        self._failures += 1
        return False

    def _take_over(self, at: int, connection: Connection) -> None:
        self._connection, self._at = connection, at
        self._stream, self._written = 0, 0
        if self._away or self._failures or at:
            waiting = self.backlog.waiting
            log.info("sending", target=self.backlog.tally.name, url=str(self._places[at]), waiting=waiting)
        self._away = False
        if at and (self._prober is None or not self._prober.is_alive()):
            self._prober = threading.Thread(target=self._probe, args=(at,), name="sink-probe", daemon=True)
            self._prober.start()

    def _rest(self) -> None:
        """Wait before the next attempt: twice as long each time, not all agents at once."""
        pause = min(self._first_pause * 2 ** min(self._failures - 1, 16), LONGEST_PAUSE)
        pause *= random.uniform(0.5, 1.0)
        if self._deadline is not None:
            pause = min(pause, max(self._deadline - time.monotonic(), 0), FIRST_PAUSE)
            time.sleep(pause)
        else:
            self._pause.wait(pause)

    def _probe(self, before: int) -> None:
        """Try the places before the one in use, until one answers."""
        pause = self._first_pause
        while not self._pause.wait(pause * random.uniform(0.5, 1.0)):
            pause = min(pause * 2, LONGEST_PAUSE)
            for at, place in enumerate(self._places[:before]):
                try:
                    context = self._context if place.scheme == "tls" else None
                    self._better = (at, open_connection(place, context, self._sndbuf, self._pause.is_set))
                except OSError:
                    continue
                return

    # -- sending

    def _step(self, connection: Connection) -> None:
        """Take in what was acknowledged, then write as much as goes. Raises _Lost or OSError."""
        if not connection.is_open():
            raise _Lost("the target closed the connection")
        connection.flush()  # also where nothing more is to be written: TLS holds the end of the last record
        self._collect(connection)
        if self._block is None and self._is_better_back():
            raise _Lost("a target before it is back")
        for _ in range(64):
            if self._block is None:
                self._block = self.backlog.take(0)
                self._written = 0
                if self._block is None:
                    self.backlog.wait(BUSY_LOOK if self._sent else IDLE_LOOK)
                    return
                self._stream += len(self._block.data)
                self._sent.append((self._stream, self._block))
            size = connection.write(memoryview(self._block.data)[self._written :])
            self._written += size
            if self._written == len(self._block.data):
                self._block = None
            elif size == 0:
                connection.wait_writable(0.05)
                return

    def _is_better_back(self) -> bool:
        """Whether the prober reached a place before the one in use."""
        better = self._better
        if better is None or better[0] < self._at:
            return better is not None
        self._better = None
        better[1].close()
        return False

    def _collect(self, connection: Connection) -> None:
        """Let go of the blocks that have arrived whole."""
        if not self._sent:
            return
        arrived = connection.acknowledged()
        done = []
        while self._sent and self._sent[0][0] <= arrived:
            done.append(self._sent.popleft()[1])
        if done:
            self._failures = 0
            self.backlog.done(done)

    def _break(self, error: Exception) -> None:
        """End the connection; what has not arrived goes back, to be sent again."""
        connection = self._connection
        assert connection is not None
        self._hand_back(connection, SETTLE_SECONDS)
        self.backlog.tally.reconnects += 1
        self._connection = None
        better, self._better = self._better, None
        if better is not None:
            self._take_over(*better)
            return
        self._away = True
        log.warning(
            "connection lost", target=self.backlog.tally.name, url=str(self._places[self._at]),
            error=_words(error),
        )  # fmt: skip
        self._failures += 1
        # A target that is going away may still accept connections, which it will never read.
        self._rest()

    def _hand_back(self, connection: Connection, seconds: float) -> None:
        connection.settle(seconds)
        self._collect(connection)
        if self._sent:
            end, first = self._sent[0]
            whole = first.whole_within(connection.acknowledged() - (end - len(first.data)))
            self.backlog.give_back([block for _, block in self._sent], whole)
        self._sent.clear()
        self._block = None
        connection.close()

    def _leave(self) -> None:
        """Close at the end."""
        if self._connection is not None:
            left = max(0.0, (self._deadline or 0.0) - time.monotonic())
            self._hand_back(self._connection, max(left, SETTLE_SECONDS))
            self._connection = None
        prober = self._prober
        if prober is not None:
            prober.join(LAST_SECONDS)
        if self._better is not None:
            self._better[1].close()


def _words(error: Any) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
