"""`hepcat export`: what a query finds as a capture file, text or JSON.

In: flags. Out: the file, or standard output with `-o -`; one line on standard error says how much it
was. A file appears whole or not at all: it is written under a temporary name first.
"""

import contextlib
import enum
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Final

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

_FORMAT_OF: Final = {".pcap": "pcap", ".cap": "pcap", ".pcapng": "pcapng", ".txt": "text", ".json": "json"}


class Format(enum.StrEnum):
    """How messages are written."""

    PCAP = "pcap"
    PCAPNG = "pcapng"
    TEXT = "text"
    JSON = "json"


QueryArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[QUERY]...", help="What to find; nothing finds everything.")
]
OutputOption = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="File to write; - is standard output.")
]
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Default: by the ending of --output, else pcap.")
]
MessagesOption = Annotated[
    bool, typer.Option("--messages", help="Only the messages that match, not the whole calls they belong to.")
]
LastOption = Annotated[str | None, typer.Option("--last", metavar="TIME", help="Not older than 15m, 2h, 1d.")]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Not before this time.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="At most N calls (messages), the newest.")
]


def export(
    query: QueryArgument = None,
    output: OutputOption = "-",
    format: FormatOption = None,
    messages: MessagesOption = False,
    last: LastOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
    store: StoreOption = None,
) -> None:
    """Write the calls that a query finds as pcap, pcapng, text or JSON.

    In pcap and pcapng, addresses, ports, times, VLAN and transport are those of the messages; TCP and
    SCTP have consistent numbers, so that other tools put the streams together again. A time range
    says which calls; of these, everything is written.
    """
    from hepcat.search import api
    from hepcat.search.export import export as run
    from hepcat.search.parser import parse_query

    asked = " ".join(query or [])
    parse_query(asked, "sip")  # a fault in the query shows even where there is no lake
    chosen = format or Format(_FORMAT_OF.get(Path(output).suffix.lower(), "pcap"))
    if output == "-" and chosen in (Format.PCAP, Format.PCAPNG) and sys.stdout.isatty():
        raise HepcatError(f"{chosen} is not text", "Write it to a file with -o FILE, or into a pipe.")
    begin, end = api.since_of(since, last), api.to_microseconds(until, "until")
    with reading(data, config, store, kamailio_cfg).open() as opened, _target(output) as file:
        done = run(opened, asked, file, chosen.value, since=begin, until=end, messages=messages, limit=limit)
        tell_missing(opened)
    of_calls = "" if done.calls is None else f" of {_count(done.calls, 'call')}"
    to = "standard output" if output == "-" else output
    typer.echo(f"{_count(done.messages, 'message')}{of_calls} to {to}", err=True)
    if done.cut:
        typer.echo(f"{_count(done.cut, 'message')} longer than UDP can carry: cut to that", err=True)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


@contextlib.contextmanager
def _target(output: str) -> Iterator[IO[bytes]]:
    """Open what is written to; a file gets its name only when everything is in it."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    draft = Path(f"{output}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            yield file
        os.replace(draft, output)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise HepcatError(f"cannot write {output}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", cls=QueryCommand)(export)
