"""`hepcat web`: the page and the API alone, beside a running server or on a lake of imported captures.

In: flags. Out: exit code 0, 1 (the message says why) or 2 (wrong use).
"""

from typing import Annotated

import typer

from hepcat.cli.common import (
    ConfigOption,
    DataOption,
    KamailioOption,
    StoreOption,
    existing_data_dir,
    settings_from,
)


def web(
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="ADDRESS:PORT", help="Where browsers find it. Default 127.0.0.1:9080."
        ),
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
    store: StoreOption = None,
) -> None:
    """Offer the page: search, call flow, dashboard; until Ctrl-C.

    `hepcat serve` does so by itself. This is for a lake without a server, or another store.
    """
    from hepcat.config.databases import LAKE
    from hepcat.pipeline.logs import setup_logs
    from hepcat.search.stores import settings_of
    from hepcat.web.checks import accepted_page
    from hepcat.web.listening import bind, url_of
    from hepcat.web.running import run
    from hepcat.web.site import SiteOptions

    flags = {"data": str(data) if data else None, "http.listen": listen}
    settings = settings_from(config, kamailio_cfg, flags)
    setup_logs(settings.log)
    database = None
    if store is not None and store != LAKE:
        database = settings_of(store, settings.databases)
    elif store == LAKE or LAKE in settings.stores:
        existing_data_dir(settings.data)
    checked = accepted_page(settings)
    for note in checked.notes:
        typer.echo(f"warning: {note}", err=True)
    listening = bind(settings)
    typer.echo(f"hepcat shows {store or settings.data} on {url_of(settings, listening)}\nStop with Ctrl-C.")
    run(
        SiteOptions(settings, database, url_of(settings, listening)),
        listening,
        checked.tls.context() if checked.tls is not None else None,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(web)
