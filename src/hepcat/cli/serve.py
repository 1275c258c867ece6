"""`hepcat serve` and `hepcat check-config`.

In: flags. Out: exit code 0, 1 (the message says why) or 2 (wrong use). What is heavy is imported within
the functions: `hepcat --help` loads this module.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepcat.cli.common import ConfigOption, DataOption
from hepcat.errors import HepcatError

if TYPE_CHECKING:
    from hepcat.config.settings import Settings

HepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--hep",
        metavar="URL",
        help="Listen for HEP: udp://, tcp:// or tls://ADDRESS:PORT; repeatable. "
        "Default: UDP and TCP on 127.0.0.1:9060.",
    ),
]
HttpOption = Annotated[
    str | None,
    typer.Option(
        "--http",
        metavar="ADDRESS:PORT",
        help="Where the page, the API and /metrics are. Default 127.0.0.1:9080.",
    ),
]

KamailioOption = Annotated[
    Path | None,
    typer.Option(
        "--kamailio-cfg",
        metavar="FILE",
        help="Be the capture server of a kamailio.cfg (module sipcapture); --config goes over it.",
        readable=False,
    ),
]


def serve(
    data: DataOption = None,
    config: ConfigOption = None,
    hep: HepOption = None,
    http: HttpOption = None,
    kamailio_cfg: KamailioOption = None,
) -> None:
    """Receive HEP and store it, until Ctrl-C or SIGTERM.

    Where to: the lake, databases, or both (`stores`). [sipcapture] takes IP-in-IP copies or a mirror port
    too.
    """
    # No linear algebra here: numpy's threads for it would only cost memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from hepcat.pipeline.memory import keep_freed_memory

    keep_freed_memory()  # before pyarrow is imported
    from hepcat.config.loader import load_settings, unknown_variables
    from hepcat.control.serving import banner, log
    from hepcat.control.serving import serve as run

    flags = {"data": str(data) if data else None, "hep.listen": hep or None, "http.listen": http}
    file = config or (Path(os.environ["HEPCAT_CONFIG"]) if os.environ.get("HEPCAT_CONFIG") else None)
    warnings: list[object] = []

    def read() -> "Settings":
        base = None
        if kamailio_cfg is not None:
            from hepcat.config.kamailio import read_kamailio

            base = read_kamailio(kamailio_cfg)
            warnings[:] = [warning for warning in base.warnings if warning.level == "warning"]
        return load_settings(file, flags, base=base)

    settings = read()

    page = None
    if settings.web.enabled:
        from hepcat.web.process import WebProcess

        page = WebProcess(settings)

    def started(server: object) -> None:
        for name, near in unknown_variables(os.environ):
            log.warning("unknown variable in the environment", variable=name, did_you_mean=near)
        if warnings:
            log.warning(
                f"{len(warnings)} lines of {kamailio_cfg} have no counterpart",
                hint=f"hepcat convert kamailio {kamailio_cfg} names them",
            )
        banner(server, file or kamailio_cfg, page.url if page else None)  # type: ignore[arg-type]

    sys.exit(run(settings, read, started, page))


def check_config(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Configuration file (TOML).", readable=False)],
) -> None:
    """Check a configuration file, its keys and certificates: errors with file, line, what is allowed.

    What `hepcat serve` would refuse is an error here too: the page at an address that others reach, without
    accounts. So run it as who starts the server, who may read the same files.
    """
    from hepcat.config.loader import load_settings, unknown_variables
    from hepcat.pipeline.check import check_files, summary

    settings = load_settings(file)
    problems, notes = check_files(settings), []
    if settings.web.enabled:
        from hepcat.web.checks import check_page

        page = check_page(settings)
        problems += [f"{error}. {error.hint}" for error in (*page.refused, *page.faults)]
        notes = page.notes
    if problems:
        raise HepcatError("\n".join(f"{file}: {problem}" for problem in problems))
    for name, near in unknown_variables(os.environ):
        notes.append(f"unknown variable {name}; did you mean {near}?")
    for note in notes:
        typer.echo(f"warning: {note}", err=True)
    typer.echo(f"ok: {file}")
    for line in summary(settings):
        typer.echo(f"  {line}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command("check-config")(check_config)
