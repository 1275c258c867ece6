"""`hepcat db`: make, mend and look at the tables of SQL databases, dbtext folders and ClickHouse.

In: a store of the configuration, or a URL. Out: a line for each thing that was looked at, and what to do
about it; exit code 1 where something does not work. With --dry-run the statements on standard output, to be
run by whoever may, and the lines on standard error.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hepcat.cli.common import ConfigOption, KamailioOption, settings_from
from hepcat.errors import HepcatError

if TYPE_CHECKING:
    from hepcat.config.databases import DatabaseSettings
    from hepcat.stores.admin import Admin, Finding, Tell

#: Kind of store -> its module of administration (stores/admin.py); all others are SQL databases.
ADMINS: Final = {"clickhouse": "hepcat.stores.clickhouse.admin", "dbtext": "hepcat.stores.dbtext.admin"}

db = typer.Typer(
    name="db",
    help="Make, mend and check the tables of databases: MariaDB, MySQL, PostgreSQL, SQLite, ODBC, dbtext, "
    "ClickHouse.",
    no_args_is_help=True,
)

UrlArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="URL",
        show_default=False,
        help="The database. A password in it can be seen by others in the list of processes: better name the "
        "store of a configuration, or --url-file.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="NAME", help="Store of the configuration; default: all that are databases."
    ),
]
UrlFileOption = Annotated[
    Path | None,
    typer.Option("--url-file", metavar="FILE", help="File whose first line is the URL.", readable=False),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Change nothing; print the SQL that would be run.")
]


@db.callback()
def root() -> None:
    """Make, mend and check the tables of databases: MariaDB, PostgreSQL, SQLite, ODBC, dbtext, ClickHouse."""


@db.command()
def create(
    url: UrlArgument = None,
    store: StoreOption = None,
    url_file: UrlFileOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Make the tables that are missing, with daily partitions; leave alone what is there."""
    stores = _stores(url, store, url_file, config, kamailio_cfg)
    for settings in stores:
        admin, dry = _admin(settings), _printer(settings) if dry_run else None
        _announce(settings, len(stores), dry_run)
        _print(admin.create(settings, dry), dry_run)


@db.command()
def upgrade(
    url: UrlArgument = None,
    store: StoreOption = None,
    url_file: UrlFileOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
    dry_run: DryRunOption = False,
    widen: Annotated[
        bool,
        typer.Option(
            "--widen", help="Also make `msg` large enough for any message: the table is written anew."
        ),
    ] = False,
) -> None:
    """Add columns and indexes that older tables lack; make partitions ahead, drop what is too old."""
    stores = _stores(url, store, url_file, config, kamailio_cfg)
    bad = False
    for settings in stores:
        admin, dry = _admin(settings), _printer(settings) if dry_run else None
        _announce(settings, len(stores), dry_run)
        bad |= _print(admin.upgrade(settings, dry, widen), dry_run)
    if bad:
        raise typer.Exit(1)


@db.command()
def check(
    url: UrlArgument = None,
    store: StoreOption = None,
    url_file: UrlFileOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
) -> None:
    """Look at tables, partitions, rights, clock; say what to do.

    Exit code 1 where something does not work.
    """
    stores = _stores(url, store, url_file, config, kamailio_cfg)
    bad = False
    for settings in stores:
        _announce(settings, len(stores), False)
        bad |= _print(_admin(settings).check(settings), False)
    if bad:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(db)


def _stores(
    url: str | None,
    store: str | None,
    url_file: Path | None,
    config: Path | None,
    kamailio_cfg: Path | None,
) -> "list[DatabaseSettings]":
    """Return which databases are meant. Raises HepcatError where that is not clear."""
    from hepcat.config.databases import DatabaseSettings, kind_of

    given = [name for name, value in (("URL", url), ("--url-file", url_file), ("--store", store)) if value]
    if len(given) > 1:
        raise HepcatError(f"{' and '.join(given)} exclude each other", "Name one of them.")
    if url is not None:
        try:
            kind_of(url)
        except ValueError as error:
            raise HepcatError(str(error), "Write it like mysql://user:password@host/database.") from None
        return [DatabaseSettings.model_validate({"name": "url", "url": url})]
    if url_file is not None:
        return [DatabaseSettings.model_validate({"name": "url", "url_file": url_file})]
    found = settings_from(config, kamailio_cfg).databases
    chosen = [database for database in found if store in (None, database.name)]
    if not chosen:
        names = ", ".join(database.name for database in found)
        what = f'no database "{store}" in the configuration' if store else "no database in the configuration"
        hint = (
            f"There are: {names}."
            if names
            else "Name a URL, --url-file, --kamailio-cfg, or --config with [[databases]]."
        )
        raise HepcatError(what, hint)
    return chosen


def _admin(settings: "DatabaseSettings") -> "Admin":
    import importlib

    from hepcat.config.databases import kind_of

    admin: Admin = importlib.import_module(ADMINS.get(kind_of(settings.read()), "hepcat.stores.sql.check"))
    return admin


def _announce(settings: "DatabaseSettings", stores: int, dry_run: bool) -> None:
    from hepcat.config.databases import safe_url

    if stores > 1 or dry_run:
        typer.echo(f"-- {settings.name}: {safe_url(settings.read())}")


def _printer(settings: "DatabaseSettings") -> "Tell":
    """Return what prints the statements of a dry run; a dbtext folder has none, but words."""
    from hepcat.config.databases import kind_of

    if kind_of(settings.read()) == "dbtext":
        return typer.echo
    return lambda statement: typer.echo(f"{statement.rstrip().rstrip(';')};")


def _print(findings: "list[Finding]", dry_run: bool) -> bool:
    """Print findings; say whether one is bad."""
    for finding in findings:
        typer.echo(f"{finding.level:<4}  {finding.subject}: {finding.found}", err=dry_run)
        if finding.advice:
            typer.echo(f"      {finding.advice}", err=dry_run)
    return any(finding.level == "bad" for finding in findings)
