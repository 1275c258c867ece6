"""Fuzz the search language.

Invariant: a query either parses, and then compiles to one SQL expression that DuckDB can read, or it
raises QueryError with a position within the query. Nothing a person types raises anything else, and
no text of theirs ends up in the SQL outside a literal.

    python fuzz/fuzz_query.py -max_total_time=60
"""

import sys

import atheris

with atheris.instrument_imports(include=["hepcat.search"]):
    from hepcat.search.compile import compile_query, sql_of
    from hepcat.search.errors import QueryError
    from hepcat.search.parser import parse_query

import sqlglot
from sqlglot import exp

WORDS = (
    *(
        "method:",
        "from:",
        "status:",
        "ip:",
        "ua:",
        "INVITE",
        "alice*",
        "4xx",
        "400..499",
        "10.0.0.0/8",
        "~re.g~",
    ),
    *('"', "(", ")", "-", "OR", "AND", "NOT", ">=", "!=", ",", "|", " ", "\\", "'", ";--", "%", "_"),
)


def text_of(data: bytes) -> str:
    """Make a query of octets: each names a word of the language, or stands for itself."""
    words = dict(enumerate(WORDS, 128))
    return "".join(words.get(octet, chr(octet)) for octet in data[:300])


def test_one_input(data: bytes) -> None:
    """Check the invariant on one input."""
    query = text_of(data)
    tree = None
    position = 0
    try:
        tree = parse_query(query)
    except QueryError as error:
        position = error.position
    assert 0 <= position <= len(query)
    if tree is None:
        return
    sql = sql_of(compile_query(tree))
    read = sqlglot.parse(f"select 1 from sip where {sql}", dialect="duckdb")
    assert len(read) == 1
    assert isinstance(read[0], exp.Select)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
