"""The query language on the classic table (stores/classic/schema.py): what each test means on its columns.

In: tests of the tree, each on a column of the lake. Out: their bounds (remote_dialect.py) over the columns of
sip_capture and its sisters. What can go wrong: HepcatError for a column of which the table keeps nothing.

Where the table says less than the lake: values are cut to their column's width; a character that the column's
set does not have is `?`; `method` of a reply is its status; Server, Session-ID, Expires and all other headers
are in `msg` only. Such tests look for what must be there, and the searcher does the rest.
- `correlation_id` of a message that came without one is its Call-ID; `node` is the name of the server's own
  configuration and the agent's id. So it stands in the table, and so it is found and shown.
- "In any case" means the letters of ASCII here.
What engines say differently is in classic_sql.py.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlglot import exp

from hepcat.errors import HepcatError
from hepcat.search import literals
from hepcat.search.ast import Contains, Equals, Exists, Like, Match, Pattern, Range, Regex, Test, Wild, Within
from hepcat.search.classic_addresses import address_forms, within_v4
from hepcat.search.classic_sql import ClassicSql
from hepcat.search.dialects import join, number, text
from hepcat.search.memory import Local, passing
from hepcat.search.remote_dialect import Bounds, RemoteDialect, both
from hepcat.search.times import SECOND
from hepcat.search.within import Times

#: Text columns: the lake's name -> the table's.
TEXTS: Final[Mapping[str, str]] = {
    "correlation_id": "correlation_id", "reason_phrase": "reply_reason", "ruri": "ruri",
    "ruri_user": "ruri_user", "ruri_domain": "ruri_domain", "from_user": "from_user",
    "from_domain": "from_domain", "from_tag": "from_tag", "to_user": "to_user", "to_domain": "to_domain",
    "to_tag": "to_tag", "call_id": "callid", "call_id_aleg": "callid_aleg", "cseq": "cseq", "via_1": "via_1",
    "via_1_branch": "via_1_branch", "pid_user": "pid_user", "contact_user": "contact_user",
    "contact_ip": "contact_ip", "auth_user": "auth_user", "content_type": "content_type",
    "diversion": "diversion", "reason": "reason", "rtp_stat": "rtp_stat",
}  # fmt: skip
_PORTS: Final = {"src_port": "source_port", "dst_port": "destination_port"}
_ADDRESSES: Final = {"src_ip": "source_ip", "dst_ip": "destination_ip"}
#: `proto` -> transport as the lake names it; siptrace sends TLS as protocol 22, 0 is any other.
TRANSPORT_OF: Final[Mapping[int, str]] = {0: "0", 1: "udp", 2: "tcp", 3: "22", 4: "sctp"}
#: Columns that the table keeps nothing of.
NOT_KEPT: Final = frozenset({"vlan", "tags", "malformed", "hep_type"})
#: Headers that are looked for in the message: the lake's column -> the header.
_IN_MESSAGE: Final = {"session_id": "session-id", "expires": "expires"}
#: A change of the clocks moves local time by so much.
_CHANGE: Final = 3600 * SECOND + SECOND
#: No zone is further from UTC, in microseconds.
_ANY_ZONE: Final = 15 * 3600 * SECOND
#: Times that every engine's timestamps can say.
_DATES: Final = (86_400 * SECOND, 2_145_000_000 * SECOND)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REQUEST: Final = 1
_REPLY: Final = 2


def not_kept(store: str, column: str) -> HepcatError:
    """Return what is told to who searches for what a classic table has no column for."""
    return HepcatError(
        f"store {store} has no column {column}: the classic table does not keep it",
        "Leave the term out, or ask a store that keeps it: the lake (--store lake), or ClickHouse.",
    )


class ClassicDialect(ClassicSql, RemoteDialect):
    """Plain SQL on the classic tables. widths: of text columns, in characters; none: unbounded.

    binary: columns of octets (msg, in tables that hepcat makes). lag: bounds of `date` (read as UTC) minus
    `micro_ts`, in microseconds, as far as known: what the writer's time zone makes of it.
    """

    name = ""
    local = Local()

    def __init__(
        self, store: str, widths: Mapping[str, int] | None = None, binary: frozenset[str] = frozenset()
    ) -> None:
        self.store = store
        self.widths = widths or {}
        self.binary = binary
        self.lag: tuple[int, int] | None = None

    # -- what the searcher asks for

    def match(self, node: Match) -> Bounds:
        """Return the bounds of one test."""
        column, test, fold = node.column, node.test, node.fold
        if column in NOT_KEPT:
            raise not_kept(self.store, column)
        if column in TEXTS:
            return self._text(TEXTS[column], test, fold)
        if column in _PORTS:
            return self._number(_PORTS[column], test)
        if column in _ADDRESSES:
            return self._address(_ADDRESSES[column], test)
        if column in _IN_MESSAGE:
            return self._in_message(_IN_MESSAGE[column], test)
        if column in ("header", "extra"):
            return self._in_message(node.key or "", test)
        special = {
            "ts": self._ts, "contact_port": self._contact_port, "status": self._status,
            "transport": self._transport, "node_id": self._node_id, "node_name": self._node_name,
            "method": self._method, "user_agent": self._user_agent, "payload": self._payload,
        }  # fmt: skip
        return special[column](test)

    def micros(self) -> exp.Expression:
        """Return the time of capture."""
        return self.col("micro_ts")

    def times(self, times: Times) -> exp.Expression:
        """Return the range of micro_ts, and a wider one of `date`, which has index and partitions."""
        at = self.micros()
        sides: list[exp.Expression] = []
        early, late = self._lag()
        if times.since is not None:
            sides.append(exp.GTE(this=at, expression=number(times.since)))
            sides += self._date_side(exp.GTE, times.since + early)
        if times.until is not None:
            sides.append(exp.LT(this=at.copy(), expression=number(times.until)))
            sides += self._date_side(exp.LTE, times.until + late)
        return join(exp.And, sides, exp.true())

    def _lag(self) -> tuple[int, int]:
        early, late = self.lag or (-_ANY_ZONE, _ANY_ZONE)
        return early - _CHANGE, late + _CHANGE

    def _date_side(self, relation: type[exp.GTE] | type[exp.LTE], us: int) -> list[exp.Expression]:
        if not _DATES[0] <= us <= _DATES[1]:
            return []
        moment = _EPOCH + timedelta(microseconds=us)
        return [relation(this=self.col("date"), expression=self.date_of(f"{moment:%Y-%m-%d %H:%M:%S}"))]

    def extent(self) -> tuple[exp.Expression, exp.Expression]:
        """Return bounds of all times from `date`, whose index knows the first and the last."""
        early, late = self._lag()
        first = self.micros_of_date(exp.Min(this=self.col("date")))
        last = self.micros_of_date(exp.Max(this=self.col("date")))
        if first is None or last is None:
            return super().extent()
        return (
            exp.Sub(this=first, expression=exp.Paren(this=number(late))),
            exp.Sub(this=last, expression=exp.Paren(this=number(early))),
        )

    def status(self) -> exp.Expression:
        """Return the status code, 0 in a request."""
        reply = exp.EQ(this=self.col("type"), expression=number(_REPLY))
        return exp.Case(ifs=[exp.If(this=reply, true=self.as_number(self.col("method")))], default=number(0))

    def call_key(self) -> exp.Expression:
        """Return the Call-ID's octets: whatever the column's collation takes for equal."""
        return self.octets(self.col("callid"))

    def has_call(self) -> exp.Expression:
        """Return "there is a Call-ID"."""
        return self.filled("callid")

    def blurred_call(self) -> exp.Expression | None:
        """Return "the Call-ID fills its column, or has a question mark": it may have been cut or replaced."""
        return self._or_doubt("callid", self.fits("callid", (Wild.ANY, "?", Wild.ANY), False))

    def blurred_id(self, call_id: str) -> bool:
        """Say whether the column cannot have this Call-ID for sure and as it is."""
        width = self.widths.get("callid")
        return not _plain(call_id) or (width is not None and len(call_id) >= width)

    def of_calls(self, call_ids: Sequence[str]) -> exp.Expression:
        """Return "the Call-ID is one of these", by the index."""
        plain = [i for i in call_ids if not self.blurred_id(i)]
        terms = [self.one_of("callid", plain)] if plain else []
        terms += [self._text("callid", Equals(i), False).maybe for i in call_ids if self.blurred_id(i)]
        return join(exp.Or, terms, exp.false())

    def arrival(self) -> Sequence[exp.Expression]:
        """Return the row's number."""
        return (self.col("id"),)

    # -- tests

    def _text(self, name: str, test: Test, fold: bool) -> Bounds:
        """Return a test of a text column; no value is an empty text there."""
        match test:
            case Exists():
                return Bounds.of(self.filled(name))
            case Equals():
                return self._equals(name, str(test.value), fold)
            case Like():
                return self._like(name, test.pattern, fold)
            case Regex():
                words = literals.of_regex(test.pattern)
                there = both(self.filled(name), self._words(name, words))
                return Bounds(self._or_doubt(name, there) if words else there, exp.false())
        raise AssertionError(test)

    def _equals(self, name: str, value: str, fold: bool) -> Bounds:
        if not value:
            return Bounds.of(exp.false())
        width = self.widths.get(name)
        if not _plain(value):
            parts, _ = literals.plain((value,))
            begin: Pattern = (parts[0], Wild.ANY) if isinstance(parts[0], str) else (Wild.ANY,)
            return Bounds(both(self.filled(name), self._fitting(name, begin, fold)), exp.false())
        equal = self.equals_fold if fold else self.equals
        if width is not None and len(value) >= width:
            return Bounds(equal(name, value[:width]), exp.false())
        return Bounds.of(equal(name, value))

    def _like(self, name: str, pattern: Pattern, fold: bool) -> Bounds:
        parts, same = literals.plain(pattern)
        fits = both(self.filled(name), self._fitting(name, parts, fold))
        if not same:
            return Bounds(self._or_doubt(name, fits), exp.false())
        doubt = self._doubt(name, begins=len(parts) == 2 and isinstance(parts[0], str) and parts[0])
        if doubt is None:
            return Bounds.of(fits)
        either = join(exp.Or, [exp.Paren(this=fits), doubt], exp.false())
        return Bounds(either, both(fits, exp.Not(this=exp.Paren(this=doubt.copy()))))

    def _fitting(self, name: str, parts: Pattern, fold: bool) -> exp.Expression:
        width = self.widths.get(name)
        first = parts[0] if parts else Wild.ANY
        if width is not None and isinstance(first, str) and len(first) >= width:
            parts = (first[:width], Wild.ANY)
        return self.fits(name, parts, fold)

    def _doubt(self, name: str, begins: str | bool = "") -> exp.Expression | None:
        """Return "a pattern may be wrong about this value": it fills its column, and may have been longer.

        begins: the pattern asks only how the value begins.
        """
        width = self.widths.get(name)
        if width is None or (begins and len(str(begins)) < width):
            return None
        return exp.GTE(this=self.length(name), expression=number(width))

    def _or_doubt(self, name: str, condition: exp.Expression) -> exp.Expression:
        doubt = self._doubt(name)
        return condition if doubt is None else join(exp.Or, [exp.Paren(this=condition), doubt], exp.false())

    def _words(self, name: str, words: Sequence[str]) -> exp.Expression:
        """Return "the value holds all of these", in any case of letters."""
        return join(exp.And, [self.fits(name, (Wild.ANY, w, Wild.ANY), True) for w in words], exp.true())

    def _number(self, name: str, test: Test) -> Bounds:
        match test:
            case Exists():
                return Bounds.of(exp.true())
            case Equals():
                return Bounds.of(exp.EQ(this=self.col(name), expression=number(int(test.value))))
            case Range():
                sides: list[exp.Expression] = []
                if test.low is not None:
                    sides.append(exp.GTE(this=self.col(name), expression=number(test.low)))
                if test.high is not None:
                    sides.append(exp.LTE(this=self.col(name), expression=number(test.high)))
                return Bounds.of(join(exp.And, sides, exp.true()))
        raise AssertionError(test)

    def _ts(self, test: Test) -> Bounds:
        return self._number("micro_ts", test)

    def _contact_port(self, test: Test) -> Bounds:
        known = exp.GT(this=self.col("contact_port"), expression=number(0))
        return Bounds.of(both(known, self._number("contact_port", test).sure))

    def _status(self, test: Test) -> Bounds:
        """A reply's `method` is its status: three digits, which compare as text as they do as numbers."""
        reply = self._type(_REPLY)
        if isinstance(test, Exists):
            return Bounds.of(reply)
        if isinstance(test, Equals):
            test = Range(int(test.value), int(test.value))
        assert isinstance(test, Range)
        low, high = max(test.low or 0, 0), min(999 if test.high is None else test.high, 999)
        if low > high:
            return Bounds.of(exp.false())
        between = exp.Between(this=self.col("method"), low=text(f"{low:03d}"), high=text(f"{high:03d}"))
        return Bounds.of(both(reply, between))

    def _type(self, kind: int) -> exp.Expression:
        return exp.EQ(this=self.col("type"), expression=number(kind))

    def _method(self, test: Test) -> Bounds:
        """A request's method has a column, that of a reply stands in its CSeq, behind digits and a space."""
        request, reply = self._type(_REQUEST), self._type(_REPLY)
        of_request = self._text("method", test, True)
        words, sure = self._method_in_cseq(test)
        sides = [both(request, of_request.maybe), both(reply, self._or_doubt("cseq", words))]
        certain = [both(request, of_request.sure), both(reply, sure)]
        return Bounds(join(exp.Or, sides, exp.false()), join(exp.Or, certain, exp.false()))

    def _method_in_cseq(self, test: Test) -> tuple[exp.Expression, exp.Expression]:
        nothing = exp.false()
        match test:
            case Exists():
                return self.filled("cseq"), self.numbered("cseq", None) or nothing
            case Equals():
                value = str(test.value)
                parts, _ = literals.plain((Wild.ANY, value))
                short = value.isascii() and value.isalpha() and len(value) <= 12
                return self.fits("cseq", parts, True), (short and self.numbered("cseq", value)) or nothing
            case Like():
                parts, _ = literals.plain((Wild.ANY, *test.pattern))
                return self.fits("cseq", parts, True), nothing
            case Regex():
                return self._words("cseq", literals.of_regex(test.pattern)), nothing
        raise AssertionError(test)

    def _user_agent(self, test: Test) -> Bounds:
        """The column has User-Agent; the lake takes Server where there is none."""
        own = self._text("user_agent", test, True)
        absent = exp.Not(this=exp.Paren(this=self.filled("user_agent")))
        server = both(absent, self._words("msg", ["server", *_words_of(test)]))
        return Bounds(join(exp.Or, [exp.Paren(this=own.maybe.copy()), server], exp.false()), own.sure)

    def _in_message(self, header: str, test: Test) -> Bounds:
        words = [*literals.of_text(header), *_words_of(test)]
        return Bounds(self._words("msg", words), exp.false())

    def _payload(self, test: Test) -> Bounds:
        match test:
            case Exists():
                return Bounds.of(self.filled("msg"))
            case Contains():
                parts, same = literals.plain((Wild.ANY, *test.pattern, Wild.ANY))
                found = self.fits("msg", parts, True)
                one_text = same and len(test.pattern) == 1
                return Bounds.of(found) if one_text else Bounds(found, exp.false())
            case Regex():
                return Bounds(self._words("msg", literals.of_regex(test.pattern)), exp.false())
        raise AssertionError(test)

    def _address(self, name: str, test: Test) -> Bounds:
        """IPv6 is written in several ways, by the original without `::`; IPv4 in one."""
        version_6 = self.fits(name, (Wild.ANY, ":", Wild.ANY), False)
        match test:
            case Exists():
                return Bounds.of(self.filled(name))
            case Equals():
                forms = [self.equals(name, form) for form in address_forms(str(test.value))]
                return Bounds.of(join(exp.Or, forms, exp.false()))
            case Within():
                if isinstance(test.network, ipaddress.IPv6Network):
                    return Bounds(version_6, exp.false())
                patterns = within_v4(test.network)
                version_4 = [exp.Not(this=exp.Paren(this=version_6))] if test.network.prefixlen < 8 else []
                terms = [self.fits(name, pattern, False) for pattern in patterns]
                return Bounds.of(both(join(exp.Or, terms, exp.false()), *version_4))
            case Like():
                bounds = self._like(name, test.pattern, False)
                first = test.pattern[0]
                if isinstance(first, str) and first[0].isdigit() and "." in first and ":" not in first:
                    return bounds
                return Bounds(
                    join(exp.Or, [exp.Paren(this=bounds.maybe.copy()), version_6], exp.false()), exp.false()
                )
            case Regex():
                return Bounds(self.filled(name), exp.false())
        raise AssertionError(test)

    def _transport(self, test: Test) -> Bounds:
        """Five values there are: those that pass are named."""
        names = passing("transport", test, list(TRANSPORT_OF.values()), self.local)
        numbers = [number(code) for code, name in TRANSPORT_OF.items() if name in names]
        if not numbers:
            return Bounds.of(exp.false())
        return Bounds.of(exp.In(this=self.col("proto"), expressions=numbers))

    def _node_id(self, test: Test) -> Bounds:
        """`node` is NAME:ID, or a name alone."""
        if isinstance(test, Equals):
            tail = f":{int(test.value)}"
            return Bounds.of(self.fits("node", (Wild.ANY, tail), False))
        return Bounds(self.fits("node", (Wild.ANY, ":", Wild.ANY), False), exp.false())

    def _node_name(self, test: Test) -> Bounds:
        if isinstance(test, Exists):
            return Bounds.of(self.filled("node"))
        if isinstance(test, Equals):
            parts, same = literals.plain((str(test.value), ":", Wild.ANY))
            named = self.fits("node", parts, True)
            alone = self._equals("node", str(test.value), True)
            maybe = join(exp.Or, [exp.Paren(this=named), exp.Paren(this=alone.maybe.copy())], exp.false())
            numbered = self.named_number("node", str(test.value)) if same else None
            if numbered is None or ":" in str(test.value):
                return Bounds(maybe, exp.false())
            sure = join(exp.Or, [numbered, exp.Paren(this=alone.sure.copy())], exp.false())
            return Bounds(maybe, sure)
        return Bounds(both(self.filled("node"), self._words("node", _words_of(test))), exp.false())


def _plain(value: str) -> bool:
    """Say whether every column holds the text as it is, and a value that was replaced cannot be the same."""
    return value.isascii() and not set(value) & {"\0", "?"}


def _words_of(test: Test) -> list[str]:
    """Return what a message has to hold for a header's value to pass; words, since a header may be folded."""
    match test:
        case Equals():
            found = literals.of_text(str(test.value))
        case Like() | Contains():
            found = literals.of_pattern(test.pattern)
        case Regex():
            found = literals.of_regex(test.pattern)
        case _:
            found = []
    return [word for text_ in found for word in text_.split() if len(word) > 1]
