"""SpooledStore: a store (stores/store.py) that writes to a database through a spool on disk.

In: batches; they are stored once they are in the spool. Out: rows, written by threads of its own, once each
and, with one connection, in order, however long the database was away and however often hepcat was killed.
What can go wrong: StoreUnavailable from append (the spool has reached its bound, the disk is full; nothing of
the batch was kept, and it resumes by itself); HepcatError at start-up. All else is told through `tell`
(ledger.py lists the events) and shows in `counts`.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Batch
from hepcat.config.databases import DatabaseSettings
from hepcat.stores.counts import StoreCounts
from hepcat.stores.spooled.drain import Closing, Drain, Maintenance
from hepcat.stores.spooled.ledger import Ledger, Tell
from hepcat.stores.spooled.spool import Spool
from hepcat.stores.writer import BatchWriter

#: Seconds between two fdatasync(2), as the lake has it: what a power cut may take.
SYNC_SECONDS: Final = 0.2
#: Seconds that a thread gets to end once it was told to, before it is left behind.
JOIN_SECONDS: Final = 2.0


class SpooledStore:
    """One database, or one shard of one. `settings.connections` threads write."""

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: DatabaseSettings,
        open_writer: Callable[[], BatchWriter],
        tell: Tell,
    ) -> None:
        """Take over the spool and begin to write from it. Raises HepcatError."""
        self.name = name
        self.settings = settings
        self._ledger = Ledger(name, tell)
        self._spool = Spool(folder, settings.spool)
        self._ledger.take(self._spool.found)
        if self._spool.identity.lost:
            self._ledger.say("spool_renamed", folder=str(folder), waiting=self._spool.found)
        self._sync_trouble = ""
        self._closing = Closing()
        self._closed = False
        maintenance = Maintenance()
        self._drains = [
            Drain(
                number,
                self._spool,
                self._ledger,
                open_writer,
                lambda: self.settings,
                self._closing,
                maintenance,
            )
            for number in range(settings.connections)
        ]
        self._sync_thread = threading.Thread(target=self._sync_loop, name=f"spool-{name}", daemon=True)
        self._sync_thread.start()
        for drain in self._drains:
            drain.thread.start()

    def append(self, batch: Batch) -> None:
        """Keep every record of the batch, or raise StoreUnavailable and keep none of them."""
        if batch.n:
            self._spool.append(batch)
            self._ledger.take(batch.n)

    def counts(self) -> StoreCounts:
        """Return what became of everything so far."""
        self._note_damage()
        waiting, ledger = self._spool.waiting, self._ledger
        return StoreCounts(
            taken=ledger.taken,
            written=ledger.written,
            waiting=waiting,
            cut=ledger.cut,
            replaced=ledger.replaced,
            unknown=ledger.unknown,
            spool_octets=self._spool.octets,
            trouble=ledger.trouble,
            drops={drop: count for drop, count in dict(ledger.drops).items() if count},
        )

    def reconfigure(self, settings: DatabaseSettings) -> None:
        """Take over rows, linger, retries and the bound of the spool; the rest needs a restart."""
        self.settings = settings
        self._spool.limit = settings.spool

    def close(self, seconds: float = 20.0) -> None:
        """Write what can be written in so many seconds, and stop; the rest stays in the spool. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._closing.deadline = time.monotonic() + seconds
        self._closing.set()
        self._spool.hurry()
        for drain in self._drains:
            drain.thread.join(max(self._closing.deadline - time.monotonic(), 0) + JOIN_SECONDS)
        self._sync_thread.join()
        self._note_damage()
        self._spool.close()
        # A thread that hangs in a call of the database may still commit: then nobody else may have the spool.
        if not any(drain.thread.is_alive() for drain in self._drains):
            self._spool.release()

    def _note_damage(self) -> None:
        """Count and tell what could not be read back from the spool."""
        for path, records in self._spool.take_damage():
            if records:
                self._ledger.drop(Drop.SPOOL_DAMAGED, records)
            self._ledger.say("spool_damaged", path=str(path), records=records)

    def _sync_loop(self) -> None:
        while not self._closing.wait(SYNC_SECONDS):
            self._note_damage()
            try:
                self._spool.sync()
                self._sync_trouble = ""
            except OSError as error:
                if str(error) != self._sync_trouble:
                    self._sync_trouble = str(error)
                    self._ledger.say("sync_failed", folder=str(self._spool.folder), error=str(error))
