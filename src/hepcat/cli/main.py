"""The command line: one Typer application, a module a command.

In: sys.argv. Out: exit code 0, 1 (the message says why) or 2 (wrong use). The command modules import
what is heavy inside their functions, so that `hepcat --help` stays fast.
"""

import importlib
import os
import sys
from typing import Annotated, Final

import typer

from hepcat import __version__
from hepcat.errors import HepcatError

#: Modules with a `register(app)` each, in the order of the help page.
COMMANDS: Final[tuple[str, ...]] = (
    "hepcat.cli.serve",
    "hepcat.cli.agent",
    "hepcat.cli.convert",
    "hepcat.cli.ctl",
    "hepcat.cli.doctor",
    "hepcat.cli.search",
    "hepcat.cli.web",
    "hepcat.cli.flow",
    "hepcat.cli.importer",
    "hepcat.cli.export",
    "hepcat.cli.sql",
    "hepcat.cli.db",
    "hepcat.cli.user",
    "hepcat.cli.token",
    "hepcat.cli.bench",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"hepcat {__version__}")
        raise typer.Exit


def make_app() -> typer.Typer:
    """Build the application with every command registered."""
    app = typer.Typer(
        name="hepcat",
        help="Capture SIP, store it, find a call, see what went wrong.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Plain help pages: rich costs 0.1 s of import, a third of `hepcat --help`.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Capture SIP, store it, find a call, see what went wrong."""

    for name in COMMANDS:
        importlib.import_module(name).register(app)
    return app


def main() -> None:
    """Run the command line; errors for people go to standard error without a traceback."""
    try:
        make_app()()
    except HepcatError as error:
        print(f"hepcat: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)
