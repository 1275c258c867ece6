"""`hepcat convert`: another program's configuration files as TOML for hepcat.

In: the other program's files. Out: TOML on standard output, with a comment for each thing that is done
otherwise; how many there are on standard error. Errors name file and line.
"""

from pathlib import Path
from typing import Annotated

import typer

convert = typer.Typer(
    name="convert", help="Turn another program's configuration into TOML.", no_args_is_help=True
)


@convert.callback()
def root() -> None:
    """Turn another program's configuration into TOML."""


@convert.command()
def captagent(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE",
            help="captagent.xml, or the folder it is in, such as /etc/captagent.",
            readable=False,
        ),
    ],
) -> None:
    """Print captagent's files (captagent.xml, its modules' XML) as TOML; plans stay where they are."""
    from hepcat.config.captagent.reader import read_captagent
    from hepcat.config.toml import write_toml

    converted = read_captagent(path)
    typer.echo(write_toml({"agent": converted.settings}, converted.warnings, str(path)), nl=False)
    told = sum(warning.level == "warning" for warning in converted.warnings)
    typer.echo(f"{told} things are done otherwise than in captagent; the comments say which", err=True)


@convert.command()
def kamailio(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="kamailio.cfg of a capture server (module sipcapture).", readable=False
        ),
    ],
) -> None:
    """Print the kamailio.cfg of a capture server as TOML; lines without counterpart become comments."""
    from hepcat.config.kamailio import read_kamailio
    from hepcat.config.loader import load_settings
    from hepcat.config.toml import write_toml

    converted = read_kamailio(path)
    settings = load_settings(None, environ={}, base=converted)
    tables = {name: getattr(settings, name) for name in converted.document}
    typer.echo(write_toml(tables, converted.warnings, str(path), "kamailio"), nl=False)
    told = sum(warning.level == "warning" for warning in converted.warnings)
    typer.echo(f"{told} lines have no counterpart; the comments say which", err=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(convert)
