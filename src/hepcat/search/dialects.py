"""What the SQL dialects say differently: one class of expressions, to be overridden a dialect.

In: column expressions and plain values. Out: sqlglot expressions; text becomes exp.Literal, which the
generator quotes, so that no SQL is ever put together from what a user typed.

`Dialect` is DuckDB on the lake's own columns. Another store overrides `name`, `column` (its names for
the schema's columns) and the few methods whose SQL differs.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

from sqlglot import exp

#: White space and line ends of the octets are not letters: everything else that RE2 could read as
#: an operator is escaped with a backslash.
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ")


def text(value: str) -> exp.Expression:
    """Return a text literal."""
    return exp.Literal.string(value)


def number(value: int) -> exp.Expression:
    """Return a whole number literal."""
    return exp.Literal.number(value)


def call(name: str, *arguments: Any) -> exp.Expression:
    """Return a function call as written, untouched by sqlglot's own idea of the function."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def join(
    connector: type[exp.Connector], terms: Sequence[exp.Expression], empty: exp.Expression
) -> exp.Expression:
    """Join in halves: the depth of the expression grows with the logarithm of its terms."""
    if not terms:
        return empty
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    left, right = join(connector, terms[:middle], empty), join(connector, terms[middle:], empty)
    return exp.Paren(this=connector(this=left, expression=right))


def quote_regex(literal: str) -> str:
    """Return a regular expression (RE2, also PCRE and POSIX) that matches just this text."""
    return "".join(c if c in _PLAIN or ord(c) > 127 else _escape(c) for c in literal)


def _escape(char: str) -> str:
    return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(
        char, f"\\x{ord(char):02x}" if ord(char) < 32 else f"\\{char}"
    )


class Dialect:
    """DuckDB's SQL on the lake's columns."""

    name = "duckdb"

    def column(self, column: str) -> exp.Expression:
        """Return the expression for a column of the schema."""
        return exp.column(column, quoted=True)

    def payload_text(self) -> exp.Expression:
        """Return the payload as text. An octet that is not UTF-8 reads as a question mark.

        decode with 'replace' costs next to nothing on what is UTF-8 (measured: 0.02 s for 300,000
        messages); a cast to VARCHAR would instead show control characters as escapes.
        """
        return call("decode", self.column("payload"), text("replace"))

    def extra(self, key: str) -> exp.Expression:
        """Return the value of the map column under a header's name, any case; null where it is not."""
        names = call(
            "list_transform",
            call("map_keys", self.column("extra")),
            exp.Lambda(this=exp.Lower(this=exp.to_identifier("k")), expressions=[exp.to_identifier("k")]),
        )
        place = call("list_position", names, text(key.lower()))
        return call("list_extract", call("map_values", self.column("extra")), place)

    def header(self, key: str) -> exp.Expression:
        """Return a header's value: from the map column, else from the message's own line, else null."""
        return exp.Coalesce(this=self.extra(key), expressions=[self.header_line(key)])

    def header_line(self, key: str) -> exp.Expression:
        """Return a header's value from the message's own line; null where it is not or is empty."""
        line = rf"(?im)^{quote_regex(key)}[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$"
        found = call("regexp_extract", self.payload_text(), text(line), number(1))
        return exp.Nullif(this=found, expression=text(""))

    def regex(self, value: exp.Expression, pattern: str, fold: bool) -> exp.Expression:
        """Return "the expression matches somewhere"; RE2 takes time linear in the text."""
        return call("regexp_matches", value, text(f"(?i){pattern}" if fold else pattern))

    def like(self, value: exp.Expression, pattern: str, escaped: bool, fold: bool) -> exp.Expression:
        """Return LIKE with % and _; `escaped`: a backslash takes the meaning of the next character."""
        if fold:
            value, right = exp.Lower(this=value), exp.Lower(this=text(pattern))
        else:
            right = text(pattern)  # type: ignore[assignment]
        liked: exp.Expression = exp.Like(this=value, expression=right)
        return exp.Escape(this=liked, expression=text("\\")) if escaped else liked

    def moment(self, us: int) -> exp.Expression:
        """Return the timestamp of microseconds since the epoch; a constant, so that files are pruned."""
        return call("make_timestamptz", number(us))

    def within(
        self, address: exp.Expression, network: ipaddress.IPv4Network | ipaddress.IPv6Network
    ) -> exp.Expression:
        """Return "the address, text of RFC 5952, lies in the network".

        The whole groups of the prefix are compared as text, the one that the prefix cuts as a range
        of text padded with zeros. No extension is needed, and any dialect can say it.
        """
        if isinstance(network, ipaddress.IPv4Network):
            return self._within_v4(address, network)
        return self._within_v6(address, network)

    def _within_v4(self, address: exp.Expression, network: ipaddress.IPv4Network) -> exp.Expression:
        octets = network.network_address.packed
        whole, bits = divmod(network.prefixlen, 8)
        # A dot tells IPv4 from IPv6 even for 0.0.0.0/0; IPv6 with a dotted tail has a colon too.
        prefix = "".join(f"{octet}." for octet in octets[:whole])
        if whole == 4:
            return exp.EQ(this=address, expression=text(str(network.network_address)))
        tests: list[exp.Expression] = [exp.Like(this=address.copy(), expression=text(f"{prefix}%.%"))]
        if whole < 1:
            tests.append(exp.Not(this=exp.Like(this=address.copy(), expression=text("%:%"))))
        if whole == 3:
            tests = [exp.Like(this=address.copy(), expression=text(f"{prefix}%"))]
        if bits:
            low = octets[whole]
            group = call(
                "lpad", call("split_part", address.copy(), text("."), number(whole + 1)), number(3), text("0")
            )
            high = low | (0xFF >> bits)
            tests.append(exp.Between(this=group, low=text(f"{low:03d}"), high=text(f"{high:03d}")))
        return join(exp.And, tests, exp.true())

    def _within_v6(self, address: exp.Expression, network: ipaddress.IPv6Network) -> exp.Expression:
        if network.prefixlen == 128:
            return exp.EQ(this=address, expression=text(str(network.network_address)))
        octets = network.network_address.packed
        groups = [int.from_bytes(octets[i : i + 2]) for i in range(0, 16, 2)]
        whole, bits = divmod(network.prefixlen, 16)
        full = self._expand_v6(address)
        tests: list[exp.Expression] = [exp.Like(this=address.copy(), expression=text("%:%"))]

        def group(place: int) -> exp.Expression:
            return call("split_part", full.copy(), text(":"), number(place + 1))

        for place in range(whole):
            tests.append(exp.EQ(this=group(place), expression=text(f"{groups[place]:x}")))
        if bits:
            low, high = groups[whole], groups[whole] | (0xFFFF >> bits)
            padded = call("lpad", group(whole), number(4), text("0"))
            tests.append(exp.Between(this=padded, low=text(f"{low:04x}"), high=text(f"{high:04x}")))
        return join(exp.And, tests, exp.true())

    def _expand_v6(self, address: exp.Expression) -> exp.Expression:
        """Return the address with :: written out, as a:b:c:d:e:f:g:h, perhaps with a colon more at the end.

        Between n groups there are n - 1 colons and :: has two; where it begins or ends the address it
        has one for a group that is not there. So 8 - colons groups are missing, and one more for each
        of these two cases.
        """
        colons = exp.Sub(
            this=exp.Length(this=address.copy()),
            expression=exp.Length(this=call("replace", address.copy(), text(":"), text(""))),
        )
        missing: exp.Expression = exp.Sub(this=number(8), expression=exp.Paren(this=colons))
        for pattern in ("::%", "%::"):
            at_edge = exp.Like(this=address.copy(), expression=text(pattern))
            missing = exp.Add(
                this=missing,
                expression=exp.Case(ifs=[exp.If(this=at_edge, true=number(1))], default=number(0)),
            )
        zeros = call("repeat", text("0:"), exp.Paren(this=missing))
        filled = call("replace", address.copy(), text("::"), exp.DPipe(this=text(":"), expression=zeros))
        return call("ltrim", filled, text(":"))
