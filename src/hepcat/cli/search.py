"""`hepcat search`: calls and messages that match a query, as a table, bars or a file.

In: a query and the lake. Out: results on standard output or in a file; remarks on standard error. What
can go wrong: no lake, a query with a fault (it is pointed at), an option that does not go with another.
"""

import contextlib
import enum
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from hepcat.cli.common import (
    ConfigOption,
    DataOption,
    KamailioOption,
    StoreOption,
    reading,
    tell_missing,
)
from hepcat.cli.words import QueryCommand
from hepcat.errors import HepcatError

if TYPE_CHECKING:
    import pyarrow as pa

    from hepcat.search.api import Data

#: Rows of a table where --limit does not say otherwise; files and pipes of data have no limit.
TABLE_LIMIT: Final = 100
#: Columns of messages in a table where --fields does not say otherwise.
MESSAGE_FIELDS: Final = (
    "ts", "src_ip", "src_port", "dst_ip", "dst_port", "method", "status", "reason_phrase", "from_user",
    "to_user", "call_id",
)  # fmt: skip
OTHER_FIELDS: Final = ("ts", "src_ip", "src_port", "dst_ip", "dst_port", "node_name", "hep_type", "payload")


class Format(enum.StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    PCAP = "pcap"


class Table(enum.StrEnum):
    """Which messages are searched."""

    SIP = "sip"
    RTCP = "rtcp"
    LOG = "log"
    OTHER = "other"


EPILOG: Final = (
    'Query: words, "phrases", field:value, field:a,b, field:4xx, field:400..499, field>=400, from:al*, '
    "~regex~, AND OR NOT -term ( ). Fields, examples and the columns of --fields: docs/search.md. "
    "Times: 15m, 2h, 1d, today, yesterday, 10:30, 2026-11-22, 2026-11-22T13:46:45Z; "
    "without a zone they are local."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search", cls=QueryCommand, epilog=EPILOG)(search)


def search(
    query: Annotated[
        list[str] | None, typer.Argument(metavar="[QUERY]...", help="What to find; nothing finds everything.")
    ] = None,
    messages: Annotated[bool, typer.Option("--messages", help="Single messages instead of calls.")] = False,
    last: Annotated[
        str | None, typer.Option("--last", metavar="TIME", help="Not older than 15m, 2h, 1d.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Not before this time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=0, metavar="N", help="At most N rows, the newest; 0 is no limit. Tables: 100."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help="Sort by a column, -COLUMN for descending. Default: newest first.",
        ),
    ] = None,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="A,B,...", help="Columns to show.")
    ] = None,
    format: Annotated[
        Format | None, typer.Option("--format", help="Default: by the ending of --output, else table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.", readable=False)
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Print only how many there are.")] = False,
    histogram: Annotated[bool, typer.Option("--histogram", help="Draw bars over time.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show what arrives from now on, until Ctrl-C.")
    ] = False,
    table: Annotated[
        Table, typer.Option("--table", help="Other tables than sip have messages only.")
    ] = Table.SIP,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
    store: StoreOption = None,
) -> None:
    """Find calls, or single messages, in the lake or another store; the newest first.

    Where parts of a store do not answer (shards of ClickHouse), the rest is shown, standard error says what
    is missing, and the exit code is 0.
    """
    options = _Options(
        query=" ".join(query or []),
        messages=messages or table is not Table.SIP,
        last=last, since=since, until=until,
        limit=limit, sort=sort,
        fields=[f.strip() for f in fields.split(",") if f.strip()] if fields else None,
        format=format or _format_of(output),
        output=output,
        table=str(table),
    )  # fmt: skip
    if count + histogram + follow > 1:
        raise HepcatError("--count, --histogram and --follow exclude each other", "Use one of them.")
    from hepcat.search.parser import parse_query

    parse_query(options.query, options.table)  # a fault in the query shows even where there is no lake
    with reading(data, config, store, kamailio_cfg).open() as lake:
        if follow:
            _follow(lake, options)
        elif count:
            _count(lake, options)
        elif histogram:
            _histogram(lake, options)
        else:
            _find(lake, options)
        tell_missing(lake)


class _Options:
    """What was asked for, and what follows from it."""

    def __init__(self, **given: Any) -> None:
        self.query: str = given["query"]
        self.messages: bool = given["messages"]
        self.last: str | None = given["last"]
        self.since: str | None = given["since"]
        self.until: str | None = given["until"]
        self.sort: str | None = given["sort"]
        self.fields: list[str] | None = given["fields"]
        self.format: Format = given["format"]
        self.output: Path | None = given["output"]
        self.table: str = given["table"]
        limit: int | None = given["limit"]
        self.limit = self.asked_limit = limit or None
        if limit is None and self.format is Format.TABLE:
            self.limit = TABLE_LIMIT
        self.what = "messages" if self.messages else "calls"

    @property
    def streams(self) -> bool:
        """Say whether everything is written in the usual order: then it need not be in memory at once."""
        return self.format is not Format.TABLE and self.limit is None and self.sort is None

    def times(self) -> tuple[int | None, int | None]:
        from hepcat.search.api import since_of, to_microseconds

        return since_of(self.since, self.last), to_microseconds(self.until, "--until")

    def columns(self) -> list[str] | None:
        """Return the columns: those asked for; a table has a few, a file all."""
        if self.format is Format.PCAP or self.fields is not None:
            return None if self.format is Format.PCAP else self.fields
        if self.messages:
            shown = MESSAGE_FIELDS if self.table == "sip" else OTHER_FIELDS
            return list(shown) if self.format is Format.TABLE else None
        from hepcat.search.calls import CALL_COLUMNS, DEFAULT_FIELDS

        return list(DEFAULT_FIELDS) if self.format is Format.TABLE else [c.name for c in CALL_COLUMNS]


def _format_of(output: Path | None) -> Format:
    ending = output.suffix.lstrip(".").lower() if output else ""
    return Format(ending) if ending in Format.__members__.values() else Format.TABLE


@contextlib.contextmanager
def _destination(options: _Options) -> Iterator[IO[bytes]]:
    """Give the file, or standard output; octets do not go to a terminal."""
    if options.output is not None:
        try:
            file = options.output.open("wb")
        except OSError as error:
            raise HepcatError(f"cannot write {options.output}: {error.strerror}") from None
        with file:
            yield file
        return
    if options.format in (Format.PARQUET, Format.PCAP) and sys.stdout.isatty():
        raise HepcatError(f"{options.format} is not text", "Write it to a file with -o FILE, or into a pipe.")
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def _color(options: _Options) -> bool:
    return options.output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _width(options: _Options) -> int | None:
    """Return the terminal's width; None elsewhere: nothing is cut in a pipe."""
    return shutil.get_terminal_size().columns if options.output is None and sys.stdout.isatty() else None


def _remark(text: str) -> None:
    print(text, file=sys.stderr)


def _count(lake: "Data", options: _Options) -> None:
    since, until = options.times()
    number = lake.searcher.count(options.query, since, until, options.messages, options.table)
    with _destination(options) as out:
        out.write(b"%d\n" % number)


def _histogram(lake: "Data", options: _Options) -> None:
    if options.table != "sip":
        raise HepcatError("--histogram is for table sip")
    since, until = options.times()
    lines = shutil.get_terminal_size().lines
    buckets = max(min(lines - 5, 60), 10) if _width(options) else 60
    table = lake.searcher.histogram(options.query, since, until, options.messages, buckets)
    if options.format is not Format.TABLE:
        _write(table, options)
        return
    from hepcat.search.text import histogram_lines

    drawn = histogram_lines(table, options.what, _width(options) or 100, _color(options))
    with _destination(options) as out:
        out.write(("\n".join(drawn) + "\n").encode("utf-8", "replace"))


def _find(lake: "Data", options: _Options) -> None:
    since, until = options.times()
    searcher = lake.searcher
    if options.format is Format.PCAP and not options.messages:
        found = searcher.calls(options.query, since, until, options.limit, options.sort, ["call_id"])
        _write_all(searcher.pages_of(found.table["call_id"].to_pylist(), fields=_pcap_columns()), options)
        return
    if options.messages and options.streams:
        pcap = options.format is Format.PCAP
        fields = _pcap_columns() if pcap and options.table == "sip" else options.columns()
        _write_all(searcher.pages(options.query, since, until, fields, options.table, pcap), options)
        return
    if options.messages:
        found = searcher.messages(
            options.query, since, until, options.limit, options.sort, options.columns(), options.table
        )
    else:
        found = searcher.calls(options.query, since, until, options.limit, options.sort, options.columns())
    if options.format is not Format.TABLE:
        _write(found.table, options)
    elif len(found.table):
        _print(found.table, options)
    if options.format is Format.TABLE and not len(found.table):
        _remark(f"no {options.what} match")
    if found.cut:
        which = "in this order" if options.sort else "the newest"
        _remark(f"{len(found.table)} {options.what} shown, {which}; there are more: --limit N, or 0 for all")


def _pcap_columns() -> tuple[str, ...]:
    from hepcat.sinks.pcap_writer import COLUMNS

    return COLUMNS


def _write(table: "pa.Table", options: _Options) -> None:
    if options.format is Format.TABLE:
        _print(table, options)
        return
    _write_all([table], options)


def _write_all(tables: "Iterable[pa.Table]", options: _Options) -> None:
    """Write tables as one, each as it comes: memory holds one of them."""
    from hepcat.search.output import write_tables

    with _destination(options) as out:
        write_tables(tables, out, str(options.format))


def _print(table: "pa.Table", options: _Options) -> None:
    from hepcat.search.text import TextTable

    layout = TextTable(_width(options), _color(options), spare=options.fields is None)
    with _destination(options) as out:
        out.write(("\n".join(layout.lines(table)) + "\n").encode("utf-8", "replace"))


def _follow(lake: "Data", options: _Options) -> None:
    """Print what arrives until Ctrl-C, or until --limit rows were shown."""
    if options.last or options.since or options.until or options.sort:
        raise HepcatError(
            "--follow shows what comes from now on, in order",
            "Leave out --last, --since, --until and --sort.",
        )
    if options.format not in (Format.TABLE, Format.JSONL, Format.CSV):
        raise HepcatError(f"--follow cannot write {options.format}", "Use --format table, jsonl or csv.")
    from hepcat.search import live

    node = lake.searcher.parse(options.query, options.table)
    columns = options.columns()
    if options.messages:
        tables = live.follow_messages(lake.tail(options.table), lake.searcher, node, columns, options.table)
    else:
        tables = live.follow_calls(lake.tail(), lake.searcher, node, columns)
    limit = options.asked_limit
    with _destination(options) as out, _until_interrupted():
        writer = _LiveWriter(options, out)
        for table in tables:
            if not len(table):
                continue
            writer.write(table if limit is None else table.slice(0, limit - writer.rows))
            if limit is not None and writer.rows >= limit:
                return


@contextlib.contextmanager
def _until_interrupted() -> Iterator[None]:
    """Let Ctrl-C end what is within, without an error: in the middle of a query DuckDB makes one of it."""
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, press)
    try:
        yield
    except (KeyboardInterrupt, Exception):
        if not pressed:
            raise
    finally:
        signal.signal(signal.SIGINT, before)


class _LiveWriter:
    """Writes tables as they come: one heading, then rows, each at once."""

    def __init__(self, options: _Options, out: IO[bytes]) -> None:
        from hepcat.search.text import TextTable

        self.options, self.out, self.rows = options, out, 0
        self.layout = TextTable(_width(options), _color(options), spare=options.fields is None)

    def write(self, table: "pa.Table") -> None:
        from hepcat.search import output

        if self.options.format is Format.TABLE:
            lines = self.layout.lines(table, heading=not self.rows, stream=True)
            self.out.write(("\n".join(lines) + "\n").encode("utf-8", "replace"))
        elif self.options.format is Format.CSV:
            output.write_csv(table, self.out, header=not self.rows)
        else:
            output.write_jsonl(table, self.out)
        self.out.flush()
        self.rows += len(table)
