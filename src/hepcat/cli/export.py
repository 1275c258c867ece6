"""`hepcat export`: what a query finds as a capture file, text or JSON.

In: flags. Out: the file, or standard output with `-o -`; one line on standard error says how much it
was. A file appears whole or not at all: it is written under a temporary name first.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Final

import typer

from hepcat.cli.common import DataOption, existing_data_dir
from hepcat.errors import HepcatError

_FORMAT_OF: Final = {".pcap": "pcap", ".cap": "pcap", ".pcapng": "pcapng", ".txt": "text", ".json": "json"}

QueryArgument = Annotated[str, typer.Argument(metavar="QUERY", help="What to find; without it, everything.")]
OutputOption = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="File to write; - is standard output.")
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="pcap, pcapng, text or json. Default: by the file's name, else pcap.",
    ),
]
MessagesOption = Annotated[
    bool, typer.Option("--messages", help="Only the messages that match, not the whole calls they belong to.")
]
LastOption = Annotated[
    str | None,
    typer.Option("--last", metavar="TIME", help="Only what matches since so long ago: 15m, 1h, 2d."),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only what matches from then on: 14:00, 2026-01-31."),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only what matches before then.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="The newest N calls (messages) at most.")
]


def export(
    query: QueryArgument = "",
    output: OutputOption = "-",
    format: FormatOption = None,
    data: DataOption = None,
    messages: MessagesOption = False,
    last: LastOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = None,
) -> None:
    """Write the calls that a query finds as pcap, pcapng, text or JSON.

    In pcap and pcapng, addresses, ports, times, VLAN and transport are those of the messages; TCP and
    SCTP have consistent numbers, so that other tools put the streams together again.
    """
    chosen = format or _FORMAT_OF.get(Path(output).suffix.lower(), "pcap")
    path = existing_data_dir(data)
    from hepcat.search import api
    from hepcat.search.export import FORMATS
    from hepcat.search.export import export as run

    if chosen not in FORMATS:
        raise HepcatError(f"unknown format {chosen!r}", f"One of: {', '.join(FORMATS)}.")
    if output == "-" and chosen.startswith("pcap") and sys.stdout.isatty():
        raise HepcatError("a capture file is nothing for a terminal", "Name a file with -o, or pipe it on.")
    begin, end = api.since_of(since, last), api.to_microseconds(until, "until")
    with api.open(path) as opened, _target(output) as file:
        done = run(opened, query, file, chosen, since=begin, until=end, messages=messages, limit=limit)
    of_calls = "" if done.calls is None else f" of {_count(done.calls, 'call')}"
    typer.echo(
        f"{_count(done.messages, 'message')}{of_calls} to {'standard output' if output == '-' else output}",
        err=True,
    )
    if done.cut:
        typer.echo(f"{done.cut:,} messages were longer than UDP can carry, and are cut to that", err=True)


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
    app.command("export")(export)
