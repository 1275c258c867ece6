"""What waits for a stream target: blocks in memory, then in a spool, handed out in order.

In: blocks of all workers (`put`, which never waits). Out: blocks for the one writer thread (`take`), oldest
first; it tells what was delivered (`done`) or gives back what has to be sent again. A thread of its own
moves the oldest blocks in memory to the spool when memory is half full, so that the disk holds up neither
the workers nor the writer. What can go wrong: both are full, then records are counted as SINK_FULL.

    order:  given back  ->  spool  ->  memory
    taken = sent + waiting + drops, at any moment; sent means delivered as far as the transport can tell.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from hepcat.batch.drops import Drop
from hepcat.sinks.block import Block
from hepcat.sinks.sink import SinkTally
from hepcat.sinks.spool import Spool

#: Seconds until a full or failing disk is tried again.
DISK_WAIT: Final = 0.5
#: Octets moved to the spool at once, about: each write costs a wait for the GIL too.
MOVE_OCTETS: Final = 2**20

log = structlog.get_logger("hepcat.sink")


class Backlog:
    """The blocks that wait for one writer."""

    def __init__(self, name: str, memory: int, spool: Path | None = None, spool_limit: int = 0) -> None:
        """`spool`: its folder; opened by `start`."""
        self.tally = SinkTally(name)
        self._memory = memory
        self._folder = spool
        self._spool_limit = spool_limit
        self._spool: Spool | None = None
        self._disk = threading.Lock()  # the spool's
        lock = threading.Lock()
        self._changed = threading.Condition(lock)  # something to take
        self._pressed = threading.Condition(lock)  # something to spool
        self._queue: deque[Block] = deque()
        self._again: deque[Block] = deque()
        self._octets = 0  # of blocks in memory that have no place in the spool, on their way included
        self._moving = False  # a block is between memory and spool
        self._closed = self._finished = False
        self._told_full = False
        self._told_disk = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the spool and begin to move blocks there. Never raises: without it, memory has to do."""
        if self._folder is None:
            return
        try:
            self._spool = Spool(self._folder, self._spool_limit)
        except OSError as error:
            taken = "another agent uses it" if isinstance(error, BlockingIOError) else error.strerror
            log.error(
                "no spool: what finds no room in memory is lost",
                target=self.tally.name,
                folder=str(self._folder),
                error=taken,
            )
            return
        with self._changed:
            self.tally.taken += self._spool.records
            self._count_damage()
            self._count_waiting()
            if self._spool.records:
                log.info("records of the spool wait", target=self.tally.name, records=self._spool.records)
        self._thread = threading.Thread(target=self._move, name="spool", daemon=True)
        self._thread.start()

    # -- in

    def put(self, blocks: Sequence[Block]) -> None:
        """Take blocks; what there is no room for is counted."""
        with self._changed:
            for block in blocks:
                self.tally.taken += block.records
                if self._closed:
                    self.tally.drops[Drop.SINK_FAILED] += block.records
                elif self._octets and self._octets + block.memory > self._memory:
                    self.tally.drops[Drop.SINK_FULL] += block.records
                    self._tell_full()
                else:
                    self._octets += block.memory
                    self._queue.append(block)
            self._count_waiting()
            self._changed.notify()
            if self._is_pressed():
                self._pressed.notify()

    def _is_pressed(self) -> bool:
        return bool(self._queue) and 2 * self._octets > self._memory

    def tell_waiting(self, seconds: float) -> None:
        """Say what the end is waiting for, where something is left to send."""
        if self.waiting:
            log.info(
                "waiting for target", target=self.tally.name, records=self.waiting, at_most=f"{seconds:g} s"
            )

    def _tell_full(self) -> None:
        if not self._told_full:
            self._told_full = True
            log.error("memory is full: records are being lost", target=self.tally.name)

    # -- out

    def take(self, timeout: float) -> Block | None:
        """Return the oldest block, None where none came in time."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                if self._again:
                    return self._again.popleft()
                if self._spool is not None and (self._moving or self._spool.records):
                    if self._spool.records:
                        break
                elif self._queue:
                    return self._queue.popleft()
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
        with self._disk:
            block = self._spool.read()
        with self._changed:
            self._count_damage()
            self._count_waiting()
        return block

    def done(self, blocks: Sequence[Block]) -> None:
        """Say that these are delivered."""
        for block in blocks:
            if block.place is not None and self._spool is not None:
                with self._disk:
                    self._spool.done(block)
        with self._changed:
            for block in blocks:
                self._account(block, block.records, len(block.data))
            self._told_full = False
            self._count_waiting()

    def give_back(self, blocks: Sequence[Block], delivered: int = 0) -> None:
        """Return blocks that were not delivered, oldest first; the first of them was, up to `delivered`
        records."""
        if not blocks:
            return
        rest = [blocks[0].rest(delivered), *blocks[1:]]
        with self._changed:
            if delivered:
                self.tally.sent += delivered
                self.tally.octets += len(blocks[0].data) - len(rest[0].data)
                if blocks[0].place is None:
                    self._octets -= blocks[0].memory - rest[0].memory
            self._again.extendleft(reversed(rest))
            self._count_waiting()
        if delivered and rest[0].place is not None and self._spool is not None:
            with self._disk:
                self._spool.keep(rest[0])

    def refuse(self, block: Block) -> None:
        """Give a block up that the target will never take."""
        if block.place is not None and self._spool is not None:
            with self._disk:
                self._spool.done(block)
        with self._changed:
            if block.place is None:
                self._octets -= block.memory
            self.tally.drops[Drop.SINK_FAILED] += block.records
            self._count_waiting()

    def _account(self, block: Block, records: int, octets: int) -> None:
        self.tally.sent += records
        self.tally.octets += octets
        if block.place is None:
            self._octets -= block.memory

    def wait(self, timeout: float) -> None:
        """Wait until there may be something to take."""
        with self._changed:
            if not self._again and not self._queue and not (self._spool is not None and self._spool.records):
                self._changed.wait(timeout)

    def counts(self) -> SinkTally:
        """Return a copy of the tally, of one moment."""
        with self._changed:
            return self.tally.copy()

    @property
    def waiting(self) -> int:
        """Records that wait, or are on their way."""
        return self.tally.waiting

    @property
    def spools(self) -> bool:
        """Whether there is a spool to keep what is left."""
        return self._spool is not None

    def _count_waiting(self) -> None:
        self.tally.waiting = self.tally.taken - self.tally.sent - int(self.tally.drops.sum())

    def _count_damage(self) -> None:
        assert self._spool is not None
        damaged, uncounted = self._spool.take_damage()
        if damaged:
            self.tally.taken += uncounted
            self.tally.drops[Drop.SPOOL_DAMAGED] += damaged
            log.error("records of the spool cannot be read", target=self.tally.name, records=damaged)

    # -- the thread that spools

    def _move(self) -> None:
        at_once = MOVE_OCTETS
        while True:
            with self._changed:
                while not self._closed and not self._is_pressed():
                    self._pressed.wait()
                if self._closed:
                    return
                blocks = [self._queue.popleft()]
                while self._queue and sum(len(block.data) for block in blocks) < at_once:
                    blocks.append(self._queue.popleft())
                self._moving = True
            moved = self._append(blocks)
            at_once = MOVE_OCTETS if moved else 0
            with self._changed:
                self._moving = False
                if moved:
                    self._octets -= sum(block.memory for block in blocks)
                    self.tally.spooled += sum(block.records for block in blocks)
                else:
                    self._queue.extendleft(reversed(blocks))
                self._changed.notify()
                if not moved and not self._closed:
                    self._pressed.wait_for(lambda: self._closed, DISK_WAIT)

    def _append(self, blocks: Sequence[Block]) -> bool:
        assert self._spool is not None
        trouble = ""
        try:
            with self._disk:
                if not self._spool.append(*blocks):
                    trouble = "it has reached its limit"
        except OSError as error:
            trouble = error.strerror or str(error)
        if trouble and trouble != self._told_disk:
            log.error("cannot spool", target=self.tally.name, folder=str(self._folder), error=trouble)
        self._told_disk = trouble
        return not trouble

    # -- the end

    def finish(self) -> None:
        """Keep what is left in the spool, or count it as lost. A second call does nothing.

        Called once the writer has ended, or has nothing in hand and hangs.
        """
        with self._changed:
            if self._finished:
                return
            self._finished = self._closed = True
            self._pressed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._spool is not None:
            try:
                self._spool_all()
            except OSError as error:
                log.error("cannot spool", target=self.tally.name, error=error.strerror)
            self._spool.close()
        with self._changed:
            left = [*self._again, *self._queue]
            lost = sum(block.records for block in left if block.place is None)
            self._again.clear()
            self._queue.clear()
            self.tally.drops[Drop.SINK_FAILED] += lost
            self._count_waiting()
        if lost:
            log.error("records were not sent before the end", target=self.tally.name, records=lost)

    def _spool_all(self) -> None:
        """Write what memory holds where it belongs: before the spool's blocks, or behind them."""
        assert self._spool is not None
        older: list[Block] = []
        for block in self._again:
            if block.place is not None:
                break
            older.append(block)
        newer = [b for b in list(self._again)[len(older) :] if b.place is None] + list(self._queue)
        if not self._spool.records and len(older) == len(self._again):
            older, newer = [], older + newer
        self._spool.prepend(older)
        for block in [b for b in self._again if b.place is not None]:
            self._spool.keep(block)
            break  # the first one's place is how far the file has been delivered
        self._again.clear()
        self.tally.spooled += sum(block.records for block in older)
        self._queue = type(self._queue)(newer)
        while self._queue and self._spool.append(self._queue[0]):
            self.tally.spooled += self._queue.popleft().records
