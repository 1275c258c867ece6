"""Keep the generated parts of the documentation true: `python -m hepcat.cli.reference docs`.

In: the command line, the schema and the drop reasons as they stand in the code. Out: the text between
`<!-- generated: NAME -->` and `<!-- end -->` in docs/*.md, made anew. `--check` changes nothing and
fails where a page is out of date. What can go wrong: a page names a block that nobody generates.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hepcat.batch.drops import DROP_DOCS, Drop
from hepcat.batch.schema import COMMON_COLUMNS, MALFORMED, SIP_COLUMNS, Column
from hepcat.cli.main import make_app
from hepcat.config.reference import settings_reference
from hepcat.plans.registry import functions_reference
from hepcat.search.reference import columns_table, fields_table, states_table

BLOCK: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Write a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _parameters(command: Any) -> list[tuple[str, ...]]:
    """Return a row for each argument and option of a command."""
    rows: list[tuple[str, ...]] = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            shown = (parameter.metavar or parameter.name or "").upper()
        else:
            shown = "`, `".join((*parameter.opts, *parameter.secondary_opts))
        rows.append((f"`{shown}`", getattr(parameter, "help", "") or ""))
    return rows


def command_line() -> str:
    """Write every command with its arguments and options."""
    import typer.main

    root: Any = typer.main.get_command(make_app())
    parts: list[str] = []

    def describe(command: Any, path: str) -> None:
        children = getattr(command, "commands", {})
        if not children:
            parts.append(f"## {path}\n\n{_paragraphs(command.help or '')}\n\n")
            rows = _parameters(command)
            parts.append(_table(("argument or option", "what it does"), rows) + "\n" if rows else "")
        for name, child in children.items():
            describe(child, f"{path} {name}")

    describe(root, "hepcat")
    return "\n" + "".join(parts)


def _paragraphs(text: str) -> str:
    """Join the lines of each paragraph of a help text."""
    paragraphs = re.split(r"\n\s*\n", text.replace("\b", ""))
    return "\n\n".join(" ".join(line.strip() for line in p.splitlines()).strip() for p in paragraphs)


def drops() -> str:
    """Write the table of drop reasons."""
    return _table(("reason", "meaning"), [(f"`{d.name.lower()}`", DROP_DOCS[d]) for d in Drop])


def _columns(columns: tuple[Column, ...]) -> str:
    return _table(("column", "type", "what it holds"), [(f"`{c.name}`", c.type, c.doc) for c in columns])


def schema_sip() -> str:
    """Write the columns of table sip."""
    return _columns(SIP_COLUMNS)


def schema_common() -> str:
    """Write the columns of the other tables."""
    return _columns(COMMON_COLUMNS)


def malformed() -> str:
    """Write the values that `malformed` takes."""
    return ", ".join(f"`{reason}`" for reason in MALFORMED if reason) + "\n"


GENERATORS: Final[dict[str, Callable[[], str]]] = {
    "command-line": command_line,
    "drops": drops,
    "schema-sip": schema_sip,
    "schema-common": schema_common,
    "malformed": malformed,
    "settings": settings_reference,
    "plan-functions": functions_reference,
    "search-fields": fields_table,
    "search-columns": columns_table,
    "search-states": states_table,
}


def refresh(page: str) -> str:
    """Return a page with each generated block made anew. Raises KeyError for an unknown block."""
    return BLOCK.sub(lambda m: f"{m[1]}{GENERATORS[m['name']]()}{m[4]}", page)


def main(arguments: list[str]) -> int:
    """Refresh (or, with --check, compare) every page of a folder; return the exit code."""
    check = "--check" in arguments
    stale = []
    for path in sorted(Path(next(a for a in arguments if a != "--check")).glob("*.md")):
        page = path.read_text()
        fresh = refresh(page)
        if fresh != page:
            stale.append(path.name)
            if not check:
                path.write_text(fresh)
    if stale:
        print(f"{'out of date' if check else 'written'}: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
