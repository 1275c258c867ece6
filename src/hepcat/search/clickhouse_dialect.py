"""A query as ClickHouse says it, on the tables of stores/clickhouse/tables.py: exactly, so nothing is
tested twice.

In: the tree of a query. Out: sqlglot expressions, and their text (`sql_text`), which servers from 18.16 to
today's understand: no TRUE, no ESCAPE, no window functions, no Map. What can go wrong: nothing.

Text is empty where the lake has null, so tests of text say "and not empty" themselves, and keep the bare
column, which indexes serve. ClickHouse's own ways that differ from DuckDB's: `.` matches line ends (hence
(?-s)), lower() knows ASCII only (hence lowerUTF8), backslash always escapes in LIKE and in literals.
"""

import ipaddress
import zlib
from collections.abc import Sequence
from typing import Final

from sqlglot import exp
from sqlglot.dialects.clickhouse import ClickHouse

from hepcat.batch.schema import columns_of
from hepcat.search.ast import Contains, Equals, Exists, Like, Match, Range, Regex, Within
from hepcat.search.compile import compile_query, contains_pattern, like_pattern
from hepcat.search.dialects import call, join, number, quote_regex, text
from hepcat.search.remote_dialect import Bounds, RemoteDialect

#: Numbers that are Nullable in the tables.
_NULLABLE: Final = frozenset({"vlan", "node_id", "status", "contact_port", "expires"})
_TEXTS: Final = frozenset(c.name for c in columns_of("sip") if c.type == "string")
_ZERO: Final = number(0)


class _Literals(ClickHouse):
    """ClickHouse's SQL with literals and constants that every version reads."""

    class Generator(ClickHouse.Generator):  # type: ignore[misc, valid-type]
        def literal_sql(self, expression: exp.Literal) -> str:
            if not expression.is_string:
                return str(super().literal_sql(expression))
            return quoted(str(expression.this))

        def boolean_sql(self, expression: exp.Boolean) -> str:
            return "1" if expression.this else "0"


def quoted(value: str) -> str:
    """Return text as a literal. What cannot be written in UTF-8 becomes a question mark."""
    plain = value.encode("utf-8", "replace").decode()
    return "'" + plain.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"


def sql_text(statement: exp.Expression) -> str:
    """Return the text of a statement."""
    return statement.sql(dialect=_Literals)


def _both(*terms: exp.Expression) -> exp.Expression:
    return join(exp.And, terms, exp.true())


def _not_empty(value: exp.Expression) -> exp.Expression:
    return exp.NEQ(this=value, expression=text(""))


class ClickHouseDialect(RemoteDialect):
    """ClickHouse's SQL on hepcat's tables there."""

    name = "clickhouse"

    def match(self, node: Match) -> Bounds:
        """Return the condition of one test: exact, and never null."""
        column = node.column
        if column in ("header", "extra"):
            return Bounds.of(self._text_test(node, self._keyed(node)))
        if column == "payload":
            value = self.column(column) if isinstance(node.test, Exists) else self.payload_text()
            return Bounds.of(self._text_test(node, value))
        if column in _TEXTS:
            return Bounds.of(self._text_test(node, self.column(column)))
        condition = compile_query(node, self)
        if column in _NULLABLE:
            condition = exp.Coalesce(this=condition, expressions=[_ZERO.copy()])
        return Bounds.of(condition)

    def _text_test(self, node: Match, value: exp.Expression) -> exp.Expression:
        """Return a test of text; an empty value passes none."""
        test, fold = node.test, node.fold
        match test:
            case Exists():
                return _not_empty(value)
            case Equals():
                return self._equals(node.column, value, str(test.value), fold)
            case Like():
                found = self.like(value, *like_pattern(test.pattern), fold)
            case Contains():
                found = self.regex(value, contains_pattern(test.pattern), fold)
            case Regex():
                found = self.regex(value, test.pattern, fold)
            case Within():
                return self.within(value, test.network)
            case Range():
                found = compile_query(node, self)
        return _both(_not_empty(value.copy()), found)

    def _equals(self, column: str, value: exp.Expression, wanted: str, fold: bool) -> exp.Expression:
        if not wanted:
            return exp.false()
        if fold:
            return exp.EQ(this=call("lowerUTF8", value), expression=call("lowerUTF8", text(wanted)))
        if column == "call_id":
            return self.of_calls([wanted])
        return exp.EQ(this=value, expression=text(wanted))

    def _keyed(self, node: Match) -> exp.Expression:
        return self.extra(node.key or "") if node.column == "extra" else self.header(node.key or "")

    def payload_text(self) -> exp.Expression:
        """Return the payload as text; where it is not all UTF-8, the table has it as text besides."""
        kept = self.column("payload_text")
        empty = exp.EQ(this=kept, expression=text(""))
        return call("if", empty, self.column("payload"), kept.copy())

    def extra(self, key: str) -> exp.Expression:
        """Return the value under a header's name, any case; empty where there is none.

        Element 0 of an array, which indexOf gives for what it does not find, is empty.
        """
        names = call("arrayMap", _lambda("k", call("lowerUTF8", exp.column("k"))), self._nested("name"))
        place = call("indexOf", names, text(key.lower()))
        return call("arrayElement", self._nested("value"), place)

    def _nested(self, part: str) -> exp.Expression:
        return exp.column(f"extra.{part}", quoted=True)

    def header(self, key: str) -> exp.Expression:
        """Return a header's value: from the arrays, else from the message's own line, else empty."""
        line = rf"^{quote_regex(key)}[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$"
        found = call("extract", self.payload_text(), _regex(line, "im"))
        kept = self.extra(key)
        return call("if", _not_empty(kept), kept.copy(), found)

    def regex(self, value: exp.Expression, pattern: str, fold: bool) -> exp.Expression:
        """Return "the expression matches somewhere"; RE2, as DuckDB's."""
        return call("match", value, _regex(pattern, "i-s" if fold else "-s"))

    def like(self, value: exp.Expression, pattern: str, escaped: bool, fold: bool) -> exp.Expression:
        """Return LIKE; a pattern without escapes has no backslash either."""
        right: exp.Expression = text(pattern)
        if fold:
            value, right = call("lowerUTF8", value), call("lowerUTF8", right)
        return call("like", value, right)

    def moment(self, us: int) -> exp.Expression:
        """Return microseconds since the epoch, as `ts` has them."""
        return number(us)

    def within(
        self, address: exp.Expression, network: ipaddress.IPv4Network | ipaddress.IPv6Network
    ) -> exp.Expression:
        """Return "the address lies in the network". Only IPv6 has a colon, also where its tail is dotted."""
        colon = call("position", address, text(":"))
        low, high = network.network_address, network.broadcast_address
        if isinstance(network, ipaddress.IPv4Network):
            is_v4 = _both(_not_empty(address.copy()), exp.EQ(this=colon, expression=number(0)))
            value = call("IPv4StringToNum", call("if", is_v4, address.copy(), text("0.0.0.0")))
            return _both(is_v4.copy(), exp.Between(this=value, low=number(int(low)), high=number(int(high))))
        is_v6 = exp.GT(this=colon, expression=number(0))
        value = call("IPv6StringToNum", call("if", is_v6, address.copy(), text("::")))
        sides = [call("unhex", text(side.packed.hex())) for side in (low, high)]
        between = _both(
            exp.GTE(this=value, expression=sides[0]), exp.LTE(this=value.copy(), expression=sides[1])
        )
        return _both(is_v6.copy(), between)

    def call_key(self) -> exp.Expression:
        """Return the Call-ID."""
        return self.column("call_id")

    def has_call(self) -> exp.Expression:
        """Return "there is a Call-ID"."""
        return _not_empty(self.column("call_id"))

    def of_calls(self, call_ids: Sequence[str]) -> exp.Expression:
        """Return "the Call-ID is one of these". Its crc32 is a column too, and much less to read."""
        if not call_ids:
            return exp.false()
        sums = sorted({zlib.crc32(i.encode("utf-8", "replace")) for i in call_ids})
        return _both(
            exp.In(this=self.column("call_hash"), expressions=[number(n) for n in sums]),
            exp.In(this=self.column("call_id"), expressions=[text(i) for i in call_ids]),
        )

    def arrival(self) -> Sequence[exp.Expression]:
        """Return the number of the record; between records of several hepcats it says nothing."""
        return (self.column("seq"),)


def _regex(pattern: str, flags: str) -> exp.Expression:
    """Return a pattern with flags.

    Old servers look for a part of the pattern with the letters as they are, before they ask RE2, whatever the
    flags say; not where there is an alternative, so here is one that never matches.
    """
    return text(rf"(?{flags}:{pattern})|[^\s\S]")


def _lambda(name: str, body: exp.Expression) -> exp.Expression:
    return exp.Lambda(this=body, expressions=[exp.to_identifier(name)])
