"""`hepcat doctor`: what keeps an agent from seeing packets on this machine.

In: interfaces, or a configuration. Out: a table (or JSON) of findings with commands to type; exit code 1
where something is bad. What can go wrong: HepcatError where the configuration is wrong.
"""

import json
import sys
from typing import Annotated

import typer

from hepcat.cli.common import ConfigOption


def doctor(
    dev: Annotated[
        list[str] | None,
        typer.Option("--dev", "-i", metavar="DEV", help="Look at this interface; repeatable. Default: any."),
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check rights, interfaces, offloads, buffers and clock for capturing, and say what to type."""
    from hepcat.pipeline.doctor import examine, worst

    settings = None
    if config is not None:
        from hepcat.config.loader import load_settings

        settings = load_settings(config)
    findings = examine(tuple(dev or ()), settings)
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        marks = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "bad": ("BAD", "red")}
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            mark, color = marks[finding.level]
            head = f"{typer.style(mark.ljust(4), fg=color)} {finding.check:<9} {finding.subject:<{width}}"
            typer.echo(f"{head}  {finding.found}")
            if finding.command:
                typer.echo(f"{'':4} {'':9} {'':<{width}}  -> {finding.command}")
    sys.exit(1 if worst(findings) == "bad" else 0)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
