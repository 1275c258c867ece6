"""The query language on the classic table in MariaDB and MySQL.

Collations take B for b, e for é, and forget spaces at the end: so an equality stands there twice, once for
the index and once for the octets.
"""

from collections.abc import Sequence

from sqlglot import exp

from hepcat.search.ast import Pattern, Wild
from hepcat.search.classic_sql import liked
from hepcat.search.dialects import call, number, text
from hepcat.search.dialects_classic import ClassicDialect
from hepcat.search.remote_dialect import both

_LATIN1 = exp.DataType(this=exp.DataType.Type.CHARACTER_SET, kind=exp.var("latin1"))


class MySqlDialect(ClassicDialect):
    """MariaDB 10 and MySQL 5.7, or newer. The session's time zone is UTC."""

    name = "mysql"

    def equals(self, name: str, value: str) -> exp.Expression:
        """By the index, then by the octets."""
        return both(super().equals(name, value), exp.EQ(this=self._octets_of(name), expression=text(value)))

    def one_of(self, name: str, values: Sequence[str]) -> exp.Expression:
        """By the index, then by the octets."""
        exactly = exp.In(this=self._octets_of(name), expressions=[text(value) for value in values])
        return both(super().one_of(name, values), exactly)

    def equals_fold(self, name: str, value: str) -> exp.Expression:
        """By the octets of small letters."""
        return exp.EQ(this=self._small(name), expression=text(value.lower()))

    def fits(self, name: str, parts: Pattern, fold: bool) -> exp.Expression:
        """By the octets; how a value begins is looked up by the index too."""
        exactly = liked(self._small(name) if fold else self._octets_of(name), parts, fold)
        if not fold and len(parts) > 1 and isinstance(parts[0], str) and name not in self.binary:
            return both(liked(self.col(name), (parts[0], Wild.ANY), False), exactly)
        return exactly

    def length(self, name: str) -> exp.Expression:
        """In characters."""
        return call("CHAR_LENGTH", self.col(name))

    def filled(self, name: str) -> exp.Expression:
        """By its length: a collation takes spaces for nothing."""
        return exp.GT(this=call("OCTET_LENGTH", self.col(name)), expression=number(0))

    def numbered(self, name: str, word: str | None) -> exp.Expression | None:
        """The number as the engine writes it, a space and the word."""
        if word is None:
            return None
        digits = self._whole(call("SUBSTRING_INDEX", self.col(name), text(" "), number(1)))
        written = _binary(call("CONCAT", digits, text(f" {word.lower()}")))
        small = exp.LT(this=digits.copy(), expression=number(2**32))
        return both(small, exp.EQ(this=written, expression=self._small(name)))

    def named_number(self, name: str, word: str) -> exp.Expression | None:
        """The word, a colon and the number as the engine writes it."""
        digits = self._whole(call("SUBSTRING_INDEX", self.col(name), text(":"), number(-1)))
        written = _binary(call("CONCAT", text(f"{word.lower()}:"), digits))
        return exp.EQ(this=written, expression=self._small(name))

    def _whole(self, value: exp.Expression) -> exp.Expression:
        return exp.Cast(this=value, to=exp.DataType.build("unsigned", dialect="mysql"))

    def as_number(self, value: exp.Expression) -> exp.Expression:
        """What is no number is 0 here."""
        return exp.Cast(this=value, to=exp.DataType.build("signed", dialect="mysql"))

    def octets(self, value: exp.Expression) -> exp.Expression:
        """As binary."""
        return _binary(value)

    def micros_of_date(self, value: exp.Expression) -> exp.Expression:
        """By UNIX_TIMESTAMP."""
        return exp.Mul(this=call("UNIX_TIMESTAMP", value), expression=number(1_000_000))

    def _octets_of(self, name: str) -> exp.Expression:
        return _binary(self.col(name))

    def _small(self, name: str) -> exp.Expression:
        """The octets in small letters; octets have letters only as text."""
        value = self.col(name)
        if name in self.binary:
            value = exp.Cast(this=value, to=_LATIN1.copy())
        return _binary(exp.Lower(this=value))


def _binary(value: exp.Expression) -> exp.Expression:
    return exp.Cast(this=value, to=exp.DataType.build("binary", dialect="mysql"))
