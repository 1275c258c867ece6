"""HEP over UDP into MariaDB and PostgreSQL, against Kamailio's sipcapture with four children.

One private server of each kind at its default durability; the tables are those of `hepcat db create`, emptied
before each run, the messages the generator's. Generator, capture server and database share the cores there
are. Kamailio is sent twice what it takes, and its rows are counted while it is saturated: its best case.
hepcat is sent a number of messages faster than the database takes them, its spool keeps the rest, and the
clock runs from the first datagram until the last row is in the database. What counts are rows in the table.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hepcat.bench import databases
from hepcat.bench.databases import DatabaseServer
from hepcat.bench.kamailio import Kamailio
from hepcat.bench.measure import Context, Row, Skipped
from hepcat.bench.processes import family_cpu, run_json
from hepcat.bench.server import Server
from hepcat.config.databases import DatabaseSettings

NAME = "HEP over UDP into MariaDB and PostgreSQL"

#: How many times as many as Kamailio in its default configuration.
_TIMES: Final = 4
_CPU_US: Final = 20.0
#: Messages a second that Kamailio is sent at first; more where that does not saturate it.
_SATURATING: Final = 10_000
#: Seconds until Kamailio's rows are counted for the first time.
_WARM_UP: Final = 2.0
_FAST: Final = ("-x", "fm", "-X", "fm")
_CONFIG: Final = """
stores = ["db"]
[[databases]]
name = "db"
url = "{url}"
{more}
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of database. hepcat is sent `messages`, `rate` a second, which is more than it takes."""

    title: str
    rate: int
    messages: int
    run: Callable[[], contextlib.AbstractContextManager[DatabaseServer]]


KINDS: Final = (
    Kind("MariaDB, compressed table", 25_000, 250_000, databases.mariadb),
    Kind("PostgreSQL", 40_000, 400_000, databases.postgres),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run. rate: rows stored a second, for `seconds`; CPU in microseconds a row. sent: datagrams."""

    rate: float
    seconds: float
    sent: int
    stored: int
    cpu_us: float
    database_us: float


def count_rows(database: DatabaseServer) -> int:
    """Count the rows that are there."""
    return int(database.admin("SELECT COUNT(*) FROM sip_capture"))


def _generate(url: str, *words: str) -> dict[str, Any]:
    return run_json("bench", "hep", "--to", url, *words, "--json")


@contextlib.contextmanager
def _empty(database: DatabaseServer) -> Iterator[None]:
    """Empty the table before and after: what a run has written is not flushed beside the next."""
    try:
        database.admin("TRUNCATE TABLE sip_capture")
        yield
    finally:
        database.admin("TRUNCATE TABLE sip_capture")


def kamailio_trial(
    folder: Path, database: DatabaseServer, options: Sequence[str], seconds: float, rate: int = _SATURATING
) -> Trial:
    """Saturate Kamailio, and count what it stores meanwhile."""
    with (
        _empty(database),
        Kamailio(folder, database.url, options) as kamailio,
        ThreadPoolExecutor(1) as pool,
    ):
        kamailio.wait_ready(lambda: count_rows(database))
        words = ("--rate", str(rate), "--seconds", str(seconds + _WARM_UP + 1))
        sending = pool.submit(_generate, kamailio.url, *words)
        time.sleep(_WARM_UP)
        rows, begin, cpu, database_cpu = _now(database, kamailio)
        time.sleep(seconds)
        now = _now(database, kamailio)
        sent = sending.result()
    stored, elapsed = now[0] - rows, now[1] - begin
    if stored / elapsed > 0.75 * sent["rate"]:
        return kamailio_trial(folder, database, options, seconds, rate * 2)
    each = 1e6 / max(1, stored)
    return Trial(
        stored / elapsed,
        elapsed,
        sent["messages"],
        stored,
        (now[2] - cpu) * each,
        (now[3] - database_cpu) * each,
    )


def _now(database: DatabaseServer, kamailio: Kamailio) -> tuple[int, float, float, float]:
    """Return rows, time, and CPU seconds of Kamailio and of the database."""
    cpu = kamailio.cpu_seconds(), family_cpu(database.pid)
    at = time.perf_counter()
    return count_rows(database), at, *cpu


def hepcat_trial(folder: Path, database: DatabaseServer, rate: int, messages: int, more: str = "") -> Trial:
    """Send to hepcat faster than the database takes rows, and wait for the last of them."""
    with _empty(database), Server(folder, _CONFIG.format(url=database.url, more=more)) as server:
        _generate(server.url, "--messages", "1")
        _wait_written(server, 1)
        cpu, database_cpu = server.child.cpu_seconds(), family_cpu(database.pid)
        sent = _generate(server.url, "--rate", str(rate), "--messages", str(messages))
        end = _wait_written(server, messages + 1)
        elapsed = end - sent["first_ts"] / 1e6
        cpu = server.child.cpu_seconds() - cpu
        database_cpu = family_cpu(database.pid) - database_cpu
        stored = count_rows(database) - 1
        server.child.end()
    each = 1e6 / max(1, stored)
    return Trial(stored / elapsed, elapsed, sent["messages"], stored, cpu * each, database_cpu * each)


def _wait_written(server: Server, records: int, patience: float = 10.0) -> float:
    """Wait until so many records are written, and return when; or until nothing has changed for a while.

    Asking costs the server CPU that is counted: it is asked seldom until the end is near.
    """
    before, since = 0, time.monotonic()
    while True:
        now = server.database("db")
        if now["written"] >= records or time.monotonic() - since > patience:
            return time.time()
        if now["written"] != before:
            before, since = now["written"], time.monotonic()
        time.sleep(0.5 if records - now["written"] > 15_000 else 0.05)


def measure(context: Context) -> list[Row]:
    """Both kinds of databases, one after the other."""
    rows: list[Row] = []
    for kind in KINDS:
        try:
            with kind.run() as database:
                rows += _measure(context, kind, database)
        except Skipped as reason:
            rows.append(Row(f"HEP/UDP into {kind.title}", f"skipped: {reason}"))
    return rows


def _measure(context: Context, kind: Kind, database: DatabaseServer) -> list[Row]:
    from hepcat.stores.sql import check

    seconds = 4.0 if context.quick else 12.0
    check.create(DatabaseSettings(name="db", url=database.url))
    folder = context.work / database.scheme
    plain = _say(context, "kamailio", kamailio_trial(folder, database, (), seconds))
    fast = _say(context, "kamailio -x fm -X fm", kamailio_trial(folder, database, _FAST, seconds))
    messages = kind.messages // 5 if context.quick else kind.messages
    ours = _say(context, "hepcat", hepcat_trial(folder, database, kind.rate, messages))
    return [*_baselines(kind, plain, fast), _stored(kind, ours, plain, fast), _cpu(kind, ours, plain)]


def _say(context: Context, what: str, one: Trial) -> Trial:
    context.say(
        f"  {what}: {one.rate:,.0f} a second for {one.seconds:.0f} s, {one.stored:,} of {one.sent:,} stored, "
        f"{one.cpu_us:.1f} us CPU, database {one.database_us:.1f} us"
    )
    return one


def _baselines(kind: Kind, plain: Trial, fast: Trial) -> list[Row]:
    named = (("default configuration", plain), ("-x fm -X fm", fast))
    return [
        Row(
            f"kamailio sipcapture, four children, {what}, into {kind.title} (the baseline)",
            f"{one.rate:,.0f} rows a second while saturated, {one.cpu_us:.0f} us CPU a row, "
            f"database {one.database_us:.0f} us",
            value=one.rate,
        )
        for what, one in named
    ]


def _stored(kind: Kind, ours: Trial, plain: Trial, fast: Trial) -> Row:
    times = ours.rate / plain.rate
    return Row(
        f"HEP/UDP into {kind.title}, default durability, all on the same cores, for {ours.seconds:.0f} s",
        f"{ours.rate:,.0f} rows a second; sent {ours.sent:,}, in the database {ours.stored:,}",
        f"{_TIMES} times kamailio's default, nothing lost",
        f"{times:.1f} times kamailio, {ours.rate / fast.rate:.1f} times kamailio -x fm -X fm",
        times >= _TIMES and ours.stored == ours.sent,
        ours.rate,
        {"kamailio": plain.rate, "kamailio_fm": fast.rate},
    )


def _cpu(kind: Kind, ours: Trial, plain: Trial) -> Row:
    return Row(
        f"CPU of that, hepcat's whole process, into {kind.title}",
        f"{ours.cpu_us:.1f} us a message; the database {ours.database_us:.1f} us",
        f"at most {_CPU_US:.0f} us (database excluded)",
        f"1/{plain.cpu_us / ours.cpu_us:.1f} of kamailio's; "
        f"the database 1/{plain.database_us / ours.database_us:.1f}",
        ours.cpu_us <= _CPU_US,
        ours.cpu_us,
        {"database_us": ours.database_us},
    )
