"""The query language on the classic table in PostgreSQL.

Letters are folded under collation "C", so that no locale has a say. A message of octets (bytea) is read as
Latin-1: its ASCII is what is looked for.
"""

from sqlglot import exp

from hepcat.search.ast import Pattern, Wild
from hepcat.search.classic_sql import liked
from hepcat.search.dialects import call, number, text
from hepcat.search.dialects_classic import ClassicDialect
from hepcat.search.remote_dialect import both


class PostgresDialect(ClassicDialect):
    """PostgreSQL 10 or newer, standard_conforming_strings on."""

    name = "postgres"

    def equals_fold(self, name: str, value: str) -> exp.Expression:
        """Under collation C."""
        return exp.EQ(this=exp.Lower(this=_c(self.col(name))), expression=text(value.lower()))

    def fits(self, name: str, parts: Pattern, fold: bool) -> exp.Expression:
        """By LIKE, under collation C."""
        value = _as_text(self.col(name)) if name in self.binary else self.col(name)
        return liked(exp.Lower(this=_c(value)) if fold else value, parts, fold)

    def filled(self, name: str) -> exp.Expression:
        """By its length."""
        return exp.GT(this=call("OCTET_LENGTH", self.col(name)), expression=number(0))

    def numbered(self, name: str, word: str | None) -> exp.Expression | None:
        """By a constant regular expression."""
        tail = "[a-z]+" if word is None else word.lower()
        pattern = f"^([0-9]{{1,9}}|[1-3][0-9]{{9}}) {tail}$"
        return exp.RegexpLike(this=exp.Lower(this=_c(self.col(name))), expression=text(pattern))

    def named_number(self, name: str, word: str) -> exp.Expression | None:
        """The word and a colon, then digits and nothing else."""
        small = exp.Lower(this=_c(self.col(name)))
        digits = exp.RegexpLike(this=self.col(name), expression=text("^[^:]*:[0-9]+$"))
        return both(digits, liked(small, (f"{word}:", Wild.ANY), True))

    def as_number(self, value: exp.Expression) -> exp.Expression:
        """The first digits; what has none is 0, where a cast would be refused."""
        digits = call("SUBSTRING", value, text("^[0-9]{1,9}"))
        cast = exp.Cast(this=digits, to=exp.DataType.build("bigint"))
        return exp.Coalesce(this=cast, expressions=[number(0)])

    def octets(self, value: exp.Expression) -> exp.Expression:
        """Texts are equal where their octets are; collation C orders them so."""
        return _c(value)

    def date_of(self, moment: str) -> exp.Expression:
        """As a timestamp."""
        return exp.Cast(this=text(moment), to=exp.DataType.build("timestamp"))

    def micros_of_date(self, value: exp.Expression) -> exp.Expression:
        """By its epoch."""
        seconds = exp.Extract(this=exp.var("EPOCH"), expression=value)
        micros = exp.Mul(this=seconds, expression=number(1_000_000))
        return exp.Cast(this=micros, to=exp.DataType.build("bigint"))


def _c(value: exp.Expression) -> exp.Expression:
    return exp.Collate(this=value, expression=exp.to_identifier("C", quoted=True))


def _as_text(octets: exp.Expression) -> exp.Expression:
    r"""Return octets as Latin-1. Text cannot have NUL: where there is one, it is read as octet 255.

    For that the octets are written with escapes. A backslash is written as two there, which are made its
    number; so every backslash then begins a number, and \000 is found as such.
    """
    nul = exp.StrPosition(this=octets, substr=call("DECODE", text("00"), text("hex")))
    escaped = call("REPLACE", call("ENCODE", octets.copy(), text("escape")), text(r"\\"), text(r"\134"))
    changed = call("DECODE", call("REPLACE", escaped, text(r"\000"), text(r"\377")), text("escape"))
    return exp.Case(
        ifs=[exp.If(this=exp.EQ(this=nul, expression=number(0)), true=_latin1(octets.copy()))],
        default=_latin1(changed),
    )


def _latin1(octets: exp.Expression) -> exp.Expression:
    return call("CONVERT_FROM", octets, text("LATIN1"))
