"""`hepcat import`: capture files into the lake, with a bar while it runs and a summary when it is done.

In: flags. Out: a summary on standard output, errors and the bar on standard error; exit code 1 where
a file could not be imported (the others are).
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepcat.cli.common import ConfigOption, DataOption, is_readable_folder
from hepcat.errors import HepcatError

if TYPE_CHECKING:
    from hepcat.pipeline.importing import Outcome
    from hepcat.sources.pcap_file import Progress

FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...", help="Captures: pcap, pcapng, or either of them gzipped.", readable=False
    ),
]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Store a capture once more that was imported before.")
]


def import_files(
    files: FilesArgument, data: DataOption = None, config: ConfigOption = None, again: AgainOption = False
) -> None:
    """Import capture files into the lake; SIP is found on any port.

    Works beside a running server. Safe to repeat: a file that was imported before is stored once,
    unless --again, and an import that was broken off leaves nothing behind.
    """
    os.umask(0o027)  # what is stored is other people's traffic
    from hepcat.config.loader import load_settings
    from hepcat.pipeline.importing import import_capture

    settings = load_settings(config, {"data": str(data) if data else None})
    is_readable_folder(settings.data)  # raises; one that is missing is made
    failed = False
    for path in files:
        try:
            with _Bar(path) as bar:
                outcome = import_capture(
                    path,
                    settings.data,
                    settings.lake,
                    again=again,
                    extra=settings.extra_headers,
                    aleg=settings.callid_aleg_header,
                    on_start=bar.follow,
                )
        except HepcatError as error:
            failed = True
            typer.echo(f"hepcat: {error}\n  {error.hint}".rstrip(), err=True)
            continue
        except KeyboardInterrupt:
            typer.echo(f"\nhepcat: broken off; nothing of {path} was stored", err=True)
            raise
        _report(path, outcome)
        for damaged in outcome.damaged:
            typer.echo(f"hepcat: found a damaged file in the lake: {damaged}", err=True)
        if outcome.expired:
            typer.echo(
                f"hepcat: {path}: {outcome.expired:,} messages are older than retention_days = "
                f"{settings.lake.retention_days}: a server deletes them within a minute, or when it starts\n"
                f"  Raise it, or import into a lake of its own: --data FOLDER",
                err=True,
            )
    if failed:
        raise typer.Exit(1)


def _report(path: Path, outcome: "Outcome") -> None:
    """Say in a few lines what became of a file."""
    before, progress = outcome.before, outcome.progress
    if before is not None:
        typer.echo(
            f"{path}: already imported on {before.imported.replace('T', ' ').replace('+00:00', ' UTC')}, "
            f"{before.messages:,} messages; --again to store it once more"
        )
        return
    rate = progress.packets / outcome.seconds if outcome.seconds > 0 else 0.0
    typer.echo(
        f"{path}: {progress.packets:,} packets, {progress.messages:,} SIP messages stored "
        f"in {outcome.seconds:.1f} s ({rate:,.0f} packets/s)"
    )
    if outcome.malformed:
        typer.echo(f"  {outcome.malformed:>12,}  stored, and marked malformed (search: malformed:*)")
    for count, doc in _drops(outcome.drops):
        typer.echo(f"  {count:>12,}  not stored: {doc}")
    if progress.problem is not None:
        typer.echo(f"hepcat: {progress.problem}\n  {progress.problem.hint}", err=True)


def _drops(drops: Any) -> list[tuple[int, str]]:
    """Return (count, reason) of what was dropped, the most frequent first."""
    from hepcat.batch.drops import DROP_DOCS, Drop

    found = [(int(drops[reason]), DROP_DOCS[reason]) for reason in Drop if drops[reason]]
    return sorted(found, reverse=True)


class _Bar:
    """The progress bar: octets read, packets and messages so far, rate, time left. Terminals only."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._rich: Any = None

    def __enter__(self) -> "_Bar":
        return self

    def follow(self, state: "Progress") -> None:
        """Show how `state` goes on, ten times a second, from a thread of rich's."""
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        class Following(RichProgress):
            def get_renderables(self) -> Any:
                for task in self.tasks:
                    elapsed = task.elapsed or 0.0
                    rate = state.packets / elapsed if elapsed > 0 else 0.0
                    self.update(
                        task.id,
                        completed=state.read,
                        packets=f"{state.packets:,}",
                        messages=f"{state.messages:,}",
                        rate=f"{rate:,.0f}",
                    )
                yield from super().get_renderables()

        self._rich = Following(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[packets]} packets ({task.fields[rate]}/s), {task.fields[messages]} SIP"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._rich.add_task(self._name, total=state.size, packets="0", messages="0", rate="0")
        self._rich.start()

    def __exit__(self, *_: object) -> None:
        if self._rich is not None:
            self._rich.stop()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_files)
