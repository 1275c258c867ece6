"""`hepcat ctl`: ask a running server or agent, and switch it.

In: flags that lead to its control socket. Out: its answers as text or JSON; exit code 0, 1 (the message says
why) or 2 (wrong use). What is heavy is imported within the functions: `hepcat --help` loads this module.
"""

import json
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hepcat.cli.common import (
    ConfigOption,
    DataOption,
    KamailioOption,
    data_dir,
    is_configured,
    settings_from,
)

if TYPE_CHECKING:
    from hepcat.control.client import Client

#: Seconds between two looks of `stats --watch`.
WATCH_SECONDS: Final = 2.0

SocketOption = Annotated[
    Path | None,
    typer.Option(
        "--socket",
        metavar="PATH",
        help="The control socket; default: `socket` in [control] of the configuration, or hepcat.sock in the "
        "lake's folder.",
        readable=False,
    ),
]


class Mode(StrEnum):
    """What `capture` does."""

    ON = "on"
    OFF = "off"
    STATUS = "status"


def connect(
    socket: Path | None, data: Path | None, config: Path | None, kamailio_cfg: Path | None = None
) -> "Client":
    """Connect to the hepcat that the options lead to. Raises HepcatError."""
    from hepcat.control.client import Client

    return Client(socket or _socket_of(data, config, kamailio_cfg))


def _socket_of(data: Path | None, config: Path | None, kamailio_cfg: Path | None) -> Path:
    """Find the socket as the server does; without a configuration its settings' model is not even read."""
    from hepcat.control.address import SOCKET_NAME

    if not is_configured(config, kamailio_cfg):
        return data_dir(data) / SOCKET_NAME
    settings = settings_from(config, kamailio_cfg)
    if settings.control.socket is not None and data is None:
        return settings.control.socket
    return data_dir(data, settings.data) / SOCKET_NAME


def capture(
    mode: Annotated[Mode, typer.Argument(help="on, off, or status: how the switches stand.")],
    source: Annotated[
        str | None, typer.Option("--source", metavar="URL", help="Only this source, as `ctl stats` names it.")
    ] = None,
    socket: SocketOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
) -> None:
    """Switch capture on or off, all of it or one source, or show how it is.

    While off, what arrives is counted, not stored. A source is on while its own switch and that of all are.
    """
    wanted = {} if mode is Mode.STATUS else {"mode": mode.value}
    with connect(socket, data, config, kamailio_cfg) as client:
        result = client.call("sip_capture", **wanted, **({"source": source} if source else {}))
    from hepcat.cli.ctl_tables import switch_lines

    typer.echo("\n".join(switch_lines(result)))


def stats(
    every: Annotated[
        float | None,
        typer.Argument(
            min=0.1, metavar="SECONDS", help=f"With --watch: how often; else {WATCH_SECONDS:g} seconds."
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show them again and again, with rates, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, a line each time.")] = False,
    socket: SocketOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
) -> None:
    """Show the counters: what was received, stored and dropped, by source, store and reason."""
    if every is not None and not watch:
        raise typer.BadParameter("SECONDS goes with --watch", param_hint="SECONDS")
    with connect(socket, data, config, kamailio_cfg) as client:
        if as_json:
            _watch(client, watch, every, lambda now, *_: typer.echo(json.dumps(now)))
            return
        from hepcat.cli.ctl_tables import Screen

        screen = Screen(client.call("status"), watch)
        _watch(client, watch, every, screen.show)


def _watch(
    client: "Client",
    watch: bool,
    every: float | None,
    show: Callable[[dict[str, Any], dict[str, Any] | None, float], None],
) -> None:
    """Call show(counters, those before or None, seconds between) once, or again and again."""
    before, asked = None, 0.0
    while True:
        begun = time.monotonic()
        now = client.call("stats")
        show(now, before, begun - asked)
        if not watch:
            return
        before, asked = now, begun
        time.sleep(max(0.05, begun + (every or WATCH_SECONDS) - time.monotonic()))


def agents(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    socket: SocketOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
) -> None:
    """Show the capture agents that sent HEP: node id, name, messages, when the last one came."""
    with connect(socket, data, config, kamailio_cfg) as client:
        result = client.call("agents")
    from hepcat.cli.ctl_tables import agents_lines

    typer.echo(json.dumps(result) if as_json else "\n".join(agents_lines(result, time.time())))


def status(
    socket: SocketOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
) -> None:
    """Show version, process, what it listens on, where it stores, and whether it can."""
    with connect(socket, data, config, kamailio_cfg) as client:
        result = client.call("status")
    from hepcat.cli.ctl_tables import status_lines

    typer.echo("\n".join(status_lines(result)))


def reload(
    socket: SocketOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
) -> None:
    """Put the configuration in force as it stands in its file now; wait until it is, or say what is wrong."""
    with connect(socket, data, config, kamailio_cfg) as client:
        result = client.call("reload")
    from hepcat.cli.ctl_tables import reload_lines

    typer.echo("\n".join(reload_lines(result)))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    ctl = typer.Typer(
        help="Ask a running server or agent, and switch it.", no_args_is_help=True, rich_markup_mode=None
    )
    for command in (capture, stats, agents, status, reload):
        ctl.command()(command)
    app.add_typer(ctl, name="ctl")
