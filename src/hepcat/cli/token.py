"""`hepcat token`: API tokens, for programs that ask the API.

In: a user, a name for the token, days, a role. Out: the token on standard output, alone, so that a script can
take it; the rest on standard error. Exit code 0, 1 (the message says why) or 2 (wrong use).
"""

from typing import Annotated

import typer

from hepcat.cli.common import ConfigOption, DataOption
from hepcat.cli.user import day, open_accounts

token = typer.Typer(
    name="token", help="API tokens: what programs show instead of a password.", no_args_is_help=True
)


@token.callback()
def root() -> None:
    """API tokens: what programs show instead of a password."""


@token.command()
def add(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose token it is.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What it is for.")],
    days: Annotated[
        float | None,
        typer.Option("--days", metavar="N", help="Days it is good for; default [web] token_days, 90."),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="ROLE", help="viewer or admin; at most the user's, the default."),
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a token and print it: it is never shown again."""
    with open_accounts(data, config) as accounts:
        secret, made = accounts.tokens.add(user, name, accounts.token_days if days is None else days, role)
    typer.echo(f"token {made.id} of {made.user}, {made.role}, good until {day(made.expires)}:", err=True)
    typer.echo(secret)


@token.command("list")
def list_tokens(
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="Whose; default everybody's.")] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Show the tokens, without what they open: number, user, role, made, used, until, name."""
    import time

    from hepcat.search.render.escape import safe_line

    with open_accounts(data, config) as accounts:
        tokens = accounts.tokens.list(user)
    if not tokens:
        typer.echo("no tokens", err=True)
        return
    width = max(4, *(len(token.user) for token in tokens))
    typer.echo(f"{'id':>4}  {'user':<{width}}  role    made        used        until       name")
    for one in tokens:
        ended = "  (has ended)" if one.expires <= time.time() else ""
        typer.echo(
            f"{one.id:>4}  {one.user:<{width}}  {one.role:<6}  {day(one.created)}  {day(one.used)}  "
            f"{day(one.expires)}  {safe_line(one.name)}{ended}"
        )


@token.command()
def revoke(
    number: Annotated[int, typer.Argument(metavar="ID", help="The token's number in `hepcat token list`.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """End a token at once."""
    with open_accounts(data, config) as accounts:
        accounts.tokens.revoke(number)
    typer.echo(f"token {number} opens nothing any more.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(token)
