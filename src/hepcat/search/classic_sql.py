"""What engines say differently about the classic table's columns; here as most of them say it.

In: names of columns, and what they are compared with. Out: expressions. What can go wrong: nothing.

Overridden in dialects_mysql.py, dialects_postgres.py, dialects_sqlite.py and dialects_odbc.py; who asks is
dialects_classic.py. "In any case" means the letters of ASCII here.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sqlglot import exp

from hepcat.search.ast import Pattern, Wild
from hepcat.search.dialects import text


class ClassicSql(ABC):
    """Expressions over one of the tables."""

    def col(self, name: str) -> exp.Expression:
        """Return a column of the table."""
        return exp.column(name, quoted=True)

    def equals(self, name: str, value: str) -> exp.Expression:
        """Return "the column is this ASCII text", letter by letter; by its index where it has one."""
        return exp.EQ(this=self.col(name), expression=text(value))

    def one_of(self, name: str, values: Sequence[str]) -> exp.Expression:
        """Return "the column is one of these ASCII texts", letter by letter; by its index."""
        return exp.In(this=self.col(name), expressions=[text(value) for value in values])

    def equals_fold(self, name: str, value: str) -> exp.Expression:
        """Return the same, letters in any case."""
        return exp.EQ(this=exp.Lower(this=self.col(name)), expression=text(value.lower()))

    def fits(self, name: str, parts: Pattern, fold: bool) -> exp.Expression:
        """Return "the whole column fits": ASCII texts, and ANY in between."""
        value = exp.Lower(this=self.col(name)) if fold else self.col(name)
        return liked(value, parts, fold)

    def length(self, name: str) -> exp.Expression:
        """Return a text column's length in characters."""
        return exp.Length(this=self.col(name))

    def filled(self, name: str) -> exp.Expression:
        """Return "the column is not empty"."""
        return exp.NEQ(this=self.col(name), expression=text(""))

    def numbered(self, name: str, word: str | None) -> exp.Expression | None:
        """Return "a number below 2^32, a space, and this word (None: any of letters)"; None: cannot say."""
        return None

    def named_number(self, name: str, word: str) -> exp.Expression | None:
        """Return "this word, a colon, and digits", letters in any case; None: cannot say."""
        return None

    def as_number(self, value: exp.Expression) -> exp.Expression:
        """Return text of digits as a number."""
        return exp.Cast(this=value, to=exp.DataType.build("int"))

    def octets(self, value: exp.Expression) -> exp.Expression:
        """Return a value's octets, which differ where the texts do."""
        return value

    def date_of(self, moment: str) -> exp.Expression:
        """Return what `date` is compared with."""
        return text(moment)

    @abstractmethod
    def micros_of_date(self, value: exp.Expression) -> exp.Expression | None:
        """Return a date, read as UTC, in microseconds since the epoch; None: cannot say."""


def liked(value: exp.Expression, parts: Pattern, fold: bool) -> exp.Expression:
    """Return LIKE of a pattern. The escape is `!`, which no engine takes for anything else."""
    pieces = []
    for part in parts:
        if isinstance(part, Wild):
            pieces.append("%")
        else:
            pieces.append("".join(f"!{char}" if char in "!%_" else char for char in part))
    pattern = "".join(pieces)
    like = exp.Like(this=value, expression=text(pattern.lower() if fold else pattern))
    return exp.Escape(this=like, expression=text("!"))
