"""The generated parts of docs/search.md: fields, columns of calls, states.

In: the registries. Out: Markdown tables, which `python -m hepcat.cli.reference docs` puts between the
page's markers; a test says when that is due.
"""

from hepcat.search.calls import CALL_COLUMNS, STATES
from hepcat.search.fields import KEYED, NOCASE, Field, Kind, fields_of

_CELL_KIND = {"PERSON": "user or user@domain", "ADDRESS": "address, address:port, network"}


def fields_table() -> str:
    """Return the table of fields."""
    lines = ["| field | also | values | what |", "|---|---|---|---|"]
    for field in fields_of("sip").values():
        also = ", ".join(f"`{alias}`" for alias in field.aliases)
        lines.append(f"| `{field.name}` | {also} | {_kind(field)} | {field.doc} |")
    lines += [f"| `{name}.NAME` | | text, any case | {doc} |" for name, doc in KEYED.items()]
    return "\n".join(lines) + "\n"


def _kind(field: Field) -> str:
    if field.kind is Kind.TEXT and field.columns[0][0] in NOCASE:
        return Kind.NOCASE.value
    return _CELL_KIND.get(field.kind.name, field.kind.value)


def columns_table() -> str:
    """Return the table of the columns of calls; those of the default table are marked."""
    lines = ["| column | in the table | what |", "|---|---|---|"]
    for column in CALL_COLUMNS:
        unit = " (seconds)" if column.type == "seconds" else ""
        lines.append(f"| `{column.name}` | {'yes' if column.shown else ''} | {column.doc}{unit} |")
    return "\n".join(lines) + "\n"


def states_table() -> str:
    """Return the table of states, in the order in which they are tried."""
    kinds = {"INVITE": "INVITE", "REGISTER": "REGISTER", "other": "any other"}
    lines = ["| method | state | when |", "|---|---|---|"]
    lines += [f"| {kinds[state.kind]} | {state.name} | {state.doc} |" for state in STATES]
    return "\n".join(lines) + "\n"
