"""The query language on the classic table in an engine of which nothing is known but that it speaks SQL.

Whether it tells letters' cases apart, nobody knows. So what it finds is tested again: it may find too much,
never too little.
"""

from sqlglot import exp

from hepcat.search.ast import Match
from hepcat.search.dialects_classic import TEXTS, ClassicDialect
from hepcat.search.remote_dialect import Bounds

_DOUBTFUL = frozenset({*TEXTS, "src_ip", "dst_ip", "method", "user_agent", "payload", "node_id", "node_name"})


class GenericDialect(ClassicDialect):
    """Any engine behind ODBC; `name` is sqlglot's name for it where it has one."""

    def __init__(self, *arguments: object, name: str = "", **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.name = name

    def match(self, node: Match) -> Bounds:
        """Return bounds whose texts are tested again."""
        bounds = super().match(node)
        return Bounds(bounds.maybe, exp.false()) if node.column in _DOUBTFUL else bounds

    def blurred_call(self) -> exp.Expression | None:
        """All of them: calls are told apart by their records."""
        return exp.true()

    def blurred_id(self, call_id: str) -> bool:
        """All of them."""
        return True

    def micros_of_date(self, value: exp.Expression) -> exp.Expression | None:
        """A date's number is said otherwise everywhere."""
        return None
