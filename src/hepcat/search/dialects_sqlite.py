"""The query language on the classic table in SQLite, opened directly or through its ODBC driver.

LIKE takes letters in any case there, so patterns are GLOB's, which reads a text up to its first NUL: a value
with one is in doubt. Messages are searched by INSTR, which reads all of it.
"""

from sqlglot import exp

from hepcat.search.ast import Pattern, Wild
from hepcat.search.dialects import call, join, number, text
from hepcat.search.dialects_classic import ClassicDialect
from hepcat.search.remote_dialect import both

_SPECIAL = frozenset("*?[")


class SqliteDialect(ClassicDialect):
    """SQLite 3."""

    name = "sqlite"

    def fits(self, name: str, parts: Pattern, fold: bool) -> exp.Expression:
        """By GLOB; in the message by INSTR of each text."""
        value = self.col(name)
        if name == "msg":
            small = exp.Lower(this=exp.Cast(this=value, to=exp.DataType.build("text")))
            texts = [part.lower() for part in parts if isinstance(part, str)]
            found = [
                exp.GT(this=call("INSTR", small.copy(), text(part)), expression=number(0)) for part in texts
            ]
            return join(exp.And, found, exp.true())
        pattern = "".join("*" if isinstance(part, Wild) else _quoted(part) for part in parts)
        if fold:
            return exp.Glob(this=exp.Lower(this=value), expression=text(pattern.lower()))
        return exp.Glob(this=value, expression=text(pattern))

    def _doubt(self, name: str, begins: str | bool = "") -> exp.Expression | None:
        """A NUL in the value, besides."""
        longer, nul = super()._doubt(name, begins), self._nul(name)
        if begins:  # what stands before a NUL is read right
            return longer
        return nul if longer is None else join(exp.Or, [longer, nul], exp.false())

    def _nul(self, name: str) -> exp.Expression:
        octets = exp.Cast(this=self.col(name), to=exp.DataType.build("blob", dialect="sqlite"))
        zero = call("ZEROBLOB", number(1))
        return exp.GT(this=call("INSTR", octets, zero), expression=number(0))

    def numbered(self, name: str, word: str | None) -> exp.Expression | None:
        """Nine digits at most, a space, and the word."""
        if word is None:
            return None
        small = exp.Lower(this=self.col(name))
        tail = f" {_quoted(word.lower())}"
        digits = exp.Glob(this=small, expression=text(f"[0-9]*{tail}"))
        other = exp.Glob(this=small.copy(), expression=text(f"*[^0-9]*{tail}"))
        short = exp.LTE(this=exp.Length(this=self.col(name)), expression=number(10 + len(word)))
        return both(digits, exp.Not(this=exp.Paren(this=other)), short, _not(self._nul(name)))

    def named_number(self, name: str, word: str) -> exp.Expression | None:
        """The word, a colon and digits."""
        small, begin = exp.Lower(this=self.col(name)), _quoted(f"{word.lower()}:")
        digits = exp.Glob(this=small, expression=text(f"{begin}[0-9]*"))
        return both(digits, _not(exp.Glob(this=small.copy(), expression=text(f"{begin}*[^0-9]*"))))

    def octets(self, value: exp.Expression) -> exp.Expression:
        """As a blob."""
        return exp.Cast(this=value, to=exp.DataType.build("blob", dialect="sqlite"))

    def micros_of_date(self, value: exp.Expression) -> exp.Expression:
        """By strftime."""
        seconds = exp.Cast(this=call("STRFTIME", text("%s"), value), to=exp.DataType.build("int"))
        return exp.Mul(this=seconds, expression=number(1_000_000))


def _not(condition: exp.Expression) -> exp.Expression:
    return exp.Not(this=exp.Paren(this=condition))


def _quoted(literal: str) -> str:
    return "".join(f"[{char}]" if char in _SPECIAL else char for char in literal)
