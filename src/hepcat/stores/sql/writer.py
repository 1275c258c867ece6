"""SqlWriter: batches into an SQL database, once each (stores/writer.py).

In: batches of consecutive records. Out: rows in the classic tables, and a row of hepcat_written in the same
transaction. What can go wrong: StoreUnavailable (away, or nobody knows whether the commit was heard),
BatchRefused (deadlock, lock wait, anything not known), HepcatError from `open`.

A batch is first tried whole. If the database refuses some row of it, or leaves rows out, the transaction is
begun anew with savepoints, and halves of halves are tried until the row is alone: it is counted, the rest
goes in.
"""

import contextlib
import datetime as dt
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.classic.plan import RowMaker
from hepcat.stores.classic.schema import SIP_CAPTURE
from hepcat.stores.classic.tables import Group, NearNames, TableChoice, is_dated, names_at
from hepcat.stores.sql import progress, rights
from hepcat.stores.sql.engine import explain, open_engine, shown
from hepcat.stores.sql.explain import Kind, fault_of, is_of_driver
from hepcat.stores.sql.partitions import maintain
from hepcat.stores.sql.reflect import ActualTable
from hepcat.stores.sql.session import Session
from hepcat.stores.store import StoreUnavailable
from hepcat.stores.writer import BatchRefused, Range, Written

#: Octets of records that one statement takes at most: what is in memory for it is a small multiple of that.
PIECE_OCTETS: Final = 16 * 2**20
#: Seconds for a single statement of maintenance: a partition with millions of rows may be split.
MAINTAIN_SECONDS: Final = 3_600.0
#: Seconds without work after which the connection is tried before it is used.
IDLE_SECONDS: Final = 30.0
#: Seconds between two words about refused rows.
TELL_SECONDS: Final = 60.0
#: A refused row of the last or next day is about the table (no partition for today), not about the row.
_NEAR_SECONDS: Final = 86_400

log = structlog.get_logger("hepcat.store")


class _RowsRefused(Exception):
    """Some row of those that were tried together is refused, or was left out."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of a batch for one table, not too many octets of them."""

    table: ActualTable
    maker: RowMaker
    rows: Array


class SqlWriter:
    """One connection to MariaDB, MySQL, PostgreSQL, SQLite or what ODBC reaches. One thread uses it."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Nothing is connected before `open`."""
        self.settings = settings
        self._session: Session | None = None
        self._progress: progress.Progress | None = None
        self._choice = self._make_choice(settings)
        self._writer = ""
        self._used = 0.0
        self._tell_refused_at = 0.0
        self._near = NearNames(settings.table_name)
        self._told_unsure = False
        self._shown = f"database {settings.name}"

    @staticmethod
    def _make_choice(settings: DatabaseSettings) -> TableChoice:
        try:
            return TableChoice(settings)
        except ValueError as error:
            raise HepcatError(f"database {settings.name}: {error}", "Correct table_name.") from None

    def open(self, writer: str) -> list[Range]:
        """Connect, look at the tables, and ask which records of this writer are there already."""
        self.close()
        self._writer, self._used = writer, time.monotonic()
        with self._explained(opening=True):
            engine = open_engine(
                self.settings.read(), pooled=False, application=f"hepcat {self.settings.name}"
            )
            self._shown = shown(engine)
            self._session = session = Session(engine, self.settings)
            for name in names_at(self.settings.table_name, dt.datetime.now(dt.UTC)):
                self._look_at(session, name)
            return self._open_progress(session, writer)

    def _look_at(self, session: Session, name: str) -> None:
        """Make sure that a table is there and takes rows, before the first record waits for it."""
        found = session.table(name, make=is_dated(self.settings.table_name))
        if found is None:
            raise HepcatError(
                f"{self._shown}: there is no table {name}",
                f"Make it with `hepcat db create --store {self.settings.name}`, or correct table_name.",
            )
        session.loader.try_nothing(found[0])
        session.rollback()
        session.forget_tables()  # the loader may have found that it has to do otherwise

    def _open_progress(self, session: Session, writer: str) -> list[Range]:
        """Return the ranges that are written; without the right to keep them, none, and say so."""
        known = progress.Progress(session.engine.dialect, writer)
        try:
            progress.make(session.connection)
            session.begin()
            known.try_rights(session.raw)
            session.rollback()
        except session.errors as error:
            fault = fault_of(error)
            if fault.kind is not Kind.DENIED:
                raise
            session.rollback()
            self._tell_unsure(session, fault.words)
            return []
        session.begin()
        ranges = known.read(session.raw)
        session.commit()
        self._progress = known
        return ranges

    def _tell_unsure(self, session: Session, words: str) -> None:
        if self._told_unsure:
            return
        self._told_unsure = True
        try:
            made = rights.is_made(session.connection)
            lacks = rights.lacking(session.connection) if made else ["CREATE", "SELECT", "INSERT", "DELETE"]
            hint = rights.grant(session.connection, lacks)
        except session.errors:  # the reason that is known already says enough
            lacks, hint = [], f"Grant CREATE, or SELECT, INSERT and DELETE on {progress.TABLE_NAME}."
        log.warning(
            f"no right to keep table {progress.TABLE_NAME}: {rights.RISK}",
            database=self._shown,
            lacks=", ".join(lacks),
            error=words,
            hint=hint,
        )

    def write(self, batch: Batch, first: int, floor: int) -> Written:
        """Write the rows, and that they are written, in one transaction."""
        self._wake()
        session = self._session
        if session is None:
            raise StoreUnavailable(f"{self._shown} is not open", Drop.STORE_FAILED)
        try:
            with self._explained():
                groups, lost = self._choice.groups(batch)
                parts = self._parts(session, batch, groups, lost)
                try:
                    written = self._transaction(session, batch, parts, first, floor, careful=False)
                except _RowsRefused:
                    written = self._transaction(session, batch, parts, first, floor, careful=True)
        except StoreUnavailable:
            self.close()
            raise
        for drop, count in lost.items():
            written.drops[drop] = written.drops.get(drop, 0) + count
        self._used = time.monotonic()
        return written

    def _wake(self) -> None:
        """Connect anew where the server has closed a connection that had nothing to do, as many do by night.

        Nothing is under way then, so what `open` returns is known already.
        """
        idle = time.monotonic() - self._used
        if self._session is not None and idle > IDLE_SECONDS and not self._session.is_alive():
            self.open(self._writer)

    def _parts(
        self, session: Session, batch: Batch, groups: Sequence[Group], lost: dict[Drop, int]
    ) -> list[_Part]:
        """Find the tables, making those that strftime asks for; count what has no table."""
        parts: list[_Part] = []
        dated = is_dated(self.settings.table_name)
        for group in groups:
            is_sip = group.table is SIP_CAPTURE
            found = session.table(group.name, make=is_sip and dated and group.name in self._near)
            if found is not None:
                parts += [_Part(*found, piece) for piece in _pieces(batch, group.rows)]
                continue
            if is_sip and not dated:
                raise StoreUnavailable(
                    f"{self._shown}: table {group.name} is gone",
                    Drop.STORE_FAILED,
                    f"Make it with `hepcat db create --store {self.settings.name}`.",
                )
            # A sister that nobody made; or a time that no message of these days has: its table is not made,
            # or a sender could make the database have any number of them.
            drop = Drop.ROW_REFUSED if is_sip else Drop.NO_TABLE
            lost[drop] = lost.get(drop, 0) + len(group.rows)
            if is_sip:
                self._tell_refused(group.name, "its time is far from now: no table is made for it")
        return parts

    def _transaction(
        self,
        session: Session,
        batch: Batch,
        parts: Sequence[_Part],
        first: int,
        floor: int,
        careful: bool,
    ) -> Written:
        """Write all groups, or raise and leave nothing behind. careful: row by row where it has to be."""
        written = Written()
        span = (first, first + batch.n - 1)
        gone: list[Range] = []
        try:
            session.begin()
            if self._progress is not None:
                self._add_progress(session, self._progress, span)
            for part in parts:
                if careful:
                    self._write_carefully(session, batch, part, part.rows, written)
                else:
                    self._load(session, batch, part, part.rows, written)
            if self._progress is not None:
                gone = self._progress.forget(session.raw, floor)
            self._commit(session)
        except BaseException:
            with contextlib.suppress(*session.errors):
                session.rollback()
            raise
        if self._progress is not None:
            self._progress.committed(span, gone)
        return written

    def _add_progress(self, session: Session, known: progress.Progress, span: Range) -> None:
        try:
            known.add(session.raw, *span)
        except session.errors as error:
            if fault_of(error).kind is Kind.DATA:  # a transaction that we had lost sight of was committed
                raise StoreUnavailable(
                    f"{self._shown}: records {span[0]} to {span[1]} are there already",
                    Drop.STORE_FAILED,
                    "Nothing to do: the database is asked again which records it has.",
                ) from None
            raise

    def _commit(self, session: Session) -> None:
        """Commit; only a refusal that the server itself spoke out is known to have kept nothing."""
        try:
            session.commit()
        except session.errors as error:
            fault = fault_of(error)
            if fault.kind in (Kind.BUSY, Kind.DATA):
                raise BatchRefused(f"{self._shown}: {fault.words}") from None
            raise StoreUnavailable(
                f"{self._shown}: it is not known whether the commit was heard: {fault.words}",
                Drop.STORE_FULL if fault.kind is Kind.FULL else Drop.STORE_FAILED,
                fault.hint,
            ) from None

    def _load(self, session: Session, batch: Batch, part: _Part, rows: Array, written: Written) -> None:
        """Load rows of a group; raises _RowsRefused where not all of them went in."""
        try:
            loaded = session.loader.load(part.table, part.maker, batch, rows)
        except session.errors as error:
            fault = fault_of(error)
            if fault.kind is Kind.DATA:
                raise _RowsRefused(fault.words) from None
            raise
        if loaded.rows != len(rows):
            raise _RowsRefused(loaded.why or f"{len(rows) - loaded.rows} rows were left out")
        written.rows += loaded.rows
        written.cut += loaded.cut
        written.replaced += loaded.replaced

    def _write_carefully(
        self, session: Session, batch: Batch, part: _Part, rows: Array, written: Written
    ) -> None:
        """Load rows; where that is refused, each half; a row that is refused alone is counted."""
        session.save()
        try:
            self._load(session, batch, part, rows, written)
        except _RowsRefused as refused:
            session.back()
            if len(rows) == 1:
                self._refuse(batch, part, int(rows[0]), refused.words)
                written.drops[Drop.ROW_REFUSED] = written.drops.get(Drop.ROW_REFUSED, 0) + 1
                return
        else:
            session.release()
            return
        half = len(rows) // 2
        self._write_carefully(session, batch, part, rows[:half], written)
        self._write_carefully(session, batch, part, rows[half:], written)

    def _refuse(self, batch: Batch, part: _Part, row: int, words: str) -> None:
        """Give a row up, and tell the operator once in a while."""
        if "partition" in words and abs(batch.ts[row] / 1e6 - time.time()) < _NEAR_SECONDS:
            raise StoreUnavailable(
                f"{self._shown}: table {part.table.name} has no partition for today: {words}",
                Drop.STORE_FAILED,
                f"Make it with `hepcat db upgrade --store {self.settings.name}`.",
            )
        self._tell_refused(part.table.name, words)

    def _tell_refused(self, table: str, words: str) -> None:
        now = time.monotonic()
        if now >= self._tell_refused_at:
            self._tell_refused_at = now + TELL_SECONDS
            log.error("the database refuses a row", database=self._shown, table=table, error=words)

    def maintain(self) -> None:
        """Make partitions ahead and drop old ones."""
        engine = open_engine(self.settings.read(), pooled=False, answer_seconds=MAINTAIN_SECONDS)
        try:
            maintain(engine, self.settings)
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        session, self._session, self._progress = self._session, None, None
        if session is not None:
            session.close()

    @contextlib.contextmanager
    def _explained(self, opening: bool = False) -> Iterator[None]:
        """Say in words what a driver raises, as the kinds of stores/writer.py."""
        try:
            yield
        except HepcatError as error:
            if opening:
                self.close()
                if isinstance(error, BatchRefused):
                    raise StoreUnavailable(str(error), Drop.STORE_FAILED, error.hint) from None
            raise
        except Exception as error:
            if not is_of_driver(error):
                raise  # a bug of ours
            told = explain(error, self._shown)
            if opening:
                self.close()
            if opening and isinstance(told, BatchRefused):
                raise StoreUnavailable(str(told), Drop.STORE_FAILED, told.hint) from None
            if opening or isinstance(told, StoreUnavailable | BatchRefused):
                raise told from None
            if fault_of(error).kind is Kind.UNKNOWN:
                raise BatchRefused(str(told), told.hint) from None
            # Somebody has to do something: opening again will say it, and what to do.
            raise StoreUnavailable(str(told), Drop.STORE_FAILED, told.hint) from None


def _pieces(batch: Batch, rows: Array) -> list[Array]:
    """Split rows where their records are more octets than one statement should have."""
    octets = batch.start[rows + 1] - batch.start[rows]
    total = int(octets.sum())
    if total <= PIECE_OCTETS:
        return [rows]
    which = np.cumsum(octets) // PIECE_OCTETS
    cuts = np.flatnonzero(np.diff(which)) + 1
    return list(np.split(rows, cuts))
