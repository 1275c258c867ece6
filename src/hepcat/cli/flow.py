"""`hepcat flow`: the ladder of calls, in the terminal or as a picture for elsewhere.

In: Call-IDs (a `*` at the end stands for any ending) or a query, and the lake. Out: the picture on
standard output or in a file. What can go wrong: a Call-ID that the lake does not have (exit code 1, with
similar ones), a query that finds nothing, no lake. --explain adds what went wrong, --related the other legs
of the same calls.
"""

import enum
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hepcat.cli.common import (
    ConfigOption,
    DataOption,
    KamailioOption,
    Reading,
    StoreOption,
    reading,
    tell_missing,
)
from hepcat.errors import HepcatError

if TYPE_CHECKING:
    from hepcat.search.api import Data
    from hepcat.search.ladder import Ladder
    from hepcat.search.related import Related

#: Calls that one picture shows, at most.
MAX_CALLS: Final = 20
#: Messages that one picture shows where --max-messages does not say otherwise.
MAX_MESSAGES: Final = 2000
#: Call-IDs without characters that mean something in the query language.
_PLAIN: Final = re.compile(r"[\w.@+\-]+")


class Format(enum.StrEnum):
    """What the picture is made of."""

    TEXT = "text"
    SVG = "svg"
    MERMAID = "mermaid"
    JSON = "json"


class Color(enum.StrEnum):
    """When to use colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("flow")(flow)


def flow(
    call_id: Annotated[
        list[str] | None,
        typer.Argument(metavar="CALL-ID...", help="Call-IDs; `abc*` stands for every ending."),
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", metavar="QUERY", help="The calls that a query finds.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, max=MAX_CALLS, metavar="N", help="Calls drawn of a query: the newest N."
        ),
    ] = MAX_CALLS,
    max_messages: Annotated[
        int, typer.Option("--max-messages", min=1, metavar="N", help="Messages drawn: the first N.")
    ] = MAX_MESSAGES,
    format_: Annotated[Format, typer.Option("--format", "-f", help="Form of the picture.")] = Format.TEXT,
    raw: Annotated[bool, typer.Option("--raw", help="Add the messages (text and json).")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what went wrong, under the picture (text and json).")
    ] = False,
    related: Annotated[
        bool,
        typer.Option(
            "--related",
            help="Add the other legs of the same calls: by correlation id, A-leg header, Session-ID.",
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.", readable=False)
    ] = None,
    last: Annotated[
        str | None, typer.Option("--last", metavar="TIME", help="Only the last 15m, 2h, 1d ...")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only from this time on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Only before this time.")
    ] = None,
    utc: Annotated[bool, typer.Option("--utc", help="Times in UTC instead of local time.")] = False,
    color: Annotated[Color, typer.Option("--color", help="When to use colour.")] = Color.AUTO,
    data: DataOption = None,
    config: ConfigOption = None,
    kamailio_cfg: KamailioOption = None,
    store: StoreOption = None,
) -> None:
    """Draw the flow of calls: who sent what to whom, when, and with which media."""
    if bool(call_id) == (query is not None):
        raise typer.BadParameter("name Call-IDs, or give --query QUERY")
    for name, given in (("--raw", raw), ("--explain", explain)):
        if given and format_ not in (Format.TEXT, Format.JSON):
            raise typer.BadParameter(f"{name} goes with --format text and json, not {format_.value}")
    place = reading(data, config, store, kamailio_cfg)
    span = _span(last, since, until, utc)
    ladder, legs = _ladder(place, call_id or [], query, limit, span, max_messages, related)
    findings = ladder.findings(time.time_ns() // 1000) if explain else None
    if format_ is Format.SVG:
        text = ladder.svg(utc=utc)
    elif format_ is Format.MERMAID:
        text = ladder.mermaid()
    elif format_ is Format.JSON:
        from hepcat.search.render.json import render_json

        text = render_json(ladder, raw=raw, findings=findings, related=legs)
    else:
        wants_color = _wants_color(color, output)
        text = ladder.text(color=wants_color, utc=utc, raw=raw)
        if findings is not None:
            from hepcat.search.render.findings import render_findings

            text += "\n" + render_findings(ladder, findings, color=wants_color)
    _write(text, output)


def _ladder(
    place: Reading,
    call_ids: list[str],
    query: str | None,
    limit: int,
    span: tuple[int | None, int | None],
    max_messages: int,
    with_related: bool,
) -> "tuple[Ladder, list[Related] | None]":
    """Return the ladder of the calls asked for and the legs added. Raises HepcatError for no call at all."""
    from hepcat.search.ladder import build

    with place.open() as lake:
        wanted = _found(lake, query, limit, span) if query is not None else []
        for call_id in call_ids:
            if call_id.endswith("*") and _PLAIN.fullmatch(call_id[:-1]):
                wanted += _found(lake, f"call_id:{call_id}", limit, span)
            else:
                wanted.append(call_id)
        wanted = list(dict.fromkeys(wanted))
        have = lake.searcher.numbers_of(wanted, *span)
        missing = [call_id for call_id in wanted if call_id not in have]
        names = ", ".join(_shown(call_id) for call_id in missing)
        if not have:
            raise HepcatError(f"no message with Call-ID {names}", _similar(lake, missing[0], span))
        legs = _other_legs(lake, list(have), span) if with_related else None
        if legs:
            others = [leg.call_id for leg in legs]
            have |= lake.searcher.numbers_of(others, *span)
            wanted += others
        table = lake.searcher.messages_of(wanted, *span, limit=max_messages)
        tell_missing(lake)
    if missing:
        print(f"hepcat: no message with Call-ID {names}", file=sys.stderr)
    if sum(have.values()) > len(table):
        left = sum(have.values()) - len(table)
        print(
            f"hepcat: {left:,} later messages are not drawn, only the first {len(table):,}: "
            "--max-messages N, or a narrower time",
            file=sys.stderr,
        )
    return build(table, place.aliases), legs


def _other_legs(lake: "Data", call_ids: list[str], span: tuple[int | None, int | None]) -> "list[Related]":
    """Return the other legs of these calls, and say on standard error which and why."""
    from hepcat.search.related import relations

    found = relations(lake.searcher, call_ids, *span, limit=MAX_CALLS)
    for leg in found.related:
        print(
            f"hepcat: also {_shown(leg.call_id)}, by the {leg.why} of {_shown(leg.of)}",
            file=sys.stderr,
        )
    for note in found.notes:
        print(f"hepcat: {note}", file=sys.stderr)
    if not found.related:
        print("hepcat: no other leg of the same call was found", file=sys.stderr)
    return list(found.related)


def _found(lake: "Data", query: str, limit: int, span: tuple[int | None, int | None]) -> list[str]:
    """Return the Call-IDs that a query finds, at most `limit`, saying so where there are more."""
    found = _call_ids(lake, query, span, limit + 1)
    if not found:
        raise HepcatError(
            f"no call matches {_shown(query)}", "Try `hepcat search` with a wider query or time."
        )
    if len(found) > limit:
        said = "more than one call matches; this is the newest"
        if limit > 1:
            said = f"more than {limit} calls match; these are the newest {limit}"
        print(f"hepcat: {said}", file=sys.stderr)
    return found[:limit]


def _call_ids(lake: "Data", query: str, span: tuple[int | None, int | None], limit: int) -> list[str]:
    calls = lake.search(query, since=span[0], until=span[1], limit=limit, fields=["call_id"])
    return [call_id for call_id in calls.column("call_id").to_pylist() if call_id]


def _similar(lake: "Data", call_id: str, span: tuple[int | None, int | None]) -> str:
    """Return a hint: Call-IDs that begin as the unknown one does, if there are any."""
    from hepcat.search.similar import similar

    known = similar(lake.searcher, call_id, *span)
    if known:
        return "Similar: " + ", ".join(_shown(name) for name in known)
    return "`hepcat search` lists calls; Call-IDs are told apart by case."


def _shown(text: str) -> str:
    from hepcat.search.render.escape import safe_line

    return safe_line(text, 120)


def _span(last: str | None, since: str | None, until: str | None, utc: bool) -> tuple[int | None, int | None]:
    """Return the bounds in microseconds since the epoch, None where open."""
    if last is None and since is None and until is None:
        return None, None
    from datetime import UTC

    from hepcat.search.times import parse_time

    if last is not None and since is not None:
        raise typer.BadParameter("give --last or --since, not both")
    start = since if since is not None else last
    zone = UTC if utc else None
    try:
        return (
            parse_time(start, zone=zone).start if start is not None else None,
            parse_time(until, zone=zone).start if until is not None else None,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _wants_color(color: Color, output: Path | None) -> bool:
    """Colour on a terminal, unless NO_COLOR or TERM=dumb says that it wants none."""
    if color is not Color.AUTO:
        return color is Color.ALWAYS
    if output is not None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def _write(text: str, output: Path | None) -> None:
    if output is None:
        # a terminal that cannot show box drawing gets '?', not a traceback
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "utf-8", "replace"))
        sys.stdout.flush()
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HepcatError(f"cannot write {output}: {error.strerror}") from None
