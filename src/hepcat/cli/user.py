"""`hepcat user`: who may log in on the page.

In: names, roles, passwords (typed twice, or from a file or a pipe; never as an argument, which `ps` shows).
Out: a line for each change; exit code 0, 1 (the message says why) or 2 (wrong use). A server that runs sees
each change at once.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hepcat.cli.common import ConfigOption, DataOption, data_dir, is_readable_folder
from hepcat.errors import HepcatError

if TYPE_CHECKING:
    from hepcat.config.settings import Settings
    from hepcat.web.accounts import Accounts

#: Which folder is meant, for people.
WHICH: Final = (
    "Name the folder that the server stores in (--data), or its configuration (--config). `hepcat serve` "
    "says when it starts where it stores, and the page's Status does."
)

user = typer.Typer(name="user", help="Accounts of the page: who may look and switch.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
RoleOption = Annotated[
    str,
    typer.Option("--role", metavar="ROLE", help="viewer may look; admin may also switch and reload."),
]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="File whose first line is the password; - is standard input. Not given: asked for twice.",
        readable=False,
    ),
]
MakeFolderOption = Annotated[
    bool,
    typer.Option(
        "--make-folder",
        help="Make the lake's folder where it is missing: for accounts before the server's first start.",
    ),
]


@user.callback()
def root() -> None:
    """Accounts of the page: who may look, who may switch."""


@user.command()
def add(
    name: NameArgument,
    role: RoleOption,
    password_file: PasswordFileOption = None,
    make_folder: MakeFolderOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Make an account. With the first one, everybody has to log in.

    --data, or --config, has to be that of the server: the account is for what runs on that folder.
    """
    settings = _settings(data, config)
    if settings.web.accounts is None:
        _check_folder(settings, make_folder)
    with _opened(settings) as accounts:
        from hepcat.web.accounts.users import checked_name, checked_role

        checked_name(name)
        checked_role(role)
        if accounts.users.find(name):
            raise HepcatError(
                f"there is a user {name} already", "`hepcat user password` gives a new password."
            )
        first = not accounts.users.any()
        accounts.users.add(name, _password(name, password_file), role)
        typer.echo(f"{name} may log in now, as {role}.")
        if first:
            _tell_of_first(settings, accounts.database.path)


@user.command("list")
def list_users(data: DataOption = None, config: ConfigOption = None) -> None:
    """Show the accounts: role, since when, password of when, disabled or not."""
    with open_accounts(data, config) as accounts:
        users = accounts.users.list()
    if not users:
        typer.echo("no accounts: the page is open to people on this machine, and to nobody else", err=True)
        return
    width = max(4, *(len(user.name) for user in users))
    typer.echo(f"{'name':<{width}}  role    made        password    state")
    for one in users:
        state = "disabled" if one.disabled else "ok"
        typer.echo(f"{one.name:<{width}}  {one.role:<6}  {day(one.created)}  {day(one.changed)}  {state}")


@user.command()
def remove(name: NameArgument, data: DataOption = None, config: ConfigOption = None) -> None:
    """Remove an account; ends its sessions and tokens at once."""
    with open_accounts(data, config) as accounts:
        accounts.users.remove(name)
        typer.echo(f"{name} is removed; sessions and tokens have ended.")
        _tell_who_is_left(accounts)


@user.command()
def password(
    name: NameArgument,
    password_file: PasswordFileOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Give a new password; ends the user's sessions and tokens at once."""
    with open_accounts(data, config) as accounts:
        found = accounts.users.find(name)
        if found is None:
            raise HepcatError(f"there is no user {name[:80]!r}", "`hepcat user list` shows who there is.")
        accounts.users.set_password(found.name, _password(found.name, password_file))
        typer.echo(f"{found.name} has a new password; sessions and tokens have ended.")


@user.command()
def role(
    name: NameArgument,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer or admin.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Give another role; sessions go on with it, tokens with at most it."""
    with open_accounts(data, config) as accounts:
        accounts.users.set_role(name, role)
        typer.echo(f"{name} is {role} now.")
        _tell_who_is_left(accounts)


@user.command()
def disable(name: NameArgument, data: DataOption = None, config: ConfigOption = None) -> None:
    """Let a user log in no more, and end sessions and tokens; the account stays."""
    with open_accounts(data, config) as accounts:
        accounts.users.set_disabled(name, True)
        typer.echo(f"{name} is disabled; sessions and tokens have ended.")
        _tell_who_is_left(accounts)


@user.command()
def enable(name: NameArgument, data: DataOption = None, config: ConfigOption = None) -> None:
    """Let a disabled user log in again."""
    with open_accounts(data, config) as accounts:
        accounts.users.set_disabled(name, False)
        typer.echo(f"{name} may log in again.")


@contextmanager
def open_accounts(data: Path | None, config: Path | None) -> "Iterator[Accounts]":
    """Open the accounts that the configuration, or the lake's folder, leads to."""
    settings = _settings(data, config)
    if settings.web.accounts is None and not is_readable_folder(settings.data):
        raise _no_folder(settings.data)
    with _opened(settings) as accounts:
        yield accounts


@contextmanager
def _opened(settings: "Settings") -> "Iterator[Accounts]":
    from hepcat.web.accounts import Accounts

    accounts = Accounts(settings)
    try:
        yield accounts
    finally:
        accounts.close()


def _settings(data: Path | None, config: Path | None) -> "Settings":
    from hepcat.config.loader import load_settings

    settings = load_settings(config)
    return settings.model_copy(update={"data": data_dir(data, settings.data)})


def _check_folder(settings: "Settings", make: bool) -> None:
    """Raise HepcatError where no server can have its lake: an account there would close nothing, though
    whoever mistyped the folder believes so. make: make the folder where it is missing.
    """
    from hepcat.pipeline.privileges import make_data_folder

    folder = settings.data
    if make:
        make_data_folder(folder, settings.user)
    if not is_readable_folder(folder):
        raise _no_folder(folder, " `--make-folder` makes it, for a server that is yet to start there.")
    names = set(os.listdir(folder))
    if names and names.isdisjoint(_marks()):
        raise HepcatError(f"{folder} is the folder of no lake: other things are in it", WHICH)


def _marks() -> frozenset[str]:
    """Return names of which one at least is in the folder of every server that has started, or import."""
    from hepcat.batch.schema import TABLES
    from hepcat.control.address import SOCKET_NAME
    from hepcat.stores.lake.catalog import JOURNAL

    return frozenset({JOURNAL, "spool", "accounts.db", SOCKET_NAME, *TABLES})


def _no_folder(folder: Path, more: str = "") -> HepcatError:
    return HepcatError(f"no folder {folder.absolute()}", WHICH + more)


def _tell_of_first(settings: "Settings", path: Path) -> None:
    """Say what the first account closes, and where that server is not."""
    from hepcat.control.address import SOCKET_NAME
    from hepcat.control.client import Client

    where = path.absolute()
    typer.echo(f"This is the first account in {where}: with these accounts everybody has to log in.")
    try:
        with Client(settings.control.socket or settings.data / SOCKET_NAME):
            return
    except HepcatError:
        typer.echo(
            f"No server runs on {settings.data.absolute()} just now. One that stores elsewhere does not ask "
            "for these accounts."
        )


def day(seconds: float | None) -> str:
    """Return the day of a time, in the local zone."""
    return "never     " if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d")


def _password(name: str, file: Path | None) -> str:
    """Return the new password: of the file, of the pipe, or typed twice."""
    if file is not None and str(file) != "-":
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise HepcatError(f"cannot read {file}: {reason}", "Its first line is the password.") from None
        return text.partition("\n")[0].rstrip("\r")
    if file is not None or not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    import getpass

    first = getpass.getpass(f"New password of {name}: ")
    if getpass.getpass("Once more: ") != first:
        raise HepcatError("the two are not the same", "Nothing has changed; try again.")
    return first


def _tell_who_is_left(accounts: "Accounts") -> None:
    """Say so where nobody can administer, or log in, any more."""
    users = accounts.users.list()
    if not users:
        typer.echo(
            "There are no accounts left. A running server stays closed; from its next start on, the page is "
            "open to people on its machine, and is not offered to others."
        )
    elif not any(user.role == "admin" and not user.disabled for user in users):
        typer.echo("No administrator is left who may log in: `hepcat user role NAME admin` makes one.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(user)
